"""A road for connectors alone: it takes frames as the real one does, durably if it is given a folder, and tells all.

`stall` keeps every promise open, `hold` holds sources back, `fail` breaks the next promises. With a folder, appended
frames go through the real spool and commits through a journal that is fsynced, with the failpoints of spool and store,
so that a child process can be killed at both points and the folder read afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftline import failpoint
from weftline.batch import Draft, Frame, FrameFlag
from weftline.clock import Clock, SystemClock
from weftline.connectors.base import ConnectionState, LaneId, Road
from weftline.model.position import Position
from weftline.spool.lane import Lane
from weftline.spool.spool_set import SpoolSet

__all__ = ["Report", "RoadDouble"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a source told of itself."""

    connection: str
    state: ConnectionState
    feeds: tuple[str, ...]


@dataclass(slots=True)
class _Promise:
    keep: Callable[[], None]
    future: Future[Any]


@dataclass(slots=True)
class _Producer:
    position: Position
    frames: list[Frame] = field(default_factory=list)


class RoadDouble(Road):
    """Everything a connector may ask of the road; every method may be called from any thread."""

    def __init__(self, folder: Path | None = None, *, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.reports: list[Report] = []
        self.refused_while_held = 0
        self._spools = SpoolSet(folder / "spool", clock=self.clock) if folder else None
        self._lane: Lane | None = self._spools.open("push") if self._spools else None
        self._journal = folder / "commits.jsonl" if folder else None
        self._appended: list[Frame] = []
        self._producers: dict[str, _Producer] = {}
        self._open: list[_Promise] = []
        self._held = ""
        self._stalled = False
        self._failures: list[Exception] = []
        self._changed = threading.Condition()
        if self._journal and self._journal.exists():
            self._replay(self._journal)

    # --- what a connector sees

    def append(self, connection: str, drafts: Sequence[Draft]) -> Future[int]:  # noqa: ARG002
        """Take drafts; the future ends once they are durable, or when `go` is called while stalled."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()

        def keep() -> None:
            frames = [_frame(draft, -1, self.clock) for draft in drafts]
            if self._lane is not None:
                self._lane.append(frames).add_done_callback(lambda done: _pass_on(done, future))
                return
            with self._changed:
                first = len(self._appended)
                self._appended += [one._replace(offset=first + index) for index, one in enumerate(frames)]
            future.set_result(first)

        self._promise(_Promise(keep, future))
        return future

    def lane(self, connection: str) -> LaneId:  # noqa: ARG002
        """Return the one lane of the double."""
        return LaneId("push", self._lane.epoch if self._lane else 1)

    def seen(self, connection: str) -> Iterable[bytes]:  # noqa: ARG002
        """Return every identity appended so far, oldest first."""
        return [frame.identity for frame in self.appended() if frame.identity]

    def submit(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> Future[Position]:
        """Take drafts that skip the spool; committed ones are not committed again."""
        future: Future[Position] = Future()
        future.set_running_or_notify_cancel()

        def keep() -> None:
            try:
                position = self._commit(producer, drafts, last=last)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                future.set_exception(error)
            else:
                future.set_result(position)

        self._promise(_Promise(keep, future))
        return future

    def judge(self, drafts: Iterable[Draft]) -> str:
        """Hold nothing: contracts are not this double's matter."""
        del drafts
        return ""

    def position(self, producer: str) -> Position | None:
        """Return how far a producer was committed."""
        with self._changed:
            known = self._producers.get(producer)
            return known.position if known else None

    def held(self) -> str:
        """Return the reason given to `hold`."""
        return self._held

    def report(self, connection: str, state: ConnectionState, feeds: Sequence[str] = ()) -> None:
        """Keep what a source tells."""
        with self._changed:
            self.reports.append(Report(connection, state, tuple(feeds)))
            self._changed.notify_all()

    # --- what a test does

    def hold(self, reason: str) -> None:
        """Hold sources back, or let them go with an empty reason."""
        self._held = reason

    def stall(self) -> None:
        """Keep every promise open from now on."""
        self._stalled = True

    def go(self) -> None:
        """Keep the open promises in order and no longer stall."""
        with self._changed:
            self._stalled = False
            waiting, self._open = self._open, []
        for promise in waiting:
            promise.keep()
        with self._changed:
            self._changed.notify_all()

    def fail(self, *errors: Exception) -> None:
        """Break the next promises with these errors, one each."""
        self._failures += errors

    def pending(self) -> int:
        """Return the promises kept open by `stall`."""
        with self._changed:
            return len(self._open)

    def appended(self) -> list[Frame]:
        """Return the durable frames of the lane."""
        if self._lane is None:
            with self._changed:
                return list(self._appended)
        return list(_all_of(self._lane))

    def committed(self) -> list[Frame]:
        """Return the committed frames of producers that skip the spool."""
        with self._changed:
            return [frame for producer in self._producers.values() for frame in producer.frames]

    def frames(self) -> list[Frame]:
        """Return everything delivered, repeats included."""
        return self.appended() + self.committed()

    def fresh(self) -> list[Frame]:
        """Return what the road would decode: neither marked as duplicate nor of an identity it has already."""
        first: dict[tuple[int, bytes], Frame] = {}
        for frame in self.frames():
            if not frame.flags & FrameFlag.DUPLICATE:
                first.setdefault((frame.feed, frame.identity), frame)
        return list(first.values())

    def states(self, feed: str = "") -> list[ConnectionState]:
        """Return what was told of the connection, or of one feed."""
        with self._changed:
            return [told.state for told in self.reports if (feed in told.feeds if feed else not told.feeds)]

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until a condition holds that the source, not the test, brings about; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the condition may be about anything, files included
                await asyncio.sleep(0.005)

    def close(self) -> None:
        """Close the spool."""
        if self._spools is not None:
            self._spools.close()

    # --- inside

    def _promise(self, promise: _Promise) -> None:
        failure = None
        with self._changed:
            if self._failures:
                failure = self._failures.pop(0)
            elif self._stalled:
                self._open.append(promise)
                self._changed.notify_all()
                return
        if failure is not None:
            promise.future.set_exception(failure)
            return
        promise.keep()
        with self._changed:
            self._changed.notify_all()

    def _commit(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> Position:
        if any(draft.flags & FrameFlag.DUPLICATE for draft in drafts):
            producer = f"again:{producer}:{len(self._producers)}"
        line = {
            "producer": producer,
            "last": last,
            "frames": [
                [d.feed, d.offset, d.flags, _text(d.identity), _text(d.attributes), _text(d.payload)] for d in drafts
            ],
        }
        failpoint.hit("store.commit.before")
        if self._journal is not None:
            with self._journal.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        failpoint.hit("store.commit.after")
        return self._take(producer, drafts, last=last)

    def _take(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> Position:
        with self._changed:
            known = self._producers.setdefault(producer, _Producer(Position(producer, 1, -1)))
            new = [draft for draft in drafts if draft.offset > known.position.offset]
            known.frames += [_frame(draft, draft.offset, self.clock) for draft in new]
            records = known.position.records + sum(draft.payload.count(b"\n") for draft in new)
            offset = max([known.position.offset, *(draft.offset for draft in new)])
            known.position = Position(producer, 1, offset, complete=last or known.position.complete, records=records)
            self._changed.notify_all()
            return known.position

    def _replay(self, journal: Path) -> None:
        for line in journal.read_text().splitlines():
            entry = json.loads(line)
            drafts = [
                Draft(feed, _bytes(identity), _bytes(payload), _bytes(attributes), 0, flags, offset)
                for feed, offset, flags, identity, attributes, payload in entry["frames"]
            ]
            self._take(entry["producer"], drafts, last=entry["last"])


def _frame(draft: Draft, offset: int, clock: Clock) -> Frame:
    received = draft.received or clock.now()
    return Frame(offset, draft.feed, received, draft.identity, draft.attributes, draft.payload, draft.flags)


def _all_of(lane: Lane) -> Iterator[Frame]:
    at, following = lane.tail()
    while at < following:
        frames = lane.read(at, 10_000, 64 << 20)
        yield from frames
        at = frames[-1].offset + 1


def _pass_on(done: Future[int], future: Future[int]) -> None:
    error = done.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
