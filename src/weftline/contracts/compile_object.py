"""One schema object: its rules numbered once, then put together for the fields each batch brings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp

from weftline.contracts.compile_columns import Read, Target, fields_text, read_target
from weftline.contracts.compile_rules import RuleError, SetDraft, judged, metric_draft, statement
from weftline.contracts.compile_sql import Building, Flag, SourceScope, TargetScope, Unique
from weftline.contracts.complaints import Notes
from weftline.contracts.dialect import Compiler, parse
from weftline.contracts.dialect_functions import Kind
from weftline.contracts.dialect_types import (
    TEXT,
    SqlArgumentError,
    SqlConstructError,
    SqlFunctionError,
    SqlSyntaxError,
    SqlTypeError,
    Typed,
)
from weftline.contracts.odcs import Path, Quality, SchemaObject
from weftline.contracts.plan import NotRun, RowRule, Scope, SetRule, UniqueRule
from weftline.contracts.stages import Stages
from weftline.errors import nearest

__all__ = ["ObjectParts", "assemble"]

WEEK = 7 * 86400.0
WINDOW = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)?")
SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
FUTURE = 300.0
"""Seconds ahead of the received time after which a time is refused where the feed says nothing else."""


@dataclass(frozen=True, slots=True)
class SqlRule:
    """A boolean of Weftline SQL over target columns: a row rule (`rule`) or what a set rule counts (`set_rule`)."""

    text: str
    path: Path
    name: str
    rule: RowRule | None = None
    tree: Any = None
    wanted: bool = True
    """What a row rule's condition must be; a rule passes on null."""


@dataclass(slots=True)
class ObjectParts:
    """What does not depend on the fields of a batch."""

    schema: SchemaObject
    targets: list[Target]
    event_time: str
    where: str
    row_rules: list[RowRule] = field(default_factory=list)
    set_rules: list[SetRule] = field(default_factory=list)
    unique_rules: list[UniqueRule] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    by_target: dict[str, list[RowRule]] = field(default_factory=dict)
    sql_rules: list[SqlRule] = field(default_factory=list)
    drafts: list[tuple[SetRule, SetDraft, str]] = field(default_factory=list)
    """Library set rules with the column they judge."""
    counted: list[tuple[SetRule, SqlRule]] = field(default_factory=list)
    bits: int = 0
    future: RowRule | None = None

    @classmethod
    def read(cls, schema: SchemaObject, targets: list[Target], notes: Notes) -> ObjectParts | None:
        """Number the rules of an object."""
        if not targets:
            notes.add("contract-empty", schema.path, f"no usable property in '{schema.name}'", "at least one property")
            return None
        parts = cls(schema, targets, "", str(schema.custom.get("where") or ""))
        parts.event_time = _event_time(schema, targets, notes)
        for target in targets:
            parts.number(target)
        _read_quality(parts, notes)
        if parts.event_time:
            expected = "a time not further ahead of the received time than the feed allows"
            parts.future = parts.add_row(f"{parts.event_time}.future", parts.event_time, "future", expected)
        _read_keys(parts, notes)
        return parts

    def add_row(self, name: str, column: str, kind: str, expected: str, *, always: bool = False) -> RowRule:
        """Give a row rule its bit."""
        rule = RowRule(self.unused(name), column, kind, expected, self.bits, always)
        self.bits += 1
        self.row_rules.append(rule)
        return rule

    def unused(self, name: str) -> str:
        """Return a rule id that no rule has yet."""
        lists: tuple[Sequence[Any], ...] = (self.row_rules, self.set_rules, self.unique_rules, self.not_run)
        taken = {one.id for listed in lists for one in listed}
        return next(one for one in (name, *(f"{name}-{number}" for number in range(2, 10_000))) if one not in taken)

    def number(self, target: Target) -> None:
        """Number the rules of one column: required, type, unit, then its options."""
        rules = []
        if target.required:
            rules.append(
                self.add_row(f"{target.name}.required", target.name, "required", "a value", always=target.always)
            )
        if target.source or target.logic:
            rules.append(self.add_row(f"{target.name}.type", target.name, "type", target.expected))
        if isinstance(target.source_unit, dict):
            expected = f"a unit that converts to {target.unit}"
            rules.append(self.add_row(f"{target.name}.unit", target.name, "unit", expected))
        rules += [
            self.add_row(f"{target.name}.{one.kind}", target.name, one.kind, one.expected) for one in target.drafts
        ]
        self.by_target[target.name] = rules
        for name, reason in target.not_run:
            self.not_run.append(NotRun(self.unused(f"{target.name}.{name}"), target.name, reason))

    def add_set(self, name: str, column: str, draft: SetDraft | None, rule: Quality, metric: str, test: Any) -> SetRule:
        """Give a set rule its indicator."""
        made = SetRule(
            id=self.unused(name),
            field=column,
            metric=metric,
            unit=test.unit,
            operator=test.operator,
            limits=test.limits,
            indicator=f"i{len(self.set_rules)}",
            dimension=rule.dimension,
            severity=rule.severity,
        )
        self.set_rules.append(made)
        if draft is not None:
            self.drafts.append((made, draft, column))
        return made


