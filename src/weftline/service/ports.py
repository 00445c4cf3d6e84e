"""What the service needs from the road, the lake and the way in by HTTP; the wiring supplies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from weftline.service.actor import Actor
from weftline.service.views import (
    Attention,
    DatasetRow,
    Event,
    FeedDetail,
    FeedRow,
    LedgerDetail,
    LedgerRow,
    Readiness,
    ReceiptView,
    ReplayView,
    Tower,
)

__all__ = ["Admitted", "Guard", "Push", "Replayer", "RoadView", "Rows"]


class Admitted(Protocol):
    """A SELECT that passed the guard."""

    @property
    def tables(self) -> Sequence[str]:
        """Return the tables it reads."""
        ...

    def sql(self) -> str:
        """Return what was parsed, written out again; this is what runs."""
        ...


Guard = Callable[[str], Admitted]
"""Take one SELECT and admit it, or raise RefusedError (store/guard.py)."""


class RoadView(Protocol):
    """What the running road tells about itself: counts, states and times, no content of records.

    Every method may be called from any thread and reads memory or takes at most a second. Unknown feeds and receipts
    raise NotFoundError.
    """

    def feeds(self) -> Sequence[FeedRow]:
        """Return every feed, in order of name; the same object while nothing changed."""
        ...

    def feed(self, name: str) -> FeedDetail:
        """Return one feed."""
        ...

    def ledger(self) -> Sequence[LedgerRow]:
        """Return the ledger per feed."""
        ...

    def ledger_of(self, feed: str) -> LedgerDetail:
        """Return one feed's ledger with its hours."""
        ...

    def attention(self) -> Sequence[Attention]:
        """Return what needs a person, in the order of Attention."""
        ...

    def tower(self) -> Tower:
        """Return the control tower at this moment."""
        ...

    def datasets(self) -> Sequence[DatasetRow]:
        """Return the catalogue: names and columns, no row."""
        ...

    def receipt(self, receipt_id: str) -> ReceiptView:
        """Return a receipt as it stands."""
        ...

    async def wait_for_commit(self, receipt_id: str, timeout: float) -> ReceiptView:  # noqa: ASYNC109
        """Return the receipt once it is committed, or as it stands after `timeout` seconds. Runs on the event loop."""
        ...

    def commit_seq(self) -> int:
        """Return the newest commit_seq; readers see no row above it that they may miss one below."""
        ...

    def readiness(self) -> Readiness:
        """Tell whether the road does its work."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Return gauges for /metrics, name (snake_case, with unit) → value."""
        ...

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` from any thread on each announcement until the returned function is called."""
        ...


class Push(Protocol):
    """The way in by HTTP. It returns once the bytes are durable."""

    async def receive(self, feed: str, headers: Mapping[str, str], body: bytes, key: str) -> ReceiptView:
        """Spool one push. `headers` have lower-case names; `key` names the API key (its prefix), part of the identity.

        Raises NotFoundError, AdmissionError, UsageError (content type, encoding) or ConflictError (idempotency key used
        with another body).
        """
        ...


class Rows(Protocol):
    """The lake as the one door reads it; nobody else in the service may hold this object."""

    def select(self, sql: str, params: Mapping[str, Any] | None, *, timeout: float, heavy: bool = False) -> pa.Table:
        """Run one SELECT through the admission gate."""
        ...

    def commit_seq(self) -> int:
        """Return the newest commit_seq."""
        ...


class Replayer(Protocol):
    """Put a quarantine group's originals on the road again, as a job."""

    def replay(self, group: str, actor: Actor, *, reason: str, key: str) -> ReplayView:
        """Start (or find, by idempotency key) the job that replays a group; returns it as it stands."""
        ...
