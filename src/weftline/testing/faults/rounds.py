"""The seeded fault rounds. A round starts a fabric, sends to it, breaks it, starts it again and is judged.

Everything a round draws (which hit of a failpoint kills, when, how much is sent) comes from its seed. The interleaving
of processes does not, so a failing seed may need a few runs.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from weftline.testing.dropper import Dropper
from weftline.testing.faults.folder import DROP, MQTT_FEED, Limits
from weftline.testing.faults.judge import Verdict, judge
from weftline.testing.faults.senders import Pace, poison, publish, record
from weftline.testing.faults.world import CLIENT, WAYS, World, new_world

__all__ = ["ROUNDS", "Round", "play"]

Round = Callable[[World], None]
POINTS = {
    "fsync-before": "spool.fsync.before",
    "fsync-after": "spool.fsync.after",
    "commit-before": "store.commit.before",
    "commit-inside": "store.commit.inside",
    "commit-after": "store.commit.after",
}
DAY = 86_400_000_000
DISK = 96 << 20
DEATH_SECONDS = 4.0


def play(name: str, seed: int, folder: Path) -> Verdict:
    """Run one round in an empty folder and return its verdict."""
    way, options, work = ROUNDS[name]
    began = time.monotonic()
    with new_world(folder, name, seed, way=way, **options) as world:  # type: ignore[arg-type]
        work(world)
        world.settle()
        if world.draw.random() < 0.5:
            status = world.server.stop()
            world.notes["stop"] = status
        else:
            world.server.kill()
        verdict = judge(world.folder, world.sent, may_lose=world.may_lose)
    notes = {**world.notes, "starts": world.server.starts, "seconds": round(time.monotonic() - began, 1)}
    findings = verdict.findings
    if world.notes.get("stop", 0) != 0:
        findings = (*findings, f"SIGTERM ended with {world.notes['stop']}: {world.server.tail(3)}")
    ready = world.server.ready_seconds
    return replace(verdict, findings=findings, notes={**notes, "ready": round(max(ready), 2) if ready else None})


# -- kill -9 -----------------------------------------------------------------------------------------------------------


def _killed_at(point: str, way: str, world: World) -> None:
    """Die at a drawn hit of a failpoint, sometimes twice, while records come in."""
    draw = world.draw
    world.server.start(failpoints=f"{point}=kill:{draw.randint(1, 12)}")
    sender = world.send(way, Pace())
    _await_death(world)
    if draw.random() < 0.4:
        world.server.start(failpoints=f"{point}=kill:{draw.randint(1, 4)}")
        _await_death(world)
    world.revive()
    sender.finish()


def _await_death(world: World) -> None:
    until = time.monotonic() + DEATH_SECONDS
    while world.server.alive and time.monotonic() < until:
        time.sleep(0.02)
    world.server.kill()


def _killed_any_time(way: str, world: World) -> None:
    """Die two or three times at drawn moments, the start included."""
    world.server.start()
    sender = world.send(way, Pace(600, 10, 0.05))
    for _ in range(world.draw.randint(2, 3)):
        time.sleep(world.draw.uniform(0.1, 1.2))
        world.server.kill()
        world.server.start(wait=world.draw.random() < 0.7)
    sender.finish()


def _terminated(way: str, world: World) -> None:
    """End gracefully in the middle of the load, twice."""
    world.server.start()
    sender = world.send(way, Pace(600, 10, 0.04))
    for _ in range(2):
        time.sleep(world.draw.uniform(0.2, 1.0))
        status = world.server.stop()
        if status:
            world.notes["stop"] = status
        world.server.start()
    sender.finish()


# -- errors, disk ------------------------------------------------------------------------------------------------------


def _errors_at(point: str, way: str, world: World) -> None:
    """Fail once at a drawn hit, as a disk does that hiccups; the process lives on."""
    world.server.start(failpoints=f"{point}=error:{world.draw.randint(1, 10)}")
    world.send(way, Pace()).finish()


def _no_space_at(point: str, way: str, world: World) -> None:
    """Meet ENOSPC from a drawn hit on until the restart."""
    world.server.start(failpoints=f"{point}=enospc:{world.draw.randint(1, 10)}")
    sender = world.send(way, Pace())
    time.sleep(world.draw.uniform(1.0, 2.5))
    if world.draw.random() < 0.5:
        status = world.server.stop()
        if status:
            world.notes["stop"] = status
    else:
        world.server.kill()
    world.revive()
    sender.finish()


def _disk_full(way: str, world: World, *, leave: int) -> None:
    """Fill the fabric's disk in mid-load up to `leave` bytes, wait, give the room back; sometimes kill meanwhile."""
    world.server.start()
    sender = world.send(way, Pace(600, 20, 0.04))
    time.sleep(world.draw.uniform(0.1, 0.6))
    filler = world.folder / ".weftline" / "filler"
    _fill(filler, leave)
    time.sleep(world.draw.uniform(1.0, 2.5))
    if world.draw.random() < 0.4:
        world.server.kill()
        world.server.start(wait=False)
        time.sleep(1.0)
    filler.unlink()
    world.revive()
    sender.finish()


