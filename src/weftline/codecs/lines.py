"""Cut line formats: blocks of about 4 MiB that end at a line end, and the lines of a block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from weftline.batch import Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.records import Failure, Refusal, block_notes, notes, place
from weftline.codecs.whole import too_large

__all__ = ["BLOCK", "BOM", "Lines", "count_lines", "cut_lines", "gather", "line_blocks", "lines_of", "without_bom"]

BLOCK = 4 << 20
BOM = b"\xef\xbb\xbf"


def count_lines(data: bytes) -> int:
    """Return how many line ends (LF, CR LF or a lone CR) the bytes hold."""
    if b"\r" not in data:
        return data.count(b"\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def cut_lines(frame: Frame) -> tuple[list[bytes], Sequence[int]]:
    """Return the lines of a frame that are not blank, and their numbers from 0; LF, CR LF and CR all end a line."""
    lines = without_bom(frame).splitlines()
    live = [line for line in lines if line.strip()]
    if len(live) == len(lines):
        return live, range(len(live))
    return live, [number for number, line in enumerate(lines) if line.strip()]


def without_bom(frame: Frame) -> bytes:
    """Return the payload without a byte order mark, which only the beginning of a file or message may have."""
    if frame.payload.startswith(BOM) and int(notes(frame).get("line", 1)) == 1:
        return frame.payload[len(BOM) :]
    return frame.payload


@dataclass(slots=True)
class Lines:
    """The lines of some frames; `texts` holds those that can be read, without line ends and byte order mark."""

    texts: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    refused: list[Failure] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    """Record number, over all frames, of each live line."""
    places: list[tuple[int, int, Sequence[int]]] = field(default_factory=list)
    """Per frame with live lines: where they begin in `texts`, the file's number of its first line, its line numbers."""

    def where(self, index: int) -> str:
        """Return the place of a live line in words."""
        start, first, numbers = self.places[bisect_right(self.places, index, key=itemgetter(0)) - 1]
        return place(index - start, first + numbers[index - start])

    def placed(self, failures: Sequence[Failure]) -> list[Failure]:
        """Return failures of live lines as failures of records."""
        return [failure._replace(record=self.at[failure.record]) for failure in failures]


def gather(frames: Sequence[Frame], limits: Limits) -> Lines:
    """Cut the lines of all frames; a frame that is too large, or a line cut short, is refused as one record."""
    lines = Lines()
    number = 0
    for frame in frames:
        said = notes(frame)
        first = int(said.get("line", 1))
        try:
            if "cut" in said:
                found = f"found a line of {said['cut']} bytes, expected at most {limits.record_bytes}"
                raise Refusal("limit-record-bytes", found)
            too_large(frame, limits)
        except Refusal as refusal:
            lines.refused.append(Failure(number, refusal.code, f"{place(0, first)}: {refusal.reason}."))
            lines.counts.append(1)
            number += 1
            continue
        texts, numbers = cut_lines(frame)
        if texts:
            lines.places.append((len(lines.texts), first, numbers))
        lines.texts += texts
        lines.at += range(number, number + len(texts))
        lines.counts.append(len(texts))
        number += len(texts)
    return lines


def lines_of(frames: Sequence[Frame], limits: Limits) -> Callable[[Sequence[int]], Sequence[bytes]]:
    """Return the lines as they were sent, by record; cut again when asked, since most batches are never asked."""
    cut: list[bytes] = []

    def bytes_of(numbers: Sequence[int]) -> list[bytes]:
        if not cut and numbers:
            for frame in frames:
                cut.extend(_as_sent(frame, limits))
        return [cut[number] for number in numbers]

    return bytes_of


def _as_sent(frame: Frame, limits: Limits) -> list[bytes]:
    """Return the records of a frame with the byte order mark the first one came with."""
    if len(frame.payload) > limits.frame_bytes or "cut" in notes(frame):
        return [frame.payload]
    texts, numbers = cut_lines(frame)
    if texts and numbers[0] == 0 and len(without_bom(frame)) < len(frame.payload):
        texts[0] = BOM + texts[0]
    return texts


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
