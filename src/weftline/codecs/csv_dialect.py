"""How a CSV file is written: options, encoding, the head of the file, and where records end (RFC 4180, tolerant)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from weftline.codecs.base import Limits
from weftline.codecs.records import Refusal

__all__ = ["BOMS", "CsvOptions", "Dialect", "Head", "Span", "dialect_of", "read_head", "spans", "to_utf8"]

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
ONE_BYTE = re.compile(r"ascii|cp125[0-8]|iso8859-\d+|latin-?1|mac-roman|cp437|cp850|koi8-r")
Span = tuple[int, int, bool]
"""Start and end of a record in the text without its line end, and whether its quoting is well-formed."""


class CsvOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how the file is written."""

    delimiter: str = ","
    """One character, or `auto`: comma, semicolon, tab or bar, whichever divides the first lines evenly."""
    quote: str = '"'
    """One character around fields that hold delimiters or line ends, or nothing."""
    escape: str = ""
    """A character that makes the next one literal; without it a quote inside quotes is doubled."""
    decimal: str = "."
    """Decimal mark of fields the contract expects as numbers."""
    thousands: str = ""
    """Mark between groups of three digits of such fields."""
    header: bool = True
    """The first record holds the field names."""
    names: tuple[str, ...] = ()
    """Field names; they replace the header, or stand for it."""
    skip_lines: int = 0
    """Lines before the header that are no data."""
    comment: str = ""
    """Lines that start with this are no records."""
    encoding: str = "auto"
    """`auto` (byte order mark, else UTF-8), utf-8, utf-16, cp1252, iso-8859-1 …"""
    nulls: tuple[str, ...] = ("",)
    """Texts that mean no value."""
    trailing_delimiter: bool = False
    """Every line ends with one delimiter too many."""

    def __post_init__(self) -> None:
        """Refuse what no file can be read with."""
        for name in ("delimiter", "quote", "escape", "decimal", "thousands"):
            value = getattr(self, name)
            named = (name, value) in {("delimiter", "auto"), ("delimiter", "tab")}
            if (len(value) > 1 and not named) or not value.isascii():
                raise ValueError(f"{name}: found {value!r}, expected one ASCII character")
        if not self.delimiter or self.delimiter in "\r\n":
            raise ValueError("delimiter: found nothing or a line end, expected one character, 'tab' or 'auto'")
        if self.quote and self.quote in self.delimiter + "\r\n":
            raise ValueError("quote: found the delimiter or a line end, expected another character")
        if self.skip_lines < 0:
            raise ValueError(f"skip_lines: found {self.skip_lines}, expected 0 or more")
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: found a name twice, expected each name once")
        if self.encoding != "auto":
            encoding_of(self.encoding)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The dialect of one file, in UTF-8 bytes, with nothing left to guess."""

    delimiter: bytes
    quote: bytes
    escape: bytes
    comment: bytes
    encoding: str
    trailing: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the records: its length in the text, its lines, and the names (none = to be counted)."""

    length: int
    lines: int
    names: tuple[str, ...]


def encoding_of(name: str) -> str:
    """Return Python's name of an encoding that can be cut at line ends, or raise ValueError."""
    try:
        known = codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"encoding: found {name!r}, expected utf-8, utf-16, cp1252 or iso-8859-x") from None
    if known in {"utf-8", "utf-8-sig", "ascii"}:
        return "utf-8"
    if known in {"utf-16", "utf-16-le", "utf-16-be"} or ONE_BYTE.fullmatch(known):
        return known
    raise ValueError(f"encoding: found {name!r}, expected utf-8, utf-16, cp1252 or iso-8859-x")


