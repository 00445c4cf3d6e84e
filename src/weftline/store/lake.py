"""The lake's interface: `commit(group)` and `position(producer)`, and reads that return Arrow.

A group is idempotent per (producer, epoch, first–last offset). Everything that changes the lake (rows, DDL, retention,
release of quarantined records, partials) is a group or a named change in the one writer's queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from weftline.batch import TIMESTAMP
from weftline.model.dataset import DatasetSpec
from weftline.model.position import Position

__all__ = [
    "LEDGER",
    "LEDGER_TERMS",
    "QUARANTINE",
    "RECEIPT",
    "SET_COUNT",
    "VIOLATION",
    "Committed",
    "Group",
    "KeyCheck",
    "Lake",
    "LakeHealth",
]

LEDGER_TERMS = ("frames", "received", "stored", "quarantined", "duplicate", "ignored", "expired", "rows")
"""`frames` counts frames taken from the Log; `rows` counts rows stored (fan-out); the others count records."""

LEDGER: pa.Schema = pa.schema(
    [pa.field("feed", pa.int32()), pa.field("hour", TIMESTAMP), *(pa.field(term, pa.int64()) for term in LEDGER_TERMS)]
)
"""Counters of one group per feed and received hour (UTC)."""

VIOLATION: pa.DataType = pa.struct(
    [
        pa.field("rule", pa.string()),
        pa.field("field", pa.string()),
        pa.field("found", pa.string()),
        pa.field("expected", pa.string()),
    ]
)

QUARANTINE: pa.Schema = pa.schema(
    [
        pa.field("feed", pa.int32()),
        pa.field("contract", pa.int32()),
        pa.field("frame", pa.uint64()),
        pa.field("position", pa.uint32()),
        pa.field("received", TIMESTAMP),
        pa.field("stage", pa.string()),  # decode | validate | whole frame (parked): decode, contract, frame
        pa.field("code", pa.string()),
        pa.field("fingerprint", pa.string()),  # contract, rule and field: the group people work on
        pa.field("violations", pa.list_(VIOLATION)),
        pa.field("attributes", pa.binary()),
        pa.field("original", pa.binary()),
    ]
)

RECEIPT: pa.Schema = pa.schema(
    [
        pa.field("frame", pa.uint64()),
        pa.field("feed", pa.int32()),
        pa.field("identity", pa.binary()),
        pa.field("received", TIMESTAMP),
        pa.field("records", pa.int64()),
        pa.field("stored", pa.int64()),
        pa.field("quarantined", pa.int64()),
        pa.field("duplicate", pa.int64()),
        pa.field("ignored", pa.int64()),
    ]
)
"""One row per pushed frame that asked for a receipt (HTTP); (lane, epoch, frame) is the receipt's id."""

SET_COUNT: pa.Schema = pa.schema(
    [
        pa.field("feed", pa.int32()),
        pa.field("contract", pa.int32()),
        pa.field("rule", pa.string()),
        pa.field("hour", TIMESTAMP),
        pa.field("rows", pa.int64()),
        pa.field("failing", pa.int64()),
    ]
)
"""Additive partials of set rules per feed and received hour."""


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Ask which keys of a uniqueness rule the lake already holds, and record the new ones with the group.

    `hash` is uint64 per row, `scope` 'window' or 'dataset'; `columns` are the key columns to verify on a hit.
    """

    dataset: str
    rule: str
    scope: str
    window: float
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit makes visible at once. Offsets are contiguous within (producer, epoch)."""

    producer: str
    epoch: int
    first: int
    last: int
    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    """Dataset → FACT_COLUMNS without record_time, record_day, commit_seq and lane, then the dataset's columns.

    A table that has a column `lane` keeps it: rows of a replay stay under the permalink of the frame they came from.
    The same holds for `quarantine` and `keys`. Rows of `equipment_state` are events; the lake derives the intervals.
    """
    ledger: pa.Table | None = None
    quarantine: pa.Table | None = None
    receipts: pa.Table | None = None
    set_counts: pa.Table | None = None
    keys: Sequence[tuple[KeyCheck, pa.Table]] = ()
    """New keys: tables of (hash uint64, frame uint64, position uint32, row uint32)."""
    released: Sequence[int] = ()
    """Quarantine ids a replay gives back; the ledger of this group holds their new outcome."""
    complete: bool = False
    """The producer has nothing after `last`."""
    records: int = 0
    """Records the codec cut in this group, for Position.records."""
    job: str = ""
    """Idempotency key of a control job this group belongs to."""


class Committed(NamedTuple):
    """Say what a commit did: `commit_seq` is 0 and `repeated` True where the group was already in the lake."""

    commit_seq: int
    record_time: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class LakeHealth:
    """Gauges of the lake. Sizes are bytes, times microseconds UTC, ages seconds."""

    file_bytes: int
    wal_bytes: int
    free_bytes: int
    commit_seq: int
    last_commit: int
    oldest_snapshot_age: float
    checkpoints: int
    last_checkpoint_seconds: float
    reopened: int
    """Times the instance was reopened after an unknown outcome."""
    holding: str
    """Why admission is stopped, or an empty string."""


class Lake(Protocol):
    """Facts, quarantine, ledger, checkpoints. One object owns the file; writers queue, reads come from any thread."""

    def commit(self, group: Group) -> Committed:
        """Make a group visible at once, or say that it was already in the lake.

        Raises GroupRefusedError (the group itself cannot be stored), GroupOverlapError (its offsets contradict the
        checkpoint), OutcomeUnknownError (COMMIT failed: commit the same group again) and LakeUnavailableError.
        """
        ...

    def trial(self, group: Group) -> None:
        """Write a group and roll it back: raises what `commit` would, stores nothing."""
        ...

    def change(self, name: str, action: Callable[..., Any], *args: Any) -> Any:
        """Run a named change (DDL, retention, compaction) in the writer's queue."""
        ...

    def maintain(self) -> None:
        """Fold and checkpoint if due; the writer's loop calls it whenever it has nothing to do."""
        ...

    def position(self, producer: str) -> Position | None:
        """Return how far the lake holds this producer."""
        ...

    def positions(self, prefix: str) -> list[Position]:
        """Return the positions of every producer whose name starts with `prefix`."""
        ...

    def dictionary(self, kind: str, names: Sequence[str]) -> dict[str, int]:
        """Return stable ids of names of one kind (`feed`, `contract`, `lane`), making new ones."""
        ...

    def names(self, kind: str) -> dict[int, str]:
        """Return id → name of one kind."""
        ...

    def ensure(self, datasets: Sequence[DatasetSpec]) -> None:
        """Create tables and add nullable columns; a changed type is refused."""
        ...

    def known_keys(self, check: KeyCheck, rows: pa.Table) -> pa.Array:
        """Return for each row of (hash, key columns) whether the lake holds the key: bool array in row order."""
        ...

    def scan(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """Read as the system. Allowed only in packages the import test lists."""
        ...

    def select(self, sql: str, params: Mapping[str, Any] | None, *, timeout: float, heavy: bool = False) -> pa.Table:
        """Read behind the one door: one SELECT, through the admission gate, interrupted after `timeout` seconds."""
        ...

    def totals(self) -> pa.Table:
        """Return the ledger per feed: LEDGER_TERMS, with `quarantined` as the current count."""
        ...

    def health(self) -> LakeHealth:
        """Return the gauges; never waits."""
        ...

    def close(self) -> None:
        """End reads and close the file."""
        ...
