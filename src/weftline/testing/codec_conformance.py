"""What every codec must keep, whatever bytes it is given; the subjects are found in the registry.

`CodecConformance(name).cases()` gives broken and whole payloads, `.examine(payload)` checks the promises of
`codecs/base.py` for one, and the `check_…` methods those that need more than one call.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from weftline.batch import Decoded, Frame
from weftline.codecs import registry
from weftline.codecs.base import Codec, Limits
from weftline.codecs.decode_process import DecodeProcess

__all__ = ["SAMPLES", "CodecConformance", "ConformanceError", "Sample", "rows_of"]

CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
WORDS = ("select", "from", "order", "group", "table", "user", "a b", "ünï", "", 'quo"te', "value", "record_time")


class ConformanceError(AssertionError):
    """Name the promise a codec broke and the payload it broke it on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Whole payloads of one codec and what the suite may do with them.

    `lines` are records that can stand in any order, joined by LF after `head`; `broken` is one record that no reader
    accepts. `verbatim` says that originals are bytes of the payload.
    """

    payload: bytes
    options: Mapping[str, Any]
    head: bytes = b""
    lines: tuple[bytes, ...] = ()
    broken: bytes = b""
    verbatim: bool = True


def _json_lines() -> tuple[bytes, ...]:
    rows: list[dict[str, Any]] = [
        {"t": f"2026-11-22T10:00:{n:02d}Z", "machine": f"M{n}", "temp": 20.5 + n, "count": n, "ok": n % 2 == 0}
        for n in range(12)
    ]
    rows += [{word: n for n, word in enumerate(WORDS)}, {"nested": {"a": [1, {"b": None}]}, "temp": None}, {}]
    return tuple(json.dumps(row, ensure_ascii=False).encode() for row in rows)


def _table() -> pa.Table:
    return pa.table(
        {
            "n": pa.array([1, None, 3], pa.int32()),
            "text": ["a", "ü", None],
            "select": [0.5, float("nan"), None],
            "when": pa.array([0, 1, None], pa.timestamp("ns", "UTC")),
            "list": [[1], [], None],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "raw": [b"\xff", b"", None],
        }
    )


def _ipc() -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, _table().schema) as stream:
        stream.write_table(_table())
    return sink.getvalue()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(_table(), sink)
    return sink.getvalue()


def _xlsx() -> bytes:
    """Write the smallest workbook by hand: the reader is the subject, not a writer's library."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    rows = "".join(
        f'<row r="{n + 2}"><c r="A{n + 2}"><v>{n}</v></c><c r="B{n + 2}" t="inlineStr"><is><t>p{n}</t></is></c></row>'
        for n in range(3)
    )
    title = "".join(
        f'<c r="{at}1" t="inlineStr"><is><t>{name}</t></is></c>' for at, name in (("A", "id"), ("B", "part"))
    )
    title = f'<row r="1">{title}</row>'
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="r1" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="Orders" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{relations}"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{title}{rows}</sheetData></worksheet>',
    }
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return sink.getvalue()


def _csv_sample() -> Sample:
    lines = tuple(b'2026-11-22T10:00:%02dZ,M%d,"a ""b"", c",%d.5' % (n, n, n) for n in range(12))
    head = b"t,machine,note,temp\n"
    return Sample(head + b"\n".join(lines) + b"\n", {}, head, lines, b'1,2,"3"x,4')


def _shdr_sample() -> Sample:
    lines = (
        b"2018-07-11T07:00:54.375141Z|execution|ACTIVE|Xload|12.5|program|",
        b"2018-07-11T07:00:54.375141Z|Xtravel|Fault|E7|3|HIGH|limit reached",
        b"2018-07-11T07:00:55Z|m1:avail|AVAILABLE",
        b"2018-07-11T07:00:56Z@2.5|Xpos|1 2 3",
        b"|Ypos|7",
        b"* PONG 10000",
    )
    return Sample(b"\r\n".join(lines) + b"\r\n", {}, b"", lines, b"2018-07-11T07:00:54Z|a|1|b")