def _event_time(schema: SchemaObject, targets: Sequence[Target], notes: Notes) -> str:
    """Return the column that holds the event time, or nothing."""
    named = schema.custom.get("eventTime")
    name = str(named) if named else "event_time"
    target = next((one for one in targets if one.name == name), None)
    path = notes.custom(schema.path, "eventTime")
    if target is None:
        if named:
            next_step = nearest(name, [one.name for one in targets])
            notes.add("contract-event-time", path, f"eventTime '{name}'", "a property of this object", next_step)
        return ""
    if target.kind.kind is not Kind.TIMESTAMP:
        notes.add("contract-event-time", path, f"'{name}' of type {target.kind}", "a timestamp")
        return ""
    return name


# Quality rules


def _read_quality(parts: ObjectParts, notes: Notes) -> None:
    for target in parts.targets:
        for rule in target.prop.quality if target.prop else ():
            _read_rule(parts, rule, target, notes)
    for rule in parts.schema.quality:
        _read_rule(parts, rule, None, notes)


def _read_rule(parts: ObjectParts, rule: Quality, target: Target | None, notes: Notes) -> None:
    column = target.name if target else ""
    name = rule.id or rule.name or f"{column or parts.schema.name}.{rule.metric or rule.type}"
    reason = ""
    with notes.about(rule.path, name):
        if rule.type == "text":
            reason = "text is for people to read"
        elif rule.type == "custom":
            reason = f"the engine '{rule.engine or 'unknown'}' is not run here"
        elif rule.type == "sql":
            reason = _read_sql(parts, rule, column, name)
        elif rule.type == "library":
            draft = metric_draft(rule, column, target.kind if target else None, "")
            if isinstance(draft, SetDraft):
                _known_key(parts, draft)
                parts.add_set(name, column, draft, rule, draft.metric, draft.test)
            else:
                reason = draft
        else:
            reason = f"rules of type '{rule.type}' are not run here"
    if reason:
        parts.not_run.append(NotRun(parts.unused(name), column, reason))


def _known_key(parts: ObjectParts, draft: SetDraft) -> None:
    names = [one.name for one in parts.targets]
    for one in draft.key:
        if one not in names:
            raise RuleError(
                place="arguments.properties", found=f"'{one}'", expected="a property", next_step=nearest(one, names)
            )


def _read_sql(parts: ObjectParts, rule: Quality, column: str, name: str) -> str:
    """Read an sql rule; text = why it is not run."""
    schema = parts.schema
    names = (schema.name, schema.dataset)
    query = statement(rule.query.strip().rstrip(";"), names, column)
    if not re.match(r"(select|with)\b", query, re.IGNORECASE):
        tree = parse(query, place="query")
        wanted = _wanted(rule)
        expected = rule.description or f"{'true' if wanted else 'not true'}: {query[:200]}"
        made = parts.add_row(name, column or schema.name, "sql", expected)
        parts.sql_rules.append(SqlRule(query, rule.path, name, made, tree, wanted))
        return ""
    try:
        tree = parse(query, place="query")
    except SqlSyntaxError as error:
        return f"it is not Weftline SQL ({error.complaint.found})"
    counted = _counted(tree, names)
    if isinstance(counted, str):
        return counted
    test = judged(rule, "")
    if isinstance(test, str):
        return test
    sql = SqlRule(query, rule.path, name, tree=counted)
    try:
        scope = _check_scope(parts)
        if counted is not None:
            Compiler(scope, place="query").condition(counted)
    except (SqlFunctionError, SqlConstructError, SqlArgumentError, SqlTypeError) as error:
        return f"it is not Weftline SQL ({error.complaint.found})"
    parts.counted.append((parts.add_set(name, column, None, rule, "sql", test), sql))
    return ""


