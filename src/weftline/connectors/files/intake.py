"""One file onto the road: the same code for a drop folder and for a file named on the command line. Blocking.

The content's hash names the producer, so the same content is known again whatever its name. A file is read up to the
size it was hashed at; one that changes meanwhile is left alone and, when it has settled again, goes on where the
unchanged beginning ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import structlog

from weftline.batch import Draft, FrameFlag
from weftline.codecs.base import Codec, FileBlock, Limits
from weftline.connectors.back_off import BackOff
from weftline.connectors.base import Road
from weftline.errors import Complaint, InputError, TransientError, WeftlineError
from weftline.model.feed import FeedSpec, OnBatch
from weftline.model.position import Position

__all__ = ["Beginning", "FileOutcome", "Reading", "Stop", "Verdict", "ingest_content", "ingest_file"]

log = structlog.get_logger()

IN_FLIGHT = 12
"""Blocks handed over and not yet committed, about 4 MiB each: six in the lake's hands while the next six are read."""
HELD_LOOK_SECONDS = 0.2
HASH_STEP = 1 << 20

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


class Verdict(StrEnum):
    """What became of a file."""

    STORED = "stored"  # every record has its outcome in the lake
    DUPLICATE = "duplicate"  # the content was ingested before; its records are counted as duplicates
    EMPTY = "empty"
    CHANGED = "changed"  # it changed while it was read; it is taken again when it has settled
    VANISHED = "vanished"
    UNREADABLE = "unreadable"  # a later try may help: permissions, a disk that fails
    REFUSED = "refused"  # no later try helps: not a file, an archive that cannot be opened or is too large
    HELD = "held"  # a set rule of its contract fails: all of it is in quarantine (onBatch: hold)
    STOPPED = "stopped"


class Beginning(NamedTuple):
    """What the lake holds of a file that changed: `end` bytes of a content whose `size` bytes had `digest`."""

    digest: str
    size: int
    end: int


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file; an archive's members are added up."""

    path: Path
    feed: str
    verdict: Verdict
    digest: str = ""
    producers: tuple[str, ...] = ()
    records: int = 0
    """Records the codec cut now, not counting those known before."""
    duplicates: int = 0
    complaint: Complaint | None = None
    beginning: Beginning | None = None


class Stop:
    """Ask whoever reads a file to end soon; waits on it end at once."""

    def __init__(self) -> None:
        self._asked: Future[None] = Future()
        self._guard = threading.Lock()

    def ask(self) -> None:
        """Ask for the end; more than once is harmless."""
        with self._guard:
            if not self._asked.done():
                self._asked.set_result(None)

    @property
    def asked(self) -> bool:
        """Tell whether the end was asked for."""
        return self._asked.done()

    def sleep(self, seconds: float) -> None:
        """Sleep, at most until the end is asked for."""
        wait([self._asked], timeout=seconds)

    def wait_for(self, future: Future[Position]) -> None:
        """Wait for a commit or the end; raises _Stopped for the end and whatever the commit raised."""
        both: list[Future[Any]] = [future, self._asked]
        wait(both, return_when="FIRST_COMPLETED")
        if not future.done():
            raise _StoppedError
        future.result()


class FileOvertakenError(InputError):
    """Say that the lake passed a block that failed; the file is kept and refused rather than silently cut."""

    code = "file-out-of-order"


class _StoppedError(Exception):
    """The end was asked for; what is not committed is read again at the next start."""


class _ChangedError(Exception):
    """The file is not what was hashed any more."""


@dataclass(slots=True)
class Reading:
    """One content on its way: a file, or a member of an archive."""

    road: Road
    feed: FeedSpec
    codec: Codec
    path: Path
    limits: Limits
    flags: int
    stop: Stop
    progress: Progress
    size: int = 0
    modified: int = 0
    digest: str = ""
    start: int = 0
    end: int = 0
    records: int = 0
    held: str = ""
    """Why all of it goes to quarantine (onBatch: hold)."""
    waiting: deque[tuple[FileBlock, Future[Position]]] = field(default_factory=deque)

    @property
    def producer(self) -> str:
        """Return the producer's name of DESIGN §3: feed and content."""
        return f"file:{self.feed.name}:{self.digest}"


