"""The bench of the MQTT connector: our own broker in its process, a publisher, and the session kept ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from weftline.batch import Frame
from weftline.codecs.json_codec import JsonCodec
from weftline.connectors.base import Road, Source
from weftline.connectors.mqtt.options import MqttOptions, MqttSelector
from weftline.connectors.mqtt.source import client_options
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.protocols.mqtt.client import ClientOptions, MqttClient
from weftline.protocols.mqtt.packets import Subscription
from weftline.testing.mqtt_process import BrokerProcess

__all__ = ["Bench"]

SESSION = "weftline-bench"


class Bench:
    """Publish arrays of numbers at QoS 1. The broker repeats with DUP what `send_again` asks for."""

    kind: ClassVar[str] = "mqtt"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = BrokerProcess(sys_seconds=60.0)
        self._publisher: MqttClient | None = None
        self._published: set[int] = set()
        self._safe: set[int] = set()

    @property
    def _port(self) -> int:
        return int((self._folder / "port").read_text())

    def connection(self) -> ConnectionSpec:
        """Return the session with the broker."""
        options = MqttOptions(host="127.0.0.1", port=self._port, client_id=SESSION, watch_drops=False)
        return ConnectionSpec("bench", "mqtt", options, str(self._folder))

    def feeds(self) -> Sequence[FeedSpec]:
        """Return two feeds of one topic each."""
        return [
            FeedSpec(
                name=name,
                connection="bench",
                kind="mqtt",
                selector=MqttSelector(topic=f"bench/{name}"),
                codec="json",
                codec_options=JsonCodec.options(),
                contract="bench",
                version="1.0.0",
                id=number,
            )
            for number, name in enumerate(("one", "other"), 1)
        ]

    async def start(self) -> None:
        """Start the broker, and the session once, so that it keeps what is published from now on."""
        self._folder.mkdir(parents=True)
        await asyncio.to_thread(self._broker.start)
        (self._folder / "port").write_text(str(self._broker.port))
        session = MqttClient(client_options(self.connection()), lambda _messages: None)
        await session.connect()
        await session.subscribe([Subscription(f"bench/{feed.name}", 1) for feed in self.feeds()])
        await session.stop()
        self._publisher = MqttClient(ClientOptions("127.0.0.1", self._port, "bench-publisher"), lambda _messages: None)
        await self._publisher.connect()

    async def attach(self, source: Source, road: Road) -> None:
        """Need nothing."""

    async def detach(self) -> None:
        """Need nothing."""

    async def send(self, feed: str, numbers: Sequence[int]) -> None:
        """Publish one message."""
        assert self._publisher is not None
        await self._publisher.publish(f"bench/{feed}", json.dumps(list(numbers)).encode(), qos=1)
        self._published.update(numbers)

    async def send_again(self, feed: str, numbers: Sequence[int]) -> None:  # noqa: ARG002
        """Let the broker deliver what follows twice: after its acknowledgement a message is never repeated."""
        self._broker.command("duplicate", client=SESSION, rate=1.0)

    async def poison(self, feed: str) -> None:
        """Publish bytes that are no JSON."""
        assert self._publisher is not None
        await self._publisher.publish(f"bench/{feed}", b"\xff\xfe\x00", qos=1)

    async def cut(self) -> None:
        """Break the session's connection."""
        self._broker.command("cut", client=SESSION)

    async def mend(self) -> None:
        """Nothing to mend: the broker is there."""

    def acknowledged(self) -> set[int]:
        """Return what was published when the broker last had nothing open for the session."""
        counters = self._broker.command("counters")
        if counters["inflight"] + counters["queued"] == 0:
            self._safe = set(self._published)
        return self._safe

    def numbers(self, frame: Frame) -> list[int]:
        """Return the numbers of a message; poison has none."""
        try:
            numbers: list[int] = json.loads(frame.payload)
        except ValueError:
            return []
        return numbers

    async def close(self) -> None:
        """End publisher and broker."""
        if self._publisher is not None:
            await self._publisher.stop()
        await asyncio.to_thread(self._broker.stop)