def _wanted(rule: Quality) -> bool:
    """Return whether a row's condition must be true (the default) or must not be (mustBe: false or 0)."""
    if rule.must is None:
        return True
    sense = {"mustBe": True, "mustNotBe": False}.get(rule.must.name)
    limit = rule.must.limits[0] if rule.must.limits else None
    if sense is None or limit not in (0, 1):
        found = f"{rule.must.name}: {', '.join(map(str, rule.must.limits))}"
        raise RuleError(
            place=rule.must.name, found=found, expected="mustBe: true or mustBe: false for a condition on rows"
        )
    return sense is bool(limit)


def _counted(tree: Any, names: tuple[str, ...]) -> Any:
    """Return the condition of SELECT COUNT(*) FROM object [WHERE condition], or why it is another query."""
    other = "only SELECT COUNT(*) FROM the object WHERE … adds up over batches"
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1:
        return other
    if any(value for key, value in tree.args.items() if key not in ("expressions", "from_", "from", "where", "kind")):
        return other
    first = tree.expressions[0]
    first = first.this if isinstance(first, exp.Alias) else first
    star = isinstance(first, exp.Anonymous) and str(first.this).lower() == "count"
    if not star or len(first.expressions) != 1 or not isinstance(first.expressions[0], exp.Star):
        return other
    table = (tree.args.get("from_") or tree.args.get("from")).this
    if not isinstance(table, exp.Table) or table.name.lower() not in {name.lower() for name in names}:
        return "it reads another table, and a plan sees only its own rows"
    where = tree.args.get("where")
    return where.this if where else None


def _check_scope(parts: ObjectParts) -> TargetScope:
    source = SourceScope(Stages(), None, None)
    for target in parts.targets:
        if target.source:
            source.column(target.source)
    return TargetScope(source, {one.name: Typed(f"x{place}", one.kind) for place, one in enumerate(parts.targets)})


# Keys


def _read_keys(parts: ObjectParts, notes: Notes) -> None:
    schema = parts.schema
    props = [target.prop for target in parts.targets if target.prop]
    primary = [prop for prop in props if prop.primary_key]
    order = {prop.name: place for place, prop in enumerate(props)}
    primary.sort(
        key=lambda prop: (prop.primary_key_position if prop.primary_key_position > 0 else 10_000, order[prop.name])
    )
    keys: list[tuple[str, tuple[str, ...], Any, Path]] = []
    if primary:
        custom = {**schema.custom, **{key: value for prop in primary for key, value in prop.custom.items()}}
        keys.append((f"{schema.name}.primaryKey", tuple(prop.name for prop in primary), custom, primary[0].path))
    keys += [
        (f"{prop.name}.unique", (prop.name,), {**schema.custom, **prop.custom}, prop.path)
        for prop in props
        if prop.unique and [prop] != primary
    ]
    for name, columns, custom, path in keys:
        with notes.about(path, ", ".join(columns)):
            scope, window = _scope(custom)
            if scope is Scope.DATASET:
                expected = "scope window where keys need not be remembered for ever"
                notes.add("contract-dataset-scope", path, f"uniqueness over the whole dataset ({name})", expected)
            made = UniqueRule(parts.unused(name), columns, scope, window, f"k{len(parts.unique_rules)}", parts.bits)
            parts.bits += 1
            parts.unique_rules.append(made)


def _scope(custom: Any) -> tuple[Scope, float]:
    text = str(custom.get("uniqueScope") or Scope.WINDOW)
    if text not in list(Scope):
        raise RuleError(
            place="", found=f"uniqueScope '{text}'", expected="batch, window or dataset", next_step=nearest(text, Scope)
        )
    match = WINDOW.fullmatch(str(custom.get("uniqueWindow") or WEEK))
    if match is None or float(match[1]) <= 0:
        raise RuleError(
            place="", found=f"uniqueWindow '{custom.get('uniqueWindow')}'", expected="seconds, or text like 12h or 7d"
        )
    return Scope(text), float(match[1]) * SECONDS[match[2]]


# One schema


