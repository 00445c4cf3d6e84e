"""Properties of the codecs: what is written comes back, bulk and strict roads agree, cuts do not matter."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.batch import Frame
from weftline.codecs import csv_codec, json_records, lines, registry
from weftline.codecs.base import Codec, Limits
from weftline.codecs.csv_dialect import CsvOptions
from weftline.codecs.json_codec import JsonOptions
from weftline.codecs.records import columns
from weftline.codecs.shdr import ShdrOptions
from weftline.testing.codec_conformance import rows_of

LIMITS = Limits(record_bytes=4096)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TIMES = st.sampled_from(
    ["2026-01-01", "2026-01-01T00:00:00Z", "10:00:00", "2026-01-01 00:00:00", "12", "1e5", "NaN", ""]
)
NUMBERS = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1 << 53, (1 << 53) + 1, -(1 << 63), (1 << 63) - 1, 1 << 63, 0.1, -0.0]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, TIMES)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)
KEYS = st.sampled_from(["a", "b", "select", "a b", "", "é"])
FLAT = st.dictionaries(KEYS, SCALARS, max_size=4)
TYPED = st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(st.none(), st.integers(-9, 9)), max_size=2)
RECORDS = st.lists(st.one_of(FLAT, TYPED, st.dictionaries(KEYS, NESTED, max_size=3)), min_size=1, max_size=12)
EXPECTED = st.dictionaries(
    KEYS, st.sampled_from([pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us", "UTC")]), max_size=3
)


def decode(name: str, payload: bytes, options: Any, expected: dict[str, pa.DataType] | None = None) -> Any:
    return registry.codec(name).decode([Frame(0, 1, 2, b"", b"", payload)], options, expected or {}, LIMITS)


def as_sent(value: Any) -> Any:
    """Return what a value is once its column had to become text, or None where it holds nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@given(RECORDS, EXPECTED)
def test_bulk_json_says_what_strict_json_says(records: list[dict[str, Any]], expected: dict[str, pa.DataType]) -> None:
    texts = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    found = json_records.bulk(b"\n".join(texts), len(texts), expected, LIMITS)
    if found is None:
        return
    strict, rows, failures = json_records.strict_columns(texts, 0, str, expected, LIMITS)
    assert not failures
    assert (
        columns(found, len(texts), expected).combine_chunks().equals(columns(strict, rows, expected).combine_chunks())
    )


ACCIDENTS = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b"NaN", b"-Inf", b'"a":1,', b'{"b":1},', b"\n", b"}\n{", b"[", b"]", b"1e999", b"\\ud800", b",", b" "]
    ),
)
SOLID = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries(
        {}, optional={"a": st.integers(0, 9), "b": st.lists(st.fixed_dictionaries({"c": st.none()}))}
    ),
    max_size=2,
)


@given(st.lists(st.one_of(TYPED, SOLID), min_size=1, max_size=6), ACCIDENTS, st.integers(0, 200))
def test_bulk_json_accepts_nothing_that_strict_json_refuses(
    records: list[dict[str, Any]], accident: bytes, place: int
) -> None:
    blob = b"\n".join(json.dumps(record).encode() for record in records)
    at = min(place, len(blob))
    blob = blob[:at] + accident + blob[at:]
    count = blob.count(b"\n") + 1
    found = json_records.bulk(blob, count, {}, LIMITS)
    if found is None:
        return
    strict, rows, failures = json_records.strict_columns(blob.split(b"\n"), 0, str, {}, LIMITS)
    assert not failures
    assert columns(found, count, {}).combine_chunks().equals(columns(strict, rows, {}).combine_chunks())


@given(RECORDS)
def test_json_comes_back_as_it_was_written(records: list[dict[str, Any]]) -> None:
    payload = "\r\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()
    decoded = decode("ndjson", payload, JsonOptions())
    assert not decoded.undecodable
    for row, record in zip(rows_of(decoded), records, strict=True):
        assert set(row) == {name for name, value in record.items() if value is not None}
        for name, value in row.items():
            kind = decoded.fields.schema.field(name).type
            if pa.types.is_string(kind):
                assert value == as_sent(record[name])
            else:
                assert value == record[name]


@given(
    st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=10), st.sampled_from([",", ";", "\t", "|"])
)
def test_csv_comes_back_as_it_was_written(rows: list[list[str]], delimiter: str) -> None:
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["p", "q"], *rows])
    decoded = decode("csv", sink.getvalue().encode(), CsvOptions(delimiter=delimiter, nulls=()))
    assert not decoded.undecodable
    assert [[row.get("p"), row.get("q")] for row in rows_of(decoded)] == rows


