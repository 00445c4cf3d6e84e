"""The list of feeds and one feed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
from anyio import to_thread
from starlette.responses import Response

from weftline.clock import to_micros
from weftline.errors import RefusedError
from weftline.service.views import FeedDetail, RatePoint
from weftline.web.charts import Chart, Hole, Series, line_chart
from weftline.web.feedlist import SORTS, FeedQuery, page_of
from weftline.web.format import age, decimal
from weftline.web.rates import MINUTE, SECOND, even
from weftline.web.render import Visit, page, segment, zone_of
from weftline.web.rows import Cells, cells_of

__all__ = ["feed", "feeds"]

RECORDS = 200
"""Newest records read for the latency chart; the table shows the first of them."""
SHOWN = 12


class Timing(NamedTuple):
    """Event time to record time of the newest records, oldest first: microseconds UTC and seconds."""

    chart: Chart | None
    measured: int


async def feeds(visit: Visit) -> Response:
    """Show one page of the feeds that fit the address."""
    query = FeedQuery(
        visit.query("q"), visit.query("state"), visit.query("partner"), visit.query("site"),
        visit.query("sort") or "worst", visit.query("after"),
    )  # fmt: skip
    found = await to_thread.run_sync(lambda: page_of(visit.site.road.feeds(), query))
    kept = {"q": query.text, "state": query.state, "partner": query.partner, "site": query.site, "sort": query.sort}
    return page(visit, "feeds.html", found=found, asked=query, kept=kept, sorts=list(SORTS), topics="feeds")


def _holes(detail: FeedDetail, start: int, end: int) -> list[Hole]:
    """Return gaps and the times we were not running, inside the chart."""
    holes = [
        Hole(max(gap.start, start), min(gap.end or end, end),
             f"{gap.missing:,} missing" if gap.missing else f"silent {age(gap.seconds)}")
        for gap in detail.gaps
        if gap.start < end and (gap.end or end) > start
    ]  # fmt: skip
    return [hole for hole in holes if hole.end > hole.start]


def _stops(points: list[RatePoint]) -> list[Hole]:
    """Return the stretches in which we were not running; they begin and end at the known points around them."""
    holes: list[Hole] = []
    last_known: int | None = None
    open_gap = False
    for point in points:
        if point.received is None:
            open_gap = True
            continue
        if open_gap and last_known is not None:
            holes.append(Hole(last_known, point.time, "not running"))
        last_known, open_gap = point.time, False
    return holes


def rate_chart(visit: Visit, detail: FeedDetail) -> Chart | None:
    """Return received records a second: per minute where an hour is known, else per second."""
    step, points = MINUTE, even(detail.per_minute, MINUTE, visit.now, 24 * 60)
    if len(points) < 10:
        step, points = SECOND, even(detail.per_second, SECOND, visit.now, 300)
    if not points:
        return None
    each = step / SECOND
    lines = [Series("", [(point.time, None if point.received is None else point.received / each) for point in points])]
    return line_chart(
        "Records a second", lines, zone=zone_of(visit.about, detail.row.site), unit="/s", number=decimal,
        holes=sorted(_stops(points) + _holes(detail, points[0].time, points[-1].time)),
    )  # fmt: skip


def latency_chart(visit: Visit, detail: FeedDetail, records: pa.Table) -> Timing:
    """Return event time to record time of the newest records; what a skewed clock makes negative is cut at 0."""
    if not {"event_time", "record_time"} <= set(records.column_names) or records.num_rows < 2:
        return Timing(None, 0)
    pairs = zip(records["record_time"].to_pylist(), records["event_time"].to_pylist(), strict=True)
    points: dict[float, float] = {}
    for done, event in pairs:
        if done is not None and event is not None:
            at = to_micros(done)
            points[at] = max(points.get(at, 0.0), (at - to_micros(event)) / 1000)
    times = sorted(points)
    pauses: list[float] = [later - sooner for sooner, later in pairwise(times)]
    usual = max((detail.row.cadence or 0.0) * SECOND, sorted(pauses)[len(pauses) // 2] if pauses else 0.0, SECOND)
    ordered: list[tuple[float, float | None]] = []
    holes: list[Hole] = []
    for place, moment in enumerate(times):
        # A line never bridges a silence longer than three times the usual one.
        if place and pauses[place - 1] > 3 * usual:
            ordered.append((times[place - 1] + 1, None))
            holes.append(Hole(times[place - 1], moment, "no record"))
        ordered.append((moment, max(points[moment], 0.0)))
    zone = zone_of(visit.about, detail.row.site)
    chart = line_chart("Latency", [Series("", ordered)], zone=zone, unit="ms", number=decimal, holes=holes)
    return Timing(chart, len(times))


async def feed(visit: Visit) -> Response:
    """Show one feed."""
    name = visit.request.path_params["name"]
    road = visit.site.road
    detail = await to_thread.run_sync(road.feed, name)
    refused = ""
    cells: Cells | None = None
    timing = Timing(None, 0)
    try:
        records = await visit.site.reading.last_records(visit.asker, name, RECORDS)
        timing = latency_chart(visit, detail, records)
        cells = cells_of(records.slice(0, SHOWN))
    except RefusedError as error:
        # The counts of a feed are no content; its rows are, and the door said no.
        refused = error.complaint.sentence()
    context: dict[str, Any] = {
        "detail": detail,
        "row": detail.row,
        "rate": rate_chart(visit, detail),
        "timing": timing,
        "cells": cells,
        "refused": refused,
    }
    zone = zone_of(visit.about, detail.row.site)
    return page(
        visit, "feed.html", zone=zone, topics=f"feed:{segment(name)}" if "," not in name else "feeds", **context
    )
