"""Target columns: what a property says about its column, and the SQL that reads, converts and judges its value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from sqlglot import exp

from weftline.batch import FACT_COLUMNS
from weftline.contracts.compile_rules import Draft, RuleError, literal, option_drafts
from weftline.contracts.compile_sql import SourceScope, arrow_type
from weftline.contracts.complaints import Notes
from weftline.contracts.dialect import Compiler, parse
from weftline.contracts.dialect_calls import convert_unit, known_zone, parse_formatted, strict_text
from weftline.contracts.dialect_duckdb import DuckDb
from weftline.contracts.dialect_functions import Kind, Type
from weftline.contracts.dialect_types import BOOLEAN, DATE, INTEGER, NUMBER, TEXT, TIME, TIMESTAMP, Typed, any_of
from weftline.contracts.odcs import Property, SchemaObject
from weftline.contracts.time_formats import TimeFormat, read_time_format
from weftline.model.builtin import BUILTIN, NEVER_NULL
from weftline.model.units import conversion, same_dimension, unit

__all__ = ["Read", "Target", "TargetReader", "fields_text", "read_target"]

ENGINE = DuckDb()
LOGICAL: dict[str, Type] = {
    "string": TEXT,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "date": DATE,
    "time": TIME,
    "timestamp": TIMESTAMP,
    "object": TEXT,
    "map": TEXT,
    "array": TEXT,
    "vector": TEXT,
}
PHYSICAL = (
    (r"(big|small|tiny)?int(eger)?\b|long\b", INTEGER),
    (r"double|float|real", NUMBER),
    (r"bool", BOOLEAN),
    (r"timestamp|datetime", TIMESTAMP),
    (r"date\b", DATE),
    (r"time\b", TIME),
)
DECIMAL = re.compile(r"(?:decimal|numeric|number|dec)\s*\(\s*(\d{1,2})\s*(?:,\s*(\d{1,2})\s*)?\)", re.IGNORECASE)
OWN = re.compile(r"(n|selected|failed|mask[0-9]+|[ik][0-9]+)")
"""Columns the plan itself gives."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target column. `source_unit` is a code or `{"field": name}`; `default` is SQL."""

    name: str
    kind: Type
    prop: Property | None = None
    source: str = ""
    logic: str = ""
    unit: str = ""
    source_unit: Any = None
    term: str = ""
    zone: str = "UTC"
    layout: TimeFormat | None = None
    json: str = ""
    required: bool = False
    always: bool = False
    default: str = ""
    whole: bool = False
    """Quietly the whole number of the source, null where it is none (signal.value_int)."""
    drafts: tuple[Draft, ...] = ()
    not_run: tuple[tuple[str, str], ...] = field(default=())

    @property
    def expected(self) -> str:
        """Return what the rule `type` expects, in words."""
        if self.layout:
            return f"{self.kind} in the format {self.layout.text}"
        return f"a JSON {self.json.lower()}" if self.json else f"{self.kind}"


