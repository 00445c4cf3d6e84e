"""PlanRunner: a prepared plan reads the batch of this run, never an older one, and sees nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from weftline.store.plan_runner import PlanFailedError, PlanRunner

SQL = "SELECT b.n, b.s0 * 2 AS twice, p.k FROM batch b LEFT JOIN params p ON p.feed = b.feed"
PARAMS = pa.table({"feed": [1, 2], "k": ["a", "b"]})


def batch(values: list[object]) -> pa.Table:
    count = len(values)
    return pa.table(
        {"n": list(range(count)), "feed": [1 + place % 2 for place in range(count)], "s0": pa.array(values)}
    )


@pytest.fixture
def runner():
    made = PlanRunner(most_plans=3)
    yield made
    made.close()


def test_two_batches_through_one_plan_give_their_own_rows(runner: PlanRunner) -> None:
    first = runner.run(SQL, {"batch": batch([1, 2]), "params": PARAMS})
    second = runner.run(SQL, {"batch": batch([10, 20, 30]), "params": PARAMS})
    third = runner.run(SQL, {"batch": batch([7]), "params": PARAMS.slice(1)})
    assert first["twice"].to_pylist() == [2, 4]
    assert second["twice"].to_pylist() == [20, 40, 60]
    assert second["k"].to_pylist() == ["a", "b", "a"]
    assert third.to_pylist() == [{"n": 0, "twice": 14, "k": None}]
    assert runner.prepared == 1


def test_another_schema_is_another_plan(runner: PlanRunner) -> None:
    whole = runner.run(SQL, {"batch": batch([1, 2]), "params": PARAMS})
    broken = runner.run(SQL, {"batch": batch([1.5, 2.5]), "params": PARAMS})
    again = runner.run(SQL, {"batch": batch([3, 4]), "params": PARAMS})
    assert [table.schema.field("twice").type for table in (whole, broken, again)] == [
        pa.int64(),
        pa.float64(),
        pa.int64(),
    ]
    assert broken["twice"].to_pylist() == [3.0, 5.0]
    assert runner.prepared == 2


def test_a_result_stays_whole_after_the_next_run(runner: PlanRunner) -> None:
    sql = "SELECT n, s0 AS text FROM batch"
    first = runner.run(sql, {"batch": batch([f"text longer than twelve {n}" for n in range(5000)])})
    runner.run(sql, {"batch": batch(["other text, longer than twelve"] * 5000)})
    assert first["text"][4999].as_py() == "text longer than twelve 4999"


def test_rows_come_in_order_of_n_whatever_the_chunks(runner: PlanRunner) -> None:
    table = batch(list(range(200_000)))
    for chunks in (table, pa.Table.from_batches(table.to_batches(max_chunksize=1000))):
        found = runner.run(SQL, {"batch": chunks, "params": PARAMS})
        assert found["n"].combine_chunks().equals(table["n"].combine_chunks())


def test_an_engine_that_loses_the_order_is_put_right(runner: PlanRunner) -> None:
    found = runner.run("SELECT n FROM batch ORDER BY n DESC", {"batch": batch(list(range(1000)))})
    assert found["n"].to_pylist() == list(range(1000))


def test_old_plans_are_forgotten(runner: PlanRunner) -> None:
    for number in range(10):
        runner.run(f"SELECT n, {number} AS a FROM batch", {"batch": batch([1])})
    assert runner.prepared == 3
    found = runner.run("SELECT n, 0 AS a FROM batch", {"batch": batch([1, 2])})
    assert found.num_rows == 2


def test_an_empty_batch_gives_no_rows(runner: PlanRunner) -> None:
    assert runner.run(SQL, {"batch": batch([1]).slice(1), "params": PARAMS}).num_rows == 0


def test_a_plan_that_raises_says_so_and_leaves_the_runner_usable(runner: PlanRunner) -> None:
    sql = "SELECT n, CAST(s0 AS BIGINT) AS a FROM batch"
    with pytest.raises(PlanFailedError) as error:
        runner.run(sql, {"batch": batch(["x"])})
    assert error.value.complaint.code == "plan-failed"
    assert runner.run(sql, {"batch": batch(["5"])})["a"].to_pylist() == [5]
    with pytest.raises(PlanFailedError):
        runner.run("SELECT nothing FROM nowhere", {"batch": batch(["x"])})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM sys_path",
        "COPY (SELECT 1) TO 'out.csv'",
    ],
)
def test_nothing_outside_the_inputs_can_be_read_or_written(runner: PlanRunner, sql: str, tmp_path: Path) -> None:
    sys_path = pa.table({"secret": [1]})  # a Python variable must not become a table
    assert sys_path.num_rows == 1
    with pytest.raises(PlanFailedError):
        runner.run(sql, {"batch": batch([1])})


def test_the_settings_are_locked(runner: PlanRunner) -> None:
    settings = (
        "SELECT name, value FROM duckdb_settings() WHERE name IN ('enable_external_access', 'lock_configuration')"
    )
    found = {row["name"]: row["value"] for row in runner.run(settings, {}).to_pylist()}
    assert found == {"enable_external_access": "false", "lock_configuration": "true"}


def test_two_runners_live_beside_each_other() -> None:
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        own = PlanRunner()
        for _ in range(20):
            table = own.run(SQL, {"batch": batch([number] * 100), "params": PARAMS})
            results.setdefault(number, []).append(table["twice"][99].as_py())
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {1: [2] * 20, 2: [4] * 20}
