"""The road on real parts: what becomes of every record, and that the ledger says so."""

from __future__ import annotations

import json

from weftline.batch import Draft, FrameFlag

GOOD = '{"id": "a", "at": "2026-11-22T10:00:00Z", "temperature": 20.5, "unit": "CEL"}'
WARM = '{"id": "b", "at": "2026-11-22T10:00:01Z", "temperature": 212, "unit": "FAH"}'
HOT = '{"id": "c", "at": "2026-11-22T10:00:02Z", "temperature": 180, "unit": "CEL"}'
NAMELESS = '{"at": "2026-11-22T10:00:03Z", "temperature": 1}'
BROKEN = '{"id": "d", "at'


def readings(operations):
    sql = "SELECT id, temperature, measured_at::VARCHAR AS at, mark, extra FROM reading ORDER BY id"
    return operations.query(sql).to_pylist()


def test_each_record_has_one_outcome_and_the_ledger_balances(shop, terms):
    shop.feed()
    operations = shop.open()
    result = operations.ingest("oven", shop.file("oven.ndjson", GOOD, WARM, HOT, NAMELESS, BROKEN))
    assert terms(result) == {"received": 5, "stored": 2, "quarantined": 3}
    assert [row["id"] for row in readings(operations)] == ["a", "b"]
    assert operations.verify() == []


def test_units_are_converted_by_the_unit_that_travels_with_the_value(shop):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", GOOD, WARM))
    assert [round(row["temperature"], 9) for row in readings(operations)] == [20.5, 100.0]


def test_quarantine_keeps_the_bytes_with_every_violation(shop):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", '{"temperature": 500}', BROKEN))
    groups = operations.quarantine()
    records = [record for group in groups for record in operations.quarantined(group["id"])]
    assert {record["original"] for record in records} == {'{"temperature": 500}', BROKEN}
    hot = next(record for record in records if "500" in record["original"])
    assert {(item["rule"], item["field"]) for item in hot["violations"]} == {
        ("id.required", "id"),
        ("temperature.maximum", "temperature"),
    }


def test_the_same_content_again_is_counted_as_duplicates(shop, terms):
    shop.feed()
    operations = shop.open()
    path = shop.file("oven.ndjson", GOOD, WARM, BROKEN)
    operations.ingest("oven", path)
    assert terms(operations.ingest("oven", path)) == {"received": 3, "duplicate": 3}
    operations = shop.open()
    assert terms(operations.ingest("oven", path)) == {"received": 3, "duplicate": 3}
    assert operations.verify() == []


def test_observe_stores_what_enforce_would_hold_and_marks_it(shop, terms):
    shop.feed(mode="observe")
    operations = shop.open()
    result = operations.ingest("oven", shop.file("oven.ndjson", GOOD, HOT), history=True)
    assert terms(result) == {"received": 2, "stored": 2}
    assert [row["mark"] for row in readings(operations)] == [0, 32]


def test_a_field_the_contract_does_not_know_is_kept_as_extra(shop):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", '{"id": "x", "operator": "Ana", "unit": "CEL"}'))
    assert json.loads(readings(operations)[0]["extra"]) == {"operator": "Ana"}


def test_a_key_of_dataset_scope_is_stored_once_over_files_and_restarts(shop, terms):
    shop.contract(unique="true")
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven-1.ndjson", GOOD, WARM))
    again = GOOD.replace("20.5", "21.5")
    assert terms(operations.ingest("oven", shop.file("oven-2.ndjson", again))) == {"received": 1, "quarantined": 1}
    operations = shop.open()
    third = GOOD.replace("20.5", "22.5")
    assert terms(operations.ingest("oven", shop.file("oven-3.ndjson", third, third))) == {
        "received": 2,
        "quarantined": 2,
    }
    assert [row["temperature"] for row in readings(operations) if row["id"] == "a"] == [20.5]


def test_a_corrected_contract_releases_what_it_held(shop, terms):
    shop.feed()
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.ndjson", GOOD, HOT, BROKEN))
    shop.contract("1.1.0", maximum=300)
    shop.feed(version="1.1.0")
    operations = shop.open()
    group = next(item["id"] for item in operations.quarantine() if item["rule"] == "temperature.maximum")
    replayed = operations.replay(group, "the ovens were rebuilt")
    assert (replayed["tried"], replayed["released"], replayed["still_failing"]) == (1, 1, 0)
    assert terms(operations.ledger("oven")[0]) == {"received": 3, "stored": 2, "quarantined": 1}
    assert [row["id"] for row in readings(operations)] == ["a", "c"]
    assert operations.verify() == []


def test_pushed_frames_are_durable_then_stored_then_known_again(shop, terms):
    shop.feed("gate", "push")
    operations = shop.open()
    road, feed = shop.fabric.road, shop.fabric.feed("gate")
    road.append("push", [Draft(feed.id, b"one", GOOD.encode()), Draft(feed.id, b"two", BROKEN.encode())]).result(10)
    road.append("push", [Draft(feed.id, b"one", b"", flags=FrameFlag.DUPLICATE)]).result(10)
    shop.close()
    operations = shop.open()
    row = next(item for item in waited(operations, "gate", 3) if item["feed"] == "gate")
    assert terms(row) == {"received": 3, "stored": 1, "quarantined": 1, "duplicate": 1}
    assert operations.verify() == []


