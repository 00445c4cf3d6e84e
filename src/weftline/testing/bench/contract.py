"""`weftline bench contract`: 10 fields, 12 rules, °F → °C; typed and text batches to mask and mapped Arrow.

The floor beside it is the mask alone over typed columns, written by hand, in the same run: what no plan can beat while it
also maps. Numbers are rows a second, best of `rounds`.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from weftline.contracts.compile import Plan, compile_contract
from weftline.contracts.odcs import load
from weftline.store.plan_runner import PlanRunner
from weftline.testing.bench.report import Figure, Report

__all__ = ["CONTRACT", "batch", "measure", "run"]

CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: oven-readings
version: 1.0.0
status: active
schema:
  - name: reading
    physicalName: oven_reading
    customProperties:
      - {property: eventTime, value: at}
    properties:
      - {name: at, logicalType: timestamp, required: true}
      - {name: oven, logicalType: string, required: true, logicalTypeOptions: {pattern: '^OVEN-[0-9]{2}$'}}
      - {name: zone, logicalType: integer, required: true, logicalTypeOptions: {minimum: 1, maximum: 12}}
      - name: temperature
        logicalType: number
        required: true
        logicalTypeOptions: {minimum: -20, maximum: 400}
        customProperties:
          - {property: unit, value: CEL}
          - {property: sourceUnit, value: FAH}
      - {name: pressure, logicalType: number, logicalTypeOptions: {minimum: 0}}
      - {name: humidity, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: cycles, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: running, logicalType: boolean}
      - {name: program, logicalType: string, logicalTypeOptions: {maxLength: 12}}
      - {name: state, logicalType: string, enum: [{value: idle}, {value: heating}, {value: holding}, {value: cooling}]}
"""
FLOOR = """
SELECT n, (CASE WHEN s0 IS NULL THEN 1 ELSE 0 END) | (CASE WHEN s1 IS NULL THEN 2 ELSE 0 END)
 | (CASE WHEN s2 IS NULL THEN 4 ELSE 0 END) | (CASE WHEN s2 < 1 OR s2 > 12 THEN 8 ELSE 0 END)
 | (CASE WHEN s3 IS NULL THEN 16 ELSE 0 END) | (CASE WHEN (s3 - 32) * 5 / 9 < -20 THEN 32 ELSE 0 END)
 | (CASE WHEN (s3 - 32) * 5 / 9 > 400 THEN 64 ELSE 0 END) | (CASE WHEN s4 < 0 THEN 128 ELSE 0 END)
 | (CASE WHEN s5 < 0 OR s5 > 100 THEN 256 ELSE 0 END) | (CASE WHEN s6 < 0 THEN 512 ELSE 0 END)
 | (CASE WHEN length(s8) > 12 THEN 1024 ELSE 0 END)
 | (CASE WHEN s9 NOT IN ('idle', 'heating', 'holding', 'cooling') THEN 2048 ELSE 0 END) AS mask0
FROM batch
"""
NAMES = ("at", "oven", "zone", "temperature", "pressure", "humidity", "cycles", "running", "program", "state")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
RECEIVED = 1_700_000_000_000_000


def batch(rows: int, failing: float, *, text: bool, seed: int = 7) -> tuple[pa.Schema, pa.Table]:
    """Return the source fields' schema and the batch as a plan reads it; `failing` = share of rows that break a rule."""
    rng = random.Random(seed)
    bad = [rng.random() < failing for _ in range(rows)]
    moments = [RECEIVED - rng.randrange(10**9) * 1000 for _ in range(rows)]
    columns: list[list[Any]] = [
        moments,
        [f"OVEN-{rng.randrange(10, 99)}" for _ in range(rows)],
        [rng.randint(1, 12) for _ in range(rows)],
        [1000.0 if wrong else round(rng.uniform(100, 700), 2) for wrong in bad],
        [round(rng.uniform(0, 10), 3) for _ in range(rows)],
        [round(rng.uniform(0, 100), 1) for _ in range(rows)],
        [rng.randrange(10**6) for _ in range(rows)],
        [rng.random() < 0.9 for _ in range(rows)],
        [f"P{rng.randrange(1000)}" for _ in range(rows)],
        [rng.choice(("idle", "heating", "holding", "cooling")) for _ in range(rows)],
    ]
    arrays = [pa.array(values) for values in columns]
    arrays[0] = arrays[0].cast(pa.timestamp("us", "UTC"))
    if text:
        stamp = "%Y-%m-%dT%H:%M:%SZ"
        import pyarrow.compute as pc

        arrays[0] = pc.strftime(arrays[0], format=stamp)
        arrays = [array.cast(pa.string()) for array in arrays]
    fields = pa.schema([pa.field(name, array.type) for name, array in zip(NAMES, arrays, strict=True)])
    own = {
        "n": pa.array(range(rows), pa.int64()),
        "feed": pa.repeat(pa.scalar(1, pa.int32()), rows),
        "received": pa.repeat(pa.scalar(RECEIVED, pa.timestamp("us", "UTC")), rows),
    }
    return fields, pa.table({**own, **{f"s{place}": array for place, array in enumerate(arrays)}})


