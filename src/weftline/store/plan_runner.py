"""PlanRunner: run contract plans in a locked in-memory DuckDB that sees no lake table, Arrow in and Arrow out.

A prepared statement binds the Python object behind a table name, not the name: registering the name anew silently leaves
it on the old batch. So each plan owns stable objects whose `__arrow_c_stream__` gives whatever batch is current, and one
schema for its whole life; another schema is another plan.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from weftline.errors import StoreError

__all__ = ["PlanFailedError", "PlanRunner"]

MOST_PLANS = 256


class PlanFailedError(StoreError):
    """Say that a plan raised; the road repeats it feed by feed."""

    code = "plan-failed"


class _Current:
    """The stable object behind one table name. `table` is owned by the run in progress and emptied after it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.empty = schema.empty_table()
        self.table = self.empty

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


@dataclass(slots=True)
class _Plan:
    statement: str
    inputs: dict[str, _Current]
    registered: tuple[str, ...]


class PlanRunner:
    """Prepare each (sql, input schemas) once and run it over many batches. Not shared between threads."""

    def __init__(self, *, memory_limit: str = "1GB", threads: int = 1, most_plans: int = MOST_PLANS) -> None:
        self._most_plans = most_plans
        self._plans: OrderedDict[tuple[Any, ...], _Plan] = OrderedDict()
        self._made = 0
        self._connection = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": memory_limit})
        for setting in (
            "SET TimeZone = 'UTC'",
            "SET python_enable_replacements = false",
            "SET preserve_insertion_order = true",
            "SET disabled_optimizers = 'build_side_probe_side,join_order'",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET temp_directory = ''",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(setting)

    @property
    def prepared(self) -> int:
        """Return how many plans are kept."""
        return len(self._plans)

    def run(self, sql: str, inputs: Mapping[str, pa.Table]) -> pa.Table:
        """Run a plan prepared once per (sql, input schemas) over these inputs."""
        key = (sql, *((name, _schema_key(table.schema)) for name, table in sorted(inputs.items())))
        plan = self._plans.get(key)
        try:
            if plan is None:
                plan = self._prepare(key, sql, inputs)
            self._plans.move_to_end(key)
            for name, table in inputs.items():
                plan.inputs[name].table = table
            return _in_order(self._connection.sql(f"EXECUTE {plan.statement}").to_arrow_table())
        except duckdb.Error as error:
            raise PlanFailedError(
                place="contract plan",
                found=str(error).splitlines()[0][:300],
                expected="a plan that never raises",
                next_step="Report it with the contract; the records are kept in quarantine.",
            ) from error
        finally:
            if plan is not None:
                for current in plan.inputs.values():
                    current.table = current.empty

    def _prepare(self, key: tuple[Any, ...], sql: str, inputs: Mapping[str, pa.Table]) -> _Plan:
        """Register one stable object per input under names of this plan, and prepare over views of them."""
        self._made += 1
        number = self._made
        currents = {name: _Current(table.schema) for name, table in inputs.items()}
        names = {name: f"plan{number}_{name}" for name in currents}
        for name, current in currents.items():
            self._connection.register(names[name], current)
        plan = _Plan(f"plan{number}", currents, tuple(names.values()))
        tables = ", ".join(f'"{name}" AS NOT MATERIALIZED (SELECT * FROM {names[name]})' for name in currents)
        try:
            self._connection.execute(f"PREPARE plan{number} AS {f'WITH {tables} ' if tables else ''}{sql}")
        except duckdb.Error:
            self._unregister(plan)
            raise
        self._plans[key] = plan
        while len(self._plans) > self._most_plans:
            _, oldest = self._plans.popitem(last=False)
            self._forget(oldest)
        return plan

    def _forget(self, plan: _Plan) -> None:
        self._connection.execute(f"DEALLOCATE {plan.statement}")
        self._unregister(plan)

    def _unregister(self, plan: _Plan) -> None:
        for name in plan.registered:
            self._connection.unregister(name)

    def close(self) -> None:
        """Give the memory back; the runner cannot be used after it."""
        self._plans.clear()
        self._connection.close()


def _in_order(table: pa.Table) -> pa.Table:
    """Return the rows in order of `n`. One thread keeps them so; if an engine ever does not, a wrong order must not pass."""
    if "n" not in table.column_names or table.num_rows < 2:
        return table
    numbers = table["n"]
    if not pc.any(pc.less(numbers[1:], numbers[:-1])).as_py():
        return table
    return table.take(pc.sort_indices(table, sort_keys=[("n", "ascending")]))


def _schema_key(schema: pa.Schema) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, str(field.type)) for field in schema)
