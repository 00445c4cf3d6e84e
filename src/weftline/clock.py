"""The one clock: every time in Weftline comes from here, so that tests can make it jump."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "ShiftedClock", "SystemClock", "from_micros", "to_micros"]


class Clock(Protocol):
    """Tell wall time and steady time. Only wall time may jump; waits and timeouts use steady time."""

    def now(self) -> int:
        """Return wall time in microseconds since 1970-01-01 UTC."""
        ...

    def steady(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...


class SystemClock:
    """Tell the machine's time."""

    def now(self) -> int:
        """Return wall time in microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def steady(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()


class ShiftedClock(SystemClock):
    """Tell the machine's time moved by `shift` microseconds; the fault tests change it while the road runs."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def now(self) -> int:
        """Return shifted wall time in microseconds since 1970-01-01 UTC."""
        return super().now() + self.shift


def from_micros(micros: int) -> datetime:
    """Return an aware UTC datetime."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC; a naive datetime is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000 + aware.microsecond
