"""The status vocabulary: one shape, one word, one colour, decided here and nowhere else."""

from __future__ import annotations

from typing import Literal, NamedTuple

from weftline.service.views import FeedRow, FeedState
from weftline.web.format import age, count

__all__ = ["LIVE_STATES", "RANK", "STATES", "Shape", "Status", "feed_status", "state_shape", "worst"]

Shape = Literal["critical", "warning", "unknown", "paused", "open", "normal", "done"]

RANK: dict[Shape, int] = {"critical": 0, "warning": 1, "unknown": 2, "paused": 3, "open": 4, "normal": 5, "done": 6}
"""Worst first."""

STATES: tuple[FeedState, ...] = (
    "failing",
    "rejecting",
    "held",
    "silent",
    "never",
    "unknown",
    "stopped",
    "quiet",
    "live",
)
"""Every feed state, in the order filters list them."""

LIVE_STATES = {"live", "quiet"}
"""States in which records come as expected."""

_SHAPES: dict[str, Shape] = {
    "live": "normal",
    "quiet": "normal",
    "silent": "unknown",
    "never": "unknown",
    "unknown": "unknown",
    "rejecting": "warning",
    "failing": "warning",
    "held": "warning",
    "stopped": "paused",
}


class Status(NamedTuple):
    """What a badge shows: its shape (which fixes the colour) and its specific word."""

    shape: Shape
    word: str


def state_shape(state: str, *, critical: bool = False) -> Shape:
    """Return the shape of a feed state; trouble of a critical feed is critical. A word never seen is unknown."""
    shape = _SHAPES.get(state, "unknown")
    return "critical" if critical and state in {"failing", "rejecting"} else shape


def feed_status(row: FeedRow) -> Status:
    """Return a feed's badge: what is wrong with it and since when, or the age of its newest record."""
    words = {
        "live": age(row.age),
        "quiet": f"quiet {age(row.age)}",
        "silent": f"silent {age(row.age)}" if row.age is not None else "silent",
        "never": "never received",
        "rejecting": f"{count(row.quarantined)} in quarantine",
        "failing": row.connection_state if row.connection_state in {"lost", "refused"} else "rule fails",
        "held": "held back",
        "stopped": "stopped",
        "unknown": f"{age(row.age)}, no cadence" if row.age is not None else "unknown",
    }
    return Status(state_shape(row.state, critical=row.critical), words.get(row.state, row.state))


def worst(rows: list[FeedRow]) -> Shape:
    """Return the worst shape of some feeds; of none it is unknown."""
    return min((state_shape(row.state, critical=row.critical) for row in rows), key=RANK.__getitem__, default="unknown")
