"""The floor that bulk ingest is measured beside: one INSERT of an Arrow table into a fresh DuckDB file."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pyarrow as pa

__all__ = ["bare_insert"]


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
