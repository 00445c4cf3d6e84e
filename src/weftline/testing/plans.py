"""What the tests of plans share: a contract in short, and one run of its plan over rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from weftline.contracts.compile import Plan, compile_contract
from weftline.contracts.odcs import Contract, load
from weftline.errors import Complaint
from weftline.store.plan_runner import PlanRunner

RECEIVED = 1_704_164_645_000_000
"""2024-01-02T03:04:05Z."""


def contract(
    properties: Sequence[Mapping[str, Any]],
    *,
    quality: Sequence[Mapping[str, Any]] = (),
    custom: Mapping[str, Any] | None = None,
    name: str = "reading",
    dataset: str = "oven_reading",
) -> Contract:
    """Return a contract of one object; `customProperties` may be given as a plain mapping `custom`."""
    made = {
        "name": name,
        "physicalName": dataset,
        "properties": [expanded(one) for one in properties],
        **({"quality": [expanded(one) for one in quality]} if quality else {}),
        **({"customProperties": pairs(custom)} if custom else {}),
    }
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "test",
        "version": "1.0.0",
        "status": "active",
        "schema": [made],
    }
    reading = load(json.dumps(document, indent=1).encode(), "test.odcs.yaml")
    assert isinstance(reading.value, Contract), reading.complaints
    return reading.value


def pairs(custom: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return custom properties as ODCS writes them."""
    return [{"property": key, "value": value} for key, value in custom.items()]


def expanded(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a property or rule with its `custom` mapping written out."""
    found = {key: value for key, value in item.items() if key != "custom"}
    if "custom" in item:
        found["customProperties"] = pairs(item["custom"])
    if "quality" in item:
        found["quality"] = [expanded(one) for one in item["quality"]]
    return found


def plan_of(properties: Sequence[Mapping[str, Any]], **more: Any) -> Plan:
    """Return the plan of a contract that has no complaint."""
    plans, complaints = compile_contract(contract(properties, **more))
    assert not complaints, [one.sentence() for one in complaints]
    return plans[0]


def complaints_of(properties: Sequence[Mapping[str, Any]], **more: Any) -> list[Complaint]:
    """Return what is complained about in a contract."""
    return compile_contract(contract(properties, **more))[1]


class Outcome:
    """The result of one run: rows, and violations of the failing ones."""

    def __init__(self, rows: list[dict[str, Any]], violations: list[dict[str, Any]], table: pa.Table) -> None:
        self.rows = rows
        self.violations = violations
        self.table = table

    def broken(self, n: int = 0) -> list[str]:
        """Return the ids of the rules a row breaks, sorted."""
        return sorted(one["rule"] for one in self.violations if one["n"] == n)

    def values(self, name: str) -> list[Any]:
        """Return a column of the result."""
        return [row[name] for row in self.rows]


def run(
    plan: Plan,
    rows: Sequence[Mapping[str, Any]],
    *,
    runner: PlanRunner,
    feeds: Sequence[int] | None = None,
    params: pa.Table | None = None,
    schema: Mapping[str, pa.DataType] | None = None,
) -> Outcome:
    """Run a plan over rows of source fields; a row is failing where any bit of its masks is set."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    schema = schema or {}
    arrays = {name: pa.array([row.get(name) for row in rows], schema.get(name)) for name in names}
    fields = pa.schema([pa.field(name, array.type) for name, array in arrays.items()])
    count = len(rows)
    if params is None:
        params = pa.table({"feed": pa.array([1], pa.int32()), "enforce0": pa.array([-1], pa.int64())})
    batch = pa.table(
        {
            "n": pa.array(range(count), pa.int64()),
            "feed": pa.array(feeds or [1] * count, pa.int32()),
            "received": pa.array([RECEIVED] * count, pa.timestamp("us", "UTC")),
            **{f"s{place}": array for place, array in enumerate(arrays.values())},
        }
    )
    compiled = plan.compile(fields, params.schema)
    inputs = {"batch": batch, "params": params}
    table = runner.run(compiled.main, inputs)
    found = table.to_pylist()
    masks = [name for name in table.column_names if name.startswith("mask")]
    failing = [row["n"] for row in found if any(row[name] for name in masks)]
    listed = runner.run(compiled.violations, {**inputs, "failing": pa.table({"n": pa.array(failing, pa.int64())})})
    return Outcome(found, listed.to_pylist(), table)
