"""Tables of the lake: the DDL, DuckDB's names of Arrow types, and how a dataset gets its table and later columns.

Datasets live in schema `main`, so that a reader names them plainly. What the lake keeps for itself lives in schema
`weftline`, which the guard never lets a reader name; views `ledger` and `quarantine` show the readable part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from weftline.batch import FACT_COLUMNS
from weftline.errors import ConflictError, InputError
from weftline.model.dataset import DatasetSpec
from weftline.store.lake import LEDGER_TERMS

__all__ = [
    "RESERVED",
    "STATE_DATASET",
    "STATE_EVENT",
    "DatasetChangedError",
    "DatasetNameError",
    "Shape",
    "columns_of",
    "create_system",
    "duckdb_type",
    "ensure",
    "literal",
    "quote",
    "table_of",
]

Shape = dict[str, str]
"""Column name → DuckDB type of one table, in table order."""

STATE_DATASET = "equipment_state"
STATE_EVENT = "equipment_state_event"
STATE_CURRENT = "equipment_state_current"

RESERVED = frozenset({"contract", "feed", "ledger", "quarantine", STATE_EVENT, STATE_CURRENT})
"""Names a dataset document may not take: the lake keeps them itself."""

_TERMS = ", ".join(f"{term} BIGINT NOT NULL" for term in LEDGER_TERMS)
_SUMS = ", ".join(f"sum({term})::BIGINT AS {term}" for term in LEDGER_TERMS)

_SYSTEM = f"""
CREATE SCHEMA weftline;
CREATE TABLE weftline.version (lake INTEGER NOT NULL, migrated TIMESTAMPTZ NOT NULL);
CREATE TABLE weftline.meta (key VARCHAR NOT NULL, value BIGINT NOT NULL);
CREATE TABLE weftline.dictionary (kind VARCHAR NOT NULL, id INTEGER NOT NULL, name VARCHAR NOT NULL);
CREATE TABLE weftline.checkpoint (
    producer VARCHAR NOT NULL, epoch BIGINT NOT NULL, "offset" BIGINT NOT NULL, complete BOOLEAN NOT NULL,
    records BIGINT NOT NULL, lane INTEGER NOT NULL, commit_seq BIGINT NOT NULL);
CREATE TABLE weftline.commit_log (
    commit_seq BIGINT NOT NULL, producer VARCHAR NOT NULL, epoch BIGINT NOT NULL, "first" BIGINT NOT NULL,
    "last" BIGINT NOT NULL, record_time TIMESTAMPTZ NOT NULL, next_quarantine BIGINT NOT NULL, job VARCHAR NOT NULL);
CREATE TABLE weftline.ledger (commit_seq BIGINT NOT NULL, feed INTEGER NOT NULL, hour TIMESTAMPTZ NOT NULL, {_TERMS});
CREATE TABLE weftline.ledger_hour (feed INTEGER NOT NULL, hour TIMESTAMPTZ NOT NULL, {_TERMS});
CREATE TABLE weftline.ledger_total (feed INTEGER NOT NULL, {_TERMS});
CREATE TABLE weftline.quarantine (
    id BIGINT NOT NULL, commit_seq BIGINT NOT NULL, record_time TIMESTAMPTZ NOT NULL, feed INTEGER NOT NULL,
    contract INTEGER NOT NULL, lane INTEGER NOT NULL, frame UBIGINT NOT NULL, position UINTEGER NOT NULL,
    received TIMESTAMPTZ NOT NULL, stage VARCHAR NOT NULL, code VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL,
    violations STRUCT("rule" VARCHAR, field VARCHAR, found VARCHAR, expected VARCHAR)[],
    attributes BLOB, original BLOB);
