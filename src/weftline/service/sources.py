"""The open connections of a running fabric: each source in its own task, restarted when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from weftline.connectors.base import Road, Source
from weftline.connectors.registry import connector
from weftline.errors import WeftlineError
from weftline.model.feed import ConnectionSpec, ConnectionState, FeedSpec

__all__ = ["Sources"]

log = structlog.get_logger()
AGAIN_SECONDS = 5.0


class Sources:
    """Run every connection on the event loop. A source that raises is reported and opened again after a pause."""

    def __init__(
        self,
        road: Road,
        connections: Sequence[ConnectionSpec],
        feeds: Sequence[FeedSpec],
        opened: Callable[[str, Source], None] = lambda _name, _source: None,
    ) -> None:
        """`opened` sees each source before it runs (to rebuild what it received before a restart)."""
        self._opened = opened
        self._road = road
        self._connections = connections
        self._feeds: dict[str, list[FeedSpec]] = {}
        for feed in feeds:
            self._feeds.setdefault(feed.connection, []).append(feed)
        self._open: dict[str, Source] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    def start(self) -> None:
        """Open every connection that has feeds."""
        for spec in self._connections:
            if self._feeds.get(spec.name):
                self._tasks.append(asyncio.create_task(self._keep(spec), name=f"source {spec.name}"))

    def source(self, connection: str) -> Source | None:
        """Return the open source of a connection, or None."""
        return self._open.get(connection)

    async def stop(self) -> None:
        """Stop every source; each has ten seconds to end by itself."""
        self._stopped.set()
        await asyncio.gather(*(source.stop() for source in self._open.values()), return_exceptions=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=10.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _keep(self, spec: ConnectionSpec) -> None:
        while not self._stopped.is_set():
            try:
                source = connector(spec.kind).open(spec, self._feeds[spec.name], self._road)
                await asyncio.to_thread(self._opened, spec.name, source)
                self._open[spec.name] = source
                await source.run()
                return
            except Exception as error:  # noqa: BLE001 - one broken connection must not end the others
                sentence = error.complaint.sentence() if isinstance(error, WeftlineError) else repr(error)
                log.error("source ended", connection=spec.name, error=sentence)
                again = self._road.clock.now() + int(AGAIN_SECONDS * 1_000_000)
                self._road.report(spec.name, ConnectionState("lost", sentence, next_try=again))
                stopped = asyncio.create_task(self._stopped.wait())
                await asyncio.wait({stopped}, timeout=AGAIN_SECONDS)
                stopped.cancel()
