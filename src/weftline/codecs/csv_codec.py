"""CSV in the dialects plants and partners send: bulk through pyarrow, line by line where a line is broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.csv_dialect import (
    CsvOptions,
    Dialect,
    Span,
    dialect_of,
    fields_of,
    read_head,
    spans,
    to_utf8,
    utf16_lines,
)
from weftline.codecs.lines import BLOCK, BOM, count_lines
from weftline.codecs.records import Failure, Outcome, Refusal, assemble, block_notes, columns, concat, notes, place
from weftline.codecs.whole import too_large

__all__ = ["CsvCodec", "CsvOptions"]

CHUNK = 4096
TRAILING = "\0trailing"
SPACES = re.compile(rb"^ +\r?$", re.MULTILINE)


class CsvCodec:
    """Read records of delimited text; every field is text, nulls and numbers are written as the contract reads them."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "delimited text: any delimiter, quoting, decimal mark and common encoding"
    options: ClassVar[type[msgspec.Struct]] = CsvOptions
    isolated: ClassVar[bool] = False

    def decode(
        self, frames: Sequence[Frame], options: CsvOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode frames; a broken line is refused alone, a header with a name twice refuses its frame."""
        outcome = Outcome()
        tables: list[pa.Table] = []
        sources: list[_Source] = []
        number = 0
        for frame in frames:
            try:
                source = _Source.of(frame, options, limits)
                table, count, failures = source.read(limits)
            except Refusal as refusal:
                line = int(notes(frame).get("line", 1))
                source, table, count = _Source.refused(frame), pa.table({}), 1
                failures = [Failure(0, refusal.code, f"{place(0, line)}: {refusal.reason}.")]
            tables.append(finished(table, options, expected))
            sources.append(source)
            outcome.counts.append(count)
            outcome.failures += [failure._replace(record=failure.record + number) for failure in failures]
            number += count
        fields = columns({}, 0, expected) if not any(t.num_rows for t in tables) else concat(tables, expected)
        decoded = assemble(frames, outcome, fields, _originals(sources, outcome.counts, limits))
        kept = {frame.offset: _with_head(frame, source) for frame, source in zip(frames, sources, strict=True)}
        # The first block of a refused file is read anew on replay: its feed may know the encoding or the header by then.
        kept |= {frame.offset: _unnoted(frame) for frame in frames if _begins_refused(frame)}
        return replace(decoded, attributes={offset: said for offset, said in kept.items() if said})

    def blocks(self, path: Path, options: CsvOptions, start: int, limits: Limits) -> Iterator[FileBlock]:
        """Cut the file between records; blocks after the first carry the names, encoding and delimiter of its head."""
        with path.open("rb") as file:
            yield from _blocks(file, options, start, limits)


@dataclass(slots=True)
class _Source:
    """One frame as UTF-8 text with its dialect and head; `body` is where its records begin."""

    payload: bytes
    text: bytes
    body: int
    dialect: Dialect | None
    names: tuple[str, ...]
    line: int

    @classmethod
    def of(cls, frame: Frame, options: CsvOptions, limits: Limits) -> _Source:
        """Read the head of a frame, or raise Refusal for the whole frame."""
        said = notes(frame)
        if "refused" in said:
            raise Refusal(str(said["refused"]), str(said.get("reason", "")))
        if "cut" in said:
            found = f"found a record of {said['cut']} bytes, expected at most {limits.record_bytes}"
            raise Refusal("limit-record-bytes", found)
        too_large(frame, limits)
        dialect, mark = dialect_of(options, frame.payload, said)
        text = to_utf8(frame.payload[mark:], dialect.encoding)
        line = int(said.get("line", 1))
        if "header" in said:
            return cls(frame.payload, text, 0, dialect, tuple(said["header"]), line)
        head = read_head(text, options, dialect, limits)
        return cls(frame.payload, text, head.length, dialect, head.names, line)

    @classmethod
    def refused(cls, frame: Frame) -> _Source:
        return cls(frame.payload, b"", 0, None, (), 1)

    def read(self, limits: Limits) -> tuple[pa.Table, int, list[Failure]]:
        """Return the table of text columns, the number of records and the failures by record."""
        assert self.dialect is not None
        count = _simple_lines(self.text, self.body, self.dialect, limits)
        if count is not None and self.names:
            table = bulk(self.text[self.body :], count, self.names, self.dialect)
            if table is not None:
                return table, count, []
        found = list(spans(self.text, self.body, self.dialect, limits))
        if found and not self.names:
            self.names = _counted(self.text, found, self.dialect)
        return self._by_chunk(found, limits)

    def _by_chunk(self, found: Sequence[Span], limits: Limits) -> tuple[pa.Table, int, list[Failure]]:
        assert self.dialect is not None
        tables: list[pa.Table] = []
        failures: list[Failure] = []
        lines = _LineCount(self.text, self.line)
        for start in range(0, len(found), CHUNK):
            chunk = found[start : start + CHUNK]
            table = None
            if all(whole for _, _, whole in chunk):
                joined = b"\n".join([self.text[begin:end] for begin, end, _ in chunk])
                longest = max(end - begin for begin, end, _ in chunk)
                table = bulk(joined, len(chunk), self.names, self.dialect) if longest <= limits.record_bytes else None
            if table is None:
                table, broken = self._strict(chunk, start, lines, limits)
                failures += broken
            tables.append(table)
        live = [table for table in tables if table.num_rows]
        return (pa.concat_tables(live) if live else pa.table({})), len(found), failures

    def _strict(
        self, chunk: Sequence[Span], first: int, lines: _LineCount, limits: Limits
    ) -> tuple[pa.Table, list[Failure]]:
        """Read line by line; one broken line never takes its neighbours."""
        rows: list[list[str]] = []
        failures = []
        for index, span in enumerate(chunk, first):
            try:
                rows.append(self._fields(span, limits))
            except Refusal as refusal:
                where = place(index, lines.at(span[0]))
                failures.append(Failure(index, refusal.code, f"{where}: {refusal.reason}."))
        columned = [pa.array(list(values), pa.string()) for values in zip(*rows, strict=True)]
        return (pa.table(columned, names=list(self.names)) if rows else pa.table({})), failures

    def _fields(self, span: Span, limits: Limits) -> list[str]:
        assert self.dialect is not None
        start, end, whole = span
        if end - start > limits.record_bytes:
            found = f"found a record of {end - start} bytes, expected at most {limits.record_bytes}"
            raise Refusal("limit-record-bytes", found)
        if not whole:
            raise Refusal("csv-quote", "found a quote not closed or not followed by a delimiter, expected whole quotes")
        record = self.text[start:end]
        try:
            record.decode()
        except UnicodeDecodeError:
            raise Refusal("encoding", f"found bytes that are no text, expected {self.dialect.encoding}") from None
        values = [value.decode() for value in fields_of(record, self.dialect)]
        if self.dialect.trailing and len(values) == len(self.names) + 1 and not values[-1]:
            values.pop()
        if len(values) != len(self.names):
            raise Refusal("csv-fields", f"found {len(values)} fields, expected {len(self.names)}")
        return values

    def originals(self, limits: Limits) -> list[bytes]:
        """Return the bytes of every record as they were sent."""
        if self.dialect is None:
            return [self.payload]
        cut = list(spans(self.text, self.body, self.dialect, limits))
        texts = [self.text[start:end] for start, end, _ in cut]
        encoding = self.dialect.encoding
        if encoding == "utf-8":
            return texts
        if not encoding.startswith("utf-16"):
            return [text.decode("utf-8", "surrogateescape").encode(encoding, "surrogateescape") for text in texts]
        lines = utf16_lines(self.payload, encoding)
        feed = "\n".encode(encoding)
        tops = [self.text.count(b"\n", 0, start) for start, _, _ in cut]
        return [
            feed.join(lines[top : top + text.count(b"\n") + 1]).removesuffix("\r".encode(encoding))
            for top, text in zip(tops, texts, strict=True)
        ]


class _LineCount:
    """Count line ends up to a place, going forward only."""

    def __init__(self, text: bytes, first: int) -> None:
        self.text, self.place, self.line = text, 0, first

    def at(self, place: int) -> int:
        self.line += count_lines(self.text[self.place : place])
        self.place = place
        return self.line


def _with_head(frame: Frame, source: _Source) -> bytes:
    """Return the frame's attributes with the head its records need to be read alone, or nothing where they hold it."""
    if source.dialect is None or "header" in notes(frame):
        return b""
    try:
        said = json.loads(frame.attributes) if frame.attributes else {}
    except ValueError:
        return b""
    if not isinstance(said, dict):
        return b""
    return json.dumps(said | {"block": _head_notes(source.dialect, source.names)}, ensure_ascii=False).encode()


def _head_notes(dialect: Dialect, names: Sequence[str]) -> dict[str, Any]:
    return {"header": list(names), "encoding": dialect.encoding, "delimiter": dialect.delimiter.decode()}


def _simple_lines(text: bytes, body: int, dialect: Dialect, limits: Limits) -> int | None:
    """Return the number of records where every line is one, as far as bytes tell; None where they must be cut."""
    if text.find(b"\r", body) >= 0 and text.count(b"\r", body) != text.count(b"\r\n", body):
        return None
    if any(mark and text.find(mark, body) >= 0 for mark in (dialect.quote, dialect.escape)):
        return None
    if dialect.comment or text.find(b"\n\n", body) >= 0 or text.find(b"\r\n\r\n", body) >= 0:
        return None
    if text[body : body + 1] in {b"\n", b"\r"} or not _bounded(text, body, limits.record_bytes):
        return None
    return text.count(b"\n", body) + (body < len(text) and not text.endswith(b"\n"))


def _bounded(text: bytes, body: int, limit: int) -> bool:
    start = body
    while len(text) - start > limit:
        cut = text.rfind(b"\n", start, start + limit + 1)
        if cut < 0:
            return False
        start = cut + 1
    return True


def _counted(text: bytes, found: Sequence[Span], dialect: Dialect) -> tuple[str, ...]:
    """Return c1 … cn for a file without names, n from its first whole record."""
    first = next(((start, end) for start, end, whole in found if whole), None)
    count = len(fields_of(text[slice(*first)], dialect)) - dialect.trailing if first else 1
    return tuple(f"c{number + 1}" for number in range(max(count, 1)))


def bulk(text: bytes, count: int, names: Sequence[str], dialect: Dialect) -> pa.Table | None:
    """Return the records as text columns, or None where pyarrow does not see exactly these records."""
    if not count:
        return pa.table({})
    if text.startswith(BOM) or (dialect.escape and dialect.escape in text):
        return None
    if len(names) == 1 and SPACES.search(text):
        return None  # a line of spaces is a record to pyarrow and none to us
    wanted = [*names, TRAILING] if dialect.trailing else list(names)
    large = len(text) > 1 << 20 and not (dialect.quote and dialect.quote in text)
    try:
        table = pcsv.read_csv(
            pa.BufferReader(text),
            read_options=pcsv.ReadOptions(
                column_names=wanted, use_threads=large, block_size=1 << 20 if large else len(text) + 1
            ),
            parse_options=pcsv.ParseOptions(
                delimiter=dialect.delimiter.decode(),
                quote_char=dialect.quote.decode() if dialect.quote else False,
                double_quote=True,
                newlines_in_values=True,
                ignore_empty_lines=False,
            ),
            convert_options=pcsv.ConvertOptions(
                column_types={name: pa.string() for name in wanted}, strings_can_be_null=False, check_utf8=True
            ),
        )
    except (pa.ArrowException, OSError, UnicodeError):
        return None
    if table.num_rows != count:
        return None
    if dialect.trailing:
        if pc.any(pc.not_equal(table.column(TRAILING), "")).as_py():
            return None
        table = table.drop_columns([TRAILING])
    return table


def _begins_refused(frame: Frame) -> bool:
    said = notes(frame)
    return "refused" in said and int(said.get("line", 1)) == 1


def _unnoted(frame: Frame) -> bytes:
    """Return a frame's attributes without what the cutting of its file noted."""
    said = {key: value for key, value in json.loads(frame.attributes).items() if key != "block"}
    return json.dumps(said).encode()


def finished(table: pa.Table, options: CsvOptions, expected: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the table with null texts as nulls and expected numbers in the notation of the contract."""
    if not table.num_rows:
        return table
    named = {name: _nulled(table.column(name), options) for name in table.column_names}
    if options.decimal != "." or options.thousands:
        for name, kind in expected.items():
            if name in named and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
                named[name] = _number_text(named[name], options)
    return columns(named, table.num_rows, expected)


def _nulled(column: pa.ChunkedArray, options: CsvOptions) -> pa.ChunkedArray:
    if not options.nulls:
        return column
    empty = pc.is_in(column, value_set=pa.array(options.nulls, pa.string()))
    return pc.if_else(empty, pa.scalar(None, pa.string()), column) if pc.any(empty).as_py() else column


def _number_text(column: pa.ChunkedArray, options: CsvOptions) -> pa.ChunkedArray:
    """Return `1.234,5` as `1234.5`; what is no number in this notation stays as it was sent."""
    mark, group = re.escape(options.decimal), re.escape(options.thousands)
    grouped = rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|" if options.thousands else ""
    number = rf"^\s*[+-]?(?:{grouped}[0-9]*)(?:{mark}[0-9]*)?(?:[eE][+-]?[0-9]+)?\s*$"
    plain = pc.replace_substring(column, options.thousands, "") if options.thousands else column
    plain = pc.replace_substring(plain, options.decimal, ".") if options.decimal != "." else plain
    return pc.if_else(pc.match_substring_regex(column, number), plain, column)


def _originals(
    sources: Sequence[_Source], counts: Sequence[int], limits: Limits
) -> Callable[[Sequence[int]], Sequence[bytes]]:
    cut: list[bytes] = []

    def bytes_of(numbers: Sequence[int]) -> list[bytes]:
        if not cut and numbers:
            for source, count in zip(sources, counts, strict=True):
                cut.extend(source.originals(limits)[:count])
        return [cut[number] for number in numbers]

    return bytes_of


def _blocks(file: BinaryIO, options: CsvOptions, start: int, limits: Limits) -> Iterator[FileBlock]:
    """Give the blocks from `start` on. The first one covers the head too, but its payload holds records only."""
    first = file.read(BLOCK)
    dialect, mark = dialect_of(options, first, {})
    begin, line = mark, 1
    try:
        text = to_utf8(first[mark:], dialect.encoding)
        head = read_head(text, options, dialect, limits)
        names = head.names or _counted(text, list(islice(spans(text, head.length, dialect, limits), 1)), dialect)
        said = _head_notes(dialect, names)
        begin += _length_in(text[: head.length], first[mark:], dialect.encoding)
        line += head.lines
    except Refusal as refusal:
        said = {"refused": refusal.code, "reason": refusal.reason}
    offset = 0
    while True:
        file.seek(begin)
        data = file.read(BLOCK)
        if not data and (offset or not first):
            return
        data, length, lines = _cut_block(file, data, dialect, limits)
        if offset >= start:
            cut = {"cut": length} if length > len(data) else {}
            yield FileBlock(offset, begin + length, block_notes(line=line, **said, **cut), data)
        line += lines
        offset = begin = begin + length


def _cut_block(file: BinaryIO, data: bytes, dialect: Dialect, limits: Limits) -> tuple[bytes, int, int]:
    """Return the block's bytes, its length in the file and its line ends; it ends where a record ends."""
    window = max(BLOCK, limits.record_bytes + BLOCK)
    if len(data) == BLOCK:
        data += file.read(window - BLOCK)
    final = len(data) < window
    text = to_utf8(data, dialect.encoding)
    if final and len(data) <= BLOCK:
        return data, len(data), count_lines(text)
    cut = _record_end(text, dialect, limits, final=final)
    if cut == 0:
        length = len(data)
        while more := file.read(BLOCK):
            at = more.find("\n".encode(dialect.encoding))
            length += len(more) if at < 0 else at + len("\n".encode(dialect.encoding))
            if at >= 0:
                break
        return data[: limits.record_bytes], length, 1
    kept = _length_in(text[:cut], data, dialect.encoding)
    return data[:kept], kept, count_lines(text[:cut])


def _record_end(text: bytes, dialect: Dialect, limits: Limits, *, final: bool) -> int:
    """Return the place after the last whole record that ends within about one block, 0 = there is none."""
    if not (dialect.quote and dialect.quote in text) and not (dialect.escape and dialect.escape in text):
        cut = text.rfind(b"\n", 0, BLOCK) + 1 or text.rfind(b"\n") + 1 or text.rfind(b"\r", 0, -1) + 1
        return cut or (len(text) if final else 0)
    last = 0
    for start, _, _ in spans(text, 0, dialect, limits, final=final):
        if start > BLOCK:
            return last or start
        last = start
    return last or (len(text) if final else 0)


def _length_in(text: bytes, data: bytes, encoding: str) -> int:
    """Return how many bytes of `data` the beginning `text` of its UTF-8 form stands for."""
    if encoding == "utf-8":
        return len(text)
    if encoding.startswith("utf-16"):
        return _utf16_length(text, data, encoding)
    return len(text.decode("utf-8", "surrogateescape"))


def _utf16_length(text: bytes, data: bytes, encoding: str) -> int:
    try:
        return len(text.decode().encode(encoding))
    except UnicodeError:
        lines = utf16_lines(data, encoding)[: text.count(b"\n")]
        return sum(len(line) + 2 for line in lines)
