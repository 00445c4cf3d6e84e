"""The decode process: whatever a parser does, it costs one frame."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from weftline.batch import Frame
from weftline.codecs import registry
from weftline.codecs.base import Limits
from weftline.codecs.decode_process import DecodeProcess
from weftline.codecs.plain import PlainOptions
from weftline.testing.codec_conformance import SAMPLES, rows_of
from weftline.testing.hostile_codecs import HostileCodec


@pytest.fixture
def process() -> Iterator[DecodeProcess]:
    made = DecodeProcess(seconds=2.0, memory_bytes=256 << 20)
    yield made
    made.close()


@pytest.mark.slow(reason="each fault costs the start of two processes")
def test_a_frame_that_ends_the_process_twice_is_refused_and_its_neighbours_are_read(process: DecodeProcess) -> None:
    payloads = [b"1", b"die", b"2", b"raise", b"eat", b"loop", b"3"]
    frames = [Frame(n, 4, 9, b"", b"", payload) for n, payload in enumerate(payloads)]
    decoded = process.decode(HostileCodec(), frames, PlainOptions(), {}, Limits())
    assert rows_of(decoded) == [{"value": "1"}, {"value": "2"}, {"value": "3"}]
    assert decoded.frame.to_pylist() == [0, 2, 6]
    assert [(record.frame, record.code, record.original) for record in decoded.undecodable] == [
        (at, "decode-killed", payloads[at]) for at in (1, 3, 4, 5)
    ]
    assert "no answer after 2 s" in decoded.undecodable[3].reason
    assert decoded.records == {4: 7}
    assert process.kills == 8


def test_an_isolated_codec_decodes_as_it_would_here(process: DecodeProcess) -> None:
    codec = registry.codec("xlsx")
    away = process.isolate(codec)
    options = registry.read_options("xlsx", {})
    frames = [Frame(n, 4, 9, b"", b"", payload) for n, payload in enumerate([SAMPLES["xlsx"]().payload, b"PK broken"])]
    here = codec.decode(frames, options, {}, Limits())
    there = away.decode(frames, options, {}, Limits())
    assert rows_of(there) == rows_of(here) == [{"id": n, "part": f"p{n}"} for n in range(3)]
    assert there.undecodable == here.undecodable
    assert there.original is not None
    assert there.original(pa.array([2])).to_pylist() == [b'{"id":2,"part":"p2"}']
    assert process.isolate(registry.codec("json")) is registry.codec("json")


def test_a_codec_is_isolated_where_the_format_asks_for_it() -> None:
    assert [name for name in registry.names() if registry.codec(name).isolated] == ["xlsx"]
