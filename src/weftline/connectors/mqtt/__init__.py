"""MQTT 3.1.1 and 5: one persistent session per connection, QoS 1, topic patterns with captures."""

from __future__ import annotations

from weftline.connectors.mqtt.source import MqttConnector

__all__ = ["MqttConnector"]
