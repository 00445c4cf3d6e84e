"""What travels the road: frames (raw bytes, durable first), decoded batches, and the columns of provenance.

A *record* is the unit of the ledger: what the codec cuts (one message, one line, one sample, one transaction set).
A frame holds one or more records; a record gives one or more rows. `(lane, frame, position, row)` is a row's permalink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple

import pyarrow as pa

__all__ = [
    "FACT_COLUMNS",
    "TIMESTAMP",
    "Decoded",
    "Draft",
    "Frame",
    "FrameFlag",
    "Mark",
    "Undecodable",
]

TIMESTAMP = pa.timestamp("us", tz="UTC")


class FrameFlag(IntFlag):
    """Bits of a frame's header."""

    DUPLICATE = 1
    """The source sent this identity before; the payload is empty and the record is counted, not decoded."""
    HISTORY = 2
    """Sent by `ingest --history`: event times of any age are accepted and never marked late."""
    HELD = 4
    """Part of a file a set rule holds back as a whole (`onBatch: hold`): kept in quarantine, not decoded."""


class Frame(NamedTuple):
    """What a source sent. The owner of `offset` is the lane's Log; for a file it is the byte offset in the file."""

    offset: int
    feed: int
    """Feed id of the lake's dictionary; 0 where the frame has not been given to a feed."""
    received: int
    """Microseconds since 1970-01-01 UTC, by our clock."""
    identity: bytes
    """Record identity of DESIGN §3, at most 64 bytes; two frames of one feed with equal identity are one record."""
    attributes: bytes
    """JSON object of what the transport said beside the payload (topic captures, content type, header line)."""
    payload: bytes
    flags: int = 0


class Draft(NamedTuple):
    """A frame before the road gives it an offset. `offset` is set by sources that skip the spool (bytes, rows)."""

    feed: int
    identity: bytes
    payload: bytes
    attributes: bytes = b""
    received: int = 0
    flags: int = 0
    offset: int = -1


class Undecodable(NamedTuple):
    """One record the codec could not read. It goes to quarantine with its bytes."""

    frame: int
    position: int
    code: str
    reason: str
    """What was found and what was expected, in one sentence without the bytes themselves."""
    original: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """Hold the rows of some frames of one feed group, as the source named them.

    `fields` has one column per source field: text as `string`, numbers as `int64` or `double`, truth as `bool`, times
    as `timestamp[us, UTC]` where the format itself has that type, nested values as JSON text. Column names are the
    source's and may be anything. `feed`, `frame`, `position` and `row` have one value per row, in row order.
    """

    fields: pa.Table
    feed: pa.Array
    """int32, feed id."""
    frame: pa.Array
    """uint64, offset of the frame in its Log."""
    position: pa.Array
    """uint32, the record within the frame, from 0."""
    row: pa.Array
    """uint32, the row within the record (fan-out), from 0."""
    received: pa.Array
    """int64, microseconds UTC."""
    records: Mapping[int, int]
    """Records cut per feed id, undecodable ones included."""
    undecodable: tuple[Undecodable, ...] = ()
    original: Callable[[pa.Array], pa.Array] | None = None
    """Give the source's bytes (`binary`) of the records of these rows; None = the frame's payload is the record."""
    ignored: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """Records the format itself says hold no data, per feed id and named rule
    (an adapter's `* PONG`); they give no row and no quarantine."""
    attributes: Mapping[int, bytes] = field(default_factory=dict)
    """Frame offset → attributes to keep with the frame's records in quarantine instead of the frame's own, so that a
    record decodes again by its original alone (a CSV line needs the header that came before it)."""


class Mark(IntFlag):
    """Bits of the `mark` column: what a reader must know about a stored row (DESIGN §8)."""

    BAD_STATUS = 1
    LATE = 2
    SKEWED = 4
    GUESSED_UNIT = 8
    RECEIVED_TIME = 16
    """The record held no time; event_time is the received time."""
    VIOLATION = 32
    """A rule failed and the mode let the row pass (observe, warn)."""


FACT_COLUMNS: pa.Schema = pa.schema(
    [
        pa.field("event_time", TIMESTAMP, nullable=False),
        pa.field("record_time", TIMESTAMP, nullable=False),
        pa.field("record_day", pa.date32(), nullable=False),
        pa.field("commit_seq", pa.int64(), nullable=False),
        pa.field("feed", pa.int32(), nullable=False),
        pa.field("contract", pa.int32(), nullable=False),
        pa.field("lane", pa.int32(), nullable=False),
        pa.field("frame", pa.uint64(), nullable=False),
        pa.field("position", pa.uint32(), nullable=False),
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("clock_offset", pa.int64()),
        pa.field("time_source", pa.string(), nullable=False),
        pa.field("mark", pa.uint8(), nullable=False),
        pa.field("extra", pa.string()),
    ]
)
"""Columns of every fact table. `feed`, `contract` and `lane` are dictionary ids; `clock_offset` is microseconds;
`time_source` is 'source' or 'received'; `extra` is JSON of fields the contract does not know. The writer fills
`record_time`, `record_day`, `commit_seq` and `lane`; the road fills the rest."""
