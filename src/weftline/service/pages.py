"""What the website asks of the service, as coroutines: rows, quarantine and sign-in, each run in a reader thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from weftline.service.actor import Actor, Client, require
from weftline.service.people import Invitation, SessionView, SignedIn
from weftline.service.queries import DatasetQuery, Filter
from weftline.service.services import Services
from weftline.service.views import QuarantineGroup, QuarantineRecord, ReplayView

__all__ = ["PageReading", "PageRows", "PageSignIn"]

PURPOSE = "website"


@dataclass(frozen=True, slots=True)
class PageRows:
    """Some rows of a dataset, newest first. `matched` is None: rows that fit are not counted."""

    table: pa.Table
    next: str = ""
    matched: int | None = None
    hidden: tuple[str, ...] = ()


class PageReading:
    """Rows and quarantine, through the one door."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def rows(
        self, actor: Actor, dataset: str, where: Sequence[tuple[str, str]], after: str, limit: int
    ) -> PageRows:
        """Return rows whose columns equal the given texts, from keyset position `after`."""
        filters = tuple(Filter(column, "eq", value) for column, value in where)
        query = DatasetQuery(dataset, filters, after=after, limit=limit)
        reading = await self._services.run(self._services.door.read, actor, PURPOSE, query)
        return PageRows(reading.table, reading.next)

    async def last_records(self, actor: Actor, feed: str, limit: int) -> pa.Table:
        """Return a feed's newest rows over all its datasets, with a `dataset` column."""
        return await self._services.run(self._last_records, actor, feed, limit)

    def _last_records(self, actor: Actor, feed: str, limit: int) -> pa.Table:
        names = self._services.road.feed(feed).datasets
        tables = {
            name: self._services.door.read(
                actor, PURPOSE, DatasetQuery(name, (Filter("feed", "eq", feed),), limit=limit)
            ).table
            for name in names
        }
        return _together(tables, limit)

    async def quarantine_groups(self, actor: Actor) -> Sequence[QuarantineGroup]:
        """Return the groups, the most recently seen first."""
        return await self._services.run(self._services.quarantine.groups, actor, PURPOSE)

    async def quarantine_group(self, actor: Actor, group: str) -> QuarantineGroup:
        """Return one group."""
        return await self._services.run(self._services.quarantine.group, actor, PURPOSE, group)

    async def quarantine_records(self, actor: Actor, group: str, after: int, limit: int) -> Sequence[QuarantineRecord]:
        """Return records of a group with their originals."""
        return await self._services.run(
            self._services.quarantine.records, actor, PURPOSE, group, after=after, limit=limit, originals=True
        )

    async def replay(self, actor: Actor, group: str, reason: str, key: str) -> ReplayView:
        """Replay a group, once per idempotency key."""
        require(actor, "quarantine", "administrator", "engineer")
        return await self._services.run(self._services.replayer.replay, group, actor, reason=reason, key=key)


def _together(tables: dict[str, pa.Table], limit: int) -> pa.Table:
    """Put tables of several datasets under one another; where a type differs, the dataset names its column."""
    types: dict[str, pa.DataType] = {}
    parts = []
    for name, table in tables.items():
        columns = [
            column if types.setdefault(column, table.schema.field(column).type) == table.schema.field(column).type
            else f"{name}.{column}"
            for column in table.column_names
        ]  # fmt: skip
        label = pa.array([name] * table.num_rows, pa.string())
        parts.append(table.rename_columns(columns).append_column("dataset", label))
    if not parts:
        return pa.table({"dataset": pa.array([], pa.string())})
    found = pa.concat_tables(parts, promote_options="default")
    if "commit_seq" in found.column_names:
        found = found.sort_by([("commit_seq", "descending")])
    return found.slice(0, limit)


class PageSignIn:
    """People and sessions as coroutines."""

    def __init__(self, services: Services) -> None:
        self._run = services.run
        self._people = services.people

    async def session(self, token: str) -> SignedIn | None:
        """Return the live session of a cookie's token."""
        return await self._run(self._people.session, token)

    async def sign_in(self, email: str, password: str, client: Client) -> str:
        """Return a new token."""
        return await self._run(self._people.sign_in, email, password, client)

    async def sign_out(self, token: str) -> None:
        """End the session of a token."""
        await self._run(self._people.sign_out, token)

    async def invitation(self, token: str) -> Invitation | None:
        """Return what a one-time link is for."""
        return await self._run(self._people.invitation, token)

    async def accept(self, token: str, name: str, email: str, password: str, client: Client) -> str:
        """Use a one-time link up and return a session token."""
        return await self._run(self._people.accept, token, name=name, email=email, password=password, client=client)

    async def change_password(self, session: SignedIn, old: str, new: str) -> None:
        """Change the person's own password."""
        await self._run(self._people.change_password, session, old, new)

    async def sessions(self, session: SignedIn) -> Sequence[SessionView]:
        """Return the person's sessions."""
        return await self._run(self._people.sessions, session)

    async def end_session(self, session: SignedIn, session_id: str) -> None:
        """End one of the person's own sessions."""
        await self._run(self._people.end_session, session, session_id)
