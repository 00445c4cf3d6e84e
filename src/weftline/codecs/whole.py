"""Formats whose frame is the whole file: bounded reading and the refusal of what is too large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weftline.batch import Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.records import Refusal, block_notes, notes

__all__ = ["too_large", "whole_file"]


def whole_file(path: Path, start: int, limits: Limits) -> Iterator[FileBlock]:
    """Give a file as one block; of one that is too large only the beginning, its whole length in the note `cut`."""
    size = path.stat().st_size
    if start >= size:
        return
    with path.open("rb") as file:
        data = file.read(limits.frame_bytes + 1)
    if len(data) <= limits.frame_bytes:
        yield FileBlock(0, len(data), b"", data)
    else:
        yield FileBlock(0, size, block_notes(cut=size), data[: limits.record_bytes])


def too_large(frame: Frame, limits: Limits) -> None:
    """Raise Refusal for a frame larger than the limit, or one the file cutter had to cut."""
    length = int(notes(frame).get("cut", len(frame.payload))) if frame.attributes else len(frame.payload)
    if length > limits.frame_bytes:
        raise Refusal("limit-frame-bytes", f"found {length} bytes, expected at most {limits.frame_bytes}")
