"""Receive in bulk from an MQTT broker, and publish to it, over a session that outlives connections.

The road of a message at QoS 1: `on_messages` hands over the list of one chunk; the owner makes it durable and calls
`acknowledge` with the packet identifiers and the `connection` number that was current in the callback; the client
writes the PUBACKs; `on_confirmed` says once the broker has certainly read them, so that duplicate detection can
forget them. PUBACKs for an earlier connection are never written: after a reconnect the same identifier may belong to
another message, and the broker sends again what it has no PUBACK for.

Sources: MQTT 5.0 §4.1 (session state), §4.4 (delivery retry), §4.9 (flow control), §3.1.2.11.3 (receive maximum).
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from weftline.protocols.mqtt.connection import Connection
from weftline.protocols.mqtt.errors import (
    ConnectionLostError,
    ConnectRefusedError,
    MqttError,
    NotConnectedError,
    PublishRefusedError,
    SubscriptionRefusedError,
)
from weftline.protocols.mqtt.packets import (
    MQTT_5,
    Acknowledgement,
    ConnAck,
    Connect,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    encode,
    encode_publish,
)
from weftline.protocols.mqtt.properties import NO_PROPERTIES, PacketType, Properties, encode_properties
from weftline.protocols.mqtt.reasons import words
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import check_topic
from weftline.protocols.mqtt.wire import encode_text

StateName = Literal["connecting", "connected", "disconnected", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How to reach a broker and which session to keep there."""

    host: str
    port: int = 1883
    client_id: str = ""
    version: int = MQTT_5
    """4 for MQTT 3.1.1, 5 for MQTT 5."""
    clean_start: bool = False
    session_expiry_seconds: int = 0xFFFFFFFF
    """MQTT 5 only; 0xFFFFFFFF never expires."""
    keep_alive_seconds: int = 30
    """At most this long without a packet each way; 0 switches it off."""
    receive_maximum: int = 65_535
    """MQTT 5 only: messages at QoS 1 that may be unacknowledged at a time."""
    maximum_packet_size: int | None = None
    """Bytes, MQTT 5 tells the broker, both versions enforce it."""
    username: str | None = None
    password: bytes | None = None
    tls: ssl.SSLContext | None = None
    connect_timeout_seconds: float = 10.0
    backoff_base_seconds: float = 0.25
    backoff_limit_seconds: float = 30.0
    stable_after_seconds: float = 10.0
    """A connection that lived this long resets the back-off."""


class ClientState(NamedTuple):
    """What the client does now; `reason` is empty unless it is disconnected or refused."""

    name: StateName
    reason: str = ""


class _Publishing:
    """Count the PUBACKs that one `publish` or `publish_many` still waits for."""

    __slots__ = ("done", "refusal", "remaining")

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.remaining = 0
        self.refusal: MqttError | None = None

    def settle(self, refusal: MqttError | None = None) -> None:
        self.remaining -= 1
        self.refusal = self.refusal or refusal
        if self.remaining == 0 and not self.done.done():
            self.done.set_result(None)


