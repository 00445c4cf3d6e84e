"""Apache Arrow IPC, stream and file format, as programs push it over HTTP. Arrow columnar format 1.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa
from pyarrow import ipc

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.records import Refusal
from weftline.codecs.typed import READ_ERRORS, bounded, decode_tables
from weftline.codecs.whole import whole_file

__all__ = ["ArrowCodec", "ArrowOptions", "read_ipc"]

FILE_MAGIC = b"ARROW1"


class ArrowOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arrow IPC describes itself: nothing to set."""


class ArrowCodec:
    """Read Arrow IPC; a row is a record, bytes that are no Arrow are one undecodable record."""

    name: ClassVar[str] = "arrow"
    summary: ClassVar[str] = "Arrow IPC stream or file"
    options: ClassVar[type[msgspec.Struct]] = ArrowOptions
    isolated: ClassVar[bool] = False

    def decode(
        self,
        frames: Sequence[Frame],
        options: ArrowOptions,  # noqa: ARG002 - the interface gives it
        expected: Mapping[str, pa.DataType],
        limits: Limits,
    ) -> Decoded:
        """Decode frames of one stream or file each."""
        return decode_tables(frames, lambda frame: read_ipc(frame.payload, limits), expected, limits)

    def blocks(self, path: Path, options: ArrowOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Give the whole file as one block."""
        return whole_file(path, start, limits)


def read_ipc(payload: bytes, limits: Limits) -> pa.Table:
    """Return the table of an IPC stream or file, checked in full, or raise Refusal."""
    source = pa.BufferReader(payload)
    try:
        if payload.startswith(FILE_MAGIC):
            file = ipc.open_file(source)
            count = file.num_record_batches
            return bounded((file.get_batch(at) for at in range(count)), file.schema, len(payload), limits)
        with ipc.open_stream(source) as stream:
            return bounded(stream, stream.schema, len(payload), limits)
    except READ_ERRORS as error:
        found = f"found bytes that are no whole Arrow IPC ({type(error).__name__})"
        raise Refusal("arrow-broken", f"{found}, expected a stream or file that ends where it says") from None
