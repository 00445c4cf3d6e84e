"""Faults that a review found, each tried on the real parts it was found in."""

from __future__ import annotations

import threading

from weftline.batch import Draft
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