def _fill(filler: Path, leave: int) -> None:
    free = os.statvfs(filler.parent)
    room = free.f_bavail * free.f_frsize - leave
    block = b"\0" * 65_536
    with filler.open("wb", buffering=0) as file:
        try:
            while room > 0:
                room -= file.write(block[: min(room, len(block))])
        except OSError:
            return  # full is what was wanted


# -- the broker --------------------------------------------------------------------------------------------------------


def _broker_stalls(world: World) -> None:
    world.server.start()
    sender = world.send("broker", Pace())
    for _ in range(2):
        time.sleep(world.draw.uniform(0.1, 0.5))
        world.faulty.command("stall", client=CLIENT, seconds=world.draw.uniform(0.5, 2.0))
    sender.finish()


def _broker_cuts(world: World) -> None:
    world.server.start()
    sender = world.send("broker", Pace())
    for _ in range(3):
        world.faulty.command("cut", client=CLIENT, after=world.draw.randint(1, 80))
        time.sleep(world.draw.uniform(0.2, 0.8))
    world.server.kill()
    sender.finish()


def _broker_rate(fault: str, world: World) -> None:
    """Let the broker drop, repeat or reorder a share of the messages; sometimes the server dies as well."""
    world.faulty.command(fault, client=CLIENT, rate=world.draw.uniform(0.05, 0.4))
    world.server.start()
    sender = world.send("broker", Pace())
    if world.draw.random() < 0.5:
        time.sleep(world.draw.uniform(0.2, 1.0))
        world.server.kill()
        world.server.start()
    sender.finish()
    if fault == "drop":
        world.may_lose = int(world.faulty.command("counters")["dropped"])
        world.notes["dropped"] = world.may_lose
    world.faulty.command("clear")


def _broker_forgets(world: World) -> None:
    """Lose the session between two loads; the identifiers begin anew, and equal identifiers are no duplicates."""
    world.server.start()
    world.send("broker", Pace(150)).finish()
    world.settle()
    world.faulty.command("forget", client=CLIENT)
    if world.draw.random() < 0.5:
        world.server.kill()
        world.server.start()
    _await_session(world)
    publish(world.mqtt_port, world.sent, world.seed, Pace(150), prefix="n").finish()


def _await_session(world: World) -> None:
    """Publish single records until one arrives: only then what follows is owed to us."""
    before = world.stored()
    for number in range(200):
        probe = type(world.sent)()
        publish(world.mqtt_port, probe, world.seed * 1000 + number, Pace(1, 1, 0), prefix="p").finish()
        world.sent.uncertain |= probe.acknowledged
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            if world.stored() > before:
                return
            time.sleep(0.05)


# -- clock, bytes, files, neighbours -----------------------------------------------------------------------------------


def _clock_jumps(way: str, world: World) -> None:
    """Jump a day ahead or back in mid-load, and die before the clock is right again."""
    world.server.start()
    sender = world.send(way, Pace(500, 10, 0.04))
    for _ in range(2):
        time.sleep(world.draw.uniform(0.2, 0.6))
        world.shift(world.draw.choice((-DAY, DAY, -3_600_000_000, 0)))
        if world.draw.random() < 0.7:
            time.sleep(world.draw.uniform(0.0, 0.3))
            world.server.kill()
            world.server.start()
    sender.finish()


