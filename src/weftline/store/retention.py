"""What the lake lets go of, each as a named change in the writer's queue: nothing disappears without its counter.

Quarantined records past their time become `expired` in the ledger, in the transaction that deletes them. Ledger rows of
single groups fold to feed × hour. Receipts, set partials and the commit log keep their horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weftline.store.duck import table
from weftline.store.groups import fold_totals
from weftline.store.lake import LEDGER_TERMS, Lake

__all__ = ["Horizons", "retain"]

DAY = 86_400_000_000

_NEXT_SEQ = "(SELECT coalesce(max(commit_seq), 0) + 1 FROM weftline.commit_log)"
_SUMS = ", ".join(f"sum({term})::BIGINT AS {term}" for term in LEDGER_TERMS)


@dataclass(frozen=True, slots=True)
class Horizons:
    """How long things are kept, in days. `receipts` is also how long an idempotency key is remembered."""

    quarantine: float = 90.0
    ledger: float = 7.0
    receipts: float = 1.0
    set_counts: float = 7.0
    commit_log: float = 35.0
    """At least the longest window of a uniqueness rule, which finds its first commit here."""


def retain(lake: Lake, now: int, horizons: Horizons | None = None) -> dict[str, int]:
    """Let go of what is past its horizon; return rows per kind. `now` is microseconds UTC."""
    kept = horizons or Horizons()
    work = (
        ("quarantine", _expire_quarantine, kept.quarantine),
        ("ledger", _fold_ledger, kept.ledger),
        ("receipts", _drop_receipts, kept.receipts),
        ("set_counts", _fold_set_counts, kept.set_counts),
        ("commit_log", _trim_commit_log, kept.commit_log),
    )
    return {name: lake.change(f"retain:{name}", action, now - int(days * DAY)) for name, action, days in work}


def _number(cursor: Any, sql: str) -> int:
    return int(table(cursor, sql).column(0)[0].as_py() or 0)


def _expire_quarantine(cursor: Any, before: int) -> int:
    past = f"FROM weftline.quarantine WHERE record_time < make_timestamptz({before})"
    gone = _number(cursor, f"SELECT count(*) {past}")
    if gone:
        signs = {"quarantined": "-count(*)", "expired": "count(*)"}
        terms = ", ".join(f"{signs.get(term, '0')} AS {term}" for term in LEDGER_TERMS)
        cursor.execute(
            f"INSERT INTO weftline.ledger BY NAME SELECT {_NEXT_SEQ} AS commit_seq, feed, "
            f"date_trunc('hour', received) AS hour, {terms} {past} GROUP BY ALL"
        )
        cursor.execute(f"DELETE {past}")
    return gone


def _fold_ledger(cursor: Any, before: int) -> int:
    """Fold to feed × hour; the totals are folded first, so that they never count a row twice."""
    last = _number(
        cursor, f"SELECT max(commit_seq) FROM weftline.commit_log WHERE record_time < make_timestamptz({before})"
    )
    rows = _number(cursor, f"SELECT count(*) FROM weftline.ledger WHERE commit_seq <= {last}")
    if rows:
        fold_totals(cursor, _number(cursor, "SELECT max(commit_seq) FROM weftline.commit_log"))
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE folded_hour AS "
            f"SELECT feed, hour, {_SUMS} FROM weftline.ledger WHERE commit_seq <= {last} GROUP BY ALL"
        )
        cursor.execute(
            "INSERT INTO folded_hour BY NAME SELECT h.* FROM weftline.ledger_hour h "
            "WHERE EXISTS (SELECT 1 FROM folded_hour f WHERE f.feed = h.feed AND f.hour = h.hour)"
        )
        cursor.execute(
            "DELETE FROM weftline.ledger_hour h USING folded_hour f WHERE f.feed = h.feed AND f.hour = h.hour"
        )
        cursor.execute(
            f"INSERT INTO weftline.ledger_hour BY NAME SELECT feed, hour, {_SUMS} FROM folded_hour GROUP BY ALL"
        )
        cursor.execute(f"DELETE FROM weftline.ledger WHERE commit_seq <= {last}")
    return rows


def _drop_receipts(cursor: Any, before: int) -> int:
    past = f"FROM weftline.receipt WHERE record_time < make_timestamptz({before})"
    gone = _number(cursor, f"SELECT count(*) {past}")
    if gone:
        cursor.execute(f"DELETE {past}")
    return gone


def _fold_set_counts(cursor: Any, before: int) -> int:
    """Join the partials of an hour that is over into one row."""
    past = f"FROM weftline.set_count WHERE hour < make_timestamptz({before})"
    extra = _number(cursor, f'SELECT count(*) - count(DISTINCT (feed, contract, "rule", hour)) {past}')
    if extra:
        cursor.execute(
            'CREATE OR REPLACE TEMP TABLE folded_set AS SELECT feed, contract, "rule", hour, '
            f'sum("rows")::BIGINT AS "rows", sum(failing)::BIGINT AS failing {past} GROUP BY ALL'
        )
        cursor.execute(f"DELETE {past}")
        cursor.execute("INSERT INTO weftline.set_count BY NAME SELECT * FROM folded_set")
    return extra


def _trim_commit_log(cursor: Any, before: int) -> int:
    past = (
        f"FROM weftline.commit_log WHERE record_time < make_timestamptz({before}) "
        "AND commit_seq < (SELECT max(commit_seq) FROM weftline.commit_log)"
    )
    gone = _number(cursor, f"SELECT count(*) {past}")
    if gone:
        cursor.execute(f"DELETE {past}")
    return gone