def ingest_file(
    road: Road,
    feed: FeedSpec,
    path: Path,
    *,
    history: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
    codec: Codec | None = None,
    limits: Limits | None = None,
    compression: str = "auto",
    beginning: Beginning | None = None,
) -> FileOutcome:
    """Bring a file onto the road and return once the lake holds every outcome.

    Never raises for what the file is; raises StoreError and other TerminalErrors of the road. While the road is held or
    fails for a reason that passes, it waits and goes on from the lake's position.
    """
    bounds = limits or Limits()
    reading = Reading(
        road=road,
        feed=feed,
        codec=codec or _codec(feed.codec),
        path=path,
        limits=bounds,
        flags=FrameFlag.HISTORY if history else 0,
        stop=stop or Stop(),
        progress=progress or (lambda _done, _all: None),
    )
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            complaint = Complaint("file-not-regular", str(path), "no regular file", "a file", "")
            return _outcome(reading, Verdict.REFUSED, complaint)
        if status.st_size == 0:
            return FileOutcome(path, feed.name, Verdict.EMPTY, hashlib.sha256().hexdigest())
        if compression == "auto":
            from weftline.codecs.archive import compression_of

            if compression_of(path) != "none":
                from weftline.connectors.files.members import ingest_members

                return ingest_members(reading)
        return ingest_content(reading, beginning)
    except InputError as error:
        return _outcome(reading, Verdict.REFUSED, error.complaint)
    except OSError as error:
        return _unread(reading, error)


def _unread(reading: Reading, error: OSError) -> FileOutcome:
    place = str(reading.path)
    if isinstance(error, FileNotFoundError):
        complaint = Complaint("file-vanished", place, "no file any more", "the file", "Drop it again.")
        return _outcome(reading, Verdict.VANISHED, complaint)
    next_step = "Check the disk."
    if isinstance(error, PermissionError):
        next_step = "Give the user that runs Weftline leave to read it."
    found = f"a file that cannot be read: {error.strerror}"
    return _outcome(reading, Verdict.UNREADABLE, Complaint("file-unreadable", place, found, "a file", next_step))


def _codec(name: str) -> Codec:
    from weftline.codecs.registry import codec

    return codec(name)


def _outcome(reading: Reading, verdict: Verdict, complaint: Complaint) -> FileOutcome:
    return FileOutcome(reading.path, reading.feed.name, verdict, reading.digest, complaint=complaint)


def ingest_content(reading: Reading, beginning: Beginning | None = None) -> FileOutcome:
    """Bring one content onto the road: hash, then hand over block by block; a failure that passes is waited out."""
    outcome = FileOutcome(reading.path, reading.feed.name, Verdict.STOPPED)
    try:
        reading.start = _hash(reading, beginning)
        known = reading.road.position(reading.producer)
        if known is not None and known.complete:
            return _repeat(reading, known)
        reading.held = _judged(reading)
        back_off = BackOff(longest=15.0)
        while True:
            try:
                _hand_over(reading, known)
                break
            except TransientError as error:
                known = _after_failure(reading)
                log.warning("file waits", feed=reading.feed.name, file=reading.path.name, reason=str(error))
                reading.stop.sleep(back_off.failed())
                if reading.stop.asked:
                    raise _StoppedError from error
    except _StoppedError:
        return replace(outcome, digest=reading.digest)
    except _ChangedError:
        return _changed(reading)
    complaint = None
    if reading.held:
        step = "Look at the file in quarantine; mend it or the contract, then replay or drop it again."
        complaint = Complaint("file-held", str(reading.path), reading.held, "a file whose set rules hold", step)
    return replace(
        outcome,
        verdict=Verdict.HELD if reading.held else Verdict.STORED,
        complaint=complaint,
        digest=reading.digest,
        producers=(reading.producer,),
        records=reading.records,
    )


def _judged(reading: Reading) -> str:
    """Judge the whole file first where its feed says so; return why it is held, or nothing."""
    if reading.feed.on_batch is not OnBatch.HOLD:
        return ""
    blocks = reading.codec.blocks(reading.path, reading.feed.codec_options, reading.start, reading.limits)
    return reading.road.judge(
        Draft(reading.feed.id, b"", block.payload, block.attributes, offset=block.offset) for block in blocks
    )


def _hash(reading: Reading, beginning: Beginning | None) -> int:
    """Hash the content; return where to begin: after the `beginning` if the file still begins with it, else 0."""
    hasher = hashlib.sha256()
    start = 0
    with reading.path.open("rb") as file:
        reading.size, reading.modified = 0, os.fstat(file.fileno()).st_mtime_ns
        while chunk := file.read(HASH_STEP):
            if reading.stop.asked:
                raise _StoppedError
            before = reading.size
            reading.size += len(chunk)
            if beginning is not None and before < beginning.size <= reading.size:
                probe = hasher.copy()
                probe.update(chunk[: beginning.size - before])
                start = beginning.end if probe.hexdigest() == beginning.digest else 0
            hasher.update(chunk)
    reading.digest = hasher.hexdigest()
    return start


