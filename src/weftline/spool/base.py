"""The Log's interface, which the spool and later Kafka implement: append, read from a position, truncate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from weftline.batch import Frame

__all__ = ["Log", "LogCount", "Tail"]


class LogCount(NamedTuple):
    """Frames and bytes of one feed, counted at fsync and never computed from anything else."""

    frames: int
    payload_bytes: int


class Tail(NamedTuple):
    """Offsets a Log holds now: `first` is the oldest still on disk, `next` the one the next frame gets."""

    first: int
    next: int


class Log(Protocol):
    """One lane. Offsets rise by one per frame and are the sequence; `epoch` rises when the Log was made anew."""

    name: str
    epoch: int

    def append(self, frames: Sequence[Frame]) -> Future[int]:
        """Write frames as one unit (their own offsets are ignored); ends with the first offset after the fsync.

        Frames of one call are contiguous and become durable together; calls keep their order. Raises through the future
        AdmissionError (nothing written) or StoreError; a frame is either wholly readable after a crash or not there.
        """
        ...

    def read(self, start: int, max_frames: int, max_bytes: int) -> list[Frame]:
        """Return durable frames from `start` on, at least one if there is one; recent ones come from memory."""
        ...

    def wait(self, start: int, timeout: float) -> bool:
        """Block until a durable frame at `start` exists, at most `timeout` seconds."""
        ...

    def truncate(self, before: int) -> None:
        """Allow whole segments below `before` to be removed; the last minute of frames is always kept."""
        ...

    def tail(self) -> Tail:
        """Return the offsets held now."""
        ...

    def counts(self) -> Mapping[int, LogCount]:
        """Return durable frames and bytes per feed id since the Log was made, truncated ones included."""
        ...

    def close(self) -> None:
        """Write what was appended, then refuse more."""
        ...
