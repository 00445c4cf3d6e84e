"""What the pages name exists: commands, make targets, files, pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```\w*[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`\s(])weftline ((?:[a-z]+)(?: [a-z]+)?)", re.MULTILINE)
MAKE = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)
PICTURE_BYTES = 300_000


def known_commands() -> set[str]:
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "tools" / "cli_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name for name, _ in module.commands()}


def in_code(text: str) -> str:
    return "\n".join([*FENCE.findall(text), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(FENCE.sub("", page.read_text()))]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/demo.md", "CONTRIBUTING.md"])
def test_commands_named_on_a_page_exist(page: str) -> None:
    text = in_code((ROOT / page).read_text())
    known = known_commands()
    groups = {name.split()[0] for name in known if " " in name}
    for words in COMMAND.findall(text):
        first = words.split()[0]
        assert words in known if first in groups else first in known, f"{page} names `weftline {words}`"


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "CONTRIBUTING.md"])
def test_make_targets_named_on_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(MAKE.findall(in_code((ROOT / page).read_text()))) <= targets


def test_the_readme_shows_its_two_commands_first() -> None:
    first = FENCE.findall(README.read_text())[0]
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == ["make demo", "make test"]


def test_the_readme_shows_a_real_picture_of_modest_size() -> None:
    pictures = [README.parent / link for link in LINK.findall(README.read_text()) if link.endswith(".png")]
    assert pictures
    for picture in pictures:
        data = picture.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert 10_000 < len(data) < PICTURE_BYTES, picture.name
