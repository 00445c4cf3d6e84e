"""Codecs that misbehave on purpose, for the tests of the decode process: they loop, eat memory or end the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.plain import PlainCodec, PlainOptions
from weftline.codecs.whole import whole_file

__all__ = ["HostileCodec"]


class HostileCodec:
    """Do what the payload says: `loop`, `eat`, `die`, `raise`; anything else is decoded as a plain value."""

    name: ClassVar[str] = "hostile"
    summary: ClassVar[str] = "misbehaves on purpose"
    options: ClassVar[type[msgspec.Struct]] = PlainOptions
    isolated: ClassVar[bool] = True

    def decode(
        self, frames: Sequence[Frame], options: PlainOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode, or misbehave."""
        for frame in frames:
            if frame.payload == b"loop":
                while True:
                    os.getpid()
            if frame.payload == b"eat":
                eaten = []
                while True:
                    eaten.append(b"x" * (16 << 20))
            if frame.payload == b"die":
                os.kill(os.getpid(), signal.SIGSEGV)
            if frame.payload == b"raise":
                raise ValueError("a bug in a codec")
        return PlainCodec().decode(frames, options, expected, limits)

    def blocks(self, path: Path, options: PlainOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Give the whole file."""
        return whole_file(path, start, limits)