def _plan() -> Plan:
    reading = load(CONTRACT.encode(), "bench.odcs.yaml")
    assert reading.value is not None, reading.complaints
    plans, complaints = compile_contract(reading.value)
    assert not complaints, complaints
    return plans[0]


def _best(
    runner: PlanRunner, sql: str, inputs: dict[str, pa.Table], rounds: int, clock: str = "wall"
) -> tuple[float, pa.Table]:
    best = float("inf")
    for _ in range(rounds):
        began = CLOCKS[clock]()
        table = runner.run(sql, inputs)
        best = min(best, CLOCKS[clock]() - began)
    return best, table


def run(
    rows: int = 200_000, failing: float = 0.0, *, rounds: int = 5, threads: int = 1, clock: str = "wall"
) -> dict[str, Any]:
    """Measure one share of failing rows; rates are rows per second, `ratio` is ours over the floor.

    `clock` cpu counts seconds of computing instead of seconds passed, for a machine that others use too.
    """
    plan = _plan()
    runner = PlanRunner(threads=threads)
    params = pa.table(
        {"feed": pa.array([1], pa.int32()), "enforce0": pa.array([-1], pa.int64()), "future_limit": [300.0]}
    )
    result: dict[str, Any] = {
        "rows": rows,
        "failing": failing,
        "rules": len(plan.row_rules),
        "threads": threads,
        "clock": clock,
    }
    fields, table = batch(rows, failing, text=False)
    seconds, _ = _best(runner, FLOOR, {"batch": table}, rounds, clock)
    result["floor_mask_only"] = round(rows / seconds)
    for name in ("typed", "text"):
        if name == "text":
            fields, table = batch(rows, failing, text=True)
        inputs = {"batch": table, "params": params}
        compiled = plan.compile(fields, params.schema)
        seconds, out = _best(runner, compiled.main, inputs, rounds, clock)
        wrong = out.filter(out["failed"])
        result[name] = round(rows / seconds)
        result[f"{name}_ratio"] = round(result[name] / result["floor_mask_only"], 3)
        result[f"{name}_failed_rows"] = wrong.num_rows
        if wrong.num_rows:
            more = {**inputs, "failing": pa.table({"n": wrong["n"]})}
            extra, listed = _best(runner, compiled.violations, more, rounds, clock)
            result[f"{name}_with_violations"] = round(rows / (seconds + extra))
            result[f"{name}_violations"] = listed.num_rows
    runner.close()
    return result


def measure(work: Path, scale: float = 1.0) -> Report:  # noqa: ARG001 - nothing is written
    """Measure typed and text batches, 0 % and 10 % failing, on one thread and on every core."""
    rows, cores = max(int(200_000 * scale), 10_000), os.cpu_count() or 1
    report = Report("contract", {"rows": rows, "fields": 10, "clock": "wall, best of 7", "threads": [1, cores]})
    floor_name = "mask alone over typed columns, written by hand"
    for threads in dict.fromkeys((1, cores)):
        for share in (0.0, 0.1):
            found = run(rows, share, rounds=7, threads=threads)
            report.settings["rules"] = found["rules"]
            for name, least in (("typed", 3e6), ("text", 2e6)):
                report.figures.append(
                    Figure(
                        f"{name} to mask and mapped Arrow, {share:.0%} failing, {threads} thread{'s' * (threads > 1)}",
                        found[name],
                        "rows/s",
                        least=least,
                        floor=found["floor_mask_only"],
                        floor_name=floor_name,
                    )
                )
    return report
