"""Speak MQTT 3.1.1 and 5: packets, topics and a client built to receive in bulk."""

from __future__ import annotations

from weftline.protocols.mqtt.client import ClientOptions, ClientState, MqttClient
from weftline.protocols.mqtt.packets import Subscription
from weftline.protocols.mqtt.properties import Properties
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import PatternTable, Tie, TopicPattern

__all__ = [
    "ClientOptions",
    "ClientState",
    "Message",
    "MqttClient",
    "PatternTable",
    "Properties",
    "Subscription",
    "Tie",
    "TopicPattern",
]
