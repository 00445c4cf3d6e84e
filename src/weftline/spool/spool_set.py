"""The lanes of one fabric: opened by name, flushed by one thread, measured together."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from weftline.clock import Clock, SystemClock
from weftline.spool.errors import LaneNameError
from weftline.spool.flusher import GATHER, Flusher
from weftline.spool.lane import QUEUE_BYTES, RECENT_BYTES, SEGMENT_BYTES, Lane

__all__ = ["SpoolSet"]

LANE_NAME = re.compile(r"[a-z0-9][a-z0-9._]*(-[a-z0-9._]+)*")


class SpoolSet:
    """Own `<fabric>/.weftline/spool`: one folder per lane, one flusher thread for all."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        recent_bytes: int = RECENT_BYTES,
        queue_bytes: int = QUEUE_BYTES,
        gather: float = GATHER,
    ) -> None:
        """Sizes are bytes per lane, `gather` is seconds (at most 0.005)."""
        self.folder = folder
        self._clock = clock or SystemClock()
        self._sizes = {"segment_bytes": segment_bytes, "recent_bytes": recent_bytes, "queue_bytes": queue_bytes}
        self._flusher = Flusher(gather)
        self._lanes: dict[str, Lane] = {}
        self._guard = threading.Lock()

    def open(self, name: str, *, epoch_after: int = 0) -> Lane:
        """Return the lane of this name, opening or making it; a new one's epoch is above `epoch_after`."""
        if not LANE_NAME.fullmatch(name) or len(name) > 64:
            raise LaneNameError(
                place="spool",
                found=f"the lane name '{name}'",
                expected="at most 64 of a–z, 0–9, '.', '_' and single '-' between them",
            )
        with self._guard:
            if name not in self._lanes:
                self._lanes[name] = Lane(
                    self.folder / name, name, self._flusher, clock=self._clock, epoch_after=epoch_after, **self._sizes
                )
            return self._lanes[name]

    def names(self) -> list[str]:
        """Return the lanes that exist on disk, opened or not."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and LANE_NAME.fullmatch(path.name))

    def lanes(self) -> list[Lane]:
        """Return the open lanes by name."""
        with self._guard:
            return [self._lanes[name] for name in sorted(self._lanes)]

    def total_bytes(self) -> int:
        """Return the bytes of all open lanes on disk."""
        return sum(lane.size() for lane in self.lanes())

    def oldest_age(self) -> float:
        """Return the age in seconds of the oldest frame no `truncate` has given free, 0 where there is none."""
        times = [time for lane in self.lanes() if (time := lane.oldest()) is not None]
        return max(self._clock.now() - min(times), 0) / 1_000_000 if times else 0.0

    def close(self) -> None:
        """Write what is queued and close every lane."""
        for lane in self.lanes():
            lane.close()
        self._flusher.close()
