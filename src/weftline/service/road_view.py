"""What the running road tells about itself: the answers behind the feed pages, the tower and /readyz."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from weftline.clock import Clock
from weftline.contracts.plan import SetRule
from weftline.errors import NotFoundError, TransientError, nearest
from weftline.ingest.feeds import strictest
from weftline.ingest.monitor import GAP_FACTOR, MINUTE, SECOND, FeedMeasures
from weftline.ingest.prepare import Prepared
from weftline.ingest.road import Road
from weftline.ingest.set_rules import SetCounts, SetResult
from weftline.model.dataset import DatasetSpec
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.service.attention import Stopped, attention
from weftline.service.books import Books, unread
from weftline.service.feed_states import standing
from weftline.service.receipts import Receipts
from weftline.service.views import (
    Attention,
    ConnectionView,
    ContractView,
    DatasetColumn,
    DatasetRow,
    Event,
    FeedDetail,
    FeedRow,
    Gap,
    Latency,
    LedgerDetail,
    LedgerRow,
    NotRunRule,
    RatePoint,
    Readiness,
    ReceiptView,
    RuleView,
    SenderSide,
    SetRuleResult,
    Tower,
)
from weftline.store.lake import Committed, Lake

__all__ = ["Catalogue", "ContractInForce", "RoadAnswers"]

log = structlog.get_logger()
RENEWED_WITHIN = 10.0
"""Seconds after which a page works the rows of many feeds out itself; upkeep does it every few seconds."""
FEEDS_A_SECOND = 4000
"""Rows worked out per second of freshness, so that ten thousand feeds cost a fraction of a core."""
NOT_TRIED_SECONDS = 5.0
STANDING_STILL = ("STOPPED", "FAULT", "ABORTED", "HELD")
DAY = 24 * 60 * MINUTE


@dataclass(frozen=True, slots=True)
class ContractInForce:
    """A contract version as the pages name it."""

    id: str
    version: str
    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is in force beside the feeds: replaced as a whole when the folder changes."""

    connections: Mapping[str, ConnectionSpec] = field(default_factory=dict)
    contracts: Mapping[str, ContractInForce] = field(default_factory=dict)
    """By `id@version`."""
    datasets: Sequence[DatasetSpec] = ()
    probes: frozenset[str] = frozenset()
    """Connection kinds that can be probed."""


