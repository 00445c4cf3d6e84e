"""SHDR, the line protocol between MTConnect adapters and agents: `time|tag|value|tag|value…` (MTConnect agent guide).

One line is one record. A pair gives one row; a condition `tag|level|native code|native severity|qualifier|text`, a
message `tag|native code|text` and a time series `tag|count|rate|values` give one row each as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.lines import Lines, gather, line_blocks, lines_of
from weftline.codecs.records import Failure, Outcome, Refusal, assemble, columns

__all__ = ["ShdrCodec", "ShdrOptions"]

FIELDS = ("time", "duration", "device", "tag", "value", "level", "native_code", "native_severity", "qualifier")
SERIES_FIELDS = ("sample_count", "sample_rate")
LEVELS = frozenset({"normal", "warning", "fault", "unavailable"})
DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
MOMENT = DATE + r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
TIME = re.compile(rf"(?P<time>{MOMENT}|[0-9]+(?:\.[0-9]+)?|)(?:@(?P<duration>[0-9]+(?:\.[0-9]+)?))?")
NAME, NAME_OR_SPACE = r"[^|:@*\\ \t]", r"[^|:@*\\]"
PLAIN = rf"^(?P<time>{MOMENT})\|(?P<tag>{NAME}(?:{NAME_OR_SPACE}*{NAME})?)\|(?P<value>[^|\\]*)$"
SPACE = " \t"
PIPE = re.compile(r"(?<!\\)\|")

Row = dict[str, str | None]


class ShdrOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name the tags that carry more than one value; the adapter's configuration lists them."""

    conditions: tuple[str, ...] = ()
    """Tags followed by level, native code, native severity, qualifier and text."""
    messages: tuple[str, ...] = ()
    """Tags followed by native code and text."""
    series: tuple[str, ...] = ()
    """Tags followed by count, rate and values; gives the fields `sample_count` and `sample_rate` as well."""
    recognise: bool = True
    """Take a line of one tag and five fields, the first of them a condition level, for a condition."""


