"""What goes on the wire: vendored files as they came, budgets, no inline code, no address of another host."""

from __future__ import annotations

import gzip
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from weftline.web.assets import DIGEST, STATIC, asset_url

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((STATIC.parent / "templates").rglob("*.html"))
FIRST_PARTY = sorted(path for path in STATIC.glob("*") if path.suffix in {".js", ".css", ".svg"})


@pytest.mark.parametrize("folder", [STATIC / "vendor", ROOT / "tests" / "vendor"], ids=["shipped", "tests"])
def test_vendored_files_are_what_the_list_says(folder: Path) -> None:
    listed = tomllib.loads((folder / "vendor.toml").read_text())["file"]
    for entry in listed:
        assert hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest() == entry["sha256"], entry["path"]
        assert (folder / entry["licence_file"]).is_file()
    named = {entry["path"] for entry in listed} | {entry["licence_file"] for entry in listed} | {"vendor.toml"}
    assert {path.name for path in folder.iterdir()} == named


def packed(*suffixes: str) -> int:
    found = [path for path in STATIC.rglob("*") if path.suffix in suffixes]
    assert found
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in found)


def test_scripts_and_styles_stay_within_their_budgets() -> None:
    assert packed(".js") <= 60_000
    assert packed(".css") <= 25_000


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_inline_code_or_style(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|\bjs:", text)


@pytest.mark.parametrize("path", [*TEMPLATES, *FIRST_PARTY], ids=lambda path: path.name)
def test_nothing_names_another_host(path: Path) -> None:
    urls = set(re.findall(r"https?://[^\s\"'<>)]+", path.read_text())) - {"http://www.w3.org/2000/svg"}
    assert not urls


def test_static_addresses_change_with_the_content() -> None:
    assert asset_url("app.css") == f"/static/{DIGEST}/app.css"
    with pytest.raises(KeyError):
        asset_url("nothing.css")
