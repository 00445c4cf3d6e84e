"""What every connector promises, as checks that run against each one that is installed.

A connector ships a `Bench` in `weftline.testing.benches.<kind>`: its source simulated, and how to send through it. The
suite finds the connectors in their registry, so none can be left out. Run it with pytest:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    @pytest.mark.parametrize("kind", sorted(kinds()))
    async def test_connector(kind, check, tmp_path):
        await run_check(kind, check, tmp_path)

A module of benches may name variants of its own in `BENCHES`, the default under "": the same connector in front of
another source, as a broker of another maker. What the suite saw is in `Stage.trace`, so that two can be compared.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol

from weftline.batch import Frame, FrameFlag
from weftline.connectors.base import Connector, Replay, Road, Source
from weftline.connectors.registry import connector, kinds
from weftline.errors import NotFoundError
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.testing.connector_manual import manual, manual_path
from weftline.testing.road_double import RoadDouble

__all__ = ["CHECKS", "Bench", "Check", "Stage", "bench_of", "kinds", "run_check"]

GRACE = 0.2
"""Seconds given to a source to do what it must not do."""
PROMPT = 2.0
"""Seconds within which a source must have stopped."""
POINTS = {
    Replay.SPOOL: ("spool.fsync.before", "spool.fsync.after"),
    Replay.COMMIT: ("store.commit.before", "store.commit.after"),
}


class Bench(Protocol):
    """A connector's source, simulated. Records are numbers; a send is one unit with an identity of its own.

    Everything is a function of the folder, so that a bench made in another process meets the same source.
    """

    kind: ClassVar[str]

    def __init__(self, folder: Path) -> None: ...

    def connection(self) -> ConnectionSpec:
        """Return how the source is reached."""
        ...

    def feeds(self) -> Sequence[FeedSpec]:
        """Return at least two feeds, with ids from 1."""
        ...

    async def start(self) -> None:
        """Start the simulated source."""
        ...

    async def attach(self, source: Source, road: Road) -> None:
        """Give a running source what its host gives it; most need nothing."""
        ...

    async def detach(self) -> None:
        """Take back what `attach` gave."""
        ...

    async def send(self, feed: str, numbers: Sequence[int]) -> None:
        """Begin to send these records, as one unit; a source that must repeat itself repeats until acknowledged."""
        ...

    async def send_again(self, feed: str, numbers: Sequence[int]) -> None:
        """Begin to send a unit again, with the identity it had."""
        ...

    async def poison(self, feed: str) -> None:
        """Send something that cannot be taken."""
        ...

    async def cut(self) -> None:
        """Take the source away."""
        ...

    async def mend(self) -> None:
        """Bring the source back."""
        ...

    def acknowledged(self) -> set[int]:
        """Return the records whose sender was told that they are safe."""
        ...

    def numbers(self, frame: Frame) -> list[int]:
        """Return the records in a frame."""
        ...

    async def close(self) -> None:
        """End the simulated source."""
        ...


class BenchMissingError(NotFoundError):
    """Say which connector ships no bench, so that nobody takes it for tested."""

    code = "bench-missing"


def bench_of(kind: str, folder: Path, variant: str = "") -> Bench:
    """Return the bench of a kind of connector, or a variant of it, over a folder."""
    try:
        module = import_module(f"weftline.testing.benches.{kind}")
    except ModuleNotFoundError as error:
        raise BenchMissingError(
            place=f"connector '{kind}'",
            found="no bench",
            expected=f"weftline/testing/benches/{kind}.py with a class Bench",
            next_step="Write the adapter between the suite and a simulator of the source.",
        ) from error
    benches: dict[str, type[Bench]] = getattr(module, "BENCHES", {"": module.Bench})
    if variant not in benches:
        raise BenchMissingError(
            place=f"connector '{kind}'",
            found=f"no bench '{variant}'",
            expected=f"one of {', '.join(sorted(filter(None, benches))) or 'none: it has no variants'}",
            next_step=f"Name it in BENCHES of weftline/testing/benches/{kind}.py.",
        )
    return benches[variant](folder)


class Stage:
    """One check's connector, bench and folder."""

    def __init__(self, kind: str, folder: Path, variant: str = "") -> None:
        self.connector: Connector = connector(kind)
        self.variant = variant
        self.bench = bench_of(kind, folder / "source", variant)
        self.folder = folder
        self.trace: list[tuple[object, ...]] = []
        """What a check saw, in words that do not depend on time or place."""
        self.one, self.other = (feed.name for feed in list(self.bench.feeds())[:2])

    @asynccontextmanager
    async def running(self, road: RoadDouble) -> AsyncIterator[Source]:
        """Run a source on a road, and stop it promptly."""
        source = self.connector.open(self.bench.connection(), self.bench.feeds(), road)
        task = asyncio.create_task(source.run())
        try:
            await self.bench.attach(source, road)
            yield source
        finally:
            await source.stop()
            await self.bench.detach()
            async with asyncio.timeout(PROMPT):
                await task
            self.note(road)

    def note(self, road: RoadDouble) -> None:
        """Add to the trace what the source told of itself, and every frame: feed, records, known as a repeat."""
        self.trace.append(("states", *(told.state for told in road.states())))
        frames = [
            (frame.feed, self.bench.numbers(frame), bool(frame.flags & FrameFlag.DUPLICATE)) for frame in road.frames()
        ]
        self.trace.append(("frames", *frames))

    def delivered(self, road: RoadDouble) -> Counter[int]:
        """Return how often the road would store each record."""
        return Counter(number for frame in road.fresh() for number in self.bench.numbers(frame))

    async def until_delivered(self, road: RoadDouble, numbers: Sequence[int]) -> None:
        """Wait until the road holds these records and the sender knows it; fail if one is there twice."""
        wanted = set(numbers)
        await road.until(lambda: wanted <= set(self.delivered(road)) and wanted <= self.bench.acknowledged())
        self.assert_once(road, numbers)

    def assert_once(self, road: RoadDouble, numbers: Sequence[int]) -> None:
        """Fail unless the road holds exactly these records, each once."""
        have, wanted = self.delivered(road), Counter(numbers)
        assert have == wanted, f"missing {sorted(wanted - have)}, too many {sorted(have - wanted)}"


