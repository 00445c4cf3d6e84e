"""Benchmarks anyone can run: `weftline bench NAME`. Each measures its floor or a peer in the same run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from weftline.testing.bench.report import Figure, Report

__all__ = ["NAMES", "Figure", "Report", "benchmark"]

NAMES = ("ingest", "mqtt", "contract", "codecs", "start", "feeds")

Benchmark = Callable[[Path, float], Report]
"""Takes an empty work folder and a scale (1.0 = the size the budget is stated for)."""


def benchmark(name: str) -> Benchmark:
    """Return one benchmark by name; its module is imported only now."""
    found: Benchmark = import_module(f"weftline.testing.bench.{name}").measure
    return found
