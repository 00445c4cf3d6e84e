"""How the website writes numbers, times and the names that others chose."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from zoneinfo import ZoneInfo

from weftline.clock import from_micros

__all__ = [
    "age",
    "count",
    "decimal",
    "isotime",
    "milliseconds",
    "percent",
    "placed",
    "size",
    "visible",
    "visible_lines",
]

THIN = "\u202f"
ELLIPSIS = "…"
CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
JOINERS = {"\u200c", "\u200d", "\ufe0f"}
"""Format characters that emoji and scripts need to be drawn at all; they cannot reorder text."""


def age(seconds: float | None) -> str:
    """Return a duration as people say it: 0.4 s, 12 s, 47 min, 2 h 05 min, 3 d. Seconds; negative keeps its sign."""
    if seconds is None:
        return "unknown"
    if seconds < 0:
        return f"−{age(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d"


def milliseconds(value: float | None) -> tuple[str, str]:
    """Return a latency in milliseconds as (number, unit)."""
    if value is None:
        return "", ""
    if abs(value) < 9.95:
        return f"{value:.1f}", "ms"
    if abs(value) < 10_000:
        return f"{value:,.0f}", "ms"
    number, _, unit = age(value / 1000).partition(" ")
    return number, unit


def count(value: float | None) -> str:
    """Return a count with thousands separated; unknown stays a word."""
    return "unknown" if value is None else f"{value:,.0f}"


def decimal(value: float | None) -> str:
    """Return a rate with as many places as it deserves."""
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """Return a share 0–1 as a percentage number; only a full share is written 100."""
    if share is None:
        return "unknown"
    if share >= 1:
        return "100"
    return f"{min(share * 100, 99.99):.2f}" if share > 0.99 else f"{share * 100:.1f}"


def size(value: int) -> str:
    """Return bytes as B, kB, MB or GB."""
    number = float(value)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def isotime(micros: int) -> str:
    """Return a time as machines read it: UTC with microseconds."""
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def placed(micros: int, zone: ZoneInfo, now: int, *, fine: bool = False) -> str:
    """Return a time in the plant's zone; the day is told when it is not today, the year when it is not this one."""
    moment: datetime = from_micros(micros).astimezone(zone)
    today = from_micros(now).astimezone(zone)
    clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}" if fine else f"{moment:%H:%M:%S}"
    if moment.date() == today.date():
        return clock
    day = f"{moment.day} {moment:%b}" if moment.year == today.year else f"{moment.day} {moment:%b %Y}"
    return f"{day} {clock if fine else format(moment, '%H:%M')}"


def _shown(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in CONTROL:
        return character
    # The pictures of control characters (U+2400 …) are missing from most fonts; their numbers are not.
    return f"⟨U+{ord(character):04X}⟩"


def visible(text: object, limit: int = 0) -> str:
    """Return text in which no character is invisible or turns the line around, cut at `limit` when given."""
    whole = str(text)
    shown = whole if whole.isascii() and whole.isprintable() else "".join(map(_shown, whole[: limit * 2 or None]))
    return shown if not limit or len(shown) <= limit else shown[: limit - 1] + ELLIPSIS


def visible_lines(text: str) -> str:
    """Return several lines of text made visible; line ends stay line ends, tabs stay tabs."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)
