"""From cut records to Decoded: places, originals, undecodable records and the canonical columns every codec gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from weftline.batch import Decoded, Frame, Undecodable

__all__ = [
    "EXACT",
    "Failure",
    "Outcome",
    "Refusal",
    "assemble",
    "block_notes",
    "columns",
    "concat",
    "concat_raw",
    "empty_table",
    "exact",
    "json_text",
    "notes",
    "place",
]

EXACT = 1 << 53
"""Integers up to here are the same number as a double."""


class Failure(NamedTuple):
    """One record that could not be read; `record` counts over all frames of the call."""

    record: int
    code: str
    reason: str


class Refusal(Exception):  # noqa: N818 - it is a verdict about bytes, caught inside the codec
    """Say inside a codec why one record is refused; it never leaves the codec."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Outcome:
    """Collect what a codec found while it goes through the frames.

    `counts` has one entry per frame: the records it was cut into. `kept` holds the record of each row in row order
    (None: every record gave one row); `fan` the row within the record (None: always 0).
    """

    counts: list[int] = field(default_factory=list)
    kept: pa.Array | None = None
    fan: pa.Array | None = None
    failures: list[Failure] = field(default_factory=list)
    ignored: dict[int, dict[str, int]] = field(default_factory=dict)


def notes(frame: Frame) -> Mapping[str, Any]:
    """Return what the cutter of the file said about this block, or nothing for a frame that came whole."""
    if not frame.attributes:
        return {}
    try:
        found = msgspec.json.decode(frame.attributes)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}  # the attributes are the transport's; a codec does not depend on them
    block = found.get("block") if isinstance(found, dict) else None
    return block if isinstance(block, dict) else {}


def block_notes(**said: Any) -> bytes:
    """Return block attributes under the one key that no topic capture can hide."""
    return msgspec.json.encode({"block": said})


def place(position: int, line: int = 0) -> str:
    """Return where a record stands, counting from 1 as people do."""
    return f"record {position + 1}{f', line {line}' if line else ''}"


def empty_table(rows: int) -> pa.Table:
    """Return a table of no columns that still knows its number of rows."""
    nothing = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(nothing)])


def columns(
    named: Mapping[str, pa.Array | pa.ChunkedArray], rows: int, expected: Mapping[str, pa.DataType]
) -> pa.Table:
    """Return the canonical table: expected fields first in their order, then the others by name.

    Equal bytes give equal schemas whatever road they took through the codec, so compiled plans are reused. A column of
    nulls takes the expected type or text; whole numbers become double or text only where that is expected and exact.
    """
    order = [name for name in expected if name in named] + sorted(name for name in named if name not in expected)
    if not order:
        return empty_table(rows)
    settled = [settle(named[name], expected.get(name)) for name in order]
    return pa.table(settled, names=order)


def settle(column: pa.Array | pa.ChunkedArray, wanted: pa.DataType | None) -> pa.Array | pa.ChunkedArray:
    """Return the column in the type its batch-independent meaning has (see `columns`)."""
    if pa.types.is_null(column.type):
        simple = wanted is not None and (
            pa.types.is_floating(wanted) or wanted in {pa.int64(), pa.bool_(), pa.timestamp("us", tz="UTC")}
        )
        return column.cast(
            pa.float64() if simple and pa.types.is_floating(wanted) else wanted if simple else pa.string()
        )
    if wanted is None or not pa.types.is_int64(column.type):
        return column
    if pa.types.is_floating(wanted) and exact(column):
        return column.cast(pa.float64())
    return column.cast(pa.string()) if pa.types.is_string(wanted) else column


def exact(column: pa.Array | pa.ChunkedArray) -> bool:
    """Tell whether every whole number of the column is the same number as a double."""
    bounds = pc.min_max(column).as_py()
    return bounds["min"] is None or (bounds["min"] >= -EXACT and bounds["max"] <= EXACT)


def concat(tables: Sequence[pa.Table], expected: Mapping[str, pa.DataType]) -> pa.Table:
    """Put canonical tables of one call one below the other; a field missing in one of them is null there.

    Types that differ become text, except whole and broken numbers, which become double where that is exact.
    """
    tables = [table for table in tables if table.num_rows]
    rows = sum(table.num_rows for table in tables)
    if len(tables) == 1:
        return tables[0]
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for part in table.schema:
            kinds.setdefault(part.name, set()).add(part.type)
    named = {
        name: pa.chunked_array(_chunks(tables, name, _common(tables, name, found))) for name, found in kinds.items()
    }
    return columns(named, rows, expected)


