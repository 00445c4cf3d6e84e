"""The one clock: every time in Weftline comes from here, so that tests can make it jump."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "FileShiftedClock", "ShiftedClock", "SystemClock", "clock_of", "from_micros", "to_micros"]

SHIFT_FILE = "WEFTLINE_CLOCK_SHIFT_FILE"
"""Environment variable that names the file of a `FileShiftedClock`; inert unless set."""
LOOK_SECONDS = 0.05


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


class FileShiftedClock(SystemClock):
    """Tell the machine's time moved by what a file says (microseconds as text), so that a test outside may move it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._shift = 0
        self._looked = float("-inf")

    def now(self) -> int:
        """Return shifted wall time in microseconds since 1970-01-01 UTC; the file is read 20 times a second at most."""
        steady = self.steady()
        if steady - self._looked >= LOOK_SECONDS:
            self._looked = steady
            self._shift = int(self._file.read_text("ascii")) if self._file.exists() else 0
        return super().now() + self._shift


def clock_of(environment: Mapping[str, str]) -> Clock:
    """Return the machine's clock, or for the fault tests one that a file moves."""
    file = environment.get(SHIFT_FILE, "")
    return FileShiftedClock(Path(file)) if file else SystemClock()


def from_micros(micros: int) -> datetime:
    """Return an aware UTC datetime."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC; a naive datetime is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000 + aware.microsecond