class TargetReader:
    """Read the properties of one schema object as target columns."""

    def __init__(self, schema: SchemaObject, notes: Notes) -> None:
        self.schema = schema
        self.notes = notes

    def read(self) -> list[Target]:
        """Return the columns in the contract's order, then those of a built-in dataset that it leaves out."""
        targets: list[Target] = []
        seen: dict[str, str] = {}
        for prop in self.schema.properties:
            first = seen.setdefault(prop.name.lower(), prop.name)
            if first != prop.name or sum(one.name == prop.name for one in targets):
                found = f"the column '{prop.name}', which is '{first}' again"
                self.notes.add("contract-column-duplicate", prop.path, found, "each column once, whatever its case")
                continue
            if self.reserved(prop):
                continue
            with self.notes.about(prop.path, prop.name):
                targets.append(self.target(prop))
        return self.builtin(targets)

    def reserved(self, prop: Property) -> bool:
        """Complain about a name that every dataset or plan already has."""
        name = prop.name.lower()
        if name == "event_time" or not (name in FACT_COLUMNS.names or OWN.fullmatch(name)):
            return False
        next_step = "Name the column otherwise and read the field by its physicalName."
        self.notes.add(
            "contract-column-reserved", prop.path, f"the column '{prop.name}'", "a name of its own", next_step
        )
        return True

    def target(self, prop: Property) -> Target:
        """Read one property."""
        kind = column_type(prop)
        options = prop.options
        zone = str(options.get("defaultTimezone") or "UTC")
        if not known_zone(zone):
            raise RuleError(place="logicalTypeOptions.defaultTimezone", found=f"'{zone}'", expected="an IANA time zone")
        layout = None
        if kind.kind in (Kind.DATE, Kind.TIME, Kind.TIMESTAMP) and options.get("format"):
            layout = self.layout(str(options["format"]), kind)
        drafts, not_run = option_drafts(prop, kind, "")
        wanted, given = self.units(prop, kind)
        default = prop.custom.get("default")
        path = self.notes.custom(prop.path, "default")
        default_sql = ""
        if default is not None:
            with self.notes.about(path, prop.name):
                default_sql = literal(default, kind, "")
        json = {"array": "ARRAY", "vector": "ARRAY", "object": "OBJECT", "map": "OBJECT"}.get(prop.logical_type, "")
        always = prop.name in NEVER_NULL.get(self.schema.dataset, ())
        return Target(
            name=prop.name,
            kind=kind,
            prop=prop,
            source="" if prop.transform_logic else prop.physical_name or prop.name,
            logic=prop.transform_logic,
            unit=wanted,
            source_unit=given,
            term=term(prop),
            zone=zone,
            layout=layout,
            json=json,
            required=prop.required or prop.primary_key or always,
            always=always,
            default=default_sql,
            drafts=tuple(drafts),
            not_run=tuple(not_run),
        )

    def layout(self, text: str, kind: Type) -> TimeFormat | None:
        """Read a date or time format; ISO 8601's own name means the dialect's grammar."""
        if text.lower() in ("iso8601", "iso-8601", "date-time", "rfc3339"):
            return None
        place = "logicalTypeOptions.format"
        layout = read_time_format(text, place=place)
        needs = {
            Kind.DATE: layout.has_date,
            Kind.TIME: layout.has_time,
            Kind.TIMESTAMP: layout.has_date and layout.has_time,
        }
        if not needs[kind.kind]:
            raise RuleError(place=place, found=f"'{text}'", expected=f"every part of a {kind}")
        return layout

    def units(self, prop: Property, kind: Type) -> tuple[str, Any]:
        """Read `unit` and `sourceUnit`; both must be known and of one dimension."""
        wanted, given = prop.custom.get("unit"), prop.custom.get("sourceUnit")
        if wanted is None and given is None:
            return "", None
        if wanted is None or not isinstance(wanted, str):
            raise RuleError(
                place="customProperties", found="sourceUnit without unit", expected="the custom property unit"
            )
        numeric = kind.kind in (Kind.NUMBER, Kind.DECIMAL, Kind.INTEGER)
        with self.notes.about(self.notes.custom(prop.path, "unit"), prop.name):
            unit(wanted, place="")
            if not numeric:
                raise RuleError(place="", found=f"a unit of a {kind}", expected="a unit of a number")
            if isinstance(given, str):
                conversion(given, wanted, place="")
            elif given is not None and not (isinstance(given, dict) and isinstance(given.get("field"), str)):
                raise RuleError(place="", found=f"sourceUnit {given}", expected="a unit code, or {field: name}")
            return wanted, None if given == wanted else given
        return "", None

    def builtin(self, targets: list[Target]) -> list[Target]:
        """Hold the columns against a built-in dataset and add the ones left out as nulls."""
        spec = BUILTIN.get(self.schema.dataset)
        if spec is None:
            return targets
        known = {column.name: column for column in spec.columns}
        mine = {target.name: target for target in targets}
        for target in targets:
            column = known.get(target.name)
            path = target.prop.path if target.prop else self.schema.path
            if column is None and target.name != "event_time":
                expected = f"a column of the dataset '{spec.name}': {', '.join(known)}"
                self.notes.add("contract-builtin", path, f"the column '{target.name}'", expected)
            elif column is not None and column.type != arrow_type(target.kind):
                found = f"'{target.name}' as {target.kind}"
                self.notes.add("contract-builtin", path, found, f"{column.type}, as '{spec.name}' has it")
        for name in NEVER_NULL.get(spec.name, ()):
            if name not in mine and not any(prop.name == name for prop in self.schema.properties):
                self.notes.add(
                    "contract-builtin", self.schema.path, f"no column '{name}'", f"it, as '{spec.name}' needs it"
                )
        value = mine.get("value")
        added = []
        for column in spec.columns:
            if column.name in mine:
                continue
            kind = INTEGER if column.name == "value_int" else NUMBER if column.type == arrow_type(NUMBER) else TEXT
            direct = column.name == "value_int" and value is not None and not value.logic and not value.source_unit
            source = value.source if direct and value is not None else ""
            added.append(Target(column.name, kind, source=source, whole=direct))
        return [*targets, *added]


def column_type(prop: Property) -> Type:
    """Return the type of a column: the logical type, refined or replaced by the physical one."""
    physical = prop.physical_type.strip()
    decimal = DECIMAL.match(physical)
    if prop.logical_type in ("number", "") and decimal:
        precision, scale = int(decimal[1]), int(decimal[2] or 0)
        if not 1 <= precision <= 38 or scale > precision:
            raise RuleError(place="physicalType", found=physical, expected="decimal(p,s) with s ≤ p ≤ 38")
        return Type(Kind.DECIMAL, precision, scale)
    if prop.logical_type == "integer" and prop.options.get("format") in ("u64", "i128", "u128"):
        return Type(Kind.DECIMAL, 20 if prop.options["format"] == "u64" else 38, 0)
    if prop.logical_type:
        return LOGICAL[prop.logical_type]
    for pattern, kind in PHYSICAL:
        if re.match(pattern, physical, re.IGNORECASE):
            return kind
    return TEXT


