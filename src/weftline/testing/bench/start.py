"""Start, recovery and memory: to the first page, after kill -9 with a WAL, at rest, and while data comes in."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from weftline.testing.bench import ingest
from weftline.testing.bench.processes import Served, cpu_seconds, peak_rss_mb, rss_mb
from weftline.testing.bench.report import Figure, Report

__all__ = ["measure"]

ROUNDS = 3
IDLE_SECONDS = 10.0
ROWS = 400_000
_EMPTY = "name: empty\ntimezone: UTC\nlisten: {host: 127.0.0.1, port: 8420}\n"
_BARE = "import duckdb, pyarrow, starlette, uvicorn, sqlalchemy, msgspec"


def measure(work: Path, scale: float = 1.0) -> Report:
    """Start an empty fabric and one that was killed under load; best of three, every round told."""
    report = Report("start", {"rounds": ROUNDS, "idle_seconds": IDLE_SECONDS})
    empty = work / "empty"
    empty.mkdir()
    (empty / "fabric.yaml").write_text(_EMPTY, "utf-8")
    floor = min(_bare_start() for _ in range(ROUNDS))
    help_seconds = min(_command("--help") for _ in range(ROUNDS))
    check_seconds = min(_command("check", "--fabric", str(empty)) for _ in range(ROUNDS))
    starts, idle, idle_cpu = [], [], []
    for _ in range(ROUNDS):
        with Served(empty) as served:
            starts.append(served.start_seconds)
            before = cpu_seconds(served.pid)
            time.sleep(IDLE_SECONDS)
            idle.append(rss_mb(served.pid))
            idle_cpu.append(100 * (cpu_seconds(served.pid) - before) / IDLE_SECONDS)
    recovered, wal, load = _recovery(work, max(int(ROWS * scale), 100_000))
    report.figures = [
        Figure("process start to first page, empty fabric", round(min(starts), 2), "s", most=3, floor=round(floor, 2),
               floor_name="python importing duckdb, pyarrow, starlette, uvicorn, sqlalchemy"),
        Figure("up to first page after kill -9 with a WAL", round(min(recovered), 2), "s", most=4),
        Figure("WAL at the kill", round(max(wal), 1), "MiB"),
        Figure("resident memory of an idle empty fabric", round(min(idle)), "MiB", most=250),
        Figure("CPU of an idle empty fabric", round(min(idle_cpu), 1), "% of a core"),
        Figure("largest resident memory while files come in", round(load), "MiB", most=1024),
        Figure("weftline --help", round(help_seconds, 2), "s"),
        Figure("weftline check, empty fabric", round(check_seconds, 2), "s"),
    ]  # fmt: skip
    report.notes = [f"starts {_listed(starts)}; recoveries {_listed(recovered)} s; idle {_listed(idle)} MiB"]
    return report


def _bare_start() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _BARE], check=True)
    return time.perf_counter() - began


def _command(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "weftline", *words], check=True, capture_output=True)
    return time.perf_counter() - began


def _recovery(work: Path, rows: int) -> tuple[list[float], list[float], float]:
    """Bring a file in, kill the server right after its commit, start again; the state stays from round to round."""
    folder, recovered, wal, load = work / "killed", [], [], 0.0
    ingest.write_folder(folder)
    for number in range(ROUNDS):
        source = work / f"rows{number}.ndjson"
        ingest.write_rows(source, rows, seed=number)
        small = work / f"few{number}.ndjson"
        ingest.write_rows(small, 60_000, seed=100 + number)
        served = Served(folder)
        served.start()
        answer = served.ingest("press", source)
        assert answer["stored"] == rows, answer
        served.ingest("press", small)
        load = max(load, peak_rss_mb(served.pid))
        log = folder / ".weftline" / "lake" / "lake" / "lake.duckdb.wal"
        logs = [log] if log.exists() else list((folder / ".weftline").rglob("*.wal"))
        wal.append(sum(each.stat().st_size for each in logs) / (1 << 20))
        served.kill()
        again = Served(folder)
        again.start()
        recovered.append(again.start_seconds)
        again.stop()
        source.unlink()
    return recovered, wal, load


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
