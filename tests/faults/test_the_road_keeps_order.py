"""What the fault rounds taught, each in one small test: order after a failure, clocks that jump, stops on a full disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weftline.batch import Draft
from weftline.clock import FileShiftedClock, SystemClock, clock_of
from weftline.connectors.http.recent import PushIdentity, RecentPushes
from weftline.errors import AdmissionError, ConflictError, OutcomeUnknownError
from weftline.model.position import LaneId
from weftline.service.operations import Operations
from weftline.service.pushes import Pushes, known_pushes
from weftline.service.sources import Sources
from weftline.service.wiring import Fabric, open_fabric
from weftline.store.lake import Committed, Group
from weftline.testing.faults.folder import HTTP_FEED, write_fault_fabric

HOUR = 3_600_000_000


class RefusedError(ConflictError):
    """What a lake raises that refuses a group although each of its feeds alone would be taken."""

    code = "refused-in-a-test"


class JumpingClock(SystemClock):
    def __init__(self) -> None:
        self.shift = 0

    def now(self) -> int:
        return super().now() + self.shift


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def fabric(tmp_path: Path, clock: JumpingClock) -> Iterator[Fabric]:
    write_fault_fabric(tmp_path / "fabric", mqtt_port=0, port=1)
    fabric = open_fabric(tmp_path / "fabric", clock=clock)
    yield fabric
    fabric.close()


def push(fabric: Fabric, number: int) -> None:
    spec = fabric.feed(HTTP_FEED)
    assert spec is not None
    body = f'{{"id": "k-1-{number:06d}", "value": 1}}'.encode()
    fabric.road.append("push", [Draft(spec.id, b"%064d" % number, body, b'{"content_type": ""}')]).result(10)


def stored(fabric: Fabric) -> list[str]:
    found: list[str] = fabric.lake.scan("SELECT id FROM main.reading ORDER BY id").column(0).to_pylist()
    return found


def wait_stored(fabric: Fabric, count: int) -> None:
    until = time.monotonic() + 20
    while len(stored(fabric)) < count and time.monotonic() < until:
        time.sleep(0.02)


def test_no_group_of_a_lane_is_committed_before_one_that_failed(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, tried = fabric.lake.commit, list[Group]()

    def refuse_the_second_three_times(group: Group) -> Committed:
        tried.append(group)
        if 2 <= len(tried) <= 4:
            time.sleep(0.3)  # so that later groups wait behind this one
            raise RefusedError(place="a test", found="a refusal", expected="order")
        return commit(group)

    monkeypatch.setattr(fabric.lake, "commit", refuse_the_second_three_times)
    for number in range(60):
        push(fabric, number)
        time.sleep(0.02)
    wait_stored(fabric, 60)
    assert stored(fabric) == [f"k-1-{number:06d}" for number in range(60)]
    assert Operations(fabric).verify() == []


def test_a_road_that_stops_does_not_wait_for_a_store_that_refuses(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_group: Group) -> Committed:
        raise OutcomeUnknownError(place="a test", found="a full disk", expected="room")

    with monkeypatch.context() as patched:
        patched.setattr(fabric.lake, "commit", refuse)
        for number in range(30):
            push(fabric, number)
            time.sleep(0.02)
        began = time.monotonic()
        fabric.road.stop()
        assert time.monotonic() - began < 3
    fabric.close()
    again = open_fabric(fabric.folder)
    try:
        wait_stored(again, 30)
        assert len(stored(again)) == 30
    finally:
        again.close()


@pytest.mark.parametrize("jump", [25 * HOUR, -25 * HOUR])
def test_what_was_received_lately_is_known_although_the_clock_jumped(
    fabric: Fabric, clock: JumpingClock, jump: int
) -> None:
    for number in range(3):
        push(fabric, number)
    clock.shift = jump
    assert list(fabric.road.seen("push")) == [b"%064d" % number for number in range(3)]
    known = [push.offset for push in known_pushes(fabric.road, fabric.lake, "push", clock.now() - 24 * HOUR)]
    assert sorted(set(known)) == [0, 1, 2]


def test_a_running_server_forgets_no_push_because_its_clock_jumps(clock: JumpingClock) -> None:
    recent, identity = RecentPushes(most=10, microseconds=24 * HOUR), PushIdentity.of("key", "k1", b"body")
    from concurrent.futures import Future

    offset: Future[int] = Future()
    recent.add(1, identity, recent.moment(clock), LaneId("push", 1), offset)
    clock.shift = 30 * 24 * HOUR
    assert recent.find(1, identity, recent.moment(clock)) is not None


def test_a_push_to_a_server_that_is_starting_may_be_sent_again(fabric: Fabric) -> None:
    pushes = Pushes(fabric.road, Sources(fabric.road, fabric.spec.connections, []))
    with pytest.raises(AdmissionError, match="not open yet"):
        asyncio.run(pushes.receive(HTTP_FEED, {}, b"{}", "key"))


def test_the_clock_is_the_machine_s_unless_a_file_is_named(tmp_path: Path) -> None:
    assert type(clock_of({})) is SystemClock
    file = tmp_path / "shift"
    file.write_text(str(HOUR))
    moved = clock_of({"WEFTLINE_CLOCK_SHIFT_FILE": str(file)})
    assert isinstance(moved, FileShiftedClock)
    assert abs(moved.now() - SystemClock().now() - HOUR) < 5_000_000
