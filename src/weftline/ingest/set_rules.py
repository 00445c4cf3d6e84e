"""Set rules judged per feed and received hour from their additive partials, in memory, as groups are committed."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pyarrow as pa

from weftline.contracts.plan import SetRule

__all__ = ["SetCounts", "SetResult", "judge"]

HOUR = 3_600_000_000
HOURS_KEPT = 25
_TESTS: dict[str, Callable[[float, tuple[float, ...]], bool]] = {
    "mustBe": lambda value, limits: value == limits[0],
    "mustNotBe": lambda value, limits: value != limits[0],
    "mustBeGreaterThan": lambda value, limits: value > limits[0],
    "mustBeGreaterOrEqualTo": lambda value, limits: value >= limits[0],
    "mustBeGreaterThanOrEqualTo": lambda value, limits: value >= limits[0],
    "mustBeLessThan": lambda value, limits: value < limits[0],
    "mustBeLessOrEqualTo": lambda value, limits: value <= limits[0],
    "mustBeLessThanOrEqualTo": lambda value, limits: value <= limits[0],
    "mustBeBetween": lambda value, limits: limits[0] <= value <= limits[1],
    "mustNotBeBetween": lambda value, limits: not limits[0] <= value <= limits[1],
}
_NEEDS_A_FULL_HOUR = {
    "mustBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeGreaterThanOrEqualTo", "mustBeBetween"
}  # fmt: skip
"""Counting operators an hour still running may yet satisfy."""


class SetResult(NamedTuple):
    """One set rule over one received hour; `passed` is None while the hour may still change the answer."""

    rule: SetRule
    hour: int
    rows: int
    failing: int
    value: float
    passed: bool | None


def judge(rule: SetRule, hour: int, rows: int, failing: int, *, closed: bool) -> SetResult:
    """Compare one hour's partials with the rule's limits."""
    if rule.metric == "rowCount":
        value = float(rows)
    elif rule.unit == "percent":
        value = 100.0 * failing / rows if rows else 0.0
    else:
        value = float(failing)
    passed: bool | None = _TESTS[rule.operator](value, rule.limits)
    if not passed and not closed and rule.metric == "rowCount" and rule.operator in _NEEDS_A_FULL_HOUR:
        passed = None
    return SetResult(rule, hour, rows, failing, value, passed)


class SetCounts:
    """Sum partials per feed, rule and hour; the lake holds the same sums and fills this at start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[int, dict[tuple[str, int], list[int]]] = defaultdict(dict)

    def add(self, counts: pa.Table | None) -> None:
        """Take in SET_COUNT rows; hours older than a day are let go."""
        if counts is None or not counts.num_rows:
            return
        hours = counts["hour"].cast(pa.int64()).to_pylist()
        columns = (counts["feed"], counts["rule"], counts["rows"], counts["failing"])
        lists = [column.to_pylist() for column in columns]
        with self._lock:
            for feed, rule, hour, rows, failing in zip(lists[0], lists[1], hours, lists[2], lists[3], strict=True):
                if (rule, hour) not in self._counts[feed]:
                    self._forget(feed, hour - HOURS_KEPT * HOUR)
                held = self._counts[feed].setdefault((rule, hour), [0, 0])
                held[0] += rows
                held[1] += failing

    def _forget(self, feed: int, before: int) -> None:
        self._counts[feed] = {key: value for key, value in self._counts[feed].items() if key[1] >= before}

    def results(self, feed: int, rules: Iterable[SetRule], now: int) -> list[SetResult]:
        """Return the newest hour's result of each rule that has one."""
        with self._lock:
            counts = dict(self._counts.get(feed, {}))
        newest: dict[str, int] = {}
        for name, hour in counts:
            newest[name] = max(hour, newest.get(name, hour))
        found = []
        for rule in rules:
            hour = newest.get(rule.id, -1)
            if hour >= 0:
                rows, failing = counts[rule.id, hour]
                found.append(judge(rule, hour, rows, failing, closed=now >= hour + HOUR))
        return found

    def failed(self, feed: int, since: int) -> dict[str, int]:
        """Return failing counts per rule over the hours since."""
        with self._lock:
            counts = dict(self._counts.get(feed, {}))
        total: dict[str, int] = {}
        for (rule, hour), (_, failing) in counts.items():
            if hour >= since // HOUR * HOUR:
                total[rule] = total.get(rule, 0) + failing
        return total

    def feeds(self) -> list[int]:
        """Return the feeds that have any partial."""
        with self._lock:
            return list(self._counts)
