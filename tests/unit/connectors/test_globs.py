"""Globs of drop folders: what they match, which is more specific, what is refused."""

from __future__ import annotations

import pytest

from weftline.connectors.files.globs import GlobError, most_specific, parse, ties


@pytest.mark.parametrize(
    ("glob", "matches", "misses"),
    [
        ("*.csv", ["a.csv", "a.b.csv"], ["a.csv.gz", "x/a.csv", "acsv"]),
        ("press-?/*.csv", ["press-4/a.csv"], ["press-44/a.csv", "press-4/x/a.csv"]),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/a.csv"], ["a.txt"]),
        ("in/**", ["in/a", "in/x/a"], ["out/a", "in"]),
        ("a+(b).csv", ["a+(b).csv"], ["aab.csv"]),
    ],
)
def test_globs_match_names_and_folders(glob: str, matches: list[str], misses: list[str]) -> None:
    pattern = parse(glob, "feed x").pattern
    assert [name for name in matches if not pattern.fullmatch(name)] == []
    assert [name for name in misses if pattern.fullmatch(name)] == []


@pytest.mark.parametrize("glob", ["/etc/*", "../*", "a/../b", "a//b", "a\\b", ""])
def test_globs_never_leave_the_folder(glob: str) -> None:
    with pytest.raises(GlobError):
        parse(glob, "feed x")


def test_the_most_specific_glob_wins_and_equal_ones_are_ties() -> None:
    globs = {name: parse(text, name) for name, text in {"all": "**", "csv": "**/*.csv", "four": "p4/*.csv"}.items()}
    assert [most_specific(globs, name) for name in ("p4/a.csv", "p5/a.csv", "a.txt")] == ["four", "csv", "all"]
    assert most_specific({"four": globs["four"]}, "a.txt") is None
    assert list(ties({**globs, "again": parse("**", "again")})) == [("again", "all")]
