"""What one fault round works with: a fabric folder, its server, a broker, and what was sent."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftline.cli.holder import SOCKET, Remote
from weftline.errors import WeftlineError
from weftline.protocols.mqtt.client import ClientOptions, MqttClient
from weftline.protocols.mqtt.packets import Subscription
from weftline.protocols.mqtt.stream import Message
from weftline.service.operations import Operations
from weftline.service.wiring import STATE, open_fabric
from weftline.testing.faults.folder import DROP, HTTP_FEED, Limits, write_fault_fabric
from weftline.testing.faults.process import FabricProcess, free_port
from weftline.testing.faults.senders import Body, Pace, Sender, Sent, drop_files, publish, push, record
from weftline.testing.mosquitto import Mosquitto
from weftline.testing.mqtt_process import BrokerProcess
from weftline.testing.small_disk import small_disk

__all__ = ["CLIENT", "FILTERS", "WAYS", "Broker", "World", "new_world"]

WAYS = ("mosquitto", "broker", "http", "files")
CLIENT = "weftline-faults"
FILTERS = ("good/+", "poison/+")
SETTLE_SECONDS = 30.0
CLOCK_SHIFT = "WEFTLINE_CLOCK_SHIFT_FILE"
Broker = Mosquitto | BrokerProcess


@dataclass
class World:
    """One round's fabric, its broker and what was sent."""

    folder: Path
    seed: int
    server: FabricProcess
    port: int
    key: str
    broker: Broker | None
    draw: random.Random
    sent: Sent = field(default_factory=Sent)
    notes: dict[str, Any] = field(default_factory=dict)
    may_lose: int = 0

    def send(self, way: str, pace: Pace, *, body: Body = record) -> Sender:
        """Start a sender of one way: mosquitto, broker, http or files."""
        if way == "http":
            return push(self.port, self.key, self.sent, self.seed, pace, body=body)
        if way == "files":
            return drop_files(self.folder, self.sent, self.seed, pace, body=body)
        return publish(self.mqtt_port, self.sent, self.seed, pace, body=body)

    @property
    def mqtt_port(self) -> int:
        """Return the broker's port."""
        assert self.broker is not None, "the round asked for a broker"
        return self.broker.port

    @property
    def faulty(self) -> BrokerProcess:
        """Return our own broker, which takes fault commands."""
        assert isinstance(self.broker, BrokerProcess), "the round asked for the broker with faults"
        return self.broker

    @property
    def shift_file(self) -> Path:
        """Return the file that moves the server's clock: microseconds as text."""
        return self.folder.with_name("clock-shift")

    def shift(self, micros: int) -> None:
        """Let the server's wall clock jump to so far from the machine's."""
        part = self.shift_file.with_suffix(".part")
        part.write_text(str(micros), "ascii")
        part.replace(self.shift_file)

    def stored(self) -> int:
        """Return how many records have an outcome other than duplicate, as the running server says."""
        try:
            rows = Remote(self.folder / STATE / SOCKET).call("ledger", feed="")
        except (WeftlineError, OSError):
            return -1
        return sum(int(row["stored"] or 0) + int(row["quarantined"] or 0) for row in rows)

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until the server has stored what was acknowledged; the judge finds what is missing after that."""
        self.revive()
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.stored() < len(self.sent.acknowledged) - self.may_lose:
            self.revive()
            time.sleep(0.2)

    def revive(self) -> None:
        """Start the server again, without failpoints, where it is dead."""
        if not self.server.alive:
            self.server.wait_end()
            self.server.start()


async def _keep_session(port: int) -> None:
    """Make the server's session, so that what is published is owed to it from the first message on."""
    client = MqttClient(
        ClientOptions("127.0.0.1", port=port, client_id=CLIENT, session_expiry_seconds=86_400), _nothing
    )
    await client.connect()
    await client.subscribe([Subscription(each, 1) for each in FILTERS])
    await client.stop()


def _nothing(_messages: list[Message]) -> None:
    """Take no messages: nothing is published yet."""


@contextmanager
def new_world(
    folder: Path, name: str, seed: int, *, way: str = "", disk: int = 0, limits: Limits | None = None
) -> Iterator[World]:
    """Make a fabric below a folder, with a broker where the way needs one, on a small disk of `disk` bytes."""
    log, shift = folder / "server.log", folder / "clock-shift"
    folder = folder / "fabric"
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        if disk:
            stack.enter_context(small_disk(folder, disk))
        broker: Broker | None = None
        if way == "mosquitto":
            broker = stack.enter_context(Mosquitto())
        elif way == "broker":
            broker = stack.enter_context(BrokerProcess(seed=seed))
        port = free_port()
        write_fault_fabric(folder, mqtt_port=broker.port if broker else 0, port=port, limits=limits)
        (folder / DROP).mkdir(parents=True, exist_ok=True)
        fabric = open_fabric(folder, start=False)
        try:
            key = str(Operations(fabric).key_create(f"feed:{HTTP_FEED}")["key"])
        finally:
            fabric.close()
        if broker is not None:
            asyncio.run(_keep_session(broker.port))
        server = FabricProcess(folder, log, environment={CLOCK_SHIFT: str(shift)})
        stack.enter_context(server)
        yield World(folder, seed, server, port, key, broker, random.Random(f"{name}/{seed}"))
