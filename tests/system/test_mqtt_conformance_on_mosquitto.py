"""The MQTT connector keeps every promise on mosquitto too, and neither it nor the wire shows which broker is there."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from weftline.testing.benches.mqtt import RelayedBench
from weftline.testing.conformance import CHECKS, Check, Stage, run_check
from weftline.testing.mosquitto import MosquittoMissingError, find_mosquitto

REPEATS = {
    # What the broker delivered again although the road had it, and what must so be known by its identity. A kill before
    # the fsync is one of them: what was written outlives the process, only a power cut would take it.
    "the_same_again_is_known_by_its_identity": 2,
    "a_stop_is_prompt_and_loses_nothing": 1,
    "a_kill_before_it_is_durable_loses_nothing": 1,
    "a_kill_before_it_is_acknowledged_doubles_nothing": 1,
}


@pytest.fixture(scope="module", autouse=True)
def mosquitto() -> None:
    try:
        find_mosquitto()
    except MosquittoMissingError as missing:
        pytest.fail(str(missing)) if os.environ.get("CI") == "true" else pytest.skip(str(missing))


def repeats_recognised(stage: Stage) -> int:
    """Count the frames marked as repeats on the road that was looked at last."""
    frames = next((rest for name, *rest in reversed(stage.trace) if name == "frames"), [])
    return sum(1 for _feed, _numbers, repeat in frames if repeat)


def wire(stage: Stage) -> list[tuple[bool, list[tuple[list[int], bool]], list[list[int]]]]:
    assert isinstance(stage.bench, RelayedBench)
    return stage.bench.wire()


def assert_the_standard_was_kept(stage: Stage) -> None:
    """DUP is on a repeat and on nothing else, and each message is acknowledged once and never sent after that."""
    sent: Counter[str] = Counter()
    safe: Counter[str] = Counter()
    for _present, delivered, acknowledged in wire(stage):
        for numbers, dup in delivered:
            assert dup == bool(sent[str(numbers)]), (numbers, "with DUP" if dup else "again without DUP")
            assert not safe[str(numbers)], (numbers, "after its acknowledgement")
            sent[str(numbers)] += 1
        safe.update(map(str, acknowledged))
    assert sent.keys() == safe.keys()
    assert set(safe.values()) <= {1}


async def kept(check: Check, folder: Path, variant: str) -> Stage:
    try:
        stage = await run_check("mqtt", check, folder / variant, variant)
        assert_the_standard_was_kept(stage)
    except Exception as error:
        error.add_note(f"on the bench '{variant}'")
        raise
    return stage


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"mqtt-mosquitto-{check.__name__}")
async def test_connector_on_mosquitto_as_on_our_broker(check: Check, tmp_path: Path) -> None:
    plays = [asyncio.create_task(kept(check, tmp_path, variant)) for variant in ("mosquitto", "relayed")]
    await asyncio.wait(plays)
    theirs, ours = (play.result() for play in plays)
    assert theirs.trace == ours.trace
    assert wire(theirs) == wire(ours)
    assert repeats_recognised(theirs) == REPEATS.get(check.__name__, 0)
