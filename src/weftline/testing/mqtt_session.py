"""Keep what an MQTT broker knows about a client between its connections.

A session holds subscriptions, messages in flight and messages that wait. It decides identifiers, flow control, limits
and redelivery; `mqtt_broker` moves the bytes. What is dropped is counted, never forgotten.

Sources: MQTT 5.0 §4.1 (session state), §4.4 (redelivery with DUP), §4.6 (order), §4.9 (receive maximum),
§3.3.2.3.3 (message expiry).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from weftline.protocols.mqtt.packets import MQTT_5, Subscription, encode_publish
from weftline.protocols.mqtt.properties import NO_PROPERTIES, PacketType, Properties, encode_properties
from weftline.protocols.mqtt.wire import encode_binary

NEVER_EXPIRES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What one broker grants each session; None is no limit."""

    inflight: int = 65_535
    """Messages at QoS 1 sent and not acknowledged (mosquitto: max_inflight_messages)."""
    queued: int | None = None
    """Messages at QoS 1 that wait (mosquitto: max_queued_messages); more are dropped and counted."""
    packet_bytes: int = 268_435_460
    """Largest packet accepted."""
    retained: int = 100_000
    """Retained messages held; more are refused."""


class Outgoing(NamedTuple):
    """A message on its way to one subscriber."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: Properties
    expires: float | None
    """On the monotonic clock, seconds."""


@dataclass(slots=True)
class Counters:
    """What a broker counts since it started."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    redelivered: int = 0
    bytes_received: int = 0


class Session:
    """The state of one client identifier."""

    def __init__(self, client_id: str, limits: BrokerLimits, counters: Counters) -> None:
        self.client_id = client_id
        self.version = MQTT_5
        self.expiry_seconds: int = 0
        self.subscriptions: dict[str, tuple[Subscription, int | None]] = {}
        """Per filter its options and its subscription identifier."""
        self.write: Callable[[bytes], None] | None = None
        """Takes encoded packets while the client is connected."""
        self.largest_packet = 268_435_460
        self.stalled = False
        self._limits = limits
        self._counters = counters
        self._receive_maximum = limits.inflight
        self._inflight: dict[int, Outgoing] = {}
        self._queue: deque[Outgoing] = deque()
        self._next_id = 0

    @property
    def inflight(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._inflight)

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self._queue)

    def attach(self, write: Callable[[bytes], None], version: int, receive_maximum: int, largest_packet: int) -> None:
        """Begin a connection; call `resume` after the CONNACK was written."""
        self.write = write
        self.version = version
        self.largest_packet = largest_packet
        self._receive_maximum = min(receive_maximum, self._limits.inflight)

    def detach(self) -> None:
        """End the connection; what is in flight waits for `resume`."""
        self.write = None

    def resume(self) -> None:
        """Send again, with DUP and in the order first sent, what has no PUBACK; then what waits (§4.4)."""
        for packet_id, message in self._inflight.items():
            self._counters.redelivered += 1
            self._send(message, packet_id, dup=True)
        self.pump()

    def deliver(self, message: Outgoing) -> None:
        """Send a message now, or keep it as its QoS and the limits say."""
        if message.qos == 0:
            if self.write is None:
                return
            if self.stalled:
                self._enqueue(message)
            else:
                self._send(message, 0, dup=False)
            return
        if self.write is None or self.stalled or self._queue or len(self._inflight) >= self._receive_maximum:
            self._enqueue(message)
            return
        self._launch(message)

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False if nothing was in flight under `packet_id`."""
        known = self._inflight.pop(packet_id, None) is not None
        if self._queue:
            self.pump()
        return known

    def pump(self) -> None:
        """Send what waits, as far as flow control lets it."""
        while self._queue and self.write is not None and not self.stalled:
            if self._queue[0].qos and len(self._inflight) >= self._receive_maximum:
                return
            message = self._queue.popleft()
            if message.qos:
                self._launch(message)
            else:
                self._send(message, 0, dup=False)

    def send_again(self, count: int = 1) -> None:
        """Send the newest `count` messages in flight once more with DUP (a fault, not the standard)."""
        for packet_id in list(self._inflight)[-count:]:
            self._send(self._inflight[packet_id], packet_id, dup=True)

    def _enqueue(self, message: Outgoing) -> None:
        if self._limits.queued is not None and len(self._queue) >= self._limits.queued:
            self._counters.dropped += 1
        else:
            self._queue.append(message)

    def _launch(self, message: Outgoing) -> None:
        packet_id = self._next_id
        while True:
            packet_id = packet_id % 65_535 + 1
            if packet_id not in self._inflight:
                break
        self._next_id = packet_id
        if self._send(message, packet_id, dup=False):
            self._inflight[packet_id] = message

    def _send(self, message: Outgoing, packet_id: int, *, dup: bool) -> bool:
        properties = b""
        if self.version >= MQTT_5:
            properties = b"\0"
            if message.properties is not NO_PROPERTIES:
                current = message.properties
                if message.expires is not None:
                    left = message.expires - time.monotonic()
                    if left <= 0 and not dup:
                        self._counters.dropped += 1
                        return False
                    current = replace(current, message_expiry_interval=max(0, round(left)))
                properties = encode_properties(current, PacketType.PUBLISH)
        first = 0x30 | dup << 3 | message.qos << 1 | message.retain
        data = encode_publish(first, encode_binary(message.topic, "topic"), packet_id, properties, message.payload)
        if len(data) > self.largest_packet:
            # §3.1.2.11.4: not sent, and treated as if it had been.
            self._counters.dropped += 1
            return False
        if self.write is not None:
            self._counters.sent += 1
            self.write(data)
        return True
