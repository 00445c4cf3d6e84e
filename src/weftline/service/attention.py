"""What needs a person: one calm list, worst first, grouped so that ten thousand silent feeds stay one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from weftline.service.feed_states import duration
from weftline.service.views import Attention, FeedRow, Severity

__all__ = ["Stopped", "attention"]

GROUP_ABOVE = 5
_STEPS = {
    "silent": "Look at the source or ask its owner; probe the connection.",
    "rejecting": "Open the quarantine group: mend the source or the contract, then replay.",
    "failing": "Look at the connection's message, then probe it.",
    "held": "Give the fabric's disk or the store room; sources are taken again by themselves.",
}
_SEVERITY: dict[str, Severity] = {"silent": "unknown", "rejecting": "warning", "failing": "warning", "held": "warning"}
_ORDER = {"critical": 0, "warning": 1, "unknown": 2}


class Stopped(NamedTuple):
    """Equipment that stands still: since when (microseconds UTC) and in which state."""

    equipment: str
    state: str
    since: int


def attention(
    feeds: Iterable[FeedRow],
    stopped: Sequence[Stopped],
    *,
    holding: str,
    trouble: str,
    now: int,
    warnings: Mapping[str, str] | None = None,
) -> list[Attention]:
    """Return the list, critical first, then by the time the trouble began."""
    groups: dict[tuple[str, str], list[FeedRow]] = {}
    for row in feeds:
        if row.state in _SEVERITY:
            groups.setdefault((row.state, row.connection), []).append(row)
    found = [item for (state, connection), rows in groups.items() for item in _feeds(state, connection, rows)]
    found += [_stopped(item, now) for item in stopped]
    found += [_warning(connection, text) for connection, text in (warnings or {}).items()]
    if holding:
        found.append(_store("holding", "Sources are held back", holding, _STEPS["held"]))
    if trouble:
        found.append(
            _store(
                "store", "The store does not take commits", trouble, "Look at disk, memory and the log of the process."
            )
        )
    return sorted(found, key=lambda item: (_ORDER[item.severity], item.since or now, item.id))


def _feeds(state: str, connection: str, rows: list[FeedRow]) -> list[Attention]:
    if len(rows) <= GROUP_ABOVE:
        return [_feed(row) for row in rows]
    first = min(rows, key=lambda row: row.since or 0)
    severity: Severity = "critical" if any(row.critical for row in rows) else _SEVERITY[state]
    return [
        Attention(
            id=_id(state, connection),
            severity=severity,
            title=f"{connection}: {len(rows)} feeds {state}",
            detail=f"first {first.name}: {first.reason}",
            subject_kind="connection",
            subject=connection,
            since=first.since,
            deadline=None,
            next_step=_STEPS[state],
            href=f"/feeds?connection={connection}&state={state}",
        )
    ]


def _feed(row: FeedRow) -> Attention:
    return Attention(
        id=_id(row.state, row.name),
        severity="critical" if row.critical else _SEVERITY[row.state],
        title=f"{row.name} is {row.state}",
        detail=row.reason,
        subject_kind="feed",
        subject=row.name,
        since=row.since,
        deadline=None,
        next_step=_STEPS[row.state],
        href=f"/quarantine?feed={row.name}" if row.state == "rejecting" else f"/feeds/{row.name}",
    )


def _stopped(item: Stopped, now: int) -> Attention:
    return Attention(
        id=_id("stopped", item.equipment),
        severity="warning",
        title=f"{item.equipment} is {item.state}",
        detail=f"for {duration(max(now - item.since, 0) / 1_000_000)}, no reason given",
        subject_kind="equipment",
        subject=item.equipment,
        since=item.since,
        deadline=None,
        next_step="Ask the line why it stands, then classify the stop.",
        href="/datasets/equipment_state",
    )


def _warning(connection: str, text: str) -> Attention:
    return Attention(
        id=_id("connection", connection),
        severity="warning",
        title=f"{connection}: messages may be missing",
        detail=text,
        subject_kind="connection",
        subject=connection,
        since=None,
        deadline=None,
        next_step="Raise the limits the message names; what is lost at the source cannot be brought back from here.",
        href=f"/feeds?connection={connection}",
    )


def _store(kind: str, title: str, detail: str, step: str) -> Attention:
    return Attention(
        id=_id(kind, "store"), severity="critical", title=title, detail=detail, subject_kind="store", subject="lake",
        since=None, deadline=None, next_step=step, href="/",
    )  # fmt: skip


def _id(kind: str, subject: str) -> str:
    return f"{kind}-{blake2b(subject.encode(), digest_size=6).hexdigest()}"