def term(prop: Property) -> str:
    """Return the taxonomy term: a custom property, or `semanticType` before 3.2 gave it another meaning."""
    custom = prop.custom.get("term") or prop.custom.get("semanticType")
    return (
        str(custom)
        if custom
        else ""
        if prop.semantic_type in ("column", "measure", "dimension")
        else prop.semantic_type
    )


@dataclass(frozen=True, slots=True)
class Read:
    """A column over one schema: its value (a name), where its conversion or unit failed, and text for a reader."""

    value: Typed
    type_fails: str
    unit_fails: str
    found: str


def fields_text(names: list[str], column: Any, compiler: Compiler) -> str:
    """Return SQL of `a=1, b=2` for these names."""
    parts = []
    for name in dict.fromkeys(names):
        value = column(name)
        if value is not None:
            text = compiler.coerce(replace(value, fails=()), TEXT, strict=False).sql
            parts.append(f"{ENGINE.text(name + '=')} || COALESCE({text}, 'nothing')")
    return f"concat_ws(', ', {', '.join(parts)})" if parts else "'nothing'"


def read_target(target: Target, source: SourceScope, *, checking: bool) -> Read:
    """Compile one column for the fields of a batch."""
    compiler = Compiler(source, place="transformLogic", zone=target.zone, checking=checking)
    if target.whole:
        raw = source.column(target.source)
        assert raw is not None
        return Read(compiler.bound(compiler.coerce(raw, INTEGER, strict=False)), "", "", "'nothing'")
    if not target.source and not target.logic:
        return Read(Typed(ENGINE.null(target.kind), target.kind), "", "", "'nothing'")
    if target.logic:
        tree = parse(target.logic, place="transformLogic")
        raw = compiler.finite(compiler.node(tree))
        names = [one.name for one in tree.find_all(exp.Column) if not one.table]
        given = fields_text(names, source.column, compiler)
    else:
        found = source.column(target.source)
        assert found is not None
        raw = found
        given = f"CAST({raw.sql} AS VARCHAR)" if raw.suspect else compiler.coerce(raw, TEXT, strict=False).sql
    value, unit_fails = _converted(target, raw, source, compiler)
    if raw.suspect and not target.logic and value.type == raw.type:
        name = compiler.bound(raw).sql
        value = replace(value, fails=(*value.fails, f"({name} IS NOT NULL AND NOT isfinite({name}))"))
    type_fails = source.bind(any_of(value.fails)) if value.fails else ""
    if target.default:
        absent = f"{compiler.bound(value).sql} IS NULL" + (f" AND NOT {type_fails}" if type_fails else "")
        value = replace(value, sql=f"CASE WHEN {absent} THEN {target.default} ELSE {compiler.bound(value).sql} END")
    value = compiler.bound(replace(value, fails=()))
    text = given
    if target.logic:
        text = f"COALESCE({compiler.coerce(value, TEXT, strict=False).sql}, {given})"
    return Read(value, type_fails, unit_fails, text)


def _converted(target: Target, raw: Typed, source: SourceScope, compiler: Compiler) -> tuple[Typed, str]:
    """Return the value in the column's type and unit, and where its unit is unknown."""
    if target.layout and raw.type.kind is Kind.TEXT:
        text = compiler.bound(raw)
        sql = parse_formatted(compiler, text.sql, target.layout, target.kind, ENGINE.text(target.zone))
        return strict_text(compiler, text, sql, target.kind), ""
    if target.json:
        text = compiler.bound(compiler.coerce(raw, TEXT, strict=True))
        valid = f"CASE WHEN json_valid({text.sql}) THEN CASE WHEN json_type({text.sql}) = '{target.json}' THEN {text.sql} END END"
        return strict_text(compiler, text, valid, TEXT), ""
    if target.source_unit is None:
        return compiler.coerce(raw, target.kind, strict=True), ""
    number = compiler.bound(compiler.coerce(raw, NUMBER, strict=True))
    if isinstance(target.source_unit, str):
        code = Typed(ENGINE.text(target.source_unit), TEXT, literal=target.source_unit)
        return compiler.coerce(
            compiler.finite(convert_unit(compiler, number, code, target.unit)), target.kind, strict=True
        ), ""
    given = source.column(target.source_unit["field"])
    assert given is not None
    text = compiler.coerce(given, TEXT, strict=False)
    name = source.bind(f"NULLIF(trim({text.sql}), '')")
    known = ", ".join(ENGINE.text(code) for code in same_dimension(target.unit))
    unknown = source.bind(f"({number.sql} IS NOT NULL AND {name} IS NOT NULL AND {name} NOT IN ({known}))")
    moved = compiler.finite(convert_unit(compiler, number, Typed(name, TEXT), target.unit))
    # A row that states no unit is taken in the column's own; only a range rule can catch it.
    chosen = replace(moved, sql=f"CASE WHEN {name} IS NULL THEN {number.sql} ELSE {moved.sql} END")
    return compiler.coerce(chosen, target.kind, strict=True), unknown
