from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.protocols.mqtt.errors import MalformedPacketError, MqttError, PacketTooLargeError, ProtocolViolationError
from weftline.protocols.mqtt.packets import (
    Acknowledgement,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from weftline.protocols.mqtt.properties import NO_PROPERTIES, PacketType, Properties
from weftline.protocols.mqtt.stream import Frame, Message, PacketStream

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TOPIC = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20)
FILTER = st.sampled_from(["#", "a/+/b", "+", "plant/#", "a"])
IDENTIFIER = st.integers(1, 65_535)
USER = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
MESSAGE_PROPERTIES = st.builds(
    Properties,
    payload_format_indicator=st.none() | st.integers(0, 1),
    message_expiry_interval=st.none() | st.integers(0, 2**32 - 1),
    content_type=st.none() | TEXT,
    response_topic=st.none() | TEXT,
    correlation_data=st.none() | st.binary(max_size=20),
    user_property=USER,
)
REASONED = st.builds(Properties, reason_string=st.none() | TEXT, user_property=USER)
WILL = st.builds(
    Will,
    TOPIC,
    st.binary(max_size=20),
    st.integers(0, 2),
    st.booleans(),
    st.builds(Properties, will_delay_interval=st.none() | st.integers(0, 9), user_property=USER),
)


def publishes(properties: st.SearchStrategy[Properties]) -> st.SearchStrategy[Publish]:
    return st.one_of(
        st.builds(Publish, TOPIC, st.binary(max_size=300), retain=st.booleans(), properties=properties),
        st.builds(
            Publish,
            TOPIC,
            st.binary(max_size=300),
            st.integers(1, 2),
            IDENTIFIER,
            st.booleans(),
            st.booleans(),
            properties,
        ),
    )


PACKETS_5: st.SearchStrategy[Packet] = st.one_of(
    st.builds(
        Connect,
        TEXT,
        st.just(5),
        st.booleans(),
        st.integers(0, 65_535),
        st.none() | TEXT,
        st.none() | st.binary(max_size=9),
        st.none() | WILL,
        st.builds(
            Properties,
            session_expiry_interval=st.none() | st.integers(0, 2**32 - 1),
            receive_maximum=st.none() | st.integers(1, 65_535),
            maximum_packet_size=st.none() | st.integers(1, 2**32 - 1),
            topic_alias_maximum=st.none() | st.integers(0, 65_535),
        ),
    ),
    st.builds(
        ConnAck,
        st.booleans(),
        st.integers(0, 255),
        st.builds(Properties, maximum_qos=st.none() | st.integers(0, 1), assigned_client_identifier=st.none() | TEXT),
    ),
    publishes(MESSAGE_PROPERTIES),
    st.builds(
        Acknowledgement,
        st.sampled_from([PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP]),
        IDENTIFIER,
        st.integers(0, 255),
        REASONED,
    ),
    st.builds(
        Subscribe,
        IDENTIFIER,
        st.lists(
            st.builds(Subscription, FILTER, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)),
            min_size=1,
            max_size=3,
        ).map(tuple),
        st.builds(
            Properties,
            subscription_identifier=st.lists(st.integers(1, 268_435_455), max_size=1).map(tuple),
            user_property=USER,
        ),
    ),
    st.builds(SubAck, IDENTIFIER, st.lists(st.integers(0, 255), min_size=1, max_size=3).map(tuple), REASONED),
    st.builds(Unsubscribe, IDENTIFIER, st.lists(FILTER, min_size=1, max_size=3).map(tuple)),
    st.builds(UnsubAck, IDENTIFIER, st.lists(st.integers(0, 255), min_size=1, max_size=3).map(tuple), REASONED),
    st.just(PingReq()),
    st.just(PingResp()),
    st.builds(Disconnect, st.integers(0, 255), REASONED),
    st.builds(Auth, st.integers(0, 255), st.builds(Properties, authentication_method=st.none() | TEXT)),
)


def cut(data: bytes) -> tuple[int, bytes]:
    stream = PacketStream(0)
    [segment] = stream.feed(data)
    assert isinstance(segment, Frame)
    return segment


def plain(packet: Publish) -> Message:
    properties = None if packet.properties == NO_PROPERTIES else packet.properties
    topic = packet.topic.encode()
    return Message(topic, packet.payload, packet.qos, packet.packet_id, packet.dup, packet.retain, properties)


@given(packet=PACKETS_5)
def test_every_mqtt_5_packet_survives_a_round_trip(packet: Packet) -> None:
    data = encode(packet, 5)
    head = 2 if data[1] < 128 else 3
    assert decode(data[0], data[head:], 5) == packet


@given(packet=publishes(st.just(NO_PROPERTIES)))
def test_every_mqtt_3_message_survives_a_round_trip(packet: Publish) -> None:
    data = encode(packet, 4)
    head = 2 if data[1] < 128 else 3
    assert decode(data[0], data[head:], 4) == packet


