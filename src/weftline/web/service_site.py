"""The website's ports over the service: blocking calls run in worker threads, reads pass the one door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import pyarrow as pa
from anyio import to_thread

from weftline.clock import Clock
from weftline.service.actor import Actor, Client
from weftline.service.people import Invitation, People, SessionView, SignedIn
from weftline.service.ports import RoadView
from weftline.service.quarantine import Quarantine
from weftline.service.queries import DatasetQuery, Filter
from weftline.service.reading import Door
from weftline.service.views import (
    DatasetRow,
    FeedDetail,
    FeedRow,
    LedgerRow,
    QuarantineGroup,
    QuarantineRecord,
    RatePoint,
    ReplayView,
    Tower,
)
from weftline.web.ports import About, Asker, RowsPage

__all__ = ["ReplayAction", "ServiceSite"]

PURPOSE = "website"


class ReplayAction(Protocol):
    """Replay a group once per key and keep the person's reason with the job."""

    def __call__(self, group: str, actor: Actor, key: str, *, reason: str) -> ReplayView: ...


def _no_rates() -> Sequence[RatePoint]:
    return ()


@dataclass(frozen=True, slots=True)
class _RoadPages:
    view: RoadView
    rates: Callable[[], Sequence[RatePoint]]

    def tower(self) -> Tower:
        return self.view.tower()

    def feeds(self) -> Sequence[FeedRow]:
        return self.view.feeds()

    def feed(self, name: str) -> FeedDetail:
        return self.view.feed(name)

    def ledger(self) -> Sequence[LedgerRow]:
        return self.view.ledger()

    def datasets(self) -> Sequence[DatasetRow]:
        return self.view.datasets()


@dataclass(frozen=True, slots=True)
class _DoorReading:
    door: Door
    quarantine: Quarantine
    view: RoadView
    replayer: ReplayAction

    async def last_records(self, asker: Asker, feed: str, limit: int) -> pa.Table:
        datasets = (await to_thread.run_sync(self.view.feed, feed)).datasets
        tables = []
        for name in datasets:
            query = DatasetQuery(name, (Filter("feed", "eq", feed),), limit=limit)
            found = await to_thread.run_sync(self.door.read, asker.actor, PURPOSE, query, asker.client)
            tables.append(found.table.append_column("dataset", pa.array([name] * found.table.num_rows, pa.string())))
        if not tables:
            return pa.table({})
        if len(tables) == 1:
            return tables[0]
        whole = pa.concat_tables(tables, promote_options="permissive")
        return whole.sort_by([("record_time", "descending"), ("event_time", "descending")]).slice(0, limit)

    async def rows(
        self, asker: Asker, dataset: str, where: Sequence[tuple[str, str]], after: str, limit: int
    ) -> RowsPage:
        filters = tuple(Filter(column, "eq", value) for column, value in where)
        query = DatasetQuery(dataset, filters, after=after, limit=limit)
        found = await to_thread.run_sync(self.door.read, asker.actor, PURPOSE, query, asker.client)
        return RowsPage(found.table, found.next)

    async def quarantine_groups(self, asker: Asker) -> Sequence[QuarantineGroup]:
        return await to_thread.run_sync(self.quarantine.groups, asker.actor, PURPOSE, asker.client)

    async def quarantine_group(self, asker: Asker, group: str) -> QuarantineGroup:
        return await to_thread.run_sync(self.quarantine.group, asker.actor, PURPOSE, group, asker.client)

    async def quarantine_records(self, asker: Asker, group: str, after: int, limit: int) -> Sequence[QuarantineRecord]:
        read = partial(
            self.quarantine.records, asker.actor, PURPOSE, group, asker.client,
            after=after, limit=limit, originals=True,
        )  # fmt: skip
        return await to_thread.run_sync(read)

    async def replay(self, asker: Asker, group: str, reason: str, key: str) -> ReplayView:
        return await to_thread.run_sync(partial(self.replayer, group, asker.actor, key, reason=reason))


@dataclass(frozen=True, slots=True)
class _PeopleIn:
    people: People

    async def session(self, token: str, *, rotate: bool) -> SignedIn | None:
        return await to_thread.run_sync(partial(self.people.session, token, rotate=rotate))

    async def sign_in(self, email: str, password: str, client: Client) -> str:
        return await to_thread.run_sync(self.people.sign_in, email, password, client)

    async def sign_out(self, token: str) -> None:
        await to_thread.run_sync(self.people.sign_out, token)

    async def invitation(self, token: str) -> Invitation | None:
        return await to_thread.run_sync(self.people.invitation, token)

    async def accept(self, token: str, *, name: str, email: str, password: str, client: Client) -> str:
        accept = partial(self.people.accept, token, name=name, email=email, password=password, client=client)
        return await to_thread.run_sync(accept)

    async def change_password(self, session: SignedIn, old: str, new: str) -> None:
        await to_thread.run_sync(self.people.change_password, session, old, new)

    async def sessions(self, session: SignedIn) -> Sequence[SessionView]:
        return await to_thread.run_sync(self.people.sessions, session)

    async def end_session(self, session: SignedIn, session_id: str) -> None:
        await to_thread.run_sync(self.people.end_session, session, session_id)


@dataclass(frozen=True, slots=True)
class ServiceSite:
    """Implement the website's Site over the service's parts; the wiring makes one and hands it to `web.routes`."""

    view: RoadView
    door: Door
    quarantine: Quarantine
    people_store: People
    replayer: ReplayAction
    clock: Clock
    describe: Callable[[], About]
    rates: Callable[[], Sequence[RatePoint]] = field(default=_no_rates)
    """Records received per minute over all feeds; without it the tower adds the feeds' own rates."""

    @property
    def road(self) -> _RoadPages:
        """Return the counts and states."""
        return _RoadPages(self.view, self.rates)

    @property
    def reading(self) -> _DoorReading:
        """Return the rows, through the door."""
        return _DoorReading(self.door, self.quarantine, self.view, self.replayer)

    @property
    def people(self) -> _PeopleIn:
        """Return the sessions."""
        return _PeopleIn(self.people_store)

    def about(self) -> About:
        """Return what the shell says about the fabric."""
        return self.describe()

    def now(self) -> int:
        """Return wall time in microseconds UTC."""
        return self.clock.now()
