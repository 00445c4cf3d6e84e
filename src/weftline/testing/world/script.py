"""The scripted trouble of the demo world: which feeds and lines have it, when, and what the tower should say."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from weftline.testing.world.partners import CARRIERS, SUPPLIERS
from weftline.testing.world.plant import LINES, feed_of, tags

__all__ = ["KINDS", "LASTS", "Kind", "Play", "Trouble", "script"]

LASTS = 300.0
"""Real seconds a trouble lasts; then the world mends itself, so that a long demo shows recovery too."""
_FEWEST, _MOST = 5, 6


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble. Times are world seconds after the start; at `--speed N` it begins at `at / N`."""

    kind: str
    subject_kind: str
    """feed or equipment."""
    subject: str
    state: str
    """Word the control tower should show: a feed's state (silent, rejecting, live) or the equipment's (STOPPED)."""
    at: float
    attention: bool
    """Whether it belongs on the list of what needs attention; a repeated file does not."""
    sentence: str

    def begins(self, speed: float) -> float:
        """Return real seconds after the start."""
        return self.at / speed

    def acts(self, seconds: float, speed: float) -> bool:
        """Tell whether the trouble acts, real `seconds` after the start."""
        return self.begins(speed) <= seconds < self.begins(speed) + LASTS


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of trouble: what it can happen to, what comes of it, and in which world seconds it may begin."""

    name: str
    subject_kind: str
    subjects: tuple[str, ...]
    state: str
    window: tuple[float, float]
    sentence: str
    attention: bool = True


def _supplier_feeds(word: str) -> tuple[str, ...]:
    return tuple(feed for supplier in SUPPLIERS for feed in supplier.files if feed.endswith(word))


_JSON_TAGS = tuple(feed_of(line, tag) for line, tag in tags() if not tag.plain)
_PLAIN_TAGS = tuple(feed_of(line, tag) for line, tag in tags() if tag.plain)
_OVEN = tuple(feed_of(line, tag) for line, tag in tags() if tag.contract == "cure-temperature")
_CARRIERS = tuple(carrier.feed for carrier in CARRIERS)

KINDS: tuple[Kind, ...] = (
    # What goes silent begins early: three cadences have to pass before silence is told.
    Kind("carrier-silent", "feed", _CARRIERS, "silent", (6, 25), "{} stops pushing transport events"),
    Kind("tag-silent", "feed", _JSON_TAGS, "silent", (6, 25), "the gateway no longer publishes {}"),
    Kind("stock-silent", "feed", _supplier_feeds(".stock"), "silent", (5, 14), "no stock file comes for {}"),
    Kind("wrong-asn", "feed", _supplier_feeds(".asn"), "rejecting", (6, 38),
         "{} counts cartons instead of pieces, and some lines name no lot"),
    Kind("stock-negative", "feed", _supplier_feeds(".stock"), "rejecting", (6, 38), "{} states negative stock"),
    Kind("file-broken", "feed", _supplier_feeds(".confirmation"), "rejecting", (6, 36),
         "files of {} arrive cut off, with binary rubbish at the end"),
    Kind("unit-changed", "feed", _OVEN, "rejecting", (6, 40),
         "the controller of {} sends degrees Fahrenheit and still calls them Celsius"),
    Kind("line-stopped", "equipment", tuple(line.equipment for line in LINES), "STOPPED", (6, 40), "{} stops"),
    Kind("sensor-broken", "feed", _PLAIN_TAGS, "rejecting", (6, 40), "the device of {} sends ERR instead of a number"),
    Kind("clock-ahead", "feed", _JSON_TAGS, "rejecting", (6, 40), "the clock behind {} runs twenty minutes ahead"),
    Kind("message-cut", "feed", _JSON_TAGS, "rejecting", (6, 40), "messages of {} lose their second half"),
    Kind("unknown-status", "feed", _CARRIERS, "rejecting", (6, 38), "{} uses a status nobody agreed to"),
    Kind("file-twice", "feed", _supplier_feeds(".asn"), "live", (6, 38), "every file of {} comes twice",
         attention=False),
)  # fmt: skip


def script(seed: int, *, no_trouble: bool = False) -> list[Trouble]:
    """Return the troubles of a seed, in order of time: five or six different kinds that need attention.

    A seventh, the repeated file, joins for some seeds: it is counted and needs nobody. No subject has two troubles, and
    a line that stops has no trouble with its tags.
    """
    if no_trouble:
        return []
    rng = random.Random(f"script:{seed}")
    kinds = [kind for kind in KINDS if kind.attention]
    rng.shuffle(kinds)
    chosen = kinds[: rng.randint(_FEWEST, _MOST)]
    if rng.random() < 0.5:
        chosen += [kind for kind in KINDS if not kind.attention]
    taken: set[str] = set()
    found = []
    for kind in chosen:
        free = [subject for subject in kind.subjects if not _clashes(subject, taken)]
        subject = rng.choice(free or kind.subjects)
        at = round(rng.uniform(*kind.window), 1)
        if not free:
            continue
        taken.add(subject)
        found.append(
            Trouble(
                kind.name, kind.subject_kind, subject, kind.state, at, kind.attention, kind.sentence.format(subject)
            )
        )
    return sorted(found, key=lambda trouble: (trouble.at, trouble.subject))


def _clashes(subject: str, taken: Iterable[str]) -> bool:
    """Tell whether a subject has a trouble already; a line (site/line) and its tags (site.line.tag) count as one."""
    mine = subject.replace("/", ".")
    for other in taken:
        theirs = other.replace("/", ".")
        if mine == theirs or mine.startswith(f"{theirs}.") or theirs.startswith(f"{mine}."):
            return True
    return False


@dataclass(frozen=True)
class Play:
    """One performance of the world: from equal plays every simulator sends equal messages at equal times."""

    seed: int
    run: int = 1
    """Number of this start; keeps identities apart from those of earlier ones."""
    speed: float = 1.0
    no_trouble: bool = False
    start_ms: int = 0
    """Start of the world, milliseconds since 1970; times in messages count from here."""

    @cached_property
    def troubles(self) -> list[Trouble]:
        """Return the script."""
        return script(self.seed, no_trouble=self.no_trouble)

    def trouble_of(self, subject: str, seconds: float) -> str:
        """Return the kind of trouble a subject has, real `seconds` after the start, or an empty text."""
        for trouble in self.troubles:
            if trouble.subject == subject and trouble.acts(seconds, self.speed):
                return trouble.kind
        return ""

    def stream(self, name: str) -> random.Random:
        """Return the random stream of one sender."""
        return random.Random(f"{name}:{self.seed}:{self.run}")

    def at(self, seconds: float) -> datetime:
        """Return the time, real `seconds` after the start, as messages state it."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC) + timedelta(seconds=seconds)
