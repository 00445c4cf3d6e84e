"""The acceptance pages name tests that exist, and every row says how it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "acceptance").glob("[0-9]*.md"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| (?!Asked|---)(.+?) \| (.+) \| ([^|]+) \|$", re.MULTILINE)
VERDICTS = ("shown", "partly", "missing")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_each_named_test_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert named
    gone = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_each_row_says_how_it_stands(page: Path) -> None:
    rows = ROW.findall(page.read_text())
    assert len(rows) > 20
    assert [row for row in rows if not row[2].startswith(VERDICTS)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_is_partly_or_missing_says_what_is_left(page: Path) -> None:
    assert [row for row in ROW.findall(page.read_text()) if row[2].strip() in {"partly", "missing"}] == []
