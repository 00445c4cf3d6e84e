"""The road: what connectors hand over becomes durable, decoded, checked, stored and announced."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import structlog

from weftline.batch import Draft, Frame, FrameFlag
from weftline.clock import Clock
from weftline.codecs.base import Limits
from weftline.errors import AdmissionError
from weftline.ingest.admission import Admission
from weftline.ingest.feeds import FeedBook
from weftline.ingest.keys import KeysInFlight
from weftline.ingest.monitor import Monitor
from weftline.ingest.prepare import Prepared, Preparer
from weftline.ingest.set_rules import judge
from weftline.ingest.workers import BlockWorker, Chain, LaneWorker, Submission, frame_times
from weftline.ingest.writer import Writer
from weftline.model.feed import ConnectionState
from weftline.model.position import LaneId, Position
from weftline.spool.base import LogCount
from weftline.spool.lane import Lane, SeenFrame
from weftline.spool.spool_set import SpoolSet
from weftline.store.lake import Committed, Lake
from weftline.store.plans import PlanRunnerLike

__all__ = ["SHARED_LANE", "LaneName", "Road"]

log = structlog.get_logger()
SHARED_LANE = "push"
TICK_SECONDS = 1.0
SEEN_MICROS = 600_000_000
SEEN_FRAMES = 131_072
"""Twice what an MQTT session may leave unacknowledged."""
WAITING_FRAMES_READ = 200_000

LaneName = Callable[[str], str]
"""Connection name → lane name."""
Listener = Callable[[Committed, Prepared], None]


class Road:
    """Own the workers, the writer and the lanes. Connectors see it as `connectors.base.Road`."""

    def __init__(
        self,
        *,
        lake: Lake,
        spool: SpoolSet,
        book: FeedBook,
        runners: Callable[[], PlanRunnerLike],
        clock: Clock,
        folder: Path,
        lane_of: LaneName = lambda _connection: SHARED_LANE,
        limits: Limits | None = None,
        least_free: int = 1 << 30,
    ) -> None:
        self.clock = clock
        self.lake = lake
        self.spool = spool
        self._book = book
        self._lane_of = lane_of
        self.monitor = Monitor(clock)
        self.monitor.watch(list(book.specs.values()))
        self.keys = keys = KeysInFlight(lake)
        self.writer = Writer(lake, self.book, keys, clock)
        self._lanes: dict[str, Lane] = {}
        lane_preparer = Preparer(self.book, runners(), keys, limits, self._receipt_records)
        block_preparer = Preparer(self.book, runners(), keys, limits, self._receipt_records)
        self._judge = Preparer(self.book, runners(), keys, limits)
        self._judging = threading.Lock()
        self._lane_worker = LaneWorker(self.lanes, lane_preparer, self.writer, self._committed, self._after, clock)
        self._block_worker = BlockWorker(block_preparer, self.writer, self._committed, lake, clock)
        self.admission = Admission(lake, folder, self._behind, least_free=least_free)
        self._chains: dict[str, Chain] = {}
        self._pending: Counter[int] = Counter()
        self._repeats = 0
        self._guard = threading.Lock()
        self._listeners: list[Listener] = []
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="weftline-ticker", daemon=True)
        self._positions: dict[str, int] = {}

    def start(self) -> None:
        """Open the lanes that exist, go on from their checkpoints, start the threads."""
        for name in {*self.spool.names(), SHARED_LANE}:
            self._open(name)
        self.admission.look()
        self.writer.start()
        self._block_worker.start()
        self._lane_worker.start({lane.name: self._after(lane) for lane in self._lanes.values()})
        self._ticker.start()

    def hurry(self) -> None:
        """Say that the end is near: whoever waits for the writer is not kept as long as the disk is full."""
        self.writer.hurry()

    def stop(self) -> None:
        """Stop in the order of the road; what is spooled but not stored waits on disk."""
        self._stop.set()
        self.hurry()
        self._lane_worker.stop()
        self._block_worker.stop()
        self.writer.stop()
        if self._ticker.is_alive():
            self._ticker.join()

    def book(self) -> FeedBook:
        """Return the feeds in force."""
        return self._book

    def replace_book(self, book: FeedBook) -> None:
        """Put other feeds in force; groups already prepared keep the book they were prepared with."""
        self._book = book
        self.monitor.watch(list(book.specs.values()))

    def lanes(self) -> Sequence[Lane]:
        """Return the open lanes."""
        with self._guard:
            return list(self._lanes.values())

    def lane(self, connection: str) -> LaneId:
        """Return the lane a connection's frames go to."""
        log_of = self._log(connection)
        return LaneId(log_of.name, log_of.epoch)

    def seen(self, connection: str) -> Iterable[bytes]:
        """Return identities of the lane's frames of the last minutes, oldest first."""
        return [frame.identity for frame in self.frames_seen(connection, self.clock.now() - SEEN_MICROS)]

    def frames_seen(self, connection: str, since: int) -> list[SeenFrame]:
        """Return the lane's frames with an identity since a time (microseconds UTC), without their payloads.

        The newest ones are among them whatever their times say: a clock that jumped must not make repeats look new.
        """
        return [frame for frame in self._log(connection).identities(since, newest=SEEN_FRAMES) if frame.identity]

    def _log(self, connection: str) -> Lane:
        name = self._lane_of(connection)
        with self._guard:
            lane = self._lanes.get(name)
        return lane or self._open(name)

    def append(self, connection: str, drafts: Sequence[Draft]) -> Future[int]:
        """Spool drafts; the future ends with the first offset after the fsync."""
        now = self.clock.now()
        # tuple.__new__ is a third of a named tuple's own: 20,000 messages a second pass here.
        make = tuple.__new__
        frames: list[Frame] = [
            make(Frame, (-1, feed, received or now, identity, attributes, payload, flags))
            for feed, identity, payload, attributes, received, flags, _ in drafts
        ]
        future = self._log(connection).append(frames)
        future.add_done_callback(lambda _: self._lane_worker.wake())
        return future

    def submit(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> Future[Position]:
        """Commit drafts that skip the spool; a repeat is counted under a producer of its own."""
        future: Future[Position] = Future()
        held = self.held()
        if held:
            future.set_exception(AdmissionError(place=producer, found=held, expected="room on the road"))
            return future
        if any(draft.flags & FrameFlag.DUPLICATE for draft in drafts):
            producer = f"again:{producer}"
        with self._guard:
            chain = self._chains.get(producer)
        # Read outside the guard: the event loop takes it for every message.
        fresh = self._chain(producer) if chain is None or chain.broken else chain
        with self._guard:
            chain = self._chains.get(producer)
            if chain is None or chain.broken:
                chain = self._chains[producer] = fresh
            if producer.startswith("again:"):
                drafts = [draft._replace(offset=chain.end + 1) for draft in drafts]
            chain.end = end = max([chain.end, *(draft.offset for draft in drafts)])
            for draft in drafts:
                self._pending[draft.feed] += 1
        future.add_done_callback(lambda _: self._settled(producer, drafts, last=last))
        self._block_worker.submit(Submission(producer, chain, drafts, last, end, future))
        return future

    def judge(self, drafts: Iterable[Draft]) -> str:
        """Judge the set rules over a whole file of one feed; return why it is to be held, or an empty string.

        The file is decoded and checked block by block, nothing is stored. Called from the connector's thread.
        """
        sums: dict[str, list[int]] = {}
        feed = 0
        with self._judging:
            for draft in drafts:
                feed = draft.feed
                frame = Frame(draft.offset, feed, self.clock.now(), draft.identity, draft.attributes, draft.payload)
                counts = self._judge.set_counts([frame])
                for row in counts.to_pylist() if counts is not None else ():
                    held = sums.setdefault(row["rule"], [0, 0])
                    held[0] += row["rows"]
                    held[1] += row["failing"]
        route = self._book.routes.get(feed)
        for rule in [rule for plan in route.plans.plans for rule in plan.set_rules] if route else ():
            result = judge(rule, 0, *sums.get(rule.id, (0, 0)), closed=True)
            if result.passed is False:
                limits = " and ".join(f"{limit:g}" for limit in rule.limits)
                unit = "" if rule.metric == "rowCount" else f" {rule.unit}"
                return f"set rule '{rule.id}': found {rule.metric} {result.value:g}{unit}, expected {rule.operator} {limits}"
        return ""

    def position(self, producer: str) -> Position | None:
        """Return how far the lake holds a producer."""
        return self.lake.position(producer)

    def held(self) -> str:
        """Return why sources are held back, or an empty string."""
        return self.admission.held()

    def report(self, connection: str, state: ConnectionState, feeds: Sequence[str] = ()) -> None:
        """Take in how a connection or some of its feeds stand."""
        book = self._book
        self.monitor.report(connection, state, [book.by_name[name].id for name in feeds if name in book.by_name])

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` on the writer's thread after each commit until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def run(self, prepared: Prepared) -> Future[Committed]:
        """Commit a group prepared elsewhere (a replay)."""
        done = self.writer.commit(prepared)

        def announce(future: Future[Committed]) -> None:
            if future.exception() is None:
                self._committed(prepared, future.result())

        done.add_done_callback(announce)
        return done

    def counts(self) -> dict[int, LogCount]:
        """Return durable frames and bytes per feed over all lanes, as the Log counted them at fsync."""
        total: dict[int, LogCount] = {}
        for lane in self.lanes():
            for feed, count in lane.counts().items():
                have = total.get(feed, LogCount(0, 0))
                total[feed] = LogCount(have.frames + count.frames, have.payload_bytes + count.payload_bytes)
        return total

    def waiting(self) -> dict[int, int] | None:
        """Count by reading: frames after the checkpoints, and blocks on the way; None where there are too many."""
        found = self.waiting_now()
        return found if sum(found.values()) < WAITING_FRAMES_READ else None

    def waiting_now(self) -> dict[int, int]:
        """Count frames after the checkpoints by reading them, and blocks on the way, per feed id."""
        found = self.waiting_in_lanes(WAITING_FRAMES_READ)
        with self._guard:
            found.update(+self._pending)
        return dict(found)

    def waiting_in_lanes(self, most: float = math.inf) -> Counter[int]:
        """Count frames after the checkpoints by reading them, per feed id, until there are `most`."""
        found: Counter[int] = Counter()
        for lane in self.lanes():
            start = self._positions.get(lane.name, lane.tail().first)
            while start < lane.tail().next and found.total() < most:
                frames = lane.read(start, 65_536, 32 << 20)
                if not frames:
                    break
                found.update(frame.feed for frame in frames)
                start = frames[-1].offset + 1
        return found

    def _receipt_records(self, producer: str, epoch: int, frame: int) -> int:
        table = self.lake.scan(
            "SELECT records FROM weftline.receipt WHERE producer = $producer AND epoch = $epoch AND frame = $frame",
            {"producer": producer, "epoch": epoch, "frame": frame},
        )
        return int(table["records"][0].as_py()) if table.num_rows else 0

    def _open(self, name: str) -> Lane:
        known = self.lake.position(f"lane:{name}")
        lane = self.spool.open(name, epoch_after=known.epoch if known else 0)
        with self._guard:
            self._positions.setdefault(name, self._after(lane))
            return self._lanes.setdefault(name, lane)

    def _after(self, lane: Lane) -> int:
        known = self.lake.position(f"lane:{lane.name}")
        if known is None or known.epoch != lane.epoch:
            return lane.tail().first
        after = known.offset + 1
        if after > lane.tail().next:
            # New frames would get offsets the lake takes for stored ones. Raises SpoolBehindError.
            lane.read(after, 1, 1)
        return after

    def _chain(self, producer: str) -> Chain:
        known = self.lake.position(producer)
        return Chain(known.epoch, known.offset) if known else Chain(1, -1)

    def _settled(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> None:
        with self._guard:
            for draft in drafts:
                self._pending[draft.feed] -= 1
            if last:
                self._chains.pop(producer, None)

    def _behind(self) -> tuple[int, int]:
        frames = sum(lane.tail().next - self._positions.get(lane.name, lane.tail().next) for lane in self.lanes())
        if frames <= 0:
            return 0, 0
        # What is stored stays on disk for a minute; it does not wait.
        return frames, sum(lane.size(self._positions.get(lane.name, 0)) for lane in self.lanes())

    def _committed(self, prepared: Prepared, committed: Committed) -> None:
        producer = prepared.group.producer
        if producer.startswith("lane:"):
            self._positions[producer[5:]] = prepared.group.last + 1
        if not committed.repeated:
            times = frame_times(prepared.frames)
            self.monitor.committed(prepared.group.ledger, prepared.times, times, committed.record_time)
        for listener in list(self._listeners):
            try:
                listener(committed, prepared)
            except Exception as error:  # noqa: BLE001 - whoever waits for this commit must hear of it all the same
                log.error("a listener failed", producer=producer, error=repr(error))

    def _tick(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            try:
                self.admission.look()
            except Exception as error:  # noqa: BLE001 - the ticker lives on; health shows the age of the last look
                log.error("admission not renewed", error=repr(error))

    def gauges(self) -> dict[str, Any]:
        """Return the road's own gauges."""
        frames, size = self._behind()
        return {
            "road_frames_waiting": frames,
            "road_spool_bytes": size,
            "road_last_try_age_seconds": max(self.clock.steady() - self.writer.last_try, 0.0),
        }
