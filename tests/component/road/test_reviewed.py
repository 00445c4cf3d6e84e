"""Faults that a review found, each tried on the real parts it was found in."""

from __future__ import annotations

import threading

import pytest

from weftline.batch import Draft, FrameFlag
from weftline.ingest.writer import RoadStoppedError
from weftline.store.duck import LakeUnavailableError

GOOD = '{"id": "a", "at": "2026-11-22T10:00:00Z", "temperature": 20.5, "unit": "CEL"}'
WARM = '{"id": "b", "at": "2026-11-22T10:00:01Z", "temperature": 212, "unit": "FAH"}'
HOT = '{"id": "c", "at": "2026-11-22T10:00:02Z", "temperature": 180, "unit": "CEL"}'


def settled(operations, feed, records):
    """Wait until so many records of a feed have an outcome, then return its ledger."""
    fabric = operations._fabric
    for _ in range(200):
        totals = {row["feed"]: row for row in fabric.lake.totals().to_pylist()}
        row = totals.get(fabric.feed(feed).id, {})
        if sum(row.get(term, 0) for term in ("stored", "quarantined", "duplicate", "ignored")) >= records:
            return row
        fabric.road.writer.run(lambda: None).result(10)
        threading.Event().wait(0.02)
    raise AssertionError(f"{feed} has {row}")


def test_a_store_that_cannot_answer_about_keys_sends_no_record_to_quarantine(shop, monkeypatch):
    shop.contract(unique="true")
    shop.feed("gate", "push")
    operations = shop.open()
    lake, feed = shop.fabric.lake, shop.fabric.feed("gate")
    known, asked = lake.known_keys, []

    def busy(check, rows):
        asked.append(rows.num_rows)
        if len(asked) <= 3:
            raise LakeUnavailableError(place="the lake", found="a disk that is full", expected="an answer")
        return known(check, rows)

    monkeypatch.setattr(lake, "known_keys", busy)
    shop.fabric.road.append("push", [Draft(feed.id, b"1", GOOD.encode()), Draft(feed.id, b"2", WARM.encode())])
    row = settled(operations, "gate", 2)
    assert (row["stored"], row["quarantined"]) == (2, 0)


def test_keys_of_a_group_that_could_not_be_prepared_are_free_again(shop, monkeypatch):
    shop.contract(unique="true")
    shop.feed("gate", "push")
    operations = shop.open()
    feed, failed = shop.fabric.feed("gate"), []

    def assemble_later(parts, book):
        if not failed:
            failed.append(parts)
            raise MemoryError
        return assemble(parts, book)

    from weftline.ingest.prepare import assemble

    monkeypatch.setattr("weftline.ingest.prepare.assemble", assemble_later)
    shop.fabric.road.append("push", [Draft(feed.id, b"1", GOOD.encode())])
    row = settled(operations, "gate", 1)
    assert failed
    assert (row["stored"], row["quarantined"]) == (1, 0)


def test_one_poison_frame_among_thousands_is_found_in_few_tries(shop, monkeypatch):
    shop.feed("gate", "push")
    operations = shop.open()
    road, feed = shop.fabric.road, shop.fabric.feed("gate")
    runner = road._lane_worker._preparer._runner
    run, tries = runner.run, []

    def poisoned(sql, inputs):
        tries.append(inputs["batch"].num_rows)
        if "c" in inputs["batch"].column("s0").to_pylist():
            raise RuntimeError("no plan is total after all")
        return run(sql, inputs)

    monkeypatch.setattr(runner, "run", poisoned)
    lines = [GOOD.replace('"a"', f'"{number}"') for number in range(2000)]
    lines[777] = HOT
    road.append("push", [Draft(feed.id, str(at).encode(), line.encode()) for at, line in enumerate(lines)]).result(10)
    row = settled(operations, "gate", 2000)
    assert (row["stored"], row["quarantined"]) == (1999, 1)
    assert len(tries) < 60
    assert operations.verify() == []


def test_a_key_a_replay_is_about_to_store_is_known_to_the_road(shop):
    shop.contract(unique="true")
    shop.feed()
    shop.open()
    assert shop.fabric.replays._preparer._keys is shop.fabric.road.keys
    assert shop.fabric.road.writer._keys is shop.fabric.road.keys


def test_a_replay_says_what_still_fails_under_the_new_version(shop):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", GOOD, HOT, HOT.replace("180", "999")))
    shop.contract("1.1.0", maximum=300)
    shop.feed(version="1.1.0")
    operations = shop.open()
    group = operations.quarantine()[0]["id"]
    replayed = operations.replay(group, "the ovens were rebuilt")
    assert (replayed["tried"], replayed["released"], replayed["still_failing"]) == (2, 1, 1)
    assert operations.verify() == []


