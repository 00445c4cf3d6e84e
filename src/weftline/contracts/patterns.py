"""Regular expressions of Weftline SQL and of contracts: a subset that every engine reads alike.

The subset is what RE2 and ECMA-262 share: literals, classes, groups, alternation, anchors, bounded and unbounded
repeats, `\\d \\w \\s \\b` (ASCII), and `(?i)`, `(?s)`, `(?m)` at the start. Look-around, back-references, atomic groups and
possessive repeats need backtracking, so they are refused with their place. A pattern is searched for, not anchored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weftline.errors import InputError

__all__ = ["Pattern", "PatternError", "read_pattern"]

LONGEST = 2000
MOST_REPEATS = 1000
"""RE2's limit of a counted repeat, nested counts multiplied."""
ESCAPES = frozenset("dDwWsSbBtnrfvA")
POSIX = (
    "alnum",
    "alpha",
    "ascii",
    "blank",
    "cntrl",
    "digit",
    "graph",
    "lower",
    "print",
    "punct",
    "space",
    "upper",
    "xdigit",
)
COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")
START_FLAGS = re.compile(r"\(\?([ims]+)\)")
HEX = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")


class PatternError(InputError):
    """Say which part of a regular expression is not in the subset, and where."""

    code = "pattern"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern as RE2 reads it, and how many groups it captures."""

    text: str
    groups: int


class Reader:
    """Walk a pattern once, left to right."""

    def __init__(self, text: str, place: str) -> None:
        self.text = text
        self.place = place
        self.at = 0
        self.groups = 0
        self.out: list[str] = []
        self.repeats: list[int] = [1]
        """Largest counted repeat inside each open group, to bound what nesting multiplies."""

    def refuse(self, found: str, expected: str, next_step: str = "") -> PatternError:
        return PatternError(
            place=self.place,
            found=f"{found} at character {self.at + 1} of the pattern",
            expected=expected,
            next_step=next_step,
        )

    def take(self, count: int = 1) -> str:
        part = self.text[self.at : self.at + count]
        self.at += count
        self.out.append(part)
        return part

    def read(self) -> Pattern:
        start = START_FLAGS.match(self.text)
        if start:
            self.take(len(start.group()))
        repeatable = False
        inner = 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "(":
                self.open_group()
                repeatable = False
            elif char == ")":
                if len(self.repeats) == 1:
                    raise self.refuse("a ')' without its '('", "balanced groups")
                inner = self.repeats.pop()
                self.take()
                repeatable = True
            elif char in "*+?{":
                counted = COUNT.match(self.text, self.at)
                if char == "{" and not counted:
                    self.literal("{")
                    repeatable, inner = True, 1
                    continue
                self.repeat(repeatable, inner, counted)
                repeatable = False
            else:
                repeatable = self.single(char)
                inner = 1
        if len(self.repeats) > 1:
            raise self.refuse("the end", "a ')' for every '('")
        return Pattern("".join(self.out), self.groups)

    def single(self, char: str) -> bool:
        if char == "[":
            self.char_class()
        elif char == "\\":
            return self.escape()
        elif char in "}]":
            self.literal(char)
        else:
            self.take()
        return char not in "^$|"

    def literal(self, char: str) -> None:
        self.out.append("\\" + char)
        self.at += 1

    def open_group(self) -> None:
        rest = self.text[self.at : self.at + 4]
        if rest.startswith("(?:"):
            self.take(3)
        elif rest.startswith(("(?=", "(?!", "(?<=", "(?<!")):
            raise self.refuse(f"the look-around '{rest[:3]}'", "a pattern without look-around", LOOK_AROUND)
        elif rest.startswith("(?"):
            raise self.refuse(f"the group '{rest}'", "(…), (?:…), or (?i), (?m), (?s) at the very start")
        else:
            self.groups += 1
            self.take()
        self.repeats.append(1)

    def repeat(self, repeatable: bool, inner: int, counted: re.Match[str] | None) -> None:
        if not repeatable:
            raise self.refuse(f"a repeat '{self.text[self.at]}'", "something to repeat before it")
        times = 1
        if counted:
            low, high = int(counted[1]), int(counted[3] or counted[1])
            times = max(low, high) * inner
            if times > MOST_REPEATS or (counted[3] and high < low):
                raise self.refuse(f"the repeat {counted.group()}", f"at most {MOST_REPEATS} times, the smaller first")
        self.repeats[-1] = max(self.repeats[-1], times, inner)
        self.take(len(counted.group()) if counted else 1)
        if self.text[self.at : self.at + 1] == "?":
            self.take()
        elif self.text[self.at : self.at + 1] == "+":
            raise self.refuse("a possessive repeat", "a plain or lazy repeat")

    def escape(self) -> bool:
        char = self.text[self.at + 1 : self.at + 2]
        point = HEX.match(self.text, self.at + 1)
        if point:
            self.code_point(point)
            return True
        if char.isdigit() or char in ("k", "g"):
            raise self.refuse(f"the back-reference '\\{char}'", "a pattern without back-references")
        if char in ESCAPES:
            self.take(2)
            return char not in "bBA"
        if char == "/" or (char.isascii() and not char.isalnum() and char not in ("", "_")):
            self.take(2)
            return True
        raise self.refuse(
            f"the escape '\\{char}'", "one of \\d \\w \\s \\b \\t \\n \\r \\xHH \\uHHHH or an escaped sign"
        )

    def code_point(self, match: re.Match[str]) -> None:
        value = int(next(part for part in match.groups() if part), 16)
        if not 0 < value <= 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise self.refuse(f"the code point '\\{match.group()}'", "a Unicode scalar value above 0")
        self.out.append(f"\\x{{{value:X}}}")
        self.at += 1 + len(match.group())

    def char_class(self) -> None:
        self.take()
        if self.text[self.at : self.at + 1] == "^":
            self.take()
        first = True
        while True:
            char = self.text[self.at : self.at + 1]
            if not char:
                raise self.refuse("the end", "a ']' for the '['")
            if char == "]" and not first:
                self.take()
                return
            first = False
            if char == "\\":
                self.class_escape()
            elif char == "[":
                self.posix()
            elif char == "]":
                self.literal("]")
            elif self.text[self.at : self.at + 2] in ("&&", "--", "~~", "||"):
                raise self.refuse(f"the class operation '{char}{char}'", "a plain character class")
            else:
                self.take()

    def class_escape(self) -> None:
        if self.text[self.at + 1 : self.at + 2] in ("b", "B", "A"):
            raise self.refuse("a boundary in a character class", "characters")
        self.escape()

    def posix(self) -> None:
        match = re.compile(r"\[:\^?([a-z]+):\]").match(self.text, self.at)
        if match and match[1] in POSIX:
            self.take(len(match.group()))
        else:
            self.literal("[")


LOOK_AROUND = "Write two rules instead, one for what must match and one for what must not."


def read_pattern(text: str, *, place: str = "pattern") -> Pattern:
    """Check a pattern and return it as RE2 reads it; anything outside the subset is refused with its place."""
    reader = Reader(text, place)
    if len(text) > LONGEST:
        raise reader.refuse(f"{len(text)} characters", f"at most {LONGEST}")
    pattern = reader.read()
    try:
        re.compile(PYTHON_POINT.sub(_python_point, pattern.text))
    except (re.error, FutureWarning, OverflowError) as error:
        reader.at = getattr(error, "pos", None) or 0
        raise reader.refuse(f"a fault ({getattr(error, 'msg', error)})", "a valid regular expression") from error
    return pattern


PYTHON_POINT = re.compile(r"\\x\{([0-9A-F]+)\}|\[:\^?[a-z]+:\]")


def _python_point(match: re.Match[str]) -> str:
    """Rewrite what Python spells otherwise, so that its parser can judge the rest (ranges, bounds)."""
    return f"\\U{int(match[1], 16):08X}" if match[1] else "a"
