"""Compile a contract: what each schema object writes, the rules it holds, and SQL for whatever fields a batch brings.

Custom properties read here. Object: `where`, `eventTime`, `uniqueScope`, `uniqueWindow`. Property: `unit`, `sourceUnit` (a
code, or `{field: name}`), `default`, `term`, `uniqueScope`, `uniqueWindow`. Rule: `scope: row`. A property without
`transformLogic` reads the source field of its `physicalName`, or of its name where it has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import sqlglot

from weftline.contracts.compile_columns import Target, TargetReader
from weftline.contracts.compile_object import ObjectParts, assemble
from weftline.contracts.compile_sql import arrow_type, write
from weftline.contracts.complaints import Notes
from weftline.contracts.dialect_functions import Kind
from weftline.contracts.odcs import Contract, SchemaObject
from weftline.contracts.plan import CompiledPlan, NotRun, RowRule, SetRule, UniqueRule
from weftline.errors import Complaint
from weftline.model.dataset import Column

__all__ = ["WARNINGS", "Plan", "compile_contract"]

WARNINGS = frozenset({"contract-dataset-scope", "contract-empty"})
"""Codes of complaints that a reader should know and that stop nothing."""
MOST_COMPILED = 256


@dataclass(eq=False, slots=True)
class Plan:
    """One compiled schema object (implements contracts.plan.ObjectPlan)."""

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
    source_fields: tuple[str, ...]
    """Source fields the object reads; what else arrives goes to `extra`."""
    parameters: tuple[str, ...]
    """Parameters (`feed.<name>`) its expressions read."""
    parts: ObjectParts
    compiled: dict[tuple[str, str], CompiledPlan] = field(default_factory=dict)

    def compile(self, fields: pa.Schema, params: pa.Schema) -> CompiledPlan:
        """Return the SQL for these source fields and parameters; cached by both schemas."""
        key = (_schema_text(fields), _schema_text(params))
        found = self.compiled.get(key)
        if found is None:
            found = write(assemble(self.parts, fields, params, checking=False))
            if len(self.compiled) >= MOST_COMPILED:
                self.compiled.pop(next(iter(self.compiled)))
            self.compiled[key] = found
        return found


def _schema_text(schema: pa.Schema) -> str:
    return "\n".join(f"{field.name}\0{field.type}" for field in schema)


def compile_contract(contract: Contract) -> tuple[tuple[Plan, ...], list[Complaint]]:
    """Compile every schema object; all complaints at once, and a plan only for an object that has none that stop it."""
    plans: list[Plan] = []
    notes = Notes(contract)
    for schema in contract.schema:
        before = len(notes.stopping(WARNINGS))
        plan = _object(contract, schema, notes)
        if plan is not None and len(notes.stopping(WARNINGS)) == before:
            plans.append(plan)
    return tuple(plans), notes.complaints


def _object(contract: Contract, schema: SchemaObject, notes: Notes) -> Plan | None:
    targets = TargetReader(schema, notes).read()
    parts = ObjectParts.read(schema, targets, notes)
    if parts is None:
        return None
    building = assemble(parts, None, None, checking=True, notes=notes)
    columns = tuple(_columns(targets))
    meaning = (schema.dataset, columns, parts.row_rules, parts.set_rules, parts.unique_rules, building.stages.texts)
    shape = (
        *meaning,
        [(name, value.sql) for name, value in building.targets.items()],
        building.selected,
        list(building.source.used),
    )
    return Plan(
        key=hashlib.sha256(repr((*shape, [flag.sql for flag in building.flags])).encode()).hexdigest(),
        contract=contract.id,
        version=contract.version,
        object=schema.name,
        dataset=schema.dataset,
        columns=columns,
        row_rules=tuple(parts.row_rules),
        set_rules=tuple(parts.set_rules),
        unique_rules=tuple(parts.unique_rules),
        not_run=tuple(parts.not_run),
        source_types=_source_types(list(targets)),
        source_fields=tuple(building.source.used),
        parameters=tuple(building.source.parameters),
        parts=parts,
    )


def _columns(targets: Iterable[Target]) -> Iterable[Column]:
    for target in targets:
        if target.name == "event_time":
            continue
        prop = target.prop
        yield Column(
            target.name,
            arrow_type(target.kind),
            unit=target.unit,
            term=target.term,
            description=prop.description if prop else "",
            classification=prop.classification if prop else "",
        )


def _source_types(targets: Sequence[Target]) -> dict[str, pa.DataType]:
    """Return the types a codec may assume: those of fields that go straight into one column type."""
    found: dict[str, Any] = {}
    for target in targets:
        if target.logic or not target.source or target.whole:
            continue
        kind = (
            pa.string()
            if target.layout or target.kind.kind in (Kind.DECIMAL, Kind.DATE, Kind.TIME)
            else arrow_type(target.kind)
        )
        found[target.source] = kind if found.get(target.source, kind) == kind else pa.string()
        if isinstance(target.source_unit, dict):
            found[target.source_unit["field"]] = pa.string()
    return {**_numbers_of_expressions(targets), **found}


def _numbers_of_expressions(targets: Sequence[Target]) -> dict[str, pa.DataType]:
    """Return source fields that only expressions of numeric columns read: a codec may write them as numbers."""
    numeric: set[str] = set()
    other: set[str] = set()
    for target in targets:
        if target.logic:
            number = target.kind.kind in (Kind.NUMBER, Kind.INTEGER, Kind.DECIMAL)
            (numeric if number else other).update(_fields_of(target.logic))
    return dict.fromkeys(sorted(numeric - other), pa.float64())


def _fields_of(logic: str) -> set[str]:
    """Return the source fields an expression names; one that cannot be read has its complaint already."""
    try:
        tree = sqlglot.parse_one(logic, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return set()
    return {column.name for column in tree.find_all(sqlglot.exp.Column) if not column.table}