class ShdrCodec:
    """Read MTConnect adapter lines; one bad pair makes the line undecodable, commands (`* …`) are ignored by name."""

    name: ClassVar[str] = "shdr"
    summary: ClassVar[str] = "MTConnect adapter lines: time|tag|value, several pairs, conditions, messages, series"
    options: ClassVar[type[msgspec.Struct]] = ShdrOptions
    isolated: ClassVar[bool] = False

    def decode(
        self, frames: Sequence[Frame], options: ShdrOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode lines: plain ones as columns at once, the others one by one."""
        lines = gather(frames, limits)
        outcome = Outcome(counts=lines.counts, failures=lines.refused)
        fast, others = _plain_lines(lines, options, limits)
        slow = _Slow()
        homes = _feeds(frames, lines) if others else []
        for index in others:
            try:
                rows = read_line(lines.texts[index], options, limits)
            except _Ignored as ignored:
                named = outcome.ignored.setdefault(homes[lines.at[index]], {})
                named[ignored.rule] = named.get(ignored.rule, 0) + 1
            except Refusal as refusal:
                reason = f"{lines.where(index)}: {refusal.reason}."
                outcome.failures.append(Failure(lines.at[index], refusal.code, reason))
            else:
                slow.add(lines.at[index], rows)
        table, outcome.kept, outcome.fan = _together(lines, fast, slow, options, expected)
        return assemble(frames, outcome, table, lines_of(frames, limits))

    def blocks(self, path: Path, options: ShdrOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Cut the file at line ends."""
        return line_blocks(path, start, limits)


class _Ignored(Exception):  # noqa: N818 - a verdict about a line, caught in the codec
    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class _Slow:
    """Rows read one by one, with their record and their place within it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.records: list[int] = []
        self.fan: list[int] = []

    def add(self, record: int, rows: list[Row]) -> None:
        self.rows += rows
        self.records += [record] * len(rows)
        self.fan += range(len(rows))


def _feeds(frames: Sequence[Frame], lines: Lines) -> list[int]:
    return [frame.feed for frame, count in zip(frames, lines.counts, strict=True) for _ in range(count)]


def _plain_lines(lines: Lines, options: ShdrOptions, limits: Limits) -> tuple[pa.StructArray, list[int]]:
    """Return time, tag and value of the lines of one plain pair (null for the others) and the numbers of the others."""
    texts = lines.texts
    kind = pa.struct([("time", pa.string()), ("tag", pa.string()), ("value", pa.string())])
    if not texts:
        return pa.nulls(0, kind), []
    if max(map(len, texts)) > limits.record_bytes:
        return pa.nulls(len(texts), kind), list(range(len(texts)))
    try:
        whole = pa.array(texts, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.nulls(len(texts), kind), list(range(len(texts)))
    found = pc.extract_regex(whole, PLAIN)
    special = options.conditions + options.messages + options.series
    other = pc.is_null(found)
    if special:
        other = pc.or_(
            other, pc.fill_null(pc.is_in(pc.struct_field(found, "tag"), pa.array(special, pa.string())), False)
        )
        found = pc.if_else(other, pa.scalar(None, kind), found)
    return found, pc.indices_nonzero(other).to_pylist()


def _together(
    lines: Lines, fast: pa.StructArray, slow: _Slow, options: ShdrOptions, expected: Mapping[str, pa.DataType]
) -> tuple[pa.Table, pa.Array, pa.Array]:
    """Return the rows of both roads in the order of the lines, their records and their places within them."""
    live = pc.is_valid(fast)
    plain = fast.filter(live)
    at = pa.array(lines.at, pa.int64()).filter(live)
    names = FIELDS + (SERIES_FIELDS if options.series else ())
    quick = {name: pc.struct_field(plain, name) for name in ("time", "tag", "value")}
    named = {name: quick.get(name, pa.nulls(len(plain), pa.string())) for name in names}
    fan = pa.repeat(pa.scalar(0, pa.uint32()), len(plain))
    if slow.rows:
        late = {name: pa.array([row.get(name) for row in slow.rows], pa.string()) for name in names}
        at = pa.concat_arrays([at, pa.array(slow.records, pa.int64())])
        fan = pa.concat_arrays([fan, pa.array(slow.fan, pa.uint32())])
        order = pc.sort_indices(pa.table({"at": at, "fan": fan}), [("at", "ascending"), ("fan", "ascending")])
        named = {name: pa.concat_arrays([named[name], late[name]]).take(order) for name in names}
        at, fan = at.take(order), fan.take(order)
    return columns(named, len(at), expected), at, fan


def read_line(line: bytes, options: ShdrOptions, limits: Limits) -> list[Row]:
    """Return the rows of one line, or raise Refusal (bad line) or _Ignored (a command)."""
    if len(line) > limits.record_bytes:
        raise Refusal(
            "limit-record-bytes", f"found a line of {len(line)} bytes, expected at most {limits.record_bytes}"
        )
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Refusal("encoding", f"found bytes that are not UTF-8 at byte {error.start + 1}, expected UTF-8") from None
    if text.startswith("*"):
        raise _Ignored("shdr-pong" if text[1:].split()[:1] == ["PONG"] else "shdr-command")
    fields = PIPE.split(text)
    when = TIME.fullmatch(fields[0].strip(SPACE))
    if when is None:
        raise Refusal("shdr-time", "found no time in the first field, expected ISO 8601, a relative time or nothing")
    rest = fields[1:]
    if not rest:
        raise Refusal("shdr-fields", "found a time and nothing after it, expected a tag and its value")
    if len(rest) > limits.fields:
        raise Refusal("limit-fields", f"found {len(rest)} fields, expected at most {limits.fields}")
    stamp: Row = {"time": when["time"] or None, "duration": when["duration"]}
    return [stamp | row for row in _pairs(rest, options)]


def _pairs(rest: Sequence[str], options: ShdrOptions) -> Iterator[Row]:
    at = 0
    while at < len(rest):
        device, _, tag = rest[at].strip(SPACE).rpartition(":")
        if rest[at].startswith("@"):
            device, tag = "", rest[at].strip(SPACE)  # a command of the asset model; its text may hold colons
        if not tag:
            raise Refusal("shdr-tag", f"found no tag in field {at + 2}, expected the name of a data item")
        whole: Row = {"device": device or None, "tag": tag}
        shape = _shape(rest, at, tag, options)
        given = [_unquoted(value) for value in rest[at + 1 : at + 1 + len(shape)]]
        if len(given) < len(shape):
            raise Refusal(
                "shdr-fields",
                f"found {len(given)} of {len(shape)} fields after the tag in field {at + 2}, expected all",
            )
        if tag.startswith("@"):
            given, shape = ["|".join(rest[at + 1 :])], ("value",)
            at = len(rest)
        empty = None if len(shape) > 1 else ""
        yield whole | {name: value or empty for name, value in zip(shape, given, strict=True)}
        at += 1 + len(shape)


def _shape(rest: Sequence[str], at: int, tag: str, options: ShdrOptions) -> tuple[str, ...]:
    """Return the fields that follow a tag."""
    if tag in options.conditions:
        return ("level", "native_code", "native_severity", "qualifier", "value")
    if tag in options.messages:
        return ("native_code", "value")
    if tag in options.series:
        return (*SERIES_FIELDS, "value")
    if options.recognise and at == 0 and len(rest) == 6 and rest[1].strip(SPACE).lower() in LEVELS:
        return ("level", "native_code", "native_severity", "qualifier", "value")
    return ("value",)


def _unquoted(value: str) -> str:
    """Return a value as meant: a pipe inside it is sent as `\\|` in a quoted value."""
    if "\\|" not in value:
        return value
    inner = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return inner.replace("\\|", "|")
