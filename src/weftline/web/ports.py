"""What the website needs from the service; the wiring supplies it, the browser tests supply a seeded one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import pyarrow as pa

from weftline.service.actor import Actor, Client
from weftline.service.people import Invitation, SessionView, SignedIn
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

__all__ = ["About", "Asker", "Reading", "Road", "RowsPage", "SignIn", "Site", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of setting up, as the first-run page lists it."""

    title: str
    detail: str
    done: bool


@dataclass(frozen=True, slots=True)
class About:
    """What the shell says about this fabric. `zone` is an IANA name; `sites` maps a site to its IANA zone."""

    name: str
    zone: str = "UTC"
    address: str = "127.0.0.1:8420"
    loopback: bool = True
    version: str = ""
    started: int = 0
    demo: bool = False
    folder: str = ""
    sites: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    """Set-up steps; the last page of an empty fabric shows them."""


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Some rows of a dataset, newest first, as the door let them through."""

    table: pa.Table
    next: str = ""
    """Keyset position of the following page; empty = there is none."""
    matched: int | None = None
    """Rows that fit the filters; None = not counted."""
    hidden: tuple[str, ...] = ()
    """Columns that policy held back."""


class Asker(NamedTuple):
    """Who reads and from where, as the decision record keeps it."""

    actor: Actor
    client: Client


class Road(Protocol):
    """The part of the service's RoadView the pages use: any thread, memory only."""

    def tower(self) -> Tower:
        """Return the control tower."""
        ...

    def feeds(self) -> Sequence[FeedRow]:
        """Return every feed, in order of name."""
        ...

    def feed(self, name: str) -> FeedDetail:
        """Return one feed or raise NotFoundError."""
        ...

    def ledger(self) -> Sequence[LedgerRow]:
        """Return the ledger per feed."""
        ...

    def datasets(self) -> Sequence[DatasetRow]:
        """Return the catalogue: names and columns, no row."""
        ...

    def rates(self) -> Sequence[RatePoint]:
        """Return records received per minute over all feeds, oldest first; empty where nobody counts them."""
        ...


class Reading(Protocol):
    """Rows, through the one door. Raises RefusedError, NotFoundError, InputError."""

    async def last_records(self, asker: Asker, feed: str, limit: int) -> pa.Table:
        """Return a feed's newest rows with fact columns, a `dataset` column, and the datasets' own columns."""
        ...

    async def rows(
        self, asker: Asker, dataset: str, where: Sequence[tuple[str, str]], after: str, limit: int
    ) -> RowsPage:
        """Return rows whose columns equal the given texts, newest first, from keyset position `after`."""
        ...

    async def quarantine_groups(self, asker: Asker) -> Sequence[QuarantineGroup]:
        """Return the groups."""
        ...

    async def quarantine_group(self, asker: Asker, group: str) -> QuarantineGroup:
        """Return one group or raise NotFoundError."""
        ...

    async def quarantine_records(self, asker: Asker, group: str, after: int, limit: int) -> Sequence[QuarantineRecord]:
        """Return records of a group with their originals, newest first, ids below `after` when it is not 0."""
        ...

    async def replay(self, asker: Asker, group: str, reason: str, key: str) -> ReplayView:
        """Put a group's originals on the road again, once per idempotency key."""
        ...


class SignIn(Protocol):
    """People and sessions. A token is the cookie's value; no method logs or stores it in clear."""

    async def session(self, token: str, *, rotate: bool) -> SignedIn | None:
        """Return the live session; with `rotate` its `token` may hold a new cookie to send."""
        ...

    async def sign_in(self, email: str, password: str, client: Client) -> str:
        """Return a new token. Raises RefusedError with one sentence for every wrong pair."""
        ...

    async def sign_out(self, token: str) -> None:
        """End the session of a token."""
        ...

    async def invitation(self, token: str) -> Invitation | None:
        """Return what a one-time link is for, or None when it is void."""
        ...

    async def accept(self, token: str, *, name: str, email: str, password: str, client: Client) -> str:
        """Use a one-time link up and return a session token. Raises InputError whose place is the field."""
        ...

    async def change_password(self, session: SignedIn, old: str, new: str) -> None:
        """Change the person's own password and end the other sessions."""
        ...

    async def sessions(self, session: SignedIn) -> Sequence[SessionView]:
        """Return the person's sessions."""
        ...

    async def end_session(self, session: SignedIn, session_id: str) -> None:
        """End one of the person's own sessions."""
        ...


class Site(Protocol):
    """Everything the website stands on."""

    @property
    def road(self) -> Road:
        """Return counts and states."""
        ...

    @property
    def reading(self) -> Reading:
        """Return the way to rows."""
        ...

    @property
    def people(self) -> SignIn:
        """Return the way to sessions."""
        ...

    def about(self) -> About:
        """Return what the shell says about the fabric."""
        ...

    def now(self) -> int:
        """Return wall time in microseconds UTC."""
        ...
