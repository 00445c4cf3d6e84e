"""Globs of a drop folder: which feed takes which file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from weftline.errors import InputError

__all__ = ["Glob", "GlobError", "most_specific", "parse", "ties"]


class GlobError(InputError):
    """Say why a glob cannot be used."""

    code = "files-glob"


class Glob(NamedTuple):
    """One compiled glob. `literal` counts the characters that are not wildcards: more of them is more specific."""

    text: str
    pattern: re.Pattern[str]
    literal: int
    depth: int
    """Folders below the root it can reach; -1 = any number."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Order globs by how specific they are."""
        return "**" not in self.text, self.literal


def parse(text: str, place: str) -> Glob:
    """Compile a glob; raises GlobError for one that leaves the folder or cannot match."""
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "" in parts or "\\" in text:
        raise GlobError(
            place=place,
            found=f"the glob '{text}'",
            expected="folders and names below the connection's path, parted by single '/'",
            next_step="Write it relative to the drop folder, as 'press-4/*.csv'.",
        )
    pieces: list[str] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            pieces.append(".+" if last else "(?:[^/]+/)*")
        else:
            pieces.append("".join(_character(one) for one in part) + ("" if last else "/"))
    literal = sum(one not in "*?" for one in text)
    return Glob(text, re.compile("".join(pieces)), literal, -1 if "**" in parts else len(parts) - 1)


def _character(one: str) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(one) or re.escape(one)


def most_specific(globs: Mapping[str, Glob], relative: str) -> str | None:
    """Return the feed whose glob takes this file, or None; ties are refused by `check` before."""
    matching = [(glob.rank, feed) for feed, glob in globs.items() if glob.pattern.fullmatch(relative)]
    return max(matching)[1] if matching else None


def ties(globs: Mapping[str, Glob]) -> Sequence[tuple[str, str]]:
    """Return pairs of feeds with the same glob; the later one is named first."""
    first: dict[str, str] = {}
    found = []
    for feed, glob in globs.items():
        if glob.text in first:
            found.append((feed, first[glob.text]))
        first.setdefault(glob.text, feed)
    return found
