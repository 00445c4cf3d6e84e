"""Stand between one MQTT session and a broker that takes no orders, and do on command what ours does by itself.

Bytes pass as they are. Packet boundaries are read to know what was delivered and acknowledged at QoS 1, and to withhold
a PUBACK and cut the connection, after which the broker must deliver that message again with DUP (MQTT 5.0 §4.4). Made
for conformance rounds of a few messages: neither side is held back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from weftline.protocols.mqtt.errors import MqttError
from weftline.protocols.mqtt.packets import MQTT_5, Acknowledgement, ConnAck, Connect, Publish, decode
from weftline.protocols.mqtt.properties import PacketType

__all__ = ["Delivery", "Link", "Relay"]

HOST = "127.0.0.1"
TURNS = 10
"""Turns of the event loop in which an end that lies in a socket is certainly read; it takes four."""


class Delivery(NamedTuple):
    """A message at QoS 1 that went to the session."""

    payload: bytes
    dup: bool


@dataclass(slots=True)
class Link:
    """What passed on one connection of the session."""

    session_present: bool
    delivered: list[Delivery] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    """Payloads whose PUBACK went to the broker, in order."""


class Relay:
    """Pass connections on to a broker on loopback; belongs to one event loop. Only one client identifier is watched."""

    def __init__(self, client_id: str, broker_port: int) -> None:
        self.client_id = client_id
        self.port = 0
        self.links: list[Link] = []
        """Every accepted connection of the session, oldest first."""
        self.repeats_due = 0
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._passages: dict[asyncio.Task[None], _Passage] = {}
        self._failures: list[MqttError] = []

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection; raises the first `MqttError` that the bytes of either side led to."""
        if self._server is not None:
            self._server.close()
        for passage in self._passages.values():
            passage.abort()
        await asyncio.gather(*self._passages)
        if self._failures:
            raise self._failures[0]

    async def settled(self) -> None:
        """Wait until the broker has seen the end of every connection that the client, or a kill, has ended by now."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        while ending := [task for task, passage in self._passages.items() if passage.ended]:
            await asyncio.wait(ending)

    def repeat_next(self) -> None:
        """Let the broker deliver the session's next new message twice: its first PUBACK is withheld by a cut."""
        self.repeats_due += 1

    def cut(self) -> None:
        """Break the session's connection; what passed before still reaches the broker."""
        for passage in self._passages.values():
            if passage.watched:
                passage.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            from_broker, to_broker = await asyncio.open_connection(HOST, self._broker_port)
        except OSError:
            writer.close()  # no broker: the client sees what it would see without a relay, an end
            return
        passage = self._passages[task] = _Passage(self, writer, to_broker)
        client_way = asyncio.create_task(_carry(reader, to_broker, passage.from_client))
        broker_way = asyncio.create_task(_carry(from_broker, writer, passage.from_broker))
        try:
            await asyncio.wait({client_way, broker_way}, return_when=asyncio.FIRST_COMPLETED)
            if not broker_way.done():
                passage.end_client()
                await asyncio.wait({broker_way})
        finally:
            passage.abort()
            ended = await asyncio.gather(client_way, broker_way, return_exceptions=True)
            self._failures += [error for error in ended if isinstance(error, MqttError)]
            del self._passages[task]


class _Passage:
    """One connection and the broker's side of it."""

    def __init__(self, relay: Relay, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.watched = False
        self.ended = False
        """The client is gone; what the broker still sends counts as sent."""
        self._relay = relay
        self._client = client
        self._broker = broker
        self._version = MQTT_5
        self._link = Link(session_present=False)
        self._open: dict[int, bytes] = {}
        self._withheld = 0

    def from_client(self, first: int, body: bytes) -> bool:
        """Return whether a packet may pass to the broker; a PUBACK to be withheld ends the connection instead."""
        match first >> 4:
            case PacketType.CONNECT:
                connect = decode(first, body)
                assert isinstance(connect, Connect)
                self._version, self.watched = connect.version, connect.client_id == self._relay.client_id
            case PacketType.PUBACK if self.watched:
                puback = decode(first, body, self._version)
                assert isinstance(puback, Acknowledgement)
                if puback.packet_id == self._withheld:
                    self.cut()
                    return False
                self._link.acknowledged.append(self._open.pop(puback.packet_id))
        return True

    def from_broker(self, first: int, body: bytes) -> bool:
        """Note a packet on its way to the client; all pass."""
        match first >> 4:
            case PacketType.CONNACK if self.watched:
                connack = decode(first, body, self._version)
                assert isinstance(connack, ConnAck)
                if not connack.reason:
                    self._link.session_present = connack.session_present
                    self._relay.links.append(self._link)
            case PacketType.PUBLISH if self.watched and first & 0x06:
                publish = decode(first, body, self._version)
                assert isinstance(publish, Publish)
                self._link.delivered.append(Delivery(publish.payload, publish.dup))
                self._open[publish.packet_id] = publish.payload
                if self._relay.repeats_due and not publish.dup and not self._withheld:
                    self._relay.repeats_due -= 1
                    self._withheld = publish.packet_id
        return True

    def cut(self) -> None:
        """Break the client's side; `end_client` follows."""
        self._client.transport.abort()

    def end_client(self) -> None:
        """Take note that the client ended, and let the broker find the end after what was passed on."""
        self.ended = True
        self._client.close()
        try:
            self._broker.write_eof()
        except OSError:
            self._broker.close()  # the broker ended at the same moment

    def abort(self) -> None:
        """End both sides."""
        self._client.close()
        self._broker.transport.abort()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, judge: Callable[[int, bytes], bool]
) -> None:
    """Carry whole packets until one side ends or a packet may not pass."""
    held = bytearray()
    while data := await _read(reader):
        held += data
        for packet, body in _whole_packets(held):
            if not judge(packet[0], packet[body:]):
                return
            if not writer.is_closing():
                writer.write(packet)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65_536)
    except ConnectionError:
        return b""  # a reset, as of a killed process, ends the connection like any other end


def _whole_packets(held: bytearray) -> Iterator[tuple[bytes, int]]:
    """Take complete packets off the front, each with the offset of its body (§2.1.4)."""
    while True:
        size, at = 0, 1
        while at < len(held):
            size |= (held[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if held[at - 1] < 0x80:
                break
        else:
            return
        if len(held) < at + size:
            return
        packet = bytes(held[: at + size])
        del held[: at + size]
        yield packet, at
