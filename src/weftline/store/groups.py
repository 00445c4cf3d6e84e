"""What one group writes: one INSERT per table from Arrow, provenance constants added in SQL, all in one transaction.

How totals of 10,000 feeds are kept was measured (2 cores, groups of 300 feeds, ms per group, p50/p99): the ledger's
own INSERT alone 1.3/2.5, with UPDATE FROM on a totals table 4.2/5.5, with a primary key 4.0/6.0, with MERGE 3.6/5.3,
with ON CONFLICT 4.3/6.8. So nothing but the ledger rows is written: totals are a folded table plus the rows after it,
read in 6–11 ms (25 ms on busy cores at 200,000 rows after the fold), and folded (11 ms) before a checkpoint.

Nothing here is an UPDATE (measured on DuckDB 2.0): while a read runs, CHECKPOINT is refused after an UPDATE, but not
after INSERT or DELETE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from weftline.clock import from_micros
from weftline.errors import ConflictError, InputError
from weftline.store.duck import table
from weftline.store.lake import LEDGER_TERMS, Group
from weftline.store.states import derive
from weftline.store.tables import STATE_DATASET, Shape, literal, quote, table_of

__all__ = [
    "TOTALS",
    "GroupRefusedError",
    "ReleasedGoneError",
    "Stamp",
    "dirty_hours",
    "fold_totals",
    "log",
    "write",
    "write_checkpoint",
    "write_names",
]


TOTALS = f"""
SELECT feed::INTEGER AS feed, {", ".join(f"sum({term})::BIGINT AS {term}" for term in LEDGER_TERMS)} FROM (
    SELECT feed, {", ".join(LEDGER_TERMS)} FROM weftline.ledger_total UNION ALL
    SELECT feed, {", ".join(LEDGER_TERMS)} FROM weftline.ledger
    WHERE commit_seq > (SELECT value FROM weftline.meta WHERE key = 'totals_through'))
GROUP BY feed ORDER BY feed
"""
"""Sum the ledger per feed: what is folded, and the rows after it."""


class GroupRefusedError(InputError):
    """Say why the lake cannot store a group although the store is well: its members are retried one by one."""

    code = "group-refused"


class ReleasedGoneError(ConflictError):
    """Say that quarantined records a replay gives back are no longer there: released before, or expired."""

    code = "released-gone"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The constants of one group."""

    commit_seq: int
    record_time: int
    lane: int
    next_quarantine: int

    @property
    def time(self) -> str:
        """Return record time as SQL."""
        return f"make_timestamptz({self.record_time})"

    @property
    def day(self) -> str:
        """Return record day (UTC) as SQL."""
        return f"DATE '{from_micros(self.record_time):%Y-%m-%d}'"

    @property
    def columns(self) -> str:
        """Return record_time, record_day and commit_seq as SQL."""
        return f"{self.time} AS record_time, {self.day} AS record_day, {self.commit_seq}::BIGINT AS commit_seq"


@contextlib.contextmanager
def _registered(cursor: Any, name: str, rows: pa.Table) -> Iterator[str]:
    cursor.register(name, rows)
    yield quote(name)
    # Not after an error: the view ends with the transaction, and an aborted one answers nothing but ROLLBACK.
    cursor.unregister(name)


def _lane(rows: pa.Table, stamp: Stamp) -> str:
    """Give the lane as SQL, but for rows of a replay, which keep the lane they came from."""
    return "" if "lane" in rows.column_names else f", {stamp.lane}::INTEGER AS lane"


def _write_rows(cursor: Any, dataset: str, rows: pa.Table, shape: Shape, stamp: Stamp) -> None:
    unknown = [name for name in rows.column_names if name not in shape]
    if unknown:
        raise GroupRefusedError(
            place=f"dataset {dataset}", found=f"column {unknown[0]}", expected="a column of the dataset's table"
        )
    with _registered(cursor, "group_rows", rows) as view:
        cursor.execute(
            f"INSERT INTO main.{quote(table_of(dataset))} BY NAME "
            f"SELECT *, {stamp.columns}{_lane(rows, stamp)} FROM {view}"
        )
        if dataset == STATE_DATASET:
            derive(cursor, view, shape, stamp.columns, stamp.commit_seq)