def waited(operations, feed, received):
    """Let the workers finish what the spool holds, then read the ledger."""
    road = operations._fabric.road
    for _ in range(200):
        if not any(road.waiting_now().values()):
            break
        road.writer.run(lambda: None).result(10)
    rows = []
    for _ in range(50):
        road.writer.run(lambda: None).result(10)
        operations._fabric.answers._books._read = -1e9
        rows = operations.ledger(feed)
        if rows[0]["stored"] + rows[0]["quarantined"] + rows[0]["duplicate"] >= received:
            break
    return rows


def test_a_feed_whose_contract_fails_to_run_parks_its_frames_and_nobody_elses(shop, terms, monkeypatch):
    shop.feed("gate", "push")
    shop.feed("dock", "push")
    operations = shop.open()
    road = shop.fabric.road
    gate, dock = shop.fabric.feed("gate"), shop.fabric.feed("dock")
    preparer = road._lane_worker._preparer
    run = preparer._runner.run

    def broken(sql, inputs):
        if gate.id in inputs["batch"]["feed"].to_pylist():
            raise RuntimeError("no plan is total after all")
        return run(sql, inputs)

    monkeypatch.setattr(preparer._runner, "run", broken)
    road.append("push", [Draft(gate.id, b"1", GOOD.encode()), Draft(dock.id, b"2", WARM.encode())]).result(10)
    waited(operations, "gate", 1)
    assert terms(operations.ledger("dock")[0]) == {"received": 1, "stored": 1}
    assert terms(operations.ledger("gate")[0]) == {"received": 1, "quarantined": 1}
    held = operations.quarantined(operations.quarantine()[0]["id"])
    assert (held[0]["stage"], held[0]["code"], held[0]["original"]) == ("frame", "plan-failed", GOOD)


def test_rows_the_lake_refuses_are_parked_and_their_neighbours_stored(shop, terms, monkeypatch):
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
    road.append("push", [Draft(gate.id, b"1", GOOD.encode()), Draft(dock.id, b"2", WARM.encode())]).result(10)
    waited(operations, "gate", 1)
    assert terms(operations.ledger("dock")[0]) == {"received": 1, "stored": 1}
    assert terms(operations.ledger("gate")[0]) == {"received": 1, "quarantined": 1}
    assert operations.verify() == []


def test_a_file_whose_set_rule_fails_is_held_whole_where_its_feed_says_so(shop, terms):
    shop.contract(least=2)
    shop.feed(more="onBatch: hold\n")
    operations = shop.open()
    few = operations.ingest("oven", shop.file("oven-few.ndjson", GOOD, WARM))
    assert (few["verdict"], terms(few)) == ("held", {"received": 1, "quarantined": 1})
    assert "rowCount 2" in few["reason"]
    enough = operations.ingest("oven", shop.file("oven-enough.ndjson", GOOD, WARM, '{"id": "e"}'))
    assert (enough["verdict"], terms(enough)) == ("stored", {"received": 3, "stored": 3})
    group = next(item for item in operations.quarantine() if item["code"] == "batch-held")
    assert operations.replay(group["id"], "the short file is right")["released"] == 1
    assert terms(operations.ledger("oven")[0]) == {"received": 5, "stored": 5}
    assert operations.verify() == []


def test_without_hold_a_failed_set_rule_lets_the_rows_pass_and_the_feed_fails(shop, terms):
    shop.contract(least=5)
    shop.feed()
    operations = shop.open()
    assert terms(operations.ingest("oven", shop.file("oven.ndjson", GOOD, WARM))) == {"received": 2, "stored": 2}
    detail = shop.fabric.answers.feed("oven")
    assert [(rule.metric, rule.rows, rule.passed) for rule in detail.contract.set_rules] == [("rowCount", 2, None)]


def test_a_file_refused_for_its_encoding_is_released_once_its_feed_knows_it(shop, terms):
    shop.feed(codec="csv")
    operations = shop.open()
    path = shop.folder / "data" / "oven.csv"
    path.parent.mkdir()
    path.write_bytes("id,at,größe\na,2026-11-22T10:00:00Z,groß\nb,2026-11-22T10:00:01Z,klein\n".encode("cp1252"))
    assert terms(operations.ingest("oven", str(path))) == {"received": 1, "quarantined": 1}
    shop.feed(codec="csv, encoding: windows-1252")
    operations = shop.open()
    assert operations.replay(operations.quarantine()[0]["id"], "the ERP writes cp1252")["released"] == 1
    assert terms(operations.ledger("oven")[0]) == {"received": 2, "stored": 2}
    assert [json.loads(row["extra"])["größe"] for row in readings(operations)] == ["groß", "klein"]
    assert operations.verify() == []


def test_decimal_commas_are_numbers_in_expressions_too(shop):
    text = (shop.folder / "contracts" / "reading-1.0.0.odcs.yaml").read_text()
    changed = text.replace("transformLogic: temperature", "transformLogic: temperature * 2")
    (shop.folder / "contracts" / "reading-1.0.0.odcs.yaml").write_text(changed)
    shop.feed(codec="csv, delimiter: ';', decimal: ','")
    operations = shop.open()
    operations.ingest("oven", shop.file("oven.csv", "id;at;temperature;unit", "a;2026-11-22T10:00:00Z;20,25;CEL"))
    assert readings(operations)[0]["temperature"] == 40.5
