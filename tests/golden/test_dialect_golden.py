"""Golden tables of Weftline SQL: answers reasoned from the definition of each function, run on every engine.

An engine is a function from (SQL over `batch`, table) to a table, with the class that writes its SQL; add it to ENGINES.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from weftline.contracts.compile_sql import SourceScope
from weftline.contracts.dialect import OPERATORS, Compiler
from weftline.contracts.dialect_functions import FUNCTIONS
from weftline.contracts.stages import Stages
from weftline.store.plan_runner import PlanRunner

TABLES = sorted((Path(__file__).parent / "dialect").glob("*.json"))
Run = Callable[[str, pa.Table], pa.Table]


@contextmanager
def duckdb() -> Iterator[Run]:
    runner = PlanRunner()
    yield lambda sql, table: runner.run(sql, {"batch": table})
    runner.close()


ENGINES = {"duckdb": duckdb}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Run]:
    with ENGINES[request.param]() as run:
        yield run


def column(value: Any) -> pa.Array:
    """Read an input of a table: plain JSON, or {"timestamp": …}."""
    if isinstance(value, dict):
        moment = datetime.fromisoformat(value["timestamp"])
        return pa.array([moment], pa.timestamp("us", "UTC"))
    return pa.array([value], pa.string()) if value is None else pa.array([value])


def answer(value: Any) -> Any:
    """Read an answer of a table."""
    if not isinstance(value, dict):
        return value
    kind, text = next(iter(value.items()))
    if kind == "timestamp":
        return datetime.fromisoformat(text).astimezone(UTC)
    return {"date": date.fromisoformat, "time": time.fromisoformat, "decimal": Decimal}[kind](text)


def compiled(cases: list[dict[str, Any]]) -> tuple[str, pa.Table]:
    """Compile all cases of one table into one query over one row."""
    columns: dict[str, pa.Array] = {"n": pa.array([0]), "received": pa.array([0], pa.timestamp("us", "UTC"))}
    stages = Stages()
    outputs = []
    for number, case in enumerate(cases):
        values = {name: column(value) for name, value in case["row"].items()}
        first = len(columns) - 2
        columns.update({f"s{first + place}": array for place, array in enumerate(values.values())})
        # The scope of a case sees its own columns only, under the names the case gives them.
        fields = pa.schema(
            [pa.field(f"other {place}", pa.null()) for place in range(first)]
            + [pa.field(name, array.type) for name, array in values.items()]
        )
        scope = SourceScope(stages, fields, None)
        compiler = Compiler(scope, place=case["expression"], checking=False)
        value = compiler.finite(compiler.compile(case["expression"]))
        outputs.append((f"a{number}", value.sql))
    return stages.query(outputs, "SELECT * FROM batch"), pa.table(columns)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_an_engine_gives_the_answers_of_the_table(path: Path, engine: Run) -> None:
    cases = json.loads(path.read_text())["cases"]
    sql, table = compiled(cases)
    found = engine(sql, table).to_pylist()[0]
    wrong = []
    for number, case in enumerate(cases):
        got, wanted = found[f"a{number}"], case["answer"]
        if isinstance(wanted, dict) and "one of" in wanted:
            same = got in wanted["one of"]
        else:
            wanted = answer(wanted)
            same = got == wanted and isinstance(got, bool) == isinstance(wanted, bool)
        if not same:
            wrong.append(f"{case['expression']} over {case['row']}: got {got!r}, wanted {wanted!r}")
    assert not wrong, "\n".join(wrong)


def test_every_function_has_a_table() -> None:
    assert set(FUNCTIONS) <= {path.stem for path in TABLES}


def test_the_dialect_stays_small() -> None:
    assert len(FUNCTIONS) + len(OPERATORS) <= 80