def dialect_of(options: CsvOptions, payload: bytes, said: Mapping[str, Any]) -> tuple[Dialect, int]:
    """Return the dialect of a payload and the length of its byte order mark; `said` holds what the file's head told."""
    encoding = str(said.get("encoding", "")) or ("" if options.encoding == "auto" else encoding_of(options.encoding))
    mark = 0
    if "header" not in said:
        for bom, name in BOMS:
            if payload.startswith(bom) and encoding in {"", name, "utf-16"}:
                encoding, mark = name, len(bom)
                break
    encoding = "utf-16-le" if encoding == "utf-16" else encoding or "utf-8"
    delimiter = {"tab": "\t", "auto": str(said.get("delimiter", ""))}.get(options.delimiter, options.delimiter)
    found = Dialect(
        delimiter.encode(),
        options.quote.encode(),
        options.escape.encode(),
        options.comment.encode(),
        encoding,
        options.trailing_delimiter,
    )
    if not delimiter:
        text = to_utf8(payload[mark : mark + (1 << 16)], encoding)
        found = replace(found, delimiter=_sniffed(text, options))
    return found, mark


def _sniffed(text: bytes, options: CsvOptions) -> bytes:
    """Return the delimiter that divides the first lines evenly, the comma where none does."""
    lines = [line for line in text.splitlines()[options.skip_lines : options.skip_lines + 20] if line.strip()]
    lines = lines[:-1] or lines
    best, score = b",", 0
    for mark in (b",", b";", b"\t", b"|"):
        counts = [line.count(mark) for line in lines]
        even = min(counts, default=0)
        if even and counts.count(counts[0]) * 2 > len(counts) and even * counts.count(counts[0]) > score:
            best, score = mark, even * counts.count(counts[0])
    return best


def to_utf8(data: bytes, encoding: str) -> bytes:
    """Return the text as UTF-8; bytes that are no text in this encoding stay invalid, each at its place.

    Nothing is replaced: an undecodable byte becomes one invalid byte, so only the record that holds it is refused.
    """
    if encoding == "utf-8":
        return data
    if not encoding.startswith("utf-16"):
        return data.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")
    try:
        return data.decode(encoding).encode()
    except UnicodeError:
        return b"\n".join(_utf16_line(line, encoding) for line in utf16_lines(data, encoding))


def utf16_lines(data: bytes, encoding: str) -> list[bytes]:
    """Return the lines of UTF-16 bytes, cut at aligned line feeds only."""
    feed = "\n".encode(encoding)
    lines, start, at = [], 0, data.find(feed)
    while at >= 0:
        if at % 2 == 0:
            lines.append(data[start:at])
            start = at + 2
        at = data.find(feed, at + 2 - at % 2)
    return [*lines, data[start:]]


def _utf16_line(line: bytes, encoding: str) -> bytes:
    try:
        return line.decode(encoding).encode()
    except UnicodeError:
        return b"\xff"


def _field(delimiter: bytes, quote: bytes, escape: bytes) -> bytes:
    """Return the pattern of one field; a quote counts only where a field begins."""
    stop, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
    bare = rb"(?:[^%b\r\n%b]|%b.)" % (stop, e, e) if escape else rb"[^%b\r\n]" % stop
    if not quote:
        return rb"%b*+" % bare
    inside = rb"(?:[^%b%b]|%b.|%b%b)*+" % (q, e, e, q, q) if escape else rb"[^%b]*+(?:%b%b[^%b]*+)*+" % (q, q, q, q)
    return rb"(?:%b%b%b|(?!%b)%b++|)" % (q, inside, q, q, bare)


