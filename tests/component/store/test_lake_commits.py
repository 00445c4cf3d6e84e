"""A group is stored once, whole, and found again; what contradicts the checkpoint is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from weftline.model.dataset import Column, DatasetSpec
from weftline.model.position import Position
from weftline.store.duck_lake import DuckLake, GroupOverlapError
from weftline.store.groups import GroupRefusedError, ReleasedGoneError
from weftline.store.lake import Group, KeyCheck
from weftline.store.tables import DatasetChangedError, DatasetNameError


def count(lake: DuckLake, table: str) -> int:
    found: int = lake.scan(f"SELECT count(*) FROM {table}").column(0)[0].as_py()
    return found


def totals(lake: DuckLake) -> dict[int, dict[str, int]]:
    return {row.pop("feed"): row for row in lake.totals().to_pylist()}


def test_a_group_lands_with_its_provenance_ledger_and_checkpoint(lake: DuckLake, world: Any) -> None:
    done = lake.commit(world.group(0, 10, bad=2))
    row = lake.scan("SELECT * FROM signal ORDER BY frame LIMIT 1").to_pylist()[0]
    assert (row["commit_seq"], row["frame"], row["feed"]) == (done.commit_seq, 0, 1)
    assert row["record_time"].timestamp() * 1e6 == pytest.approx(done.record_time, abs=1)
    assert row["record_day"] == row["record_time"].date()
    assert lake.names("lane")[row["lane"]] == "lane:push"
    assert totals(lake)[1] | {} == {
        "frames": 10,
        "received": 10,
        "stored": 8,
        "quarantined": 2,
        "duplicate": 0,
        "ignored": 0,
        "expired": 0,
        "rows": 8,
    }
    assert lake.position("lane:push") == Position("lane:push", 1, 9, False, 10)
    assert lake.scan("SELECT count(DISTINCT id) FROM weftline.quarantine").column(0)[0].as_py() == 2


def test_a_group_committed_twice_is_stored_once(lake: DuckLake, world: Any) -> None:
    group = world.group(0)
    first, second = lake.commit(group), lake.commit(group)
    assert not first.repeated
    assert second.repeated
    assert second.commit_seq == 0
    assert count(lake, "signal") == 10
    assert totals(lake)[1]["stored"] == 10


def test_it_is_still_known_after_reopening(open_lake: Callable[..., DuckLake], world: Any) -> None:
    lake = open_lake()
    lake.ensure([world.signal])
    done = lake.commit(world.group(0, bad=3))
    lake.close()
    again = open_lake()
    assert again.commit(world.group(0, bad=3)).repeated
    later = again.commit(world.group(10, bad=3))
    assert later.commit_seq == done.commit_seq + 1
    assert count(again, "(SELECT DISTINCT id FROM weftline.quarantine)") == 6


def test_offsets_that_overlap_the_checkpoint_are_refused(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0, 10))
    with pytest.raises(GroupOverlapError):
        lake.commit(world.group(5, 10))
    assert count(lake, "signal") == 10


def test_a_new_epoch_starts_again_in_a_lane_of_its_own(lake: DuckLake, world: Any) -> None:
    from dataclasses import replace

    lake.commit(world.group(0))
    lake.commit(replace(world.group(0), epoch=2))
    assert lake.position("lane:push") == Position("lane:push", 2, 9, False, 10)
    assert count(lake, "(SELECT DISTINCT lane, frame FROM signal)") == 20
    assert lake.commit(world.group(0)).repeated, "the old epoch's group is still known"
    with pytest.raises(GroupOverlapError):
        lake.commit(world.group(10))


def test_a_producer_closes_with_an_empty_group(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0, producer="file:a:1"))
    end = Group("file:a:1", 1, 10, 9, complete=True)
    assert not lake.commit(end).repeated
    assert lake.commit(end).repeated
    assert lake.position("file:a:1") == Position("file:a:1", 1, 9, True, 10)
    empty = Group("file:a:2", 1, 0, -1, complete=True)
    assert not lake.commit(empty).repeated
    assert [place.producer for place in lake.positions("file:a:")] == ["file:a:1", "file:a:2"]


def test_a_group_that_cannot_be_stored_leaves_nothing_behind(lake: DuckLake, world: Any) -> None:
    group = world.group(0)
    broken = pa.table({**world.facts(3, 0), "value": pa.array(["hot", "1", "2"])})
    from dataclasses import replace

    with pytest.raises(GroupRefusedError):
        lake.commit(replace(group, rows={"signal": broken}))
    with pytest.raises(GroupRefusedError, match="no table"):
        lake.commit(replace(group, rows={"nowhere": broken}))
    with pytest.raises(GroupRefusedError, match="colour"):
        lake.commit(replace(group, rows={"signal": broken.append_column("colour", broken.column("value"))}))
    assert count(lake, "signal") == 0
    assert lake.totals().num_rows == 0
    assert lake.position("lane:push") is None
    assert not lake.commit(group).repeated


def test_a_replay_gives_records_back_and_the_totals_stay_right(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0, 10, bad=4))
    ids = lake.scan("SELECT id FROM weftline.quarantine ORDER BY id").column(0).to_pylist()
    rows = world.signals(2, 6).append_column("lane", pa.array([1, 1], pa.int32()))
    replay = Group(
        "replay:job-1",
        1,
        0,
        0,
        rows={"signal": rows},
        ledger=world.ledger([{"stored": 2, "rows": 2}]),
        released=ids[:2],
        job="job-1",
    )
    lake.commit(replay)
    assert lake.commit(replay).repeated
    now = totals(lake)[1]
    assert (now["received"], now["stored"], now["quarantined"]) == (10, 8, 2)
    assert count(lake, "(SELECT DISTINCT lane, frame FROM signal WHERE lane = 1)") == 8
    with pytest.raises(ReleasedGoneError):
        lake.commit(Group("replay:job-2", 1, 0, 0, released=ids[:1]))


def test_dictionary_ids_are_stable(open_lake: Callable[..., DuckLake]) -> None:
    lake = open_lake()
    first = lake.dictionary("feed", ["a", "b", "a"])
    assert first == {"a": 1, "b": 2}
    assert lake.dictionary("contract", ["a"]) == {"a": 1}
    lake.close()
    again = open_lake()
    assert again.dictionary("feed", ["c", "b", "a"]) == {"a": 1, "b": 2, "c": 3}
    assert again.names("feed") == {1: "a", 2: "b", 3: "c"}


def test_columns_are_added_and_types_never_changed(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0))
    wider = DatasetSpec("signal", (*world.signal.columns, Column("batch", pa.decimal128(12, 3))))
    lake.ensure([wider])
    lake.ensure([wider])
    assert lake.scan("SELECT DISTINCT batch FROM signal").to_pylist() == [{"batch": None}]
    with pytest.raises(DatasetChangedError, match="BIGINT"):
        lake.ensure([DatasetSpec("signal", (Column("value", pa.int64()),))])
    with pytest.raises(DatasetNameError):
        lake.ensure([DatasetSpec("quarantine", ())])
    with pytest.raises(DatasetNameError):
        lake.ensure([DatasetSpec("mine", (Column("Feed", pa.string()),))])


def test_every_reserved_word_is_a_column_and_a_dataset(lake: DuckLake, world: Any) -> None:
    words = lake.scan("SELECT DISTINCT keyword_name FROM duckdb_keywords()").column(0).to_pylist()
    taken = {"position", "row", "feed", "extra", "mark", "lane", "frame", "contract"}
    columns = [word for word in words if word not in taken]
    odd = [*columns, 'qu"ote', "semi;colon", "späße", " ", "naïve--", "*"]
    spec = DatasetSpec("select", tuple(Column(name, pa.string()) for name in odd))
    lake.ensure([spec])
    rows = pa.table({**world.facts(2, 0), **{name: pa.array(["x", name]) for name in odd}})
    lake.commit(Group("lane:push", 1, 0, 1, rows={"select": rows}))
    back = lake.scan('SELECT * FROM "select" ORDER BY frame').to_pylist()[1]
    assert {name: back[name] for name in odd} == {name: name for name in odd}
    assert len(columns) > 400


def test_known_keys_looks_behind_the_hash(lake: DuckLake, world: Any) -> None:
    check = KeyCheck("signal", "unique:term", "dataset", 0.0, ("equipment", "value"))
    new = pa.table(
        {
            "hash": pa.array([11, 12], pa.uint64()),
            "frame": pa.array([0, 1], pa.uint64()),
            "position": pa.array([0, 0], pa.uint32()),
            "row": pa.array([0, 0], pa.uint32()),
        }
    )
    probe = pa.table(
        {
            "hash": pa.array([13, 11, 11, 12], pa.uint64()),
            "equipment": ["line/m0", "line/m0", "another key with that hash", "line/m1"],
            "value": [0.0, 0.0, 0.0, 0.1],
        }
    )
    assert lake.known_keys(check, probe).to_pylist() == [False] * 4
    lake.commit(world.group(0, keys=[(check, new)]))
    assert lake.known_keys(check, probe).to_pylist() == [False, True, False, True]
    window = KeyCheck("signal", "unique:term", "window", 3600.0, check.columns)
    assert lake.known_keys(window, probe).to_pylist() == [False, True, False, True]
    past = KeyCheck("signal", "unique:term", "window", -3600.0, check.columns)
    assert lake.known_keys(past, probe).to_pylist() == [False] * 4


def test_totals_are_the_same_before_and_after_folding(open_lake: Callable[..., DuckLake], world: Any) -> None:
    from dataclasses import replace

    lake = open_lake(settings=replace(world.small, fold_rows=3, checkpoint_wal=1))
    lake.ensure([world.signal])
    for n in range(8):
        lake.commit(world.group(n * 10, feed=1 + n % 3))
        assert sum(lake.totals().column("stored").to_pylist()) == 10 * (n + 1)
    assert count(lake, "weftline.ledger_total") > 0
    assert lake.health().checkpoints > 5
    assert lake.health().wal_bytes < 100_000
    lake.close()
    assert sum(open_lake().totals().column("stored").to_pylist()) == 80


def test_dirty_buckets_are_marked_once(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0))
    lake.commit(world.group(10))
    rows = lake.scan("SELECT dataset, epoch_us(hour) AS hour FROM weftline.dirty_bucket").to_pylist()
    assert rows == [{"dataset": "signal", "hour": world.hour}]
    lake.change("recompute", lambda cursor: cursor.execute("DELETE FROM weftline.dirty_bucket"))
    lake.commit(world.group(20))
    assert count(lake, "weftline.dirty_bucket") == 1
