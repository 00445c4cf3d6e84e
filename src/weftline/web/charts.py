"""Charts as geometry in per cent, drawn by templates/parts/chart.html: labels keep their size at any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from weftline.clock import from_micros

__all__ = ["Bar", "Chart", "Hole", "Series", "bars", "line_chart", "sparkline"]

WIDTH, HEIGHT = 1000, 200
"""The stretched view box of the lines; strokes do not scale with it."""


class Series(NamedTuple):
    """One line: points of (x, value or None); None breaks the line. `style` is data, data2 or data3."""

    label: str
    points: Sequence[tuple[float, float | None]]
    style: str = "data"


class Hole(NamedTuple):
    """A stretch of which nothing is known, from x to x."""

    start: float
    end: float
    label: str


class Mark(NamedTuple):
    """A label at a share of the axis, in per cent from the left or the top."""

    at: float
    label: str
    style: str = ""
    width: float = 0.0


class Chart(NamedTuple):
    """What the template draws."""

    title: str
    summary: str
    paths: list[tuple[str, str]]
    y_ticks: list[Mark]
    x_ticks: list[Mark]
    holes: list[Mark]
    ends: list[Mark]
    rows: list[tuple[str, list[str]]]
    """The table twin: a time and one text per series."""
    columns: list[str]


class Bar(NamedTuple):
    """One bar of a small bar chart; x, y, width and height in pixels of its box."""

    x: float
    y: float
    width: float
    height: float
    value: int


def _ticks(top: float) -> list[float]:
    """Return round numbers from 0 that reach at least to `top`, three to six of them."""
    if top <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(top / 4))
    tick = next(step * magnitude for step in (1, 2, 2.5, 5, 10) if step * magnitude * 4 >= top * 0.999)
    return [tick * step for step in range(math.ceil(top / tick * 0.999) + 1)]


def _path(points: Sequence[tuple[float, float | None]], left: float, span: float, top: float, rise: float) -> str:
    parts: list[str] = []
    pen_down = False
    for x, value in points:
        if value is None:
            pen_down = False
            continue
        spot = f"{(x - left) / span * WIDTH:.1f} {HEIGHT - min(value, top) / rise * HEIGHT:.1f}"
        # A lone point between two holes still shows: a line of no length has round ends.
        parts.append(f"L{spot}" if pen_down else f"M{spot}h0")
        pen_down = True
    return "".join(parts)


def _apart(marks: list[Mark], distance: float) -> list[Mark]:
    """Push labels at the line ends apart so that none covers another."""
    placed: list[Mark] = []
    for mark in sorted(marks):
        at = max(mark.at, placed[-1].at + distance) if placed else mark.at
        placed.append(mark._replace(at=min(at, 97.0)))
    return placed


def _named(holes: list[Mark]) -> list[Mark]:
    """Give a label to those holes that have room for one; the others are told by the table and the gaps list."""
    free = -100.0
    found: list[Mark] = []
    for hole in holes:
        named = hole.at - free > 20
        free = hole.at if named else free
        found.append(hole._replace(style="named" if named else ""))
    return found


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    zone: ZoneInfo,
    unit: str,
    number: Callable[[float], str],
    holes: Sequence[Hole] = (),
    top: float | None = None,
) -> Chart | None:
    """Return lines over time (x in microseconds UTC), or None where there is no point at all."""
    xs = [x for line in series for x, _ in line.points] + [edge for hole in holes for edge in hole[:2]]
    values = [value for line in series for _, value in line.points if value is not None]
    if not xs or not values or max(xs) <= min(xs):
        return None
    left, right = min(xs), max(xs)
    span = right - left
    ticks = _ticks(top if top is not None else max(values))
    ceiling = ticks[-1]
    y_ticks = [Mark(100 - tick / ceiling * 100, f"{tick:,.6g}") for tick in ticks]
    short = span < 180_000_000

    def clock(x: float) -> str:
        return f"{from_micros(int(x)).astimezone(zone):{'%H:%M:%S' if short else '%H:%M'}}"

    ends = []
    for line in series:
        last = next((value for _, value in reversed(line.points) if value is not None), None)
        if last is not None:
            label = f"{line.label} {number(last)} {unit}".strip()
            ends.append(Mark(100 - min(last, ceiling) / ceiling * 100, label, line.style))
    table: dict[float, list[str]] = {}
    for place, line in enumerate(series):
        for x, value in line.points:
            row = table.setdefault(x, ["·"] * len(series))
            row[place] = "unknown" if value is None else number(value)
    known = [value for value in values if value is not None]
    return Chart(
        title=title,
        summary=f"{title}: {len(known)} values between {clock(left)} and {clock(right)}, "
        f"from {number(min(known))} to {number(max(known))} {unit}, {len(holes)} gaps.",
        paths=[(_path(line.points, left, span, ceiling, ceiling), line.style) for line in series],
        y_ticks=y_ticks,
        x_ticks=[Mark(step * 25, clock(left + span * step / 4)) for step in range(5)],
        holes=_named(
            [
                Mark((hole.start - left) / span * 100, hole.label, "", max((hole.end - hole.start) / span * 100, 0.4))
                for hole in holes
            ]
        ),
        ends=_apart(ends, 9.0),
        rows=[(clock(x), row) for x, row in sorted(table.items(), reverse=True)][:120],
        columns=[f"{line.label or title}, {unit}" for line in series],
    )


def sparkline(values: Sequence[float | None], width: int = 64, height: int = 18) -> str:
    """Return the path of a sparkline in a box of pixels; it starts at 0 and breaks where a value is unknown."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    top = max(known) or 1.0
    step = (width - 2) / max(len(values) - 1, 1)
    parts: list[str] = []
    pen_down = False
    for place, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        spot = f"{1 + place * step:.1f} {height - 1 - value / top * (height - 2):.1f}"
        parts.append(f"{'L' if pen_down else 'M'}{spot}")
        pen_down = True
    return "".join(parts)


def bars(values: Sequence[int], width: int = 96, height: int = 24) -> list[Bar]:
    """Return bars in a box of pixels, from 0; the smallest count above 0 stays visible."""
    top = max(values, default=0) or 1
    each = width / max(len(values), 1)
    return [
        Bar(
            round(place * each, 1),
            round(height - max(value / top * height, 2 if value else 1), 1),
            round(max(each - 1, 1), 1),
            round(max(value / top * height, 2 if value else 1), 1),
            value,
        )
        for place, value in enumerate(values)
    ]
