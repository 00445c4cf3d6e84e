"""Whatever the split, order and repetition of its events, an equipment has the same intervals as a plain reference."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.batch import TIMESTAMP
from weftline.model.dataset import Column, DatasetSpec
from weftline.store.duck import LakeSettings
from weftline.store.duck_lake import DuckLake
from weftline.store.lake import Group

STATES = DatasetSpec(
    "equipment_state",
    (Column("equipment", pa.string()), Column("state", pa.string()), Column("reason", pa.string())),
)
Event = tuple[str, int, str, str | None]
Interval = tuple[str, str, str | None, int, int | None]

events = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2"]),
        st.integers(-3, 12),
        st.sampled_from(["ACTIVE", "READY", "STOPPED"]),
        st.sampled_from([None, None, "tool"]),
    ),
    max_size=24,
)
cuts = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def reference(found: list[Event]) -> set[Interval]:
    """Sort, keep the greatest state of an instant, join equal neighbours."""
    intervals: set[Interval] = set()
    for equipment, own in groupby(sorted(set(found), key=lambda e: (e[0], e[1])), key=lambda e: e[0]):
        best: dict[int, tuple[str, str | None]] = {}
        for _, time, state, reason in own:
            best[time] = max(best.get(time, ("", None)), (state, reason), key=lambda s: (s[0], s[1] or ""))
        runs: list[tuple[int, tuple[str, str | None]]] = []
        for time in sorted(best):
            if not runs or runs[-1][1] != best[time]:
                runs.append((time, best[time]))
        ends = [start for start, _ in runs[1:]] + [None]
        intervals |= {(equipment, *state, start, end) for (start, state), end in zip(runs, ends, strict=True)}
    return intervals


@pytest.fixture(scope="module")
def lake() -> Iterator[DuckLake]:
    folder = Path(tempfile.mkdtemp())
    made = DuckLake(folder / ".weftline", LakeSettings(memory_limit=512 << 20, threads=1))
    made.ensure([STATES])
    yield made
    made.close()
    shutil.rmtree(folder)


def rows(part: list[Event]) -> pa.Table:
    count = len(part)
    return pa.table(
        {
            "event_time": pa.array([time * 1_000_000 for _, time, _, _ in part], TIMESTAMP),
            "feed": pa.array([1] * count, pa.int32()),
            "contract": pa.array([1] * count, pa.int32()),
            "frame": pa.array(range(count), pa.uint64()),
            "position": pa.array([0] * count, pa.uint32()),
            "row": pa.array([0] * count, pa.uint32()),
            "time_source": ["source"] * count,
            "mark": pa.array([0] * count, pa.uint8()),
            "equipment": [equipment for equipment, _, _, _ in part],
            "state": [state for _, _, state, _ in part],
            "reason": pa.array([reason for _, _, _, reason in part], pa.string()),
        }
    )


def derived(lake: DuckLake) -> set[Interval]:
    found = lake.scan(
        "SELECT equipment, state, reason, epoch_us(start_time) // 1000000 AS a, epoch_us(end_time) // 1000000 AS z, "
        "seconds FROM equipment_state UNION ALL "
        "SELECT equipment, state, reason, epoch_us(start_time) // 1000000, NULL, NULL FROM equipment_state_current"
    ).to_pylist()
    assert all(row["z"] is None or row["seconds"] == row["z"] - row["a"] > 0 for row in found)
    intervals = [(row["equipment"], row["state"], row["reason"], row["a"], row["z"]) for row in found]
    assert len(intervals) == len(set(intervals))
    return set(intervals)


@given(found=events, sizes=cuts)
def test_any_split_and_order_gives_the_reference(lake: DuckLake, found: list[Event], sizes: list[int]) -> None:
    tables = ("equipment_state_event", "equipment_state", "equipment_state_current")
    lake.change("empty", lambda cursor: [cursor.execute(f"DELETE FROM {table}") for table in tables] and None)
    done = 0
    offset = (lake.position("lane") or (0, 0, -1))[2] + 1
    while done < len(found):
        part = found[done : done + sizes[done % len(sizes)]]
        lake.commit(Group("lane", 1, offset, offset, rows={"equipment_state": rows(part)}))
        done += len(part)
        offset += 1
        assert derived(lake) == reference(found[:done])
    assert derived(lake) == reference(found)
