"""Say what went wrong with an MQTT peer.

    MqttError
    ├── MalformedPacketError      the bytes are not MQTT
    │   └── PacketTooLargeError   larger than the agreed maximum packet size
    ├── ProtocolViolationError    well-formed, but not allowed here
    ├── TopicError                a topic name, filter or pattern that cannot be used
    ├── NotConnectedError         asked to send while there is no connection
    ├── ConnectionLostError       the network or the broker ended the connection
    ├── ConnectRefusedError       the broker answered CONNECT with a refusal
    ├── SubscriptionRefusedError  the broker answered SUBSCRIBE with a refusal
    └── PublishRefusedError       the broker answered PUBLISH with a refusal

`reason` is the MQTT 5 reason code (§2.4) that a DISCONNECT about the error would carry.
"""

from __future__ import annotations

from weftline.errors import InputError, TransientError, UnreachableError, WeftlineError


class MqttError(WeftlineError):
    """Any failure of the MQTT protocol or of a connection that speaks it."""

    code = "mqtt"
    reason = 0x80


class MalformedPacketError(MqttError):
    """Bytes that cannot be parsed as MQTT."""

    code = "mqtt-malformed-packet"
    reason = 0x81


class PacketTooLargeError(MalformedPacketError):
    """A packet larger than the maximum packet size of its receiver."""

    code = "mqtt-packet-too-large"
    reason = 0x95


class ProtocolViolationError(MqttError):
    """A well-formed packet that the standard does not allow at this point."""

    code = "mqtt-protocol-violation"
    reason = 0x82


class TopicError(MqttError, InputError):
    """A topic name, topic filter or topic pattern that cannot be used."""

    code = "mqtt-topic"
    reason = 0x90


class NotConnectedError(MqttError, TransientError):
    """A request to send while no connection is established."""

    code = "mqtt-not-connected"


class ConnectionLostError(MqttError, UnreachableError):
    """The end of a connection that was not asked for by this side."""

    code = "mqtt-connection-lost"


class ConnectRefusedError(MqttError):
    """A CONNACK that says no."""

    code = "mqtt-connection-refused"


class SubscriptionRefusedError(MqttError):
    """A SUBACK or UNSUBACK that says no to at least one filter."""

    code = "mqtt-subscription-refused"


class PublishRefusedError(MqttError):
    """A PUBACK that says no, or a message the broker said beforehand it would not take."""

    code = "mqtt-publish-refused"
