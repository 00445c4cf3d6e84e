"""Recount the ledger from what is there: data, quarantine, checkpoints and the Log's own counts; never by subtraction.

Each term is counted twice, from independent places, and every difference is a finding with both numbers. The caller
takes the Log's counts and the waiting frames from the spool; the lake's side is one snapshot per statement, so it
verifies while nothing is being committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from weftline.errors import Complaint
from weftline.store.lake import LEDGER_TERMS, Lake
from weftline.store.tables import RESERVED, STATE_DATASET, STATE_EVENT, quote

__all__ = ["LedgerFinding", "verify"]

Counts = dict[int, int]
"""Feed id → number."""


class FrameCount(Protocol):
    """What the Log counted of one feed at fsync."""

    @property
    def frames(self) -> int:
        """Return durable frames since the Log was made."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerFinding:
    """One difference: `counted` from the things themselves, `told` by the ledger."""

    feed: str
    term: str
    counted: int
    told: int

    def complaint(self) -> Complaint:
        """Return the finding as a person reads it."""
        return Complaint(
            "ledger-mismatch",
            f"feed {self.feed}",
            f"{self.counted} {self.term} when counted again",
            f"{self.told} as the ledger says",
            "Keep the folder as it is and read docs/errors/store.md.",
        )


def verify(
    lake: Lake, log_counts: Mapping[int, FrameCount] | None = None, waiting: Mapping[int, int] | None = None
) -> list[LedgerFinding]:
    """Return every difference between the ledger and what is there; an empty list means it balances.

    `log_counts` are the frames the spool counted per feed id over all its lanes, `waiting` the frames it still holds
    after the checkpoint, read and not computed. Without them the frames of the spool are left out.
    """
    names = lake.names("feed")
    told = _totals(lake.totals())
    findings = [
        *_compare(names, "stored", _stored(lake), told["stored"]),
        *_compare(names, "rows", _rows(lake), told["rows"]),
        *_compare(names, "quarantined", _quarantined(lake), told["quarantined"]),
        *_parts(lake, names, told),
        *_balance(names, told),
        *_checkpoints(lake, told),
    ]
    if log_counts is not None:
        processed, left = told["frames"], waiting or {}
        seen = {feed: processed.get(feed, 0) + left.get(feed, 0) for feed in {*processed, *left}}
        findings += _compare(names, "frames", seen, {feed: count.frames for feed, count in log_counts.items()})
    return findings


def _counts(found: pa.Table) -> Counts:
    feeds, numbers = (column.to_pylist() for column in found.columns)
    return dict(zip(feeds, numbers, strict=True))


def _totals(found: pa.Table) -> dict[str, Counts]:
    feeds = found.column("feed").to_pylist()
    return {term: dict(zip(feeds, found.column(term).to_pylist(), strict=True)) for term in LEDGER_TERMS}


def _fact_tables(lake: Lake) -> list[str]:
    found = lake.scan(
        "SELECT table_name FROM duckdb_columns() WHERE schema_name = 'main' AND database_name = 'lake' "
        "AND NOT internal AND column_name = 'commit_seq' ORDER BY table_name"
    )
    kept = (RESERVED | {STATE_DATASET}) - {STATE_EVENT}  # intervals are derived; their events are the records
    return [name for name in found.column(0).to_pylist() if name not in kept]


def _stored(lake: Lake) -> Counts:
    tables = _fact_tables(lake)
    if not tables:
        return {}
    parts = " UNION ALL ".join(f"SELECT feed, lane, frame, position FROM main.{quote(name)}" for name in tables)
    return _counts(
        lake.scan(
            f"SELECT feed, count(*) FROM (SELECT DISTINCT feed, lane, frame, position FROM ({parts})) GROUP BY feed"
        )
    )


def _rows(lake: Lake) -> Counts:
    tables = _fact_tables(lake)
    if not tables:
        return {}
    parts = " UNION ALL ".join(f"SELECT feed FROM main.{quote(name)}" for name in tables)
    return _counts(lake.scan(f"SELECT feed, count(*) FROM ({parts}) GROUP BY feed"))


def _quarantined(lake: Lake) -> Counts:
    return _counts(lake.scan("SELECT feed, count(*) FROM weftline.quarantine GROUP BY feed"))


def _parts(lake: Lake, names: Mapping[int, str], told: Mapping[str, Counts]) -> list[LedgerFinding]:
    """Compare the kept totals with the rows they were folded from, per term."""
    sums = ", ".join(f"sum({term})::BIGINT AS {term}" for term in LEDGER_TERMS)
    columns = ", ".join(LEDGER_TERMS)
    again = _totals(
        lake.scan(
            f"SELECT feed, {sums} FROM (SELECT feed, {columns} FROM weftline.ledger "
            f"UNION ALL SELECT feed, {columns} FROM weftline.ledger_hour) GROUP BY feed"
        )
    )
    return [
        finding
        for term in LEDGER_TERMS
        for finding in _compare(names, f"{term} in the ledger's rows", again[term], told[term])
    ]


def _balance(names: Mapping[int, str], told: Mapping[str, Counts]) -> list[LedgerFinding]:
    """Check that what was received has an outcome: the terms of one group leave nothing open."""
    outcomes = ("stored", "quarantined", "duplicate", "ignored", "expired")
    feeds = set(told["received"])
    summed = {feed: sum(told[term].get(feed, 0) for term in outcomes) for feed in feeds}
    return _compare(names, "received", summed, told["received"])


def _checkpoints(lake: Lake, told: Mapping[str, Counts]) -> list[LedgerFinding]:
    """Compare the records the checkpoints count with the ledger's, and the checkpoints with the commit log."""
    records = lake.scan("SELECT coalesce(sum(records), 0)::BIGINT FROM weftline.checkpoint")
    counted = records.column(0)[0].as_py()
    received = sum(told["received"].values())
    findings = [] if counted == received else [LedgerFinding("all", "records of the checkpoints", counted, received)]
    last = lake.scan(
        'SELECT c.producer, c."offset" AS told, max(l."last") AS counted FROM weftline.checkpoint c '
        "JOIN weftline.commit_log l ON l.producer = c.producer AND l.epoch = c.epoch "
        'GROUP BY c.producer, c.epoch, c."offset" HAVING max(l."last") <> c."offset" ORDER BY c.producer'
    )
    findings += [
        LedgerFinding(row["producer"], "offset of the checkpoint", row["counted"], row["told"])
        for row in last.to_pylist()
    ]
    return findings


def _compare(names: Mapping[int, str], term: str, counted: Counts, told: Counts) -> list[LedgerFinding]:
    return [
        LedgerFinding(names.get(feed, f"#{feed}"), term, counted.get(feed, 0), told.get(feed, 0))
        for feed in sorted({*counted, *told})
        if counted.get(feed, 0) != told.get(feed, 0)
    ]