def _write_quarantine(cursor: Any, rows: pa.Table, stamp: Stamp) -> None:
    with _registered(cursor, "group_quarantine", rows) as view:
        cursor.execute(
            f"INSERT INTO weftline.quarantine BY NAME SELECT {stamp.next_quarantine - 1} + row_number() OVER () AS id, "
            f"*, {stamp.time} AS record_time, {stamp.commit_seq} AS commit_seq{_lane(rows, stamp)} FROM {view}"
        )


def _release(cursor: Any, group: Group, stamp: Stamp) -> None:
    """Take records out of quarantine; ledger rows of minus one each keep `quarantined` the current count."""
    wanted = pa.table({"id": pa.array(sorted(set(group.released)), pa.int64())})
    with _registered(cursor, "group_released", wanted) as view:
        found = table(cursor, f"SELECT count(*) FROM weftline.quarantine WHERE id IN (SELECT id FROM {view})")
        here = found.column(0)[0].as_py()
        if here != wanted.num_rows:
            raise ReleasedGoneError(
                place=f"producer {group.producer}",
                found=f"{wanted.num_rows - here} of {wanted.num_rows} quarantined records that are gone",
                expected="all of them still in quarantine",
                next_step="List the quarantine again; what was released or has expired is not replayed twice.",
            )
        zeros = ", ".join(f"{'-count(*)' if term == 'quarantined' else '0'} AS {term}" for term in LEDGER_TERMS)
        cursor.execute(
            f"INSERT INTO weftline.ledger BY NAME SELECT {stamp.commit_seq} AS commit_seq, feed, "
            f"date_trunc('hour', received) AS hour, {zeros} FROM weftline.quarantine "
            f"WHERE id IN (SELECT id FROM {view}) GROUP BY ALL"
        )
        cursor.execute(f"DELETE FROM weftline.quarantine WHERE id IN (SELECT id FROM {view})")


def dirty_hours(group: Group) -> set[tuple[str, int]]:
    """Return (dataset, hour in microseconds UTC) of every event time the group touches."""
    touched: set[tuple[str, int]] = set()
    for dataset, rows in group.rows.items():
        if rows.num_rows:
            micros = rows.column("event_time").cast(pa.int64())
            hours = pc.unique(pc.subtract(micros, _modulo_hour(micros)))
            touched.update((dataset, hour) for hour in hours.to_pylist())
    return touched


def _modulo_hour(micros: pa.ChunkedArray) -> pa.ChunkedArray:
    hour = 3_600_000_000
    down = pc.divide(micros, hour)  # rounds towards zero, so an hour before 1970 is its own bucket all the same
    return pc.subtract(micros, pc.multiply(down, hour))


def _write_dirty(cursor: Any, fresh: set[tuple[str, int]], stamp: Stamp) -> None:
    values = ", ".join(
        f"({literal(dataset)}, make_timestamptz({hour}), {stamp.commit_seq})" for dataset, hour in sorted(fresh)
    )
    cursor.execute(f"INSERT INTO weftline.dirty_bucket VALUES {values}")


def _write_keys(cursor: Any, group: Group, ids: dict[str, int], stamp: Stamp) -> None:
    for check, keys in group.keys:
        with _registered(cursor, "group_keys", keys) as view:
            cursor.execute(
                f"INSERT INTO weftline.key_hash BY NAME SELECT {stamp.commit_seq} AS commit_seq, "
                f"{ids[check.dataset]} AS dataset, {ids[check.rule]} AS rule, *{_lane(keys, stamp)} FROM {view}"
            )


def _write_plain(cursor: Any, target: str, rows: pa.Table, constants: str = "") -> None:
    with _registered(cursor, "group_plain", rows) as view:
        cursor.execute(f"INSERT INTO weftline.{target} BY NAME SELECT *{constants} FROM {view}")


