"""Encode and decode MQTT 5 properties.

Source: MQTT 5.0 §2.2.2 (table 2-4 says which property may appear in which packet; a property other than the user
property, and the subscription identifier of a PUBLISH, may appear once).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from weftline.protocols.mqtt.wire import (
    Cursor,
    encode_binary,
    encode_text,
    encode_variable,
    malformed,
)


class PacketType(IntEnum):
    """The control packet types of §2.1.2; WILL stands for the will properties inside CONNECT (§3.1.3.2)."""

    WILL = 0
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one packet; None or an empty tuple means absent."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    """Seconds."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifier: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    """Seconds; 0xFFFFFFFF never expires."""
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_property: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None


NO_PROPERTIES: Final = Properties()


class _Kind(NamedTuple):
    read: Callable[[Cursor, str], Any]
    write: Callable[[Any, str], bytes]


def _write_unsigned(size: int) -> Callable[[int, str], bytes]:
    def write(value: int, what: str) -> bytes:
        if not 0 <= value < 256**size:
            raise malformed(what, str(value), f"an unsigned integer of {size} bytes")
        return value.to_bytes(size, "big")

    return write


def _read_pair(cursor: Cursor, what: str) -> tuple[str, str]:
    return cursor.text(f"the name of {what}"), cursor.text(f"the value of {what}")


def _write_pair(pair: tuple[str, str], what: str) -> bytes:
    return encode_text(pair[0], what) + encode_text(pair[1], what)


_BYTE = _Kind(Cursor.byte, _write_unsigned(1))
_TWO = _Kind(Cursor.uint16, _write_unsigned(2))
_FOUR = _Kind(Cursor.uint32, _write_unsigned(4))
_VARIABLE = _Kind(Cursor.variable, lambda value, _what: encode_variable(value))
_TEXT = _Kind(Cursor.text, encode_text)
_BINARY = _Kind(Cursor.binary, encode_binary)
_PAIR = _Kind(_read_pair, _write_pair)

_P = PacketType
_ACKNOWLEDGEMENTS: Final = frozenset({_P.PUBACK, _P.PUBREC, _P.PUBREL, _P.PUBCOMP, _P.SUBACK, _P.UNSUBACK})
_MESSAGE: Final = frozenset({_P.PUBLISH, _P.WILL})
_EVERYWHERE: Final = frozenset(_P) - {_P.PINGREQ, _P.PINGRESP}
_CONNACK: Final = frozenset({_P.CONNACK})
_AUTHENTICATED: Final = frozenset({_P.CONNECT, _P.CONNACK, _P.AUTH})
_LIMITS: Final = frozenset({_P.CONNECT, _P.CONNACK})


class _Property(NamedTuple):
    identifier: int
    name: str
    kind: _Kind
    packets: frozenset[PacketType]
    allowed: range | None = None


_TABLE: Final = (
    _Property(0x01, "payload_format_indicator", _BYTE, _MESSAGE, range(2)),
    _Property(0x02, "message_expiry_interval", _FOUR, _MESSAGE),
    _Property(0x03, "content_type", _TEXT, _MESSAGE),
    _Property(0x08, "response_topic", _TEXT, _MESSAGE),
    _Property(0x09, "correlation_data", _BINARY, _MESSAGE),
    _Property(0x0B, "subscription_identifier", _VARIABLE, frozenset({_P.PUBLISH, _P.SUBSCRIBE}), range(1, 268_435_456)),
    _Property(0x11, "session_expiry_interval", _FOUR, frozenset({_P.CONNECT, _P.CONNACK, _P.DISCONNECT})),
    _Property(0x12, "assigned_client_identifier", _TEXT, _CONNACK),
    _Property(0x13, "server_keep_alive", _TWO, _CONNACK),
    _Property(0x15, "authentication_method", _TEXT, _AUTHENTICATED),
    _Property(0x16, "authentication_data", _BINARY, _AUTHENTICATED),
    _Property(0x17, "request_problem_information", _BYTE, frozenset({_P.CONNECT}), range(2)),
    _Property(0x18, "will_delay_interval", _FOUR, frozenset({_P.WILL})),
    _Property(0x19, "request_response_information", _BYTE, frozenset({_P.CONNECT}), range(2)),
    _Property(0x1A, "response_information", _TEXT, _CONNACK),
    _Property(0x1C, "server_reference", _TEXT, frozenset({_P.CONNACK, _P.DISCONNECT})),
    _Property(0x1F, "reason_string", _TEXT, _ACKNOWLEDGEMENTS | {_P.CONNACK, _P.DISCONNECT, _P.AUTH}),
    _Property(0x21, "receive_maximum", _TWO, _LIMITS, range(1, 65_536)),
    _Property(0x22, "topic_alias_maximum", _TWO, _LIMITS),
    _Property(0x23, "topic_alias", _TWO, frozenset({_P.PUBLISH}), range(1, 65_536)),
    _Property(0x24, "maximum_qos", _BYTE, _CONNACK, range(2)),
    _Property(0x25, "retain_available", _BYTE, _CONNACK, range(2)),
    _Property(0x26, "user_property", _PAIR, _EVERYWHERE),
    _Property(0x27, "maximum_packet_size", _FOUR, _LIMITS, range(1, 2**32)),
    _Property(0x28, "wildcard_subscription_available", _BYTE, _CONNACK, range(2)),
    _Property(0x29, "subscription_identifier_available", _BYTE, _CONNACK, range(2)),
    _Property(0x2A, "shared_subscription_available", _BYTE, _CONNACK, range(2)),
)
_BY_IDENTIFIER: Final = {entry.identifier: entry for entry in _TABLE}
_REPEATED: Final = frozenset({"user_property", "subscription_identifier"})


def _check(entry: _Property, value: Any, packet: PacketType, place: str) -> None:
    if packet not in entry.packets:
        raise malformed(place, f"property {entry.name}", f"a property that {packet.name} may carry (table 2-4)")
    if entry.allowed is not None and value not in entry.allowed:
        raise malformed(place, f"{entry.name} {value}", f"{entry.allowed.start} to {entry.allowed.stop - 1} (§2.2.2.2)")


def decode_properties(cursor: Cursor, packet: PacketType, place: str) -> Properties:
    """Read the property length and the properties that follow; `NO_PROPERTIES` if there are none.

    Raises `MalformedPacketError` for an unknown identifier, a property this packet may not carry, one that appears
    twice and a value out of range.
    """
    size = cursor.variable("the property length")
    if size == 0:
        return NO_PROPERTIES
    if size > cursor.left:
        found = f"property length {size} with {cursor.left} bytes left"
        raise malformed(place, found, "properties inside the packet")
    stop = cursor.left - size
    values: dict[str, Any] = {}
    while cursor.left > stop:
        identifier = cursor.variable("a property identifier")
        entry = _BY_IDENTIFIER.get(identifier)
        if entry is None:
            raise malformed(place, f"property identifier 0x{identifier:02x}", "one that table 2-4 names")
        value = entry.kind.read(cursor, f"property {entry.name}")
        _check(entry, value, packet, place)
        if entry.name in _REPEATED and not (entry.name == "subscription_identifier" and packet is _P.SUBSCRIBE):
            values[entry.name] = (*values.get(entry.name, ()), value)
        elif entry.name in values:
            raise malformed(place, f"{entry.name} twice", "the property once (§2.2.2.2)")
        else:
            values[entry.name] = (value,) if entry.name in _REPEATED else value
    if cursor.left != stop:
        raise malformed(place, "a property that runs past the property length", "properties that end with it")
    return Properties(**values)


@lru_cache(maxsize=4096)
def encode_properties(properties: Properties, packet: PacketType) -> bytes:
    """Encode the property length and the properties.

    Cached, since a publisher's properties rarely differ from message to message. Raises `MalformedPacketError` for a
    property that `packet` may not carry or a value out of range.
    """
    place = packet.name
    out: list[bytes] = []
    for entry in _TABLE:
        value = getattr(properties, entry.name)
        if value is None or value == ():
            continue
        for one in value if entry.name in _REPEATED else (value,):
            _check(entry, one, packet, place)
            out.append(entry.identifier.to_bytes(1, "big") + entry.kind.write(one, f"property {entry.name}"))
    body = b"".join(out)
    return encode_variable(len(body)) + body
