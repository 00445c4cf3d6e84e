"""Look at a broker without touching the feed's session: a clean session of its own that subscribes and leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from weftline.connectors.base import Finding
from weftline.model.feed import FeedSpec
from weftline.protocols.mqtt.client import ClientOptions, MqttClient
from weftline.protocols.mqtt.errors import MqttError
from weftline.protocols.mqtt.packets import Subscription
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import TopicPattern

__all__ = ["probe"]

LISTEN_SECONDS = 2.0
LIMITS = "set max_queued_messages and max_inflight_messages high enough for the longest stall you expect"


async def probe(options: ClientOptions, feed: FeedSpec) -> Sequence[Finding]:
    """Return how the broker answers, what it grants the selector, and what it says of its limits."""
    seen: list[Message] = []
    client = MqttClient(options, seen.extend)
    broker = f"{options.host}:{options.port}"
    try:
        await client.connect()
    except MqttError as error:
        return [Finding(f"broker {broker}", "failed", error.complaint.found, error.complaint.next_step)]
    try:
        return [Finding(f"broker {broker}", "ok", _said(client)), *await _ask(client, feed, seen)]
    finally:
        await client.stop()


def _said(client: MqttClient) -> str:
    properties = client.connack.properties
    told = [
        f"{name.replace('_', ' ')} {value}"
        for name in ("receive_maximum", "maximum_packet_size", "maximum_qos", "server_keep_alive")
        if (value := getattr(properties, name, None)) is not None
    ]
    version = "MQTT 5" if client.options.version == 5 else "MQTT 3.1.1"
    return f"{version}; " + (", ".join(told) or "no limits told")


async def _ask(client: MqttClient, feed: FeedSpec, seen: list[Message]) -> list[Finding]:
    pattern = TopicPattern.parse(feed.selector.topic)
    found: list[Finding] = []
    try:
        granted = await client.subscribe([Subscription(pattern.filter, 1)])
        verdict = "ok" if granted[0] == 1 else "warning"
        step = "" if granted[0] == 1 else "At QoS 0 messages can be lost; allow QoS 1 for this client."
        found.append(Finding(f"selector {pattern.text}", verdict, f"granted QoS {granted[0]}", step))
    except MqttError as error:
        return [Finding(f"selector {pattern.text}", "failed", error.complaint.found, "Check the broker's access list.")]
    try:
        await client.subscribe([Subscription("$SYS/broker/#", 0)])
    except MqttError as error:
        found.append(Finding("$SYS counters", "unknown", error.complaint.found))
    await asyncio.sleep(LISTEN_SECONDS)
    system = {
        message.topic.decode(): message.payload.decode("utf-8", "replace")
        for message in seen
        if message.topic[:4] == b"$SYS"
    }
    messages = sum(1 for message in seen if message.topic[:4] != b"$SYS")
    found.append(
        Finding(
            "messages",
            "ok" if messages else "unknown",
            f"{messages} in {LISTEN_SECONDS:.0f} s, none taken from the feed",
        )
    )
    dropped = next((value for topic, value in system.items() if topic.endswith("dropped")), None)
    if dropped is None:
        found.append(Finding("queue limits", "unknown", "MQTT does not tell them and $SYS is not readable", LIMITS))
    else:
        verdict = "ok" if dropped in {"0", "0.0"} else "warning"
        found.append(Finding("queue limits", verdict, f"the broker has dropped {dropped} messages so far", LIMITS))
    return found
