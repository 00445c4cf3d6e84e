"""Codecs beside the bare pyarrow reader on the same bytes: MB/s and rows/s of a 4 MiB block, and of what is not clean.

`weftline bench codecs` prints the figures; `run()` gives them as a dict. The floor has no checks, no places and
no originals, and reads times as it guesses them. Floor and codec take turns, so both see the same load.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.json as pj
import pyarrow.parquet as pq
from pyarrow import ipc

from weftline.batch import Frame
from weftline.codecs import registry
from weftline.codecs.base import Limits
from weftline.testing.bench.report import Figure, Report

__all__ = ["measure", "run"]

ROWS = 40_000
ROUNDS = 7


def lines() -> list[dict[str, Any]]:
    return [
        {
            "ts": f"2026-11-22T10:{n % 60:02d}:{n % 59:02d}.{n:06d}Z",
            "machine": f"M{n % 40}",
            "temp": 20 + n % 97 / 10,
            "count": n,
            "ok": n % 3 == 0,
            "note": "run",
        }
        for n in range(ROWS)
    ]


def payloads() -> dict[str, tuple[str, bytes, Callable[[bytes], object] | None]]:
    """Return name → codec, bytes and floor."""
    rows = lines()
    ndjson = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()
    head = ",".join(rows[0]) + "\n"
    csv = (head + "".join(",".join(str(value) for value in row.values()) + "\n" for row in rows)).encode()
    quoted = csv.replace(b"run", b'"a ""b"", c"')
    shdr = "".join(f"{row['ts']}|Xload|{row['temp']}\n" for row in rows).encode()
    table = pa.Table.from_pylist(rows)
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    return {
        "ndjson": ("ndjson", ndjson, lambda data: pj.read_json(pa.BufferReader(data))),
        "ndjson, one thread floor": ("ndjson", ndjson, _json_one_thread),
        "ndjson, one line broken": ("ndjson", ndjson.replace(b'"count":20000,', b'"count":,'), None),
        "ndjson, nested": ("ndjson", ndjson.replace(b'"run"', b'{"x":[1]}'), _json_floor),
        "ndjson, text and numbers in one field": ("ndjson", ndjson.replace(b'"count":20000,', b'"count":"x",'), None),
        "json, array": ("json", b"[" + ndjson.strip().replace(b"\n", b",") + b"]", None),
        "csv": ("csv", csv, lambda data: pcsv.read_csv(pa.BufferReader(data))),
        "csv, quoted": ("csv", quoted, lambda data: pcsv.read_csv(pa.BufferReader(data))),
        "csv, one line ragged": ("csv", csv.replace(b"M17,", b"M17,,", 1), None),
        "shdr": ("shdr", shdr, _bar_floor),
        "parquet": ("parquet", parquet.getvalue(), lambda data: pq.read_table(pa.BufferReader(data))),
        "arrow": ("arrow", arrow.getvalue(), lambda data: ipc.open_stream(data).read_all()),
    }


def _json_floor(data: bytes) -> object:
    return pj.read_json(pa.BufferReader(data))


def _json_one_thread(data: bytes) -> object:
    return pj.read_json(pa.BufferReader(data), read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1))


def _bar_floor(data: bytes) -> object:
    return pcsv.read_csv(
        pa.BufferReader(data),
        read_options=pcsv.ReadOptions(column_names=["t", "tag", "value"]),
        parse_options=pcsv.ParseOptions(delimiter="|"),
    )


def best(*works: Callable[[], object]) -> list[float]:
    """Return the best seconds of each, taken in turns."""
    found = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for at, work in enumerate(works):
            begin = time.perf_counter()
            work()
            found[at] = min(found[at], time.perf_counter() - begin)
    return found


def figures(size: int, ours: Callable[[], object], floor: Callable[[], object] | None) -> dict[str, float]:
    seconds, *bare = best(ours, *([floor] if floor else []))
    found = {"mb_s": size / seconds / 1e6, "rows_s": ROWS / seconds}
    return found | {"floor_mb_s": size / bare[0] / 1e6, "of_floor": bare[0] / seconds} if bare else found


def run() -> dict[str, dict[str, float]]:
    """Return figures by case: MB/s, rows/s, the floor's MB/s and our share of it."""
    found: dict[str, dict[str, float]] = {}
    for name, (codec_name, data, floor) in payloads().items():
        codec, options = registry.codec(codec_name), registry.read_options(codec_name, {})
        frames = [Frame(0, 1, 1, b"", b"", data)]
        ours = partial(codec.decode, frames, options, {}, Limits())
        found[name] = figures(len(data), ours, partial(floor, data) if floor else None)
    small = [Frame(n, 1, 1, b"", b"", json.dumps(row).encode()) for n, row in enumerate(lines())]
    ours = partial(registry.codec("json").decode, small, registry.read_options("json", {}), {}, Limits())
    found["json, one object a frame"] = figures(sum(len(frame.payload) for frame in small), ours, None)
    return found


def measure(work: Path, scale: float = 1.0) -> Report:  # noqa: ARG001 - one block of fixed size
    """Measure every case beside its floor."""
    report = Report("codecs", {"rows": ROWS, "rounds": ROUNDS})
    for name, found in run().items():
        floor = found.get("floor_mb_s")
        report.figures.append(
            Figure(
                name,
                round(found["mb_s"], 1),
                "MB/s",
                floor=round(floor, 1) if floor else None,
                floor_name="the bare pyarrow reader" if floor else "",
            )
        )
    return report
