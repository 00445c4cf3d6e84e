"""The way in by HTTP as the API sees it: the push goes to the open connection of its feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weftline.batch import FrameFlag
from weftline.connectors.http.recent import KnownPush
from weftline.connectors.http.source import HttpConnector, HttpSource
from weftline.errors import AdmissionError, NotFoundError, UsageError, nearest
from weftline.ingest.road import Road
from weftline.model.position import LaneId
from weftline.service.sources import Sources
from weftline.service.views import ReceiptView
from weftline.store.lake import Lake

__all__ = ["Pushes", "known_pushes"]


class PushesClosedError(AdmissionError):
    """Say that the server is starting: nothing was kept."""

    code = "http-starting"


class Pushes:
    """Take pushes while the sources are open. Runs on the event loop."""

    def __init__(self, road: Road, sources: Sources) -> None:
        self._road = road
        self._sources = sources

    async def receive(self, feed: str, headers: Mapping[str, str], body: bytes, key: str) -> ReceiptView:
        """Spool one push and return its receipt."""
        book = self._road.book()
        spec = book.by_name.get(feed)
        if spec is None:
            raise NotFoundError(
                place="feeds", found=f"'{feed}'", expected="a feed in force", next_step=nearest(feed, book.by_name)
            )
        source = self._sources.source(spec.connection)
        if source is None and spec.kind == HttpConnector.kind:
            raise PushesClosedError(
                place=f"feed {feed}",
                found="a connection that is not open yet",
                expected="an open one",
                next_step="Send it again in a moment, with the same Idempotency-Key.",
            )
        if not isinstance(source, HttpSource):
            raise UsageError(
                place=f"feed {feed}",
                found=f"a push to a feed of a connection of kind '{spec.kind}'",
                expected="a feed whose connection takes pushes (kind http)",
            )
        receipt = await source.receive(feed, headers, body, key_id=key)
        return ReceiptView(
            id=receipt.id, feed=feed, state="durable", received=receipt.received, repeated=receipt.repeated
        )


def known_pushes(road: Road, lake: Lake, connection: str, since: int) -> Iterable[KnownPush]:
    """Return pushes since a time (microseconds UTC) from the lane's frames and the lake's receipts.

    Where the lane's newest frame is older than now, because the server was away or the clock jumped ahead, the time in
    between does not count: a push must not be taken twice because nobody was there to see the hours pass.
    """
    lane = road.lane(connection)
    frames = road.frames_seen(connection, since)
    now = road.clock.now()
    away = max(now - max((frame.received for frame in frames), default=now), 0)
    for frame in frames:
        # A repeat leads to the receipt of the first push, which has its own frame or receipt.
        if frame.received > since - away and not frame.flags & FrameFlag.DUPLICATE:
            yield KnownPush(frame.feed, frame.identity, frame.received + away, lane, frame.offset)
    table = lake.scan(
        "SELECT feed, identity, epoch_us(received) AS received, producer, epoch, frame FROM weftline.receipt "
        "WHERE epoch_us(received) > $since ORDER BY received",
        {"since": since - away},
    )
    for row in table.to_pylist():
        name = str(row["producer"]).removeprefix("lane:")
        yield KnownPush(row["feed"], row["identity"], row["received"] + away, LaneId(name, row["epoch"]), row["frame"])
