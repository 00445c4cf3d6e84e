"""The ledger as people read it: what the lake holds, what waits, and whether both sides of each feed agree."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec
import structlog

from weftline.clock import Clock
from weftline.errors import TransientError
from weftline.ingest.road import Road
from weftline.service.views import LedgerHour, LedgerRow
from weftline.spool.base import LogCount
from weftline.store.lake import LEDGER_TERMS, Lake

__all__ = ["Books", "total", "unread"]

log = structlog.get_logger()
FRESH_SECONDS = 1.0
FEEDS_A_SECOND = 4000
"""Totals of ten thousand feeds are read every two and a half seconds."""
LOOKS_BEFORE_FALSE = 3


class Books:
    """Read totals at most once a second, however many pages ask.

    Balance is judged on two independent counts: records by the terms of the checkpoint, and frames by the Log's own
    count at fsync against frames taken plus frames waiting. While commits run the two are read at slightly different
    moments, so a difference counts only if it stands still over three looks.
    """

    def __init__(self, road: Road, lake: Lake, clock: Clock) -> None:
        self._road = road
        self._lake = lake
        self._clock = clock
        self._lock = threading.Lock()
        self._read = -FRESH_SECONDS
        self._rows: dict[int, LedgerRow] = {}
        self._differences: dict[int, tuple[int, int]] = {}

    def rows(self) -> dict[int, LedgerRow]:
        """Return one ledger row per feed in force or ever seen, by feed id."""
        with self._lock:
            if self._clock.steady() - self._read >= max(FRESH_SECONDS, len(self._rows) / FEEDS_A_SECOND):
                try:
                    self._rows = self._look()
                except TransientError as error:
                    # The tower is needed most when the lake cannot be read: old figures, and no verdict on them.
                    log.warning("ledger not read", error=str(error))
                    self._rows = {feed: msgspec.structs.replace(row, balanced=None) for feed, row in self._rows.items()}
                self._read = self._clock.steady()
            return self._rows

    def hours(self, feed: str, limit: int = 48) -> list[LedgerHour]:
        """Return the newest hours of one feed."""
        table = self._lake.scan(
            "SELECT epoch_us(hour) AS hour, received, stored, quarantined, duplicate, ignored, expired, rows "
            "FROM ledger WHERE feed = $feed ORDER BY hour DESC LIMIT $hours",
            {"feed": feed, "hours": limit},
        )
        names = ("hour", "received", "stored", "quarantined", "duplicate", "ignored", "expired", "rows")
        return [LedgerHour(**{name: int(row[name] or 0) for name in names}) for row in table.to_pylist()]

    def _look(self) -> dict[int, LedgerRow]:
        before = self._road.counts()
        totals = {row["feed"]: row for row in self._lake.totals().to_pylist()}
        waiting = self._road.waiting()
        after = self._road.counts()
        book = self._road.book()
        found: dict[int, LedgerRow] = {}
        for feed in {*totals, *book.specs}:
            terms = {term: int(totals.get(feed, {}).get(term) or 0) for term in LEDGER_TERMS}
            waits = None if waiting is None else waiting.get(feed, 0)
            balanced = None
            if waits is not None:
                settled = sum(terms[term] for term in ("stored", "quarantined", "duplicate", "ignored", "expired"))
                spooled = self._agree(feed, before, after, terms["frames"] + waits)
                balanced = None if spooled is None else spooled and settled == terms["received"]
            received = terms.pop("received") + (waits or 0)
            found[feed] = LedgerRow(feed=book.name(feed), received=received, waiting=waits, balanced=balanced, **terms)
        return found

    def _agree(
        self, feed: int, before: Mapping[int, LogCount], after: Mapping[int, LogCount], seen: int
    ) -> bool | None:
        least, most = (counts[feed][0] if feed in counts else 0 for counts in (before, after))
        if most == 0 or least <= seen <= most:
            self._differences.pop(feed, None)
            return True
        difference, looks = self._differences.get(feed, (0, 0))
        looks = looks + 1 if difference == most - seen else 1
        self._differences[feed] = (most - seen, looks)
        return False if looks >= LOOKS_BEFORE_FALSE else None


def unread(feed: str) -> LedgerRow:
    """Return the row of a feed whose ledger was never read: nothing is proven, `waiting` and balance are unknown."""
    return LedgerRow(
        feed=feed, received=0, stored=0, quarantined=0, duplicate=0, ignored=0, expired=0, waiting=None, balanced=None
    )


def total(rows: list[LedgerRow]) -> LedgerRow:
    """Return the sum over feeds; unknown in one term of one feed is unknown in the sum."""
    waits = [row.waiting for row in rows]
    sums = {
        term: sum(getattr(row, term) for row in rows)
        for term in ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "rows", "frames")
    }
    verdicts = {row.balanced for row in rows}
    balanced = False if False in verdicts else None if None in verdicts else True
    waiting = None if None in waits else sum(value for value in waits if value is not None)
    return LedgerRow(feed="", waiting=waiting, balanced=balanced, **sums)
