"""What each feed does: rate, latency of both kinds, silence. Fed by commits and reports, read by the pages."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from weftline.clock import Clock
from weftline.model.feed import ConnectionState, FeedSpec

__all__ = ["FeedMeasures", "Histogram", "Monitor", "Silence"]

SECOND = 1_000_000
MINUTE = 60 * SECOND
SECONDS_KEPT = 120
MINUTES_KEPT = 24 * 60
WINDOW = 300 * SECOND
GAP_FACTOR = 3.0
"""Silence beyond this many cadences is a gap (DESIGN §10)."""


class Silence(NamedTuple):
    """A gap in a feed, microseconds UTC."""

    start: int
    end: int


class Histogram:
    """Durations in steps of a twelfth of a power of two (6 %), over the last five to ten minutes."""

    __slots__ = ("_newer", "_older", "_told", "_turned")

    def __init__(self) -> None:
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._turned = 0
        self._told: dict[tuple[float, ...], list[float | None]] = {}

    def add(self, buckets: Sequence[tuple[int, int]], now: int) -> None:
        """Add (bucket, count) pairs."""
        if now - self._turned > WINDOW:
            self._older = self._newer if now - self._turned < 2 * WINDOW else {}
            self._newer, self._turned = {}, now
        for bucket, count in buckets:
            self._newer[bucket] = self._newer.get(bucket, 0) + count
        self._told = {}

    def percentiles(self, *shares: float) -> list[float | None]:
        """Return milliseconds at these shares, None where nothing was measured; kept until more is added."""
        told = self._told
        if shares not in told:
            told[shares] = self._read(shares)
        return told[shares]

    def _read(self, shares: Sequence[float]) -> list[float | None]:
        merged = dict(self._older)
        for bucket, count in list(self._newer.items()):  # the writer adds to it meanwhile
            merged[bucket] = merged.get(bucket, 0) + count
        total = sum(merged.values())
        if not total:
            return [None for _ in shares]
        found: list[float | None] = []
        ordered = sorted(merged)
        for share in shares:
            seen = 0
            for bucket in ordered:
                seen += merged[bucket]
                if seen >= share * total:
                    found.append(round(2.0 ** ((bucket + 0.5) / 12) / 1000, 3))
                    break
        return found


@dataclass(slots=True)
class FeedMeasures:
    """One feed's running measures; owned by Monitor, copied out under its lock."""

    last_received: int = 0
    last_event: int = 0
    started: int = 0
    seconds: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=SECONDS_KEPT))
    """(second, received, quarantined)."""
    minutes: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=MINUTES_KEPT))
    ours: Histogram = field(default_factory=Histogram)
    theirs: Histogram = field(default_factory=Histogram)
    gaps: deque[Silence] = field(default_factory=lambda: deque(maxlen=200))
    connection: ConnectionState | None = None


def buckets(durations: pa.Array) -> pa.Array:
    """Return int32 histogram buckets of microseconds; what is below one microsecond is one."""
    clipped = pc.max_element_wise(durations.cast(pa.float64()), pa.scalar(1.0))
    return pc.floor(pc.multiply(pc.log2(clipped), 12.0)).cast(pa.int32())


