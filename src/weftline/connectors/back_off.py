"""How long to wait before the next try: full jitter, bounded, forgotten after a stable connection."""

from __future__ import annotations

import random

from weftline.clock import Clock, SystemClock

__all__ = ["BackOff"]


class BackOff:
    """Give waits drawn from 0 to a bound that doubles with every failure, so that sources do not come back as one.

    `first` and `longest` are seconds; `stable` is how long a connection must have stood for the failures to be
    forgotten. `floor` keeps a wait from being so short that it is none.
    """

    def __init__(
        self,
        *,
        first: float = 0.5,
        longest: float = 60.0,
        stable: float = 30.0,
        floor: float = 0.05,
        clock: Clock | None = None,
        draw: random.Random | None = None,
    ) -> None:
        self._first, self._longest, self._stable, self._floor = first, longest, stable, floor
        self._clock = clock or SystemClock()
        self._draw = draw or random.Random()  # noqa: S311 - jitter is no secret
        self._failures = 0
        self._since: float | None = None

    @property
    def failures(self) -> int:
        """Return the failures since the last stable connection."""
        return self._failures

    def connected(self) -> None:
        """Note that the connection stands from now on."""
        self._since = self._clock.steady()

    def failed(self) -> float:
        """Note a failure or a lost connection; return the seconds to wait before the next try."""
        if self._since is not None and self._clock.steady() - self._since >= self._stable:
            self._failures = 0
        self._since = None
        bound = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return max(self._floor, self._draw.uniform(0.0, bound))
