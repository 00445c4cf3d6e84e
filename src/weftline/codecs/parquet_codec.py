"""Apache Parquet files, read in slices of their row groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from weftline.batch import Decoded, Frame
from weftline.codecs.arrow_codec import read_ipc
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.lines import BLOCK
from weftline.codecs.records import Refusal, block_notes, notes
from weftline.codecs.typed import READ_ERRORS, bounded, decode_tables
from weftline.codecs.whole import whole_file

__all__ = ["ParquetCodec", "ParquetOptions"]

SLICE = 65_536


class ParquetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say which columns are read."""

    columns: tuple[str, ...] = ()
    """Columns to read; none = all."""


class ParquetCodec:
    """Read Parquet; a row is a record. A file's blocks are row slices carried as Arrow IPC, offsets are rows."""

    name: ClassVar[str] = "parquet"
    summary: ClassVar[str] = "Parquet files, in slices of row groups"
    options: ClassVar[type[msgspec.Struct]] = ParquetOptions
    isolated: ClassVar[bool] = False

    def decode(
        self, frames: Sequence[Frame], options: ParquetOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode whole files or slices; a row group that cannot be read is one undecodable record."""
        return decode_tables(frames, lambda frame: _table(frame, options, limits), expected, limits)

    def blocks(self, path: Path, options: ParquetOptions, start: int, limits: Limits) -> Iterator[FileBlock]:
        """Cut the file into row slices of about 4 MiB; a file without a readable footer is one broken block."""
        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
                sizes = [file.metadata.row_group(group).total_byte_size for group in range(len(rows))]
        except READ_ERRORS:
            yield from whole_file(path, start, limits)
            return
        first = 0
        for group, (count, size) in enumerate(zip(rows, sizes, strict=True)):
            if count > 0 and first + count > start:
                step = max(1, min(SLICE, BLOCK * 4 * count // max(size, 1)))
                wanted = list(options.columns) or None
                yield from _group_blocks(path, group, first, count, step=step, start=start, wanted=wanted)
            first += max(count, 0)


def _group_blocks(
    path: Path, group: int, first: int, count: int, *, step: int, start: int, wanted: list[str] | None
) -> Iterator[FileBlock]:
    done = 0
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(step, row_groups=[group], columns=wanted):
                offset = first + done
                done += batch.num_rows
                if offset >= start and batch.num_rows:
                    yield FileBlock(offset, offset + batch.num_rows, block_notes(row=offset), _ipc(batch))
    except READ_ERRORS as error:
        reason = f"found rows {first + done + 1} to {first + count} that cannot be read ({type(error).__name__})"
        said = block_notes(row=first + done, broken=f"{reason}, expected whole pages of row group {group}")
        yield FileBlock(first + done, first + count, said, b"")
        return
    if done < count:
        reason = f"found {done} rows in row group {group}, expected {count} as its footer says"
        yield FileBlock(first + done, first + count, block_notes(row=first + done, broken=reason), b"")


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _table(frame: Frame, options: ParquetOptions, limits: Limits) -> pa.Table:
    said = notes(frame)
    if "broken" in said:
        raise Refusal("parquet-broken", str(said["broken"]))
    if "row" in said:
        return read_ipc(frame.payload, limits)
    try:
        with pq.ParquetFile(pa.BufferReader(frame.payload)) as file:
            batches = file.iter_batches(SLICE, columns=list(options.columns) or None)
            wanted = file.schema_arrow
            if options.columns:
                wanted = pa.schema([wanted.field(name) for name in wanted.names if name in options.columns])
            return bounded(batches, wanted, len(frame.payload), limits)
    except READ_ERRORS as error:
        found = f"found bytes that are no whole Parquet file ({type(error).__name__})"
        raise Refusal("parquet-broken", f"{found}, expected a file with a readable footer and pages") from None