class RoadAnswers:
    """Answer from memory where possible; the rows are worked out at most once per freshness interval."""

    def __init__(self, road: Road, lake: Lake, counts: SetCounts, catalogue: Catalogue, clock: Clock) -> None:
        self._road = road
        self._lake = lake
        self._counts = counts
        self.catalogue = catalogue
        self._clock = clock
        self._books = Books(road, lake, clock)
        self._receipts = Receipts(lake, road)
        self._lock = threading.Lock()
        self._rows: list[FeedRow] = []
        self._by_name: dict[str, FeedRow] = {}
        self._worked_out = -1e9
        self._checked: int | None = None
        self._stopped: list[Stopped] = []
        self._commit_seq = lake.health().commit_seq
        self._listeners: list[Callable[[Event], None]] = []
        road.monitor.recall(_newest(lake))
        road.listen(self._committed)

    # -- feeds ---------------------------------------------------------------------------------------------------

    def feeds(self, *, renew: bool = False) -> Sequence[FeedRow]:
        """Return every feed in order of name; without `renew`, as last worked out if that is not long ago."""
        specs = len(self._road.book().specs)
        fresh = max(1.0, specs / FEEDS_A_SECOND)
        age = self._clock.steady() - self._worked_out
        if not renew and len(self._rows) == specs and age < (fresh if fresh <= 1.0 else RENEWED_WITHIN):
            return self._rows
        with self._lock:
            book = self._road.book()
            if self._clock.steady() - self._worked_out >= fresh or len(self._rows) != len(book.specs):
                now = self._clock.now()
                ledger = self._books.rows()
                self._rows = [
                    self._row(spec, ledger.get(spec.id) or unread(spec.name), now)
                    for _, spec in sorted(book.by_name.items())
                ]
                self._by_name = {row.name: row for row in self._rows}
                self._stopped = self._standing_still()
                self._checked = now
                self._worked_out = self._clock.steady()
            return self._rows

    def feed(self, name: str) -> FeedDetail:
        """Return one feed with its series, gaps, contract and ledger."""
        spec = self._spec(name)
        self.feeds(renew=False)
        row = self._by_name[name]
        measures = self._road.monitor.feed(spec.id)
        contract = self._contract(spec)
        return FeedDetail(
            row=row,
            mode=str(spec.mode),
            description=spec.description,
            template=spec.template,
            params=dict(spec.params),
            connection=self._connection(spec.connection),
            contract=contract,
            per_second=_points(measures, SECOND),
            per_minute=_points(measures, MINUTE),
            gaps=self._gaps(spec, measures),
            sender=SenderSide(known=False, how="this source neither numbers nor counts its records"),
            ledger=self.ledger_of(name),
            datasets=contract.datasets if contract else [],
            probe_possible=spec.kind in self.catalogue.probes,
        )

    def ledger(self) -> Sequence[LedgerRow]:
        """Return the ledger per feed, in order of name."""
        return sorted(self._books.rows().values(), key=lambda row: row.feed)

    def ledger_of(self, feed: str) -> LedgerDetail:
        """Return one feed's ledger with its newest hours."""
        spec = self._spec(feed)
        return LedgerDetail(total=self._books.rows()[spec.id], hours=self._books.hours(spec.name))

    def attention(self, *, renew: bool = False) -> Sequence[Attention]:
        """Return what needs a person, worst first."""
        rows = self.feeds(renew=renew)
        return attention(
            rows,
            self._stopped,
            holding=self._road.held(),
            trouble=self._road.writer.trouble,
            warnings={name: state.warning for name, state in self._road.monitor.warnings().items()},
            now=self._clock.now(),
        )

    def tower(self) -> Tower:
        """Return the control tower at this moment."""
        items = list(self.attention())
        states: dict[str, int] = {}
        for row in self._rows:
            states[row.state] = states.get(row.state, 0) + 1
        return Tower(
            time=self._clock.now(),
            commit_seq=self._commit_seq,
            attention=items,
            feeds=len(self._rows),
            states=states,
            checked=self._checked,
            holding=self._road.held(),
        )

    def datasets(self) -> Sequence[DatasetRow]:
        """Return the catalogue of datasets."""
        return [
            DatasetRow(
                name=spec.name,
                description=spec.description,
                columns=[
                    DatasetColumn(
                        name=column.name,
                        type=str(column.type),
                        unit=column.unit,
                        term=column.term,
                        description=column.description,
                        classification=column.classification,
                    )
                    for column in spec.columns
                ],
                contracts=list(spec.contracts),
                builtin=spec.builtin,
            )
            for spec in self.catalogue.datasets
        ]

    def rates(self) -> Sequence[RatePoint]:
        """Return records received per minute over all feeds, oldest first."""
        total: dict[int, list[int]] = {}
        for feed in self._road.book().specs:
            measures = self._road.monitor.feed(feed)
            for minute, count, bad in list(measures.minutes) if measures else ():
                held = total.setdefault(minute, [0, 0])
                held[0] += count
                held[1] += bad
        return [
            RatePoint(time=minute * MINUTE, received=count, quarantined=bad)
            for minute, (count, bad) in sorted(total.items())
        ]

    # -- receipts, readiness, events -----------------------------------------------------------------------------

    def receipt(self, receipt_id: str) -> ReceiptView:
        """Return a receipt as it stands."""
        return self._receipts.get(receipt_id)

    async def wait_for_commit(self, receipt_id: str, timeout: float) -> ReceiptView:  # noqa: ASYNC109 - the port's name
        """Return the receipt once it is committed, or as it stands after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        seen = asyncio.Event()

        def wake(_event: object, _prepared: object) -> None:
            loop.call_soon_threadsafe(seen.set)

        end = self._road.listen(wake)
        try:
            limit = loop.time() + timeout
            while True:
                seen.clear()
                view = await asyncio.to_thread(self._receipts.get, receipt_id)
                remaining = limit - loop.time()
                if view.state == "committed" or remaining <= 0:
                    return view
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(remaining, 1.0)):
                        await seen.wait()
        finally:
            end()

    def commit_seq(self) -> int:
        """Return the newest commit_seq."""
        return self._commit_seq

    def readiness(self) -> Readiness:
        """Tell whether the road works: not ready when frames wait and no group was tried for five seconds."""
        gauges = self._road.gauges()
        waiting, age = int(gauges["road_frames_waiting"]), float(gauges["road_last_try_age_seconds"])
        reasons = []
        if waiting and age > NOT_TRIED_SECONDS:
            reasons.append(f"{waiting} frames wait and no group was tried for {age:.0f} s")
        if self._road.writer.trouble:
            reasons.append(self._road.writer.trouble)
        held = self._road.held()
        if held:
            reasons.append(f"sources are held back: {held}")
        return Readiness(ready=not reasons, reasons=reasons, waiting_frames=waiting, last_try_age=age, holding=held)

    def gauges(self) -> Mapping[str, float]:
        """Return gauges of road and lake for /metrics."""
        health = self._lake.health()
        found = {name: float(value) for name, value in self._road.gauges().items()}
        found.update(
            lake_file_bytes=float(health.file_bytes),
            lake_wal_bytes=float(health.wal_bytes),
            lake_free_bytes=float(health.free_bytes),
            lake_commit_seq=float(health.commit_seq),
            lake_oldest_snapshot_age_seconds=health.oldest_snapshot_age,
            lake_checkpoints=float(health.checkpoints),
            lake_last_checkpoint_seconds=health.last_checkpoint_seconds,
            lake_reopened=float(health.reopened),
        )
        return found

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` on each announcement until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def announce(self, event: Event) -> None:
        """Tell the live pages."""
        for listener in list(self._listeners):
            listener(event)

    def _committed(self, committed: Committed, prepared: Prepared) -> None:
        self._counts.add(prepared.group.set_counts)
        if committed.repeated:
            return
        self._commit_seq = max(self._commit_seq, committed.commit_seq)
        book, ledger = self._road.book(), prepared.group.ledger
        names = [] if ledger is None else [book.name(feed) for feed in ledger["feed"].unique().to_pylist()]
        seq = committed.commit_seq
        self.announce(
            Event(topic="feeds", kind="commit", seq=seq, data={"feeds": names[:200], "more": len(names) > 200})
        )
        for name in names[:200]:
            self.announce(Event(topic=f"feed:{name}", kind="commit", seq=seq, data={"feed": name}))

    # -- parts ---------------------------------------------------------------------------------------------------

    def _spec(self, name: str) -> FeedSpec:
        spec = self._road.book().by_name.get(name)
        if spec is None:
            raise NotFoundError(
                place="feeds",
                found=f"'{name}'",
                expected="a feed in force",
                next_step=nearest(name, self._road.book().by_name),
            )
        return spec

    def _row(self, spec: FeedSpec, ledger: LedgerRow, now: int) -> FeedRow:
        monitor = self._road.monitor
        measures, connection = monitor.feed(spec.id), monitor.connection(spec.connection)
        failed = self._failed_rule(spec, now)
        now_standing = standing(spec, measures, connection, held=self._road.held(), failed_rule=failed, now=now)
        last = measures.last_received if measures and measures.last_received else None
        own = measures.connection if measures else None
        shown = own or connection
        rate = monitor.rate(spec.id)
        return FeedRow(
            name=spec.name,
            connection=spec.connection,
            kind=spec.kind,
            contract=spec.contract,
            version=spec.version,
            partner=spec.partner,
            site=spec.site,
            critical=spec.critical,
            state=now_standing.state,
            since=now_standing.since,
            reason=now_standing.reason,
            last_record=last,
            age=None if last is None else max(now - last, 0) / SECOND,
            cadence=spec.cadence,
            rate_per_minute=rate,
            latency_ours=_latency(measures, ours=True),
            latency_theirs=_latency(measures, ours=False),
            completeness=_completeness(spec, measures, now),
            received=ledger.received,
            stored=ledger.stored,
            quarantined=ledger.quarantined,
            duplicate=ledger.duplicate,
            ignored=ledger.ignored,
            expired=ledger.expired,
            waiting=ledger.waiting,
            connection_state=shown.state if shown else "unknown",
        )

    def _failed_rule(self, spec: FeedSpec, now: int) -> str:
        for result in self._set_results(spec, now):
            if result.passed is False:
                limits = " and ".join(f"{limit:g}" for limit in result.rule.limits)
                rule = result.rule
                return f"set rule '{rule.id}': {rule.metric} {result.value:g}, {rule.operator} {limits}"
        return ""

    def _set_results(self, spec: FeedSpec, now: int) -> list[SetResult]:
        route = self._road.book().routes.get(spec.id)
        if route is None:
            return []
        rules: list[SetRule] = [rule for plan in route.plans.plans for rule in plan.set_rules]
        return self._counts.results(spec.id, rules, now) if rules else []

    def _contract(self, spec: FeedSpec) -> ContractView | None:
        route = self._road.book().routes.get(spec.id)
        if route is None:
            return None
        known = self.catalogue.contracts.get(f"{spec.contract}@{spec.version}")
        failed = self._counts.failed(spec.id, self._clock.now() - DAY)
        plans = route.plans.plans
        return ContractView(
            id=spec.contract,
            version=spec.version,
            name=known.name if known else spec.contract,
            hash=known.hash if known else "",
            datasets=sorted({plan.dataset for plan in plans}),
            rules=[
                RuleView(
                    id=rule.id,
                    field=rule.field,
                    kind=rule.kind,
                    expected=rule.expected,
                    mode="enforce" if rule.always else str(strictest(spec.mode, spec.severity.get(rule.id))),
                    failed=failed.get(rule.id, 0),
                )
                for plan in plans
                for rule in plan.row_rules
            ],
            set_rules=[_set_view(result) for result in self._set_results(spec, self._clock.now())],
            not_run=[
                NotRunRule(id=rule.id, field=rule.field, reason=rule.reason) for plan in plans for rule in plan.not_run
            ],
        )

    def _connection(self, name: str) -> ConnectionView:
        spec = self.catalogue.connections.get(name)
        state = self._road.monitor.connection(name)
        feeds = sum(1 for feed in self._road.book().specs.values() if feed.connection == name)
        return ConnectionView(
            name=name,
            kind=spec.kind if spec else "unknown",
            state=state.state if state else "unknown",
            detail=state.detail if state else "it has not reported yet",
            since=state.since or None if state else None,
            next_try=state.next_try or None if state else None,
            feeds=feeds,
        )

    def _gaps(self, spec: FeedSpec, measures: FeedMeasures | None) -> list[Gap]:
        if measures is None:
            return []
        found = [
            Gap(start=gap.start, end=gap.end, seconds=(gap.end - gap.start) / SECOND, kind="silence")
            for gap in reversed(list(measures.gaps))
        ]
        age = (self._clock.now() - measures.last_received) / SECOND
        if spec.cadence and measures.last_received and age > GAP_FACTOR * spec.cadence:
            found.insert(0, Gap(start=measures.last_received, end=None, seconds=age, kind="silence"))
        return found

    def _standing_still(self) -> list[Stopped]:
        """Read which equipment stands still; what was read last stays while the lake cannot be read."""
        words = ", ".join(f"'{word}'" for word in STANDING_STILL)
        try:
            table = self._lake.scan(
                "SELECT equipment, state, epoch_us(start_time) AS since FROM equipment_state_current "  # noqa: S608 - fixed words
                f"WHERE state IN ({words}) ORDER BY since LIMIT 200"
            )
        except TransientError as error:
            log.warning("equipment states not read", error=str(error))
            return self._stopped
        return [Stopped(row["equipment"], row["state"], row["since"]) for row in table.to_pylist()]


def _newest(lake: Lake) -> dict[int, int]:
    """Return when each feed's newest record was received, as closely as the ledger tells after a start."""
    table = lake.scan(
        "SELECT feed, max(seen) AS newest FROM ("
        "SELECT l.feed, epoch_us(least(c.record_time, l.hour + INTERVAL 1 HOUR)) AS seen FROM weftline.ledger l "
        "JOIN weftline.commit_log c ON c.commit_seq = l.commit_seq WHERE l.received > 0 "
        "UNION ALL SELECT feed, epoch_us(hour) FROM weftline.ledger_hour WHERE received > 0) GROUP BY feed"
    )
    return dict(zip(table["feed"].to_pylist(), table["newest"].to_pylist(), strict=True))


