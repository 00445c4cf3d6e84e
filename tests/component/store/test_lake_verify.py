"""`verify` counts again and finds every kind of damage; retention keeps the ledger balanced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from weftline.store.duck_lake import DuckLake
from weftline.store.retention import Horizons, retain
from weftline.store.verify import verify


class Frames(NamedTuple):
    frames: int


@pytest.fixture
def filled(lake: DuckLake, world: Any) -> DuckLake:
    lake.commit(world.group(0, 10, bad=2))
    lake.commit(world.group(0, 10, bad=1, feed=2, producer="lane:mqtt"))
    lake.commit(world.group(10, 5))
    return lake


def terms(lake: DuckLake, **more: Any) -> set[tuple[str, str]]:
    return {(finding.feed, finding.term) for finding in verify(lake, **more)}


def test_a_sound_lake_balances(filled: DuckLake) -> None:
    assert verify(filled) == []
    assert verify(filled, {1: Frames(17), 2: Frames(10)}, {1: 2}) == []


DAMAGE = {
    "a row": ("DELETE FROM signal WHERE frame = 3 AND feed = 1", ("press-1", "stored")),
    "a row twice": ("INSERT INTO signal SELECT * FROM signal WHERE frame = 3 AND feed = 1", ("press-1", "rows")),
    "a row of another feed": ("UPDATE signal SET feed = 2 WHERE frame = 11", ("press-2", "stored")),
    "a quarantined record": ("DELETE FROM weftline.quarantine WHERE feed = 2", ("press-2", "quarantined")),
    "a counter": ("UPDATE weftline.ledger SET stored = stored + 1 WHERE feed = 2", ("press-2", "stored")),
    "received": (
        "UPDATE weftline.ledger SET received = received + 1 WHERE feed = 2",
        ("all", "records of the checkpoints"),
    ),
    "a ledger row": ("DELETE FROM weftline.ledger WHERE feed = 2", ("press-2", "stored")),
    "a total": (
        "INSERT INTO weftline.ledger_total SELECT feed, 0, 0, 0, 0, 1, 0, 0, 0 FROM weftline.ledger LIMIT 1",
        ("press-1", "duplicate in the ledger's rows"),
    ),
    "a checkpoint": (
        """UPDATE weftline.checkpoint SET "offset" = 7 WHERE producer = 'lane:mqtt'""",
        ("lane:mqtt", "offset of the checkpoint"),
    ),
    "checkpoint records": (
        "UPDATE weftline.checkpoint SET records = 3 WHERE producer = 'lane:mqtt'",
        ("all", "records of the checkpoints"),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(filled: DuckLake, name: str) -> None:
    statement, expected = DAMAGE[name]
    filled.change("damage", lambda cursor: cursor.execute(statement) and None)
    assert expected in terms(filled)
    assert all(str(f.counted) in f.complaint().sentence() for f in verify(filled))


def test_a_dropped_frame_is_found(filled: DuckLake) -> None:
    assert terms(filled, log_counts={1: Frames(16), 2: Frames(10)}) == {("press-1", "frames")}
    assert terms(filled, log_counts={1: Frames(15), 2: Frames(10)}, waiting={2: 1}) == {("press-2", "frames")}


def test_expired_records_are_counted_and_the_folded_ledger_balances(
    open_lake: Callable[..., DuckLake], filled: DuckLake, world: Any
) -> None:
    before = {row["feed"]: row for row in filled.totals().to_pylist()}
    now = filled.health().last_commit
    kept = Horizons(quarantine=1, ledger=1, receipts=1, set_counts=1, commit_log=1)
    assert set(retain(filled, now, kept).values()) == {0}
    gone = retain(filled, now + 2 * 86_400_000_000, kept)
    assert (gone["quarantine"], gone["ledger"] > 0, gone["commit_log"] > 0) == (3, True, True)
    after = {row["feed"]: row for row in filled.totals().to_pylist()}
    assert (after[1]["quarantined"], after[1]["expired"], after[2]["expired"]) == (0, 2, 1)
    assert after[1]["stored"] == before[1]["stored"]
    assert verify(filled) == []
    assert filled.scan("SELECT count(*) FROM weftline.ledger").column(0)[0].as_py() <= 2
    assert filled.scan("SELECT sum(expired)::INT AS n FROM ledger WHERE feed = 'press-1'").to_pylist() == [{"n": 2}]
    filled.commit(world.group(15, 5, bad=1))
    assert verify(filled) == []
    filled.close()
    again = open_lake()
    assert verify(again) == []
    assert again.commit(world.group(15, 5, bad=1)).repeated
    assert retain(again, now + 9 * 86_400_000_000, kept)["ledger"] > 0
    assert verify(again) == []


def test_a_trial_says_what_commit_would_and_stores_nothing(filled: DuckLake, world: Any) -> None:
    from weftline.store.groups import GroupRefusedError

    filled.trial(world.group(15, 5))
    with pytest.raises(GroupRefusedError):
        filled.trial(replace(world.group(15, 5), rows={"nowhere": world.signals(1, 15)}))
    assert verify(filled) == []
    assert not filled.commit(world.group(15, 5)).repeated
