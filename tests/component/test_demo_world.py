"""The demo world against the real check, codecs, contracts, broker, drop folders and a listening server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from weftline.batch import Frame
from weftline.codecs.base import Limits
from weftline.codecs.registry import codec
from weftline.ingest.decode import decode
from weftline.ingest.feeds import FeedBook, plan_set
from weftline.ingest.validate import validate
from weftline.protocols.mqtt import ClientOptions, Message, MqttClient, Subscription, TopicPattern
from weftline.service.plugins import Checked, check_folder
from weftline.store.plan_runner import PlanRunner
from weftline.testing.world import PUSH_FEEDS, World, free_port, script, write_world
from weftline.testing.world.carriers import carrier_pushes
from weftline.testing.world.documents import supplier_files
from weftline.testing.world.fabric import WorldExistsError, drop_folder
from weftline.testing.world.machines import plant_messages
from weftline.testing.world.partners import CARRIERS
from weftline.testing.world.plants import digest
from weftline.testing.world.script import KINDS, Play
from weftline.testing.world.world import WorldSpeedError

SECONDS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "demo"
    write_world(folder, mqtt_port=free_port(), http_base="http://127.0.0.1:8420", seed=1)
    return folder


@pytest.fixture(scope="module")
def checked(world: Path) -> Checked:
    return check_folder(world)


class Judge:
    """Decode and validate what the simulators send, as the road would, without a lake."""

    def __init__(self, checked: Checked) -> None:
        spec = checked.folder.spec
        assert spec is not None
        specs = [_numbered(feed, number) for number, feed in enumerate(spec.feeds, 1)]
        sets = {
            key: plan_set("@".join(key), 1, plans, [one for one in specs if (one.contract, one.version) == key])
            for key, plans in checked.plans.items()
        }
        self.book = FeedBook(specs, {name: codec(name) for name in {one.codec for one in specs}}, sets)
        self.runner = PlanRunner()

    def judge(self, frames: dict[str, list[Frame]]) -> tuple[Counter[str], Counter[str], dict[str, str]]:
        """Return per feed the records stored and refused, and one reason."""
        stored: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        reasons: dict[str, str] = {}
        for feed, held in frames.items():
            route = self.book.routes[self.book.by_name[feed].id]
            parked: list[object] = []
            for batch in decode(route, held, history=False, limits=Limits(), parked=parked):  # type: ignore[arg-type]
                outcome = validate(batch, self.runner, lambda _check, table: _none(table.num_rows))
                bad = sum(outcome.failed.to_pylist())
                refused[feed] += bad + len(batch.decoded.undecodable)
                stored[feed] += len(outcome.failed) - bad - sum(outcome.ignored.to_pylist())
                if outcome.violations is not None and outcome.violations.num_rows:
                    row = outcome.violations.to_pylist()[0]
                    reasons[feed] = f"{row['rule']}: found {row['found']}, expected {row['expected']}"
                for one in batch.decoded.undecodable:
                    reasons[feed] = one.reason
                if sum(outcome.ignored.to_pylist()):
                    reasons.setdefault(feed, "ignored")
            assert not parked
        return stored, refused, reasons


def _none(rows: int) -> object:
    import pyarrow as pa

    return pa.array([False] * rows, pa.bool_())


def _numbered(feed: object, number: int) -> object:
    import dataclasses

    return dataclasses.replace(feed, id=number)  # type: ignore[type-var]


def _frames(judge: Judge, play: Play, folder: Path) -> dict[str, list[Frame]]:
    """Return what all senders send within SECONDS, as the frames each connector would make of it."""
    frames: dict[str, list[Frame]] = {}
    offset = 0

    def add(feed: str, due: float, payload: bytes, attributes: bytes = b"") -> None:
        nonlocal offset
        offset += 1
        received = (play.start_ms + round(due * 1000)) * 1000 + 2000
        frame = Frame(offset, judge.book.by_name[feed].id, received, b"", attributes, payload)
        frames.setdefault(feed, []).append(frame)

    def soon(event: object) -> bool:
        return event.due <= SECONDS  # type: ignore[attr-defined,no-any-return]

    patterns = {
        name: TopicPattern.parse(spec.selector.topic)
        for name, spec in judge.book.by_name.items()
        if spec.kind == "mqtt"
    }
    for message in takewhile(soon, plant_messages(play)):
        captures = patterns[message.feed].match(message.topic)
        assert captures is not None, message.topic
        said = {"captures": {"topic": message.topic, **captures}}
        add(message.feed, message.due, message.payload, json.dumps(said).encode())
    seen: set[bytes] = set()
    for drop in takewhile(soon, supplier_files(play)):
        if drop.content in seen:
            continue  # the connector counts it as duplicate and decodes nothing
        seen.add(drop.content)
        spec = judge.book.by_name[drop.feed]
        path = folder / drop.name
        path.write_bytes(drop.content)
        for block in codec(spec.codec).blocks(path, spec.codec_options, 0, Limits()):
            add(drop.feed, drop.due, block.payload, block.attributes)
    for carrier in CARRIERS:
        for push in takewhile(soon, carrier_pushes(carrier, play)):
            add(push.feed, push.due, push.body)
    return frames


def test_the_folder_passes_check_without_a_complaint(checked: Checked) -> None:
    assert [complaint.sentence() for complaint in checked.complaints] == []
    spec = checked.folder.spec
    assert spec is not None
    assert len(spec.feeds) == 79
    assert len(spec.sites) == 2
    assert Counter(partner.role for partner in spec.partners) == {"supplier": 6, "carrier": 2}
    assert {feed.name for feed in spec.feeds if feed.kind == "http"} == set(PUSH_FEEDS)
    assert all(feed.cadence for feed in spec.feeds)


def test_every_rule_of_the_contracts_is_run(checked: Checked) -> None:
    left = [
        (plan.contract, one.id, one.reason)
        for plans in checked.plans.values()
        for plan in plans
        for one in plan.not_run
    ]
    assert left == []
    kinds = {rule.kind for plans in checked.plans.values() for plan in plans for rule in plan.row_rules}
    assert {"required", "type", "pattern", "minimum", "maximum", "multipleOf", "sql", "unit", "enum"} <= kinds
    assert any(plan.set_rules for plans in checked.plans.values() for plan in plans)
    assert any(plan.unique_rules for plans in checked.plans.values() for plan in plans)


def test_without_trouble_every_record_of_every_feed_passes(checked: Checked, tmp_path: Path) -> None:
    judge = Judge(checked)
    frames = _frames(judge, Play(1, no_trouble=True, start_ms=int(time.time() * 1000)), tmp_path)
    stored, refused, reasons = judge.judge(frames)
    assert not +refused, reasons
    assert set(stored) == set(judge.book.by_name)
    assert reasons == {}


def test_without_trouble_no_feed_is_ever_later_than_its_cadence(checked: Checked, tmp_path: Path) -> None:
    judge = Judge(checked)
    for feed, frames in _frames(judge, Play(2, no_trouble=True), tmp_path).items():
        times = [0.0, *(frame.received / 1e6 for frame in frames), float(SECONDS)]
        longest = max(later - earlier for earlier, later in pairwise(times))
        cadence = judge.book.by_name[feed].cadence
        assert cadence is not None
        assert longest <= cadence, (feed, longest, cadence)


def _seed_with(kind: str) -> int:
    return next(seed for seed in range(1, 500) if any(one.kind == kind for one in script(seed)))


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if kind.state == "rejecting"])
def test_a_trouble_is_rejected_for_its_feed_and_for_no_other(kind: str, checked: Checked, tmp_path: Path) -> None:
    judge = Judge(checked)
    play = Play(_seed_with(kind), start_ms=int(time.time() * 1000))
    _, refused, _ = judge.judge(_frames(judge, play, tmp_path))
    expected = {one.subject for one in play.troubles if one.state == "rejecting"}
    assert set(+refused) == expected


def test_a_file_sent_twice_has_the_same_bytes_under_two_names() -> None:
    seed = _seed_with("file-twice")
    subject = next(one.subject for one in script(seed) if one.kind == "file-twice")
    drops = [
        drop for drop in takewhile(lambda drop: drop.due < SECONDS, supplier_files(Play(seed))) if drop.feed == subject
    ]
    again = [drop for drop in drops if "again" in drop.name]
    assert again
    assert all(sum(other.content == drop.content for other in drops) == 2 for drop in again)


def test_a_changed_document_of_the_demo_stays_as_a_person_left_it(tmp_path: Path) -> None:
    write_world(tmp_path, mqtt_port=1883, http_base="http://127.0.0.1:8420", seed=1)
    mine = tmp_path / "partners" / "bodrog.yaml"
    mine.write_text("name: bodrog\nrole: supplier\n")
    write_world(tmp_path, mqtt_port=1999, http_base="http://127.0.0.1:8420", seed=1)
    assert mine.read_text() == "name: bodrog\nrole: supplier\n"
    assert "port: 1999" in (tmp_path / "connections" / "mqtt-lviv.yaml").read_text()
    assert check_folder(tmp_path).complaints == ()


def test_another_fabric_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text("name: mine\n")
    with pytest.raises(WorldExistsError):
        write_world(tmp_path, mqtt_port=1883, http_base="http://127.0.0.1:8420", seed=1)
    assert (tmp_path / "fabric.yaml").read_text() == "name: mine\n"


def test_a_speed_the_cadences_do_not_fit_is_refused(world: Path) -> None:
    with pytest.raises(WorldSpeedError):
        World(world, speed=0.5)


class Listening:
    """A server that takes pushes, refuses every third once with 503, and remembers what it accepted."""

    def __init__(self) -> None:
        accepted = self.accepted = []  # type: ignore[var-annotated]
        seen: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                key = self.headers["Idempotency-Key"]
                seen[key] += 1
                refuse = seen[key] == 1 and len(seen) % 3 == 0
                if not refuse:
                    accepted.append((self.path, self.headers["Authorization"], key, body))
                self.send_response(503 if refuse else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.seen = seen
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    server = Listening()
    yield server
    server.close()


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_simulators_log_exactly_what_broker_folders_and_server_saw(
    tmp_path: Path, listening: Listening
) -> None:
    write_world(tmp_path, mqtt_port=free_port(), http_base=listening.base, seed=3)
    got: Counter[tuple[str, str]] = Counter()
    enough = asyncio.Event()

    def take(messages: list[Message]) -> None:
        got.update((message.topic.decode(), digest(message.payload)) for message in messages)
        client.acknowledge([message.packet_id for message in messages if message.qos], client.connection)
        if sum(got.values()) > 1500 and len(listening.accepted) > 20:
            enough.set()

    with World(tmp_path, speed=20, keys=dict.fromkeys(PUSH_FEEDS, "secret"), log=True) as world:
        world.stop_simulators()
        client = MqttClient(ClientOptions("127.0.0.1", world.mqtt_port, client_id="watch", clean_start=True), take)
        await client.connect()
        await client.subscribe([Subscription("umh/#", 1), Subscription("plant/#", 1)])
        got.clear()
        world.start_simulators()
        assert set(world.pids()) == {"plants", "suppliers", "carriers", "broker"}
        async with asyncio.timeout(15):
            await enough.wait()
        await asyncio.to_thread(world.stop_simulators)
        sent = Counter((row["topic"], row["payload"]) for row in _rows(world.sent_log("plants")))
        async with asyncio.timeout(5):
            while sum(got.values()) < sum(sent.values()):
                await asyncio.sleep(0.02)
        await client.stop()
        assert got == sent
        files = list(_rows(world.sent_log("suppliers")))
        there = {path.name for feed in (tmp_path / "data" / "drop").iterdir() for path in feed.iterdir()}
        assert {row["file"] for row in files} <= there
        assert not any(name.endswith(".part") for name in there)
        pushes = _rows(world.sent_log("carriers"))
        assert Counter(row["key"] for row in pushes) == Counter(
            key for _, _, key, _ in listening.accepted if key in {row["key"] for row in pushes}
        )
        assert any(row["attempts"] != 1 for row in pushes)
        assert {auth for _, auth, _, _ in listening.accepted} == {"Bearer secret"}
        assert world.run == 2


def test_the_world_ends_only_and_all_it_started(tmp_path: Path) -> None:
    write_world(tmp_path, mqtt_port=free_port(), http_base="http://127.0.0.1:9", seed=3)
    with World(tmp_path) as world:
        pids = world.pids()
    assert len(pids) == 4
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("how", ["stop file", "end of input", "SIGTERM"])
def test_a_simulator_ends_when_told(how: str, tmp_path: Path) -> None:
    write_world(tmp_path, mqtt_port=free_port(), http_base="http://127.0.0.1:9", seed=3)
    stop, log = tmp_path / "stop", tmp_path / "sent.jsonl"
    command = [sys.executable, "-m", "weftline.testing.world.suppliers", "--folder", str(tmp_path), "--speed", "20"]
    command += ["--exit-with-parent", "--stop-file", str(stop), "--log", str(log)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert child.stdin is not None
    try:
        until = time.monotonic() + 10
        while not (log.exists() and log.stat().st_size) and time.monotonic() < until:
            time.sleep(0.02)
        assert child.poll() is None
        if how == "stop file":
            stop.touch()
        elif how == "SIGTERM":
            child.terminate()
        else:
            child.stdin.close()
        assert child.wait(5) == 0
        assert _rows(log)
    finally:
        child.kill()
        child.wait()
        if not child.stdin.closed:
            child.stdin.close()


def test_a_taken_port_moves_the_broker_and_the_documents(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        taken = other.server_address[1]
        write_world(tmp_path, mqtt_port=taken, http_base="http://127.0.0.1:9", seed=3)
        world = World(tmp_path)
        world.start_broker()
        try:
            assert world.mqtt_port != taken
            spec = check_folder(tmp_path).folder.spec
            assert spec is not None
            ports = {one.options.port for one in spec.connections if one.kind == "mqtt"}
            assert ports == {world.mqtt_port}
        finally:
            world.stop()
    assert drop_folder(tmp_path, "bodrog").is_dir()
