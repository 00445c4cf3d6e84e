"""Send records with identities over MQTT, HTTP and files, and remember which were acknowledged."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from weftline.errors import WeftlineError
from weftline.protocols.mqtt.client import ClientOptions, MqttClient
from weftline.protocols.mqtt.stream import Message
from weftline.testing.dropper import Dropper
from weftline.testing.faults.folder import DROP, HTTP_FEED
from weftline.testing.pusher import Pusher

__all__ = ["Pace", "Sender", "Sent", "drop_files", "poison", "publish", "push", "record"]

BAD_SHARE = 0.05
"""Share of records that break a rule and belong in quarantine."""
GIVE_UP_SECONDS = 60.0


@dataclass(slots=True)
class Sent:
    """Identities by what their sender knows. Filled by one thread per sender, read when they have ended."""

    acknowledged: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)
    """Sent, but the answer did not come: they may be there once, or not."""

    def confirm(self, names: list[str]) -> None:
        """Move identities from uncertain to acknowledged."""
        self.acknowledged.update(names)
        self.uncertain.difference_update(names)


class Pace(NamedTuple):
    """How many records a sender sends, how many together, and how long it waits between."""

    records: int = 400
    together: int = 10
    pause: float = 0.03


def record(name: str, draw: random.Random) -> bytes:
    """Return one record as JSON; a share of them breaks the contract's range."""
    value = -1.0 if draw.random() < BAD_SHARE else round(draw.uniform(0, 1000), 3)
    return json.dumps({"id": name, "value": value}).encode()


def poison(name: str, draw: random.Random) -> bytes:
    """Return one record that cannot be read or stored, with its identity somewhere in the bytes."""
    head = f'{{"id": "{name}", "value": '.encode()
    kinds: list[Callable[[], bytes]] = [
        lambda: head + b"\xff\xfe\x00\x80}",
        lambda: head,
        lambda: head + b"[" * 5000 + b"]" * 5000 + b"}",
        lambda: head + b'"' + b"x" * draw.randrange(1000, 200_000) + b'"}',
        lambda: head + b"NaN}",
        lambda: head + b"1e999}",
        lambda: b"\x00\x01\x02" + name.encode() + bytes(draw.randrange(128, 256) for _ in range(50)),
        lambda: head + b'1, "value": -2}',
        lambda: b'["' + name.encode() + b'"',
        name.encode,
    ]
    return draw.choice(kinds)()


class Sender(threading.Thread):
    """Run one way of sending in a thread; `finish` waits for its end and raises what went wrong."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(name="sender", daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Run the work on an event loop of its own."""
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again in `finish`
            self._error = error

    def finish(self, seconds: float = GIVE_UP_SECONDS) -> None:
        """Wait for the end."""
        self.join(seconds)
        if self._error is not None:
            raise self._error
        if self.is_alive():
            raise TimeoutError(f"a sender still sends after {seconds:.0f} s")


def _batches(prefix: str, seed: int, pace: Pace) -> Iterator[list[str]]:
    for start in range(0, pace.records, pace.together):
        yield [f"{prefix}-{seed}-{number:06d}" for number in range(start, min(start + pace.together, pace.records))]


Body = Callable[[str, random.Random], bytes]


def publish(
    port: int, sent: Sent, seed: int, pace: Pace, *, prefix: str = "m", topic: str = "good", body: Body = record
) -> Sender:
    """Publish at QoS 1; acknowledged means the broker's PUBACK."""

    async def work() -> None:
        draw = random.Random(f"{prefix}/{seed}")
        client = MqttClient(
            ClientOptions("127.0.0.1", port=port, client_id=f"sender-{prefix}-{seed}", clean_start=True), _nothing
        )
        await client.connect()
        try:
            for names in _batches(prefix, seed, pace):
                sent.uncertain.update(names)
                await client.publish_many(
                    [(f"{topic}/m{draw.randrange(5)}", body(name, draw)) for name in names], qos=1
                )
                sent.confirm(names)
                await asyncio.sleep(pace.pause)
        finally:
            await client.stop()

    return Sender(work)


def _nothing(_messages: list[Message]) -> None:
    """Take no messages: a sender subscribes to nothing."""


def push(port: int, key: str, sent: Sent, seed: int, pace: Pace, *, prefix: str = "h", body: Body = record) -> Sender:
    """Push NDJSON with idempotency keys until there is an answer; acknowledged means 200 or 202.

    Every fifth push is sent twice, as a sender does that lost the answer.
    """

    async def work() -> None:
        draw = random.Random(f"{prefix}/{seed}")
        pusher = Pusher(port, bearer=key, seed=seed)
        for turn, names in enumerate(_batches(prefix, seed, pace)):
            sent.uncertain.update(names)
            content = b"".join(body(name, draw) + b"\n" for name in names)
            for _ in range(2 if turn % 5 == 4 else 1):
                answer = await pusher.push(HTTP_FEED, f"{prefix}-{seed}-{turn}", content, seconds=GIVE_UP_SECONDS)
                if answer.status not in {200, 202}:
                    raise PushRefusedError(
                        place=HTTP_FEED, found=f"{answer.status}: {answer.body[:300]!r}", expected="200 or 202"
                    )
            sent.confirm(names)
            await asyncio.sleep(pace.pause)

    return Sender(work)


class PushRefusedError(WeftlineError):
    """Say what the server answered to a push that it should have taken."""

    code = "fault-push"


async def _drop(dropper: Dropper, name: str, content: bytes) -> None:
    """Drop a file; where the disk is full, which the sender shares here, try again until it is not."""
    while True:
        try:
            dropper.drop(name, content)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def drop_files(folder: Path, sent: Sent, seed: int, pace: Pace, *, prefix: str = "f", body: Body = record) -> Sender:
    """Move whole files into the drop folder; acknowledged means that the file lies there.

    Every fifth file is dropped again under another name.
    """

    async def work() -> None:
        draw = random.Random(f"{prefix}/{seed}")
        dropper = Dropper(folder / DROP)
        for turn, names in enumerate(_batches(prefix, seed, pace)):
            content = b"".join(body(name, draw) + b"\n" for name in names)
            await _drop(dropper, f"{prefix}{turn:05d}.ndjson", content)
            sent.confirm(names)
            if turn % 5 == 4:
                await _drop(dropper, f"{prefix}{turn:05d}-again.ndjson", content)
            await asyncio.sleep(pace.pause)

    return Sender(work)
