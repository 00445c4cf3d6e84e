"""Frames → a group ready for the writer. One Preparer per ingest worker; it owns its PlanRunner."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import structlog

from weftline.batch import TIMESTAMP, Frame
from weftline.codecs.base import Limits
from weftline.contracts.plan import Scope
from weftline.errors import StoreError, TransientError
from weftline.ingest.assemble import Parts, assemble, balance, per_frame
from weftline.ingest.decode import Parked, RoutedBatch, decode, sort_frames, split
from weftline.ingest.feeds import FeedBook, Route
from weftline.ingest.keys import KeysInFlight
from weftline.ingest.validate import Outcome, one, validate
from weftline.store.lake import Group
from weftline.store.plans import PlanRunnerLike

__all__ = ["Prepared", "Preparer"]

log = structlog.get_logger()
PARKED_ALONE = 64
"""Frames of one feed found guilty one by one; where a contract fails on more, the rest is parked without looking."""
_tokens = itertools.count(1)
PIECE_BYTES = 8 << 20
RECORDS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A group on its way to the writer, with what the writer needs if the lake refuses it."""

    group: Group
    frames: Sequence[Frame]
    spooled: bool
    token: int
    """Releases the group's keys in flight."""
    times: pa.Table
    """(feed int32, received, event_time timestamps) of stored rows, for the feed's latencies."""


