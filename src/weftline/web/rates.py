"""Rates as even series: a bucket the road did not write while it ran held no record."""

from __future__ import annotations

from collections.abc import Sequence

from weftline.service.views import RatePoint

__all__ = ["MINUTE", "SECOND", "even"]

SECOND = 1_000_000
MINUTE = 60 * SECOND


def even(points: Sequence[RatePoint], step: int, now: int, most: int) -> list[RatePoint]:
    """Return the newest `most` whole buckets of `step` microseconds, oldest first.

    Buckets between the first known one and now that the series leaves out count 0; the running one is left out, since it
    would look like a drop. `received` None stays: then we were not running.
    """
    known = {point.time: point for point in points}
    if not known:
        return []
    last = now // step * step - step
    first = max(min(known), last - (most - 1) * step)
    return [known.get(at, RatePoint(time=at, received=0)) for at in range(first, last + 1, step)]
