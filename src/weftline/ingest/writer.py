"""The one writer thread: groups in, commits out. Nobody else writes to the lake."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from weftline.batch import FrameFlag
from weftline.clock import Clock
from weftline.errors import StoreError, TerminalError, TransientError, WeftlineError
from weftline.ingest.assemble import Parts, assemble
from weftline.ingest.decode import Parked
from weftline.ingest.feeds import FeedBook
from weftline.ingest.keys import KeysInFlight
from weftline.ingest.prepare import Prepared
from weftline.store.lake import Committed, Group, Lake

__all__ = ["RoadStoppedError", "Writer"]

log = structlog.get_logger()
RETRY_SECONDS = 0.25
QUEUED_GROUPS = 3


class RoadStoppedError(TerminalError):
    """Say that the road has stopped: nothing handed over now is committed, and the next start takes it again."""

    code = "road-stopped"

    def __init__(self) -> None:
        super().__init__(
            place="the road",
            found="a road that has stopped",
            expected="a running one",
            next_step="Nothing was acknowledged; hand it over again after the start.",
        )


class _Task(NamedTuple):
    prepared: Prepared | None
    action: Callable[[], Any] | None
    done: Future[Any]
    check: Callable[[], None] | None = None


class Writer:
    """Commit groups in order. A group the store refuses is retried until the store takes it; nothing is dropped."""

    def __init__(self, lake: Lake, book: Callable[[], FeedBook], keys: KeysInFlight, clock: Clock) -> None:
        self._lake = lake
        self._book = book
        self._keys = keys
        self._clock = clock
        self._tasks: queue.Queue[_Task | None] = queue.Queue(QUEUED_GROUPS)
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="weftline-writer", daemon=True)
        self.last_try = clock.steady()
        self.trouble = ""
        """Why the newest commit did not succeed, or an empty string."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def commit(self, prepared: Prepared, check: Callable[[], None] | None = None) -> Future[Committed]:
        """Queue a group; blocks while three groups wait, so that the workers feel the lake's pace.

        `check` runs right before the commit and may raise: what stood before it failed.
        """
        done: Future[Committed] = Future()
        self._put(_Task(prepared, None, done, check))
        return done

    def run(self, action: Callable[[], Any]) -> Future[Any]:
        """Queue a change of the lake (DDL, retention, compaction) between two groups."""
        done: Future[Any] = Future()
        self._put(_Task(None, action, done))
        return done

    def hurry(self) -> None:
        """Give up groups the store does not take at the first try: the road is about to stop, the spool keeps them."""
        self._stop.set()

    def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._stop.set()
        self._tasks.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._ended = True
        self._refuse_left()

    def _put(self, task: _Task) -> None:
        self._tasks.put(task)
        if self._ended:
            self._refuse_left()

    def _refuse_left(self) -> None:
        """Answer whoever came after the end; nobody waits for a thread that is gone."""
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            if task is not None:
                if task.prepared is not None:
                    self._keys.release(task.prepared.token)
                task.done.set_exception(RoadStoppedError())

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                if task.prepared is not None:
                    task.done.set_result(self._commit(task.prepared, task.check))
                elif task.action is not None:
                    task.done.set_result(task.action())
            except Exception as error:  # noqa: BLE001 - the waiting caller gets it; the writer must live on
                log.error("writer task failed", error=repr(error))
                task.done.set_exception(error)

    def _commit(self, prepared: Prepared, check: Callable[[], None] | None) -> Committed:
        group, isolated = prepared.group, False
        try:
            if check is not None:
                check()
            while True:
                self.last_try = self._clock.steady()
                try:
                    committed = self._lake.commit(group)
                except (TransientError, StoreError) as error:
                    self._wait(error)
                except Exception as error:
                    if isolated or group.released:
                        raise  # a replay is refused as a whole: what it would release stays where it is
                    log.error("group refused, its feeds are tried one by one", error=repr(error))
                    group, isolated = self._isolate(prepared, error), True
                else:
                    self.trouble = ""
                    return committed
        finally:
            self._keys.release(prepared.token)

    def _wait(self, error: WeftlineError) -> None:
        """Hold on to the group and try again; give up only when the road stops, leaving the checkpoint as it was."""
        self.trouble = error.complaint.sentence()
        log.warning("commit not taken, trying again", error=self.trouble)
        if self._stop.wait(RETRY_SECONDS):
            raise error

    def _isolate(self, prepared: Prepared, error: Exception) -> Group:
        """Find the feeds whose rows the lake refuses even alone, and park their frames in the same group."""
        group, book = prepared.group, self._book()
        feeds = pc.unique(group.ledger["feed"]).to_pylist() if group.ledger is not None else []
        culprits = [
            feed for feed in feeds if self._refused(of_feeds(group, [feed])) and self._refused(of_feeds(group, [feed]))
        ]
        if not culprits:
            if not feeds or not self._refused(group):
                return group  # refused once, not again: the commit is tried as it is
            culprits = feeds
        reason = f"the lake refused the rows of this feed: {type(error).__name__}: {str(error)[:200]}"
        mine = [frame for frame in prepared.frames if frame.feed in culprits]
        repeats = [frame for frame in mine if frame.flags & FrameFlag.DUPLICATE]
        parked = [Parked(frame, "store-refused", reason) for frame in mine if not frame.flags & FrameFlag.DUPLICATE]
        clean = of_feeds(group, [feed for feed in feeds if feed not in culprits])
        place = (group.producer, group.epoch, group.first, group.last)
        aside = assemble(Parts(*place, mine, prepared.spooled, duplicates=repeats, parked=parked), book)
        log.error("frames parked", feeds=[book.name(feed) for feed in culprits], frames=len(parked))
        ledger = _joined(clean.ledger, aside.ledger)
        return replace(
            clean,
            ledger=ledger,
            records=pc.sum(ledger["received"]).as_py() if ledger is not None else 0,
            quarantine=_joined(clean.quarantine, aside.quarantine),
            receipts=_joined(clean.receipts, aside.receipts),
        )

    def _refused(self, group: Group) -> bool:
        try:
            self._lake.trial(group)
        except (TransientError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - the answer is that it was refused
            log.info("trial refused", error=repr(error))
            return True
        return False


def of_feeds(group: Group, feeds: Sequence[int]) -> Group:
    """Return the part of a group that belongs to these feeds, over the same offsets."""
    wanted = pa.array(feeds, pa.int32())

    def part(table: pa.Table | None) -> pa.Table | None:
        return None if table is None else table.filter(pc.is_in(table["feed"], value_set=wanted))

    rows = {dataset: table.filter(pc.is_in(table["feed"], value_set=wanted)) for dataset, table in group.rows.items()}
    kept = {dataset: table for dataset, table in rows.items() if table.num_rows}
    held = [pc.unique(table["frame"]) for table in kept.values()]
    frames = pa.concat_arrays(held) if held else pa.array([], pa.uint64())
    keys = [(check, table.filter(pc.is_in(table["frame"], value_set=frames))) for check, table in group.keys]
    return replace(
        group,
        rows=kept,
        ledger=part(group.ledger),
        quarantine=part(group.quarantine),
        receipts=part(group.receipts),
        set_counts=part(group.set_counts),
        keys=keys,
    )


def _joined(left: pa.Table | None, right: pa.Table | None) -> pa.Table | None:
    tables = [table for table in (left, right) if table is not None and table.num_rows]
    return pa.concat_tables(tables) if tables else None
