"""A compiled contract object: what it writes, which rules it holds, and the SQL that maps and checks a whole batch.

Input tables of the SQL: `batch` (n BIGINT row number, feed INTEGER, received TIMESTAMPTZ, and the source fields renamed
s0 … sK) and `params` (feed INTEGER, enforce0 … BIGINT masks, future_limit DOUBLE, and one column per feed parameter).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import pyarrow as pa

from weftline.model.dataset import Column

__all__ = ["CompiledPlan", "NotRun", "ObjectPlan", "RowRule", "Scope", "SetRule", "UniqueRule"]


class Scope(StrEnum):
    """Say over what a key is unique (DESIGN §4)."""

    BATCH = "batch"
    WINDOW = "window"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class RowRule:
    """One rule that decides rows: bit `bit % 62` of mask `bit // 62`."""

    id: str
    field: str
    kind: str  # required, type, pattern, minimum, …, sql, future, unit
    expected: str
    bit: int
    always: bool = False
    """Enforced in every mode: without it the row cannot be stored (a fixed column would be null)."""


@dataclass(frozen=True, slots=True)
class SetRule:
    """One rule over the rows of a feed and received hour; its partial is `rows` and `failing` (column i<n> of the plan)."""

    id: str
    field: str
    metric: str
    unit: str  # rows | percent
    operator: str  # mustBe, mustNotBe, mustBeGreaterThan, …, mustBeBetween
    limits: tuple[float, ...]
    indicator: str
    dimension: str = ""
    severity: str = ""


@dataclass(frozen=True, slots=True)
class UniqueRule:
    """One key. The plan gives its hash as column `k<n>`; nulls never collide unless it is the primary key."""

    id: str
    columns: tuple[str, ...]
    scope: Scope
    window: float
    """Seconds of record time for scope window."""
    hash_column: str
    bit: int


@dataclass(frozen=True, slots=True)
class NotRun:
    """A rule for an engine we do not run: listed, never passed."""

    id: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """SQL for one schema of source fields.

    `main` gives, in order of n: n, feed, selected BOOLEAN (the object's `where`), event_time, time_source, one column per
    target column, extra, mask0 …, failed BOOLEAN (mask & enforce), i0 … (set indicators), k0 … (key hashes).
    Indicators are BOOLEAN, never null, true where the row is counted; key hashes are UBIGINT, null where the row has no key;
    both, and the masks, are empty for a row that is not selected. A feed without a row in `params` enforces every rule.
    `violations` takes a third input `failing` (n BIGINT) and gives (n, rule, field, found, expected) for those rows only;
    where the object has no unique rule, `batch` may hold the failing rows alone.
    """

    main: str
    violations: str


class ObjectPlan(Protocol):
    """One schema object of one contract version, compiled once; `key` is equal for equal meaning."""

    key: str
    contract: str
    version: str
    object: str
    dataset: str
    columns: tuple[Column, ...]
    row_rules: tuple[RowRule, ...]
    set_rules: tuple[SetRule, ...]
    unique_rules: tuple[UniqueRule, ...]
    not_run: tuple[NotRun, ...]
    source_types: dict[str, pa.DataType]
    """Source field → type the fast path of a codec may assume."""

    def compile(self, fields: pa.Schema, params: pa.Schema) -> CompiledPlan:
        """Return the SQL for these source fields and parameters; cached by both schemas."""
        ...
