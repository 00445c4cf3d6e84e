from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from weftline.protocols.mqtt import ClientOptions, ClientState, Message, MqttClient, Properties, Subscription
from weftline.protocols.mqtt.connection import Connection
from weftline.protocols.mqtt.errors import (
    ConnectionLostError,
    ConnectRefusedError,
    NotConnectedError,
    PublishRefusedError,
)
from weftline.protocols.mqtt.packets import Connect, Disconnect, Publish, Will, encode
from weftline.testing.mqtt_broker import Broker, BrokerLimits, BrokerProcess
from weftline.testing.mqtt_load import Load, publish_load, read_load, start_load


class Owner:
    """Take messages as the road would: keep them, acknowledge when told to or at once."""

    def __init__(self, port: int, name: str = "road", *, prompt: bool = True, **options: object) -> None:
        self.messages: list[Message] = []
        self.states: list[ClientState] = []
        self.confirmed: list[int] = []
        self.held: list[tuple[int, list[int]]] = []
        self.prompt = prompt
        chosen = {"backoff_base_seconds": 0.02, "backoff_limit_seconds": 0.05, **options}
        self.client = MqttClient(
            ClientOptions("127.0.0.1", port, name, **chosen),
            self.take,
            on_state=self.states.append,
            on_confirmed=self.confirmed.extend,
            seed=1,
        )

    def take(self, messages: list[Message]) -> None:
        self.messages += messages
        ids = [message.packet_id for message in messages if message.qos]
        if self.prompt:
            self.client.acknowledge(ids, self.client.connection)
        else:
            self.held.append((self.client.connection, ids))

    @property
    def payloads(self) -> list[str]:
        return [message.payload.decode() for message in self.messages]


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    made = Broker(sys_seconds=0.2, users=None, seed=7)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def owners(broker: Broker) -> AsyncIterator[Callable[..., Owner]]:
    made: list[Owner] = []

    def make(*arguments: object, **options: object) -> Owner:
        owner = Owner(broker.port, *arguments, **options)
        made.append(owner)
        return owner

    yield make
    for owner in made:
        await owner.client.stop()


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
async def test_messages_arrive_in_order_and_their_pubacks_are_confirmed(
    owners: Callable[..., Owner], version: int
) -> None:
    road, plant = owners("road", version=version), owners("plant", version=version)
    await road.client.connect()
    await plant.client.connect()
    assert await road.client.subscribe([Subscription("p/#", 1)]) == (1,)
    assert await plant.client.publish_many([("p/a", str(n).encode()) for n in range(3000)], qos=1) == 3000
    await until(lambda: len(road.messages) == 3000)
    assert road.payloads == [str(n) for n in range(3000)]
    await until(lambda: len(road.confirmed) == 3000)


