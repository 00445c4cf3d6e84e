"""Cut a byte stream into MQTT packets, messages in bulk.

One call per chunk from the socket returns *segments* in the order of arrival: a list of messages for each run of
PUBLISH packets, a `Frame` for each other packet. A message costs about one microsecond, since nothing but the
checks the standard demands is done for it and topics seen before are not checked again.

Sources: MQTT 5.0 §2.1 (fixed header), §3.3 (PUBLISH), §3.3.2.3.4 (topic alias); MQTT 3.1.1 §3.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from weftline.protocols.mqtt.errors import MqttError, PacketTooLargeError, ProtocolViolationError
from weftline.protocols.mqtt.packets import MQTT_5, packet_type
from weftline.protocols.mqtt.properties import NO_PROPERTIES, PacketType, Properties, decode_properties
from weftline.protocols.mqtt.topics import check_topic
from weftline.protocols.mqtt.wire import MAXIMUM_REMAINING_LENGTH, Cursor, decode_text, malformed

LARGEST_PACKET: Final = MAXIMUM_REMAINING_LENGTH + 5
_CACHE: Final = 65_536


class Message(NamedTuple):
    """An application message as it arrived."""

    topic: bytes
    """Checked UTF-8; a topic alias is resolved."""
    payload: bytes
    qos: int
    packet_id: int
    """0 at QoS 0."""
    dup: bool
    retain: bool
    properties: Properties | None
    """None if it carried none (always before MQTT 5)."""


class Frame(NamedTuple):
    """A packet other than PUBLISH: its first byte, and what follows the remaining length (for `packets.decode`)."""

    first: int
    body: bytes


Segment = list[Message] | Frame


class PacketStream:
    """Turn chunks into segments; one per connection and direction.

    `version` 0 means not known yet: then `feed` returns after the first packet, so that the owner can set it from
    the CONNECT and call ``feed(b"")`` for the rest. After an error `failure` holds it, the segments before it are
    still returned, and everything later is ignored.
    """

    def __init__(self, version: int, maximum_packet_size: int = LARGEST_PACKET, topic_alias_maximum: int = 0) -> None:
        self.version = version
        self.failure: MqttError | None = None
        self._largest = maximum_packet_size
        self._alias_maximum = topic_alias_maximum
        self._aliases: dict[int, bytes] = {}
        self._topics: set[bytes] = set()
        self._properties: dict[bytes, Properties] = {}
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 2

    def feed(self, data: bytes) -> list[Segment]:
        """Return the segments that `data` completes."""
        if self.failure is not None:
            return []
        if self._chunks:
            # Joined only once a packet is complete, so that a large one is not copied with every chunk.
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        segments: list[Segment] = []
        at = 0
        try:
            at = self._cut(data, segments)
        except MqttError as error:
            self.failure = error
            return segments
        if at < len(data):
            self._chunks.append(data[at:] if at else data)
            self._held = len(data) - at
        return segments

    def _cut(self, data: bytes, segments: list[Segment]) -> int:
        at, end, largest = 0, len(data), self._largest
        messages: list[Message] = []
        publish, add = self._publish, messages.append
        self._needed = 2
        while end - at >= 2:
            first, length, body = data[at], data[at + 1], at + 2
            if length > 127:
                header = _remaining_length(data, at, end)
                if header is None:
                    self._needed = end - at + 1
                    break
                length, body = header
            stop = body + length
            if stop - at > largest:
                self._too_large(stop - at)
            if stop > end:
                # The header alone may already be wrong; do not wait for a body that will be refused.
                packet_type(first, self.version or MQTT_5)
                self._needed = stop - at
                break
            if first & 0xF0 == 0x30:
                if not messages:
                    segments.append(messages)
                add(publish(first, data, body, stop))
            else:
                packet_type(first, self.version or MQTT_5)
                segments.append(Frame(first, data[body:stop]))
                if messages:
                    messages = []
                    add = messages.append
            at = stop
            if not self.version:
                break
        return at

    def _publish(self, first: int, data: bytes, body: int, stop: int) -> Message:
        qos = first >> 1 & 3
        at = body + 2
        if at > stop:
            raise malformed("PUBLISH", f"{stop - body} bytes", "a topic name")
        payload = end = at + (data[body] << 8 | data[body + 1])
        packet_id = 0
        if qos:
            payload = end + 2
            if payload <= stop:
                packet_id = data[end] << 8 | data[end + 1]
        if payload > stop or qos == 3 or (not packet_id if qos else first & 8):
            raise _wrong_publish(qos, payload > stop)
        topic = data[at:end]
        properties = None
        if self.version == MQTT_5:
            if payload < stop and data[payload] == 0:
                payload += 1
            else:
                properties, payload = self._read_properties(data, payload, stop)
            if not topic or (properties is not None and properties.topic_alias is not None):
                topic = self._resolve(topic, properties)
                properties = replace(properties, topic_alias=None) if properties is not None else None
                properties = None if properties == NO_PROPERTIES else properties
        if topic not in self._topics:
            self._learn(topic)
        values = (topic, data[payload:stop], qos, packet_id, first & 8 != 0, first & 1 != 0, properties)
        return tuple.__new__(Message, values)

    def _read_properties(self, data: bytes, at: int, stop: int) -> tuple[Properties | None, int]:
        cursor = Cursor(data, "PUBLISH", at, stop)
        size = cursor.variable("the property length")
        end = cursor.at + size
        raw = data[at:end]
        known = self._properties.get(raw) if end <= stop else None
        if known is None:
            known = decode_properties(Cursor(data, "PUBLISH", at, stop), PacketType.PUBLISH, "PUBLISH")
            if len(self._properties) >= 1024:
                self._properties.clear()
            if len(raw) <= 1024:
                self._properties[raw] = known
        return known, end

    def _resolve(self, topic: bytes, properties: Properties | None) -> bytes:
        alias = properties.topic_alias if properties is not None else None
        if alias is None:
            return topic
        if alias > self._alias_maximum:
            found = f"topic alias {alias}"
            error = ProtocolViolationError(
                place="PUBLISH", found=found, expected=f"at most {self._alias_maximum}", next_step="correct the sender"
            )
            error.reason = 0x94
            raise error
        if topic:
            self._aliases[alias] = topic
            return topic
        if alias not in self._aliases:
            raise ProtocolViolationError(
                place="PUBLISH",
                found=f"topic alias {alias} never given a topic",
                expected="a topic name with the first use of an alias (§3.3.2.3.4)",
                next_step="correct the sender",
            )
        return self._aliases[alias]

    def _learn(self, topic: bytes) -> None:
        check_topic(decode_text(topic, "PUBLISH", "the topic name"))
        if len(self._topics) >= _CACHE:
            self._topics.clear()
        self._topics.add(topic)

    def _too_large(self, size: int) -> None:
        raise PacketTooLargeError(
            place="fixed header",
            found=f"a packet of {size} bytes",
            expected=f"at most {self._largest} bytes",
            next_step="raise the maximum packet size or make the messages smaller",
        )


def _remaining_length(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Return (remaining length, offset of the body), None while the length itself is incomplete (§2.1.4)."""
    value = shift = 0
    for offset in range(at + 1, min(at + 5, end)):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise malformed("fixed header", "a remaining length with a needless byte", "the shortest encoding")
            return value, offset + 1
        shift += 7
    if end - at >= 5:
        raise malformed("fixed header", "a remaining length longer than four bytes", "at most 268,435,455 (§2.1.4)")
    return None


def _wrong_publish(qos: int, short: bool) -> MqttError:
    if qos == 3:
        return malformed("PUBLISH", "QoS 3", "QoS 0, 1 or 2 (§3.3.1.2)")
    if short:
        return malformed(
            "PUBLISH", "a topic name or packet identifier that runs past the end", "them inside the packet"
        )
    if qos:
        return malformed("PUBLISH", "packet identifier 0", "1 to 65535 (§2.2.1)")
    return malformed("PUBLISH", "DUP at QoS 0", "DUP 0 at QoS 0 (§3.3.1.1)")
