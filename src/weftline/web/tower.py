"""The control tower: what needs a person, the numbers with their ages, every feed's state, the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from anyio import to_thread
from starlette.responses import Response

from weftline.service.views import FeedRow, LedgerRow, RatePoint, Tower
from weftline.web.feedlist import FeedGroup, group_feeds
from weftline.web.rates import MINUTE, even
from weftline.web.render import Visit, page
from weftline.web.status import LIVE_STATES, STATES, Shape, state_shape

__all__ = ["LedgerSum", "ledger", "sum_ledger", "tower"]

WHOLE = 200
"""Up to this many feeds every feed has its own cell; above, groups show counts and their worst."""
TERMS = ("stored", "quarantined", "duplicate", "ignored", "expired")


class LedgerSum(NamedTuple):
    """The ledger over several feeds. `waiting` is None while one feed's is unknown; `balanced` likewise."""

    feeds: int
    received: int
    terms: dict[str, int]
    waiting: int | None
    waiting_unknown: int
    sent: int | None
    missing: int | None
    balanced: bool | None
    off: list[str]
    """Feeds that do not balance."""


class Picture(NamedTuple):
    """What the control tower shows, worked out in one go."""

    tower: Tower
    partners: list[FeedGroup]
    sites: list[FeedGroup]
    partner_total: int
    site_total: int
    states: list[tuple[str, int, Shape]]
    fine: int
    ledger: LedgerSum
    rates: Sequence[RatePoint]
    rate_now: float | None
    newest: FeedRow | None
    slowest: FeedRow | None
    least_complete: FeedRow | None
    incomplete: int
    unmeasured: int


def sum_ledger(rows: Sequence[LedgerRow]) -> LedgerSum:
    """Add ledgers up; what one feed does not know stays unknown in the sum."""
    unknown = sum(row.waiting is None for row in rows)
    off = [row.feed for row in rows if row.balanced is False]
    sent = [row.sent for row in rows if row.sent is not None]
    return LedgerSum(
        len(rows),
        sum(row.received for row in rows),
        {term: sum(getattr(row, term) for row in rows) for term in TERMS},
        None if unknown else sum(row.waiting or 0 for row in rows),
        unknown,
        sum(sent) if sent else None,
        sum(row.missing or 0 for row in rows if row.sent is not None) if sent else None,
        False if off else None if any(row.balanced is None for row in rows) else True,
        off,
    )


def _picture(visit: Visit) -> Picture:
    road = visit.site.road
    feeds = road.feeds()
    rates = even(road.rates(), MINUTE, visit.now, 24 * 60)
    now = road.tower()
    partner = [row for row in feeds if row.partner]
    plant = [row for row in feeds if not row.partner]
    whole = len(feeds) <= WHOLE
    each, groups = (8, 40) if whole else (2, 12)
    counts: Counter[str] = Counter(row.state for row in feeds)
    measured = [row for row in feeds if row.latency_ours.p99 is not None]
    complete = [row for row in feeds if row.completeness is not None]
    known = [point.received for point in rates if point.received is not None]
    spoken = [row.rate_per_minute for row in feeds if row.rate_per_minute is not None]
    return Picture(
        now,
        group_feeds(partner, lambda row: row.partner, groups, each, calm=whole),
        group_feeds(plant, lambda row: row.site or "no site", groups, each, calm=whole),
        len({row.partner for row in partner}),
        len({row.site for row in plant}),
        [(state, counts[state], state_shape(state)) for state in STATES if counts[state]],
        sum(counts[state] for state in LIVE_STATES),
        sum_ledger(road.ledger()),
        rates,
        known[-1] / 60 if known else sum(spoken) / 60 if spoken else None,
        max((row for row in feeds if row.last_record), key=lambda row: row.last_record or 0, default=None),
        max(measured, key=lambda row: row.latency_ours.p99 or 0, default=None),
        min(complete, key=lambda row: row.completeness or 0, default=None),
        sum((row.completeness or 0) < 1 for row in complete),
        len(feeds) - len(complete),
    )


async def tower(visit: Visit) -> Response:
    """Show the control tower, or the way in when no feed is configured."""
    picture = await to_thread.run_sync(_picture, visit)
    if not picture.tower.feeds:
        return page(visit, "first_run.html", topics="tower")
    return page(visit, "tower.html", picture=picture, topics="tower ledger")


async def ledger(visit: Visit) -> Response:
    """Show the ledger of every feed, the unbalanced ones first."""
    rows = await to_thread.run_sync(visit.site.road.ledger)
    text = visit.query("q").casefold()
    found = sorted(
        (row for row in rows if text in row.feed.casefold()),
        key=lambda row: (row.balanced is not False, row.balanced is not None, -row.quarantined, row.feed),
    )
    start = int(visit.query("page") or 0) if visit.query("page").isdigit() else 0
    shown = found[start * 100 : start * 100 + 100]
    return page(
        visit, "ledger.html", rows=shown, total=sum_ledger(found), all=len(rows), text=visit.query("q"),
        start=start, more=len(found) > start * 100 + 100, topics="ledger",
    )  # fmt: skip