class Monitor:
    """Keep the measures of every feed in memory. Called from the writer's side and from any reader."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._feeds: dict[int, FeedMeasures] = {}
        self._connections: dict[str, ConnectionState] = {}
        self._cadences: dict[int, float] = {}
        self.started = clock.now()
        self.last_group = 0

    def committed(self, ledger: pa.Table | None, times: pa.Table, frames: pa.Table, record_time: int) -> None:
        """Take in one commit: its ledger, times of stored rows, and (feed, received) of its frames."""
        received = _by_feed(ledger)
        newest = _newest(frames, "received")
        events = _newest(times, "event_time")
        ours = _histograms(frames, pc.subtract(pa.scalar(record_time, pa.int64()), _micros(frames, "received")))
        theirs = _histograms(times, pc.subtract(_micros(times, "received"), _micros(times, "event_time")))
        now = self._clock.now()
        with self._lock:
            self.last_group = now
            for feed, (count, quarantined) in received.items():
                measures = self._of(feed)
                _count(measures.seconds, now // SECOND, count, quarantined)
                _count(measures.minutes, now // MINUTE, count, quarantined)
            for feed, moment in newest.items():
                self._seen(feed, moment)
            for feed, moment in events.items():
                measures = self._of(feed)
                measures.last_event = max(measures.last_event, moment)
            for feed, pairs in ours.items():
                self._of(feed).ours.add(pairs, now)
            for feed, pairs in theirs.items():
                self._of(feed).theirs.add(pairs, now)

    def watch(self, specs: Sequence[FeedSpec]) -> None:
        """Learn the cadences of the feeds in force, to tell gaps."""
        with self._lock:
            self._cadences = {spec.id: spec.cadence for spec in specs if spec.cadence}

    def recall(self, newest: dict[int, int]) -> None:
        """Set the newest received time of feeds from the lake, after a start."""
        with self._lock:
            for feed, moment in newest.items():
                measures = self._of(feed)
                measures.last_received = max(measures.last_received, moment)

    def report(self, connection: str, state: ConnectionState, feeds: Sequence[int]) -> None:
        """Take in how a connection, or only these feeds of it, stands."""
        stamped = state if state.since else replace(state, since=self._clock.now())
        with self._lock:
            if feeds:
                for feed in feeds:
                    self._of(feed).connection = stamped
                return
            before = self._connections.get(connection)
            if before is not None and before.state == state.state and not state.since:
                stamped = replace(state, since=before.since)
            self._connections[connection] = stamped

    def connection(self, name: str) -> ConnectionState | None:
        """Return how a connection stands, None before its first report."""
        with self._lock:
            return self._connections.get(name)

    def warnings(self) -> dict[str, ConnectionState]:
        """Return the connections that work but must be looked at."""
        with self._lock:
            return {name: state for name, state in self._connections.items() if state.warning}

    def feed(self, feed: int) -> FeedMeasures | None:
        """Return a feed's measures; read only."""
        with self._lock:
            return self._feeds.get(feed)

    def rate(self, feed: int) -> float | None:
        """Return records a minute over the last minute, None before the first record."""
        now = self._clock.now() // SECOND
        with self._lock:
            measures = self._feeds.get(feed)
            if measures is None or not measures.last_received:
                return None
            total = 0
            for second, count, _ in reversed(measures.seconds):
                if now - second > 60:
                    break
                total += count
            return float(total)

    def _of(self, feed: int) -> FeedMeasures:
        measures = self._feeds.get(feed)
        if measures is None:
            measures = self._feeds[feed] = FeedMeasures(started=self._clock.now())
        return measures

    def _seen(self, feed: int, moment: int) -> None:
        measures = self._of(feed)
        cadence = self._cadences.get(feed)
        before = measures.last_received
        if cadence and before and moment - before > GAP_FACTOR * cadence * SECOND:
            measures.gaps.append(Silence(before, moment))
        measures.last_received = max(before, moment)


def _count(series: deque[tuple[int, int, int]], bucket: int, received: int, quarantined: int) -> None:
    if series and series[-1][0] == bucket:
        _, have, bad = series.pop()
        series.append((bucket, have + received, bad + quarantined))
    else:
        series.append((bucket, received, quarantined))


def _by_feed(ledger: pa.Table | None) -> dict[int, tuple[int, int]]:
    if ledger is None or not ledger.num_rows:
        return {}
    grouped = ledger.group_by("feed", use_threads=False).aggregate([("received", "sum"), ("quarantined", "sum")])
    columns = (grouped["feed"], grouped["received_sum"], grouped["quarantined_sum"])
    return {feed: (count, bad) for feed, count, bad in zip(*(column.to_pylist() for column in columns), strict=True)}


def _micros(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table[name].cast(pa.int64())


def _newest(table: pa.Table, name: str) -> dict[int, int]:
    if not table.num_rows:
        return {}
    grouped = (
        pa.table({"feed": table["feed"], "at": _micros(table, name)})
        .group_by("feed", use_threads=False)
        .aggregate([("at", "max")])
    )
    return dict(zip(grouped["feed"].to_pylist(), grouped["at_max"].to_pylist(), strict=True))


def _histograms(table: pa.Table, durations: pa.ChunkedArray) -> dict[int, list[tuple[int, int]]]:
    if not table.num_rows:
        return {}
    counted = pa.table({"feed": table["feed"], "bucket": buckets(durations)}).group_by(
        ["feed", "bucket"], use_threads=False
    )
    grouped = counted.aggregate([([], "count_all")])
    found: dict[int, list[tuple[int, int]]] = {}
    columns = (grouped["feed"], grouped["bucket"], grouped["count_all"])
    for feed, bucket, count in zip(*(column.to_pylist() for column in columns), strict=True):
        found.setdefault(feed, []).append((bucket, count))
    return found
