"""JSON: one value, object or array of objects per frame (`json`), and one value per line (`ndjson`). RFC 8259."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.json_records import bulk, depth_over, parse, strict
from weftline.codecs.lines import BOM, gather, line_blocks, lines_of, without_bom
from weftline.codecs.records import Failure, Outcome, Refusal, assemble, columns, place
from weftline.codecs.whole import too_large, whole_file

__all__ = ["JsonCodec", "JsonOptions", "NdjsonCodec"]

SPACE = b" \t\r\n"
ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class JsonOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """JSON has no dialects: nothing to set."""


class JsonCodec:
    """Read one JSON value per frame; an array at the top holds one record per element.

    Fields keep their names; nested values stay JSON text in one column. A scalar is one record with the field `value`.
    """

    name: ClassVar[str] = "json"
    summary: ClassVar[str] = "one JSON value, object or array of objects per message or file"
    options: ClassVar[type[msgspec.Struct]] = JsonOptions
    isolated: ClassVar[bool] = False

    def decode(
        self,
        frames: Sequence[Frame],
        options: JsonOptions,  # noqa: ARG002 - the interface gives it
        expected: Mapping[str, pa.DataType],
        limits: Limits,
    ) -> Decoded:
        """Decode frames; an array that is no valid JSON is one undecodable record, a broken element only itself."""
        outcome = Outcome()
        records: list[bytes] = []
        refused: list[Failure] = []
        single = True
        for frame in frames:
            try:
                found = _elements(frame, limits)
                single = single and len(found) == 1 and not frame.payload.lstrip(SPACE).startswith(b"[")
            except Refusal as refusal:
                refused.append(Failure(len(records), refusal.code, f"{place(0)}: {refusal.reason}."))
                found = [b""]
            outcome.counts.append(len(found))
            records += found
        broken = {failure.record for failure in refused}
        live = [record for number, record in enumerate(records) if number not in broken] if broken else records
        at = [number for number in range(len(records)) if number not in broken] if broken else range(len(records))
        homes = _positions(outcome.counts)
        table, failures = (
            parse(live, lambda index: place(homes(at[index])), expected, limits)
            if live
            else (
                columns({}, 0, expected),
                [],
            )
        )
        outcome.failures = refused + [failure._replace(record=at[failure.record]) for failure in failures]
        return assemble(frames, outcome, table, None if single else _originals(frames, outcome.counts, records, broken))

    def blocks(self, path: Path, options: JsonOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Give the whole file as one block; a file larger than a frame may be is refused by the decoder."""
        return whole_file(path, start, limits)


def _elements(frame: Frame, limits: Limits) -> list[bytes]:
    """Return the records of a frame as JSON text each, or raise Refusal for the frame."""
    payload = frame.payload
    too_large(frame, limits)
    body = payload.removeprefix(BOM).strip(SPACE)
    if not body:
        raise Refusal("empty", "found no bytes, expected one JSON value")
    if not body.startswith(b"["):
        return [body]
    if depth_over(body, limits.depth + 1):
        raise Refusal(
            "limit-depth", f"found nesting deeper than {limits.depth} levels, expected at most {limits.depth}"
        )
    try:
        return [bytes(element) for element in ELEMENTS.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass_limits = Limits(record_bytes=limits.frame_bytes, depth=limits.depth + 1, fields=limits.fields)
        strict(body, pass_limits)  # raises with the exact place
        raise Refusal("json-syntax", "found no valid JSON array, expected an array of records") from None


def _positions(counts: Sequence[int]) -> Callable[[int], int]:
    if all(count == 1 for count in counts):
        return lambda _: 0
    positions = [position for count in counts for position in range(count)]
    return positions.__getitem__


def _originals(
    frames: Sequence[Frame], counts: Sequence[int], records: Sequence[bytes], broken: set[int]
) -> Callable[[Sequence[int]], Sequence[bytes]]:
    homes = [home for home, count in enumerate(counts) for _ in range(count)]

    def bytes_of(numbers: Sequence[int]) -> list[bytes]:
        found = []
        for number in numbers:
            payload = frames[homes[number]].payload
            if number in broken or not payload.removeprefix(BOM).lstrip(SPACE).startswith(b"["):
                found.append(payload)
            else:
                record = records[number]
                # an element that is itself an array keeps its brackets, or it would be read again as many records
                found.append(b"[" + record + b"]" if record.startswith(b"[") else record)
        return found

    return bytes_of


class NdjsonCodec:
    """Read one JSON value per line; blank lines are not records, any line end will do."""

    name: ClassVar[str] = "ndjson"
    summary: ClassVar[str] = "one JSON value per line (NDJSON, JSON Lines)"
    options: ClassVar[type[msgspec.Struct]] = JsonOptions
    isolated: ClassVar[bool] = False

    def decode(
        self,
        frames: Sequence[Frame],
        options: JsonOptions,  # noqa: ARG002 - the interface gives it
        expected: Mapping[str, pa.DataType],
        limits: Limits,
    ) -> Decoded:
        """Decode blocks of lines, in bulk where every line is one object."""
        outcome = Outcome()
        bodies = [_body(frame, limits) for frame in frames]
        if all(body is not None for body in bodies):
            clean = [body for body in bodies if body]
            outcome.counts = [body.count(b"\n") + 1 if body else 0 for body in bodies if body is not None]
            rows = sum(outcome.counts)
            found = bulk(b"\n".join(clean), rows, expected, limits) if rows else {}
            if found is not None:
                return assemble(frames, outcome, columns(found, rows, expected), lines_of(frames, limits))
        return _line_by_line(frames, expected, limits)

    def blocks(self, path: Path, options: JsonOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Cut the file at line ends."""
        return line_blocks(path, start, limits)


def _body(frame: Frame, limits: Limits) -> bytes | None:
    """Return the payload as lines joined by LF, or None where its lines have to be looked at one by one."""
    payload = frame.payload
    if len(payload) > limits.frame_bytes or b'"cut"' in frame.attributes:
        return None
    body = without_bom(frame)
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
        if b"\r" in body:
            return None
    return body.strip(b"\n")


def _line_by_line(frames: Sequence[Frame], expected: Mapping[str, pa.DataType], limits: Limits) -> Decoded:
    lines = gather(frames, limits)
    records = lines.texts
    if records and records[0] != records[0].strip(SPACE):
        records = [text.strip(SPACE) for text in records]
    table, failures = parse(records, lines.where, expected, limits) if records else (columns({}, 0, expected), [])
    outcome = Outcome(counts=lines.counts, failures=lines.refused + lines.placed(failures))
    return assemble(frames, outcome, table, lines_of(frames, limits))
