"""Every registered codec keeps the promises of codecs/base.py, on whole and on broken bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from weftline.codecs import registry
from weftline.codecs.decode_process import DecodeProcess
from weftline.testing.codec_conformance import SAMPLES, CodecConformance, ConformanceError
from weftline.testing.fuzz import fuzz, mutate


@pytest.fixture(scope="module")
def process() -> Iterator[DecodeProcess]:
    made = DecodeProcess(seconds=20.0, memory_bytes=512 << 20)
    yield made
    made.close()


@pytest.fixture(params=registry.names())
def suite(request: pytest.FixtureRequest, process: DecodeProcess) -> CodecConformance:
    return CodecConformance(request.param, process)


def test_every_registered_codec_has_a_sample() -> None:
    assert set(registry.names()) <= set(SAMPLES)


def test_a_whole_payload_is_read_without_loss(suite: CodecConformance) -> None:
    decoded = suite.examine(suite.sample.payload)
    assert not decoded.undecodable
    assert decoded.records[7] >= 3


def test_broken_bytes_give_a_clear_outcome_and_spare_their_neighbours(suite: CodecConformance) -> None:
    for name, payload in suite.cases():
        try:
            suite.examine(payload)
        except ConformanceError as error:
            pytest.fail(f"{name}: {error}")


def test_a_broken_record_never_takes_its_neighbours(suite: CodecConformance) -> None:
    suite.check_lines()


def test_a_record_decodes_again_from_its_original(suite: CodecConformance) -> None:
    suite.check_replay()


def test_blocks_of_a_file_decode_to_what_the_file_decodes_to(suite: CodecConformance, tmp_path: Path) -> None:
    suite.check_blocks(tmp_path, 5 << 20)


def test_seeded_mutations_break_no_promise(suite: CodecConformance, process: DecodeProcess) -> None:
    found = fuzz(suite.codec.name, rounds=60 if suite.codec.isolated else 250, seed=20261122, process=process)
    assert not found.broken, f"seed {found.seed}, round {found.rounds}: {found.broken}"


def test_a_mutation_is_repeated_by_its_seed() -> None:
    import random

    assert mutate(b"a,b\n1,2\n", random.Random("x")) == mutate(b"a,b\n1,2\n", random.Random("x"))
