"""The floor that bulk ingest is measured beside: one INSERT of an Arrow table into a fresh DuckDB file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

__all__ = ["bare_insert", "bare_inserts"]


def bare_insert(file: Path, rows: pa.Table, columns: str = "*") -> float:
    """Create a file, insert `columns` (SQL) of all rows in one statement, commit; return the seconds of it."""
    connection = duckdb.connect(str(file))
    try:
        connection.register("rows", rows)
        began = time.perf_counter()
        connection.execute(f"CREATE TABLE floor AS SELECT {columns} FROM rows")
        return time.perf_counter() - began
    finally:
        connection.close()


def bare_inserts(file: Path, batches: Iterable[pa.Table]) -> float:
    """Create a file and insert each batch in a transaction of its own; return the seconds, making batches included."""
    connection = duckdb.connect(str(file))
    try:
        began = time.perf_counter()
        for number, rows in enumerate(batches):
            connection.register("rows", rows)
            connection.execute(("INSERT INTO floor " if number else "CREATE TABLE floor AS ") + "SELECT * FROM rows")
            connection.unregister("rows")
        return time.perf_counter() - began
    finally:
        connection.close()
