"""Serve one client of the test broker: handshake, packets, keep alive, end.

Sources: MQTT 5.0 §3.1.4 (CONNECT actions), §3.3.4 (PUBLISH actions), §3.8.4 (SUBSCRIBE actions), §4.13 (errors).
A PUBLISH at QoS 2 ends the connection: with DISCONNECT 0x9B in MQTT 5, whose CONNACK announced maximum QoS 1, and
without a word in 3.1.1, which has no way to say it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from weftline.protocols.mqtt.errors import MqttError, ProtocolViolationError, TopicError
from weftline.protocols.mqtt.packets import (
    MQTT_5,
    Acknowledgement,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from weftline.protocols.mqtt.properties import NO_PROPERTIES, PacketType, Properties
from weftline.protocols.mqtt.reasons import (
    NO_SUBSCRIPTION_EXISTED,
    NOT_AUTHORIZED,
    QOS_NOT_SUPPORTED,
    RETURN_CODE_OF_REASON,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    UNSPECIFIED_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from weftline.protocols.mqtt.stream import Frame, Message, PacketStream
from weftline.testing.mqtt_session import Session

if TYPE_CHECKING:
    from weftline.testing.mqtt_broker import Broker

TOPIC_ALIAS_MAXIMUM = 32


def violation(found: str, expected: str, reason: int = 0x82) -> ProtocolViolationError:
    """Build the error for what a client may not do, with the reason code of its DISCONNECT."""
    error = ProtocolViolationError(place="client", found=found, expected=expected, next_step="correct the client")
    error.reason = reason
    return error


class BrokerConnection(asyncio.Protocol):
    """One network connection to the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = PacketStream(0, broker.limits.packet_bytes, TOPIC_ALIAS_MAXIMUM)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        self.keep_alive = 0
        self.version = MQTT_5
        self.session: Session | None = None
        self.will: Will | None = None
        self._ended = False
        self._stalled = False

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for CONNECT."""
        self._transport = cast("asyncio.Transport", transport)
        self._broker.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Serve the packets of one chunk, then write to every client they concern."""
        self.heard = self._loop.time()
        self._broker.counters.bytes_received += len(data)
        try:
            segments = self._stream.feed(data)
            while segments:
                for segment in segments:
                    if self._ended:
                        break
                    if isinstance(segment, Frame):
                        self._packet(decode(segment.first, segment.body, self._stream.version or MQTT_5))
                    else:
                        self._publish(segment)
                segments = self._stream.feed(b"")
            if self._stream.failure is not None and not self._ended:
                raise self._stream.failure
        except MqttError as error:
            self._refuse(error)
        self._broker.flush()

    def pause_writing(self) -> None:
        """Let messages wait in the session while the client does not read."""
        if self.session is not None:
            self.session.stalled = True

    def resume_writing(self) -> None:
        """Send what waited."""
        if self.session is not None and not self._stalled:
            self.session.stalled = False
            self.session.pump()
            self._broker.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  how it ended changes nothing
        """Keep or end the session and send the will."""
        self._ended = True
        self._broker.connections.discard(self)
        self._broker.left(self)
        self._broker.flush()

    # -- called by the broker ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Collect bytes until `flush`."""
        if not self._out:
            self._broker.unflushed.append(self)
        self._out.append(data)

    def flush(self) -> None:
        """Write what was collected."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def end(self, reason: int | None = None) -> None:
        """Close, after a DISCONNECT with `reason` in MQTT 5."""
        if reason is not None and self.version >= MQTT_5 and self.session is not None and not self._ended:
            self.write(encode(Disconnect(reason), self.version))
        self._ended = True
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """End without a word, as a broken cable would."""
        self._ended = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def stall(self, stalled: bool) -> None:
        """Stop reading, or read again; the session's own flag stops sending."""
        self._stalled = stalled
        if self._transport is None or self._transport.is_closing():
            return
        if stalled:
            self._transport.pause_reading()
        else:
            self.heard = self._loop.time()
            self._transport.resume_reading()

    def expired(self, now: float) -> bool:
        """Tell whether the client was silent for one and a half times its keep alive (§3.1.2.10)."""
        return bool(self.keep_alive) and not self._stalled and now - self.heard > 1.5 * self.keep_alive

    # -- packets -------------------------------------------------------------------------------------------------

    def _packet(self, packet: Packet) -> None:
        if self.session is None:
            if not isinstance(packet, Connect):
                raise violation(type(packet).__name__, "CONNECT as the first packet")
            self._connect(packet)
            return
        match packet:
            case Acknowledgement(kind=PacketType.PUBACK):
                self.session.acknowledge(packet.packet_id)
            case PingReq():
                self.write(encode(PingResp()))
            case Subscribe():
                self._subscribe(packet)
            case Unsubscribe():
                self._unsubscribe(packet)
            case Disconnect():
                self._disconnect(packet)
            case _:
                raise violation(type(packet).__name__, "a packet that a client sends here")

    def _connect(self, packet: Connect) -> None:
        self.version = self._stream.version = packet.version
        self.keep_alive = packet.keep_alive
        reason = self._broker.judge(packet)
        if packet.will is not None and packet.will.qos > 1:
            reason = QOS_NOT_SUPPORTED
        if reason:
            self._answer_connect(reason)
            return
        client_id = packet.client_id or self._broker.new_client_id()
        session, present = self._broker.open_session(packet, client_id)
        wanted = packet.properties
        session.attach(
            self.write, packet.version, wanted.receive_maximum or 65_535, wanted.maximum_packet_size or 268_435_460
        )
        self.session, self.will = session, packet.will
        self._broker.online[client_id] = self
        limits = self._broker.limits
        properties = NO_PROPERTIES
        if packet.version >= MQTT_5:
            properties = Properties(
                maximum_qos=1,
                topic_alias_maximum=TOPIC_ALIAS_MAXIMUM,
                shared_subscription_available=0,
                assigned_client_identifier=None if packet.client_id else client_id,
                maximum_packet_size=None if limits.packet_bytes >= 268_435_460 else limits.packet_bytes,
            )
        self.write(encode(ConnAck(present, 0, properties), packet.version))
        session.resume()

    def _answer_connect(self, reason: int) -> None:
        code = reason if self.version >= MQTT_5 else RETURN_CODE_OF_REASON.get(reason, 3)
        self.write(encode(ConnAck(False, code), self.version))
        self.end()

    def _publish(self, messages: list[Message]) -> None:
        session = self.session
        if session is None:
            raise violation("PUBLISH", "CONNECT as the first packet")
        answers: list[bytes] = []
        publish = self._broker.publish
        try:
            for message in messages:
                if message.qos == 2:
                    raise violation("PUBLISH at QoS 2", "QoS 0 or 1", QOS_NOT_SUPPORTED)
                taken = publish(message, session.client_id)
                if message.qos:
                    identifier = message.packet_id.to_bytes(2, "big")
                    if taken or self.version < MQTT_5:
                        answers.append(b"\x40\x02" + identifier)
                    else:
                        answers.append(b"\x40\x03" + identifier + bytes((NOT_AUTHORIZED,)))
        finally:
            if answers:
                self.write(b"".join(answers))

    def _subscribe(self, packet: Subscribe) -> None:
        session = cast("Session", self.session)
        identifier = next(iter(packet.properties.subscription_identifier), None)
        reasons: list[int] = []
        fresh: list[Subscription] = []
        for each in packet.subscriptions:
            if each.filter.startswith("$share/"):
                modern = self.version >= MQTT_5
                reasons.append(SHARED_SUBSCRIPTIONS_NOT_SUPPORTED if modern else UNSPECIFIED_ERROR)
                continue
            new = self._broker.subscribe(session, each, identifier)
            reasons.append(min(each.qos, 1))
            if each.retain_handling == 0 or (each.retain_handling == 1 and new):
                fresh.append(each)
        self.write(encode(SubAck(packet.packet_id, tuple(reasons)), self.version))
        for each in fresh:
            self._broker.send_retained(session, each, identifier)

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        session = cast("Session", self.session)
        removed = [self._broker.unsubscribe(session, each) for each in packet.filters]
        reasons = tuple(0 if each else NO_SUBSCRIPTION_EXISTED for each in removed)
        self.write(encode(UnsubAck(packet.packet_id, reasons if self.version >= MQTT_5 else ()), self.version))

    def _disconnect(self, packet: Disconnect) -> None:
        session = cast("Session", self.session)
        if packet.reason == 0:
            self.will = None
        expiry = packet.properties.session_expiry_interval
        if expiry is not None:
            if expiry and not session.expiry_seconds:
                raise violation("a session expiry for a session that has none", "it in CONNECT (§3.14.2.2.2)")
            session.expiry_seconds = expiry
        self.end()

    def _refuse(self, error: MqttError) -> None:
        if self.session is None and error.reason == UNSUPPORTED_PROTOCOL_VERSION:
            self._answer_connect(error.reason)
            return
        # A filter that cannot be used is malformed to the standard (§3.8.3), whatever we call it.
        self.end(0x81 if isinstance(error, TopicError) else error.reason)
