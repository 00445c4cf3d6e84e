"""What the plants publish: machines that run, wait and stop, values around their set points, counters that rise.

Everything is drawn from `random.Random` streams named by seed, run and line, and trouble never draws: the same seed
gives the same machines with and without trouble.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from weftline.testing.world.plant import LINES, Line, Tag, feed_of
from weftline.testing.world.script import Play

__all__ = ["Message", "plant_messages"]

_LAG = 0.3
"""Share of the way to its set point that a value goes in one world second."""
_REPORT_EVERY = 3
"""World seconds between two reports of state and counters."""
_AHEAD_MS = 20 * 60 * 1000


class Message(NamedTuple):
    """One MQTT message; `due` is real seconds after the start."""

    due: float
    feed: str
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(slots=True)
class _Machine:
    """One line in motion; owned by `plant_messages`."""

    line: Line
    rng: random.Random
    state: str = "ACTIVE"
    reason: str = ""
    left: float = 0.0
    progress: float = 0.0
    good: int = 0
    scrap: int = 0

    def step(self) -> None:
        """Go on by one world second: run, wait now and then, finish pieces."""
        self.left -= 1
        if self.left <= 0:
            self.state = "IDLE" if self.state == "ACTIVE" else "ACTIVE"
            self.reason = self.rng.choice(("no-material", "blocked")) if self.state == "IDLE" else ""
            self.left = self.rng.uniform(60, 180) if self.state == "ACTIVE" else self.rng.uniform(5, 14)

    def produce(self, *, stopped: bool) -> None:
        """Work on the piece in the machine for one world second."""
        drawn = self.rng.random()
        if stopped or self.state != "ACTIVE":
            return
        self.progress += 1 / self.line.cycle
        if self.progress >= 1:
            self.progress -= 1
            if drawn < self.line.scrap:
                self.scrap += 1
            else:
                self.good += 1


@dataclass(slots=True)
class _Value:
    """One tag in motion."""

    tag: Tag
    feed: str
    topic: str
    phase: float
    offset: int
    level: float
    shown: float = 0.0

    def step(self, rng: random.Random, *, running: bool) -> None:
        """Go towards the set point of the moment and add noise."""
        target = self.tag.usual if running else self.tag.idle
        self.level += (target - self.level) * _LAG
        noise = rng.gauss(0, self.tag.noise) * (1 if running else 0.3)
        noise = max(-4 * self.tag.noise, min(4 * self.tag.noise, noise))
        self.shown = round(max(self.tag.low, min(self.tag.high, self.level + noise)), self.tag.digits)

    def message(self, due: float, start_ms: int, trouble: str) -> Message | None:
        """Return the value as its device sends it; None while the device is silent."""
        if trouble == "tag-silent":
            return None
        if self.tag.plain:
            text = f"ERR {self.offset + 17}" if trouble == "sensor-broken" else f"{self.shown:.{self.tag.digits}f}"
            return Message(due, self.feed, self.topic, text.encode())
        value = round(self.shown * 9 / 5 + 32, self.tag.digits) if trouble == "unit-changed" else self.shown
        stamp = start_ms + round(due * 1000) + (_AHEAD_MS if trouble == "clock-ahead" else 0)
        payload = json.dumps({"timestamp_ms": stamp, "value": value, "unit": self.tag.unit}).encode()
        if trouble == "message-cut":
            payload = payload[: len(payload) // 2]
        return Message(due, self.feed, self.topic, payload)


def plant_messages(play: Play) -> Iterator[Message]:
    """Yield what both plants publish, for ever, in order of time."""
    plants = [_start(play, line) for line in LINES]
    second = 0
    while True:
        batch: list[Message] = []
        for machine, values in plants:
            batch += _second(machine, values, second, play)
        batch.sort(key=lambda message: (message.due, message.topic))
        yield from batch
        second += 1


def _start(play: Play, line: Line) -> tuple[_Machine, list[_Value]]:
    rng = play.stream(f"plants:{line.equipment}")
    values = [
        _Value(
            tag,
            feed_of(line, tag),
            f"{'plant' if tag.plain else 'umh/v1'}/{line.site}/{line.name}/{tag.name}",
            rng.random() * 0.9,
            rng.randrange(tag.every),
            tag.usual,
        )
        for tag in line.tags
    ]
    return _Machine(line, rng, "IDLE", progress=rng.random()), values


def _second(machine: _Machine, values: list[_Value], second: int, play: Play) -> Iterator[Message]:
    """Yield what one line publishes in one world second."""
    line, speed = machine.line, play.speed
    before = machine.state
    machine.step()
    seconds = second / speed
    stopped = play.trouble_of(line.equipment, seconds) == "line-stopped"
    was_stopped = play.trouble_of(line.equipment, seconds - 1 / speed) == "line-stopped"
    machine.produce(stopped=stopped)
    running = machine.state == "ACTIVE" and not stopped
    for value in values:
        value.step(machine.rng, running=running)
        if (second + value.offset) % value.tag.every == 0:
            due = (second + value.phase) / speed
            message = value.message(due, play.start_ms, play.trouble_of(value.feed, due))
            if message is not None:
                yield message
    if second % _REPORT_EVERY and machine.state == before and stopped == was_stopped:
        return
    base = f"umh/v1/{line.site}/{line.name}"
    due = (second + 0.95) / speed
    stamp = play.start_ms + round(seconds * 1000)
    state, reason = ("STOPPED", "") if stopped else (machine.state, machine.reason)
    report = {"timestamp_ms": stamp, "value": state, "reason": reason or None}
    yield Message(due, f"{line.site}.states", f"{base}/state", json.dumps(report).encode(), retain=True)
    for name, count in (("good_count", machine.good), ("scrap_count", machine.scrap)):
        body = json.dumps({"timestamp_ms": stamp, "value": count, "unit": "C62"}).encode()
        yield Message(due, f"{line.site}.counters", f"{base}/{name}", body)
