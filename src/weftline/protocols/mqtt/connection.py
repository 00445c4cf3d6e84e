"""Speak MQTT over one network connection, from CONNECT to its end.

A `Connection` lives once; `client.MqttClient` makes a new one for every attempt. It reads in bulk, keeps the
PUBACKs in the order of receipt, and proves with PINGREQ/PINGRESP which PUBACKs the broker has read.

Sources: MQTT 5.0 §3.1.2.10 (keep alive), §4.6 (message ordering), §4.9 (flow control), §4.13 (errors).
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from typing import Protocol, cast

from weftline.protocols.mqtt.errors import (
    ConnectionLostError,
    ConnectRefusedError,
    MqttError,
    ProtocolViolationError,
)
from weftline.protocols.mqtt.packets import (
    Acknowledgement,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingResp,
    SubAck,
    UnsubAck,
    decode,
    encode,
)
from weftline.protocols.mqtt.properties import PacketType
from weftline.protocols.mqtt.reasons import words
from weftline.protocols.mqtt.stream import LARGEST_PACKET, Frame, Message, PacketStream

_PUBACK = 0x4002_0000
_PINGREQ = b"\xc0\x00"


class ConnectionOwner(Protocol):
    """What a connection tells its client; all calls come from the event loop."""

    def accepted(self, packet: ConnAck) -> None:
        """Take the CONNACK, before any message of the connection."""

    def received(self, messages: list[Message]) -> None:
        """Take messages in order of arrival."""

    def answered(self, packet: Acknowledgement | SubAck | UnsubAck) -> None:
        """Take the answer to a PUBLISH, SUBSCRIBE or UNSUBSCRIBE of ours."""

    def confirmed(self, packet_ids: list[int]) -> None:
        """Take packet identifiers whose PUBACK the broker has certainly read; called at each PINGRESP, empty or not."""


class Connection(asyncio.Protocol):
    """One network connection; `opened` ends with the CONNACK or an error, `closed` with the reason of the end."""

    def __init__(self, connect: Connect, owner: ConnectionOwner) -> None:
        self.version = connect.version
        self.keep_alive = connect.keep_alive
        self._connect = connect
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[ConnAck] = self._loop.create_future()
        self.closed: asyncio.Future[MqttError | None] = self._loop.create_future()
        self._stream = PacketStream(connect.version, connect.properties.maximum_packet_size or LARGEST_PACKET)
        self._transport: asyncio.Transport | None = None
        self._reason: MqttError | None = None
        self._ended = False
        self._writable = asyncio.Event()
        # Receipts not acknowledged yet, in order of receipt: packet identifier -> how many times it came.
        self._pending: dict[int, int] = {}
        self._unconfirmed: dict[int, int] = {}
        self._round: list[int] = []
        self._round_number = 0
        self._pings: deque[tuple[int, list[int]]] = deque()
        self._paused = False
        # One PINGREQ early on settles what earlier connections left unproven.
        self._first_ping = True
        self._suspect = False
        self._heard = self._sent = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT as the first packet."""
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()
        self._write(encode(self._connect))

    def data_received(self, data: bytes) -> None:
        """Hand on what the chunk completes; an error on the way ends the connection, never passes silently."""
        self._heard = self._loop.time()
        self._suspect = False
        try:
            for segment in self._stream.feed(data):
                if isinstance(segment, Frame):
                    self._control(decode(segment.first, segment.body, self.version))
                else:
                    self._messages(segment)
            if self._stream.failure is not None:
                raise self._stream.failure
        except MqttError as error:
            self.close(error)
        except Exception as error:  # noqa: BLE001  the callback is foreign code
            failure = ConnectionLostError(
                place="on_messages",
                found=f"{type(error).__name__}: {error}",
                expected="a callback that takes the messages",
                next_step="the broker sends them again after reconnecting",
            )
            failure.__cause__ = error
            self.close(failure)

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle both futures with the reason of the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._ended = True
        self._writable.set()
        reason = self._reason
        if reason is None:
            reason = ConnectionLostError(
                place="connection",
                found=f"{type(exc).__name__}: {exc}" if exc else "the peer closed it",
                expected="an open connection",
                next_step="look at the broker's log",
            )
        if not self.opened.done():
            self.opened.set_exception(reason)
        if not self.closed.done():
            self.closed.set_result(reason)

    def pause_writing(self) -> None:
        """Hold senders back while the socket is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writable.set()

    # -- called by the client ------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write encoded packets."""
        self._write(data)

    async def writable(self) -> None:
        """Wait until the socket takes more."""
        await self._writable.wait()

    def acknowledge(self, packet_ids: Iterable[int]) -> int:
        """Write the PUBACKs that are due, in order of receipt (§4.6), and return how many.

        Each receipt is acknowledged once; those after one that is still open are held back until it is not.
        """
        pending = self._pending
        for packet_id in packet_ids:
            if packet_id in pending:
                pending[packet_id] -= 1
        due: list[int] = []
        for packet_id, open_receipts in pending.items():
            if open_receipts > 0:
                break
            due.append(packet_id)
        if not due or self._ended:
            return 0
        for packet_id in due:
            del pending[packet_id]
        self._write(struct.pack(f">{len(due)}I", *[_PUBACK | packet_id for packet_id in due]))
        self._unconfirmed.update(dict.fromkeys(due, self._round_number))
        self._round.extend(due)
        return len(due)

    def pause(self) -> None:
        """Stop reading; TCP then holds the broker back."""
        self._paused = True
        if self._transport is not None and self.opened.done() and not self._ended:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again; silence is counted from now."""
        self._paused = False
        self._heard = self._loop.time()
        if self._transport is not None and not self._ended:
            self._transport.resume_reading()

    def unsettled(self) -> set[int]:
        """Return packet identifiers whose PUBACK was written and not proven to be read."""
        return set(self._unconfirmed)

    def received_ever(self) -> set[int]:
        """Return packet identifiers received here whose PUBACK is not proven to be read."""
        return set(self._pending) | set(self._unconfirmed)

    def abort(self) -> None:
        """End the connection at once, without DISCONNECT."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self._ended = True

    def close(self, reason: MqttError | None = None) -> None:
        """End the connection, with a DISCONNECT that carries the reason code where the version has one."""
        code = 0 if reason is None else reason.reason
        if self._ended or self._transport is None:
            return
        self._reason = self._reason or reason
        if self.opened.done() and (reason is None or self.version >= 5):
            self._write(encode(Disconnect(code), self.version))
        self._ended = True
        if reason is None and not self.closed.done():
            self.closed.set_result(None)
        self._transport.close()
        # A dead peer never drains the buffer, and then the transport would never close.
        self._loop.call_later(1.0, self._transport.abort)

    # -- inside --------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._ended:
            return
        self._sent = self._loop.time()
        self._transport.write(data)

    def _messages(self, messages: list[Message]) -> None:
        if not self.opened.done():
            raise _out_of_turn("PUBLISH before CONNACK")
        pending = self._pending
        for packet_id in [message.packet_id for message in messages if message.qos]:
            pending[packet_id] = pending.get(packet_id, 0) + 1
        if any(message.qos == 2 for message in messages):
            raise _out_of_turn("a message at QoS 2, which was not subscribed to")
        self._owner.received(messages)

    def _control(self, packet: Packet) -> None:
        match packet:
            case ConnAck():
                self._connack(packet)
            case PingResp():
                self._pong()
            case Disconnect():
                raise ConnectionLostError(
                    place="DISCONNECT",
                    found=packet.properties.reason_string or words(packet.reason),
                    expected="an open connection",
                    next_step="look at the broker's log",
                )
            case Acknowledgement(kind=PacketType.PUBACK) | SubAck() | UnsubAck() if self.opened.done():
                self._owner.answered(packet)
            case _:
                raise _out_of_turn(type(packet).__name__)

    def _connack(self, packet: ConnAck) -> None:
        if self.opened.done():
            raise _out_of_turn("a second CONNACK")
        if packet.reason:
            raise ConnectRefusedError(
                place="CONNACK",
                found=packet.properties.reason_string or words(packet.reason, self.version, connack=True),
                expected="connection accepted",
                next_step="check client identifier, user name, password and version",
            )
        if packet.properties.server_keep_alive is not None:
            self.keep_alive = packet.properties.server_keep_alive
        self.opened.set_result(packet)
        self._owner.accepted(packet)
        self._timer = self._loop.call_later(self._interval, self._tick)
        if self._paused:
            self.pause()

    @property
    def _interval(self) -> float:
        return min(0.5, self.keep_alive / 4) if self.keep_alive else 0.5

    def _tick(self) -> None:
        now = self._loop.time()
        if not self._pings and (self._round or self._first_ping):
            self._first_ping = False
            self._ping()
        elif self.keep_alive and now - self._sent > self.keep_alive * 0.5:
            self._ping()
        silent = bool(self._pings) and self.keep_alive > 0 and now - self._heard > self.keep_alive
        if silent and not self._paused:
            # Twice, since after a stall of our own the timer may run before the bytes that wait are read.
            if self._suspect:
                self.close(_silence(now - self._heard))
                return
            self._suspect = True
        self._timer = self._loop.call_later(self._interval, self._tick)

    def _ping(self) -> None:
        self._pings.append((self._round_number, self._round))
        self._round = []
        self._round_number += 1
        self._write(_PINGREQ)

    def _pong(self) -> None:
        if not self._pings:
            raise _out_of_turn("PINGRESP without PINGREQ")
        number, packet_ids = self._pings.popleft()
        proven: list[int] = []
        for packet_id in packet_ids:
            if self._unconfirmed.get(packet_id) != number:
                continue
            del self._unconfirmed[packet_id]
            # An identifier in use again belongs to a newer message, which the owner must not forget.
            if packet_id not in self._pending:
                proven.append(packet_id)
        self._owner.confirmed(proven)


def _out_of_turn(found: str) -> ProtocolViolationError:
    return ProtocolViolationError(
        place="connection", found=found, expected="what MQTT allows here", next_step="report it to the broker's maker"
    )


def _silence(seconds: float) -> ConnectionLostError:
    return ConnectionLostError(
        place="keep alive",
        found=f"no byte for {seconds:.1f} s after PINGREQ",
        expected="a PINGRESP within the keep alive",
        next_step="check the network and the broker",
    )