def _common(tables: Sequence[pa.Table], name: str, kinds: set[pa.DataType]) -> pa.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {pa.int64(), pa.float64()} and all(
        exact(table.column(name))
        for table in tables
        if name in table.column_names and pa.types.is_int64(table.schema.field(name).type)
    ):
        return pa.float64()
    return pa.string()


def _chunks(tables: Sequence[pa.Table], name: str, kind: pa.DataType) -> list[pa.Array]:
    found: list[pa.Array] = []
    for table in tables:
        if name in table.column_names:
            found += table.column(name).cast(kind).chunks
        else:
            found.append(pa.nulls(table.num_rows, kind))
    return found


def concat_raw(
    parts: Sequence[tuple[dict[str, pa.Array | pa.ChunkedArray], int]], common: Mapping[str, pa.DataType]
) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Put unsettled columns of chunks one below the other in the types their names have in common."""
    merged: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, kind in common.items():
        chunks: list[pa.Array] = []
        for found, rows in parts:
            column = found[name].cast(kind) if name in found else pa.nulls(rows, kind)
            chunks += column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        merged[name] = pa.chunked_array(chunks, kind)
    return merged


def assemble(
    frames: Sequence[Frame],
    outcome: Outcome,
    fields: pa.Table,
    original: Callable[[Sequence[int]], Sequence[bytes]] | None,
) -> Decoded:
    """Give every row its place; `original` returns the bytes of records by number, None = the payload is the record."""
    counts = outcome.counts
    starts = list(accumulate(counts, initial=0))
    total = starts[-1]
    home = _spread(list(range(len(frames))), starts, pa.int32())
    position = pc.subtract(pa.arange(0, total), _spread(starts[:-1], starts, pa.int64())).cast(pa.uint32())
    kept = outcome.kept
    if kept is None and outcome.failures:
        broken = pa.array([failure.record for failure in outcome.failures], pa.int64())
        every = pa.arange(0, total)
        kept = every.filter(pc.invert(pc.is_in(every, value_set=broken)))
    home_of = home if kept is None else home.take(kept)
    records: dict[int, int] = {}
    for frame, count in zip(frames, counts, strict=True):
        records[frame.feed] = records.get(frame.feed, 0) + count
    rows = len(home_of)
    return Decoded(
        fields=fields,
        feed=pa.array([frame.feed for frame in frames], pa.int32()).take(home_of),
        frame=pa.array([frame.offset for frame in frames], pa.uint64()).take(home_of),
        position=position if kept is None else position.take(kept),
        row=pa.repeat(pa.scalar(0, pa.uint32()), rows) if outcome.fan is None else outcome.fan,
        received=pa.array([frame.received for frame in frames], pa.int64()).take(home_of),
        records=records,
        undecodable=_undecodable(frames, outcome.failures, starts, original),
        ignored=outcome.ignored,
        original=None if original is None else _originals(kept, original),
    )


def _spread(values: Sequence[int], starts: Sequence[int], kind: pa.DataType) -> pa.Array:
    """Return each frame's value once per record of the frame."""
    live = [index for index in range(len(values)) if starts[index + 1] > starts[index]]
    if len(live) == starts[-1]:
        return pa.array([values[index] for index in live], kind)
    ends = pa.array([starts[index + 1] for index in live], pa.int32())
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, pa.array([values[index] for index in live], kind)))


def _undecodable(
    frames: Sequence[Frame],
    failures: Iterable[Failure],
    starts: Sequence[int],
    original: Callable[[Sequence[int]], Sequence[bytes]] | None,
) -> tuple[Undecodable, ...]:
    ordered = sorted(failures)
    if not ordered:
        return ()
    bytes_of = [] if original is None else original([failure.record for failure in ordered])
    found = []
    home = 0
    for index, failure in enumerate(ordered):
        while starts[home + 1] <= failure.record:
            home += 1
        frame = frames[home]
        found.append(
            Undecodable(
                frame.offset,
                failure.record - starts[home],
                failure.code,
                failure.reason,
                frame.payload if original is None else bytes_of[index],
            )
        )
    return tuple(found)


def _originals(
    kept: pa.Array | None, original: Callable[[Sequence[int]], Sequence[bytes]]
) -> Callable[[pa.Array], pa.Array]:
    def bytes_of(rows: pa.Array) -> pa.Array:
        chosen = rows if kept is None else kept.take(rows)
        return pa.array(original(chosen.to_pylist()), pa.binary())

    return bytes_of


def json_text(value: Any) -> str:
    """Return compact JSON of a nested value of a typed format; what JSON has no word for becomes text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