def write(
    cursor: Any,
    group: Group,
    shapes: dict[str, Shape],
    stamp: Stamp,
    *,
    fresh: set[tuple[str, int]],
    ids: dict[str, int],
) -> None:
    """Write everything of a group but its checkpoint; the caller holds the transaction.

    `fresh` are dirty buckets not yet marked, `ids` dictionary ids of datasets and rules of the group's keys.
    """
    for dataset, rows in group.rows.items():
        shape = shapes.get(table_of(dataset))
        if shape is None:
            raise GroupRefusedError(
                place=f"dataset {dataset}", found="no table", expected="a dataset the lake was told of"
            )
        if rows.num_rows:
            _write_rows(cursor, dataset, rows, shape, stamp)
    if group.released:
        _release(cursor, group, stamp)
    if group.quarantine is not None and group.quarantine.num_rows:
        _write_quarantine(cursor, group.quarantine, stamp)
    seq = f", {stamp.commit_seq} AS commit_seq"
    if group.ledger is not None and group.ledger.num_rows:
        _write_plain(cursor, "ledger", group.ledger, seq)
    if group.receipts is not None and group.receipts.num_rows:
        constants = f"{seq}, {stamp.time} AS record_time, {literal(group.producer)} AS producer, {group.epoch} AS epoch"
        _write_plain(cursor, "receipt", group.receipts, constants)
    if group.set_counts is not None and group.set_counts.num_rows:
        _write_plain(cursor, "set_count", group.set_counts)
    if fresh:
        _write_dirty(cursor, fresh, stamp)
    _write_keys(cursor, group, ids, stamp)


def write_checkpoint(cursor: Any, group: Group, stamp: Stamp, *, known: bool, records: int, complete: bool) -> None:
    """Move the producer's checkpoint and write the commit log's row."""
    place = f"producer = {literal(group.producer)} AND epoch = {group.epoch}"
    if known:
        # Not UPDATE: while any read runs, rows it may still see in their old form keep CHECKPOINT from finishing.
        cursor.execute(f"DELETE FROM weftline.checkpoint WHERE {place}")
    cursor.execute(
        "INSERT INTO weftline.checkpoint VALUES (?, ?, ?, ?, ?, ?, ?)",
        (group.producer, group.epoch, group.last, complete, records, stamp.lane, stamp.commit_seq),
    )
    fresh_ids = group.quarantine.num_rows if group.quarantine is not None else 0
    log(cursor, stamp, group.producer, (group.epoch, group.first, group.last), new_ids=fresh_ids, job=group.job)


def log(
    cursor: Any, stamp: Stamp, producer: str, span: tuple[int, int, int], *, new_ids: int = 0, job: str = ""
) -> None:
    """Write one row of the commit log: what was committed under this commit_seq."""
    epoch, first, last = span
    cursor.execute(
        "INSERT INTO weftline.commit_log VALUES (?, ?, ?, ?, ?, make_timestamptz(?::BIGINT), ?, ?)",
        (
            stamp.commit_seq,
            producer,
            epoch,
            first,
            last,
            stamp.record_time,
            stamp.next_quarantine + new_ids,
            job,
        ),
    )


def write_names(cursor: Any, kind: str, names: pa.Table) -> None:
    """Write new dictionary entries (name, id) of one kind."""
    with _registered(cursor, "group_names", names) as view:
        cursor.execute(f"INSERT INTO weftline.dictionary BY NAME SELECT {literal(kind)} AS kind, * FROM {view}")


def fold_totals(cursor: Any, through: int) -> None:
    """Fold the ledger rows up to commit_seq `through`, the newest, into the totals."""
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE folded AS {TOTALS}")
    cursor.execute("DELETE FROM weftline.ledger_total")
    cursor.execute("INSERT INTO weftline.ledger_total BY NAME SELECT * FROM folded")
    cursor.execute("DELETE FROM weftline.meta WHERE key = 'totals_through'")
    cursor.execute("INSERT INTO weftline.meta VALUES ('totals_through', ?)", (through,))
