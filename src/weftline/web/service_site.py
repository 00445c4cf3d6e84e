"""The website's ports over the composed service: blocking calls run in its reader threads, reads pass the one door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from weftline.service.actor import Client, require
from weftline.service.people import Invitation, SessionView, SignedIn
from weftline.service.queries import DatasetQuery, Filter
from weftline.service.services import Services
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

__all__ = ["ServiceSite"]

PURPOSE = "website"


def _no_rates() -> Sequence[RatePoint]:
    return ()


def together(tables: dict[str, pa.Table], limit: int) -> pa.Table:
    """Return rows of several datasets, newest first; where a type differs, the dataset names its column."""
    types: dict[str, pa.DataType] = {}
    parts = []
    for name, table in tables.items():
        names = []
        for column in table.schema:
            same = types.setdefault(column.name, column.type) == column.type
            names.append(column.name if same else f"{name}.{column.name}")
        label = pa.array([name] * table.num_rows, pa.string())
        parts.append(table.rename_columns(names).append_column("dataset", label))
    if not parts:
        return pa.table({"dataset": pa.array([], pa.string())})
    found = pa.concat_tables(parts, promote_options="default")
    if len(parts) > 1 and "commit_seq" in found.column_names:
        found = found.sort_by([("commit_seq", "descending")])
    return found.slice(0, limit)


@dataclass(frozen=True, slots=True)
class RoadPages:
    """Counts and states, from the road's memory."""

    services: Services
    counted: Callable[[], Sequence[RatePoint]]

    def tower(self) -> Tower:
        """Return the control tower."""
        return self.services.road.tower()

    def feeds(self) -> Sequence[FeedRow]:
        """Return every feed."""
        return self.services.road.feeds()

    def feed(self, name: str) -> FeedDetail:
        """Return one feed."""
        return self.services.road.feed(name)

    def ledger(self) -> Sequence[LedgerRow]:
        """Return the ledger per feed."""
        return self.services.road.ledger()

    def datasets(self) -> Sequence[DatasetRow]:
        """Return the catalogue."""
        return self.services.road.datasets()

    def rates(self) -> Sequence[RatePoint]:
        """Return records received per minute over all feeds."""
        return self.counted()


@dataclass(frozen=True, slots=True)
class DoorReading:
    """Rows and quarantine, through the one door, with the client in the decision record."""

    services: Services

    async def last_records(self, asker: Asker, feed: str, limit: int) -> pa.Table:
        """Return a feed's newest rows over all its datasets."""
        names = (await self.services.run(self.services.road.feed, feed)).datasets
        tables = {}
        for name in names:
            query = DatasetQuery(name, (Filter("feed", "eq", feed),), limit=limit)
            found = await self.services.run(self.services.door.read, asker.actor, PURPOSE, query, asker.client)
            tables[name] = found.table
        return together(tables, limit)

    async def rows(
        self, asker: Asker, dataset: str, where: Sequence[tuple[str, str]], after: str, limit: int
    ) -> RowsPage:
        """Return rows whose columns equal the given texts."""
        filters = tuple(Filter(column, "eq", value) for column, value in where)
        query = DatasetQuery(dataset, filters, after=after, limit=limit)
        found = await self.services.run(self.services.door.read, asker.actor, PURPOSE, query, asker.client)
        return RowsPage(found.table, found.next)

    async def quarantine_groups(self, asker: Asker) -> Sequence[QuarantineGroup]:
        """Return the groups, the most recently seen first."""
        return await self.services.run(self.services.quarantine.groups, asker.actor, PURPOSE, asker.client)

    async def quarantine_group(self, asker: Asker, group: str) -> QuarantineGroup:
        """Return one group."""
        return await self.services.run(self.services.quarantine.group, asker.actor, PURPOSE, group, asker.client)

    async def quarantine_records(self, asker: Asker, group: str, after: int, limit: int) -> Sequence[QuarantineRecord]:
        """Return records of a group with their originals."""
        return await self.services.run(
            self.services.quarantine.records, asker.actor, PURPOSE, group, asker.client,
            after=after, limit=limit, originals=True,
        )  # fmt: skip

    async def replay(self, asker: Asker, group: str, reason: str, key: str) -> ReplayView:
        """Replay a group, once per idempotency key."""
        require(asker.actor, "quarantine", "administrator", "engineer")
        return await self.services.run(self.services.replayer.replay, group, asker.actor, reason=reason, key=key)


@dataclass(frozen=True, slots=True)
class PeopleIn:
    """People and sessions."""

    services: Services

    async def session(self, token: str, *, rotate: bool) -> SignedIn | None:
        """Return the live session of a cookie's token."""
        return await self.services.run(self.services.people.session, token, rotate=rotate)

    async def sign_in(self, email: str, password: str, client: Client) -> str:
        """Return a new token."""
        return await self.services.run(self.services.people.sign_in, email, password, client)

    async def sign_out(self, token: str) -> None:
        """End the session of a token."""
        await self.services.run(self.services.people.sign_out, token)

    async def invitation(self, token: str) -> Invitation | None:
        """Return what a one-time link is for."""
        return await self.services.run(self.services.people.invitation, token)

    async def accept(self, token: str, *, name: str, email: str, password: str, client: Client) -> str:
        """Use a one-time link up and return a session token."""
        return await self.services.run(
            self.services.people.accept, token, name=name, email=email, password=password, client=client
        )

    async def change_password(self, session: SignedIn, old: str, new: str) -> None:
        """Change the person's own password."""
        await self.services.run(self.services.people.change_password, session, old, new)

    async def sessions(self, session: SignedIn) -> Sequence[SessionView]:
        """Return the person's sessions."""
        return await self.services.run(self.services.people.sessions, session)

    async def end_session(self, session: SignedIn, session_id: str) -> None:
        """End one of the person's own sessions."""
        await self.services.run(self.services.people.end_session, session, session_id)


@dataclass(frozen=True, slots=True)
class ServiceSite:
    """Implement the website's Site over the service; the composer makes one and hands it to `web.routes`."""

    services: Services
    describe: Callable[[], About]
    rates: Callable[[], Sequence[RatePoint]] = field(default=_no_rates)
    """Records received per minute over all feeds; without it the tower adds the feeds' own rates."""

    @property
    def road(self) -> RoadPages:
        """Return the counts and states."""
        return RoadPages(self.services, self.rates)

    @property
    def reading(self) -> DoorReading:
        """Return the rows, through the door."""
        return DoorReading(self.services)

    @property
    def people(self) -> PeopleIn:
        """Return the sessions."""
        return PeopleIn(self.services)

    def about(self) -> About:
        """Return what the shell says about the fabric."""
        return self.describe()

    def now(self) -> int:
        """Return wall time in microseconds UTC."""
        return self.services.clock.now()
