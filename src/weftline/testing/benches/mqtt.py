"""The benches of the MQTT connector: a broker in its process, a publisher, and the session kept ready.

`Bench` drives our own broker through its control channel. Its variants put a relay between the session and a broker,
ours or mosquitto, so that both can be made to repeat and to lose connections in the same way and be compared.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from weftline.batch import Frame
from weftline.codecs.json_codec import JsonCodec
from weftline.connectors.base import Road, Source
from weftline.connectors.mqtt.options import MqttOptions, MqttSelector
from weftline.connectors.mqtt.source import client_options
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.protocols.mqtt.client import ClientOptions, MqttClient
from weftline.protocols.mqtt.packets import Subscription
from weftline.testing.mosquitto import Mosquitto
from weftline.testing.mqtt_process import BrokerProcess
from weftline.testing.mqtt_relay import Relay

__all__ = ["BENCHES", "Bench", "MosquittoBench", "RelayedBench"]

HOST = "127.0.0.1"
SESSION = "weftline-bench"


class Bench:
    """Publish arrays of numbers at QoS 1. The broker repeats with DUP what `send_again` asks for."""

    kind: ClassVar[str] = "mqtt"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = self._make_broker()
        self._publisher: MqttClient | None = None
        self._published: set[int] = set()
        self._safe: set[int] = set()

    def _make_broker(self) -> BrokerProcess | Mosquitto:
        return BrokerProcess(sys_seconds=60.0)

    def _command(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert isinstance(self._broker, BrokerProcess)
        return self._broker.command(do, **arguments)

    @property
    def _port(self) -> int:
        return int((self._folder / "port").read_text())

    def connection(self) -> ConnectionSpec:
        """Return the session with the broker."""
        options = MqttOptions(host=HOST, port=self._port, client_id=SESSION, watch_drops=False)
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
        (self._folder / "port").write_text(str(await self._way_in()))
        session = MqttClient(client_options(self.connection()), lambda _messages: None)
        await session.connect()
        await session.subscribe([Subscription(f"bench/{feed.name}", 1) for feed in self.feeds()])
        await session.stop()
        self._publisher = MqttClient(ClientOptions(HOST, self._broker.port, "bench-publisher"), lambda _messages: None)
        await self._publisher.connect()

    async def _way_in(self) -> int:
        """Return the port that the session connects to."""
        return self._broker.port

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
        self._command("duplicate", client=SESSION, rate=1.0)

    async def poison(self, feed: str) -> None:
        """Publish bytes that are no JSON."""
        assert self._publisher is not None
        await self._publisher.publish(f"bench/{feed}", b"\xff\xfe\x00", qos=1)

    async def cut(self) -> None:
        """Break the session's connection."""
        self._command("cut", client=SESSION)

    async def mend(self) -> None:
        """Nothing to mend: the broker is there."""

    def acknowledged(self) -> set[int]:
        """Return what was published when the broker last had nothing open for the session."""
        counters = self._command("counters")
        if counters["inflight"] + counters["queued"] == 0:
            self._safe = set(self._published)
        return self._safe

    def numbers(self, frame: Frame) -> list[int]:
        """Return the numbers of a message; poison has none."""
        return _numbers(frame.payload)

    async def close(self) -> None:
        """End publisher and broker."""
        if self._publisher is not None:
            await self._publisher.stop()
        await asyncio.to_thread(self._broker.stop)


class RelayedBench(Bench):
    """The same over a relay, which cuts, lets the broker repeat, and sees every PUBLISH and PUBACK of the session."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._relay: Relay | None = None

    @property
    def relay(self) -> Relay:
        """The relay of a started bench."""
        assert self._relay is not None
        return self._relay

    async def _way_in(self) -> int:
        self._relay = Relay(SESSION, self._broker.port)
        await self._relay.start()
        return self._relay.port

    async def send(self, feed: str, numbers: Sequence[int]) -> None:
        """Publish once the broker knows which connections are gone, so that no delivery depends on a race."""
        async with asyncio.timeout(5):
            await self.relay.settled()
        await super().send(feed, numbers)

    async def send_again(self, feed: str, numbers: Sequence[int]) -> None:  # noqa: ARG002
        """Let the broker deliver what follows twice, on two connections."""
        self.relay.repeat_next()

    async def cut(self) -> None:
        """Break the session's connection."""
        self.relay.cut()

    def acknowledged(self) -> set[int]:
        """Return what is in messages whose PUBACK went to the broker."""
        return {number for link in self.relay.links for payload in link.acknowledged for number in _numbers(payload)}

    def wire(self) -> list[tuple[bool, list[tuple[list[int], bool]], list[list[int]]]]:
        """Return per connection: session present, deliveries with their DUP, and what was acknowledged, in order."""
        return [
            (
                link.session_present,
                [(_numbers(payload), dup) for payload, dup in link.delivered],
                [_numbers(payload) for payload in link.acknowledged],
            )
            for link in self.relay.links
        ]

    async def close(self) -> None:
        """End publisher, relay and broker."""
        try:
            if self._relay is not None:
                await self._relay.stop()
        finally:
            await super().close()


class MosquittoBench(RelayedBench):
    """The relayed bench in front of a real mosquitto; raises `MosquittoMissingError` where there is none."""

    def _make_broker(self) -> BrokerProcess | Mosquitto:
        return Mosquitto()


def _numbers(payload: bytes) -> list[int]:
    try:
        numbers: list[int] = json.loads(payload)
    except ValueError:
        return []
    return numbers


BENCHES: dict[str, type[Bench]] = {"": Bench, "relayed": RelayedBench, "mosquitto": MosquittoBench}
