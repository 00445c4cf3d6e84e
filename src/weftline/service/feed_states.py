"""What state a feed is in, since when and why: the words of the control tower."""

from __future__ import annotations

from typing import NamedTuple

from weftline.ingest.monitor import GAP_FACTOR, MINUTE, SECOND, FeedMeasures
from weftline.model.feed import ConnectionState, FeedSpec
from weftline.service.views import FeedState

__all__ = ["Standing", "duration", "standing"]

REJECTING_MINUTES = 5


class Standing(NamedTuple):
    """A feed's state with its beginning and its reason."""

    state: FeedState
    since: int | None
    reason: str


def standing(
    spec: FeedSpec,
    measures: FeedMeasures | None,
    connection: ConnectionState | None,
    *,
    held: str,
    failed_rule: str,
    now: int,
) -> Standing:
    """Return the worst thing that is true of a feed now; what is not known is said to be unknown."""
    own = measures.connection if measures is not None else None
    broken = _broken(own) or _broken(connection)
    if broken:
        return broken
    if held or (connection is not None and connection.state == "held"):
        reason = held or (connection.detail if connection is not None else "")
        return Standing(
            "held", connection.since if connection is not None else None, f"sources are held back: {reason}"
        )
    if measures is None or not measures.last_received:
        return _never(spec, connection, now)
    rejected = _rejecting(measures, now)
    if rejected:
        return rejected
    if failed_rule:
        return Standing("failing", now // (60 * MINUTE) * 60 * MINUTE, failed_rule)
    return _by_cadence(spec, measures, now)


def _broken(state: ConnectionState | None) -> Standing | None:
    if state is None or state.state not in {"lost", "refused", "stopped"}:
        return None
    if state.state == "stopped":
        return Standing("stopped", state.since or None, state.detail or "the connection is switched off")
    words = "the connection is lost" if state.state == "lost" else "the connection is refused"
    return Standing("failing", state.since or None, f"{words}: {state.detail}" if state.detail else words)


def _never(spec: FeedSpec, connection: ConnectionState | None, now: int) -> Standing:
    since = connection.since if connection is not None else None
    if spec.cadence and since and now - since > GAP_FACTOR * spec.cadence * SECOND:
        waited = duration((now - since) / SECOND)
        return Standing(
            "silent", since, f"no record in the {waited} since we connected, expected every {duration(spec.cadence)}"
        )
    return Standing("never", since, "no record has come yet")


def _rejecting(measures: FeedMeasures, now: int) -> Standing | None:
    """A feed rejects while records of the last minutes went to quarantine."""
    first = now // MINUTE - REJECTING_MINUTES + 1
    received = quarantined = 0
    since = 0
    for minute, count, bad in reversed(list(measures.minutes)):
        if minute >= first:
            received += count
            quarantined += bad
        elif not since or since - minute > REJECTING_MINUTES:
            break
        if bad:
            since = minute
    if not quarantined:
        return None
    since *= MINUTE
    return Standing(
        "rejecting", since, f"{quarantined} of {received} records of the last {REJECTING_MINUTES} min are in quarantine"
    )


def _by_cadence(spec: FeedSpec, measures: FeedMeasures, now: int) -> Standing:
    age = max(now - measures.last_received, 0) / SECOND
    if spec.cadence is None:
        return Standing(
            "unknown", measures.last_received, f"no cadence is stated; the last record came {duration(age)} ago"
        )
    if age <= max(spec.cadence, 1.0):
        return Standing("live", measures.started, "")
    reason = f"last record {duration(age)} ago, expected every {duration(spec.cadence)}"
    late = measures.last_received + int(spec.cadence * SECOND)
    return Standing("silent" if age > GAP_FACTOR * spec.cadence else "quiet", late, reason)


def duration(seconds: float) -> str:
    """Return a duration as people say it: 0.4 s, 12 s, 47 min, 3 h, 2 d."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
