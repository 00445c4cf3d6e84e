"""Misbehave on command, and the same way every time.

A fault plan belongs to one broker. Random faults (drop, duplicate, reorder) draw from one generator per client, seeded
by the plan's seed and the client identifier, so that what one client suffers does not depend on the others.

The control channel takes one JSON object a line on a loopback port and answers each with one line:

    {"do": "stall", "seconds": 5, "client": "c1"}      nothing is read from or sent to it (all clients without "client")
    {"do": "drop", "rate": 0.1, "client": "c1"}        messages to it vanish, and are counted as dropped
    {"do": "duplicate", "rate": 0.1, "client": "c1"}   messages at QoS 1 are sent twice, the second with DUP
    {"do": "reorder", "rate": 0.1, "client": "c1"}     a message is sent after the one that follows it
    {"do": "cut", "client": "c1", "after": 100}        the connection ends without a word, after so many messages to it
    {"do": "forget", "client": "c1"}                   the session is gone, and the connection with it
    {"do": "clear"}                                    no more faults
    {"do": "counters"}  {"do": "stop"}                 what was counted; end the broker
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any, Protocol

from weftline.errors import InputError
from weftline.testing.mqtt_session import Outgoing, Session


class FaultError(InputError):
    """Say what is wrong with a line on the control channel."""

    code = "mqtt-broker-fault"


@dataclass(slots=True)
class ClientFaults:
    """What messages to one client suffer."""

    random: random.Random
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    cut_after: int | None = None
    held: Outgoing | None = None


class FaultPlan:
    """The faults of one broker; "" stands for every client."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rates: dict[str, dict[str, float]] = {}
        self._clients: dict[str, ClientFaults] = {}
        self.active = False

    def set_rate(self, client_id: str, fault: str, rate: float) -> None:
        """Let `fault` (drop, duplicate, reorder) happen to a share `rate` of the messages."""
        if not 0 <= rate <= 1:
            raise FaultError(place=fault, found=f"rate {rate}", expected="0 to 1", next_step="correct the command")
        self._rates.setdefault(client_id, {})[fault] = rate
        for name in self._clients if not client_id else [client_id]:
            setattr(self.of(name), fault, rate)
        self.active = True

    def cut_after(self, client_id: str, messages: int) -> None:
        """Cut the connection of `client_id` once so many more messages went to it."""
        self.of(client_id).cut_after = messages
        self.active = True

    def clear(self) -> list[tuple[str, Outgoing]]:
        """End all faults and return the messages that reordering still held."""
        held = [(name, faults.held) for name, faults in self._clients.items() if faults.held is not None]
        self._rates.clear()
        self._clients.clear()
        self.active = False
        return held

    def of(self, client_id: str) -> ClientFaults:
        """Return the faults of one client."""
        faults = self._clients.get(client_id)
        if faults is None:
            rates = {**self._rates.get("", {}), **self._rates.get(client_id, {})}
            faults = self._clients[client_id] = ClientFaults(random.Random(f"{self._seed}/{client_id}"))
            for fault, rate in rates.items():
                setattr(faults, fault, rate)
        return faults

    def deliver(self, session: Session, message: Outgoing) -> tuple[bool, bool]:
        """Deliver through the faults; return (dropped, cut the connection now)."""
        faults = self.of(session.client_id)
        draw = faults.random.random
        if faults.drop and draw() < faults.drop:
            return True, False
        if faults.held is not None:
            session.deliver(message)
            session.deliver(faults.held)
            faults.held = None
        elif faults.reorder and draw() < faults.reorder:
            faults.held = message
            return False, False
        else:
            session.deliver(message)
        if message.qos and faults.duplicate and draw() < faults.duplicate:
            session.send_again()
        if faults.cut_after is not None:
            faults.cut_after -= 1
            if faults.cut_after <= 0:
                faults.cut_after = None
                return False, True
        return False, False


class Controlled(Protocol):
    """What the control channel does to a broker."""

    faults: FaultPlan

    def stall(self, client_id: str, seconds: float) -> None:
        """Neither read from nor send to `client_id` for a while."""

    def cut(self, client_id: str) -> None:
        """End connections without DISCONNECT."""

    def forget(self, client_id: str) -> None:
        """Delete the session."""

    def clear_faults(self) -> None:
        """End all faults."""

    def counters_now(self) -> dict[str, int]:
        """Return what was counted."""

    def request_stop(self) -> None:
        """End the broker."""


def obey(broker: Controlled, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one command and return the answer."""
    client_id = str(command.get("client", ""))
    match command.get("do"):
        case "stall":
            broker.stall(client_id, float(command["seconds"]))
        case "drop" | "duplicate" | "reorder" as fault:
            broker.faults.set_rate(client_id, fault, float(command["rate"]))
        case "cut" if "after" in command:
            broker.faults.cut_after(client_id, int(command["after"]))
        case "cut":
            broker.cut(client_id)
        case "forget":
            broker.forget(client_id)
        case "clear":
            broker.clear_faults()
        case "counters":
            return {"ok": True, **broker.counters_now()}
        case "stop":
            broker.request_stop()
        case other:
            raise FaultError(place="do", found=repr(other), expected="a command of mqtt_faults", next_step="correct it")
    return {"ok": True}


async def serve_control(broker: Controlled, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one control connection until it ends."""
    try:
        while line := await reader.readline():
            try:
                answer = obey(broker, json.loads(line))
            except (FaultError, ValueError, KeyError, TypeError) as error:
                answer = {"ok": False, "error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
    finally:
        writer.close()
