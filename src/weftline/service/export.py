"""Arrow → the formats people take away: JSON, CSV, Parquet, Arrow; always by pyarrow, never by the store."""

from __future__ import annotations

from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

__all__ = ["FORMATS", "write_table"]

FORMATS = ("json", "csv", "arrow", "parquet")
ROWS = 10_000


def write_table(table: pa.Table, format: str, stream: IO[bytes]) -> None:  # noqa: A002 - the field's word
    """Write a table; times are ISO 8601 in UTC, binary is base64 in JSON and hex in CSV, nested values JSON text."""
    if format == "arrow":
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
    elif format == "parquet":
        pq.write_table(table, stream, compression="zstd")
    elif format == "csv":
        pacsv.write_csv(_flat(table), stream)
    else:
        _json(table, stream)


def _json(table: pa.Table, stream: IO[bytes]) -> None:
    stream.write(b"[")
    first = True
    for batch in table.to_batches(max_chunksize=ROWS):
        for row in batch.to_pylist():
            stream.write(b"\n" if first else b",\n")
            stream.write(msgspec.json.encode(row))
            first = False
    stream.write(b"\n]\n")


def _flat(table: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind):
            columns[name] = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ" if kind.tz else "%Y-%m-%dT%H:%M:%S")
        elif pa.types.is_nested(kind):
            columns[name] = pa.array([msgspec.json.encode(value).decode() for value in column.to_pylist()])
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            columns[name] = pa.array([None if value is None else value.hex() for value in column.to_pylist()])
        else:
            columns[name] = column
    return pa.table(columns)
