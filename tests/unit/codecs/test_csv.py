"""Traps of CSV: dialects, encodings, ragged and badly quoted lines, heads that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from weftline.batch import Decoded, Frame
from weftline.codecs import csv_codec, registry
from weftline.codecs.base import Limits
from weftline.codecs.csv_codec import CsvCodec
from weftline.errors import InputError
from weftline.testing.codec_conformance import rows_of


def decode(
    payload: bytes, expected: dict[str, pa.DataType] | None = None, attributes: bytes = b"", **given: Any
) -> Decoded:
    options = registry.read_options("csv", given)
    return CsvCodec().decode([Frame(0, 1, 2, b"", attributes, payload)], options, expected or {}, Limits())


def test_broken_lines_are_refused_alone_with_their_place_in_the_file() -> None:
    decoded = decode(b'a,b\n1,2\n3\n4,5,6\n7,"x\ny"\n"9"x,1\n10,"open\n11,12\n')
    assert rows_of(decoded) == [{"a": "1", "b": "2"}, {"a": "7", "b": "x\ny"}, {"a": "11", "b": "12"}]
    assert [(record.position, record.code, record.original) for record in decoded.undecodable] == [
        (1, "csv-fields", b"3"),
        (2, "csv-fields", b"4,5,6"),
        (4, "csv-quote", b'"9"x,1'),
        (5, "csv-quote", b'10,"open'),
    ]
    assert decoded.undecodable[1].reason == "record 3, line 4: found 3 fields, expected 2."
    assert decoded.undecodable[3].reason.startswith("record 6, line 8: ")


def test_numbers_with_a_decimal_comma_are_written_as_the_contract_reads_them() -> None:
    payload = b"id;weight;note\n1.5;1.234,50;1,5\n2;-0,5;x\n3;12 kg;\n"
    decoded = decode(payload, {"weight": pa.float64()}, delimiter=";", decimal=",", thousands=".")
    assert decoded.fields.column("weight").to_pylist() == ["1234.50", "-0.5", "12 kg"]
    assert decoded.fields.column("note").to_pylist() == ["1,5", "x", None]
    assert decoded.fields.column("id").to_pylist() == ["1.5", "2", "3"]


@pytest.mark.parametrize(
    ("payload", "given"),
    [
        ("\ufeffa,b\nü,€\n".encode(), {}),
        ("a,b\nü,€\n".encode("utf-16"), {}),
        ("a,b\nü,€\n".encode("utf-16-be"), {"encoding": "utf-16-be"}),
        ("a,b\nü,€\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("a;b\r\nü;€\r\n".encode("iso-8859-15"), {"encoding": "iso-8859-15", "delimiter": "auto"}),
        ("a\tb\rü\t€\r".encode(), {"delimiter": "auto"}),
        (
            "junk\n\na|b|\n# note\nü|€|".encode(),
            {"delimiter": "|", "skip_lines": 2, "comment": "#", "trailing_delimiter": True},
        ),
        ("x,y\nü,€".encode(), {"names": ["a", "b"]}),
        ("ü,€".encode(), {"names": ["a", "b"], "header": False}),
    ],
)
def test_every_dialect_gives_the_same_row(payload: bytes, given: dict[str, Any]) -> None:
    decoded = decode(payload, **given)
    assert rows_of(decoded) == [{"a": "ü", "b": "€"}]
    assert not decoded.undecodable


def test_a_byte_that_is_no_text_refuses_its_line_only() -> None:
    for encoding, bad in (("utf-8", b"\xff"), ("cp1252", b"\x81"), ("utf-16-le", b"\x00\xd8")):
        good = "1,2\n".encode(encoding)
        payload = "a,b\n".encode(encoding) + good + bad + good + good
        decoded = decode(payload, encoding=encoding)
        assert rows_of(decoded) == [{"a": "1", "b": "2"}] * 2, encoding
        assert [(record.position, record.code) for record in decoded.undecodable] == [(1, "encoding")]
        assert decoded.undecodable[0].original == (bad + good).removesuffix("\n".encode(encoding))


def test_a_header_with_a_name_twice_refuses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_bytes(b"a,b,a\n1,2,3\n")
    (block,) = CsvCodec().blocks(path, registry.read_options("csv", {}), 0, Limits())
    decoded = decode(block.payload, attributes=block.attributes)
    assert [(record.code, record.reason) for record in decoded.undecodable] == [
        ("csv-duplicate-header", "record 1, line 1: found the field name 'a' twice, expected each name once.")
    ]


@pytest.mark.parametrize("payload", [b"", b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\r\n\r\n", b"\n\n"])
def test_a_file_without_records_gives_none(payload: bytes) -> None:
    decoded = decode(payload)
    assert (len(decoded.feed), decoded.undecodable, decoded.records) == (0, (), {1: 0})


def test_blocks_respect_quotes_and_carry_the_head_and_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_codec, "BLOCK", 64)
    path = tmp_path / "quoted.csv"
    path.write_bytes(b"id;text\n" + b"".join(b'%d;"line\n""two"";"\n' % n for n in range(20)) + b"x\n")
    options = registry.read_options("csv", {"delimiter": "auto"})
    limits = Limits(record_bytes=64)
    blocks = list(CsvCodec().blocks(path, options, 0, limits))
    assert len(blocks) > 3
    rows, broken = [], []
    for block in blocks:
        decoded = CsvCodec().decode([Frame(0, 1, 2, b"", block.attributes, block.payload)], options, {}, limits)
        rows += rows_of(decoded)
        broken += [record.reason for record in decoded.undecodable]
    assert rows == [{"id": str(n), "text": 'line\n"two";'} for n in range(20)]
    assert broken[0].endswith("line 42: found 1 fields, expected 2.")
    assert list(CsvCodec().blocks(path, options, blocks[2].offset, limits)) == blocks[2:]


def test_a_row_of_empty_fields_is_a_record_and_a_blank_line_is_none() -> None:
    assert decode(b"a\tb\n\t\n\n \n1\t2\n", delimiter="tab").records == {1: 2}


@pytest.mark.parametrize(
    "given",
    [
        {"delimiter": ""},
        {"delimiter": "ab"},
        {"quote": ","},
        {"encoding": "utf-7"},
        {"names": ["a", "a"]},
        {"delim": ";"},
    ],
)
def test_options_that_no_file_can_be_read_with_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="codec-options"):
        registry.read_options("csv", given)
