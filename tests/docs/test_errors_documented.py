"""Every code a person can meet has a heading in docs/errors, and every heading is a code that still exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "weftline"
PAGES = sorted((ROOT / "docs" / "errors").glob("*.md"))
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
HEADING = re.compile(r"^## `?([^`\n]+?)`?$", re.MULTILINE)
SENTENCE = re.compile(r"[.:]\s*$")


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def codes_in(tree: ast.AST) -> set[str]:
    """Return codes of error classes, of Complaint literals and of `code=` arguments."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, "target", None)
                if isinstance(target, ast.Name) and target.id == "code" and not _is_record(node):
                    found.add(_text(part.value))  # type: ignore[attr-defined]
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name == "Complaint" and node.args:
                found.add(_text(node.args[0]))
            found |= {_text(word.value) for word in node.keywords if word.arg == "code"}
    return {code for code in found if CODE.fullmatch(code)}


def _is_record(node: ast.ClassDef) -> bool:
    return any(getattr(base, "attr", getattr(base, "id", "")) in {"Struct", "NamedTuple"} for base in node.bases)


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


@cache
def headings() -> Counter[str]:
    return Counter(code for page in PAGES for code in HEADING.findall(page.read_text("utf-8")))


def test_every_code_in_the_source_is_documented() -> None:
    missing = {
        code: str(path.relative_to(ROOT))
        for path, tree in trees().items()
        for code in codes_in(tree)
        if not headings()[code]
    }
    assert missing == {}, "write a `## code` heading with one to three sentences in docs/errors/<package>.md"


def test_every_documented_code_is_in_the_source() -> None:
    literals = {_text(node) for tree in trees().values() for node in ast.walk(tree)}
    # Codes built from a word: feed-connection, feed-partner, feed-site (fabric/expand.py); http-404, http-405 (api).
    literals |= {f"feed-{word}" for word in ("connection", "partner", "site")}
    literals |= {f"http-{status}" for status in (404, 405)}
    assert {code for code in headings() if code not in literals} == set()


def test_a_code_is_documented_once() -> None:
    assert [code for code, times in headings().items() if times > 1] == []


def test_every_heading_is_a_code_with_words_below_it() -> None:
    bad = []
    for page in PAGES:
        _, *parts = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
        for part in parts:
            title, _, body = part.partition("\n")
            if not CODE.fullmatch(title.strip("`")) or not SENTENCE.search(body.strip() or "-"):
                bad.append(f"{page.name}: {title}")
    assert bad == []


def test_the_reader_of_the_source_finds_all_three_ways_to_write_a_code() -> None:
    text = """
class One(InputError):
    code = "class-code"
class Two(InputError):
    code: ClassVar[str] = "typed-code"
class View(Struct):
    code = "no-code"
Complaint("literal-code", place)
undecodable(code="keyword-code")
"""
    assert codes_in(ast.parse(text)) == {"class-code", "typed-code", "literal-code", "keyword-code"}