def _points(measures: FeedMeasures | None, size: int) -> list[RatePoint]:
    if measures is None:
        return []
    series = measures.seconds if size == SECOND else measures.minutes
    return [RatePoint(time=bucket * size, received=count, quarantined=bad) for bucket, count, bad in list(series)]


def _latency(measures: FeedMeasures | None, *, ours: bool) -> Latency:
    if measures is None:
        return Latency()
    p50, p99 = (measures.ours if ours else measures.theirs).percentiles(0.5, 0.99)
    return Latency(p50=p50, p99=p99)


def _completeness(spec: FeedSpec, measures: FeedMeasures | None, now: int) -> float | None:
    """Return seen ÷ expected by cadence over the last hour of our watch, None where no cadence is stated."""
    if spec.cadence is None or measures is None or not measures.last_received:
        return None
    watched = min(now - measures.started, 60 * MINUTE) / SECOND
    expected = watched / spec.cadence
    if expected < 1:
        return None
    first = now // MINUTE - 60
    seen = sum(count for minute, count, _ in list(measures.minutes) if minute > first)
    return min(seen / expected, 1.0)


def _set_view(result: SetResult) -> SetRuleResult:
    rule = result.rule
    limits = " and ".join(f"{limit:g}" for limit in rule.limits)
    return SetRuleResult(
        id=rule.id,
        field=rule.field,
        metric=rule.metric,
        expected=f"{rule.operator} {limits} {rule.unit}",
        hour=result.hour,
        rows=result.rows,
        failing=result.failing,
        value=result.value,
        passed=result.passed,
    )
