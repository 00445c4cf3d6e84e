"""Readings as JSON, CSV, Parquet or Arrow IPC, with the place of the next page and an entity tag."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from starlette.responses import Response, StreamingResponse

from weftline.errors import UsageError
from weftline.service.reading import Reading

__all__ = ["FORMATS", "Rows", "encode", "respond"]

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
CHUNK = 1 << 20
JSON_ROWS = 100_000


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """A reading as JSON. Times are RFC 3339 in UTC; bytes are base64; decimals are text."""

    columns: list[str]
    rows: list[dict[str, Any]]
    next: str
    """Value of `after` for the next page; empty at the end."""
    cut: bool
    """More rows exist than `limit` let through."""
    commit_seq: int
    decision: str


def encode(reading: Reading, kind: str) -> bytes:
    """Return a reading in a format. Blocks; raises UsageError where JSON would be too large."""
    if kind == "json":
        if reading.table.num_rows > JSON_ROWS:
            raise UsageError(
                place="format",
                found=f"{reading.table.num_rows} rows as JSON",
                expected=f"at most {JSON_ROWS}",
                next_step="Ask for csv, parquet or arrow, or set a lower limit.",
            )
        return msgspec.json.encode(
            Rows(
                columns=list(reading.columns),
                rows=reading.table.to_pylist(),
                next=reading.next,
                cut=reading.cut,
                commit_seq=reading.commit_seq,
                decision=reading.decision,
            )
        )
    sink = io.BytesIO()
    if kind == "csv":
        pyarrow.csv.write_csv(flat(reading.table), sink)
    elif kind == "parquet":
        pyarrow.parquet.write_table(reading.table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, reading.table.schema) as writer:
            writer.write_table(reading.table)
    return sink.getvalue()


def flat(table: pa.Table) -> pa.Table:
    """Turn nested and binary columns into JSON text and base64, which CSV can hold."""
    for index, column in enumerate(table.schema):
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            texts = [None if value is None else _text(value) for value in table.column(index).to_pylist()]
            table = table.set_column(index, column.name, pa.array(texts, pa.string()))
    return table


def _text(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text[1:-1] if isinstance(value, bytes) else text


def tag_of(reading: Reading, asked: str, kind: str) -> str:
    """Return the entity tag: the question, the format, and the newest commit it considered."""
    digest = hashlib.sha256(f"{asked}\0{kind}\0{reading.commit_seq}".encode()).hexdigest()
    return f'W/"{digest[:32]}"'


def respond(reading: Reading, body: bytes, kind: str, *, name: str, asked: str, known: str = "") -> Response:
    """Return the download; 304 where the client knows this very answer."""
    tag = tag_of(reading, asked, kind)
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, Cookie",
        "Weftline-Commit-Seq": str(reading.commit_seq),
        "Weftline-Decision": reading.decision,
        "Weftline-Next": reading.next,
        "Weftline-Cut": "true" if reading.cut else "false",
    }
    if tag in {one.strip() for one in known.split(",")}:
        return Response(status_code=304, headers=headers)
    if kind != "json":
        safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)
        headers["Content-Disposition"] = f'attachment; filename="{safe}.{kind}"'
    if len(body) <= CHUNK:
        return Response(body, headers=headers, media_type=FORMATS[kind])
    headers["Content-Length"] = str(len(body))
    return StreamingResponse(_chunks(body), headers=headers, media_type=FORMATS[kind])


def _chunks(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]
