"""Traps of JSON: what pyarrow would change, what Python would accept, what a sender gets wrong."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from weftline.batch import Decoded, Frame
from weftline.codecs.base import Limits
from weftline.codecs.json_codec import JsonCodec, JsonOptions, NdjsonCodec
from weftline.testing.codec_conformance import rows_of


def json(*payloads: bytes, expected: dict[str, pa.DataType] | None = None, **limits: int) -> Decoded:
    frames = [Frame(10 + n, 1, 2, b"", b"", payload) for n, payload in enumerate(payloads)]
    return JsonCodec().decode(frames, JsonOptions(), expected or {}, Limits(**limits))


def ndjson(payload: bytes, expected: dict[str, pa.DataType] | None = None, **limits: int) -> Decoded:
    return NdjsonCodec().decode([Frame(0, 1, 2, b"", b"", payload)], JsonOptions(), expected or {}, Limits(**limits))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"a":1,"a":2}', "json-duplicate-key"),
        (b'{"a":1,"\\u0061":2}', "json-duplicate-key"),
        (b'{"a":{"b":1,"b":2}}', "json-duplicate-key"),
        (b'{"a":NaN}', "json-number"),
        (b'{"a":[-Infinity]}', "json-number"),
        (b'{"a":"\\ud800"}', "json-surrogate"),
        (b'{"a":"\xff"}', "encoding"),
        (b'{"a":"\x01"}', "json-syntax"),
        (b'{"a":01}', "json-syntax"),
        (b'{"a":1} {"a":2}', "json-syntax"),
        (b'{"a":' + b"[" * 500_000, "limit-depth"),
        (b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}", "limit-depth"),
        (b"[" * 500_000, "limit-depth"),
        (b'{"a":"' + b"x" * (1 << 20) + b'"}', "limit-record-bytes"),
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
    ],
)
def test_a_record_that_readers_would_not_agree_on_is_refused_alone(payload: bytes, code: str) -> None:
    good = b'{"a":7}'
    decoded = json(good, payload, good)
    assert [(record.frame, record.position, record.code, record.original) for record in decoded.undecodable] == [
        (11, 0, code, payload)
    ]
    assert rows_of(decoded) == [{"a": 7}, {"a": 7}]
    assert decoded.frame.to_pylist() == [10, 12]
    assert decoded.records == {1: 3}


@pytest.mark.parametrize(
    ("payload", "kind", "values"),
    [
        (b'{"a":"2026-01-01T00:00:00Z"}', pa.string(), ["2026-01-01T00:00:00Z"]),
        (b'{"a":null}\n{"a":"2026-01-01"}', pa.string(), [None, "2026-01-01"]),
        (b'{"a":9007199254740993}\n{"a":0.5}', pa.string(), ["9007199254740993", "0.5"]),
        (b'{"a":1}\n{"a":0.5}', pa.float64(), [1.0, 0.5]),
        (b'{"a":9223372036854775807}', pa.int64(), [9223372036854775807]),
        (b'{"a":9223372036854775808}', pa.string(), ["9223372036854775808"]),
        (b'{"a":1e999}\n{"a":1.50}', pa.string(), ["1e999", "1.50"]),
        (b'{"a":true}\n{"a":1.50}\n{"a":"x"}', pa.string(), ["true", "1.50", "x"]),
        (b'{"a":{"b": [1, 2.50]}}\n{"a":null}', pa.string(), ['{"b": [1, 2.50]}', None]),
        (b'{"a":{}}\n{"b":1}', pa.string(), ["{}", None]),
        (b'{"a":null}', pa.string(), [None]),
        (b'{"a":"\\ud83d\\ude00\\u0000"}', pa.string(), ["😀\0"]),
    ],
)
def test_values_keep_what_was_written(payload: bytes, kind: pa.DataType, values: list[Any]) -> None:
    decoded = ndjson(payload)
    assert not decoded.undecodable
    assert decoded.fields.schema.field("a").type == kind
    assert decoded.fields.column("a").to_pylist() == values


def test_expected_types_settle_the_column_so_that_plans_are_reused() -> None:
    expected = {"z": pa.float64(), "a": pa.string()}
    decoded = ndjson(b'{"a":1,"z":2,"b":3}\n', expected)
    assert decoded.fields.schema == pa.schema([("z", pa.float64()), ("a", pa.string()), ("b", pa.int64())])
    assert ndjson(b'{"b":1,"z":2.5,"a":"x"}\n{"z":null}', expected).fields.schema == decoded.fields.schema


def test_text_that_was_asked_for_keeps_its_digits() -> None:
    assert ndjson(b'{"a":1.50}\n{"a":2}', {"a": pa.string()}).fields.column("a").to_pylist() == ["1.50", "2"]


def test_an_array_at_the_top_holds_records_with_their_own_originals() -> None:
    decoded = json(b' [ {"a":1}, {"a":2,"a":3} ,"x",[1] ]')
    assert rows_of(decoded) == [{"a": 1}, {"value": "x"}, {"value": "[1]"}]
    assert decoded.position.to_pylist() == [0, 2, 3]
    assert decoded.undecodable[0].original == b'{"a":2,"a":3}'
    assert decoded.original is not None
    assert decoded.original(pa.array([0, 2])).to_pylist() == [b'{"a":1}', b"[[1]]"]


def test_lines_end_as_senders_end_them_and_blank_ones_are_no_records() -> None:
    decoded = ndjson(b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n{"a":2}\r{"a":3\n\n{"a":4}')
    assert rows_of(decoded) == [{"a": 1}, {"a": 2}, {"a": 4}]
    assert decoded.undecodable[0].reason.startswith("record 3, line 5: ")
    assert decoded.position.to_pylist() == [0, 1, 3]


def test_records_without_fields_are_still_rows() -> None:
    decoded = ndjson(b"{}\n{}\n")
    assert (len(decoded.feed), decoded.fields.num_rows, decoded.records) == (2, 2, {1: 2})


def test_a_feed_that_invents_field_names_is_bounded() -> None:
    decoded = ndjson(b"\n".join(b'{"f%d":1}' % n for n in range(50)), fields=10)
    assert len(decoded.feed) == 10
    assert {record.code for record in decoded.undecodable} == {"limit-fields"}


def test_one_broken_line_in_a_large_block_is_found_without_reading_all_of_it_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from weftline.codecs import json_records

    read = []
    strict = json_records.strict
    monkeypatch.setattr(json_records, "strict", lambda record, limits: (read.append(1), strict(record, limits))[1])
    lines = [b'{"a":%d,"b":"x"}' % n for n in range(20_000)]
    lines[12_345] = b'{"a":}'
    decoded = ndjson(b"\n".join(lines))
    assert [record.position for record in decoded.undecodable] == [12_345]
    assert decoded.fields.column("a").to_pylist() == [n for n in range(20_000) if n != 12_345]
    assert len(read) < 400


@pytest.mark.parametrize(
    ("payload", "codes"),
    [
        (b'{"a":1}{"a":2}\n{"b":\n{}}', ["json-syntax"] * 3),  # three objects on three lines, none on a line of its own
        (b'{"a":1}\n{"a":2}{"a":3}\n', ["json-syntax"]),
        (b'{"a":"}"\n,"b":"{"}\n{"a":1}', ["json-syntax"] * 2),
        (b'{"a":[1]}\n{"a":[NaN]}\n{"a":["Info"]}', ["json-number"]),
        (b'{"a":{"b":1}}\n{"a":{"b":1,"b":2}}', ["json-duplicate-key"]),
    ],
)
def test_the_bulk_road_is_not_fooled_by_what_pyarrow_accepts(payload: bytes, codes: list[str]) -> None:
    decoded = ndjson(payload)
    assert [record.code for record in decoded.undecodable] == codes
    assert decoded.records == {1: payload.strip().count(b"\n") + 1}
