"""A real lake in a folder of its own, and groups as the road makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from weftline.batch import TIMESTAMP
from weftline.model.dataset import Column, DatasetSpec
from weftline.store.duck import LakeSettings
from weftline.store.duck_lake import DuckLake
from weftline.store.lake import LEDGER, LEDGER_TERMS, QUARANTINE, Group

HOUR = 3_600_000_000
SIGNAL = DatasetSpec(
    "signal",
    (
        Column("equipment", pa.string()),
        Column("term", pa.string()),
        Column("value", pa.float64()),
        Column("value_int", pa.int64()),
        Column("text", pa.string()),
        Column("unit", pa.string()),
        Column("quality", pa.string()),
    ),
    builtin=True,
)
STATES = DatasetSpec(
    "equipment_state",
    (Column("equipment", pa.string()), Column("state", pa.string()), Column("reason", pa.string())),
    builtin=True,
)
SMALL = LakeSettings(memory_limit=512 << 20, threads=2, min_free=1 << 20)


def facts(count: int, first: int, *, feed: int = 1, received: int = HOUR) -> dict[str, pa.Array]:
    """Return the road's columns of `count` one-record frames from offset `first` on."""
    frames = range(first, first + count)
    return {
        "event_time": pa.array([received + frame for frame in frames], TIMESTAMP),
        "feed": pa.array([feed] * count, pa.int32()),
        "contract": pa.array([1] * count, pa.int32()),
        "frame": pa.array(frames, pa.uint64()),
        "position": pa.array([0] * count, pa.uint32()),
        "row": pa.array([0] * count, pa.uint32()),
        "clock_offset": pa.nulls(count, pa.int64()),
        "time_source": pa.array(["source"] * count),
        "mark": pa.array([0] * count, pa.uint8()),
        "extra": pa.nulls(count, pa.string()),
    }


def signals(count: int, first: int, *, feed: int = 1) -> pa.Table:
    """Return rows of `signal`."""
    return pa.table(
        {
            **facts(count, first, feed=feed),
            "equipment": pa.array([f"line/m{n % 7}" for n in range(count)]),
            "term": pa.array(["temperature"] * count),
            "value": pa.array([n / 10 for n in range(count)]),
            "unit": pa.array(["CEL"] * count),
            "quality": pa.array(["good"] * count),
        }
    )


def ledger(rows: Sequence[dict[str, int]]) -> pa.Table:
    """Return ledger rows; what a row does not name is 0, its hour 1970-01-01 01:00."""
    return pa.Table.from_pylist(
        [{"feed": 1, "hour": HOUR, **dict.fromkeys(LEDGER_TERMS, 0), **row} for row in rows], LEDGER
    )


def quarantined(frames: Sequence[int], *, feed: int = 1, received: int = HOUR, code: str = "contract-rule") -> pa.Table:
    """Return one quarantined record a frame."""
    return pa.Table.from_pylist(
        [
            {
                "feed": feed,
                "contract": 1,
                "frame": frame,
                "position": 0,
                "received": received,
                "stage": "contract",
                "code": code,
                "fingerprint": "thermo@1/range/value",
                "violations": [{"rule": "range", "field": "value", "found": "900", "expected": "at most 300"}],
                "attributes": b"{}",
                "original": f'{{"value": 900, "n": {frame}}}'.encode(),
            }
            for frame in frames
        ],
        QUARANTINE,
    )


def signal_group(
    first: int, count: int = 10, *, bad: int = 0, producer: str = "lane:push", feed: int = 1, **more: Any
) -> Group:
    """Return a group of `count` one-record frames of which the last `bad` are quarantined."""
    good = count - bad
    terms = {"frames": count, "received": count, "stored": good, "quarantined": bad, "rows": good}
    return Group(
        producer=producer,
        epoch=1,
        first=first,
        last=first + count - 1,
        rows={"signal": signals(good, first, feed=feed)},
        ledger=ledger([{"feed": feed, **terms}]),
        quarantine=quarantined(range(first + good, first + count), feed=feed) if bad else None,
        records=count,
        **more,
    )


@pytest.fixture
def open_lake(tmp_path: Path) -> Iterator[Callable[..., DuckLake]]:
    """Open lakes that are closed at the end; the default folder is one for the test."""
    opened: list[DuckLake] = []

    def opening(folder: Path | None = None, settings: LakeSettings = SMALL, **more: Any) -> DuckLake:
        lake = DuckLake(folder or tmp_path / ".weftline", settings, **more)
        opened.append(lake)
        return lake

    yield opening
    for lake in opened:
        lake.close()


@pytest.fixture
def lake(open_lake: Callable[..., DuckLake]) -> DuckLake:
    """Return an open lake that knows `signal` and `equipment_state`."""
    made = open_lake()
    made.dictionary("feed", ["press-1", "press-2"])
    made.dictionary("contract", ["thermo@1.0.0"])
    made.ensure([SIGNAL, STATES])
    return made


@pytest.fixture
def world() -> Any:
    """Return this module's makers, which tests cannot import by name."""
    return World


class World:
    """The makers of groups and tables."""

    hour = HOUR
    small = SMALL
    signal = SIGNAL
    states = STATES
    facts = staticmethod(facts)
    signals = staticmethod(signals)
    ledger = staticmethod(ledger)
    quarantined = staticmethod(quarantined)
    group = staticmethod(signal_group)
