"""Shared steps of a plan: each expression is computed once, in a query stage after those it reads.

Names of ours are `n`, `feed`, `received`, `s0` … (source fields), `p0` … (parameters) and `x0` … (steps). No name of a
document ever stands in the SQL except as a quoted output column.
"""

from __future__ import annotations

import re

__all__ = ["Stages"]

QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
NAME = re.compile(r"[a-z]+[0-9]*")
STEP = re.compile(r"\bx([0-9]+)\b")


class Stages:
    """Collect steps; equal SQL is one step."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.levels: list[int] = []
        self.texts: list[str] = []

    def level(self, sql: str) -> int:
        """Return the stage in which an expression can be computed."""
        used = [self.levels[int(number)] for number in STEP.findall(QUOTED.sub("", sql))]
        return max(used, default=-1) + 1

    def bind(self, sql: str) -> str:
        """Keep a step and return its name; a name is its own."""
        if NAME.fullmatch(sql):
            return sql
        name = self.known.get(sql)
        if name is None:
            name = f"x{len(self.texts)}"
            self.levels.append(self.level(sql))
            self.texts.append(sql)
            self.known[sql] = name
        return name

    def query(self, columns: list[tuple[str, str]], base: str, *, suffix: str = "") -> str:
        """Return a query of output columns (name, expression) over the base query, with only the steps it needs."""
        needed = self.needed([sql for _, sql in columns] + [suffix])
        stages: dict[int, list[int]] = {}
        for number in sorted(needed):
            stages.setdefault(self.levels[number], []).append(number)
        source = f"({base})"
        for level in sorted(stages):
            steps = ", ".join(f"{self.texts[number]} AS x{number}" for number in stages[level])
            source = f"(SELECT *, {steps} FROM {source})"  # noqa: S608 - names of ours
        listed = ", ".join(f"{sql} AS {name}" for name, sql in columns)
        return f"SELECT {listed} FROM {source}{suffix}"  # noqa: S608 - names of ours

    def needed(self, texts: list[str]) -> set[int]:
        """Return the numbers of all steps that these expressions read, directly or not."""
        found: set[int] = set()
        open_texts = list(texts)
        while open_texts:
            for number in map(int, STEP.findall(QUOTED.sub("", open_texts.pop()))):
                if number not in found:
                    found.add(number)
                    open_texts.append(self.texts[number])
        return found