class MqttClient:
    """Keep one session with one broker; all methods belong to the event loop's thread."""

    def __init__(
        self,
        options: ClientOptions,
        on_messages: Callable[[list[Message]], None],
        *,
        on_state: Callable[[ClientState], None] | None = None,
        on_confirmed: Callable[[list[int]], None] | None = None,
        seed: int | None = None,
    ) -> None:
        self.options = options
        self.state = ClientState("stopped")
        self.connection = 0
        """Number of the current connection; valid inside `on_messages` for the messages handed over."""
        self.session_present = False
        """Whether the broker still had the session when the current connection began."""
        self.connack = ConnAck()
        """What the broker said about itself: limits, assigned client identifier."""
        self._on_messages = on_messages
        self._on_state = on_state
        self._on_confirmed = on_confirmed
        self._random = random.Random(seed)  # noqa: S311  jitter, not a secret
        self._link: Connection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._first_error: MqttError | None = None
        self._paused = False
        self._began = False
        self._subscriptions: dict[str, Subscription] = {}
        self._answers: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._outgoing: dict[int, tuple[bytes, _Publishing]] = {}
        self._slots = asyncio.Event()
        self._next_id = 0
        self._carried: set[int] = set()

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and to reconnect whenever the connection ends, until `stop`."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"mqtt {self.options.client_id}")

    async def connect(self) -> None:
        """Start and wait for the first connection; stop and raise if the first attempt fails."""
        self._first_error = None
        self.start()
        while self.state.name != "connected":
            self._changed.clear()
            await self._changed.wait()
            if self._first_error is not None and self.state.name != "connected":
                error = self._first_error
                await self.stop()
                raise error

    async def connected(self) -> None:
        """Wait until there is a connection."""
        while self.state.name != "connected":
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Disconnect normally and stop; the session stays with the broker for its expiry."""
        runner, self._runner = self._runner, None
        if self._link is not None:
            self._link.close()
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        stopped = self._not_connected("stopped")
        self._fail_answers(stopped)
        for _, publishing in list(self._outgoing.values()):
            publishing.settle(stopped)
        self._outgoing.clear()
        self._enter(ClientState("stopped"))

    def abort(self) -> None:
        """Cut the current connection without DISCONNECT, as a broken cable would (for tests and `probe`)."""
        if self._link is not None:
            self._link.abort()

    async def _run(self) -> None:
        options, attempt = self.options, 0
        while True:
            self._enter(ClientState("connecting"))
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                link = await self._open()
                self._enter(ClientState("connected"))
                began = loop.time()
                error = await link.closed
                self._lost(link)
            except MqttError as failure:
                error = failure
                self._first_error = failure
            if loop.time() - began >= options.stable_after_seconds:
                attempt = 0
            name: StateName = "refused" if isinstance(error, ConnectRefusedError) else "disconnected"
            self._enter(ClientState(name, str(error)))
            limit = min(options.backoff_limit_seconds, options.backoff_base_seconds * 2 ** min(attempt, 30))
            attempt += 1
            await asyncio.sleep(self._random.uniform(0, limit))

    async def _open(self) -> Connection:
        options = self.options
        loop = asyncio.get_running_loop()
        link = Connection(self._connect_packet(), self)
        if self._paused:
            link.pause()
        self.connection += 1
        # Messages may follow the CONNACK in its own chunk, before the await below continues.
        self._link = link
        link.opened.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        try:
            async with asyncio.timeout(options.connect_timeout_seconds):
                await loop.create_connection(lambda: link, options.host, options.port, ssl=options.tls)
                await link.opened
        except (OSError, TimeoutError) as error:
            link.abort()
            self._link = None
            raise ConnectionLostError(
                place=f"{options.host}:{options.port}",
                found="no answer in time" if isinstance(error, TimeoutError) else str(error),
                expected="an MQTT broker",
                next_step="check address, port and TLS",
            ) from error
        except BaseException:
            self._link = None
            raise
        return link

    def _connect_packet(self) -> Connect:
        options, properties = self.options, NO_PROPERTIES
        if options.version >= MQTT_5:
            properties = Properties(
                session_expiry_interval=options.session_expiry_seconds or None,
                receive_maximum=None if options.receive_maximum == 65_535 else options.receive_maximum,
                maximum_packet_size=options.maximum_packet_size,
            )
        return Connect(
            options.client_id or self.connack.properties.assigned_client_identifier or "",
            options.version,
            # A reconnect that asked for a clean start would lose what the session holds, where it outlives connections.
            options.clean_start and not (self._began and options.version >= MQTT_5 and options.session_expiry_seconds),
            options.keep_alive_seconds,
            options.username,
            options.password,
            None,
            properties,
        )

    def accepted(self, packet: ConnAck) -> None:
        """Resume the session: subscribe again if the broker lost it, and send again what has no PUBACK."""
        self.connack = packet
        self._began = True
        self.session_present = packet.session_present
        link = self._link
        if link is None:
            return
        if not packet.session_present:
            gone, self._carried = sorted(self._carried), set()
            if gone:
                self.confirmed(gone)
            if self._subscriptions:
                again = Subscribe(self._packet_id(), tuple(self._subscriptions.values()))
                self._answers[again.packet_id] = self._ignored_answer()
                link.send(encode(again, self.options.version))
        for data, _ in self._outgoing.values():
            link.send(bytes((data[0] | 8,)) + data[1:] if packet.session_present else data)

    def _ignored_answer(self) -> asyncio.Future[tuple[int, ...]]:
        def look(answer: asyncio.Future[tuple[int, ...]]) -> None:
            if answer.cancelled() or answer.exception() is not None or max(answer.result()) < 0x80:
                return
            if self._link is not None:
                self._link.close(self._refused_subscription(answer.result(), list(self._subscriptions)))

        future: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(look)
        return future

    def _lost(self, link: Connection) -> None:
        self._link = None
        self._carried |= link.unsettled()
        self._fail_answers(self._not_connected("the connection ended"))
        self._slots.set()

    def _fail_answers(self, error: MqttError) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()
        self._answers.clear()

    def _enter(self, state: ClientState) -> None:
        if state == self.state:
            return
        self.state = state
        self._changed.set()
        if self._on_state is not None:
            self._on_state(state)

    # -- receiving -----------------------------------------------------------------------------------------------

    def acknowledge(self, packet_ids: Iterable[int], connection: int) -> int:
        """Write PUBACKs for messages that are durable, in order of receipt; return how many were written now.

        Pass each `packet_id` once per message handed over at QoS 1, and the `connection` number of that callback.
        A number of an earlier connection writes nothing (0): the broker will send those messages again.
        """
        if connection != self.connection or self._link is None:
            return 0
        return self._link.acknowledge(packet_ids)

    def pause(self) -> None:
        """Stop reading, across reconnects too; at most the chunk already read is still handed over."""
        self._paused = True
        if self._link is not None:
            self._link.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if self._link is not None:
            self._link.resume()

    def received(self, messages: list[Message]) -> None:
        """Hand the messages of one chunk to the owner (called by the connection)."""
        self._on_messages(messages)

    def confirmed(self, packet_ids: list[int]) -> None:
        """Tell the owner what the broker has read (called by the connection).

        What an earlier connection left unproven and the broker did not send again on this one is proven as well.
        """
        if self._carried and self._link is not None:
            settled = self._carried - self._link.received_ever() - set(packet_ids)
            self._carried.clear()
            packet_ids = [*packet_ids, *sorted(settled)]
        if packet_ids and self._on_confirmed is not None:
            self._on_confirmed(packet_ids)

    # -- subscribing ---------------------------------------------------------------------------------------------

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> tuple[int, ...]:
        """Subscribe, remember it for reconnects, and return the granted QoS per filter.

        Raises `SubscriptionRefusedError` naming the filters the broker refused; the others stay subscribed.
        """
        for each in subscriptions:
            if each.qos > 1:
                raise self._refused_subscription((), [each.filter], found=f"QoS {each.qos}")
        granted = await self._ask(lambda packet_id: Subscribe(packet_id, tuple(subscriptions)))
        for each, reason in zip(subscriptions, granted, strict=True):
            if reason < 0x80:
                self._subscriptions[each.filter] = each
        if max(granted) >= 0x80:
            raise self._refused_subscription(granted, [each.filter for each in subscriptions])
        return granted

    async def unsubscribe(self, filters: Sequence[str]) -> tuple[int, ...]:
        """Unsubscribe and forget the filters; returns one reason per filter (MQTT 5) or nothing (3.1.1)."""
        reasons = await self._ask(lambda packet_id: Unsubscribe(packet_id, tuple(filters)))
        for each in filters:
            self._subscriptions.pop(each, None)
        return reasons

    async def _ask(self, build: Callable[[int], Subscribe | Unsubscribe]) -> tuple[int, ...]:
        link = self._require()
        packet = build(self._packet_id())
        answer: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._answers[packet.packet_id] = answer
        link.send(encode(packet, self.options.version))
        return await answer

    # -- publishing ----------------------------------------------------------------------------------------------

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, properties: Properties = NO_PROPERTIES
    ) -> None:
        """Publish one message; at QoS 1 return when the broker has acknowledged it."""
        await self.publish_many([(topic, payload)], qos=qos, retain=retain, properties=properties)

    async def publish_many(
        self,
        messages: Iterable[tuple[str, bytes]],
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> int:
        """Publish (topic, payload) pairs without waiting between them; return how many.

        At QoS 1 returns when all are acknowledged; what is still open when the connection ends is sent again on the
        next one, with DUP if the session survived. Raises `NotConnectedError` if there is none to begin with, and
        `PublishRefusedError` after the last answer if any was refused.
        """
        self._check_publish(qos, retain)
        first = 0x30 | qos << 1 | retain
        encoded = encode_properties(properties, PacketType.PUBLISH) if self.options.version >= MQTT_5 else b""
        heads: dict[str, bytes] = {}
        publishing, count, source = _Publishing(), 0, iter(messages)
        publishing.remaining = 1
        while True:
            link = self._require()
            room = 500 if not qos else min(500, self._window() - len(self._outgoing))
            if room <= 0:
                self._slots.clear()
                await self._slots.wait()
                continue
            batch: list[bytes] = []
            for topic, payload in islice(source, room):
                head = heads.get(topic) or heads.setdefault(topic, encode_text(check_topic(topic), "topic name"))
                packet_id = self._packet_id() if qos else 0
                data = encode_publish(first, head, packet_id, encoded, payload)
                if qos:
                    publishing.remaining += 1
                    self._outgoing[packet_id] = (data, publishing)
                batch.append(data)
            if not batch:
                break
            count += len(batch)
            link.send(b"".join(batch))
            await link.writable()
        publishing.settle()
        await publishing.done
        if publishing.refusal is not None:
            raise publishing.refusal
        return count

    def _window(self) -> int:
        return min(self.connack.properties.receive_maximum or 65_535, 60_000)

    def _check_publish(self, qos: int, retain: bool) -> None:
        properties = self.connack.properties
        allowed = 1 if properties.maximum_qos is None else properties.maximum_qos
        if qos > allowed or (retain and properties.retain_available == 0):
            raise PublishRefusedError(
                place=self.options.client_id or "client",
                found=f"QoS {qos}, retain {retain}",
                expected=f"QoS 0 to {allowed}" + (", no retain" if properties.retain_available == 0 else ""),
                next_step="use what the broker offers",
            )

    # -- answers -------------------------------------------------------------------------------------------------

    def answered(self, packet: Acknowledgement | SubAck | UnsubAck) -> None:
        """Settle the request that `packet` answers (called by the connection)."""
        if isinstance(packet, Acknowledgement):
            entry = self._outgoing.pop(packet.packet_id, None)
            if entry is not None:
                entry[1].settle(None if packet.reason < 0x80 else self._refused_publish(packet.reason))
                self._slots.set()
            return
        answer = self._answers.pop(packet.packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(packet.reasons)

    def _packet_id(self) -> int:
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self._outgoing and self._next_id not in self._answers:
                return self._next_id

    def _require(self) -> Connection:
        if self._link is None or self.state.name != "connected":
            raise self._not_connected(self.state.name)
        return self._link

    def _not_connected(self, found: str) -> NotConnectedError:
        return NotConnectedError(
            place=f"{self.options.host}:{self.options.port}",
            found=found,
            expected="a connection",
            next_step="wait for it with connected()",
        )

    def _refused_publish(self, reason: int) -> PublishRefusedError:
        return PublishRefusedError(
            place=f"{self.options.host}:{self.options.port}",
            found=words(reason),
            expected="a PUBACK that accepts the message",
            next_step="check the broker's access rules and quota",
        )

    def _refused_subscription(
        self, reasons: Sequence[int], filters: Sequence[str], *, found: str = ""
    ) -> SubscriptionRefusedError:
        refused = [f"{name}: {words(reason)}" for name, reason in zip(filters, reasons, strict=False) if reason >= 0x80]
        return SubscriptionRefusedError(
            place=", ".join(filters),
            found=found or "; ".join(refused),
            expected="QoS 0 or 1 granted",
            next_step="check the broker's access rules and the filters",
        )
