"""Waits grow, stay bounded, differ, and are forgotten only after a connection that stood."""

from __future__ import annotations

import random

from weftline.clock import SystemClock
from weftline.connectors.back_off import BackOff


class Clock(SystemClock):
    seconds = 0.0

    def steady(self) -> float:
        return self.seconds


def waits(seed: int, number: int = 12) -> list[float]:
    back_off = BackOff(first=1.0, longest=20.0, floor=0.0, draw=random.Random(seed))
    return [back_off.failed() for _ in range(number)]


def test_waits_are_drawn_from_a_doubling_bounded_span() -> None:
    many = [waits(seed) for seed in range(300)]
    for index in range(12):
        column = [row[index] for row in many]
        bound = min(20.0, 2.0**index)
        assert max(column) <= bound
        assert max(column) > 0.9 * bound, "the whole span is used"
        assert min(column) < 0.1 * bound
        assert len(set(column)) > 290, "sources do not come back as one"


def test_a_stable_connection_resets_and_a_brief_one_does_not() -> None:
    clock = Clock()
    back_off = BackOff(first=1.0, stable=30.0, clock=clock, draw=random.Random(1))
    for _ in range(4):
        back_off.failed()
    back_off.connected()
    clock.seconds = 29.0
    back_off.failed()
    assert back_off.failures == 5
    back_off.connected()
    clock.seconds = 60.0
    assert back_off.failed() <= 1.0
    assert back_off.failures == 1


def test_a_wait_is_never_none_and_never_overflows() -> None:
    back_off = BackOff(first=1.0, longest=5.0, floor=0.05)
    assert all(0.05 <= back_off.failed() <= 5.0 for _ in range(2000))
