"""Typed formats (Parquet, Arrow): their columns in the types of Decoded, their rows as JSON, their bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from weftline.batch import TIMESTAMP, Decoded, Frame
from weftline.codecs.base import Limits
from weftline.codecs.json_records import parse
from weftline.codecs.records import Failure, Outcome, Refusal, assemble, columns, concat, notes, place
from weftline.codecs.whole import too_large

__all__ = ["READ_ERRORS", "bounded", "decode_tables", "row_json", "settled"]

READ_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    MemoryError,
    TypeError,
    LookupError,
    NotImplementedError,
    ArithmeticError,
    AttributeError,
)
"""What a reader of a binary format raises on bytes that are not of it."""
ROW_BYTES = 16
"""A row is taken to cost at least this: a column of nulls claims any number of rows in no bytes at all."""


def bounded(batches: Iterable[pa.RecordBatch], schema: pa.Schema, size: int, limits: Limits) -> pa.Table:
    """Read all batches within the limits, or raise Refusal; each batch is checked before anything looks at it."""
    names = schema.names
    if len(names) > limits.fields:
        raise Refusal("limit-fields", f"found {len(names)} fields, expected at most {limits.fields}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refusal("typed-duplicate-field", f"found the field {twice[0][:60]!r} twice, expected each name once")
    most = min(limits.expanded_bytes, limits.frame_bytes + size * limits.expansion_ratio)
    rows = expanded = 0
    found = []
    for batch in batches:
        rows += batch.num_rows
        if rows > limits.frame_bytes // ROW_BYTES:
            raise Refusal(
                "limit-rows", f"found more than {limits.frame_bytes // ROW_BYTES} rows, expected fewer in a frame"
            )
        batch.validate(full=True)
        expanded += batch.nbytes
        if expanded > most:
            raise Refusal("limit-expanded-bytes", f"found more than {most} bytes after expansion, expected fewer")
        found.append(batch)
    return pa.Table.from_batches(found, schema)


def decode_tables(
    frames: Sequence[Frame], read: Callable[[Frame], pa.Table], expected: Mapping[str, pa.DataType], limits: Limits
) -> Decoded:
    """Decode frames that hold a table each; one that cannot be read is one undecodable record."""
    outcome = Outcome()
    raw: list[pa.Table | None] = []
    live: list[pa.Table] = []
    number = 0
    for frame in frames:
        try:
            too_large(frame, limits)
            table = _row_again(frame, expected, limits) or read(frame)
            live.append(columns(settled(table), table.num_rows, expected))
            raw.append(table)
            count = table.num_rows
        except Refusal as refusal:
            first = int(notes(frame).get("row", 0))
            outcome.failures.append(Failure(number, refusal.code, f"{place(first)}: {refusal.reason}."))
            raw.append(None)
            count = 1
        outcome.counts.append(count)
        number += count
    fields = concat(live, expected) if any(table.num_rows for table in live) else columns({}, 0, expected)
    return assemble(frames, outcome, fields, _originals(frames, raw, outcome.counts))


def _row_again(frame: Frame, expected: Mapping[str, pa.DataType], limits: Limits) -> pa.Table | None:
    """Return the row of a frame that is an original given back from quarantine (`row_json`), else nothing."""
    if not (frame.payload.startswith(b"{") and frame.payload.endswith(b"}")):
        return None
    table, failures = parse([frame.payload], lambda _: place(0), expected, limits)
    return None if failures else table


def _originals(
    frames: Sequence[Frame], raw: Sequence[pa.Table | None], counts: Sequence[int]
) -> Callable[[Sequence[int]], Sequence[bytes]]:
    starts = [sum(counts[:home]) for home in range(len(counts))]

    def bytes_of(numbers: Sequence[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        for home, start in enumerate(starts):
            inside = [number for number in numbers if start <= number < start + counts[home]]
            table = raw[home]
            if table is None:
                found |= dict.fromkeys(inside, frames[home].payload)
            elif inside:
                found |= zip(inside, row_json(table, [number - start for number in inside]), strict=True)
        return [found[number] for number in numbers]

    return bytes_of


def row_json(table: pa.Table, rows: Sequence[int]) -> list[bytes]:
    """Return rows of a table as JSON objects; bytes are base64, times ISO 8601."""
    chosen = table.take(pa.array(rows, pa.int64()))
    texts = [[_json(value) for value in _python(chosen.column(at))] for at in range(chosen.num_columns)]
    keys = [json.dumps(name, ensure_ascii=False) for name in table.column_names]
    return [
        ("{" + ",".join(f"{key}:{text[row]}" for key, text in zip(keys, texts, strict=True)) + "}").encode(
            "utf-8", "surrogateescape"
        )
        for row in range(len(rows))
    ]


def _python(column: pa.ChunkedArray) -> list[Any]:
    """Return Python values; nanosecond times are floored to microseconds, which Python has."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except READ_ERRORS:
        return [str(scalar) for chunk in column.chunks for scalar in chunk]


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_text, allow_nan=False)
    except ValueError:
        return json.dumps(_worded(value), ensure_ascii=False, separators=(",", ":"), default=_text)


def _worded(value: Any) -> Any:
    """Return the value with NaN and infinities as words, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _worded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_worded(part) for part in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def settled(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the columns in the types Decoded names, or raise Refusal for a type that has no reading."""
    return {name: _settled(name, column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _settled(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    types = pa.types
    try:
        if isinstance(kind, pa.BaseExtensionType):
            return _settled(name, pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
        if types.is_dictionary(kind):
            return _settled(name, column.cast(kind.value_type))
        if types.is_run_end_encoded(kind):
            return _settled(name, pc.run_end_decode(column))
        if types.is_null(kind) or types.is_boolean(kind) or kind in {pa.int64(), pa.float64(), pa.string()}:
            return column
        if types.is_integer(kind):
            wide = types.is_uint64(kind) and (pc.max(column).as_py() or 0) >= 1 << 63
            return column.cast(pa.string() if wide else pa.int64())
        if types.is_floating(kind):
            return column.cast(pa.float64())
        if types.is_timestamp(kind) and kind.tz:
            return column.cast(TIMESTAMP, safe=False)
        if types.is_large_string(kind) or types.is_string_view(kind) or types.is_decimal(kind):
            return column.cast(pa.string())
        if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
            return column.cast(pa.string())
        values = [
            None if value is None else value if isinstance(value, str) else _nested(value) for value in _python(column)
        ]
        return pa.chunked_array([pa.array(values, pa.string())])
    except READ_ERRORS as error:
        found = f"found the type {kind} in {name[:60]!r} with values that cannot be read"
        raise Refusal("typed-value", f"{found}, expected readable ones ({type(error).__name__})") from None


def _nested(value: Any) -> str:
    return _text(value) if not isinstance(value, dict | list) else _json(value)
