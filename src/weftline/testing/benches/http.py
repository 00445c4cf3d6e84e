"""The bench of the http connector: a listener as small as can be in front of it, and a pusher."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from weftline.batch import Frame
from weftline.codecs.json_codec import NdjsonCodec
from weftline.connectors.base import Road, Source
from weftline.connectors.http.options import HttpOptions, HttpSelector
from weftline.connectors.http.recent import KnownPush
from weftline.connectors.http.source import HttpSource
from weftline.errors import WeftlineError
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.testing.dropper import ndjson
from weftline.testing.pusher import Pusher
from weftline.testing.road_double import RoadDouble

__all__ = ["Bench", "Listener", "known_pushes"]


def known_pushes(road: RoadDouble, connection: str, since: int) -> Iterator[KnownPush]:
    """Give the pushes a road double holds, as the wiring gives them from the lane."""
    lane = road.lane(connection)
    for frame in road.appended():
        if frame.received >= since and not frame.flags:
            yield KnownPush(frame.feed, frame.identity, frame.received, lane, frame.offset)


class Listener:
    """Answer POST /api/v1/feeds/{feed}/records from a source, with no other part of the product."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._source: HttpSource | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, source: HttpSource) -> None:
        """Listen for this source."""
        self._source = source
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, reuse_address=True)

    async def close(self) -> None:
        """Listen no more and drop what is open."""
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if ": " in line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        feed = request.split()[1].split("/")[4]
        assert self._source is not None
        try:
            receipt = await self._source.receive(feed, headers, body, key_id="bench")
            status, said = 202, {"id": receipt.id, "repeated": receipt.repeated}
        except WeftlineError as error:
            status, said = error.status, {"code": error.code, "detail": str(error)}
        content = json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()


class Bench:
    """Push numbers as NDJSON bodies, each with an Idempotency-Key, until answered."""

    kind: ClassVar[str] = "http"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._acknowledged: set[int] = set()
        self._pushes: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None

    @property
    def _port(self) -> int:
        return int((self._folder / "port").read_text())

    def connection(self) -> ConnectionSpec:
        """Return the connection that takes pushes."""
        return ConnectionSpec("bench", "http", HttpOptions(), str(self._folder))

    def feeds(self) -> Sequence[FeedSpec]:
        """Return two feeds."""
        return [
            FeedSpec(
                name=name,
                connection="bench",
                kind="http",
                selector=HttpSelector(),
                codec="ndjson",
                codec_options=NdjsonCodec.options(),
                contract="bench",
                version="1.0.0",
                id=number,
            )
            for number, name in enumerate(("one", "other"), 1)
        ]

    async def start(self) -> None:
        """Choose a port, for this process and its children."""
        self._folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            (self._folder / "port").write_text(str(free.getsockname()[1]))

    async def attach(self, source: Source, road: Road) -> None:
        """Listen for the source, and let it remember what the road holds."""
        assert isinstance(source, HttpSource)
        assert isinstance(road, RoadDouble)
        source.remember(lambda since: known_pushes(road, "bench", since))
        self._listener = Listener(self._port)
        await self._listener.open(source)

    async def detach(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    async def send(self, feed: str, numbers: Sequence[int]) -> None:
        """Push in the background until there is an answer."""
        task = asyncio.create_task(self._push(feed, list(numbers)))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)

    async def _push(self, feed: str, numbers: Sequence[int]) -> None:
        answer = await Pusher(self._port).push(feed, f"{feed}-{numbers[0]}", ndjson(numbers))
        if answer.status == 202:
            self._acknowledged.update(numbers)

    async def send_again(self, feed: str, numbers: Sequence[int]) -> None:
        """Push again under the same key and wait for the answer."""
        answer = await Pusher(self._port).push(feed, f"{feed}-{numbers[0]}", ndjson(numbers))
        assert answer.json()["repeated"], "the repeat was not recognised"

    async def poison(self, feed: str) -> None:
        """Push a body whose encoding is broken."""
        answer = await Pusher(self._port).push(feed, "poison", b"no gzip", {"Content-Encoding": "gzip"})
        assert answer.status == 400

    async def cut(self) -> None:
        """Nothing to cut: the source comes to us."""

    async def mend(self) -> None:
        """Nothing to mend."""

    def acknowledged(self) -> set[int]:
        """Return the numbers that were answered with 202."""
        return self._acknowledged

    def numbers(self, frame: Frame) -> list[int]:
        """Return the numbers of a body."""
        return [json.loads(line)["n"] for line in frame.payload.splitlines()]

    async def close(self) -> None:
        """Give up what was never answered."""
        for task in list(self._pushes):
            task.cancel()
        await asyncio.gather(*self._pushes, return_exceptions=True)