def _poisoned(way: str, world: World) -> None:
    """Send bytes that cannot be read among good records, and die once."""

    def body(name: str, draw: random.Random) -> bytes:
        found = poison(name, draw) if draw.random() < 0.25 else record(name, draw)
        return found.replace(b"\n", b" ")

    world.server.start(failpoints=f"store.commit.inside=kill:{world.draw.randint(2, 10)}")
    sender = world.send(way, Pace(300), body=body)
    _await_death(world)
    world.revive()
    sender.finish()


def _large_file(world: World) -> None:
    """Die while a file of 5 MB is read, block by block, two or three times."""
    names = [f"b-{world.seed}-{number:06d}" for number in range(80_000)]
    content = b"".join(record(name, world.draw) + b"\n" for name in names)
    content += b" " * max(0, (5 << 20) - len(content))
    world.server.start(failpoints=f"store.commit.{world.draw.choice(('before', 'inside', 'after'))}=kill:1")
    Dropper(world.folder / DROP).drop("large.ndjson", content)
    world.sent.confirm(names)
    _await_death(world)
    for _ in range(world.draw.randint(1, 2)):
        world.server.start()
        time.sleep(world.draw.uniform(0.0, 0.6))
        world.server.kill()
    world.revive()


def _flooded(world: World) -> None:
    """Flood one feed with poison while another sends calmly: the calm one must not wait for it."""
    world.server.start()
    flood = publish(
        world.mqtt_port, world.sent, world.seed, Pace(6000, 200, 0.02), prefix="x", topic="poison", body=poison_line
    )
    publish(world.mqtt_port, world.sent, world.seed, Pace(150, 1, 0.02)).finish()
    flood.finish()
    world.settle()
    from weftline.cli.holder import SOCKET, Remote
    from weftline.service.wiring import STATE

    table = Remote(world.folder / STATE / SOCKET).query(
        "SELECT quantile_cont(epoch(record_time) - epoch(event_time), 0.99) AS p99 FROM reading", "fault round", 10
    )
    world.notes["p99"] = round(float(table.column("p99")[0].as_py()), 3)
    world.notes["feed"] = MQTT_FEED


def poison_line(name: str, _draw: random.Random) -> bytes:
    """Return a record of the flood: small, and never right."""
    return f'{{"id": "{name}", "value": [[['.encode()


def _rounds() -> dict[str, tuple[str, dict[str, object], Round]]:
    found: dict[str, tuple[str, dict[str, object], Round]] = {}

    def add(name: str, way: str, work: Round, **options: object) -> None:
        found[name] = (way, options, work)

    for way in WAYS:
        for label, point in POINTS.items():
            if way == "files" and label.startswith("fsync"):
                continue
            add(f"kill-{label}-{way}", way, partial(_killed_at, point, way))
            if label != "fsync-after":
                add(f"error-{label}-{way}", way, partial(_errors_at, point, way))
            if label in {"fsync-before", "commit-before", "commit-inside"}:
                add(f"nospace-{label}-{way}", way, partial(_no_space_at, point, way))
        add(f"kill-any-{way}", way, partial(_killed_any_time, way))
        add(f"term-{way}", way, partial(_terminated, way))
        add(f"clock-{way}", way, partial(_clock_jumps, way))
        add(f"poison-{way}", way, partial(_poisoned, way))
        small = {"disk": DISK}
        held, full = Limits(min_free="16MiB", memory="256MB"), Limits(min_free="1MiB", memory="256MB")
        add(f"disk-held-{way}", way, partial(_disk_full, way, leave=8 << 20), limits=held, **small)
        add(f"disk-full-{way}", way, partial(_disk_full, way, leave=0), limits=full, **small)
    add("broker-stall", "broker", _broker_stalls)
    add("broker-cut", "broker", _broker_cuts)
    for fault in ("drop", "duplicate", "reorder"):
        add(f"broker-{fault}", "broker", partial(_broker_rate, fault))
    add("broker-forget", "broker", _broker_forgets)
    add("large-file", "files", _large_file)
    add("flood", "broker", _flooded)
    return found


ROUNDS = _rounds()
"""Round name → way of sending, options of the world, and what happens."""
