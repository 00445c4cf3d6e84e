"""Keys of an MQTT connection and of a feed's `select`; the manual is generated from these docs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["MqttOptions", "MqttSelector"]


class MqttOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One session with one MQTT broker."""

    host: Annotated[str, msgspec.Meta(min_length=1, description="Broker's host name or address.")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535, description="Broker's port; 8883 with TLS is customary.")] = 1883
    version: Annotated[
        Literal["3.1.1", "5"], msgspec.Meta(description="MQTT version; with 5 the session expiry is told.")
    ] = "5"
    client_id: Annotated[
        str, msgspec.Meta(description="Client identifier of the session; default: weftline-<connection>.")
    ] = ""
    username: Annotated[str, msgspec.Meta(description="User name, if the broker asks for one.")] = ""
    password_file: Annotated[
        str, msgspec.Meta(description="File that holds the password; the password itself never stands in the folder.")
    ] = ""
    password_env: Annotated[str, msgspec.Meta(description="Environment variable that holds the password.")] = ""
    tls: Annotated[bool, msgspec.Meta(description="Use TLS and check the broker's certificate.")] = False
    ca_file: Annotated[str, msgspec.Meta(description="Certificate authority of the broker, PEM.")] = ""
    certificate_file: Annotated[str, msgspec.Meta(description="Own certificate for mutual TLS, PEM.")] = ""
    key_file: Annotated[str, msgspec.Meta(description="Key of the own certificate, PEM.")] = ""
    keep_alive_seconds: Annotated[
        int, msgspec.Meta(ge=1, le=65535, description="Longest time in seconds without a packet each way.")
    ] = 30
    session_expiry_seconds: Annotated[
        int, msgspec.Meta(ge=60, description="Seconds the broker keeps the session while we are away (MQTT 5).")
    ] = 7 * 24 * 3600
    receive_maximum: Annotated[
        int, msgspec.Meta(ge=1, le=65535, description="Messages at QoS 1 on their way to us at a time (MQTT 5).")
    ] = 65535
    retained: Annotated[
        Literal["new", "never"],
        msgspec.Meta(description="Take retained messages of a new subscription, or never (MQTT 5)."),
    ] = "new"
    own_lane: Annotated[
        bool, msgspec.Meta(description="Give this connection a lane of its own; advised above 1,000 messages a second.")
    ] = False
    watch_drops: Annotated[
        bool, msgspec.Meta(description="Read the broker's count of dropped messages from $SYS and report a rise.")
    ] = True


class MqttSelector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages belong to the feed."""

    topic: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            description="Topic pattern, as umh/v1/{site}/{line}/{tag}: each {name} becomes a source field, {rest...} "
            "takes the remaining levels; + and # are allowed. The most specific pattern takes a message.",
        ),
    ]