@given(
    packets=st.lists(publishes(MESSAGE_PROPERTIES) | st.just(PingResp()), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
def test_the_fast_way_agrees_with_the_plain_way_however_the_bytes_are_cut(
    packets: list[Publish | PingResp], sizes: list[int]
) -> None:
    data = b"".join(encode(packet, 5) for packet in packets)
    stream, seen, at, turn = PacketStream(5), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        for segment in stream.feed(data[at : at + size]):
            seen.extend([segment] if isinstance(segment, Frame) else segment)
        at, turn = at + size, turn + 1
    assert stream.failure is None
    expected = [plain(each) if isinstance(each, Publish) else Frame(0xD0, b"") for each in packets]
    assert seen == expected


@given(data=st.binary(max_size=80), version=st.sampled_from([0, 4, 5]))
def test_arbitrary_bytes_raise_nothing_but_the_mqtt_error(data: bytes, version: int) -> None:
    stream = PacketStream(version)
    for segment in stream.feed(data):
        if isinstance(segment, Frame):
            try:
                decode(segment.first, segment.body, version or 5)
            except MqttError:
                continue


@given(packet=PACKETS_5, at=st.integers(0, 500), byte=st.integers(0, 255), keep=st.integers(0, 500))
def test_a_damaged_packet_raises_nothing_but_the_mqtt_error(packet: Packet, at: int, byte: int, keep: int) -> None:
    data = bytearray(encode(packet, 5))
    data[at % len(data)] = byte
    stream = PacketStream(5)
    segments = stream.feed(bytes(data[: keep or None]))
    for body in [segment.body for segment in segments if isinstance(segment, Frame)]:
        try:
            decode(data[0], body, 5)
        except MqttError:
            continue
    try:
        decode(data[0], bytes(data[2:]), 5)
    except MqttError:
        return


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x00\x00", "packet type 0"),
        (b"\xc1\x00", "flags 0001"),
        (b"\x80\x05", "flags 0000"),
        (b"\x30\xff\xff\xff\xff", "longer than four bytes"),
        (b"\x30\x80\x00", "needless byte"),
        (b"\x36\x05\x00\x01a\x00\x01", "QoS 3"),
        (b"\x32\x05\x00\x01a\x00\x00", "packet identifier 0"),
        (b"\x38\x03\x00\x01a", "DUP at QoS 0"),
        (b"\x30\x03\x00\x01+", "topic name"),
        (b"\x30\x02\x00\x00", "topic name"),
        (b"\x30\x04\x00\x02\xc3\x28", "0xc3"),
        (b"\x30\x03\x00\x09a", "runs past the end"),
        (b"\x30\x01\x00", "1 bytes"),
        (b"\x30\x03\x00\x01\x00", "U+0000"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else value.replace(" ", "-"),
)
def test_a_malformed_packet_is_named(data: bytes, expected: str) -> None:
    stream = PacketStream(4)
    assert not any(stream.feed(data))
    assert expected in str(stream.failure)
    assert stream.feed(b"\xd0\x00") == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("300600016103ff00", "property identifier 0xff"),
        ("3008000161040100" + "0101", "twice"),
        ("300700016103230000", "topic_alias 0"),
        ("30070001610311000000", "session_expiry_interval"),
        ("3005000161" + "09", "property"),
    ],
)
def test_wrong_properties_are_named(data: str, expected: str) -> None:
    raw = bytes.fromhex(data)
    with pytest.raises(MalformedPacketError) as caught:
        decode(raw[0], raw[2:], 5)
    assert expected in str(caught.value) or "bytes" in str(caught.value)


def test_messages_before_a_malformed_packet_are_still_handed_over() -> None:
    stream = PacketStream(4)
    [messages] = stream.feed(encode(Publish("a", b"1"), 4) + b"\x00\x00")
    assert isinstance(messages, list)
    assert [message.payload for message in messages] == [b"1"]
    assert isinstance(stream.failure, MalformedPacketError)


def test_a_packet_over_the_agreed_size_is_refused_before_its_body_arrives() -> None:
    stream = PacketStream(4, maximum_packet_size=100)
    assert stream.feed(b"\x30\xff\x7f") == []
    assert isinstance(stream.failure, PacketTooLargeError)


def test_a_topic_alias_stands_for_the_topic_it_was_given_with() -> None:
    stream = PacketStream(5, topic_alias_maximum=2)
    data = encode(Publish("a/b", b"1", properties=Properties(topic_alias=2)))
    data += encode(Publish("", b"2", properties=Properties(topic_alias=2, content_type="x")))
    [messages] = stream.feed(data)
    assert isinstance(messages, list)
    assert [(m.topic, m.payload, m.properties) for m in messages] == [
        (b"a/b", b"1", None),
        (b"a/b", b"2", Properties(content_type="x")),
    ]


@pytest.mark.parametrize("alias", [1, 3])
def test_an_unknown_or_too_large_topic_alias_is_refused(alias: int) -> None:
    stream = PacketStream(5, topic_alias_maximum=2)
    assert not any(stream.feed(encode(Publish("", b"2", properties=Properties(topic_alias=alias)))))
    assert isinstance(stream.failure, ProtocolViolationError)


def test_a_connect_of_an_unknown_version_is_refused_with_its_reason_code() -> None:
    body = encode(Connect("x"))[2:]
    with pytest.raises(ProtocolViolationError) as caught:
        decode(0x10, body.replace(b"MQTT\x05", b"MQTT\x06"))
    assert caught.value.reason == 0x84


def test_a_version_3_packet_refuses_to_carry_properties() -> None:
    with pytest.raises(MalformedPacketError):
        encode(Publish("a", b"", properties=Properties(content_type="x")), 4)


def test_the_stream_waits_for_the_version_after_the_first_packet() -> None:
    stream = PacketStream(0)
    data = encode(Connect("x", version=4)) + encode(Publish("a", b"1"), 4)
    assert cut(data)[0] == 0x10
    [first] = stream.feed(data)
    assert isinstance(first, Frame)
    stream.version = 4
    [messages] = stream.feed(b"")
    assert isinstance(messages, list)
    assert messages[0].payload == b"1"
