"""The receiving end of HTTP push. The server's own API is the listener; this holds what pushes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from weftline.connectors.base import Capabilities, Connector, Finding, Replay, Road, Source
from weftline.connectors.http.content import CONTENT_TYPES, accepted_types
from weftline.connectors.http.options import HttpOptions, HttpSelector
from weftline.connectors.http.receive import Receipt, RoadHeldError, receive
from weftline.connectors.http.recent import KnownPush, RecentPushes
from weftline.errors import Complaint, NotFoundError, nearest
from weftline.model.feed import ConnectionSpec, ConnectionState, FeedSpec

__all__ = ["HttpConnector", "HttpSource"]

HOLD_LOOK_SECONDS = 1.0


class PushFeedError(NotFoundError):
    """Say that no feed of this name takes pushes."""

    code = "http-feed"


class HttpConnector(Connector):
    """Take pushes over HTTP."""

    kind: ClassVar[str] = "http"
    summary: ClassVar[str] = "HTTP push: JSON, NDJSON, CSV and Arrow IPC with an API key, answered once durable."
    capabilities: ClassVar[Capabilities] = Capabilities(
        replay=Replay.SPOOL,
        identity="API key, Idempotency-Key and SHA-256 of the body",
        pushes=True,
        holds_back=True,
        reconnects=False,
    )
    options: ClassVar[type[HttpOptions]] = HttpOptions
    selector: ClassVar[type[HttpSelector]] = HttpSelector

    def open(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> Source:
        """Return the receiving end; pushes are taken while it runs."""
        return HttpSource(connection, feeds, road)

    async def probe(self, connection: ConnectionSpec, feed: FeedSpec) -> Sequence[Finding]:
        """Say what a sender must know; there is nothing to connect to."""
        options: HttpOptions = connection.options
        types = accepted_types(feed)
        return [
            Finding("address", "ok", f"POST /api/v1/feeds/{feed.name}/records with a Bearer key"),
            Finding(
                "content types",
                "ok" if types else "failed",
                ", ".join(types) or f"codec '{feed.codec}' cannot be pushed",
                "" if types else f"Use one of the codecs {', '.join(CONTENT_TYPES)}.",
            ),
            Finding("largest body", "ok", f"{options.max_body_bytes:,} bytes, {options.max_expanded_bytes:,} expanded"),
            Finding("sender", "unknown", "whether anybody sends is seen when the first push arrives"),
        ]

    def check(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec]) -> Sequence[tuple[FeedSpec, Complaint]]:  # noqa: ARG002
        """Refuse feeds whose codec has no content type."""
        return [
            (
                feed,
                Complaint(
                    "http-codec",
                    f"feed {feed.name}",
                    f"the codec '{feed.codec}'",
                    f"one that can be pushed ({', '.join(CONTENT_TYPES)}) or `contentTypes` in `select`",
                ),
            )
            for feed in feeds
            if not accepted_types(feed)
        ]


class HttpSource(Source):
    """Receive pushes for the feeds of one connection."""

    def __init__(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> None:
        self._name, self._road = connection.name, road
        self._options: HttpOptions = connection.options
        self._feeds = {feed.name: feed for feed in feeds}
        self._recent = RecentPushes(
            most=self._options.idempotency_keys, microseconds=int(self._options.idempotency_hours * 3_600_000_000)
        )
        self._stopped = asyncio.Event()
        self._open = False
        self._state = ""

    def remember(self, known: Callable[[int], Iterable[KnownPush]]) -> None:
        """Rebuild what was received lately before the first push.

        `known` gives pushes since a time (microseconds UTC) from the lane's identities and the lake's receipts.
        """
        now = self._recent.moment(self._road.clock)
        self._recent.rebuild(known(now - int(self._options.idempotency_hours * 3_600_000_000)), now)

    async def run(self) -> None:
        """Take pushes until stopped, and tell how the road stands."""
        self._open = True
        try:
            while not self._stopped.is_set():
                held = self._road.held()
                self._tell("held" if held else "connected", held or f"{len(self._feeds)} feeds take pushes")
                await self._pause()
        finally:
            self._open = False
            self._tell("stopped", "")

    async def stop(self) -> None:
        """Take no more pushes; those on their way are answered."""
        self._open = False
        self._stopped.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(HOLD_LOOK_SECONDS):
                await self._stopped.wait()
        except TimeoutError:
            return

    async def receive(self, feed: str, headers: Mapping[str, str], body: bytes, *, key_id: str) -> Receipt:
        """Take one push to a feed by its name; see `receive`."""
        found = self._feeds.get(feed)
        if found is None:
            raise PushFeedError(
                place=f"connection {self._name}",
                found=f"a push to '{feed}'",
                expected="a feed that takes pushes",
                next_step=_sentence(nearest(feed, self._feeds)),
            )
        if not self._open:
            raise RoadHeldError(place=f"feed {feed}", found="a server that is stopping", expected="a running one")
        return await receive(
            found,
            {name.lower(): value for name, value in headers.items()},
            body,
            key_id=key_id,
            road=self._road,
            recent=self._recent,
            options=self._options,
        )

    def _tell(self, state: str, detail: str) -> None:
        if f"{state} {detail}" != self._state:
            self._state = f"{state} {detail}"
            self._road.report(self._name, ConnectionState(state, detail, self._road.clock.now()))


def _sentence(hint: str) -> str:
    return hint[:1].upper() + hint[1:]
