"""Open a lane's folder: find the segments, cut the torn tail, refuse what was durable and is broken."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from weftline.errors import StoreError
from weftline.spool import segment
from weftline.spool.base import LogCount
from weftline.spool.errors import SpoolCorruptError, SpoolLockedError
from weftline.spool.segment import Damage, Header, Record

__all__ = ["Recovered", "SegmentFile", "lock_lane", "open_folder", "records", "verify"]

INDEX_STEP = 256 << 10
"""Bytes between two entries of a segment's index."""


_noting = threading.Lock()


class Cut(NamedTuple):
    """A torn tail that was cut off: it had never been acknowledged."""

    path: Path
    at: int
    length: int
    reason: str


@dataclass(slots=True)
class SegmentFile:
    """One segment of an open lane. `end` is where its durable records end, `last` the newest frame's received time."""

    path: Path
    header: Header
    end: int = 0
    index: list[tuple[int, int]] = field(default_factory=list)
    """(offset, byte) pairs, rising, at least INDEX_STEP bytes apart; only places that were read or written."""
    closed: float | None = None
    """Steady seconds when the next segment was begun; None while it is the last one."""

    @property
    def base(self) -> int:
        """Return the offset of the first record."""
        return self.header.base

    def note(self, offset: int, byte: int) -> None:
        """Remember where an offset lies if the last note is far enough away."""
        if not self.index or byte - self.index[-1][1] >= INDEX_STEP:
            self.index.append((offset, byte))

    def note_read(self, offset: int, byte: int) -> None:
        """Remember what a reader passed; the last segment's index belongs to the writer."""
        if self.closed is None or (self.index and byte - self.index[-1][1] < INDEX_STEP):
            return
        with _noting:
            self.note(offset, byte)

    def find(self, offset: int) -> int:
        """Return a byte at or before the record of this offset."""
        low, high = 0, len(self.index)
        while low < high:
            middle = (low + high) // 2
            if self.index[middle][0] <= offset:
                low = middle + 1
            else:
                high = middle
        return self.index[low - 1][1] if low else self.header.size


@dataclass(slots=True)
class Recovered:
    """What a lane's folder held."""

    epoch: int
    segments: list[SegmentFile]
    next: int
    counts: dict[int, LogCount]
    cuts: list[Cut]


def lock_lane(folder: Path) -> int:
    """Hold the lane for this process until the descriptor is closed; raise SpoolLockedError if another holds it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SpoolLockedError(
            place=str(folder),
            found="a lane that another process has open",
            expected="a lane of this process alone",
            next_step="Stop the other process (its id is in the fabric's lock file).",
        ) from error
    return descriptor


def open_folder(folder: Path, new_epoch: int) -> Recovered:
    """Read what a lane's folder holds and cut its torn tail; an empty folder gives a lane of `new_epoch`."""
    cuts: list[Cut] = []
    segments = _headers(folder, cuts)
    epoch = _epoch(folder, segments, new_epoch)
    if not segments:
        return Recovered(epoch, [], 0, {}, cuts)
    for earlier, later in itertools.pairwise(segments):
        earlier.end = earlier.path.stat().st_size
        if later.base < earlier.base:
            raise _broken(later.path, 0, f"a segment that begins at {later.base}", f"one after {earlier.base}")
    following, counts = _recover_last(segments[-1], cuts)
    return Recovered(epoch, segments, following, counts, cuts)


def _headers(folder: Path, cuts: list[Cut]) -> list[SegmentFile]:
    segments: list[SegmentFile] = []
    for path in folder.glob("*.new"):
        path.unlink()  # a segment or epoch file that was never put in place
    paths = sorted(folder.glob("*.seg"))
    for path in paths:
        header = segment.read_header(path)
        if header is None:
            if path != paths[-1]:
                raise _broken(path, 0, "a file that ends within its header", "a whole segment before later ones")
            # The machine stopped before the file was durable: it never held a frame.
            cuts.append(Cut(path, 0, path.stat().st_size, "a segment that was never begun"))
            path.unlink()
            segment.sync_folder(folder)
            continue
        if path.name != segment.file_name(header.base):
            raise _broken(path, 0, f"a header that says {segment.file_name(header.base)}", "its own name")
        segments.append(SegmentFile(path, header, header.size))
    return segments