Check = Callable[[Stage], Awaitable[None]]


async def run_check(kind: str, check: Check, folder: Path, variant: str = "") -> Stage:
    """Run one check of one kind of connector in an empty folder; return its stage, with the trace."""
    stage = Stage(kind, folder, variant)
    try:
        await stage.bench.start()
        await check(stage)
    finally:
        await stage.bench.close()
    return stage


async def delivers_everything_once(stage: Stage) -> None:
    """Every record of every feed arrives, under its feed, once."""
    road = RoadDouble()
    async with stage.running(road):
        for number in range(0, 40, 4):
            await stage.bench.send(stage.one, range(number, number + 3))
            await stage.bench.send(stage.other, [number + 3])
        await stage.until_delivered(road, range(40))
    ids = {feed.name: feed.id for feed in stage.bench.feeds()}
    others = {
        number for frame in road.fresh() if frame.feed == ids[stage.other] for number in stage.bench.numbers(frame)
    }
    assert others == set(range(3, 40, 4))


async def every_frame_has_an_identity(stage: Stage) -> None:
    """Frames carry a record identity of at most 64 bytes, and equal content in two sends is two records."""
    road = RoadDouble()
    async with stage.running(road):
        await stage.bench.send(stage.one, [1])
        await stage.bench.send(stage.one, [2])
        await stage.until_delivered(road, [1, 2])
    identities = [frame.identity for frame in road.frames()]
    assert all(0 < len(identity) <= 64 for identity in identities)
    assert len(set(identities)) == len(identities)


async def acknowledges_only_what_is_durable(stage: Stage) -> None:
    """The sender is told only after the spool's fsync or the lake's commit."""
    road = RoadDouble()
    async with stage.running(road):
        road.stall()
        await stage.bench.send(stage.one, [1, 2])
        await road.until(lambda: road.pending() > 0)
        await asyncio.sleep(GRACE)
        assert not stage.bench.acknowledged(), "acknowledged before it was durable"
        road.go()
        await stage.until_delivered(road, [1, 2])


async def a_held_road_holds_the_source_back(stage: Stage) -> None:
    """While the road is held nothing is handed over; afterwards everything is, and the source tells that it goes on.

    A source that cannot be held back may hand over what was on its way: that is durable and counted.
    """
    road = RoadDouble()
    road.hold("the disk is full")
    async with stage.running(road):
        await stage.bench.send(stage.one, [1, 2])
        await road.until(lambda: any(told.state == "held" and told.detail for told in road.states()))
        await asyncio.sleep(GRACE)
        if stage.connector.capabilities.holds_back:
            assert not road.frames()
            assert not stage.bench.acknowledged()
        road.hold("")
        await stage.until_delivered(road, [1, 2])
        await road.until(lambda: road.states()[-1].state == "connected")


async def a_restart_goes_on(stage: Stage) -> None:
    """What is sent while the connector is away arrives when it is back; what had arrived does not arrive again."""
    road = RoadDouble()
    async with stage.running(road):
        await stage.bench.send(stage.one, [1, 2])
        await stage.until_delivered(road, [1, 2])
    await stage.bench.send(stage.one, [3, 4])
    async with stage.running(road):
        await stage.bench.send(stage.other, [5])
        await stage.until_delivered(road, [1, 2, 3, 4, 5])


async def a_lost_source_is_found_again(stage: Stage) -> None:
    """A connection that breaks is told, and comes back by itself."""
    if not stage.connector.capabilities.reconnects:
        return  # the source connects to us
    road = RoadDouble()
    async with stage.running(road):
        await stage.bench.send(stage.one, [1])
        await stage.until_delivered(road, [1])
        await stage.bench.cut()
        await road.until(lambda: any(told.state == "lost" for told in road.states()))
        await stage.bench.mend()
        await stage.bench.send(stage.one, [2])
        await stage.until_delivered(road, [1, 2])
    assert road.states()[-1].state == "stopped"


