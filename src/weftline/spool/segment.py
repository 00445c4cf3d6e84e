"""The format of a segment file: a header with the totals before it, then records one after the other.

Segment: header, then records. All numbers are little endian.

    header   8s  magic 'WLSPOOL1'
             I   length of what follows the checksum
             I   CRC-32 of what follows
             Q   epoch of the lane
             Q   offset of the first record (the base, also the file's name)
             q   microseconds UTC when the segment was begun
             I   number of feeds, then for each: i feed id, Q frames, Q payload bytes before this segment

    record   H   magic 0xF7A3
             I   length of what follows the checksum
             I   CRC-32 of what follows
             Q   offset in the lane
             Q   byte in this file where the write that held this record began
             q   received, microseconds UTC
             i   feed id
             B   flags
             B   length of the identity
             I   length of the attributes
             identity, attributes, payload

A write is made durable before the next one begins. So a record whose write began after a broken place proves that the
broken place was durable once: that is corruption. Without such a record the broken place is the torn tail of the last
write, which nobody was told is durable, and is cut off (recovery.py).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from weftline.batch import Frame
from weftline.spool.base import LogCount
from weftline.spool.errors import FrameRefusedError, SpoolCorruptError, SpoolVersionError

__all__ = [
    "ATTRIBUTES_LIMIT",
    "IDENTITY_LIMIT",
    "RECORD_LIMIT",
    "RECORD_OVERHEAD",
    "Damage",
    "Header",
    "Record",
    "check_frame",
    "datasync",
    "encode",
    "encode_header",
    "file_name",
    "identity_of",
    "payload_size",
    "read_header",
    "scan",
    "sync_folder",
    "to_frame",
    "write_all",
]

SEGMENT_MAGIC = b"WLSPOOL1"
RECORD_MAGIC = 0xF7A3
RECORD_MAGIC_BYTES = struct.pack("<H", RECORD_MAGIC)
IDENTITY_LIMIT = 64
ATTRIBUTES_LIMIT = 1 << 20
RECORD_LIMIT = 256 << 20
"""Bytes of one record; more than any codec takes as one frame."""
WINDOW = 1 << 20
"""Bytes read at once while scanning."""

_PREFIX = struct.Struct("<8sII")
_TOTALS = struct.Struct("<QQqI")
_FEED = struct.Struct("<iQQ")
_HEAD = struct.Struct("<HII")
_BODY = struct.Struct("<QQqiBBI")
RECORD_OVERHEAD = _HEAD.size + _BODY.size


class Header(NamedTuple):
    """What a segment says of itself; `counts` are the lane's totals before its first record."""

    epoch: int
    base: int
    begun: int
    counts: Mapping[int, LogCount]
    size: int
    """Bytes of the header: where the first record begins."""


class Record(NamedTuple):
    """One record where it lies: `start` and `end` are bytes in the file, `body` is everything after the checksum."""

    start: int
    end: int
    offset: int
    write: int
    received: int
    feed: int
    flags: int
    identity_length: int
    attributes_length: int
    body: memoryview


class Damage(NamedTuple):
    """Why a scan stopped before the end of the file, and at which byte."""

    at: int
    reason: str


def file_name(base: int) -> str:
    """Return the name of the segment whose first record has this offset."""
    return f"{base:020d}.seg"


def check_frame(frame: Frame, place: str) -> None:
    """Refuse a frame the format cannot hold."""
    if len(frame.identity) > IDENTITY_LIMIT:
        found, expected = f"an identity of {len(frame.identity)} bytes", f"at most {IDENTITY_LIMIT}"
    elif len(frame.attributes) > ATTRIBUTES_LIMIT:
        found, expected = f"attributes of {len(frame.attributes)} bytes", f"at most {ATTRIBUTES_LIMIT}"
    elif len(frame.payload) > RECORD_LIMIT - ATTRIBUTES_LIMIT - RECORD_OVERHEAD - IDENTITY_LIMIT:
        found, expected = f"a payload of {len(frame.payload)} bytes", f"less than {RECORD_LIMIT >> 20} MiB"
    else:
        return
    raise FrameRefusedError(place=place, found=found, expected=expected)


def encode(frames: Sequence[Frame], offset: int, write: int) -> bytearray:
    """Return the records of frames that get the offsets from `offset` on, in a write beginning at byte `write`."""
    out = bytearray()
    pack_body, pack_head, crc32 = _BODY.pack, _HEAD.pack, zlib.crc32
    for _, feed, received, identity, attributes, payload, flags in frames:
        head = pack_body(offset, write, received, feed, flags, len(identity), len(attributes))
        body = b"".join((head, identity, attributes, payload))
        out += pack_head(RECORD_MAGIC, len(body), crc32(body))
        out += body
        offset += 1
    return out


