"""The whole extension surface of a connector. One folder: `options.py`, `source.py`, `README.md` (generated).

A connector turns what a source sends into drafts of frames and hands them to the road. It never decodes, validates or
stores. It is registered under the entry-point group `weftline.connectors`; `weftline.testing.conformance` runs against
every registered connector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from weftline.batch import Draft
from weftline.clock import Clock
from weftline.errors import Complaint
from weftline.model.feed import ConnectionSpec, ConnectionState, FeedSpec
from weftline.model.position import LaneId, Position

__all__ = ["Capabilities", "ConnectionState", "Connector", "Draft", "Finding", "LaneId", "Replay", "Road", "Source"]


class Replay(StrEnum):
    """Say when the source may be acknowledged (DESIGN §3)."""

    SPOOL = "spool"  # the source cannot send again: acknowledge after the spool's fsync
    COMMIT = "commit"  # the source can be read again: acknowledge after the lake commit, skip the spool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """State the differences between connectors as data."""

    replay: Replay
    identity: str  # the record identity in words, as the manual prints it
    pushes: bool  # True: the source decides when; False: we ask
    holds_back: bool  # True: the source waits while the road is full; False: a full road can lose data at the source
    reconnects: bool


class Finding(NamedTuple):
    """One line of a probe: what was looked at, how it stands (`ok`, `warning`, `failed`, `unknown`) and what to do."""

    subject: str
    verdict: str
    detail: str
    next_step: str = ""


class Road(Protocol):
    """What a connector may ask of the road. Every method may be called from any thread."""

    clock: Clock

    def append(self, connection: str, drafts: Sequence[Draft]) -> Future[int]:
        """Spool drafts; the future ends with the first offset once all are fsynced. Only then acknowledge."""
        ...

    def lane(self, connection: str) -> LaneId:
        """Return the lane `append` writes this connection's frames to."""
        ...

    def seen(self, connection: str) -> Iterable[bytes]:
        """Return identities of this connection's frames of the last minutes, oldest first, to know duplicates again."""
        ...

    def submit(self, producer: str, drafts: Sequence[Draft], *, last: bool) -> Future[Position]:
        """Hand over drafts that skip the spool; the future ends after the lake commit. `last` closes the producer.

        Drafts of one producer are committed in the order given; once some fail, those given after them fail too.
        """
        ...

    def judge(self, drafts: Iterable[Draft]) -> str:
        """Judge a whole file's set rules before any of it is submitted; return why it is to be held, or nothing."""
        ...

    def position(self, producer: str) -> Position | None:
        """Return how far the lake holds this producer, or None; a restart continues from there."""
        ...

    def held(self) -> str:
        """Return why sources are held back now, or an empty string."""
        ...

    def report(self, connection: str, state: ConnectionState, feeds: Sequence[str] = ()) -> None:
        """Tell the feed pages how the connection (or only these feeds of it) stands."""
        ...


class Source(Protocol):
    """One open connection with its feeds. It reconnects by itself with jittered back-off until stopped."""

    async def run(self) -> None:
        """Work until stopped; returns then, and raises only what trying again cannot mend."""
        ...

    async def stop(self) -> None:
        """Stop promptly; what was not acknowledged is left to the source."""
        ...


class Connector(Protocol):
    """Describe one kind of connection and open it."""

    kind: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    options: ClassVar[type[msgspec.Struct]]  # keys of connections/*.yaml beside name and kind
    selector: ClassVar[type[msgspec.Struct]]  # keys of a feed's `select`

    def open(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> Source:
        """Make the source without connecting."""
        ...

    async def probe(self, connection: ConnectionSpec, feed: FeedSpec) -> Sequence[Finding]:
        """Connect without consuming and say what was found; never raises for what the system answers."""
        ...

    def check(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec]) -> Sequence[tuple[FeedSpec, Complaint]]:
        """Find what is wrong in the documents, offline."""
        ...
