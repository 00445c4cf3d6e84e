"""One MQTT session on the road: messages in, fsync, PUBACK; it waits while the road is held."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from weftline.batch import Draft
from weftline.connectors.base import Capabilities, Connector, Finding, Replay, Road, Source
from weftline.connectors.mqtt.intake import Intake, session_tag
from weftline.connectors.mqtt.options import MqttOptions, MqttSelector
from weftline.connectors.mqtt.probe import probe
from weftline.errors import Complaint, InputError
from weftline.model.feed import ConnectionSpec, ConnectionState, FeedSpec
from weftline.protocols.mqtt.client import ClientOptions, ClientState, MqttClient
from weftline.protocols.mqtt.errors import MqttError
from weftline.protocols.mqtt.packets import MQTT_5, Subscription
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import PatternTable, Tie, TopicPattern

__all__ = ["MqttConnector", "MqttSource", "client_options"]

HOLD_LOOK_SECONDS = 0.5
FILTERS_A_PACKET = 200
WARN_SECONDS = 3600.0
"""How long after the last rise of its drop counter a broker needs a person."""
DROP_TOPICS = ("$SYS/broker/publish/messages/dropped", "$SYS/broker/messages/dropped")
_STATES = {"disconnected": "lost", "connecting": "connecting", "connected": "connected", "refused": "refused"}


class SecretMissingError(InputError):
    """Name the file or variable that should hold a password and does not."""

    code = "mqtt-secret-missing"


class MqttConnector(Connector):
    """Open MQTT sessions."""

    kind: ClassVar[str] = "mqtt"
    summary: ClassVar[str] = "MQTT 3.1.1 and 5 with a persistent session: JSON and plain values from topics."
    capabilities: ClassVar[Capabilities] = Capabilities(
        replay=Replay.SPOOL,
        identity="session, packet identifier and payload digest, against messages not yet acknowledged for certain",
        pushes=True,
        holds_back=False,
        reconnects=True,
    )
    options: ClassVar[type[MqttOptions]] = MqttOptions
    selector: ClassVar[type[MqttSelector]] = MqttSelector

    def open(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> Source:
        """Return the session, not yet connected."""
        return MqttSource(connection, feeds, road)

    async def probe(self, connection: ConnectionSpec, feed: FeedSpec) -> Sequence[Finding]:
        """Connect with a session of its own and tell how broker and selector stand."""
        return await probe(client_options(connection, probing=True), feed)

    def check(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec]) -> Sequence[tuple[FeedSpec, Complaint]]:  # noqa: ARG002
        """Refuse patterns that cannot be read, and two feeds that claim the same topics equally specifically."""
        found: list[tuple[FeedSpec, Complaint]] = []
        patterns: dict[str, TopicPattern] = {}
        by_name = {feed.name: feed for feed in feeds}
        for feed in feeds:
            try:
                patterns[feed.name] = TopicPattern.parse(feed.selector.topic)
            except MqttError as error:
                found.append((feed, error.complaint))
        ties = PatternTable(patterns).ties()
        return found + [(by_name[tie.one], _tie(tie, patterns[tie.one].text)) for tie in ties]


def _tie(tie: Tie, text: str) -> Complaint:
    return Complaint(
        "mqtt-pattern-tie",
        f"feed {tie.one}",
        f"'{text}', which takes '{tie.shared}' as does feed '{tie.other}'",
        "one most specific pattern per topic",
        "Make one of the two patterns more specific.",
    )


def client_options(connection: ConnectionSpec, *, probing: bool = False) -> ClientOptions:
    """Return how to reach the broker; a probe uses a clean session of its own."""
    options: MqttOptions = connection.options
    client_id = options.client_id or f"weftline-{connection.name}"
    return ClientOptions(
        host=options.host,
        port=options.port,
        client_id=f"{client_id}-probe" if probing else client_id,
        version=MQTT_5 if options.version == "5" else 4,
        clean_start=probing,
        session_expiry_seconds=0 if probing else options.session_expiry_seconds,
        keep_alive_seconds=options.keep_alive_seconds,
        receive_maximum=options.receive_maximum,
        username=options.username or None,
        password=_password(connection.name, options),
        tls=_tls(options),
    )


def _password(name: str, options: MqttOptions) -> bytes | None:
    if options.password_env:
        value = os.environ.get(options.password_env)
        if value is None:
            raise SecretMissingError(
                place=f"connection {name}",
                found=f"no environment variable {options.password_env}",
                expected="the broker's password in it",
            )
        return value.encode()
    if options.password_file:
        path = Path(options.password_file)
        if not path.is_file():
            raise SecretMissingError(
                place=f"connection {name}", found=f"no file {path}", expected="the broker's password in it"
            )
        return path.read_bytes().strip()
    return None


def _tls(options: MqttOptions) -> ssl.SSLContext | None:
    if not options.tls:
        return None
    context = ssl.create_default_context(cafile=options.ca_file or None)
    if options.certificate_file:
        context.load_cert_chain(options.certificate_file, options.key_file or None)
    return context


class MqttSource(Source):
    """Run one session until stopped. The owner of unacknowledged drafts until the spool has them."""

    def __init__(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> None:
        self._name = connection.name
        self._options: MqttOptions = connection.options
        self._road = road
        options = client_options(connection)
        self._intake = Intake(feeds, session_tag(options.host, options.port, options.client_id))
        self._client = MqttClient(
            options, self._on_messages, on_state=self._on_state, on_confirmed=self._intake.confirmed
        )
        self._refused: deque[tuple[list[Draft], list[int], int]] = deque()
        self._stopped = asyncio.Event()
        self._held = ""
        self._connection = 0
        self._dropped: dict[bytes, int] = {}
        self._drops = 0
        self._warning, self._warned = "", 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Connect, subscribe and take messages until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._intake.recall(await asyncio.to_thread(self._road.seen, self._name))
        self._client.start()
        subscribed = asyncio.create_task(self._subscribe())
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            while not stopped.done():
                await self._look()
                await asyncio.wait({stopped}, timeout=HOLD_LOOK_SECONDS)
        finally:
            subscribed.cancel()
            stopped.cancel()
            await asyncio.gather(subscribed, stopped, return_exceptions=True)
            await self._client.stop()
            self._road.report(self._name, ConnectionState("stopped"))

    async def stop(self) -> None:
        """End the connection; the broker keeps the session."""
        self._stopped.set()

    async def _subscribe(self) -> None:
        """Subscribe to what the feeds need, in packets of moderate size; the client renews it after a lost session."""
        handling = 1 if self._options.retained == "new" else 2
        filters = [Subscription(each, 1, retain_handling=handling) for each in self._intake.table.filters()]
        parts = [filters[at : at + FILTERS_A_PACKET] for at in range(0, len(filters), FILTERS_A_PACKET)]
        done = 0
        while done < len(parts):
            await self._client.connected()
            try:
                await self._client.subscribe(parts[done])
                done += 1
            except MqttError as error:
                self._road.report(self._name, ConnectionState("refused", error.complaint.sentence()))
                await asyncio.sleep(HOLD_LOOK_SECONDS)
        if self._options.watch_drops:
            try:
                await self._client.subscribe([Subscription(topic, 0) for topic in DROP_TOPICS])
            except MqttError as error:
                self._road.report(
                    self._name,
                    ConnectionState("connected", f"the broker's drop counter is not readable: {error.complaint.found}"),
                )

    def _on_messages(self, messages: list[Message]) -> None:
        if self._connection != self._client.connection:
            self._connection = self._client.connection
            if not self._client.session_present:
                self._intake.forget()
        if any(message.topic[:5] == b"$SYS/" for message in messages):
            self._watch([message for message in messages if message.topic.startswith(b"$SYS/")])
            messages = [message for message in messages if not message.topic.startswith(b"$SYS/")]
        drafts, packet_ids = self._intake.drafts(messages, self._road.clock.now())
        if self._refused:
            self._refused.append((drafts, packet_ids, self._client.connection))
        elif drafts or packet_ids:
            self._append(drafts, packet_ids, self._client.connection)

    def _append(self, drafts: list[Draft], packet_ids: list[int], connection: int) -> None:
        if not drafts:
            self._client.acknowledge(packet_ids, connection)
            return
        future = self._road.append(self._name, drafts)
        loop = self._loop
        assert loop is not None

        def settle(done: Future[int]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._settle, done, drafts, packet_ids, connection)

        future.add_done_callback(settle)

    def _settle(self, done: Future[int], drafts: list[Draft], packet_ids: list[int], connection: int) -> None:
        """Acknowledge what is durable; keep what the spool refused and stop reading until it takes it."""
        error = done.exception()
        if error is None:
            self._client.acknowledge(packet_ids, connection)
            return
        self._refused.append((drafts, packet_ids, connection))
        self._client.pause()
        self._report_held(str(error))

    async def _look(self) -> None:
        """Follow the road's admission, and offer again what the spool refused."""
        if self._warning and self._road.clock.steady() - self._warned > WARN_SECONDS:
            self._warning = ""
            self._on_state(self._client.state)
        held = self._road.held()
        if held and held != self._held:
            self._client.pause()
            self._report_held(held)
        if not held and self._refused:
            again, self._refused = list(self._refused), deque()
            for drafts, packet_ids, connection in again:
                self._append(drafts, packet_ids, connection)
        elif not held and self._held:
            self._held = ""
            self._client.resume()
            self._on_state(self._client.state)

    def _report_held(self, reason: str) -> None:
        self._held = reason
        self._road.report(self._name, ConnectionState("held", reason))

    def _on_state(self, state: ClientState) -> None:
        if self._held and state.name in {"connecting", "connected"}:
            return
        detail = state.reason
        if state.name == "connected":
            session = "session kept by the broker" if self._client.session_present else "new session"
            detail = self._warning or session
        shown = ConnectionState(_STATES.get(state.name, "stopped"), detail, warning=self._warning)
        self._road.report(self._name, shown)

    def _watch(self, messages: list[Message]) -> None:
        """Notice a rise of the broker's own count of dropped messages: MQTT tells a subscriber nothing else."""
        for message in messages:
            try:
                count = int(float(message.payload))
            except ValueError:
                count = 0
            before = self._dropped.get(message.topic)
            self._dropped[message.topic] = count
            if before is not None and count > before:
                self._drops += count - before
                detail = f"the broker says it dropped {self._drops} messages since we connected; raise its queue limits"
                self._warning, self._warned = detail, self._road.clock.steady()
                self._on_state(self._client.state)

    def gauges(self) -> dict[str, Any]:
        """Return counters of this session."""
        return {"unmatched": self._intake.unmatched, "broker_dropped": self._drops}
