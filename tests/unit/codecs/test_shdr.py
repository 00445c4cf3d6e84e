"""SHDR as adapters send it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from weftline.batch import Decoded, Frame
from weftline.codecs import registry
from weftline.codecs.base import Limits
from weftline.codecs.shdr import ShdrCodec
from weftline.testing.codec_conformance import rows_of

T = "2018-07-11T07:00:54.375141Z"


def decode(text: str, **given: Any) -> Decoded:
    frames = [Frame(0, 5, 2, b"", b"", text.encode())]
    return ShdrCodec().decode(frames, registry.read_options("shdr", given), {}, Limits())


def test_each_pair_of_a_line_is_a_row_of_one_record() -> None:
    decoded = decode(f"{T}|avail|AVAILABLE\r\n{T}|execution|ACTIVE|Xload|12.5|program|\n")
    assert [(row["tag"], row["value"]) for row in rows_of(decoded)] == [
        ("avail", "AVAILABLE"),
        ("execution", "ACTIVE"),
        ("Xload", "12.5"),
        ("program", ""),
    ]
    assert decoded.position.to_pylist() == [0, 1, 1, 1]
    assert decoded.row.to_pylist() == [0, 0, 1, 2]
    assert decoded.records == {5: 2}


def test_a_condition_is_recognised_by_its_level_or_by_name() -> None:
    seen = decode(f"{T}|C2travel|Unavailable||||\n{T}|servo|FAULT|E7|3|HIGH|too hot")
    assert rows_of(seen) == [
        {"time": T, "tag": "C2travel", "level": "Unavailable"},
        {
            "time": T,
            "tag": "servo",
            "level": "FAULT",
            "native_code": "E7",
            "native_severity": "3",
            "qualifier": "HIGH",
            "value": "too hot",
        },
    ]
    line = f"{T}|x|1|servo|warning|E7|||hot|msg|17|Door open|wave|2|100|1.5 2.5"
    named = rows_of(decode(line, conditions=["servo"], messages=["msg"], series=["wave"]))
    assert named[1] == {"time": T, "tag": "servo", "level": "warning", "native_code": "E7", "value": "hot"}
    assert named[2] == {"time": T, "tag": "msg", "native_code": "17", "value": "Door open"}
    assert named[3] == {"time": T, "tag": "wave", "sample_count": "2", "sample_rate": "100", "value": "1.5 2.5"}


def test_three_pairs_whose_first_value_is_a_level_stay_pairs_when_told_so() -> None:
    line = f"{T}|alarm|NORMAL|a|1|b|2"
    assert len(decode(line).feed) == 1
    assert len(decode(line, recognise=False).feed) == 3


def test_one_bad_pair_makes_the_line_undecodable_and_no_other() -> None:
    bad = [f"{T}|a|1|b", f"{T}||1", "2018-13-11T07:00:54Z|a|1", "yesterday|a|1", T]
    for line in bad:
        decoded = decode(f"{T}|x|1\n{line}\n{T}|y|2")
        assert [row["tag"] for row in rows_of(decoded)] == ["x", "y"]
        assert [(record.position, record.original) for record in decoded.undecodable] == [(1, line.encode())]
        assert decoded.undecodable[0].reason.startswith("record 2, line 2: ")


def test_commands_are_ignored_by_name() -> None:
    decoded = decode(f"* PONG 10000\n* adapterVersion: 2\n* PONG\n{T}|a|1")
    assert decoded.ignored == {5: {"shdr-pong": 2, "shdr-command": 1}}
    assert decoded.records == {5: 4}
    assert decoded.position.to_pylist() == [3]


def test_devices_durations_relative_and_missing_times_and_quoted_pipes() -> None:
    rows = rows_of(decode(f'{T}@12.5|m1:Xpos|1\n|a|2\n4500|a|3\n{T}|msg|"a\\|b"'))
    assert rows[0] == {"time": T, "duration": "12.5", "device": "m1", "tag": "Xpos", "value": "1"}
    assert rows[1] == {"tag": "a", "value": "2"}
    assert rows[2] == {"time": "4500", "tag": "a", "value": "3"}
    assert rows[3]["value"] == "a|b"


def test_columns_are_the_same_whatever_the_lines_hold() -> None:
    assert decode(f"{T}|a|1").fields.schema == decode(f"{T}@1|d:a|Fault||||x").fields.schema
    assert set(decode("").fields.schema.types) <= {pa.string()}