def test_what_a_replay_stores_or_holds_again_keeps_its_permalink(shop):
    shop.contract(unique="true")
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", GOOD, HOT, HOT.replace("180", "999")))
    places = "SELECT lane, frame, position FROM quarantine ORDER BY position"
    hot, hotter = operations.query(places).to_pylist()
    shop.contract("1.1.0", maximum=300, unique="true")
    shop.feed(version="1.1.0")
    operations = shop.open()
    operations.replay(operations.quarantine()[0]["id"], "the ovens were rebuilt")
    assert operations.query("SELECT lane, frame, position FROM reading WHERE id = 'c'").to_pylist() == [hot]
    assert operations.query(places).to_pylist() == [hotter]
    assert operations.verify() == []
    again = operations.ingest("oven", shop.file("oven-2.ndjson", HOT.replace("180", "181")))
    assert again["quarantined"] == 1


def test_frames_the_lake_refuses_hold_many_records_and_the_checkpoint_still_agrees(shop, monkeypatch):
    from weftline.store.groups import GroupRefusedError

    shop.feed("gate", "push")
    shop.feed("dock", "push")
    operations = shop.open()
    road, lake = shop.fabric.road, shop.fabric.lake
    gate, dock = shop.fabric.feed("gate"), shop.fabric.feed("dock")
    commit, trial = lake.commit, lake.trial

    def refuse(group, inner):
        if any(gate.id in rows["feed"].to_pylist() for rows in group.rows.values()):
            raise GroupRefusedError(place="group", found="rows of gate", expected="others")
        return inner(group)

    monkeypatch.setattr(lake, "commit", lambda group: refuse(group, commit))
    monkeypatch.setattr(lake, "trial", lambda group: refuse(group, trial))
    many = f"{GOOD}\n{WARM}\n{GOOD}".encode()
    road.append("push", [Draft(gate.id, b"1", many), Draft(gate.id, b"1", b"", flags=FrameFlag.DUPLICATE)])
    road.append("push", [Draft(dock.id, b"2", WARM.encode())]).result(10)
    assert settled(operations, "dock", 1)["stored"] == 1
    row = settled(operations, "gate", 2)
    assert (row["received"], row["quarantined"], row["duplicate"]) == (2, 1, 1)
    assert operations.verify() == []


def test_a_group_refused_only_as_a_whole_does_not_hold_up_its_lane(shop, monkeypatch):
    from weftline.store.groups import GroupRefusedError

    shop.feed("gate", "push")
    shop.feed("dock", "push")
    operations = shop.open()
    road, lake = shop.fabric.road, shop.fabric.lake
    gate, dock = shop.fabric.feed("gate"), shop.fabric.feed("dock")
    commit, trial = lake.commit, lake.trial

    def refuse(group, inner):
        if len({feed for rows in group.rows.values() for feed in rows["feed"].to_pylist()}) > 1:
            raise GroupRefusedError(place="group", found="rows of two feeds", expected="one")
        return inner(group)

    monkeypatch.setattr(lake, "commit", lambda group: refuse(group, commit))
    monkeypatch.setattr(lake, "trial", lambda group: refuse(group, trial))
    road.append("push", [Draft(gate.id, b"1", GOOD.encode()), Draft(dock.id, b"2", WARM.encode())]).result(10)
    assert settled(operations, "gate", 1)["quarantined"] == 1
    assert settled(operations, "dock", 1)["quarantined"] == 1
    assert operations.verify() == []


def test_a_file_is_answered_although_a_listener_fails(shop, terms):
    shop.feed()
    operations = shop.open()

    def broken(committed, prepared):
        raise RuntimeError("a page that is gone")

    shop.fabric.road.listen(broken)
    answers = []
    path = shop.file("oven.ndjson", GOOD)
    reader = threading.Thread(target=lambda: answers.append(operations.ingest("oven", path)), daemon=True)
    reader.start()
    reader.join(20)
    assert [terms(answer) for answer in answers] == [{"received": 1, "stored": 1}]


def test_whoever_hands_over_after_the_end_is_told_so(shop):
    shop.feed()
    shop.open()
    road, feed = shop.fabric.road, shop.fabric.feed("oven")
    road.stop()
    for future in (
        road.submit("file:oven:x", [Draft(feed.id, b"1", GOOD.encode(), offset=0)], last=True),
        road.writer.run(lambda: None),
    ):
        with pytest.raises(RoadStoppedError):
            future.result(5)


def test_verify_takes_no_block_of_a_file_on_its_way_for_a_frame_of_the_spool(shop):
    shop.feed()
    operations = shop.open()
    road, feed = shop.fabric.road, shop.fabric.feed("oven")
    with road._guard:
        road._pending[feed.id] += 1
    assert operations.verify() == []


