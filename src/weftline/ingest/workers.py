"""The ingest workers: one for the lanes of the spool, one for sources that skip it, so neither delays the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import structlog

from weftline.batch import TIMESTAMP, Draft, Frame, FrameFlag
from weftline.clock import Clock
from weftline.errors import AdmissionError
from weftline.ingest.prepare import Prepared, Preparer
from weftline.ingest.writer import RoadStoppedError, Writer
from weftline.model.position import Position
from weftline.spool.lane import Lane
from weftline.store.lake import Committed, Lake

__all__ = ["BlockWorker", "Chain", "Done", "LaneWorker", "Submission"]

log = structlog.get_logger()
GROUP_SECONDS = 0.1
GROUP_FRAMES = 65_536
GROUP_BYTES = 32 << 20
BLOCK_GROUP_BYTES = 24 << 20
"""Blocks of one producer join until then. A group above 122,880 rows (DuckDB's row group) is written to the file once,
not to the WAL and again by a checkpoint: half the CPU of a commit (benchmarks/README.md)."""

Done = Callable[[Prepared, Committed], None]
"""Called on the writer's thread after each commit."""


@dataclass(slots=True)
class Chain:
    """What one producer handed over since it was last read from the lake: after one part fails, none of them commits."""

    epoch: int
    end: int
    """Offset of the newest draft submitted."""
    broken: bool = False
    open: int = 0
    """Groups on their way to the writer and not yet decided (lanes only)."""

    def check(self) -> None:
        """Raise where an earlier part failed, so that the producer's position never passes a hole."""
        if self.broken:
            raise AdmissionError(
                place="the road",
                found="a group whose predecessor was not stored",
                expected="groups in order",
                next_step="It is read again from the lake's position.",
            )


class LaneWorker:
    """Read frames after the checkpoint, close a group at 100 ms, 64 k frames or 32 MB, and pass it on."""

    def __init__(
        self,
        lanes: Callable[[], Sequence[Lane]],
        preparer: Preparer,
        writer: Writer,
        done: Done,
        after: Callable[[Lane], int],
        clock: Clock,
    ) -> None:
        """`after` reads from the lake where a lane goes on."""
        self._lanes = lanes
        self._preparer = preparer
        self._writer = writer
        self._done = done
        self._clock = clock
        self._after = after
        self._chains: dict[str, Chain] = {}
        self._deciding = threading.Lock()
        self._next: dict[str, int] = {}
        self._closed: dict[str, float] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weftline-lanes", daemon=True)

    def start(self, positions: dict[str, int]) -> None:
        """Start from the offset after each lane's checkpoint."""
        self._next.update(positions)
        self._thread.start()

    def wake(self) -> None:
        """Say that a lane has new durable frames."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the group at hand and end; what is in the spool stays for the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            pause = GROUP_SECONDS
            for lane in self._lanes():
                try:
                    pause = min(pause, self._turn(lane))
                except Exception as error:  # noqa: BLE001 - one lane's trouble must not end the road for the others
                    log.error("lane not read", lane=lane.name, error=repr(error))
            if pause >= GROUP_SECONDS:
                self._wake.wait(pause)
                self._wake.clear()
            elif pause > 0:
                # A group is filling: every further append would only wake this thread to find it not due.
                self._stop.wait(pause)

    def _turn(self, lane: Lane) -> float:
        """Take one group of a lane if it is due; return how long this lane can wait."""
        chain = self._chain(lane)
        if chain.broken:
            return GROUP_SECONDS
        start = self._next.setdefault(lane.name, lane.tail().first)
        waiting = lane.tail().next - start
        if waiting <= 0:
            return GROUP_SECONDS
        now = self._clock.steady()
        due = self._closed.get(lane.name, 0.0) + GROUP_SECONDS - now
        if due > 0 and waiting < GROUP_FRAMES:
            return due
        frames = lane.read(start, GROUP_FRAMES, GROUP_BYTES)
        if not frames:
            return GROUP_SECONDS
        self._closed[lane.name] = now
        last = frames[-1].offset
        prepared = self._preparer.prepare(f"lane:{lane.name}", lane.epoch, frames, last=last, spooled=True)
        self._next[lane.name] = last + 1
        with self._deciding:
            chain.open += 1
        done = self._writer.commit(prepared, chain.check)
        done.add_done_callback(lambda future: self._committed(lane, chain, prepared, future))
        return 0.0

    def _chain(self, lane: Lane) -> Chain:
        """Return the lane's chain; where one broke and its last group is decided, go on from the lake's position.

        The frames are still in the spool. Going back while later groups are on their way would let them overtake.
        """
        chain = self._chains.get(lane.name)
        if chain is not None and chain.broken:
            with self._deciding:
                decided = chain.open == 0
            if not decided:
                return chain
            self._next[lane.name] = self._after(lane)
            chain = None
        if chain is None:
            chain = self._chains[lane.name] = Chain(lane.epoch, -1)
        return chain

    def _committed(self, lane: Lane, chain: Chain, prepared: Prepared, future: Future[Committed]) -> None:
        failed = future.exception() is not None
        with self._deciding:
            # Broken before the writer takes the next group: this runs on its thread.
            chain.broken = chain.broken or failed
            chain.open -= 1
        if not failed:
            self._done(prepared, future.result())
            lane.truncate(prepared.group.last + 1)


class Submission(NamedTuple):
    """Blocks of one producer that skip the spool; the future ends after their commit."""

    producer: str
    chain: Chain
    drafts: Sequence[Draft]
    last: bool
    end: int
    """Offset of the newest draft of this submission."""
    future: Future[Position]


_NOTHING_YET = Submission("", Chain(0, -1), (), last=True, end=-1, future=Future())
"""Stands for an empty queue where None ends the worker."""


class BlockWorker:
    """Turn submitted blocks into groups, in the order they came; blocks of one producer that wait share a group."""

    def __init__(self, preparer: Preparer, writer: Writer, done: Done, lake: Lake, clock: Clock) -> None:
        self._preparer = preparer
        self._lake = lake
        self._writer = writer
        self._done = done
        self._clock = clock
        self._queue: queue.Queue[Submission | None] = queue.Queue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="weftline-blocks", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, submission: Submission) -> None:
        """Queue blocks; the connector bounds how many of them are in flight."""
        self._queue.put(submission)
        if self._ended:
            self._refuse_left()

    def stop(self) -> None:
        """Prepare what is queued, then end; what comes later is refused."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._ended = True
        self._refuse_left()

    def _refuse_left(self) -> None:
        while True:
            try:
                submission = self._queue.get_nowait()
            except queue.Empty:
                return
            if submission is not None:
                _failed([submission], RoadStoppedError())

    def _run(self) -> None:
        following = self._queue.get()
        while following is not None:
            joined, following = self._join(following)
            try:
                self._take(joined)
            except Exception as error:  # noqa: BLE001 - the connector gets it and keeps its source unacknowledged
                log.error("blocks not taken", producer=joined[0].producer, error=repr(error))
                _failed(joined, error)
            if following is _NOTHING_YET:
                following = self._queue.get()

    def _join(self, first: Submission) -> tuple[list[Submission], Submission | None]:
        """Take what waits behind a submission and belongs to the same producer; also return what came after it."""
        joined, size = [first], _payload_bytes(first)
        while not joined[-1].last:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None or following.chain is not first.chain:
                return joined, following
            size += _payload_bytes(following)
            if size > BLOCK_GROUP_BYTES:
                return joined, following
            joined.append(following)
        return joined, _NOTHING_YET

    def _take(self, joined: Sequence[Submission]) -> None:
        newest = joined[-1]
        newest.chain.check()
        now = self._clock.now()
        frames = [
            Frame(
                draft.offset,
                draft.feed,
                draft.received or now,
                draft.identity,
                draft.attributes,
                draft.payload,
                draft.flags,
            )
            for submission in joined
            for draft in submission.drafts
        ]
        prepared = self._preparer.prepare(
            newest.producer, newest.chain.epoch, frames, last=newest.end, spooled=False, complete=newest.last
        )
        done = self._writer.commit(prepared, newest.chain.check)
        done.add_done_callback(lambda future: self._committed(joined, prepared, future))

    def _committed(self, joined: Sequence[Submission], prepared: Prepared, future: Future[Committed]) -> None:
        error = future.exception()
        if error is not None:
            _failed(joined, error)
            return
        self._done(prepared, future.result())
        position = self._lake.position(joined[-1].producer)
        assert position is not None, "a committed producer has a position"
        for submission in joined:
            submission.future.set_result(position)


def _payload_bytes(submission: Submission) -> int:
    return sum(len(draft.payload) for draft in submission.drafts)


def _failed(joined: Sequence[Submission], error: BaseException) -> None:
    """Break the chain before the first connector hears of the failure, so that none hands over what comes after."""
    joined[0].chain.broken = True
    for submission in joined:
        submission.future.set_exception(error)


def frame_times(frames: Sequence[Frame]) -> pa.Table:
    """Return (feed, received) of the frames that were not repeats."""
    fresh = [frame for frame in frames if not (frame.flags and frame.flags & FrameFlag.DUPLICATE)]
    return pa.table(
        {
            "feed": pa.array([frame.feed for frame in fresh], pa.int32()),
            "received": pa.array([frame.received for frame in fresh], pa.int64()).cast(TIMESTAMP),
        }
    )
