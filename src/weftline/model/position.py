"""How far a producer has come in the lake."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LaneId", "Position"]


class LaneId(NamedTuple):
    """Name a lane of the spool; offsets count within one epoch of it. A receipt's id is `<name>-<epoch>-<offset>`."""

    name: str
    epoch: int


class Position(NamedTuple):
    """Say up to where the lake holds a producer: a lane of the spool, or one file, table or topic partition.

    `offset` is the last offset committed (frame number for a lane, bytes for a file); `epoch` rises when the producer was
    made anew and its offsets started again. `complete` is set when the source has nothing after it; `records` counts
    what the codec cut so far.
    """

    producer: str
    epoch: int
    offset: int
    complete: bool = False
    records: int = 0
