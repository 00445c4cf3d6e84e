"""The codec's interface. A codec is total: any bytes give rows, undecodable records or both, never an exception.

Registered under the entry-point group `weftline.codecs`. `weftline.testing.codec_conformance` runs against every
registered codec with generated and broken bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
import pyarrow as pa

from weftline.batch import Decoded, Frame

__all__ = ["Codec", "FileBlock", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound what one frame may cost; what exceeds a bound is one undecodable record with code `limit-…`."""

    record_bytes: int = 1 << 20
    frame_bytes: int = 64 << 20
    depth: int = 64
    fields: int = 4096
    expanded_bytes: int = 4 << 30
    """For archives: bytes after expansion of one file."""
    expansion_ratio: int = 200
    members: int = 10_000


class FileBlock(NamedTuple):
    """A run of whole records of a file, cut at the same places every time the same bytes are read.

    `offset` is the byte (or row) where it starts, `end` where the next one starts; `attributes` holds what the decoder
    needs from elsewhere in the file (the header line), as JSON.
    """

    offset: int
    end: int
    attributes: bytes
    payload: bytes


class Codec(Protocol):
    """Turn frames of one format into rows."""

    name: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[type[msgspec.Struct]]  # keys of a feed's `format` beside `codec`
    isolated: ClassVar[bool]
    """True: decoded in the spawned decode process (archives, XLSX, XML), with time and memory limits."""

    def decode(
        self, frames: Sequence[Frame], options: Any, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode frames of feeds that share these options.

        `expected` names source fields and the types their contract casts them to: a hint for the fast path only; a
        field of another type, missing or unknown is decoded as it is. One broken record never takes its neighbours.
        """
        ...

    def blocks(self, path: Path, options: Any, start: int, limits: Limits) -> Iterator[FileBlock]:
        """Cut a file from byte (or row) `start`, which is 0 or an `end` given before, into blocks of about 4 MiB."""
        ...