async def the_same_again_is_known_by_its_identity(stage: Stage) -> None:
    """A unit that is sent again is not stored again, before and after a restart."""
    road = RoadDouble()
    async with stage.running(road):
        await stage.bench.send(stage.one, [1, 2])
        await stage.until_delivered(road, [1, 2])
        await stage.bench.send_again(stage.one, [1, 2])
        await stage.bench.send(stage.one, [3])
        await stage.until_delivered(road, [1, 2, 3])
    async with stage.running(road):
        await stage.bench.send_again(stage.one, [1, 2])
        await stage.bench.send(stage.one, [4])
        await stage.until_delivered(road, [1, 2, 3, 4])


async def a_probe_consumes_nothing(stage: Stage) -> None:
    """Probing tells how the source stands and takes no record from it."""
    road = RoadDouble()
    if not stage.connector.capabilities.pushes:
        await stage.bench.send(stage.one, [1])
    findings = await stage.connector.probe(stage.bench.connection(), stage.bench.feeds()[0])
    stage.trace.append(("findings", *((finding.subject.split()[0], finding.verdict) for finding in findings)))
    assert findings
    assert {finding.verdict for finding in findings} <= {"ok", "warning", "failed", "unknown"}
    assert all(finding.subject and finding.detail for finding in findings)
    assert all(finding.next_step for finding in findings if finding.verdict == "failed")
    async with stage.running(road):
        if stage.connector.capabilities.pushes:
            await stage.bench.send(stage.one, [1])
        await stage.until_delivered(road, [1])


async def its_options_are_documented(stage: Stage) -> None:
    """The manual beside the code is what the options models say, and every option says what it is."""
    written = manual_path(stage.connector)
    assert written.read_text() == manual(stage.connector), "run: python tools/connector_docs.py"
    assert not stage.connector.check(stage.bench.connection(), stage.bench.feeds())


async def a_stop_is_prompt_and_loses_nothing(stage: Stage) -> None:
    """A source stops although the road is stuck; what was on its way arrives once after a restart."""
    road = RoadDouble()
    async with stage.running(road):
        road.stall()
        await stage.bench.send(stage.one, [1, 2])
        await road.until(lambda: road.pending() > 0)
    road.go()
    async with stage.running(road):
        await stage.bench.send(stage.one, [3])
        await stage.until_delivered(road, [1, 2, 3])


async def poison_does_not_delay_its_neighbours(stage: Stage) -> None:
    """Something that cannot be taken keeps neither its own feed nor another from being taken."""
    road = RoadDouble()
    async with stage.running(road):
        await stage.bench.poison(stage.one)
        await stage.bench.send(stage.other, [1])
        await stage.bench.send(stage.one, [2])
        await road.until(lambda: {1, 2} <= stage.bench.acknowledged())
    delivered = stage.delivered(road)
    assert delivered[1] == delivered[2] == 1


async def a_kill_before_it_is_durable_loses_nothing(stage: Stage) -> None:
    """kill -9 just before the fsync or the commit: the sender repeats and every record is there once."""
    await _killed(stage, POINTS[stage.connector.capabilities.replay][0])


async def a_kill_before_it_is_acknowledged_doubles_nothing(stage: Stage) -> None:
    """kill -9 between the fsync or the commit and the acknowledgement: the repeat is known by its identity."""
    await _killed(stage, POINTS[stage.connector.capabilities.replay][1])


async def _killed(stage: Stage, point: str) -> None:
    waiting = RoadDouble()
    child = _child(stage, f"{point}=kill:3")
    try:
        for number in range(0, 12, 2):
            # One unit at a time, so that each is a write of its own.
            await stage.bench.send(stage.one, [number, number + 1])
            await waiting.until(
                lambda number=number: number in stage.bench.acknowledged() or child.poll() is not None,  # type: ignore[misc]
                seconds=20,
            )
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -9, "the failpoint was not reached"
    acknowledged = stage.bench.acknowledged()
    assert len(acknowledged) < 12
    child = _child(stage, "")
    try:
        await waiting.until(lambda: len(stage.bench.acknowledged()) == 12, seconds=20)
    finally:
        child.kill()
        child.wait()
    road = RoadDouble(stage.folder / "road")
    try:
        stage.note(road)
        stage.assert_once(road, range(12))
    finally:
        road.close()


def _child(stage: Stage, failpoints: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "WEFTLINE_FAILPOINTS": failpoints}
    module = "weftline.testing.connector_process"
    arguments = [stage.connector.kind, str(stage.folder), stage.variant]
    return subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)


CHECKS: tuple[Check, ...] = (
    delivers_everything_once,
    every_frame_has_an_identity,
    acknowledges_only_what_is_durable,
    a_held_road_holds_the_source_back,
    a_restart_goes_on,
    a_lost_source_is_found_again,
    the_same_again_is_known_by_its_identity,
    a_probe_consumes_nothing,
    its_options_are_documented,
    a_stop_is_prompt_and_loses_nothing,
    poison_does_not_delay_its_neighbours,
    a_kill_before_it_is_durable_loses_nothing,
    a_kill_before_it_is_acknowledged_doubles_nothing,
)
