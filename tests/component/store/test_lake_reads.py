"""Reads are one SELECT, in time, one heavy at a time, and never hold the writer up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from weftline.errors import StoreBusyError
from weftline.store.duck_lake import DuckLake
from weftline.store.duck_reads import ReadLimitError, ReadShapeError, SqlError

LONG = "SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 3"


def running(lake: DuckLake) -> None:
    """Wait until a read is under way."""
    until = time.monotonic() + 5
    while lake.health().oldest_snapshot_age == 0:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM signal",
        "SELECT 1; SELECT 2",
        "PRAGMA database_size",
        "CREATE TEMP TABLE x (i INT)",
        "ATTACH ':memory:' AS m",
        "SET threads = 8",
        "CHECKPOINT",
        "EXPLAIN SELECT 1",
        "",
    ],
)
def test_anything_but_one_select_is_refused(lake: DuckLake, sql: str) -> None:
    with pytest.raises(ReadShapeError):
        lake.select(sql, None, timeout=2)


def test_a_select_that_hides_a_delete_changes_nothing(lake: DuckLake, world: Any) -> None:
    lake.commit(world.group(0))
    hidden = "WITH gone AS MATERIALIZED (DELETE FROM signal RETURNING *) SELECT * FROM gone"
    with pytest.raises(SqlError):
        lake.select(hidden, None, timeout=2)
    with pytest.raises(SqlError):
        lake.select("SELECT * FROM read_text('/etc/passwd')", None, timeout=2)
    with pytest.raises(SqlError, match="nowhere"):
        lake.scan("SELECT * FROM nowhere")
    assert lake.scan("SELECT count(*) AS n FROM signal WHERE frame >= $from", {"from": 4}).to_pylist() == [{"n": 6}]


def test_a_read_is_interrupted_in_time_and_its_reader_is_free_again(lake: DuckLake) -> None:
    for _ in range(6):
        began = time.monotonic()
        with pytest.raises(ReadLimitError):
            lake.select(LONG, None, timeout=0.1)
        assert time.monotonic() - began < 3
    assert lake.select("SELECT 1 AS one", None, timeout=2).to_pylist() == [{"one": 1}]
    assert lake.health().oldest_snapshot_age == 0


def test_one_heavy_read_at_a_time(lake: DuckLake) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lake.select, LONG, None, timeout=1.0, heavy=True)
        running(lake)
        with pytest.raises(StoreBusyError, match="heavy"):
            lake.select("SELECT 1", None, timeout=0.05, heavy=True)
        assert lake.select("SELECT 1 AS one", None, timeout=2).num_rows == 1
        with pytest.raises(ReadLimitError):
            first.result()


def test_a_full_gate_is_busy_and_the_system_still_reads(open_lake: Callable[..., DuckLake], world: Any) -> None:
    lake = open_lake(settings=replace(world.small, readers=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lake.select, LONG, None, timeout=1.0)
        running(lake)
        with pytest.raises(StoreBusyError):
            lake.select("SELECT 1", None, timeout=0.05)
        assert lake.scan("SELECT 1").num_rows == 1
        with pytest.raises(ReadLimitError):
            first.result()


def test_readers_see_whole_groups_while_the_writer_commits(lake: DuckLake, world: Any) -> None:
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            row = lake.select(
                "SELECT (SELECT count(*) FROM signal) AS data, "
                "(SELECT coalesce(sum(stored), 0)::BIGINT FROM weftline.ledger) AS told",
                None,
                timeout=5,
            ).to_pylist()[0]
            assert row["data"] == row["told"]
            assert row["data"] % 50 == 0
            seen.append(row["data"])

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for n in range(40):
            lake.commit(world.group(n * 50, 50))
        done.set()
        for reader in readers:
            reader.result()
    assert len(set(seen)) > 3


def test_a_running_read_does_not_stop_checkpoints(open_lake: Callable[..., DuckLake], world: Any) -> None:
    lake = open_lake(settings=replace(world.small, checkpoint_wal=1))
    lake.ensure([world.signal])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lake.select, LONG, None, timeout=2.0)
        running(lake)
        before = lake.health().checkpoints
        for n in range(10):
            lake.commit(world.group(n * 50, 50))
        assert lake.health().checkpoints > before + 5
        assert lake.health().wal_bytes < 200_000
        assert not first.done()
        with pytest.raises(ReadLimitError):
            first.result()


def test_the_instance_is_locked(lake: DuckLake) -> None:
    settings = {
        row["name"]: row["value"]
        for row in lake.scan(
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('lock_configuration', 'enable_external_access', "
            "'TimeZone', 'memory_limit', 'checkpoint_threshold', 'allowed_directories', 'autoload_known_extensions')"
        ).to_pylist()
    }
    assert settings["lock_configuration"] == "true"
    assert settings["enable_external_access"] == "false"
    assert settings["autoload_known_extensions"] == "false"
    assert settings["memory_limit"] == "512.0 MiB"
    assert settings["allowed_directories"].endswith("sealed/]")
    version = lake.scan("SELECT tags FROM duckdb_databases() WHERE database_name = 'lake'").to_pylist()
    assert dict(version[0]["tags"])["storage_version"].startswith("v2.0.0")


def test_quiet_time_checkpoints(open_lake: Callable[..., DuckLake], world: Any) -> None:
    lake = open_lake(settings=replace(world.small, checkpoint_quiet=0.0))
    lake.ensure([world.signal])
    lake.commit(world.group(0))
    before = lake.health().checkpoints
    lake.maintain()
    assert (lake.health().checkpoints, lake.health().wal_bytes) == (before + 1, 0)
