"""Date and time formats as ODCS writes them (the letters of JDK DateTimeFormatter), checked and translated.

Each format becomes a strict pattern (so `dd` is two digits in every engine) and a `strptime` format for the calendar.
Known letters: yyyy yy MM M dd d DDD HH H hh h mm m ss s S…S a EEE EEEE MMM MMMM X XX XXX Z, and text in single quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weftline.errors import InputError

__all__ = ["TimeFormat", "TimeFormatError", "read_time_format"]

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
OFFSET = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"

LETTERS: dict[str, tuple[str, str]] = {
    "yyyy": ("[0-9]{4}", "%Y"),
    "uuuu": ("[0-9]{4}", "%Y"),
    "yy": ("[0-9]{2}", "%y"),
    "MM": ("[0-9]{2}", "%m"),
    "M": ("[0-9]{1,2}", "%m"),
    "MMM": (f"(?:{'|'.join(name[:3] for name in MONTHS.split('|'))})", "%b"),
    "MMMM": (f"(?:{MONTHS})", "%B"),
    "dd": ("[0-9]{2}", "%d"),
    "d": ("[0-9]{1,2}", "%d"),
    "DDD": ("[0-9]{3}", "%j"),
    "HH": ("[0-9]{2}", "%H"),
    "H": ("[0-9]{1,2}", "%H"),
    "hh": ("[0-9]{2}", "%I"),
    "h": ("[0-9]{1,2}", "%I"),
    "mm": ("[0-9]{2}", "%M"),
    "m": ("[0-9]{1,2}", "%M"),
    "ss": ("[0-9]{2}", "%S"),
    "s": ("[0-9]{1,2}", "%S"),
    "a": ("(?:AM|PM)", "%p"),
    "EEE": (f"(?:{'|'.join(name[:3] for name in DAYS.split('|'))})", "%a"),
    "EEEE": (f"(?:{DAYS})", "%A"),
    **dict.fromkeys(("X", "XX", "XXX", "Z", "xx", "xxx"), (OFFSET, "%z")),
    **{"S" * digits: (f"[0-9]{{{digits}}}", "%f") for digits in range(1, 7)},
    **{"S" * digits: (f"[0-9]{{{digits}}}", "%n") for digits in range(7, 10)},
}
TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']")


class TimeFormatError(InputError):
    """Say which letters of a date or time format are not known, and where."""

    code = "time-format"


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One format: `pattern` must match the whole text, `strptime` reads it. `offset` = the text states its UTC offset."""

    text: str
    pattern: str
    strptime: str
    offset: bool
    has_date: bool
    has_time: bool


def read_time_format(text: str, *, place: str = "format") -> TimeFormat:
    """Translate a format; unknown letters, an empty format and a date without day are refused."""
    pattern: list[str] = []
    strptime: list[str] = []
    used: set[str] = set()
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            raise _refuse(text, at, place, "a quote without its end", "text in single quotes")
        if token[2]:
            known = LETTERS.get(token.group())
            if known is None or (known[1] in used):
                raise _refuse(
                    text, at, place, f"'{token.group()}'", "known letters, each meaning once: " + ", ".join(LETTERS)
                )
            pattern.append(known[0])
            strptime.append(known[1])
            used.add(known[1])
        else:
            literal = (token[1].replace("''", "'") or "'") if token[1] is not None else token.group()
            pattern.append(re.escape(literal))
            strptime.append(literal.replace("%", "%%"))
        at = token.end()
    date = bool(used & {"%Y", "%y"}) and ("%j" in used or (bool(used & {"%m", "%b", "%B"}) and "%d" in used))
    time = "%H" in used or {"%I", "%p"} <= used
    if not date and not time:
        raise _refuse(text, 0, place, f"the format '{text}'", "a date (year, month, day), a time of day, or both")
    return TimeFormat(text, "".join(pattern), "".join(strptime), "%z" in used, date, time)


def _refuse(text: str, at: int, place: str, found: str, expected: str) -> TimeFormatError:
    return TimeFormatError(place=place, found=f"{found} at character {at + 1} of '{text[:60]}'", expected=expected)
