"""The whole application over a real lake and control database, with a road that is told what to say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from weftline.api.app import App, build_app
from weftline.api.security import PEER
from weftline.clock import ShiftedClock
from weftline.errors import NotFoundError
from weftline.incidents.book import IncidentBook
from weftline.service.actor import LOCAL_OPERATOR, Actor
from weftline.service.announcements import Hub
from weftline.service.decisions import DecisionLog
from weftline.service.keys import Keys
from weftline.service.passwords import Passwords
from weftline.service.people import People
from weftline.service.quarantine import Quarantine
from weftline.service.reading import Door, LakeRows
from weftline.service.services import Limits, Services
from weftline.service.views import (
    Attention,
    ConnectionView,
    DatasetColumn,
    DatasetRow,
    Event,
    FeedDetail,
    FeedRow,
    Latency,
    LedgerDetail,
    LedgerHour,
    LedgerRow,
    RatePoint,
    Readiness,
    ReceiptView,
    RecordOutcome,
    ReplayView,
    SenderSide,
    Tower,
    ViolationView,
)
from weftline.store.control import Control
from weftline.store.control.incidents import IncidentTable
from weftline.store.control.jobs import JobTable
from weftline.store.control.keys import KeyTable
from weftline.store.control.people import PeopleTable
from weftline.store.control.published import PublishedTable
from weftline.store.duck_lake import DuckLake
from weftline.store.guard import guard

OWNER = 4242
SECRET = "a long enough sentence"
NOW = 1_800_000_000_000_000


def store_makers() -> ModuleType:
    """Return the makers of groups that the store's tests use."""
    path = Path(__file__).resolve().parents[1] / "store" / "conftest.py"
    spec = importlib.util.spec_from_file_location("store_makers", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.get("store_makers") or importlib.util.module_from_spec(spec)
    sys.modules["store_makers"] = module
    spec.loader.exec_module(module)
    return module


def feed_row(name: str, state: Any = "live") -> FeedRow:
    """Return a feed in a state."""
    return FeedRow(
        name=name, connection="broker", kind="mqtt", contract="thermo", version="1.0.0", partner="", site="north",
        critical=False, state=state, since=NOW, reason="", last_record=NOW, age=1.0, cadence=5.0, rate_per_minute=12.0,
        latency_ours=Latency(p50=1.0, p99=9.0), latency_theirs=Latency(), completeness=None, received=10, stored=9,
        quarantined=1, duplicate=0, ignored=0, expired=0, waiting=None, connection_state="connected",
    )  # fmt: skip


def ledger_row(feed: str) -> LedgerRow:
    """Return a balanced ledger row."""
    return LedgerRow(
        feed=feed, received=10, stored=9, quarantined=1, duplicate=0, ignored=0, expired=0, waiting=0, balanced=True
    )


class TellingRoad:
    """A road that says what it is told."""

    def __init__(self, lake: DuckLake) -> None:
        self.lake = lake
        self.rows: list[FeedRow] = [feed_row("press-1"), feed_row("press-2", "silent"), feed_row("site/line/tag")]
        self.ready = Readiness(ready=True, reasons=[], waiting_frames=0, last_try_age=0.1)
        self.receipts: dict[str, ReceiptView] = {}
        self.commits = True
        self.listeners: list[Callable[[Event], None]] = []

    def feeds(self) -> Sequence[FeedRow]:
        return self.rows

    def _row(self, name: str) -> FeedRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise NotFoundError(place="feeds", found=f"'{name}'", expected="a feed of this fabric")

    def feed(self, name: str) -> FeedDetail:
        return FeedDetail(
            row=self._row(name), mode="enforce", description="", template="", params={"line": 3},
            connection=ConnectionView(name="broker", kind="mqtt", state="connected"), contract=None,
            per_second=[RatePoint(time=NOW, received=None)], per_minute=[], gaps=[],
            sender=SenderSide(known=False, how="it does not number"), ledger=self.ledger_of(name),
            datasets=["signal"], probe_possible=True,
        )  # fmt: skip

    def ledger(self) -> Sequence[LedgerRow]:
        return [ledger_row(row.name) for row in self.rows]

    def ledger_of(self, feed: str) -> LedgerDetail:
        hour = LedgerHour(hour=NOW, received=10, stored=9, quarantined=1, duplicate=0, ignored=0, expired=0)
        return LedgerDetail(total=ledger_row(self._row(feed).name), hours=[hour])

    def attention(self) -> Sequence[Attention]:
        return [
            Attention(
                id="a1", severity="critical", title="press-2 is silent", detail="for 3 min", subject_kind="feed",
                subject="press-2", since=NOW, deadline=None, next_step="Look at the machine.", href="/feeds/press-2",
            )
        ]  # fmt: skip

    def tower(self) -> Tower:
        states: dict[str, int] = {}
        for row in self.rows:
            states[row.state] = states.get(row.state, 0) + 1
        return Tower(
            time=NOW, commit_seq=self.commit_seq(), attention=list(self.attention()), feeds=len(self.rows),
            states=states, checked=NOW,
        )  # fmt: skip

    def datasets(self) -> Sequence[DatasetRow]:
        column = DatasetColumn(name="value", type="double", unit="CEL")
        return [DatasetRow(name="signal", description="Readings", columns=[column], contracts=["thermo@1.0.0"])]

    def receipt(self, receipt_id: str) -> ReceiptView:
        if receipt_id not in self.receipts:
            raise NotFoundError(place="receipts", found=f"'{receipt_id}'", expected="a receipt")
        return self.receipts[receipt_id]

    async def wait_for_commit(self, receipt_id: str, timeout: float) -> ReceiptView:
        found = self.receipt(receipt_id)
        if self.commits:
            violation = ViolationView(rule="range", field="value", found="900", expected="at most 300")
            outcome = RecordOutcome(position=1, outcome="quarantined", quarantine_id=7, violations=[violation])
            found = ReceiptView(
                id=found.id, feed=found.feed, state="committed", received=found.received, records=2, stored=1,
                quarantined=1, duplicate=0, ignored=0, commit_seq=self.commit_seq(), outcomes=[outcome],
            )  # fmt: skip
            self.receipts[receipt_id] = found
        return found

    def commit_seq(self) -> int:
        return self.lake.health().commit_seq

    def readiness(self) -> Readiness:
        return self.ready

    def gauges(self) -> Mapping[str, float]:
        return {"lake_file_bytes": 1.0}

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    # The way in by HTTP

    async def receive(self, feed: str, headers: Mapping[str, str], body: bytes, key: str) -> ReceiptView:
        self._row(feed)
        self.pushed = (feed, headers, body, key)
        receipt = ReceiptView(id=f"push-1-{len(self.receipts)}", feed=feed, state="durable", received=NOW)
        self.receipts[receipt.id] = receipt
        return receipt

    def replay(self, group: str, actor: Actor, *, reason: str, key: str) -> ReplayView:
        self.replayed = (group, actor.id, reason, key)
        return ReplayView(job="1", group=group, state="queued")


@dataclass
class World:
    """What a test of the API holds in its hands."""

    app: App
    services: Services
    road: TellingRoad
    lake: DuckLake
    clock: ShiftedClock
    log: DecisionLog
    secrets: dict[str, str]

    def client(self, **settings: Any) -> httpx.AsyncClient:
        """Return a browser or program that has not signed in."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://fabric.test", **settings)

    def as_key(self, who: str) -> httpx.AsyncClient:
        """Return a program with a key of this person or feed."""
        return self.client(headers={"Authorization": f"Bearer {self.secrets[who]}"})

    def as_peer(self, uid: int) -> httpx.AsyncClient:
        """Return a program on the Unix socket."""

        async def marked(scope: Any, receive: Any, send: Any) -> None:
            scope[PEER] = uid
            await self.app(scope, receive, send)

        return httpx.AsyncClient(transport=httpx.ASGITransport(marked), base_url="http://socket")

    async def as_browser(self, who: str = "viewer") -> tuple[httpx.AsyncClient, str]:
        """Return a browser that signed in, and its CSRF token."""
        client = self.client()
        answer = await client.post("/api/v1/session", json={"email": f"{who}@plant.example", "password": SECRET})
        assert answer.status_code == 200, answer.text
        return client, answer.json()["csrf"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Open a world of the test's own."""
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Open one world for the tests of a module that leave it as they found it."""
    with opened(tmp_path_factory.mktemp("world")) as made:
        yield made


@contextmanager
def opened(tmp_path: Path) -> Iterator[World]:
    """Open everything with three commits in the lake, three of their records in quarantine."""
    makers = store_makers()
    lake = DuckLake(tmp_path / ".weftline", makers.SMALL)
    lake.dictionary("feed", ["press-1", "press-2"])
    lake.dictionary("contract", ["thermo@1.0.0"])
    lake.ensure([makers.SIGNAL, makers.STATES])
    for first in (0, 10, 20):
        lake.commit(makers.signal_group(first, 10, bad=1))
    clock = ShiftedClock()
    control = Control.open(tmp_path / "control.db")
    log = DecisionLog(tmp_path / "decisions", clock)
    road = TellingRoad(lake)
    people = People(PeopleTable(control), clock, Passwords(memory_kib=8, passes=1, lanes=1))
    door = Door(LakeRows(lake), guard, log, clock)
    services = Services(
        road=road, door=door, quarantine=Quarantine(door), people=people, keys=Keys(KeyTable(control), people, clock),
        incidents=IncidentBook(IncidentTable(control), clock), jobs=JobTable(control),
        published=PublishedTable(control), push=road, replayer=road, hub=Hub(clock, road.commit_seq), clock=clock,
        readers=ThreadPoolExecutor(4), version="0.1.0", limits=Limits(push_bytes=1000, heartbeat=0.3),
    )  # fmt: skip
    secrets = {}
    for role in ("administrator", "engineer", "viewer", "supplier"):
        email = f"{role}@plant.example"
        people.add(LOCAL_OPERATOR, name=role.title(), email=email, roles=[role], password=SECRET)
        _, secrets[role] = services.keys.create(LOCAL_OPERATOR, f"actor:{email}")
    _, secrets["feed"] = services.keys.create(LOCAL_OPERATOR, "feed:press-1")
    app = build_app(services, owner=lambda: OWNER)
    yield World(app, services, road, lake, clock, log, secrets)
    services.readers.shutdown()
    log.close()
    lake.close()
    control.close()