class Preparer:
    """Decode, validate and assemble; whatever raises costs only the frames that cause it."""

    def __init__(
        self,
        book: Callable[[], FeedBook],
        runner: PlanRunnerLike,
        keys: KeysInFlight,
        limits: Limits | None = None,
        receipt: Callable[[str, int, int], int] = lambda _producer, _epoch, _frame: 0,
    ) -> None:
        """`receipt` tells the records of a committed pushed frame, 0 where the lake has no receipt of it."""
        self._book = book
        self._runner = runner
        self._keys = keys
        self._limits = limits or Limits()
        self._receipt = receipt
        self._ahead: ThreadPoolExecutor | None = None
        self._records: dict[int, int] = {}
        """Pushed frames of the last while → their records, to count a repeat that comes before the commit."""

    def prepare(
        self,
        producer: str,
        epoch: int,
        frames: Sequence[Frame],
        *,
        last: int,
        spooled: bool,
        complete: bool = False,
        released: Sequence[int] = (),
        job: str = "",
    ) -> Prepared:
        """Return the group of these frames, which are contiguous in (producer, epoch) up to offset `last`.

        Raises TransientError or StoreError where the store does not answer; the same frames may be prepared again.
        """
        token = next(_tokens)
        try:
            return self._prepare(
                token,
                (producer, epoch),
                frames,
                last=last,
                spooled=spooled,
                complete=complete,
                released=released,
                job=job,
            )
        except BaseException:
            # Else the same frames, prepared again, would meet their own keys.
            self._keys.release(token)
            raise

    def _prepare(
        self,
        token: int,
        place: tuple[str, int],
        frames: Sequence[Frame],
        *,
        last: int,
        spooled: bool,
        complete: bool,
        released: Sequence[int],
        job: str,
    ) -> Prepared:
        producer, epoch = place
        book = self._book()
        sorted_frames = sort_frames(frames, book)
        parked = sorted_frames.parked
        outcomes: list[Outcome] = []
        for (_, history), (route, routed) in sorted_frames.routes.items():
            for batch in self._decoded(route, routed, history=history, parked=parked):
                outcomes += self._outcomes(batch, token, parked)
        first = frames[0].offset if frames else last
        parts = Parts(
            producer=producer,
            epoch=epoch,
            first=first,
            last=last,
            frames=frames,
            spooled=spooled,
            outcomes=outcomes,
            duplicates=sorted_frames.duplicates,
            parked=parked,
            repeats=self._repeats(producer, epoch, sorted_frames.duplicates, outcomes),
            complete=complete,
            released=released,
            job=job,
        )
        group = assemble(parts, book)
        if group.receipts is not None:
            self._records.update(zip(*(group.receipts[name].to_pylist() for name in ("frame", "records")), strict=True))
            while len(self._records) > RECORDS_KEPT:
                del self._records[next(iter(self._records))]
        return Prepared(group, frames, spooled, token, _times(outcomes))

    def _decoded(
        self, route: Route, frames: Sequence[Frame], *, history: bool, parked: list[Parked]
    ) -> Iterator[RoutedBatch]:
        """Decode frames; where they are many bytes, piece by piece, each while the plan checks the one before."""
        pieces = _pieces(frames)
        if len(pieces) == 1:
            yield from decode(route, frames, history=history, limits=self._limits, parked=parked)
            return
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="weftline-decode")

        def read(piece: Sequence[Frame]) -> tuple[list[RoutedBatch], list[Parked]]:
            aside: list[Parked] = []
            return list(decode(route, piece, history=history, limits=self._limits, parked=aside)), aside

        coming = self._ahead.submit(read, pieces[0])
        for following in [*pieces[1:], None]:
            batches, aside = coming.result()
            if following is not None:
                coming = self._ahead.submit(read, following)
            parked += aside
            yield from batches

    def _repeats(
        self, producer: str, epoch: int, duplicates: Sequence[Frame], outcomes: Sequence[Outcome]
    ) -> dict[int, int]:
        """Say how many records each repeated frame stands for: it names them, or the frame it repeats."""
        found: dict[int, int] = {}
        here: dict[int, int] | None = None
        for frame in duplicates:
            told = json.loads(frame.attributes) if frame.attributes else {}
            if "records" in told:
                found[frame.offset] = int(told["records"])
            elif "of" in told:
                if here is None:
                    here = {offset: records for outcome in outcomes for offset, records, *_ in per_frame(outcome)}
                first = int(told["of"])
                records = here.get(first) or self._records.get(first) or self._receipt(producer, epoch, first)
                found[frame.offset] = records or 1
        return found

    def set_counts(self, frames: Sequence[Frame]) -> pa.Table | None:
        """Return the set-rule partials of frames that nobody stores: a look at a file before it is taken."""
        sorted_frames = sort_frames(frames, self._book())
        counts: list[pa.Table] = []
        for (_, history), (route, routed) in sorted_frames.routes.items():
            for batch in decode(route, routed, history=history, limits=self._limits, parked=sorted_frames.parked):
                outcome = validate(batch, self._runner, self._keys.lookup)
                counts += [table.select(["feed", "rule", "hour", "rows", "failing"]) for table in outcome.rule_counts]
        return pa.concat_tables(counts) if counts else None

    def _outcomes(self, batch: RoutedBatch, token: int, parked: list[Parked]) -> list[Outcome]:
        try:
            return [self._validated(batch, token)]
        except (TransientError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - a plan is total; if one raises all the same, the culprit is found
            return self._isolated(batch, token, parked, error)

    def _validated(self, batch: RoutedBatch, token: int) -> Outcome:
        if not _historic_keys(batch.route):
            outcome = validate(batch, self._runner, self._keys.lookup)
            balance(outcome)
            return outcome
        with self._keys.guard:
            outcome = validate(batch, self._runner, self._keys.lookup)
            balance(outcome)
            self._keys.reserve(token, [key for item in outcome.objects for key in item.keys])
        return outcome

    def _isolated(self, batch: RoutedBatch, token: int, parked: list[Parked], error: Exception) -> list[Outcome]:
        """Repeat feed by feed, then half by half; park the frame that fails alone."""
        frames = batch.frames
        feeds = {frame.feed for frame in frames}
        guilty = sum(item.code == "plan-failed" and item.frame.feed in feeds for item in parked)
        if len(frames) == 1 or (len(feeds) == 1 and guilty >= PARKED_ALONE):
            log.error("plan raised", contract=batch.route.plans.contract, feed=frames[0].feed, error=repr(error))
            reason = f"contract {batch.route.plans.contract} failed: {type(error).__name__}: {str(error)[:200]}"
            parked += [Parked(frame, "plan-failed", reason) for frame in frames]
            return []
        parts = split(frames)
        outcomes: list[Outcome] = []
        for part in parts:
            for again in decode(batch.route, part, history=batch.history, limits=self._limits, parked=parked):
                outcomes += self._outcomes(again, token, parked)
        return outcomes


def _pieces(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    """Cut frames where PIECE_BYTES of payload are full; mostly they are one piece."""
    pieces: list[Sequence[Frame]] = []
    start = size = 0
    for number, frame in enumerate(frames):
        if size and size + len(frame.payload) > PIECE_BYTES:
            pieces.append(frames[start:number])
            start, size = number, 0
        size += len(frame.payload)
    return [*pieces, frames[start:]]


def _historic_keys(route: Route) -> bool:
    return any(unique.scope is not Scope.BATCH for plan in route.plans.plans for unique in plan.unique_rules)


def _times(outcomes: Sequence[Outcome]) -> pa.Table:
    """Return what the monitor measures: feed, received and event time of stored rows."""
    schema = pa.schema([("feed", pa.int32()), ("received", TIMESTAMP), ("event_time", TIMESTAMP)])
    tables = []
    for outcome in outcomes:
        received = {frame.offset: frame.received for frame in outcome.batch.frames}
        offsets = pa.array(list(received), pa.uint64())
        values = pa.array(list(received.values()), pa.int64()).cast(TIMESTAMP)
        for item in outcome.objects:
            if item.rows.num_rows:
                index = pa.compute.index_in(one(item.rows, "frame"), value_set=offsets)
                columns = [one(item.rows, "feed"), values.take(index), one(item.rows, "event_time")]
                tables.append(pa.table(columns, schema=schema))
    return pa.concat_tables(tables) if tables else schema.empty_table()
