"""Seeded fault rounds: after each, every record acknowledged to its sender has exactly one outcome and the ledger agrees.

WEFTLINE_TEST_PROFILE=ci runs a selection of twelve, `full` every round with three seeds. WEFTLINE_FAULT_SEED moves
the seeds, so that another run breaks things at other moments.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weftline.testing.faults import ROUNDS, play

SELECTION = (
    "kill-fsync-before-mosquitto",
    "kill-fsync-after-broker",
    "kill-commit-before-http",
    "kill-commit-inside-files",
    "kill-commit-after-mosquitto",
    "kill-any-http",
    "term-broker",
    "clock-broker",
    "poison-http",
    "disk-full-broker",
    "broker-cut",
    "large-file",
)
FULL = os.environ.get("WEFTLINE_TEST_PROFILE", "ci") == "full"
FIRST = int(os.environ.get("WEFTLINE_FAULT_SEED", "1"))
CASES = [(name, seed) for seed in range(FIRST, FIRST + 3) for name in ROUNDS] if FULL else [
    (name, FIRST) for name in SELECTION
]  # fmt: skip


def test_the_full_profile_has_two_hundred_rounds() -> None:
    assert len(ROUNDS) * 3 >= 200
    assert set(SELECTION) <= ROUNDS.keys()


@pytest.mark.parametrize(("name", "seed"), CASES, ids=[f"{name}-{seed}" for name, seed in CASES])
def test_nothing_is_lost_or_doubled(name: str, seed: int, tmp_path: Path) -> None:
    verdict = play(name, seed, tmp_path)
    assert verdict.right, verdict.sentence()
    if name == "flood":
        assert verdict.notes["p99"] < 2.0, verdict.sentence()