def _repeat(reading: Reading, known: Position) -> FileOutcome:
    """Count the records of content that is in the lake already; nothing is decoded again."""
    attributes = json.dumps({"records": known.records, "of": reading.producer}).encode()
    draft = Draft(
        reading.feed.id,
        bytes.fromhex(reading.digest),
        b"",
        attributes,
        reading.road.clock.now(),
        reading.flags | FrameFlag.DUPLICATE,
        0,
    )
    _wait_while_held(reading)
    reading.stop.wait_for(reading.road.submit(reading.producer, [draft], last=True))
    return FileOutcome(
        reading.path,
        reading.feed.name,
        Verdict.DUPLICATE,
        reading.digest,
        (reading.producer,),
        duplicates=known.records,
    )


def _hand_over(reading: Reading, known: Position | None) -> None:
    """Give the blocks after the lake's position to the road, a few at a time, and wait until all are committed."""
    after = known.offset if known is not None else reading.start - 1
    reading.records = 0
    before = known.records if known is not None else 0
    ahead: FileBlock | None = None
    for block in reading.codec.blocks(reading.path, reading.feed.codec_options, reading.start, reading.limits):
        if block.offset <= after:
            continue
        if ahead is not None:
            _submit(reading, ahead, last=False)
        ahead = block
    if ahead is not None:
        _submit(reading, ahead, last=True)
    position: Position | None = known
    while reading.waiting:
        position = _settle(reading)
    reading.records = position.records - before if position is not None else 0
    reading.progress(reading.size, reading.size)


def _submit(reading: Reading, block: FileBlock, *, last: bool) -> None:
    _wait_while_held(reading)
    while len(reading.waiting) >= IN_FLIGHT:
        _settle(reading)
    status = reading.path.stat()
    if (status.st_size, status.st_mtime_ns) != (reading.size, reading.modified):
        while reading.waiting:
            _settle(reading)
        raise _ChangedError
    identity = bytes.fromhex(reading.digest) + block.offset.to_bytes(8, "big")
    draft = Draft(
        reading.feed.id,
        identity,
        block.payload,
        _with_reason(block.attributes, reading.held) if reading.held else block.attributes,
        reading.road.clock.now(),
        reading.flags | (FrameFlag.HELD if reading.held else 0),
        block.offset,
    )
    future = reading.road.submit(reading.producer, [draft], last=last)
    reading.waiting.append((block, future))
    if future.done() and future.exception() is not None:
        # Refused at once: nothing may be handed over after it, for the lake's position would pass it.
        while reading.waiting:
            _settle(reading)


def _with_reason(attributes: bytes, reason: str) -> bytes:
    """Add why the file is held to what the decoder needs later, when it is replayed."""
    return json.dumps({**(json.loads(attributes) if attributes else {}), "held": reason}).encode()


def _settle(reading: Reading) -> Position:
    """Wait for the oldest block on its way."""
    block, future = reading.waiting[0]
    reading.stop.wait_for(future)
    reading.waiting.popleft()
    reading.end = block.end
    reading.progress(min(block.end, reading.size), reading.size)
    return future.result()


def _after_failure(reading: Reading) -> Position | None:
    """Let every block on its way end, then return where the lake stands; raises FileOvertakenError if it passed one."""
    failed = []
    for block, future in reading.waiting:
        try:
            reading.stop.wait_for(future)
        except WeftlineError as error:
            failed.append(block.offset)
            log.info("block failed", feed=reading.feed.name, offset=block.offset, reason=error.complaint.code)
    reading.waiting.clear()
    known = reading.road.position(reading.producer)
    if known is not None and failed and known.offset >= failed[0]:
        raise FileOvertakenError(
            place=f"{reading.path}, block at byte {failed[0]:,}",
            found=f"later blocks committed up to {known.offset:,} although this one failed",
            expected="blocks committed in order",
            next_step="This is a fault of Weftline: keep the file, and report it with the log.",
        )
    return known


def _wait_while_held(reading: Reading) -> None:
    while reading.road.held():
        if reading.stop.asked:
            raise _StoppedError
        reading.stop.sleep(HELD_LOOK_SECONDS)
    if reading.stop.asked:
        raise _StoppedError


def _changed(reading: Reading) -> FileOutcome:
    told = f"a file that changed while it was read, after {reading.end:,} of {reading.size:,} bytes were stored"
    complaint = Complaint(
        "file-changed",
        str(reading.path),
        told,
        "a file that is whole when it is dropped",
        "Write it under a name that ends in .part and rename it, or raise settleSeconds.",
    )
    beginning = Beginning(reading.digest, reading.size, reading.end) if reading.end else None
    return FileOutcome(
        reading.path,
        reading.feed.name,
        Verdict.CHANGED,
        reading.digest,
        complaint=complaint,
        beginning=beginning,
    )