def assemble(
    parts: ObjectParts,
    fields: pa.Schema | None,
    params: pa.Schema | None,
    *,
    checking: bool,
    notes: Notes | None = None,
) -> Building:
    """Compile every expression for these fields; `None` = the check, where every field is text."""
    stages = Stages()
    source = SourceScope(stages, fields, params)
    building = Building(stages, source, {}, "true", "")

    def about(path: Path, name: str) -> Any:
        return notes.about(path, name) if notes else nullcontext()

    if parts.where:
        with about(notes.custom(parts.schema.path, "where") if notes else (), parts.schema.name):
            where = Compiler(source, place="", checking=checking).boolean(parts.where)
            building.selected = stages.bind(f"({where.sql}) IS TRUE")
    reads: dict[str, Read] = {}
    for target in parts.targets:
        with about(target.prop.path if target.prop else parts.schema.path, target.name):
            read = read_target(target, source, checking=checking)
            reads[target.name] = read
            building.targets[target.name] = read.value
            building.flags += _flags(parts, target, read)
    scope = TargetScope(source, building.targets)
    for sql in parts.sql_rules:
        with about(sql.path, sql.name):
            compiler = Compiler(scope, place="query", checking=checking)
            value = compiler.condition(sql.tree)
            names = [one.name for one in sql.tree.find_all(exp.Column) if not one.table]
            assert sql.rule is not None
            building.flags.append(
                Flag(
                    sql.rule,
                    f"NOT {value.sql}" if sql.wanted else value.sql,
                    fields_text(names, scope.column, compiler),
                )
            )
    _judge_time(parts, building, params, reads)
    _judge_sets(parts, building, reads, scope, about, checking=checking)
    for unique in parts.unique_rules:
        if all(name in building.targets for name in unique.columns):
            building.uniques.append(_unique(unique, building))
    return building


def _flags(parts: ObjectParts, target: Target, read: Read) -> list[Flag]:
    drafts = iter(target.drafts)
    flags = []
    for rule in parts.by_target[target.name]:
        if rule.kind == "required":
            sql = f"{read.value.sql} IS NULL"
        elif rule.kind == "type":
            sql = read.type_fails or "false"
        elif rule.kind == "unit":
            sql = read.unit_fails or "false"
        else:
            sql = next(drafts).fails(read.value.sql)
        if sql != "false":
            flags.append(Flag(rule, sql, read.found))
    return flags


def _judge_time(parts: ObjectParts, building: Building, params: pa.Schema | None, reads: dict[str, Read]) -> None:
    """Add the rule `future` and name the event time."""
    if not parts.event_time or parts.event_time not in reads or parts.future is None:
        return
    name = reads[parts.event_time].value.sql
    building.event_time = name
    place = params.get_field_index("future_limit") if params is not None else -1
    limit = f"COALESCE(CAST(p{place} AS DOUBLE), {FUTURE})" if place >= 0 else str(FUTURE)
    sql = f"(epoch_us({name}) - epoch_us(received)) > {limit} * 1e6"
    building.flags.append(Flag(parts.future, sql, reads[parts.event_time].found))


def _judge_sets(
    parts: ObjectParts,
    building: Building,
    reads: dict[str, Read],
    scope: TargetScope,
    about: Callable[..., Any],
    *,
    checking: bool,
) -> None:
    for rule, draft, column in parts.drafts:
        if draft.key:
            if all(name in building.targets for name in draft.key):
                hashed, _ = _key(building, draft.key, nulls=False)
                building.duplicates.append((rule.indicator, hashed))
        elif draft.counts and (not column or column in reads):
            value, found = (reads[column].value.sql, reads[column].found) if column else ("", "")
            building.indicators.append((rule.indicator, draft.counts(value, found)))
    for rule, sql in parts.counted:
        with about(sql.path, sql.name):
            condition = "true"
            if sql.tree is not None:
                condition = Compiler(scope, place="query", checking=checking).condition(sql.tree).sql
            building.indicators.append((rule.indicator, condition))


def _key(building: Building, columns: Sequence[str], *, nulls: bool) -> tuple[str, str]:
    """Return the hash of a key (unsigned 64 bits of MD5, equal on every engine and version) and its text."""
    compiler = Compiler(building.source, place="", checking=False)
    texts = [compiler.bound(compiler.coerce(building.targets[name], TEXT, strict=False)).sql for name in columns]
    if nulls:
        parts = [f"COALESCE(strlen({text}) || ':' || {text}, 'null')" for text in texts]
    else:
        parts = [f"strlen({text}) || ':' || {text}" for text in texts]
    joined = texts[0] if len(texts) == 1 and not nulls else " || ',' || ".join(parts)
    known = [] if building.selected == "true" else [building.selected]
    known += [] if nulls else [f"{text} IS NOT NULL" for text in texts]
    hashed = f"md5_number_lower({joined})"
    sql = f"CASE WHEN {' AND '.join(known)} THEN {hashed} END" if known else hashed
    readable = ", ".join(f"COALESCE({text}, 'nothing')" for text in texts)
    return building.stages.bind(sql), f"concat_ws(', ', {readable})"


def _unique(rule: UniqueRule, building: Building) -> Unique:
    hashed, text = _key(building, rule.columns, nulls=rule.id.endswith(".primaryKey"))
    return Unique(rule, hashed, text, rule.scope is Scope.BATCH)
