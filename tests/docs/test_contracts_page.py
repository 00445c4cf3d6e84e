"""The page on contracts: its documents pass the check, its CSV and JSON give what it shows, its tables name what exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from weftline.codecs import registry
from weftline.service.operations import Operations
from weftline.service.plugins import check_folder
from weftline.service.wiring import open_fabric

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contracts.md"
FENCE = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TERMS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")


def blocks(*languages: str) -> list[tuple[str, str]]:
    return [(name, body) for language, name, body in FENCE.findall(PAGE.read_text()) if language in languages]


def shown() -> list[list[list[str]]]:
    """Return the answers of the page as lines of cells."""
    return [
        [re.split(r"\s{2,}", line) for line in body.splitlines()]
        for _, text in blocks("text")
        for body in text.split("\n\n")
    ]


def write(folder: Path, name: str, body: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "fabric"
    write(folder, "fabric.yaml", b"name: page\n")
    for name, body in blocks("yaml"):
        write(folder, name, body.encode())
    return folder


@pytest.fixture
def operations(page: Path) -> Iterator[Operations]:
    fabric = open_fabric(page)
    yield Operations(fabric)
    fabric.close()


def test_the_documents_of_the_page_pass_the_check(page: Path) -> None:
    checked = check_folder(page)
    assert len(blocks("yaml")) == 5
    assert (checked.complaints, checked.warnings) == ((), ())
    not_run = [rule.id for plans in checked.plans.values() for plan in plans for rule in plan.not_run]
    assert not_run == ["soda-check"]


def test_the_csv_of_the_page_gives_the_counts_rows_and_reasons_it_shows(operations: Operations, tmp_path: Path) -> None:
    [(name, body)] = blocks("csv")
    answer = operations.ingest("oven-batches", str(write(tmp_path, name, body.encode("windows-1252"))))
    counts, rows = shown()
    wanted = dict(zip(counts[0], counts[1], strict=True))
    assert {term: str(answer[term]) for term in TERMS} == {term: wanted[term] for term in TERMS}
    found = operations.query(
        "SELECT batch, strftime(started_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS started_at,"
        " CAST(round(temperature, 1) AS VARCHAR) AS temperature, CAST(energy AS VARCHAR) AS energy,"
        " CAST(good_parts AS VARCHAR) AS good_parts, coalesce(remark, 'nothing') AS remark FROM oven_batch ORDER BY batch"
    )
    assert [found.column_names, *(list(row.values()) for row in found.to_pylist())] == rows
    held = operations.quarantine()
    rules = {str(group["id"]).split("|")[1] for group in held}
    assert rules == {"started_at.required", "temperature.maximum", "temperature.required", "oven_batch.primaryKey"}
    assert all(f"`{rule}`" in PAGE.read_text() for rule in rules)


def test_the_json_of_the_page_gives_one_converted_row_and_one_ignored_record(
    operations: Operations, tmp_path: Path
) -> None:
    [(name, body)] = blocks("json")
    answer = operations.ingest("line-1", str(write(tmp_path, name, body.encode())))
    assert {term: answer[term] for term in TERMS if answer[term]} == {"received": 2, "stored": 1, "ignored": 1}
    found = operations.query("SELECT line, round(pressure, 1) AS pressure FROM line_reading").to_pylist()
    assert found == [{"line": "line-1", "pressure": 2.0}]


def test_the_tables_of_the_page_name_every_codec_and_option() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.read_text().partition("| Option of ")[2]))
    options = {name: msgspec.structs.fields(registry.options_of(name)) for name in registry.names()}
    missing = [name for name in options if name not in told]
    missing += [f"{name}.{one.name}" for name, found in options.items() for one in found if one.name not in told]
    assert missing == []