@lru_cache(maxsize=64)
def _record_pattern(delimiter: bytes, quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    field = _field(delimiter, quote, escape)
    return re.compile(rb"%b(?:%b%b)*+(?P<end>\r\n|\n|\r|\Z)" % (field, re.escape(delimiter), field), re.DOTALL)


@lru_cache(maxsize=64)
def _field_pattern(delimiter: bytes, quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    return re.compile(_field(delimiter, quote, escape), re.DOTALL)


def spans(text: bytes, start: int, dialect: Dialect, limits: Limits, *, final: bool = True) -> Iterator[Span]:
    """Give the records of UTF-8 text from `start`; blank lines and comments are none.

    A line whose quoting is broken, or whose quote is not closed within the record limit, is a record of its own that is
    not well-formed; reading goes on at the next line. With `final` off the text may go on: the walk stops before a
    record that is not complete in it.
    """
    pattern = _record_pattern(dialect.delimiter, dialect.quote, dialect.escape)
    at, size = start, len(text)
    blank = b"" if dialect.delimiter == b" " else b" "
    while at < size:
        window = min(size, at + limits.record_bytes + 2)
        found = pattern.match(text, at, window)
        whole = found is not None and (found["end"] != b"" or window == size)
        if found is not None and whole:
            end, stop = found.start("end"), found.end()
            if found["end"] == b"\r" and text[stop : stop + 1] == b"\n":
                stop += 1
            if not final and (found["end"] == b"" or (found["end"] == b"\r" and stop == size)):
                return
        else:
            if not final and window == size:
                return
            end, stop = _line_end(text, at)
            if not final and stop == size:
                return
        line = text[at:end]
        if line.strip(blank) and not (dialect.comment and line.startswith(dialect.comment)):
            yield at, end, whole
        at = stop


def _line_end(text: bytes, at: int) -> tuple[int, int]:
    """Return where the line at `at` ends and where the next one starts."""
    feed, back = text.find(b"\n", at), text.find(b"\r", at)
    ends = [place for place in (feed, back) if place >= 0]
    if not ends:
        return len(text), len(text)
    end = min(ends)
    return end, end + (2 if text[end : end + 2] == b"\r\n" else 1)


def fields_of(record: bytes, dialect: Dialect) -> list[bytes]:
    """Return the fields of one well-formed record, unquoted."""
    if not (dialect.quote and dialect.quote in record) and not (dialect.escape and dialect.escape in record):
        return record.split(dialect.delimiter)
    return [_plain(raw, dialect) for raw in _field_texts(record, dialect)]


def _field_texts(record: bytes, dialect: Dialect) -> Iterator[bytes]:
    pattern = _field_pattern(dialect.delimiter, dialect.quote, dialect.escape)
    at = 0
    while True:
        found = pattern.match(record, at)
        end = found.end() if found else len(record)
        yield record[at:end]
        if end >= len(record):
            return
        at = end + len(dialect.delimiter)
        if at == len(record):
            yield b""
            return


def _plain(raw: bytes, dialect: Dialect) -> bytes:
    quote, escape = dialect.quote, dialect.escape
    if quote and raw.startswith(quote):
        raw = raw[len(quote) : -len(quote)]
        if not escape:
            return raw.replace(quote + quote, quote)
        raw = re.sub(rb"(%b.)|%b%b" % (re.escape(escape), re.escape(quote), re.escape(quote)), _undouble(quote), raw)
    return re.sub(re.escape(escape) + rb"(.)", rb"\1", raw, flags=re.DOTALL) if escape else raw


def _undouble(quote: bytes) -> Any:
    return lambda found: found[1] or quote


def read_head(text: bytes, options: CsvOptions, dialect: Dialect, limits: Limits) -> Head:
    """Read what stands before the records, or raise Refusal for the whole file."""
    at = 0
    for _ in range(options.skip_lines):
        _, at = _line_end(text, at)
    names = options.names
    if options.header:
        span = next(spans(text, at, dialect, limits), None)
        if span is None:
            return Head(len(text), 0, names)
        start, end, whole = span
        if not whole:
            raise Refusal("csv-header", "found a header with broken quoting, expected field names")
        try:
            found = tuple(name.decode().strip() for name in fields_of(text[start:end], dialect))
        except UnicodeDecodeError:
            raise Refusal("encoding", "found a header that is no text in this encoding, expected names") from None
        found = found[:-1] if dialect.trailing and found[-1] == "" else found
        names = names or found
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Refusal(
                "csv-duplicate-header", f"found the field name {twice[0][:60]!r} twice, expected each name once"
            )
        _, at = _line_end(text, end)
    if len(names) > limits.fields:
        raise Refusal("limit-fields", f"found {len(names)} fields, expected at most {limits.fields}")
    head = text[:at]
    return Head(at, head.count(b"\n") + head.count(b"\r") - head.count(b"\r\n"), names)
