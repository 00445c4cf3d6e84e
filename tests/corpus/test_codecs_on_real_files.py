"""Real files of formats the codecs read: every byte has an outcome, and known files have known counts."""

from __future__ import annotations

import collections
import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from weftline.batch import Decoded, Frame
from weftline.codecs import registry
from weftline.codecs.archive import members
from weftline.codecs.base import Limits
from weftline.testing.codec_conformance import rows_of

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("WEFTLINE_CORPUS", ROOT.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")
BY_SUFFIX = {".csv": "csv", ".json": "json", ".jsonl": "ndjson", ".parquet": "parquet", ".xlsx": "xlsx"}
FILES = sorted(path for path in CORPUS.rglob("*") if path.suffix in BY_SUFFIX) if CORPUS.is_dir() else []


def read(path: Path, name: str, **given: Any) -> list[Decoded]:
    codec, options = registry.codec(name), registry.read_options(name, given)
    return [
        codec.decode([Frame(block.offset, 1, 1, b"", block.attributes, block.payload)], options, {}, Limits())
        for block in codec.blocks(path, options, 0, Limits())
    ]


@pytest.mark.parametrize(
    ("name", "records", "conditions"),
    [("Mazak01-20180802-20180803", 30_396, 76), ("Hurco01-20170518-20170519", 2_211, 0)],
)
def test_a_real_machine_gives_a_row_for_every_line(name: str, records: int, conditions: int) -> None:
    parts = read(CORPUS / "iiot/nist-smstestbed/raw" / f"{name}.txt", "shdr")
    assert sum(part.records[1] for part in parts) == records
    assert not any(part.undecodable for part in parts)
    rows = [row for part in parts for row in rows_of(part)]
    assert len(rows) == records
    assert sum("level" in row for row in rows) == conditions


def test_the_rows_of_a_real_machine_are_what_splitting_its_lines_gives() -> None:
    path = CORPUS / "iiot/nist-smstestbed/raw/Mazak01-20180802-20180803.txt"
    lines = [line.split("|") for line in path.read_text().splitlines()]
    plain = [(line[0], line[1], line[2]) for line in lines if len(line) == 3]
    rows = [row for part in read(path, "shdr") for row in rows_of(part) if "level" not in row]
    assert [(row["time"], row["tag"], row["value"]) for row in rows] == plain


@pytest.mark.parametrize("suffix", sorted({path.suffix for path in FILES}))
def test_every_real_file_is_read_or_refused_with_reasons(suffix: str) -> None:
    for path in FILES:
        if path.suffix != suffix:
            continue
        parts = read(path, BY_SUFFIX[suffix])
        records = sum(sum(part.records.values()) for part in parts)
        refused = collections.Counter(record.code for part in parts for record in part.undecodable)
        places = sum(len(set(zip(p.frame.to_pylist(), p.position.to_pylist(), strict=True))) for p in parts)
        assert records == places + refused.total(), path
        assert records > 0 or path.stat().st_size == 0, path


@pytest.mark.parametrize("name", ["lineitem", "orders", "part", "customer", "nation", "region", "partsupp"])
def test_packed_tables_are_read_whole(name: str, tmp_path: Path) -> None:
    packed = CORPUS / f"governance/sql/tpc-h/{name}.csv.gz"
    (member,) = members(packed, Limits())
    path = tmp_path / member.name
    lines = gzip.decompress(packed.read_bytes())
    path.write_bytes(lines)
    parts = read(path, "csv", delimiter="auto")
    assert sum(part.records[1] for part in parts) == lines.count(b"\n") - 1
    assert not any(part.undecodable for part in parts)