async def test_what_was_not_acknowledged_comes_again_with_dup_after_a_cut(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road, plant = owners(prompt=False), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    await plant.client.publish_many([("p", str(n).encode()) for n in range(6)], qos=1)
    await until(lambda: len(road.messages) == 6)
    first = road.client.connection
    ids = [message.packet_id for message in road.messages]
    assert road.client.acknowledge(ids[:2], first) == 2
    await asyncio.sleep(0.05)
    broker.cut("road")
    await until(lambda: len(road.messages) == 10)
    assert road.client.session_present
    assert [(m.payload, m.dup) for m in road.messages[6:]] == [(str(n).encode(), True) for n in range(2, 6)]
    assert road.client.acknowledge(ids[2:], first) == 0
    assert road.client.acknowledge([m.packet_id for m in road.messages[6:]], road.client.connection) == 4
    await until(lambda: sorted(road.confirmed) == sorted(ids))


async def test_pubacks_leave_in_order_of_receipt_whatever_order_they_are_given_in(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road, plant = owners(prompt=False), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    await plant.client.publish_many([("p", b"x")] * 3, qos=1)
    await until(lambda: len(road.messages) == 3)
    one, two, three = [message.packet_id for message in road.messages]
    now = road.client.connection
    assert road.client.acknowledge([three, two], now) == 0
    assert road.client.acknowledge([one], now) == 3


async def test_a_forgotten_session_is_seen_and_subscribed_again(broker: Broker, owners: Callable[..., Owner]) -> None:
    road, plant = owners(), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    broker.forget("road")
    await until(lambda: road.client.connection == 2 and road.client.state.name == "connected")
    assert not road.client.session_present
    await asyncio.sleep(0.05)
    await plant.client.publish("p", b"after", qos=1)
    await until(lambda: road.payloads == ["after"])


async def test_faults_do_what_they_say_and_the_same_for_the_same_seed(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road, plant = owners(), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    broker.faults.set_rate("road", "drop", 0.3)
    await plant.client.publish_many([("p", str(n).encode()) for n in range(200)], qos=1)
    await until(lambda: len(road.messages) + broker.counters.dropped == 200)
    draws = random.Random("7/road")
    kept = [str(n) for n in range(200) if draws.random() >= 0.3]
    assert road.payloads == kept
    broker.clear_faults()
    road.messages.clear()
    broker.faults.set_rate("", "duplicate", 1.0)
    await plant.client.publish("p", b"twice", qos=1)
    await until(lambda: [m.dup for m in road.messages] == [False, True])
    broker.clear_faults()
    road.messages.clear()
    broker.faults.set_rate("road", "reorder", 1.0)
    await plant.client.publish_many([("p", b"1"), ("p", b"2")], qos=1)
    await until(lambda: road.payloads == ["2", "1"])


async def test_a_stalled_client_loses_what_the_queue_limit_drops_and_sys_says_so() -> None:
    broker = Broker(limits=BrokerLimits(queued=10), sys_seconds=0.1)
    await broker.start()
    road, plant, watch = Owner(broker.port), Owner(broker.port, "plant"), Owner(broker.port, "watch")
    try:
        await road.client.connect()
        await plant.client.connect()
        await watch.client.connect()
        await road.client.subscribe([Subscription("p", 1)])
        await watch.client.subscribe([Subscription("$SYS/broker/publish/#", 0)])
        broker.stall("road", 0.3)
        await plant.client.publish_many([("p", str(n).encode()) for n in range(50)], qos=1)
        assert road.payloads.count("49") == 0
        await until(lambda: (b"$SYS/broker/publish/messages/dropped", b"40") in [m[:2] for m in watch.messages])
        await until(lambda: road.payloads == [str(n) for n in range(10)])
    finally:
        await road.client.stop()
        await watch.client.stop()
        await plant.client.stop()
        await broker.stop()


async def test_a_wrong_password_is_refused_in_words() -> None:
    broker = Broker(users={"road": "right"})
    await broker.start()
    try:
        for version, expected in [(4, "bad user name or password (0x04)"), (5, "bad user name or password (0x86)")]:
            road = Owner(broker.port, version=version, username="road", password=b"wrong")
            with pytest.raises(ConnectRefusedError) as caught:
                await road.client.connect()
            assert expected in str(caught.value)
            assert "refused" in [state.name for state in road.states]
        road = Owner(broker.port, username="road", password=b"right")
        await road.client.connect()
        await road.client.stop()
    finally:
        await broker.stop()


async def test_pause_holds_the_broker_back_and_resume_lets_everything_through(owners: Callable[..., Owner]) -> None:
    road, plant = owners(), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    road.client.pause()
    await plant.client.publish_many([("p", b"x" * 1000)] * 2000, qos=1)
    await asyncio.sleep(0.05)
    assert not road.messages
    road.client.resume()
    await until(lambda: len(road.messages) == 2000)


async def test_the_receive_maximum_bounds_what_is_unacknowledged(owners: Callable[..., Owner]) -> None:
    road, plant = owners(prompt=False, receive_maximum=5), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    await plant.client.publish_many([("p", b"x")] * 8, qos=1)
    await asyncio.sleep(0.1)
    assert len(road.messages) == 5


async def test_a_silent_broker_is_dropped_and_reached_again(broker: Broker, owners: Callable[..., Owner]) -> None:
    road = owners(keep_alive_seconds=1)
    await road.client.connect()
    broker.stall("road", 4)
    await until(lambda: any("no byte" in state.reason for state in road.states), 4)
    await until(lambda: road.client.state.name == "connected")


async def test_the_broker_drops_a_client_that_misses_its_keep_alive_and_sends_its_will(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road = owners()
    await road.client.connect()
    await road.client.subscribe([Subscription("will", 1)])
    _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(encode(Connect("mute", keep_alive=1, will=Will("will", b"gone"))))
    await until(lambda: road.payloads == ["gone"])
    writer.close()


async def test_a_take_over_sends_the_will_of_the_one_who_had_the_session(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road = owners()
    await road.client.connect()
    await road.client.subscribe([Subscription("will", 1)])
    properties = Properties(session_expiry_interval=60)
    connect = encode(Connect("same", clean_start=False, will=Will("will", b"taken over"), properties=properties))
    reader, first = await asyncio.open_connection("127.0.0.1", broker.port)
    first.write(connect)
    await until(lambda: "same" in broker.online)
    _, second = await asyncio.open_connection("127.0.0.1", broker.port)
    second.write(connect)
    await until(lambda: road.payloads == ["taken over"])
    assert (await reader.read()).endswith(encode(Disconnect(0x8E)))
    first.close()
    second.close()


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
async def test_a_publish_at_qos_2_ends_the_connection(broker: Broker, version: int) -> None:
    owner = Owner(broker.port)
    link = Connection(Connect("two", version), owner.client)
    await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", broker.port)
    await link.opened
    link.send(encode(Publish("p", b"x", 2, 1), version))
    reason = await asyncio.wait_for(link.closed, 5)
    assert isinstance(reason, ConnectionLostError)
    assert version == 4 or "QoS not supported (0x9b)" in str(reason)


async def test_a_client_refuses_to_publish_what_cannot_be_published(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    plant = owners("plant")
    with pytest.raises(NotConnectedError):
        await plant.client.publish("p", b"x")
    await plant.client.connect()
    with pytest.raises(PublishRefusedError):
        await plant.client.publish("p", b"x", qos=2)
    with pytest.raises(PublishRefusedError):
        await plant.client.publish("$SYS/broker/uptime", b"x", qos=1)


async def test_what_was_published_while_the_connection_broke_arrives(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road, plant = owners(), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    broker.stall("plant", 0.1)
    sending = asyncio.create_task(plant.client.publish_many([("p", str(n).encode()) for n in range(20)], qos=1))
    await asyncio.sleep(0.02)
    broker.cut("plant")
    assert await sending == 20
    await until(lambda: len(road.messages) == 20)


async def test_an_error_in_the_callback_ends_the_connection_and_nothing_is_lost(
    broker: Broker, owners: Callable[..., Owner]
) -> None:
    road, plant = owners(), owners("plant")
    await road.client.connect()
    await plant.client.connect()
    await road.client.subscribe([Subscription("p", 1)])
    road.client._on_messages = lambda messages: 1 / 0
    await plant.client.publish("p", b"x", qos=1)
    await until(lambda: any("ZeroDivisionError" in state.reason for state in road.states))
    road.client._on_messages = road.take
    await until(lambda: road.payloads == ["x"])


async def test_the_broker_process_takes_a_load_and_commands() -> None:
    with BrokerProcess(seed=3) as process:
        road = Owner(process.port)
        await road.client.connect()
        await road.client.subscribe([Subscription("load/#", 1)])
        child = start_load(Load(port=process.port, messages=4000, qos=1, connections=2))
        result = await asyncio.to_thread(read_load, child)
        assert result.acknowledged == 4000
        await until(lambda: len(road.messages) == 4000)
        paced = await publish_load(Load(port=process.port, messages=200, rate=1000))
        assert 0.15 < paced.seconds < 1.0
        await until(lambda: len(road.messages) == 4200)
        assert await asyncio.to_thread(process.command, "cut", client="road") == {"ok": True}
        await until(lambda: road.client.connection == 2)
        assert (await asyncio.to_thread(process.command, "counters"))["received"] == 4200
        await road.client.stop()
