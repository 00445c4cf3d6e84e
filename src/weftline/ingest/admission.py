"""Whether sources are admitted: free space, memory, snapshots, and how far the road is behind."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from weftline.store.lake import Lake

__all__ = ["Admission"]

FRAMES_BEHIND = 1_000_000
BYTES_BEHIND = 1 << 30


class Admission:
    """Answer at once why sources are held back; the answer is renewed once a second by `look`."""

    def __init__(
        self, lake: Lake, folder: Path, behind: Callable[[], tuple[int, int]], *, least_free: int = 1 << 30
    ) -> None:
        self._lake = lake
        self._folder = folder
        self._behind = behind
        self._least_free = least_free
        self._lock = threading.Lock()
        self._reason = ""
        self._listeners: list[Callable[[str], None]] = []

    def held(self) -> str:
        """Return why sources are held back, or an empty string."""
        return self._reason

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the reason (empty = admitted again) whenever it changes."""
        self._listeners.append(listener)

    def look(self) -> None:
        """Renew the answer; called by the road's ticker."""
        frames, size = self._behind()
        reason = self._lake.health().holding
        free = shutil.disk_usage(self._folder).free
        if not reason and free < self._least_free:
            reason = f"{free >> 20} MiB free on the fabric's disk, at least {self._least_free >> 20} MiB are needed"
        if not reason and frames > FRAMES_BEHIND:
            reason = f"{frames} frames wait to be stored, at most {FRAMES_BEHIND} may"
        if not reason and size > BYTES_BEHIND:
            reason = f"{size >> 20} MiB wait in the spool, at most {BYTES_BEHIND >> 20} may"
        with self._lock:
            changed, self._reason = reason != self._reason, reason
        if changed:
            for listener in self._listeners:
                listener(reason)