def test_a_restart_does_not_forget_that_records_have_come(shop):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", GOOD))
    seen = operations.feeds()[0]["last_record"]
    again = shop.open().feeds()[0]
    assert again["state"] != "never"
    assert abs(again["last_record"] - seen) < 60_000_000


def test_a_spool_older_than_the_lake_is_refused_at_the_start(shop):
    from weftline.spool.errors import SpoolBehindError

    shop.feed("gate", "push")
    operations = shop.open()
    road, feed = shop.fabric.road, shop.fabric.feed("gate")
    spool = shop.fabric.state / "spool" / "push"
    road.append("push", [Draft(feed.id, b"1", GOOD.encode())]).result(10)
    settled(operations, "gate", 1)
    kept = {path: path.read_bytes() for path in spool.iterdir() if path.is_file()}
    road.append("push", [Draft(feed.id, b"2", WARM.encode())]).result(10)
    settled(operations, "gate", 2)
    shop.close()
    for path in spool.iterdir():
        path.write_bytes(kept.get(path, b""))
    with pytest.raises(SpoolBehindError):
        shop.open()


def test_partials_older_than_a_day_are_let_go():
    import pyarrow as pa

    from weftline.ingest.set_rules import HOUR, SetCounts
    from weftline.store.lake import SET_COUNT

    counts = SetCounts()
    for hour in range(100):
        row = {"feed": 1, "contract": 1, "rule": "r", "hour": hour * HOUR, "rows": 1, "failing": 0}
        counts.add(pa.Table.from_pylist([row], schema=SET_COUNT))
    assert len(counts._counts[1]) <= 27


def test_a_record_that_fails_without_a_reason_is_kept_whole(shop, monkeypatch):
    shop.feed()
    operations = shop.open()
    monkeypatch.setattr("weftline.ingest.validate._violations", lambda *_: [])
    operations.ingest("oven", shop.file("oven.ndjson", GOOD, HOT))
    groups = operations.quarantine()
    assert [(group["code"], group["records"]) for group in groups] == [("plan-failed", 1)]
    assert HOT in operations.quarantined(groups[0]["id"])[0]["original"]
    assert operations.verify() == []


def test_an_incident_that_ended_while_nothing_ran_is_closed(shop):
    from weftline.service.upkeep import Upkeep

    shop.feed()
    shop.open()
    shop.fabric.incidents.report("silent-x", kind="silent", subject="oven", detail={"title": "oven is silent"})
    shop.open()
    Upkeep(shop.fabric)._incidents()
    assert shop.fabric.incidents.open_incidents() == []


def test_a_connection_whose_name_no_lane_may_have_gets_a_lane_of_its_own(shop):
    write = (shop.folder / "connections" / "line.yaml").write_text
    write("name: Press--Shop\nkind: mqtt\nhost: localhost\nownLane: true\n")
    shop.open()
    lane = shop.fabric.road.lane("Press--Shop").name
    assert lane not in {"push", "Press--Shop"}


def test_messages_a_broker_dropped_need_a_person(shop):
    from weftline.connectors.mqtt.source import MqttConnector
    from weftline.protocols.mqtt.client import ClientState
    from weftline.protocols.mqtt.stream import Message

    (shop.folder / "connections" / "line.yaml").write_text("name: line\nkind: mqtt\nhost: localhost\n")
    shop.open()
    line = next(item for item in shop.fabric.spec.connections if item.name == "line")
    source = MqttConnector().open(line, [], shop.fabric.road)
    source._client.state = ClientState("connected")
    for count in (b"3", b"3"):
        source._watch([Message(b"$SYS/broker/publish/messages/dropped", count, 0, 0, False, False, None)])
    assert shop.fabric.answers.attention() == []
    source._watch([Message(b"$SYS/broker/publish/messages/dropped", b"8", 0, 0, False, False, None)])
    item = shop.fabric.answers.attention()[0]
    assert (item.subject, item.severity) == ("line", "warning")
    assert "dropped 5 messages" in item.detail


def test_stored_frames_kept_for_a_while_do_not_hold_sources_back(tmp_path):
    from weftline.batch import Frame
    from weftline.spool.spool_set import SpoolSet

    spool = SpoolSet(tmp_path, segment_bytes=2000)
    lane = spool.open("push")
    for at in range(4):
        lane.append([Frame(-1, 1, at, b"", b"", b"x" * 1500)]).result(5)
    assert lane.size() > 4 * 1500
    assert 1500 < lane.size(3) < 2 * 1500
    assert lane.size(4) == 0
    spool.close()
