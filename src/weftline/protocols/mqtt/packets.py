"""Encode and decode the control packets of MQTT 3.1.1 and 5.

`decode(first, body, version)` and `encode(packet, version)` are the plain, complete way; `stream.PacketStream` and
`encode_publish` are the fast way for messages. Both refuse what the standard refuses with `MalformedPacketError`.

Sources: MQTT 5.0 §2 and §3 (OASIS Standard, 7 March 2019); MQTT 3.1.1 §2 and §3 (OASIS Standard, 29 October 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from weftline.protocols.mqtt.errors import ProtocolViolationError
from weftline.protocols.mqtt.properties import (
    NO_PROPERTIES,
    PacketType,
    Properties,
    decode_properties,
    encode_properties,
)
from weftline.protocols.mqtt.reasons import UNSUPPORTED_PROTOCOL_VERSION
from weftline.protocols.mqtt.topics import check_filter, check_topic
from weftline.protocols.mqtt.wire import Cursor, encode_binary, encode_text, encode_variable, malformed

MQTT_3_1_1: Final = 4
MQTT_5: Final = 5


@dataclass(frozen=True, slots=True)
class Will:
    """The message a broker publishes when the connection ends without a normal DISCONNECT (§3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT (§3.1)."""

    client_id: str
    version: int = MQTT_5
    clean_start: bool = True
    keep_alive: int = 60
    """Seconds; 0 switches it off."""
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class ConnAck:
    """CONNACK (§3.2); `reason` is a return code below MQTT 5."""

    session_present: bool = False
    reason: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH (§3.3)."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    """0 at QoS 0, which has none."""
    dup: bool = False
    retain: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7); `kind` says which."""

    kind: PacketType
    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter of a SUBSCRIBE and its options (§3.8.3.1); all but the QoS need MQTT 5."""

    filter: str
    qos: int = 1
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    """0 sends retained messages, 1 only for a new subscription, 2 never."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE (§3.8)."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class SubAck:
    """SUBACK (§3.9): one reason per filter, in order."""

    packet_id: int
    reasons: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (§3.10)."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """UNSUBACK (§3.11); `reasons` is empty below MQTT 5."""

    packet_id: int
    reasons: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class PingReq:
    """PINGREQ (§3.12)."""


@dataclass(frozen=True, slots=True)
class PingResp:
    """PINGRESP (§3.13)."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT (§3.14); without reason and properties below MQTT 5."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (§3.15), MQTT 5 only."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES


Packet = (
    Connect
    | ConnAck
    | Publish
    | Acknowledgement
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)

# The flags each type must carry (table 2-2); PUBLISH has flags of its own.
_FLAGS: Final = {kind: 2 if kind in (6, 8, 10) else 0 for kind in PacketType if kind not in (0, 3)}


def packet_type(first: int, version: int) -> PacketType:
    """Return the type in the first byte of a packet; refuse type 0, reserved flags, and AUTH below MQTT 5."""
    kind = first >> 4
    if kind == 0 or (kind == PacketType.AUTH and version < MQTT_5):
        raise malformed("fixed header", f"packet type {kind}", "a type of table 2-1")
    flags = first & 0x0F
    if kind != PacketType.PUBLISH and flags != _FLAGS[PacketType(kind)]:
        expected = f"flags {_FLAGS[PacketType(kind)]:04b} (table 2-2)"
        raise malformed(PacketType(kind).name, f"flags {flags:04b}", expected)
    return PacketType(kind)


def decode(first: int, body: bytes, version: int = MQTT_5) -> Packet:
    """Decode one packet from its first byte and the bytes after the remaining length.

    A CONNECT names its own version; for all others `version` is the one of the connection (4 or 5). Raises
    `MalformedPacketError` or, for what is well-formed and still not allowed, `ProtocolViolationError`.
    """
    kind = packet_type(first, version)
    cursor = Cursor(body, kind.name)
    packet = _DECODERS[kind](cursor, first, version)
    cursor.end()
    return packet


def _properties(cursor: Cursor, kind: PacketType, version: int) -> Properties:
    return decode_properties(cursor, kind, kind.name) if version >= MQTT_5 else NO_PROPERTIES


def _packet_id(cursor: Cursor, place: str) -> int:
    packet_id = cursor.uint16("the packet identifier")
    if packet_id == 0:
        raise malformed(place, "packet identifier 0", "1 to 65535 (§2.2.1)")
    return packet_id


def _decode_connect(cursor: Cursor, _first: int, _version: int) -> Packet:
    place = "CONNECT"
    name = cursor.binary("the protocol name")
    if name != b"MQTT":
        raise malformed(place, f"protocol name {name[:12]!r}", "MQTT (3.1.1 or 5; 3.1 is not spoken)")
    level = cursor.byte("the protocol version")
    if level not in (MQTT_3_1_1, MQTT_5):
        error = ProtocolViolationError(
            place=place, found=f"protocol version {level}", expected="4 or 5", next_step="set the client to 3.1.1 or 5"
        )
        error.reason = UNSUPPORTED_PROTOCOL_VERSION
        raise error
    flags = cursor.byte("the connect flags")
    _check_connect_flags(flags, level)
    keep_alive = cursor.uint16("the keep alive")
    properties = _properties(cursor, PacketType.CONNECT, level)
    client_id = cursor.text("the client identifier")
    will = _decode_will(cursor, flags, level) if flags & 4 else None
    username = cursor.text("the user name") if flags & 0x80 else None
    password = cursor.binary("the password") if flags & 0x40 else None
    return Connect(client_id, level, bool(flags & 2), keep_alive, username, password, will, properties)


def _check_connect_flags(flags: int, version: int) -> None:
    place = "CONNECT"
    if flags & 1:
        raise malformed(place, "the reserved connect flag set", "it unset (§3.1.2.3)")
    qos = flags >> 3 & 3
    if qos == 3 or (not flags & 4 and flags & 0x38):
        raise malformed(place, f"will flags {flags:08b}", "will QoS 0 to 2, and 0 without a will (§3.1.2.6)")
    if version < MQTT_5 and flags & 0x40 and not flags & 0x80:
        raise malformed(place, "a password without a user name", "a user name before MQTT 5 (3.1.1 §3.1.2.9)")


def _decode_will(cursor: Cursor, flags: int, version: int) -> Will:
    properties = _properties(cursor, PacketType.WILL, version)
    topic = check_topic(cursor.text("the will topic"))
    return Will(topic, cursor.binary("the will payload"), flags >> 3 & 3, bool(flags & 0x20), properties)


def _decode_connack(cursor: Cursor, _first: int, version: int) -> Packet:
    flags = cursor.byte("the acknowledge flags")
    if flags & 0xFE:
        raise malformed("CONNACK", f"acknowledge flags {flags:08b}", "only session present in them (§3.2.2.1)")
    reason = cursor.byte("the reason code")
    # Brokers answer a version they do not speak in 3.1.1, without properties (§3.2.2.2 of 3.1.1).
    properties = _properties(cursor, PacketType.CONNACK, version) if cursor.left else NO_PROPERTIES
    return ConnAck(bool(flags), reason, properties)


def _decode_publish(cursor: Cursor, first: int, version: int) -> Packet:
    qos = first >> 1 & 3
    if qos == 3:
        raise malformed("PUBLISH", "QoS 3", "QoS 0, 1 or 2 (§3.3.1.2)")
    if first & 8 and not qos:
        raise malformed("PUBLISH", "DUP at QoS 0", "DUP 0 at QoS 0 (§3.3.1.1)")
    topic = cursor.text("the topic name")
    packet_id = _packet_id(cursor, "PUBLISH") if qos else 0
    properties = _properties(cursor, PacketType.PUBLISH, version)
    if topic or properties.topic_alias is None:
        check_topic(topic)
    return Publish(topic, cursor.rest(), qos, packet_id, bool(first & 8), bool(first & 1), properties)


def _decode_acknowledgement(cursor: Cursor, first: int, version: int) -> Packet:
    kind = PacketType(first >> 4)
    packet_id = _packet_id(cursor, kind.name)
    reason = cursor.byte("the reason code") if version >= MQTT_5 and cursor.left else 0
    properties = _properties(cursor, kind, version) if cursor.left else NO_PROPERTIES
    return Acknowledgement(kind, packet_id, reason, properties)


def _decode_subscribe(cursor: Cursor, _first: int, version: int) -> Packet:
    place = "SUBSCRIBE"
    packet_id = _packet_id(cursor, place)
    properties = _properties(cursor, PacketType.SUBSCRIBE, version)
    subscriptions: list[Subscription] = []
    while cursor.left or not subscriptions:
        topic_filter = check_filter(cursor.text("a topic filter"))
        options = cursor.byte("the subscription options")
        reserved, handling = (0xC0, options >> 4 & 3) if version >= MQTT_5 else (0xFC, 0)
        if options & reserved or options & 3 == 3 or handling == 3:
            raise malformed(place, f"subscription options {options:08b}", "QoS 0 to 2, no reserved bit (§3.8.3.1)")
        no_local, as_published = bool(options & 4), bool(options & 8)
        subscriptions.append(Subscription(topic_filter, options & 3, no_local, as_published, handling))
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _decode_suback(cursor: Cursor, _first: int, version: int) -> Packet:
    packet_id = _packet_id(cursor, "SUBACK")
    properties = _properties(cursor, PacketType.SUBACK, version)
    reasons = tuple(cursor.rest())
    if not reasons:
        raise malformed("SUBACK", "no reason code", "one per topic filter (§3.9.3)")
    return SubAck(packet_id, reasons, properties)


def _decode_unsubscribe(cursor: Cursor, _first: int, version: int) -> Packet:
    packet_id = _packet_id(cursor, "UNSUBSCRIBE")
    properties = _properties(cursor, PacketType.UNSUBSCRIBE, version)
    filters: list[str] = []
    while cursor.left or not filters:
        filters.append(check_filter(cursor.text("a topic filter")))
    return Unsubscribe(packet_id, tuple(filters), properties)


def _decode_unsuback(cursor: Cursor, _first: int, version: int) -> Packet:
    packet_id = _packet_id(cursor, "UNSUBACK")
    if version < MQTT_5:
        return UnsubAck(packet_id)
    properties = _properties(cursor, PacketType.UNSUBACK, version)
    reasons = tuple(cursor.rest())
    if not reasons:
        raise malformed("UNSUBACK", "no reason code", "one per topic filter (§3.11.3)")
    return UnsubAck(packet_id, reasons, properties)


def _decode_disconnect(cursor: Cursor, _first: int, version: int) -> Packet:
    if version < MQTT_5:
        return Disconnect()
    reason = cursor.byte("the reason code") if cursor.left else 0
    properties = _properties(cursor, PacketType.DISCONNECT, version) if cursor.left else NO_PROPERTIES
    return Disconnect(reason, properties)


def _decode_auth(cursor: Cursor, _first: int, version: int) -> Packet:
    reason = cursor.byte("the reason code") if cursor.left else 0
    return Auth(reason, _properties(cursor, PacketType.AUTH, version) if cursor.left else NO_PROPERTIES)


_DECODERS: Final[dict[PacketType, Callable[[Cursor, int, int], Packet]]] = {
    PacketType.CONNECT: _decode_connect,
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBLISH: _decode_publish,
    PacketType.PUBACK: _decode_acknowledgement,
    PacketType.PUBREC: _decode_acknowledgement,
    PacketType.PUBREL: _decode_acknowledgement,
    PacketType.PUBCOMP: _decode_acknowledgement,
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_unsuback,
    PacketType.PINGREQ: lambda _cursor, _first, _version: PingReq(),
    PacketType.PINGRESP: lambda _cursor, _first, _version: PingResp(),
    PacketType.DISCONNECT: _decode_disconnect,
    PacketType.AUTH: _decode_auth,
}


def encode(packet: Packet, version: int = MQTT_5) -> bytes:
    """Encode one packet whole; `version` is ignored for a CONNECT, which carries its own.

    Below MQTT 5 properties and reasons that the version cannot carry are refused if they are set.
    """
    if isinstance(packet, Connect):
        version = packet.version
    if version < MQTT_5 and getattr(packet, "properties", NO_PROPERTIES) != NO_PROPERTIES:
        raise malformed(type(packet).__name__, "properties", "none before MQTT 5")
    match packet:
        case Publish():
            return _encode_publish_packet(packet, version)
        case Connect():
            return _frame(0x10, _connect_body(packet))
        case ConnAck():
            head = bytes((packet.session_present, packet.reason))
            return _frame(0x20, head + _encoded(packet.properties, PacketType.CONNACK, version))
        case Acknowledgement():
            body = _short(packet.reason, packet.properties, packet.kind, version)
            return _frame(packet.kind << 4 | _FLAGS[packet.kind], _identifier(packet.packet_id) + body)
        case Disconnect() | Auth():
            kind = PacketType.AUTH if isinstance(packet, Auth) else PacketType.DISCONNECT
            return _frame(kind << 4, _short(packet.reason, packet.properties, kind, version))
        case PingReq():
            return b"\xc0\x00"
        case PingResp():
            return b"\xd0\x00"
        case _:
            return _encode_subscribing(packet, version)


def _encode_subscribing(packet: Subscribe | SubAck | Unsubscribe | UnsubAck, version: int) -> bytes:
    kind = PacketType[type(packet).__name__.upper()]
    body = _identifier(packet.packet_id) + _encoded(packet.properties, kind, version)
    match packet:
        case Subscribe():
            body += b"".join(_subscription(each, version) for each in packet.subscriptions)
        case Unsubscribe():
            body += b"".join(encode_text(check_filter(each), "topic filter") for each in packet.filters)
        case SubAck() | UnsubAck():
            body += bytes(packet.reasons) if version >= MQTT_5 or isinstance(packet, SubAck) else b""
    return _frame(kind << 4 | _FLAGS[kind], body)


def _subscription(each: Subscription, version: int) -> bytes:
    options = each.qos
    if version >= MQTT_5:
        options |= each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
    elif each.no_local or each.retain_as_published or each.retain_handling:
        raise malformed("SUBSCRIBE", f"subscription options of {each.filter}", "only a QoS before MQTT 5")
    return encode_text(check_filter(each.filter), "topic filter") + bytes((options,))


def _connect_body(packet: Connect) -> bytes:
    flags = packet.clean_start << 1 | (packet.username is not None) << 7 | (packet.password is not None) << 6
    tail = encode_text(packet.client_id, "client identifier")
    if (will := packet.will) is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        tail += _encoded(will.properties, PacketType.WILL, packet.version)
        tail += encode_text(check_topic(will.topic), "will topic") + encode_binary(will.payload, "will payload")
    _check_connect_flags(flags, packet.version)
    if packet.username is not None:
        tail += encode_text(packet.username, "user name")
    if packet.password is not None:
        tail += encode_binary(packet.password, "password")
    head = b"\0\4MQTT" + bytes((packet.version, flags)) + packet.keep_alive.to_bytes(2, "big")
    return head + _encoded(packet.properties, PacketType.CONNECT, packet.version) + tail


def _encode_publish_packet(packet: Publish, version: int) -> bytes:
    topic = packet.topic if packet.topic or packet.properties.topic_alias else check_topic(packet.topic)
    if topic:
        check_topic(topic)
    if packet.qos not in (0, 1, 2) or bool(packet.packet_id) != bool(packet.qos) or (packet.dup and not packet.qos):
        found = f"QoS {packet.qos}, packet identifier {packet.packet_id}, DUP {packet.dup:d}"
        raise malformed("PUBLISH", found, "an identifier and DUP with QoS 1 and 2 only (§2.2.1, §3.3.1.1)")
    properties = encode_properties(packet.properties, PacketType.PUBLISH) if version >= MQTT_5 else b""
    first = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    return encode_publish(first, encode_text(topic, "topic name"), packet.packet_id, properties, packet.payload)


def encode_publish(first: int, topic: bytes, packet_id: int, properties: bytes, payload: bytes) -> bytes:
    """Join a PUBLISH from encoded parts without checking them.

    `topic` with its length, `properties` with theirs (empty below MQTT 5); `packet_id` is left out at QoS 0.
    """
    identifier = packet_id.to_bytes(2, "big") if first & 6 else b""
    size = len(topic) + len(identifier) + len(properties) + len(payload)
    if size < 128:
        return b"".join((bytes((first, size)), topic, identifier, properties, payload))
    return b"".join((bytes((first,)), encode_variable(size), topic, identifier, properties, payload))


def _frame(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_variable(len(body)) + body


def _identifier(packet_id: int) -> bytes:
    if not 0 < packet_id < 65_536:
        raise malformed("packet identifier", str(packet_id), "1 to 65535 (§2.2.1)")
    return packet_id.to_bytes(2, "big")


def _encoded(properties: Properties, kind: PacketType, version: int) -> bytes:
    if version >= MQTT_5:
        return encode_properties(properties, kind)
    if properties != NO_PROPERTIES:
        raise malformed(kind.name, "properties", "none before MQTT 5")
    return b""


def _short(reason: int, properties: Properties, kind: PacketType, version: int) -> bytes:
    # The reason may be left out when it is 0 and there are no properties (§3.4.2.1).
    if version < MQTT_5 or (reason == 0 and properties == NO_PROPERTIES):
        return b""
    body = bytes((reason,))
    return body if properties == NO_PROPERTIES else body + encode_properties(properties, kind)
