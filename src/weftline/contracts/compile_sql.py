"""From one schema of source fields to the SQL of a plan: what names mean, and how the two queries are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from weftline.contracts.dialect_duckdb import DuckDb
from weftline.contracts.dialect_functions import Kind, Type
from weftline.contracts.dialect_types import BOOLEAN, DATE, INTEGER, NUMBER, TEXT, TIME, TIMESTAMP, Typed
from weftline.contracts.plan import CompiledPlan, RowRule, UniqueRule
from weftline.contracts.stages import Stages

__all__ = ["Building", "Flag", "SourceScope", "TargetScope", "Unique", "arrow_type", "mask_columns", "write"]

RECEIVED = "received_time"
FOUND = 200
"""Longest text of a violation's `found`."""
MASK_RULES = 62
ENGINE = DuckDb()


def arrow_type(kind: Type) -> pa.DataType:
    """Return the Arrow type of a target column."""
    if kind.kind is Kind.DECIMAL:
        return pa.decimal128(kind.precision, kind.scale)
    return {
        Kind.TEXT: pa.string(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.DATE: pa.date32(),
        Kind.TIME: pa.time64("us"),
        Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    }[kind.kind]


def read_column(name: str, kind: pa.DataType, stages: Stages) -> Typed:
    """Return a source column of some Arrow type as a value of the dialect."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Typed(name, TEXT)
    if pa.types.is_null(kind):
        return Typed(ENGINE.null(TEXT), TEXT)
    if pa.types.is_uint64(kind):
        return Typed(f"CAST({name} AS DECIMAL(20,0))", Type(Kind.DECIMAL, 20, 0))
    if pa.types.is_integer(kind):
        return Typed(name if kind == pa.int64() else f"CAST({name} AS BIGINT)", INTEGER)
    if pa.types.is_floating(kind):
        return Typed(name if kind == pa.float64() else f"CAST({name} AS DOUBLE)", NUMBER, suspect=True)
    if pa.types.is_boolean(kind):
        return Typed(name, BOOLEAN)
    if pa.types.is_decimal128(kind):
        return Typed(name, Type(Kind.DECIMAL, kind.precision, kind.scale))
    if pa.types.is_timestamp(kind):
        return Typed(ENGINE.in_years(stages.bind(f"TRY_CAST({name} AS TIMESTAMPTZ)")), TIMESTAMP)
    if pa.types.is_date32(kind):
        return Typed(name, DATE)
    if pa.types.is_time(kind):
        return Typed(f"TRY_CAST({name} AS TIME)", TIME)
    return Typed(f"TRY_CAST({name} AS VARCHAR)", TEXT)


class SourceScope:
    """Source fields, `received_time` and parameters. A field the batch does not have is null."""

    def __init__(self, stages: Stages, fields: pa.Schema | None, params: pa.Schema | None) -> None:
        self.stages = stages
        self.fields = fields
        self.params = params
        self.used: dict[str, None] = {}
        self.parameters: dict[str, None] = {}
        self.place = {name: place for place, name in enumerate(fields.names)} if fields is not None else {}

    def column(self, name: str) -> Typed | None:
        """Return a source field; any name may be one, since batches differ."""
        if name == RECEIVED:
            return Typed("received", TIMESTAMP)
        self.used[name] = None
        if self.fields is None:
            return Typed(f"s{list(self.used).index(name)}", TEXT)
        if name not in self.place:
            return Typed(ENGINE.null(TEXT), TEXT)
        place = self.place[name]
        return read_column(f"s{place}", self.fields.field(place).type, self.stages)

    def parameter(self, name: str) -> Typed | None:
        """Return a parameter of the feed; one that no feed has is null."""
        self.parameters[name] = None
        if self.params is None:
            return Typed(ENGINE.null(TEXT), TEXT)
        place = self.params.get_field_index(name)
        if place < 0:
            return Typed(ENGINE.null(TEXT), TEXT)
        return read_column(f"p{place}", self.params.field(place).type, self.stages)

    def bind(self, sql: str) -> str:
        """Keep a step once and return its name."""
        return self.stages.bind(sql)

    def names(self) -> Iterable[str]:
        """Return nothing: every name is allowed here."""
        return ()


class TargetScope:
    """Target columns first, then what the source scope knows; for sql rules."""

    def __init__(self, source: SourceScope, targets: dict[str, Typed]) -> None:
        self.source = source
        self.targets = targets

    def column(self, name: str) -> Typed | None:
        """Return a target column, else a source field that some column reads."""
        found = self.targets.get(name)
        known = name == RECEIVED or name in self.source.used
        return found or (self.source.column(name) if known else None)

    def parameter(self, name: str) -> Typed | None:
        """Return a parameter of the feed."""
        return self.source.parameter(name)

    def bind(self, sql: str) -> str:
        """Keep a step once and return its name."""
        return self.source.bind(sql)

    def names(self) -> Iterable[str]:
        """Return the target columns."""
        return self.targets


@dataclass(frozen=True, slots=True)
class Flag:
    """A row rule over one schema: `sql` is true where it fails (null = passes); `found` is text for the reader."""

    rule: RowRule
    sql: str
    found: str


@dataclass(frozen=True, slots=True)
class Unique:
    """A key over one schema: its hash, the text of its values, and whether batches of different feeds are apart."""

    rule: UniqueRule
    hash: str
    found: str
    per_feed: bool


@dataclass(slots=True)
class Building:
    """Everything compiled for one schema, before it is written."""

    stages: Stages
    source: SourceScope
    targets: dict[str, Typed]
    selected: str
    event_time: str
    """Name of the event time, empty where the record holds none."""
    flags: list[Flag] = field(default_factory=list)
    uniques: list[Unique] = field(default_factory=list)
    indicators: list[tuple[str, str]] = field(default_factory=list)
    """Column and boolean expression of each set rule."""
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    """Column and key hash of each set rule that counts duplicates."""

    def base(self) -> str:
        """Return the query that joins each row with its feed's parameters; the batch side stays the probing side."""
        fields = self.source.fields if self.source.fields is not None else pa.schema([])
        params = self.source.params if self.source.params is not None else pa.schema([])
        columns = ["b.n", "b.feed", "b.received", *(f"b.s{place}" for place in range(len(fields)))]
        columns += [f"p.{ENGINE.identifier(name)} AS p{place}" for place, name in enumerate(params.names)]
        return f"SELECT {', '.join(columns)} FROM batch b LEFT JOIN params p ON p.feed = b.feed"  # noqa: S608 - names of ours


def mask_columns(flags: Sequence[tuple[int, str]], selected: str) -> Iterator[tuple[int, str]]:
    """Yield (number, expression) of each mask: a bit of BIGINT per rule, 62 rules in a mask.

    Whether anything fails is asked first: CASE then computes the bits for the failing rows alone, a third of the cost.
    """
    for number in range(max((bit for bit, _ in flags), default=0) // MASK_RULES + 1):
        mine = [(bit, sql) for bit, sql in flags if bit // MASK_RULES == number]
        if not mine:
            yield number, "CAST(0 AS BIGINT)"
            continue
        bits = " | ".join(
            f"CASE WHEN {sql} THEN CAST({1 << bit % MASK_RULES} AS BIGINT) ELSE CAST(0 AS BIGINT) END"
            for bit, sql in mine
        )
        any_fails = " OR ".join(f"({sql})" for _, sql in mine)
        chosen = f"({any_fails})" if selected == "true" else f"{selected} AND ({any_fails})"
        yield number, f"CASE WHEN {chosen} THEN {bits} ELSE CAST(0 AS BIGINT) END"


def enforced(building: Building, masks: Sequence[tuple[int, str]]) -> str:
    """Return whether a rule fails that the feed enforces; a feed without parameters enforces all of them."""
    tests = []
    params = building.source.params
    for number, name in masks:
        place = params.get_field_index(f"enforce{number}") if params is not None else -1
        enforce = f"COALESCE(p{place}, CAST(-1 AS BIGINT))" if place >= 0 else "CAST(-1 AS BIGINT)"
        tests.append(f"({name} & {enforce}) <> 0")
    return " OR ".join(tests)


def duplicate_set(building: Building, key: str, order: str, *, per_feed: bool) -> str:
    """Return a query of the row numbers that repeat a key within the batch; the first good row keeps it.

    Only keys that occur twice are ordered: a window over the whole batch would cost more than the plan.
    """
    stages, base = building.stages, building.base()
    columns = [("n", "n"), ("k", key), ("bad", order), ("g", "feed" if per_feed else "CAST(0 AS INTEGER)")]
    keyed = stages.query(columns, base)
    keys = stages.query(columns[1:2] + columns[3:], base)
    twice = f"SELECT k, g FROM ({keys}) WHERE k IS NOT NULL GROUP BY k, g HAVING count(*) > 1"  # noqa: S608 - names of ours
    return (
        "SELECT n FROM (SELECT n, row_number() OVER (PARTITION BY k, g ORDER BY bad, n) AS place "  # noqa: S608 - names of ours
        f"FROM ({keyed}) WHERE (k, g) IN ({twice})) WHERE place > 1"
    )


def write(building: Building) -> CompiledPlan:
    """Write both queries."""
    stages = building.stages
    row_flags = [(flag.rule.bit, flag.sql) for flag in building.flags]
    plain = [(number, stages.bind(sql)) for number, sql in mask_columns(row_flags, building.selected)]
    bad = stages.bind(f"({enforced(building, plain)})")
    repeated: list[tuple[int, str]] = []
    for unique in building.uniques:
        found = duplicate_set(building, unique.hash, bad, per_feed=unique.per_feed)
        repeated.append((unique.rule.bit, stages.bind(f"n IN ({found})")))
    for column, key in building.duplicates:
        found = duplicate_set(building, key, "CAST(0 AS INTEGER)", per_feed=True)
        building.indicators.append((column, stages.bind(f"n IN ({found})")))
    if repeated:
        masks = [(number, stages.bind(sql)) for number, sql in mask_columns(row_flags + repeated, building.selected)]
        bad = stages.bind(f"({enforced(building, masks)})")
    else:
        masks = plain
    columns = output(building, masks, bad)
    return CompiledPlan(stages.query(columns, building.base()), violations(building, dict(repeated)))


def output(building: Building, masks: Sequence[tuple[int, str]], bad: str) -> list[tuple[str, str]]:
    """Return the columns of `main`, in order."""
    quote = ENGINE.identifier
    time = building.event_time
    from_source = f"CASE WHEN {time} IS NULL THEN 'received' ELSE 'source' END" if time else "'received'"
    columns = [
        ("n", "n"),
        ("feed", "feed"),
        ("selected", building.selected),
        ("event_time", f"COALESCE({time}, received)" if time else "received"),
        ("time_source", from_source),
        *((quote(name), value.sql) for name, value in building.targets.items() if name != "event_time"),
        ("extra", extra(building)),
        *((f"mask{number}", name) for number, name in masks),
        ("failed", bad),
    ]
    for name, sql in sorted(building.indicators, key=lambda one: int(one[0][1:])):
        columns.append((name, f"COALESCE({building.selected} AND ({sql}), false)"))
    columns += [(unique.rule.hash_column, unique.hash) for unique in building.uniques]
    return columns


def extra(building: Building) -> str:
    """Return JSON of the fields that the contract does not know, null where all of them are."""
    source = building.source
    fields = source.fields if source.fields is not None else pa.schema([])
    parts, present = [], []
    for place, name in enumerate(fields.names):
        if name in source.used or name == RECEIVED:
            continue
        value = read_column(f"s{place}", fields.field(place).type, building.stages)
        if value.type.kind in (Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER, Kind.DECIMAL):
            sql = value.sql
        else:
            target = NUMBER if value.type.kind is Kind.NUMBER else TEXT
            steps = ENGINE.conversion(value.type, target) or ("{0}",)
            sql = steps[-1].replace("{0}", value.sql)
        if sql == ENGINE.null(TEXT):
            continue
        parts.append(f"{ENGINE.text(name)}, {sql}")
        present.append(f"s{place} IS NOT NULL")
    if not parts:
        return ENGINE.null(TEXT)
    listed = f"CAST(json_merge_patch('{{}}', json_object({', '.join(parts)})) AS VARCHAR)"
    return f"CASE WHEN {' OR '.join(present)} THEN {listed} END"


def violations(building: Building, repeated: dict[int, str]) -> str:
    """Write the query that lists each broken rule of the failing rows only."""
    items = [(flag.rule.id, flag.rule.field, flag.sql, flag.found, flag.rule.expected) for flag in building.flags]
    for unique in building.uniques:
        rule = unique.rule
        expected = "a key that no row before it in the batch has"
        items.append((rule.id, ", ".join(rule.columns), repeated[rule.bit], unique.found, expected))
    quoted = ENGINE.text
    numbers = ", ".join(f"CASE WHEN {sql} THEN {place} END" for place, (_, _, sql, _, _) in enumerate(items, 1))
    founds = list(dict.fromkeys(found for _, _, _, found, _ in items))
    base = f"SELECT * FROM ({building.base()}) WHERE n IN (SELECT n FROM failing)"  # noqa: S608 - names of ours
    columns = [
        ("n", "n"),
        ("broken", f"list_filter([{numbers or 'CAST(NULL AS INTEGER)'}], lambda one : one IS NOT NULL)"),
    ]
    columns += [(f"f{place}", found) for place, found in enumerate(founds)]
    listed = building.stages.query(columns, base, suffix=f" WHERE {building.selected}")
    # Constants of a rule are looked up by its number; only what was found differs from row to row.
    rules, fields, expected = (
        f"[{', '.join(quoted(item[part]) for item in items)}][r]" if items else "''" for part in (0, 1, 4)
    )
    texts = " ".join(f"WHEN {place} THEN f{founds.index(item[3])}" for place, item in enumerate(items, 1))
    found = f"COALESCE(left(CASE r {texts} END, {FOUND}), 'nothing')" if items else "''"
    return (
        f"SELECT n, {rules} AS rule, {fields} AS field, {found} AS found, {expected} AS expected "  # noqa: S608 - names of ours
        f"FROM (SELECT *, unnest(broken) AS r FROM ({listed}))"
    )