CREATE TABLE weftline.receipt (
    commit_seq BIGINT NOT NULL, record_time TIMESTAMPTZ NOT NULL, producer VARCHAR NOT NULL, epoch BIGINT NOT NULL,
    frame UBIGINT NOT NULL, feed INTEGER NOT NULL, identity BLOB, received TIMESTAMPTZ NOT NULL,
    records BIGINT NOT NULL, stored BIGINT NOT NULL, quarantined BIGINT NOT NULL, duplicate BIGINT NOT NULL,
    ignored BIGINT NOT NULL);
CREATE TABLE weftline.set_count (
    feed INTEGER NOT NULL, contract INTEGER NOT NULL, "rule" VARCHAR NOT NULL, hour TIMESTAMPTZ NOT NULL,
    "rows" BIGINT NOT NULL, failing BIGINT NOT NULL);
CREATE TABLE weftline.key_hash (
    commit_seq BIGINT NOT NULL, dataset INTEGER NOT NULL, "rule" INTEGER NOT NULL, hash UBIGINT NOT NULL,
    lane INTEGER NOT NULL, frame UBIGINT NOT NULL, position UINTEGER NOT NULL, "row" UINTEGER NOT NULL);
CREATE TABLE weftline.dirty_bucket (dataset VARCHAR NOT NULL, hour TIMESTAMPTZ NOT NULL, commit_seq BIGINT NOT NULL);
CREATE TABLE weftline.manifest (
    dataset VARCHAR NOT NULL, record_day DATE NOT NULL, file VARCHAR NOT NULL, "rows" BIGINT NOT NULL,
    bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL, min_event_time TIMESTAMPTZ, max_event_time TIMESTAMPTZ,
    first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL, sealed TIMESTAMPTZ NOT NULL);
CREATE VIEW main.ledger AS
    SELECT d.name AS feed, l.* EXCLUDE (feed) FROM (
        SELECT feed, hour, {_SUMS} FROM (
            SELECT * EXCLUDE (commit_seq) FROM weftline.ledger UNION ALL BY NAME SELECT * FROM weftline.ledger_hour)
        GROUP BY feed, hour) l
    LEFT JOIN weftline.dictionary d ON d.kind = 'feed' AND d.id = l.feed;
CREATE VIEW main.feed AS SELECT id, name FROM weftline.dictionary WHERE kind = 'feed';
CREATE VIEW main.contract AS SELECT id, name FROM weftline.dictionary WHERE kind = 'contract';
CREATE VIEW main.quarantine AS
    SELECT q.id, q.record_time, q.commit_seq, f.name AS feed, c.name AS contract, q.lane, q.frame, q.position,
           q.received, q.stage, q.code, q.fingerprint, q.violations
    FROM weftline.quarantine q
    LEFT JOIN weftline.dictionary f ON f.kind = 'feed' AND f.id = q.feed
    LEFT JOIN weftline.dictionary c ON c.kind = 'contract' AND c.id = q.contract;
"""


class DatasetChangedError(ConflictError):
    """Refuse another type for a column that exists: changing a type is a new dataset (DESIGN §7)."""

    code = "dataset-changed"


class DatasetNameError(InputError):
    """Refuse a dataset or column name the lake keeps for itself, or a type it cannot store."""

    code = "dataset-name"


def quote(name: str) -> str:
    """Return a name as a quoted identifier, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as a quoted SQL literal."""
    return "'" + text.replace("'", "''") + "'"


_SIMPLE: Mapping[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def duckdb_type(kind: pa.DataType, place: str) -> str:
    """Return DuckDB's name of an Arrow type; `place` is `dataset.column`. Raises DatasetNameError where it has none."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return duckdb_type(kind.value_type, place) + "[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f"{quote(part.name)} {duckdb_type(part.type, place)}" for part in kind) + ")"
    raise DatasetNameError(place=place, found=f"type {kind}", expected="a type the lake stores")


