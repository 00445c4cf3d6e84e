"""The reference of Weftline SQL is what the compiler does: generated, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from weftline.contracts.compile_sql import SourceScope
from weftline.contracts.dialect import Compiler
from weftline.contracts.dialect_functions import FUNCTIONS
from weftline.contracts.dialect_reference import reference
from weftline.contracts.stages import Stages
from weftline.store.plan_runner import PlanRunner

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_the_tables_give() -> None:
    page = (ROOT / "docs" / "weftline-sql.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python tools/write_sql_reference.py"


def test_every_example_is_true() -> None:
    stages = Stages()
    compiler = Compiler(SourceScope(stages, pa.schema([]), None), place="example")
    columns = [(f"a{place}", compiler.compile(one.example).sql) for place, one in enumerate(FUNCTIONS.values())]
    runner = PlanRunner()
    found = runner.run(stages.query(columns, "SELECT * FROM batch"), {"batch": pa.table({"n": [0]})}).to_pylist()[0]
    runner.close()
    for place, one in enumerate(FUNCTIONS.values()):
        assert found[f"a{place}"] is True or "=" not in re.sub(r"'[^']*'", "", one.example), one.example
        assert found[f"a{place}"] is not None or one.name == "nullif", one.example


@pytest.mark.parametrize(
    ("page", "source"),
    [
        ("contracts-plans.md", ["contracts/dialect_types.py", "contracts/patterns.py", "contracts/time_formats.py"]),
        ("contracts-plans.md", ["contracts/compile.py", "contracts/compile_rules.py", "contracts/compile_object.py"]),
        ("contracts-plans.md", ["contracts/compile_columns.py"]),
        ("model.md", ["model/units.py"]),
        ("store-plans.md", ["store/plan_runner.py"]),
    ],
)
def test_every_code_of_contract_plans_has_its_heading(page: str, source: list[str]) -> None:
    headings = set(re.findall(r"^## (\S+)$", (ROOT / "docs" / "errors" / page).read_text(), re.MULTILINE))
    codes: set[str] = set()
    for name in source:
        text = (ROOT / "src" / "weftline" / name).read_text()
        codes |= set(re.findall(r'^    code = "([a-z-]+)"', text, re.MULTILINE))
        codes |= set(re.findall(r'\.add\(\s*"([a-z-]+)"', text))
    assert codes
    assert codes <= headings
