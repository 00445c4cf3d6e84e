"""Cut line formats: blocks of about 4 MiB that end at a line end, and the lines of a block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.records import block_notes

__all__ = ["BLOCK", "BOM", "count_lines", "cut_lines", "line_blocks"]

BLOCK = 4 << 20
BOM = b"\xef\xbb\xbf"


def count_lines(data: bytes) -> int:
    """Return how many line ends (LF, CR LF or a lone CR) the bytes hold."""
    if b"\r" not in data:
        return data.count(b"\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def cut_lines(payload: bytes) -> list[tuple[int, bytes]]:
    """Return the lines that are not blank with their number from 0, without line ends; LF, CR LF and CR all end one."""
    return [(number, line) for number, line in enumerate(payload.splitlines()) if line.strip()]


def line_blocks(path: Path, start: int, limits: Limits) -> Iterator[FileBlock]:
    """Cut a file at line ends; the place of a cut depends only on where the block starts.

    A line longer than a frame may be is one block of its own whose payload is its beginning; the note `cut` holds its
    whole length, so that the decoder refuses it by name.
    """
    with path.open("rb") as file:
        line = _lines_before(file, start)
        offset = start
        while True:
            file.seek(offset)
            data = file.read(BLOCK)
            if not data:
                return
            if len(data) == BLOCK:
                data, length = _to_line_end(file, data, limits)
            else:
                length = len(data)
            said = {"line": line + 1} | ({"cut": length} if length > len(data) else {})
            yield FileBlock(offset, offset + length, block_notes(**said), data)
            line += count_lines(data) if length == len(data) else 1
            offset += length


def _lines_before(file: BinaryIO, end: int) -> int:
    """Count line ends before `end`; a CR LF cut by the reader counts once."""
    lines, left, carry = 0, end, False
    while left:
        data = file.read(min(BLOCK, left))
        if not data:
            break
        lines += count_lines(data) - (carry and data.startswith(b"\n"))
        carry = data.endswith(b"\r")
        left -= len(data)
    return lines


def _to_line_end(file: BinaryIO, data: bytes, limits: Limits) -> tuple[bytes, int]:
    """Return the block and its length in the file: whole lines, or the beginning of one line that is too long."""
    cut = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
    if cut:
        return data[:cut], cut
    parts, length, cap = [data], len(data), max(limits.frame_bytes, BLOCK)
    kept = length
    after_cr = data.endswith(b"\r")
    while more := file.read(BLOCK):
        if after_cr:
            end = 1 if more.startswith(b"\n") else 0
        else:
            ends = [place for place in (more.find(b"\n"), more.find(b"\r")) if place >= 0]
            end = min(ends) + 1 if ends else -1
            if end == len(more) and more.endswith(b"\r"):
                after_cr, end = True, -1
            elif end > 0 and more[end - 1 : end + 1] == b"\r\n":
                end += 1
        taken = more if end < 0 else more[:end]
        length += len(taken)
        if kept < cap:
            parts.append(taken)
            kept += len(taken)
        if end >= 0:
            break
    whole = b"".join(parts)
    return (whole, length) if length <= cap else (whole[: limits.record_bytes], length)