def encode_header(epoch: int, base: int, begun: int, counts: Mapping[int, LogCount]) -> bytes:
    """Return the bytes a segment begins with."""
    body = _TOTALS.pack(epoch, base, begun, len(counts))
    body += b"".join(_FEED.pack(feed, *count) for feed, count in counts.items())
    return _PREFIX.pack(SEGMENT_MAGIC, len(body), zlib.crc32(body)) + body


def read_header(path: Path) -> Header | None:
    """Read a segment's header; None where the file ends within it (begun, never made durable).

    Raises SpoolVersionError for another format, SpoolCorruptError for a header that does not match its checksum.
    """
    with path.open("rb") as file:
        prefix = file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            return None
        magic, length, crc = _PREFIX.unpack(prefix)
        if magic == bytes(8):
            return None
        if magic != SEGMENT_MAGIC:
            raise SpoolVersionError(
                place=str(path),
                found=f"a file that begins with {magic!r}",
                expected=f"{SEGMENT_MAGIC!r}",
                next_step="Open the folder with the version of Weftline that wrote it.",
            )
        body = file.read(length)
    if len(body) < length:
        return None
    if zlib.crc32(body) != crc or length < _TOTALS.size:
        raise SpoolCorruptError(
            place=f"{path}, byte 0",
            found="a header that does not match its checksum",
            expected="an intact segment",
            next_step="Restore the spool from backup, or see docs/errors/spool.md.",
        )
    epoch, base, begun, feeds = _TOTALS.unpack_from(body)
    entries = _FEED.iter_unpack(body[_TOTALS.size : _TOTALS.size + feeds * _FEED.size])
    counts = {feed: LogCount(frames, size) for feed, frames, size in entries}
    return Header(epoch, base, begun, counts, _PREFIX.size + length)


def scan(path: Path, start: int, end: int | None = None) -> Iterator[Record | Damage]:
    """Give the records between byte `start` and `end` (default: the file's end); damage ends the scan.

    The bodies are views of a buffer: copy what you keep.
    """
    head_size = _HEAD.size
    with path.open("rb") as file:
        limit = os.fstat(file.fileno()).st_size if end is None else end
        at = start
        buffer, base = b"", start
        while at < limit:
            held = base + len(buffer) - at
            if held < head_size:
                buffer, base = os.pread(file.fileno(), min(WINDOW, limit - at), at), at
                held = len(buffer)
            if held < head_size:
                yield Damage(at, f"{limit - at} bytes, too few for a record")
                return
            magic, length, crc = _HEAD.unpack_from(buffer, at - base)
            if magic != RECORD_MAGIC or not _BODY.size <= length <= RECORD_LIMIT:
                yield Damage(at, "bytes that do not begin a record")
                return
            total = head_size + length
            if at + total > limit:
                yield Damage(at, f"a record of {total} bytes of which {limit - at} are there")
                return
            if held < total:
                buffer, base = os.pread(file.fileno(), min(max(WINDOW, total), limit - at), at), at
            body = memoryview(buffer)[at - base + head_size : at - base + total]
            if zlib.crc32(body) != crc:
                yield Damage(at, "a record that does not match its checksum")
                return
            yield Record._make((at, at + total, *_BODY.unpack_from(body), body))
            at += total


def to_frame(record: Record) -> Frame:
    """Return the frame of a record, with its own copy of the bytes."""
    body = record.body
    identity = _BODY.size + record.identity_length
    attributes = identity + record.attributes_length
    return Frame(
        record.offset,
        record.feed,
        record.received,
        bytes(body[_BODY.size : identity]),
        bytes(body[identity:attributes]),
        bytes(body[attributes:]),
        record.flags,
    )


def identity_of(record: Record) -> bytes:
    """Return only the identity of a record."""
    return bytes(record.body[_BODY.size : _BODY.size + record.identity_length])


def payload_size(record: Record) -> int:
    """Return the bytes of a record's payload."""
    return len(record.body) - _BODY.size - record.identity_length - record.attributes_length


def write_all(descriptor: int, data: bytes | bytearray, at: int) -> None:
    """Write all bytes at a place of the file; a short write is carried on, an error is raised."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def datasync(descriptor: int) -> None:
    """Make a file's bytes and length durable."""
    os.fdatasync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
