"""Publish what the plants measure, over MQTT at QoS 1, from a process of its own.

    python -m weftline.testing.world.plants --port 1883 --seed 1 --log sent.jsonl

A message is logged once the broker has acknowledged it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from weftline.protocols.mqtt import ClientOptions, MqttClient
from weftline.protocols.mqtt.errors import NotConnectedError
from weftline.testing.world.machines import Message, plant_messages
from weftline.testing.world.pacing import SentLog, Stop, arguments, played, started_at

__all__ = ["digest", "main"]

_SLICE_SECONDS = 0.02
_MOST = 500


def digest(payload: bytes) -> str:
    """Return the short digest by which the log names a payload."""
    return blake2b(payload, digest_size=8).hexdigest()


async def _publish(messages: Iterator[Message], client: MqttClient, stop: Stop, log: SentLog, start_ms: int) -> None:
    began = started_at(start_ms)
    waiting = next(messages)
    while not stop.now:
        until = time.monotonic() - began + _SLICE_SECONDS
        batch: list[Message] = []
        while waiting.due <= until and len(batch) < _MOST:
            batch.append(waiting)
            waiting = next(messages)
        if not batch:
            await asyncio.sleep(min(max(began + waiting.due - time.monotonic(), 0.001), 0.2))
            continue
        for retain in (False, True):
            await _acknowledged([message for message in batch if message.retain is retain], client, log, retain=retain)


async def _acknowledged(batch: list[Message], client: MqttClient, log: SentLog, *, retain: bool) -> None:
    if not batch:
        return
    while True:
        await client.connected()
        try:
            await client.publish_many([(each.topic, each.payload) for each in batch], qos=1, retain=retain)
        except NotConnectedError:
            # Nothing of the batch was taken: the link was gone before the first message.
            await asyncio.sleep(0.1)
        else:
            log.add({"feed": each.feed, "topic": each.topic, "payload": digest(each.payload)} for each in batch)
            return


async def _run(port: int, messages: Iterator[Message], stop: Stop, log: SentLog, start_ms: int) -> None:
    options = ClientOptions("127.0.0.1", port, client_id="demo-gateways", clean_start=True, session_expiry_seconds=0)
    client = MqttClient(options, lambda _messages: None, seed=1)
    client.start()
    publishing = asyncio.create_task(_publish(messages, client, stop, log, start_ms))
    while not publishing.done() and not stop.now:
        await asyncio.wait([publishing], timeout=0.2)
    if not publishing.done():
        # A batch whose acknowledgement is still open at the end gets a moment, so that the log stays true.
        await asyncio.wait([publishing], timeout=2)
    publishing.cancel()
    await client.stop()
    if publishing.done() and not publishing.cancelled():
        publishing.result()


def main(given: Sequence[str] | None = None) -> int:
    """Publish until told to stop."""
    parser = arguments("plants", "Publish what the plants of the demo world measure.")
    parser.add_argument("--port", type=int, required=True, help="port of the broker on loopback")
    options = parser.parse_args(given)
    chosen = played(options)
    stop = Stop(options)
    log = SentLog(Path(options.log) if options.log else None)
    asyncio.run(_run(options.port, plant_messages(chosen), stop, log, chosen.start_ms))
    log.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