CSV_BITS = st.lists(
    st.sampled_from([b"a", b"12", b" ", b",", b"\n", b"\r\n", b"\r", b'"', b'""', b"\xff", b"\0", b"#"]), max_size=40
)


@given(CSV_BITS, st.sampled_from(["", '"']), st.sampled_from(["", "#"]), st.booleans(), st.integers(1, 3))
def test_bulk_csv_says_what_strict_csv_says(
    bits: list[bytes], quote: str, comment: str, trailing: bool, width: int
) -> None:
    options = CsvOptions(
        quote=quote, comment=comment, trailing_delimiter=trailing, header=False, names=("x", "y", "z")[:width]
    )
    payload = b"".join(bits)
    bulk_road = decode("csv", payload, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_codec, "bulk", lambda *_: None)
        strict_road = decode("csv", payload, options)
    assert rows_of(bulk_road) == rows_of(strict_road)
    assert bulk_road.undecodable == strict_road.undecodable
    assert bulk_road.records == strict_road.records
    assert bulk_road.position.equals(strict_road.position)


SHDR_BITS = st.lists(
    st.sampled_from(
        [
            b"2018-07-11T07:00:54.375141Z",
            b"2018-07-11T07:00:54Z@2",
            b"|",
            b"|",
            b"|",
            b"a",
            b"d:b",
            b"Normal",
            b"\n",
            b"\r\n",
            b"* PONG",
            b"\xff",
            b"\\|",
            b" ",
            b"",
        ]
    ),
    max_size=40,
)


@given(SHDR_BITS)
def test_plain_shdr_lines_say_what_lines_read_one_by_one_say(bits: list[bytes]) -> None:
    from weftline.codecs import shdr

    payload = b"".join(bits)
    quick = decode("shdr", payload, ShdrOptions())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shdr, "PLAIN", "^(?P<time>no such)(?P<tag>line)(?P<value>)$")
        slow = decode("shdr", payload, ShdrOptions())
    assert rows_of(quick) == rows_of(slow)
    assert (quick.undecodable, quick.ignored, quick.records) == (slow.undecodable, slow.ignored, slow.records)
    assert quick.position.equals(slow.position)
    assert quick.row.equals(slow.row)


def whole_and_blocks(codec: Codec, options: Any, payload: bytes, folder: Path, block: int) -> tuple[Any, Any]:
    """Return rows, refused records and counts of the file at once, and of its blocks one after another."""
    limits = Limits(record_bytes=block)
    path = folder / "file"
    path.write_bytes(payload)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        patch.setattr(csv_codec, "BLOCK", block)
        blocks = list(codec.blocks(path, options, 0, limits))
        for cut in blocks:
            assert next(codec.blocks(path, options, cut.offset, limits)) == cut
    assert [cut.offset for cut in blocks] == [0, *[cut.end for cut in blocks[:-1]]][: len(blocks)]
    assert not blocks or blocks[-1].end == len(payload)
    if any(b'"cut"' in cut.attributes for cut in blocks):
        return None, None
    whole = codec.decode([Frame(0, 1, 2, b"", b"", payload)], options, {}, limits)
    parts = [codec.decode([Frame(0, 1, 2, b"", cut.attributes, cut.payload)], options, {}, limits) for cut in blocks]

    def seen(found: list[Any]) -> Any:
        texts = [{k: str(v) for k, v in row.items()} for part in found for row in rows_of(part)]
        refused = [
            (record.code, record.reason.partition(", ")[2], record.original) for p in found for record in p.undecodable
        ]
        return texts, refused, sum(part.records.get(1, 0) for part in found)

    return seen([whole]), seen(parts)


@given(CSV_BITS, st.integers(24, 60), st.sampled_from(["utf-8", "utf-16-le", "cp1252"]))
def test_csv_blocks_join_to_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, bits: list[bytes], block: int, encoding: str
) -> None:
    text = b"".join([b"p,q\n", *bits])
    payload = text if encoding == "utf-8" else text.decode("cp1252").encode(encoding)
    options = CsvOptions(encoding=encoding)
    folder = tmp_path_factory.mktemp("csv")
    whole, parts = whole_and_blocks(registry.codec("csv"), options, payload, folder, block * 2)
    assert whole == parts


LINE_BITS = st.lists(
    st.sampled_from([b'{"a":1}', b'"x"', b"{", b" ", b"\n", b"\r\n", b"\r", b"\n\n", b"\xff", b"12"]), max_size=30
)


@given(LINE_BITS, st.integers(8, 40))
def test_ndjson_blocks_join_to_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, bits: list[bytes], block: int
) -> None:
    folder = tmp_path_factory.mktemp("ndjson")
    whole, parts = whole_and_blocks(registry.codec("ndjson"), JsonOptions(), b"".join(bits), folder, block)
    assert whole == parts
