"""The one thread that writes and fsyncs every lane of the process; nobody else waits for a disk."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import structlog

__all__ = ["Flusher", "Flushing"]

log = structlog.get_logger()

GATHER = 0.002
"""Seconds to wait for more frames after the first one; the fsync itself gathers the rest."""
FULL = 1 << 20
"""Bytes that are written without waiting."""


class Flushing(Protocol):
    """What the flusher may ask of a lane."""

    name: str

    @property
    def queued_bytes(self) -> int:
        """Return the bytes that wait for their fsync."""
        ...

    def flush(self) -> None:
        """Write and fsync what is queued and end its futures; never raises."""
        ...


class Flusher:
    """Gather what the lanes were given for at most `gather` seconds, then flush lane by lane."""

    def __init__(self, gather: float = GATHER) -> None:
        self.gather = min(gather, 0.005)
        self._dirty: dict[int, Flushing] = {}
        self._wake = threading.Condition()
        self._full = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="spool-flusher", daemon=True)
        self._thread.start()

    def poke(self, lane: Flushing) -> None:
        """Say that a lane has something to write."""
        if lane.queued_bytes >= FULL:
            self._full.set()
        with self._wake:
            self._dirty[id(lane)] = lane
            self._wake.notify()

    def close(self) -> None:
        """Flush what is queued and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._full.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._dirty and not self._closed:
                    self._wake.wait()
                if not self._dirty:
                    return
            self._full.wait(self.gather)
            self._full.clear()
            with self._wake:
                lanes = list(self._dirty.values())
                self._dirty.clear()
            for lane in lanes:
                started = time.monotonic()
                lane.flush()
                seconds = time.monotonic() - started
                if seconds > 1.0:
                    log.warning("the disk is slow", lane=lane.name, seconds=round(seconds, 3))
