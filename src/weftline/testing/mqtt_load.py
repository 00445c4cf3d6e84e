"""Publish a bounded load of MQTT messages from a process of its own.

    python -m weftline.testing.mqtt_load --port 1883 --messages 100000 --rate 20000 --qos 1 --connections 4

Packets are built before the clock starts, except for the eight hex digits of the sequence number that replace eight
``@`` in the payload; every connection writes slices of 5 ms. One JSON line with the figures goes to standard output.
Source: MQTT 3.1.1 §3.3 and §3.4.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from weftline.protocols.mqtt.errors import ConnectionLostError
from weftline.protocols.mqtt.packets import MQTT_3_1_1, ConnAck, Connect, decode, encode, encode_publish
from weftline.protocols.mqtt.stream import Frame, PacketStream
from weftline.protocols.mqtt.topics import check_topic
from weftline.protocols.mqtt.wire import encode_text

_SLICE_SECONDS = 0.005
_SEQUENCE = b"@@@@@@@@"
DEFAULT_PAYLOAD = '{"value": 21.5, "sequence": "@@@@@@@@"}'


@dataclass(frozen=True, slots=True)
class Load:
    """What to publish."""

    host: str = "127.0.0.1"
    port: int = 1883
    messages: int = 10_000
    rate: float = 0.0
    """Messages a second over all connections; 0 is as fast as it goes."""
    qos: int = 0
    connections: int = 1
    topic: str = "load/{n}"
    """``{n}`` becomes 0 to `topics` - 1 in turn."""
    topics: int = 100
    payload: str = DEFAULT_PAYLOAD
    window: int = 1000
    """Messages at QoS 1 a connection leaves unacknowledged."""
    timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What happened."""

    sent: int
    acknowledged: int
    seconds: float
    """At QoS 1 until the last PUBACK; at QoS 0 until the sockets took the bytes, whatever the broker does."""
    messages_per_second: float


class _Publisher(asyncio.Protocol):
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.acknowledged = 0
        self.progress = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = False
        self._stream = PacketStream(MQTT_3_1_1)

    def data_received(self, data: bytes) -> None:
        for segment in self._stream.feed(data):
            if not isinstance(segment, Frame):
                continue
            if segment.first == 0x40:
                self.acknowledged += 1
            elif segment.first == 0x20:
                packet = decode(segment.first, segment.body, MQTT_3_1_1)
                if isinstance(packet, ConnAck) and packet.reason == 0:
                    self.opened.set_result(None)
                else:
                    self.opened.set_exception(_lost(f"refused with {packet}"))
        self.progress.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.progress.set()
        self.writable.set()
        if not self.opened.done():
            self.opened.set_exception(_lost(str(exc)))

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


def _lost(found: str) -> ConnectionLostError:
    return ConnectionLostError(
        place="mqtt_load", found=found, expected="an open connection", next_step="look at the broker"
    )


async def publish_load(load: Load) -> LoadResult:
    """Publish `load` from this event loop; raises `ConnectionLostError` or `TimeoutError` rather than stop early."""
    loop = asyncio.get_running_loop()
    shares = [
        load.messages // load.connections + (at < load.messages % load.connections) for at in range(load.connections)
    ]
    async with asyncio.timeout(load.timeout_seconds):
        links: list[tuple[asyncio.Transport, _Publisher]] = []
        for at in range(load.connections):
            transport, publisher = await loop.create_connection(_Publisher, load.host, load.port)
            transport.write(encode(Connect(f"load-{at}-{time.time_ns()}", MQTT_3_1_1)))
            await publisher.opened
            links.append((transport, publisher))
        templates = _templates(load)
        began = loop.time()
        starts = [sum(shares[:at]) for at in range(load.connections)]
        await asyncio.gather(
            *(
                _publish_share(load, templates, link, start, share)
                for link, start, share in zip(links, starts, shares, strict=True)
            )
        )
        seconds = loop.time() - began
        for transport, _ in links:
            transport.write(b"\xe0\x00")
            transport.close()
    acknowledged = sum(publisher.acknowledged for _, publisher in links)
    return LoadResult(load.messages, acknowledged, round(seconds, 4), round(load.messages / max(seconds, 1e-9), 1))


def _templates(load: Load) -> list[tuple[bytes, bytes]]:
    # Each packet is cut where its identifier (QoS 1) goes: before it, and after it.
    first = 0x32 if load.qos else 0x30
    found: list[tuple[bytes, bytes]] = []
    for n in range(load.topics):
        topic = encode_text(check_topic(load.topic.replace("{n}", str(n))), "topic")
        payload = load.payload.encode()
        packet = encode_publish(first, topic, 1, b"", payload)
        cut = len(packet) - len(payload)
        found.append((packet[: cut - 2] if load.qos else packet[:cut], payload))
    return found


async def _publish_share(
    load: Load, templates: list[tuple[bytes, bytes]], link: tuple[asyncio.Transport, _Publisher], start: int, share: int
) -> None:
    transport, publisher = link
    loop = asyncio.get_running_loop()
    rate = load.rate / load.connections
    began, sent = loop.time(), 0
    numbered = _SEQUENCE in templates[0][1]
    while sent < share:
        due = share if not rate else min(share, int((loop.time() - began) * rate) + 1)
        room = min(due - sent, 500, load.window - (sent - publisher.acknowledged) if load.qos else 500)
        if room <= 0:
            if due > sent:
                publisher.progress.clear()
                await publisher.progress.wait()
            else:
                await asyncio.sleep(_SLICE_SECONDS)
        parts: list[bytes] = []
        for at in range(sent, sent + max(room, 0)):
            head, payload = templates[(start + at) % len(templates)]
            parts.append(head)
            if load.qos:
                parts.append((at % 65_535 + 1).to_bytes(2, "big"))
            parts.append(payload.replace(_SEQUENCE, b"%08x" % (start + at)) if numbered else payload)
        if parts:
            transport.write(b"".join(parts))
            sent += room
            await publisher.writable.wait()
            await asyncio.sleep(0)
        if publisher.lost:
            raise _lost(f"the connection ended after {sent} messages")
    while load.qos and publisher.acknowledged < share:
        publisher.progress.clear()
        await publisher.progress.wait()
        if publisher.lost:
            raise _lost(f"the connection ended with {publisher.acknowledged} of {share} acknowledged")


def start_load(load: Load) -> subprocess.Popen[str]:
    """Start `load` in a child process; its standard output will hold one JSON line (`read_load`)."""
    arguments = [sys.executable, "-m", "weftline.testing.mqtt_load"]
    for name, value in asdict(load).items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def read_load(process: subprocess.Popen[str], timeout_seconds: float = 120.0) -> LoadResult:
    """Wait for the child and return its figures; raises `ConnectionLostError` if it failed."""
    out, _ = process.communicate(timeout=timeout_seconds)
    if process.returncode:
        raise _lost(f"exit status {process.returncode}")
    return LoadResult(**json.loads(out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m weftline.testing.mqtt_load", description=__doc__)
    for name, default in asdict(Load()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    result = asyncio.run(publish_load(Load(**vars(parser.parse_args(arguments)))))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