def _epoch(folder: Path, segments: list[SegmentFile], new_epoch: int) -> int:
    """Return the lane's epoch; make a new one where no segment is left, for then the next offset is unknown."""
    epochs = {held.header.epoch for held in segments}
    path = folder / "epoch"
    written = int(path.read_text()) if path.exists() else 0
    if len(epochs) > 1 or (epochs and written and epochs != {written}):
        raise StoreError(
            place=str(folder),
            found=f"segments of the epochs {sorted(epochs)} beside an epoch file that says {written}",
            expected="one epoch",
            next_step="Files of two lanes were mixed; restore the folder from one backup.",
        )
    epoch = epochs.pop() if epochs else max(new_epoch, written + 1)
    if epoch != written:
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(f"{epoch}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        segment.sync_folder(folder)
    return epoch


def _recover_last(last: SegmentFile, cuts: list[Cut]) -> tuple[int, dict[int, LogCount]]:
    """Scan the newest segment, cut its torn tail, and return the next offset and the lane's totals."""
    frames = {feed: count.frames for feed, count in last.header.counts.items()}
    sizes = {feed: count.payload_bytes for feed, count in last.header.counts.items()}
    following = last.base
    for found in segment.scan(last.path, last.header.size):
        if isinstance(found, Damage):
            _cut(last, found, cuts)
            break
        _expect(last, found, following)
        last.note(found.offset, found.start)
        last.end, following = found.end, following + 1
        frames[found.feed] = frames.get(found.feed, 0) + 1
        sizes[found.feed] = sizes.get(found.feed, 0) + segment.payload_size(found)
    return following, {feed: LogCount(count, sizes[feed]) for feed, count in frames.items()}


def _expect(held: SegmentFile, found: Record, offset: int) -> None:
    if found.offset != offset:
        raise _broken(held.path, found.start, f"frame {found.offset}", f"frame {offset}")


def _cut(last: SegmentFile, damage: Damage, cuts: list[Cut]) -> None:
    """Cut a torn tail off and make the cut durable; raise SpoolCorruptError if the place was durable before."""
    size = last.path.stat().st_size
    later = _later_write(last.path, damage.at)
    if later is not None:
        raise _broken(
            last.path, damage.at, damage.reason, f"an intact record, for the write at byte {later} came after it"
        )
    with last.path.open("r+b") as file:
        file.truncate(damage.at)
        os.fsync(file.fileno())
    cuts.append(Cut(last.path, damage.at, size - damage.at, damage.reason))


def _later_write(path: Path, damaged: int) -> int | None:
    """Return where a write began that is intact and came after the damaged byte, or None."""
    size = path.stat().st_size
    if size <= damaged:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        at = view.find(segment.RECORD_MAGIC_BYTES, damaged + 1)
        while at != -1:
            found = next(segment.scan(path, at), None) if _plausible(view, at, size) else None
            if isinstance(found, Record) and found.write > damaged:
                return found.write
            at = view.find(segment.RECORD_MAGIC_BYTES, at + 1)
    return None


def _plausible(view: mmap.mmap, at: int, size: int) -> bool:
    """Tell cheaply whether a record may begin here, so that a long tail is not read once per chance magic."""
    if at + segment.RECORD_OVERHEAD > size:
        return False
    length = struct.unpack_from("<I", view, at + 2)[0]
    return bool(length <= size - at)


def _broken(path: Path, at: int, found: str, expected: str) -> SpoolCorruptError:
    return SpoolCorruptError(
        place=f"segment {path}, byte {at}",
        found=found,
        expected=expected,
        next_step="Stop, copy the spool folder, and see docs/errors/spool.md.",
    )


def records(held: SegmentFile, start: int, stop: int) -> Iterator[Record]:
    """Give the durable records with offsets from `start` to before `stop`, all of them or SpoolCorruptError."""
    expected = -1
    for found in segment.scan(held.path, held.find(start), held.end):
        if isinstance(found, Damage):
            raise _broken(held.path, found.at, found.reason, f"the record of frame {max(expected, held.base)}")
        _expect(held, found, expected if expected >= 0 else min(found.offset, start))
        held.note_read(found.offset, found.start)
        expected = found.offset + 1
        if found.offset >= start:
            yield found
        if expected >= stop:
            return
    raise _broken(held.path, held.end, "the end of the segment", f"the frames up to {stop - 1}")


def verify(folder: Path) -> int:
    """Read every record of a lane that is not open and return how many there are; raise SpoolCorruptError at damage."""
    segments = _headers(folder, [])
    total = 0
    for held, later in zip(segments, [*segments[1:], None], strict=True):
        expected = held.base
        for found in segment.scan(held.path, held.header.size):
            if later is not None and expected == later.base:
                break
            if isinstance(found, Damage):
                raise _broken(held.path, found.at, found.reason, f"the record of frame {expected}")
            _expect(held, found, expected)
            expected += 1
        if later is not None and expected != later.base:
            raise _broken(held.path, held.path.stat().st_size, "the end", f"the frames up to {later.base - 1}")
        total += expected - held.base
    return total
