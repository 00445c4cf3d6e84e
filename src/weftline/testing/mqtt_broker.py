"""Run an MQTT broker for demo and tests: 3.1.1 and 5, QoS 0 and 1, sessions, retained messages, wills, faults.

    python -m weftline.testing.mqtt_broker --port 0 --ready-file ready.json

binds loopback, writes ``{"port": …, "control_port": …, "pid": …}`` to the ready file and serves until SIGTERM, or
until its standard input ends with ``--exit-with-parent``. Faults come over the control port (`mqtt_faults`). Not
offered: QoS 2, shared subscriptions, enhanced authentication, persistence across restarts.

Sources: MQTT 5.0 (OASIS Standard, 7 March 2019) and MQTT 3.1.1; ``$SYS`` names as mosquitto(8) has them.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from weftline.protocols.mqtt.packets import MQTT_5, Connect, Subscription, Will
from weftline.protocols.mqtt.properties import NO_PROPERTIES, Properties
from weftline.protocols.mqtt.reasons import BAD_USER_NAME_OR_PASSWORD, CLIENT_IDENTIFIER_NOT_VALID, SESSION_TAKEN_OVER
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import TopicTrie, matches
from weftline.testing.mqtt_connection import BrokerConnection
from weftline.testing.mqtt_faults import FaultPlan, serve_control
from weftline.testing.mqtt_process import BrokerProcess
from weftline.testing.mqtt_session import NEVER_EXPIRES, BrokerLimits, Counters, Outgoing, Session

__all__ = ["Broker", "BrokerLimits", "BrokerProcess", "main"]

_TICK_SECONDS = 0.25


class _Route(NamedTuple):
    session: Session
    qos: int
    as_published: bool
    no_local: bool
    identifiers: tuple[int, ...]


class Broker:
    """Own the sessions, subscriptions, retained messages and wills; belongs to one event loop."""

    def __init__(
        self,
        *,
        limits: BrokerLimits | None = None,
        users: Mapping[str, str] | None = None,
        seed: int = 0,
        sys_seconds: float = 1.0,
    ) -> None:
        self.limits = limits or BrokerLimits()
        self.counters = Counters()
        self.faults = FaultPlan(seed)
        self.connections: set[BrokerConnection] = set()
        self.online: dict[str, BrokerConnection] = {}
        self.unflushed: list[BrokerConnection] = []
        self.stopped = asyncio.Event()
        self.port = self.control_port = 0
        self._users = dict(users) if users is not None else None
        self._sys_seconds = sys_seconds
        self._sessions: dict[str, Session] = {}
        self._expires: dict[str, float] = {}
        self._wills: dict[str, tuple[float, Will]] = {}
        self._subscribers: TopicTrie[tuple[Session, str]] = TopicTrie()
        self._routes: dict[bytes, list[_Route]] = {}
        self._retained: dict[str, Outgoing] = {}
        self._assigned = 0
        self._began = time.monotonic()
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None
        self._controls: set[asyncio.StreamWriter] = set()

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        """Listen for clients on `port` and for faults on `control_port`; 0 takes free ones."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: BrokerConnection(self), host, port)
        control = await asyncio.start_server(partial(serve_control, self), host, control_port)
        self._servers = [server, control]
        self.port = server.sockets[0].getsockname()[1]
        self.control_port = control.sockets[0].getsockname()[1]
        self._ticker = asyncio.create_task(self._tick(), name="mqtt broker clock")

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.end(0x8B)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        self.stopped.set()

    async def _tick(self) -> None:
        published: dict[str, bytes] = {}
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + self._sys_seconds
                self._publish_sys(published)
            for connection in [each for each in self.connections if each.expired(asyncio.get_running_loop().time())]:
                connection.end(0x8D)
            for client_id in [name for name, at in self._expires.items() if at <= now]:
                self._delete(client_id)
            for client_id in [name for name, (at, _) in self._wills.items() if at <= now]:
                self._send_will(client_id)
            self.flush()
            await asyncio.sleep(_TICK_SECONDS)

    def _publish_sys(self, published: dict[str, bytes]) -> None:
        counts = self.counters_now()
        values = {
            "uptime": f"{counts['uptime']} seconds",
            "clients/connected": str(counts["connected"]),
            "clients/total": str(counts["sessions"]),
            "messages/received": str(counts["received"]),
            "messages/sent": str(counts["sent"]),
            "publish/messages/dropped": str(counts["dropped"]),
            "retained messages/count": str(len(self._retained)),
            "version": "weftline mqtt_broker",
        }
        for name, text in values.items():
            if published.get(name) != text.encode():
                published[name] = text.encode()
                message = Message(f"$SYS/broker/{name}".encode(), published[name], 0, 0, False, True, None)
                self._retain(message)
                self._forward(message, "")

    # -- connections ---------------------------------------------------------------------------------------------

    def judge(self, packet: Connect) -> int:
        """Return the reason code that refuses a CONNECT, 0 if it is welcome."""
        if not packet.client_id and packet.version < MQTT_5 and not packet.clean_start:
            return CLIENT_IDENTIFIER_NOT_VALID
        if self._users is not None:
            known = self._users.get(packet.username or "")
            if known is None or not hmac.compare_digest(known.encode(), packet.password or b""):
                return BAD_USER_NAME_OR_PASSWORD
        return 0

    def new_client_id(self) -> str:
        """Return an identifier for a client that brought none."""
        self._assigned += 1
        return f"assigned-{self._assigned}"

    def open_session(self, packet: Connect, client_id: str) -> tuple[Session, bool]:
        """Return the session of `client_id` and whether it existed, ending whoever had it (§3.1.4)."""
        if (other := self.online.get(client_id)) is not None:
            other.end(SESSION_TAKEN_OVER)
            self.left(other)
        session = self._sessions.get(client_id)
        if session is not None and (packet.clean_start or self._expires.get(client_id, 1e99) <= time.monotonic()):
            self._delete(client_id)
            session = None
        present = session is not None
        if session is None:
            session = self._sessions[client_id] = Session(client_id, self.limits, self.counters)
        self._expires.pop(client_id, None)
        # The client is back before its will was due (§3.1.3.2.2).
        self._wills.pop(client_id, None)
        if packet.version >= MQTT_5:
            session.expiry_seconds = packet.properties.session_expiry_interval or 0
        else:
            session.expiry_seconds = 0 if packet.clean_start else NEVER_EXPIRES
        return session, present

    def left(self, connection: BrokerConnection) -> None:
        """Take note that a connection ended: will, session expiry."""
        session = connection.session
        if session is None or self.online.get(session.client_id) is not connection:
            return
        del self.online[session.client_id]
        session.detach()
        session.stalled = False
        now = time.monotonic()
        if connection.will is not None:
            delay = connection.will.properties.will_delay_interval or 0
            self._wills[session.client_id] = (now + delay, connection.will)
            if delay == 0:
                self._send_will(session.client_id)
        if session.expiry_seconds == 0:
            self._delete(session.client_id)
        elif session.expiry_seconds != NEVER_EXPIRES:
            self._expires[session.client_id] = now + session.expiry_seconds

    def _delete(self, client_id: str) -> None:
        self._expires.pop(client_id, None)
        session = self._sessions.pop(client_id, None)
        if session is not None:
            for each in list(session.subscriptions):
                self.unsubscribe(session, each)
        # The end of the session makes a delayed will due (§3.1.2.5).
        self._send_will(client_id)

    def _send_will(self, client_id: str) -> None:
        entry = self._wills.pop(client_id, None)
        if entry is None:
            return
        will = entry[1]
        properties = replace(will.properties, will_delay_interval=None)
        carried = None if properties == NO_PROPERTIES else properties
        self.publish(Message(will.topic.encode(), will.payload, will.qos, 0, False, will.retain, carried), client_id)

    def flush(self) -> None:
        """Write what was collected for any connection."""
        while self.unflushed:
            connections, self.unflushed = self.unflushed, []
            for connection in connections:
                connection.flush()

    # -- messages ------------------------------------------------------------------------------------------------

    def publish(self, message: Message, origin: str) -> bool:
        """Keep and forward a message; False if the topic is not for clients (``$SYS``) or retaining has no room."""
        self.counters.received += 1
        if message.topic.startswith(b"$SYS"):
            self.counters.dropped += 1
            return False
        if message.retain and not self._retain(message):
            return False
        self._forward(message, origin)
        return True

    def _retain(self, message: Message) -> bool:
        topic = message.topic.decode()
        if not message.payload:
            self._retained.pop(topic, None)
        elif topic not in self._retained and len(self._retained) >= self.limits.retained:
            self.counters.dropped += 1
            return False
        else:
            self._retained[topic] = _outgoing(message)._replace(retain=True)
        return True

    def _forward(self, message: Message, origin: str) -> None:
        routes = self._routes.get(message.topic)
        if routes is None:
            if len(self._routes) > 65_536:
                self._routes.clear()
            routes = self._routes[message.topic] = self._find_routes(message.topic.decode())
        if not routes:
            return
        whole = _outgoing(message)
        for session, qos, as_published, no_local, identifiers in routes:
            if no_local and session.client_id == origin:
                continue
            properties = whole.properties
            if identifiers and session.version >= MQTT_5:
                properties = replace(properties, subscription_identifier=identifiers)
            out = Outgoing(
                whole.topic,
                whole.payload,
                min(qos, whole.qos),
                whole.retain and as_published,
                properties,
                whole.expires,
            )
            if self.faults.active:
                self._deliver_with_faults(session, out)
            else:
                session.deliver(out)

    def _deliver_with_faults(self, session: Session, message: Outgoing) -> None:
        dropped, cut = self.faults.deliver(session, message)
        self.counters.dropped += dropped
        if cut:
            self.flush()
            # Later, so that what was just written leaves first, as it would on a wire that breaks afterwards.
            asyncio.get_running_loop().call_later(0.01, self.cut, session.client_id)

    def _find_routes(self, topic: str) -> list[_Route]:
        found: dict[str, _Route] = {}
        for session, topic_filter in self._subscribers.match(topic):
            options, identifier = session.subscriptions[topic_filter]
            route = _Route(
                session,
                min(options.qos, 1),
                options.retain_as_published,
                options.no_local,
                () if identifier is None else (identifier,),
            )
            other = found.get(session.client_id)
            if other is not None:
                # Overlapping subscriptions get one copy at the highest QoS, with all identifiers (§3.3.4).
                route = _Route(
                    session,
                    max(route.qos, other.qos),
                    route.as_published or other.as_published,
                    route.no_local and other.no_local,
                    other.identifiers + route.identifiers,
                )
            found[session.client_id] = route
        return list(found.values())

    def subscribe(self, session: Session, subscription: Subscription, identifier: int | None) -> bool:
        """Add or replace a subscription; True if it is new."""
        new = subscription.filter not in session.subscriptions
        if new:
            self._subscribers.add(subscription.filter, (session, subscription.filter))
        session.subscriptions[subscription.filter] = (subscription, identifier)
        self._routes.clear()
        return new

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Take a subscription away; False if there was none."""
        if session.subscriptions.pop(topic_filter, None) is None:
            return False
        self._subscribers.remove(topic_filter, (session, topic_filter))
        self._routes.clear()
        return True

    def send_retained(self, session: Session, subscription: Subscription, identifier: int | None) -> None:
        """Send the retained messages that a subscription asks for."""
        for topic, message in list(self._retained.items()):
            if not matches(subscription.filter, topic):
                continue
            if message.expires is not None and message.expires <= time.monotonic():
                del self._retained[topic]
                continue
            properties = message.properties
            if identifier is not None and session.version >= MQTT_5:
                properties = replace(properties, subscription_identifier=(identifier,))
            session.deliver(message._replace(qos=min(subscription.qos, message.qos), properties=properties))

    # -- faults --------------------------------------------------------------------------------------------------

    def stall(self, client_id: str, seconds: float) -> None:
        """Neither read from nor send to a client, or all ("" ), for some seconds."""
        for name in [client_id] if client_id else list(self._sessions):
            self._set_stalled(name, True)
            asyncio.get_running_loop().call_later(seconds, self._set_stalled, name, False)

    def _set_stalled(self, client_id: str, stalled: bool) -> None:
        if (connection := self.online.get(client_id)) is not None:
            connection.stall(stalled)
        if (session := self._sessions.get(client_id)) is not None:
            session.stalled = stalled
            session.pump()
        self.flush()

    def cut(self, client_id: str) -> None:
        """End a client's connection, or all (""), without DISCONNECT."""
        for name in [client_id] if client_id else list(self.online):
            if (connection := self.online.get(name)) is not None:
                connection.cut()

    def forget(self, client_id: str) -> None:
        """Delete a session, or all (""), and cut its connection; no will is sent."""
        for name in [client_id] if client_id else list(self._sessions):
            if (connection := self.online.get(name)) is not None:
                connection.will = None
                connection.cut()
                self.left(connection)
            self._wills.pop(name, None)
            self._delete(name)

    def clear_faults(self) -> None:
        """End all faults and send what reordering held back."""
        for client_id, message in self.faults.clear():
            if (session := self._sessions.get(client_id)) is not None:
                session.deliver(message)
        self.flush()

    def counters_now(self) -> dict[str, int]:
        """Return the counters since the start, and what is there now."""
        sessions = self._sessions.values()
        return {
            "uptime": int(time.monotonic() - self._began),
            "connected": len(self.online),
            "sessions": len(self._sessions),
            "received": self.counters.received,
            "sent": self.counters.sent,
            "dropped": self.counters.dropped,
            "redelivered": self.counters.redelivered,
            "bytes_received": self.counters.bytes_received,
            "inflight": sum(session.inflight for session in sessions),
            "queued": sum(session.queued for session in sessions),
        }

    def request_stop(self) -> None:
        """Let the process end."""
        self.stopped.set()


