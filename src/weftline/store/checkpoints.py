"""When the writer checkpoints, what it does when that fails, and when sources must be held back."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from weftline.clock import Clock
from weftline.store.duck import MEBI, Instance, LakeSettings, fatal

__all__ = ["Minder"]

_PAUSE = 1.0
"""Seconds until a checkpoint that failed is tried again."""


class Minder:
    """Keep the WAL short between groups. Owned by the writer; the gauges may be read from anywhere."""

    def __init__(self, settings: LakeSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._not_before = 0.0
        self._failed = ""
        self.done = 0
        self.seconds = 0.0

    def between(
        self, instance: Instance, fold: Callable[[], None], reopen: Callable[[], None], quiet: float = 0.0
    ) -> None:
        """Fold and checkpoint if the WAL is long, or if nothing was committed for a while."""
        wal = instance.wal_bytes()
        due = wal >= self._settings.checkpoint_wal or (wal > 0 and quiet >= self._settings.checkpoint_quiet)
        began = self._clock.steady()
        if not due or began < self._not_before:
            return
        fold()
        try:
            instance.writer.execute("CHECKPOINT")
        except duckdb.Error as error:
            self._failed = str(error).splitlines()[0]
            self._not_before = self._clock.steady() + _PAUSE
            if fatal(error):
                reopen()
            return
        self._failed = ""
        self.done += 1
        self.seconds = self._clock.steady() - began

    def holding(self, free: int, wal: int, broken: str) -> str:
        """Return why sources must be held back, or an empty string."""
        if broken:
            return f"the lake does not open: {broken}"
        needed = self._settings.free_needed
        if free < needed:
            return f"{free // MEBI} MiB free on the lake's disk, {needed // MEBI} MiB needed"
        if wal > self._settings.wal_stop:
            why = f" ({self._failed})" if self._failed else ""
            return f"{wal // MEBI} MiB of write-ahead log that cannot be checkpointed{why}"
        return ""