def create_system(execute: Callable[[str], Any], version: int) -> None:
    """Make the lake's own tables in an empty file."""
    for statement in filter(None, (part.strip() for part in _SYSTEM.split(";\n"))):
        execute(statement)
    execute(f"INSERT INTO weftline.version VALUES ({version}, now())")
    execute("INSERT INTO weftline.meta VALUES ('totals_through', 0)")


def columns_of(rows: pa.Table) -> dict[str, Shape]:
    """Return the shapes of all tables from (table_name, column_name, data_type), in column order."""
    shapes: dict[str, Shape] = {}
    for table, column, kind in zip(*(rows.column(index).to_pylist() for index in range(3)), strict=True):
        shapes.setdefault(table, {})[column] = kind
    return shapes


def table_of(dataset: str) -> str:
    """Return the table a group's rows of this dataset go to: the states' events, the dataset's own table otherwise."""
    return STATE_EVENT if dataset == STATE_DATASET else dataset


def _wanted(spec: DatasetSpec) -> Shape:
    if spec.name.casefold() in RESERVED or not spec.name:
        raise DatasetNameError(
            place=f"dataset {spec.name}", found="a name the lake keeps for itself", expected="another name"
        )
    shape = {field.name: _SIMPLE[field.type] for field in FACT_COLUMNS}
    taken = {name.casefold() for name in shape}
    for column in spec.columns:
        if column.name == "event_time":
            continue
        place = f"{spec.name}.{column.name}"
        if column.name.casefold() in taken or not column.name:
            raise DatasetNameError(
                place=place, found="a name that is already a column", expected="a name of its own, letter case aside"
            )
        taken.add(column.name.casefold())
        shape[column.name] = duckdb_type(column.type, place)
    return shape


def _create(name: str, shape: Shape, interval: bool) -> str:
    required = {field.name for field in FACT_COLUMNS if not field.nullable}
    parts = [f"{quote(column)} {kind}{' NOT NULL' if column in required else ''}" for column, kind in shape.items()]
    if interval:
        parts += ["start_time TIMESTAMPTZ NOT NULL", "end_time TIMESTAMPTZ NOT NULL", "seconds DOUBLE NOT NULL"]
    return f"CREATE TABLE main.{quote(name)} ({', '.join(parts)})"


_CURRENT = """CREATE TABLE main.equipment_state_current AS
SELECT * EXCLUDE (end_time, seconds), event_time AS last_time FROM main.equipment_state LIMIT 0"""


def _statements(spec: DatasetSpec, known: Mapping[str, Shape]) -> list[str]:
    wanted = _wanted(spec)
    table = table_of(spec.name)
    have = known.get(table)
    if have is None:
        made = [_create(table, wanted, interval=False)]
        if spec.name == STATE_DATASET:
            if not {"equipment", "state", "reason"} <= set(wanted):
                raise DatasetNameError(
                    place=spec.name,
                    found="other columns",
                    expected="equipment, state and reason, which the states need",
                )
            made += [_create(STATE_DATASET, wanted, interval=True), _CURRENT]
        return made
    statements = []
    folded = {column.casefold(): column for column in have}
    for column, kind in wanted.items():
        stored = folded.get(column.casefold())
        if stored is None:
            tables = (table,) if spec.name != STATE_DATASET else (STATE_EVENT, STATE_DATASET, STATE_CURRENT)
            statements += [f"ALTER TABLE main.{quote(name)} ADD COLUMN {quote(column)} {kind}" for name in tables]
        elif have[stored] != kind or stored != column:
            raise DatasetChangedError(
                place=f"dataset {spec.name}, column {column}",
                found=f"{column} {kind}",
                expected=f"{stored} {have[stored]}, as stored",
                next_step="Give the column another name, or write another dataset.",
            )
    return statements


def ensure(datasets: Sequence[DatasetSpec], known: Mapping[str, Shape]) -> list[str]:
    """Return the DDL that makes these datasets storable; an empty list where they are. Raises DatasetChangedError."""
    return [statement for spec in datasets for statement in _statements(spec, known)]