def _outgoing(message: Message) -> Outgoing:
    properties: Properties = NO_PROPERTIES if message.properties is None else message.properties
    expires = None
    if properties.message_expiry_interval is not None:
        expires = time.monotonic() + properties.message_expiry_interval
    return Outgoing(message.topic, message.payload, message.qos, message.retain, properties, expires)


def _read_users(path: str | None) -> dict[str, str] | None:
    if path is None:
        return None
    users = json.loads(Path(path).read_text("utf-8"))
    return {str(name): str(password) for name, password in users.items()}


def _write_ready(path: Path, ready: dict[str, int]) -> None:
    # Renamed into place, so that a reader never sees half of it.
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(json.dumps(ready), "utf-8")
    unfinished.rename(path)


async def _serve(options: argparse.Namespace) -> None:
    users = _read_users(options.users_file)
    limits = BrokerLimits(options.max_inflight, options.max_queued, options.max_packet_bytes)
    broker = Broker(limits=limits, users=users, seed=options.seed, sys_seconds=options.sys_seconds)
    await broker.start(options.host, options.port, options.control_port)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, broker.request_stop)
    if options.exit_with_parent:
        loop.add_reader(sys.stdin.fileno(), broker.request_stop)
    ready = {"port": broker.port, "control_port": broker.control_port, "pid": os.getpid()}
    if options.ready_file:
        _write_ready(Path(options.ready_file), ready)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await broker.stopped.wait()
    await broker.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m weftline.testing.mqtt_broker", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883, help="0 takes a free one")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--ready-file")
    parser.add_argument("--users-file", help="JSON object of user names and passwords; without it everyone may connect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-inflight", type=int, default=65_535)
    parser.add_argument("--max-queued", type=int)
    parser.add_argument("--max-packet-bytes", type=int, default=268_435_460)
    parser.add_argument("--sys-seconds", type=float, default=1.0)
    parser.add_argument("--exit-with-parent", action="store_true")
    asyncio.run(_serve(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
