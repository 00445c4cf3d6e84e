"""One lane: the Log on disk.

Callers only queue and wait; the flusher's thread alone gives offsets, writes, fsyncs and rolls segments. What readers
see (`_next`, the recent frames, the totals, the list of segments) changes under `_changed` and only after the fsync.
"""

from __future__ import annotations

import errno
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import structlog

from weftline import failpoint
from weftline.batch import Frame
from weftline.clock import Clock, SystemClock
from weftline.errors import InputError, WeftlineError
from weftline.spool import recovery, segment
from weftline.spool.base import LogCount, Tail
from weftline.spool.errors import (
    SpoolBehindError,
    SpoolClosedError,
    SpoolFailedError,
    SpoolFullError,
    SpoolNotDurableError,
    SpoolQueueError,
    SpoolTruncatedError,
)
from weftline.spool.flusher import Flusher
from weftline.spool.recovery import SegmentFile

__all__ = ["KEPT_SECONDS", "Lane", "SeenFrame"]

log = structlog.get_logger()

SEGMENT_BYTES = 64 << 20
RECENT_BYTES = 32 << 20
QUEUE_BYTES = 64 << 20
KEPT_SECONDS = 60.0
"""Frames younger than this stay on disk although the lake holds them: duplicate detection reads them at start."""
QUEUED_COST = 128
"""Bytes counted for a queued frame beside its payload and attributes."""
FRAME_COST = 300
"""Bytes a frame costs in memory beside its payload, identity and attributes, roughly."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SeenFrame(NamedTuple):
    """A frame without its payload, to rebuild the windows in which a duplicate is recognised."""

    offset: int
    feed: int
    received: int
    identity: bytes
    flags: int


class _Queued(NamedTuple):
    frames: Sequence[Frame]
    size: int
    future: Future[int]


class Lane:
    """A Log in one folder. Opening it cuts a torn tail (`cuts` tells) and refuses damage of what was durable."""

    def __init__(
        self,
        folder: Path,
        name: str,
        flusher: Flusher,
        *,
        clock: Clock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        recent_bytes: int = RECENT_BYTES,
        queue_bytes: int = QUEUE_BYTES,
        epoch_after: int = 0,
    ) -> None:
        """Open or make the lane; a new one gets an epoch above `epoch_after` and above every epoch made before now.

        The epoch is the time of making in seconds, so that a lane whose folder was deleted is never taken for the old
        one by a checkpoint of the lake.
        """
        self.name = name
        self.folder = folder
        self._clock = clock or SystemClock()
        self._flusher = flusher
        self._segment_bytes, self._recent_bytes, self._queue_bytes = segment_bytes, recent_bytes, queue_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = recovery.lock_lane(folder)
        try:
            found = recovery.open_folder(folder, max(self._clock.now() // 1_000_000, epoch_after + 1))
        except BaseException:
            os.close(self._lock)
            raise
        self.epoch = found.epoch
        self.cuts = tuple(found.cuts)
        for cut in found.cuts:
            log.warning("cut a torn tail", lane=name, segment=cut.path.name, at=cut.at, bytes=cut.length)
        self._segments = found.segments
        for held in found.segments[:-1]:
            held.closed = self._clock.steady()
        self._counts = found.counts
        self._next = found.next
        self._released = self._segments[0].base if self._segments else 0
        self._recent: list[Frame] = []
        self._recent_base = found.next
        self._recent_size = 0
        self._queue: list[_Queued] = []
        self._queued = 0
        self._closed = False
        self._active: int | None = None
        self._changed = threading.Condition()
        self._flushing = threading.Lock()

    # --- what callers do

    @property
    def queued_bytes(self) -> int:
        """Return the bytes that wait for their fsync."""
        return self._queued

    def append(self, frames: Sequence[Frame]) -> Future[int]:
        """Queue frames as one unit; the future ends with the first offset after the fsync and cannot be cancelled."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        size = 0
        try:
            for frame in frames:
                bytes_of_frame = len(frame.payload) + len(frame.attributes)
                if bytes_of_frame > segment.ATTRIBUTES_LIMIT or len(frame.identity) > segment.IDENTITY_LIMIT:
                    segment.check_frame(frame, f"lane {self.name}")
                size += bytes_of_frame + QUEUED_COST
        except InputError as error:
            future.set_exception(error)
            return future
        with self._changed:
            refused = self._refusal(size)
            if refused is None:
                self._queue.append(_Queued(frames, size, future))
                self._queued += size
        if refused is not None:
            future.set_exception(refused)
        else:
            self._flusher.poke(self)
        return future

    def _refusal(self, size: int) -> WeftlineError | None:
        if self._closed:
            return SpoolClosedError(place=f"lane {self.name}", found="a closed lane", expected="an open one")
        if self._queued and self._queued + size > self._queue_bytes:
            return SpoolQueueError(
                place=f"lane {self.name}",
                found=f"{self._queued:,} bytes waiting for the disk",
                expected=f"at most {self._queue_bytes:,}",
                next_step="Sources are held back until the disk has caught up.",
            )
        return None

    def read(self, start: int, max_frames: int, max_bytes: int) -> list[Frame]:
        """Return durable frames from `start` on, at least one if there is one; recent ones come from memory.

        Raises SpoolTruncatedError below the first offset and SpoolBehindError above the next one: both would hide
        frames from who asks.
        """
        with self._changed:
            following = self._next
            if start >= self._recent_base:
                if start > following:
                    raise self._behind(start)
                index = start - self._recent_base
                return _limited(self._recent[index : index + max_frames], max_bytes)
            stop = min(self._recent_base, start + max_frames)
        result: list[Frame] = []
        size = 0
        for record in self._records(start, stop):
            result.append(segment.to_frame(record))
            size += len(record.body)
            if size >= max_bytes or len(result) >= max_frames:
                break
        return result

    def wait(self, start: int, timeout: float) -> bool:
        """Block until a durable frame at `start` exists, at most `timeout` seconds; a closed lane ends the wait."""
        with self._changed:
            return self._changed.wait_for(lambda: self._next > start or self._closed, timeout) and self._next > start

    def identities(self, since: int, newest: int = 0) -> Iterator[SeenFrame]:
        """Give the durable frames received at or after `since` (microseconds UTC), without their payloads.

        The last `newest` frames are given whatever the clock said when they came.
        """
        with self._changed:
            segments, following = list(self._segments), self._next
        for index, held in enumerate(segments):
            later = segments[index + 1].header if index + 1 < len(segments) else None
            if later is not None and later.begun < since and later.base <= following - newest:
                continue
            for record in self._records(held.base, later.base if later else following):
                if record.received >= since or record.offset >= following - newest:
                    identity = segment.identity_of(record)
                    yield SeenFrame(record.offset, record.feed, record.received, identity, record.flags)

    def truncate(self, before: int) -> None:
        """Remove whole segments below `before`, except the last one and those that held frames of the last minute."""
        with self._changed:
            self._released = max(self._released, before)
            steady = self._clock.steady()
            gone = 0
            for held, later in pairwise(self._segments):
                if later.base > before or held.closed is None or steady - held.closed < KEPT_SECONDS:
                    break
                gone += 1
            removed, self._segments = self._segments[:gone], self._segments[gone:]
        for held in removed:
            # Oldest first, each made durable: a crash in between leaves no hole.
            held.path.unlink()
            segment.sync_folder(self.folder)

    def tail(self) -> Tail:
        """Return the oldest offset on disk and the next one."""
        with self._changed:
            return Tail(self._segments[0].base if self._segments else self._next, self._next)

    def counts(self) -> Mapping[int, LogCount]:
        """Return durable frames and payload bytes per feed id since the lane was made, truncated ones included."""
        with self._changed:
            return dict(self._counts)

    def recount(self) -> Mapping[int, LogCount]:
        """Read every durable frame again and return the totals: the oldest header's and what the records say.

        Reads the whole lane; raises SpoolCorruptError where a record is missing or broken.
        """
        with self._changed:
            segments, following = list(self._segments), self._next
        header = segment.read_header(segments[0].path) if segments else None
        totals = {feed: [*count] for feed, count in header.counts.items()} if header else {}
        for record in self._records(segments[0].base, following) if segments else ():
            count = totals.setdefault(record.feed, [0, 0])
            count[0] += 1
            count[1] += segment.payload_size(record)
        return {feed: LogCount(*count) for feed, count in totals.items()}

    def size(self, start: int = 0) -> int:
        """Return the bytes of the lane's segments, of those only that hold frames from `start` on."""
        with self._changed:
            bases = [held.base for held in self._segments[1:]] + [self._next]
            return sum(held.end for held, after in zip(self._segments, bases, strict=True) if after > start)

    def oldest(self) -> int | None:
        """Return when the oldest frame that `truncate` has not given free was received, or None if there is none."""
        with self._changed:
            start = max(self._released, self._segments[0].base if self._segments else 0)
            if start >= self._next:
                return None
        return self.read(start, 1, 1)[0].received

    def close(self) -> None:
        """Write what is queued, then refuse appends and let go of the folder."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self.flush()
        if self._active is not None:
            os.close(self._active)
            self._active = None
        os.close(self._lock)

    # --- reading from disk

    def _behind(self, start: int) -> SpoolBehindError:
        return SpoolBehindError(
            place=f"lane {self.name}, epoch {self.epoch}",
            found=f"somebody who asks for frame {start}",
            expected=f"at most {self._next}",
            next_step="The spool folder is older than the lake; see docs/errors/spool.md.",
        )

    def _records(self, start: int, stop: int) -> Iterator[segment.Record]:
        """Give the durable records of [start, stop) from disk, over segment borders."""
        while start < stop:
            with self._changed:
                index = bisect_right([held.base for held in self._segments], start) - 1
                first = self._segments[0].base if self._segments else self._next
                held = self._segments[max(index, 0)] if self._segments else None
                later = self._segments[index + 1].base if index + 1 < len(self._segments) else self._next
            if index < 0 or held is None:
                raise self._truncated(start, first)
            end = min(stop, later)
            try:
                yield from recovery.records(held, start, end)
            except FileNotFoundError as error:
                raise self._truncated(start, first) from error
            start = end

    def _truncated(self, start: int, first: int) -> SpoolTruncatedError:
        return SpoolTruncatedError(
            place=f"lane {self.name}, epoch {self.epoch}",
            found=f"no frame {start} any more",
            expected=f"an offset from {first}",
            next_step="Read from the lake's checkpoint; frames below it are stored.",
        )

    # --- what the flusher's thread does

    def flush(self) -> None:
        """Write and fsync what is queued, then end its futures. Called by the flusher and, last, by close."""
        with self._flushing:
            with self._changed:
                work, self._queue = self._queue, []
            failed: Exception | None = None
            first = 0
            try:
                first = self._write([frame for queued in work for frame in queued.frames])
            except Exception as error:
                failed = error
                if not isinstance(error, WeftlineError):
                    log.exception("the flusher met a bug", lane=self.name)
            with self._changed:
                self._queued -= sum(queued.size for queued in work)
        for queued in work:
            if failed is not None:
                queued.future.set_exception(failed)
            else:
                queued.future.set_result(first)
                first += len(queued.frames)

    def _write(self, frames: list[Frame]) -> int:
        """Make frames durable and visible; return the first offset. Raises AdmissionError or StoreError."""
        first = self._next
        if not frames:
            return first
        held = self._writable(sum(len(frame.payload) for frame in frames))
        assert self._active is not None
        data = segment.encode(frames, first, held.end)
        try:
            segment.write_all(self._active, data, held.end)
        except OSError as error:
            self._roll_back(held)
            raise self._unwritten(error) from error
        try:
            failpoint.hit("spool.fsync.before")
            segment.datasync(self._active)
            failpoint.hit("spool.fsync.after")
        except OSError as error:
            self._abandon(held)
            raise self._not_durable(held, error) from error
        except BaseException:
            self._roll_back(held)
            raise
        self._publish(held, frames, first, len(data))
        return first

    def _publish(self, held: SegmentFile, frames: list[Frame], first: int, size: int) -> None:
        make = tuple.__new__  # a third of the time of a named tuple's own
        numbered: list[Frame] = [
            make(Frame, (offset, feed, received, identity, attributes, payload, flags))
            for offset, (_, feed, received, identity, attributes, payload, flags) in enumerate(frames, first)
        ]
        added: dict[int, list[int]] = {}
        for frame in frames:
            count = added.setdefault(frame.feed, [0, 0])
            count[0] += 1
            count[1] += len(frame.payload)
        with self._changed:
            for feed, (number, payload) in added.items():
                old = self._counts.get(feed, LogCount(0, 0))
                self._counts[feed] = LogCount(old.frames + number, old.payload_bytes + payload)
            held.note(first, held.end)
            held.end += size
            self._next = first + len(frames)
            self._recent += numbered
            self._recent_size += size + FRAME_COST * len(frames)
            if self._recent_size > self._recent_bytes:
                self._forget()
            self._changed.notify_all()

    def _forget(self) -> None:
        """Drop the older half of the recent frames, so that dropping is rare; the newest frame always stays."""
        gone, size = 0, self._recent_size
        while size > self._recent_bytes // 2 and gone < len(self._recent) - 1:
            frame = self._recent[gone]
            size -= len(frame.payload) + len(frame.identity) + len(frame.attributes) + segment.RECORD_OVERHEAD
            size -= FRAME_COST
            gone += 1
        del self._recent[:gone]
        self._recent_base += gone
        self._recent_size = max(size, 0)

    def _writable(self, size: int) -> SegmentFile:
        """Return the segment to write to, beginning a new one where the last is full, gone bad or missing."""
        last = self._segments[-1] if self._segments else None
        if last is not None and self._active is None and last.closed is None:
            try:
                self._active = os.open(last.path, os.O_RDWR)
            except OSError as error:
                raise self._unwritten(error) from error
        full = last is not None and last.end > last.header.size and last.end + size > self._segment_bytes
        if last is not None and last.closed is None and not full:
            return last
        return self._begin()

    def _begin(self) -> SegmentFile:
        """Make a new segment durable, with the totals so far; nothing is left behind where that fails."""
        last = self._segments[-1] if self._segments else None
        path = self.folder / segment.file_name(self._next)
        fresh = path.with_suffix(".new")
        header = segment.encode_header(self.epoch, self._next, self._clock.now(), self._counts)
        descriptor = -1
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            segment.write_all(descriptor, header, 0)
            segment.datasync(descriptor)
            fresh.replace(path)
            segment.sync_folder(self.folder)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
                fresh.unlink(missing_ok=True)
            raise self._unwritten(error) from error
        if self._active is not None:
            os.close(self._active)
        self._active = descriptor
        held = SegmentFile(
            path, segment.Header(self.epoch, self._next, self._clock.now(), {}, len(header)), len(header)
        )
        with self._changed:
            if last is not None:
                last.closed = last.closed or self._clock.steady()
            self._segments = [one for one in self._segments if one.path != path] + [held]
        return held

    def _roll_back(self, held: SegmentFile) -> None:
        """Cut a half-written unit off; a segment that cannot even be cut is left and a new one begun."""
        assert self._active is not None
        try:
            os.ftruncate(self._active, held.end)
        except OSError:
            log.exception("could not cut a half-written unit", lane=self.name, segment=held.path.name)
            self._abandon(held)

    def _abandon(self, held: SegmentFile) -> None:
        """Close a segment whose unsynced pages the kernel may have dropped; a later fsync on it would lie."""
        if self._active is not None:
            try:
                os.ftruncate(self._active, held.end)
            except OSError:
                log.exception("could not cut frames that are not durable", lane=self.name, segment=held.path.name)
            os.close(self._active)
            self._active = None
        with self._changed:
            held.closed = self._clock.steady()

    def _not_durable(self, held: SegmentFile, error: OSError) -> WeftlineError:
        if error.errno in NO_SPACE:
            return self._unwritten(error)
        return SpoolNotDurableError(
            place=f"lane {self.name}, segment {held.path.name}",
            found=f"an fsync that failed: {error.strerror}",
            expected="frames on the disk",
            next_step="The frames were not acknowledged. Check the disk; the lane goes on in a new segment.",
        )

    def _unwritten(self, error: OSError) -> WeftlineError:
        place = f"lane {self.name}, folder {self.folder}"
        if error.errno in NO_SPACE:
            return SpoolFullError(
                place=place,
                found="a disk without room",
                expected="room for the frames",
                next_step="Free space; sources are held back and nothing was acknowledged.",
            )
        return SpoolFailedError(
            place=place,
            found=f"a write that failed: {error.strerror}",
            expected="a folder that can be written",
            next_step="Check the disk and its permissions; nothing was acknowledged.",
        )


def _limited(frames: list[Frame], max_bytes: int) -> list[Frame]:
    size = 0
    for index, frame in enumerate(frames):
        size += len(frame.payload) + len(frame.attributes)
        if size >= max_bytes:
            return frames[: index + 1]
    return frames