SAMPLES: dict[str, Callable[[], Sample]] = {
    "arrow": lambda: Sample(_ipc(), {}, verbatim=False),
    "csv": _csv_sample,
    "json": lambda: Sample(b"[" + b", ".join(_json_lines()) + b"]", {}),
    "ndjson": lambda: Sample(b"\n".join(_json_lines()) + b"\n", {}, b"", _json_lines(), b'{"a":1,"a":2}'),
    "parquet": lambda: Sample(_parquet(), {}, verbatim=False),
    "plain": lambda: Sample(b"21.5\n", {}),
    "shdr": _shdr_sample,
    "xlsx": lambda: Sample(_xlsx(), {}, verbatim=False),
}
"""Whole payloads by codec; another package adds its own before it runs the suite."""


def rows_of(decoded: Decoded) -> list[dict[str, Any]]:
    """Return the rows as the source named them, without fields that hold nothing."""
    texts = [column.to_pylist() for column in decoded.fields.columns]
    names = decoded.fields.column_names
    return [
        {name: values[row] for name, values in zip(names, texts, strict=True) if values[row] is not None}
        for row in range(len(decoded.feed))
    ]


class CodecConformance:
    """Hold one codec to its promises."""

    def __init__(self, name: str, process: DecodeProcess | None = None) -> None:
        self.codec: Codec = registry.codec(name)
        self.sample = SAMPLES[name]() if name in SAMPLES else Sample(b"", {}, verbatim=False)
        self.options = registry.read_options(name, self.sample.options)
        self.limits = Limits(record_bytes=1 << 16, frame_bytes=8 << 20)
        self.process = process

    def decode(self, *payloads: bytes, attributes: Sequence[bytes] = (), limits: Limits | None = None) -> Decoded:
        """Decode payloads as frames 1000, 1001 … of feed 7, in the decode process where the codec asks for it."""
        notes = attributes or [b""] * len(payloads)
        frames = [Frame(1000 + n, 7, 5_000_000, b"", notes[n], payload) for n, payload in enumerate(payloads)]
        decoder = self.process.decode if self.process is not None and self.codec.isolated else None
        if decoder is not None:
            return decoder(self.codec, frames, self.options, {}, limits or self.limits)
        return self.codec.decode(frames, self.options, {}, limits or self.limits)

    def examine(self, payload: bytes) -> Decoded:
        """Decode one payload between two whole ones and check every promise about the three."""
        whole = self.sample.payload
        try:
            decoded = self.decode(whole, payload, whole)
        except Exception as error:
            raise ConformanceError(f"{self.codec.name} raised {error!r} on {payload[:200]!r}") from error
        _promises(decoded, payload, self.codec.name)
        _neighbours(decoded, self.codec.name)
        if self.sample.verbatim:
            _verbatim(decoded, {1000: whole, 1001: payload, 1002: whole})
        return decoded

    def cases(self) -> Iterator[tuple[str, bytes]]:
        """Give names and payloads: what sources, networks and people do to bytes."""
        whole = self.sample.payload
        yield "whole", whole
        yield "empty", b""
        step = max(1, len(whole) // 40)
        for end in range(0, len(whole), step):
            yield f"truncated at {end}", whole[:end]
        noise = random.Random(11)
        for size in (1, 7, 64, 4096):
            yield f"noise of {size}", noise.randbytes(size)
        yield "UTF-16", whole.decode("latin-1").encode("utf-16")
        yield "latin-1 bytes", whole.replace(b"M1", b"\xe4\xf6\xfc")
        yield "BOM", b"\xef\xbb\xbf" + whole
        yield "BOM alone", b"\xef\xbb\xbf"
        yield "CR LF", whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield "CR", whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r")
        yield "mixed line ends", whole.replace(b"\n", b"\r\n", 3).replace(b"M", b"\r\n", 1)
        yield "blank lines", b"\n\n \r\n" + whole + b"\n\n"
        yield "NUL and control characters", whole.replace(b"M", b"\x00\x01\x1b")
        yield "twice over", whole + whole
        yield "gzip", gzip.compress(whole, mtime=0)
        yield "zip bomb", _bomb()
        yield from _json_traps()

    def check_replay(self) -> None:
        """A record decodes again from its original and the attributes kept with it, as a replay does."""
        for name, payload in self.cases():
            decoded = self.decode(payload)
            kept = decoded.attributes.get(1000, b"")
            if decoded.original is not None and len(decoded.feed):
                rows = rows_of(decoded)
                firsts = [at for at, fan in enumerate(decoded.row.to_pylist()) if fan == 0]
                for at in firsts[:3] + firsts[-3:]:
                    original = decoded.original(pa.array([at]))[0].as_py()
                    again = self.decode(original, attributes=[kept])
                    if again.undecodable or _meant(rows_of(again)[0]) != _meant(rows[at]):
                        found = f"row {at} of {original[:100]!r} replays otherwise"
                        raise ConformanceError(f"{self.codec.name}, {name}: {found}")
            for record in (*decoded.undecodable[:3], *decoded.undecodable[-3:]):
                again = self.decode(record.original, attributes=[kept])
                if [found.code for found in again.undecodable] != [record.code]:
                    raise ConformanceError(f"{self.codec.name}, {name}: {record.code} replays as {again.undecodable}")

    def check_lines(self) -> None:
        """A broken record never takes its neighbours, wherever it stands."""
        sample = self.sample
        if not sample.broken:
            return
        clean = rows_of(self.decode(sample.head + b"\n".join(sample.lines)))
        for at in range(len(sample.lines) + 1):
            lines = [*sample.lines[:at], sample.broken, *sample.lines[at:]]
            decoded = self.decode(sample.head + b"\n".join(lines))
            found = [(record.position, record.original) for record in decoded.undecodable]
            if found != [(at, sample.broken)]:
                raise ConformanceError(f"{self.codec.name}: broken record at {at}, undecodable {found}")
            if _texts(rows_of(decoded)) != _texts(clean):
                raise ConformanceError(f"{self.codec.name}: a broken record at {at} changed its neighbours")

    def check_blocks(self, folder: Path, size: int) -> None:
        """The blocks of a file, from any cut, decode to what the whole file decodes to."""
        path = folder / f"sample.{self.codec.name}"
        path.write_bytes(self._large(size))
        limits = Limits(frame_bytes=1 << 30, record_bytes=1 << 16)
        blocks = list(self.codec.blocks(path, self.options, 0, limits))
        if [block.offset for block in blocks] != [0, *[block.end for block in blocks[:-1]]]:
            raise ConformanceError(f"{self.codec.name}: blocks do not follow one another")
        for number, block in enumerate(blocks):
            if next(self.codec.blocks(path, self.options, block.offset, limits), None) != block:
                raise ConformanceError(f"{self.codec.name}: block {number} differs when reading starts there")
        if list(self.codec.blocks(path, self.options, blocks[-1].end, limits)):
            raise ConformanceError(f"{self.codec.name}: blocks after the end")
        whole = self.decode(path.read_bytes(), limits=limits)
        parts = [self.decode(block.payload, attributes=[block.attributes], limits=limits) for block in blocks]
        found = [text for part in parts for text in _texts(rows_of(part))]
        if found != _texts(rows_of(whole)):
            raise ConformanceError(f"{self.codec.name}: blocks give other rows than the whole file")
        if sum(part.records[7] for part in parts) != whole.records[7]:
            raise ConformanceError(f"{self.codec.name}: blocks give another number of records than the whole file")

    def _large(self, size: int) -> bytes:
        sample = self.sample
        if not sample.lines:
            return sample.payload
        group = b"\n".join([*sample.lines, sample.broken]) + b"\n"
        return sample.head + group * (size // len(group) + 1)


def _texts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows as text that is equal for equal numbers: 2 and 2.0 differ only by the batch they stand in."""
    return [
        repr(sorted((name, float(v) if type(v) is int and abs(v) < 1 << 53 else v) for name, v in row.items()))
        for row in rows
    ]


def _meant(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row as the contract would take it: a column's type depends on its neighbours, the meaning does not."""
    return {name: _meaning(value) for name, value in row.items()}


def _meaning(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    try:
        return repr(float(value))
    except ValueError:
        return str(value)


def _promises(decoded: Decoded, payload: bytes, name: str) -> None:
    def must(kept: bool, promise: str) -> None:
        if not kept:
            raise ConformanceError(f"{name}: {promise}; payload {payload[:200]!r}")

    rows = len(decoded.feed)
    sides = (decoded.frame, decoded.position, decoded.row, decoded.received)
    must(all(len(side) == rows for side in sides), "every row has its place")
    must(decoded.fields.num_rows == rows, "as many rows of fields as places")
    decoded.fields.validate(full=True)
    places = set(zip(decoded.frame.to_pylist(), decoded.position.to_pylist(), strict=True))
    refused = {(record.frame, record.position) for record in decoded.undecodable}
    must(len(refused) == len(decoded.undecodable), "a record is refused once")
    must(not places & refused, "a record gives rows or is refused, never both")
    ignored = sum(sum(rules.values()) for rules in decoded.ignored.values())
    must(decoded.records.get(7, 0) == len(places) + len(refused) + ignored, "every record is counted once")
    for record in decoded.undecodable:
        must(CODE.fullmatch(record.code) is not None, f"the code {record.code!r} is kebab-case")
        must(
            record.reason.startswith("record ") and record.reason.endswith("."), f"reason {record.reason!r} has a place"
        )
        must("Traceback" not in record.reason and len(record.reason) < 500, "a reason is one short sentence")
    if decoded.original is not None and rows:
        originals = decoded.original(pa.array([0, rows - 1]))
        must(len(originals) == 2 and pa.types.is_binary(originals.type), "originals are bytes, one a row")
    keys = list(zip(decoded.frame.to_pylist(), decoded.position.to_pylist(), decoded.row.to_pylist(), strict=True))
    must(keys == sorted(set(keys)), "rows stand in the order of records")


def _neighbours(decoded: Decoded, name: str) -> None:
    """The whole payloads before and after give the same rows."""
    rows = rows_of(decoded)
    homes = decoded.frame.to_pylist()
    before = [row for row, home in zip(rows, homes, strict=True) if home == 1000]
    after = [row for row, home in zip(rows, homes, strict=True) if home == 1002]
    if repr(before) != repr(after) or not before:
        raise ConformanceError(f"{name}: equal frames around a broken one gave {len(before)} and {len(after)} rows")
    if any(record.frame != 1001 for record in decoded.undecodable):
        raise ConformanceError(f"{name}: a whole frame was refused beside a broken one")


def _verbatim(decoded: Decoded, payloads: Mapping[int, bytes]) -> None:
    for record in decoded.undecodable:
        if record.original not in payloads[record.frame] and record.original[1:-1] not in payloads[record.frame]:
            raise ConformanceError(f"the original of {record.frame}/{record.position} is not what was sent")
    if decoded.original is None or not len(decoded.feed):
        return
    originals = decoded.original(pa.arange(0, len(decoded.feed))).to_pylist()
    for frame, original in zip(decoded.frame.to_pylist(), originals, strict=True):
        if original not in payloads[frame] and original[1:-1] not in payloads[frame]:  # `[…]` around an inner array
            raise ConformanceError(f"the original of a row of {frame} is not what was sent")


def _bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * (20 << 20))
    return sink.getvalue()


def _json_traps() -> Iterator[tuple[str, bytes]]:
    yield "NaN", b'{"a":NaN}\n{"a":-Infinity}\n{"a":1}\n'
    yield "duplicate keys", b'{"a":1,"a":2}\n{"a":{"b":1,"\\u0062":2}}\n'
    yield "deep nesting", b'{"a":' + b"[" * 60_000
    yield "deep and closed", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    yield "huge field", b'{"a":"' + b"x" * (1 << 17) + b'"}\n{"a":1}\n'
    yield "huge line", b"x" * (1 << 20)
    yield "numbers", b'{"a":1e999}\n{"a":123456789012345678901234567890}\n{"a":0.1}\n{"a":-0}\n'
    yield "lone surrogate", b'{"a":"\\ud800"}\n{"\\udc00":1}\n'
    yield "many fields", b"{" + b",".join(b'"f%d":1' % n for n in range(5000)) + b"}"
    yield "scalars", b'1\n"x"\nnull\ntrue\n[1,2]\n'
