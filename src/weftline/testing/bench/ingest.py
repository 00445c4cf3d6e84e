"""Bulk: one NDJSON file → hashed, cut, decoded, validated, mapped, stored, ledgered; beside a parse and one INSERT."""

from __future__ import annotations

import io
import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from weftline.service.operations import Operations
from weftline.service.wiring import open_fabric
from weftline.store.floor import bare_insert, bare_inserts
from weftline.testing.bench.report import Figure, Report

__all__ = ["measure", "write_folder", "write_rows"]

ROWS = 1_000_000
ROUNDS = 3
BATCH = 100_000
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: press-report
version: 1.0.0
status: active
schema:
  - name: report
    physicalName: press_report
    customProperties: [{property: eventTime, value: at}]
    properties:
      - {name: at, logicalType: timestamp, required: true}
      - {name: machine, logicalType: string, required: true, logicalTypeOptions: {maxLength: 20}}
      - {name: temperature, logicalType: number, required: true, logicalTypeOptions: {minimum: -40, maximum: 400}}
      - {name: pressure, logicalType: number, logicalTypeOptions: {minimum: 0}}
      - {name: cycles, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: running, logicalType: boolean}
      - {name: program, logicalType: string, logicalTypeOptions: {maxLength: 12}}
      - {name: lot, logicalType: string}
"""
FILES = {
    "fabric.yaml": "name: bench\ntimezone: UTC\nlisten: {host: 127.0.0.1, port: 8420}\n",
    "connections/drop.yaml": "name: drop\nkind: files\npath: data\n",
    "feeds/press.yaml": "name: press\nconnection: drop\ncontract: press-report@1.0.0\n"
    "select: {path: '*.ndjson'}\nformat: {codec: ndjson}\ncadence: 1h\n",
    "contracts/press-report.odcs.yaml": CONTRACT,
}


def write_folder(folder: Path) -> None:
    """Write the fabric with one feed of NDJSON files."""
    for place, text in FILES.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def write_rows(path: Path, rows: int, seed: int = 7) -> None:
    """Write `rows` lines of eight fields, all valid."""
    draw = random.Random(seed)
    minutes = [f"2026-11-{1 + n % 21:02d}T{n % 24:02d}:{n % 60:02d}:" for n in range(5040)]
    line = '{"at":"%s%02d.%06dZ","machine":"M%d","temperature":%.2f,"pressure":%.3f,"cycles":%d,"running":%s,"program":"P%d","lot":"L-%06d"}\n'  # noqa: E501
    with path.open("w", encoding="ascii") as out:
        for start in range(0, rows, 10_000):
            out.writelines(
                line
                % (
                    minutes[n % 5040],
                    n % 60,
                    n % 1_000_000,
                    n % 40,
                    draw.uniform(-20, 390),
                    draw.uniform(0, 10),
                    n,
                    "true" if n % 3 else "false",
                    n % 1000,
                    n // 100,
                )
                for n in range(start, min(start + 10_000, rows))
            )


def _floor_of() -> tuple[str, Callable[[Any], pa.Table]]:
    """Return the parser of the floor: polars where it is installed, else pyarrow's own reader, and its name."""
    try:
        import polars
    except ImportError:
        return "pyarrow.json (polars is not installed)", arrow_json.read_json
    return "polars.read_ndjson", lambda source: polars.read_ndjson(source).to_arrow()


def _batches(path: Path, parse: Callable[[Any], pa.Table]) -> Iterator[pa.Table]:
    with path.open("rb") as lines:
        while block := b"".join(itertools.islice(lines, BATCH)):
            yield parse(io.BytesIO(block))


def measure(work: Path, scale: float = 1.0) -> Report:
    """Ingest a file and measure the floor, in turns; best of three."""
    rows = max(int(ROWS * scale), 10_000)
    source = work / "rows.ndjson"
    write_rows(source, rows)
    name, parse = _floor_of()
    ours, floor, batched, parsing = [], [], [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        table = parse(source)
        parsing.append(time.perf_counter() - began)
        floor.append(parsing[-1] + bare_insert(work / f"floor{number}.duckdb", table))
        del table
        batched.append(bare_inserts(work / f"batches{number}.duckdb", _batches(source, parse)))
        ours.append(_once(work / f"fabric{number}", source, rows))
    best, bare = min(ours), min(floor)
    report = Report("ingest", {"rows": rows, "bytes": source.stat().st_size, "fields": 8, "rounds": ROUNDS})
    report.figures = [
        Figure("bulk NDJSON to ledgered", round(rows / best), "rows/s", floor=round(rows / bare),
               floor_name=f"whole file: {name} + one DuckDB insert", least_ratio=0.6),
        Figure("the same, beside batches of 100,000 rows", round(rows / best), "rows/s", floor=round(rows / min(batched)),
               floor_name=f"each 100,000 rows: {name} + one DuckDB insert"),
        Figure("bulk NDJSON to ledgered", round(source.stat().st_size / best / 1e6, 1), "MB/s"),
        Figure("parse of the floor alone", round(rows / min(parsing)), "rows/s"),
    ]  # fmt: skip
    report.notes = [
        f"all rounds: ours {_seconds(ours)}, floor {_seconds(floor)}, in batches {_seconds(batched)} s; best against best"
    ]
    return report


def _once(folder: Path, source: Path, rows: int) -> float:
    write_folder(folder)
    fabric = open_fabric(folder)
    try:
        began = time.perf_counter()
        answer = Operations(fabric).ingest("press", os.fspath(source))
        seconds = time.perf_counter() - began
        assert answer["stored"] == rows, answer
        return seconds
    finally:
        fabric.close()
        shutil.rmtree(folder)


def _seconds(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
