"""The demo: a world of its own, served; its accounts survive a restart and are printed again."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from weftline.cli.context import emit, say
from weftline.cli.holder import SOCKET, Remote
from weftline.cli.serving import Serving, run_loop, serve
from weftline.service.actor import LOCAL_OPERATOR
from weftline.service.wiring import STATE
from weftline.testing.world import PUSH_FEEDS, World, free_port, write_world

__all__ = ["run_demo"]

ACCOUNT = "admin@demo.example"
LOOK_SECONDS = 1.0
SETTLE_LOOKS = 5
TERMS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")


def run_demo(
    folder: Path, *, port: int, speed: float, seconds: float | None, seed: int, trouble: bool, as_json: bool
) -> None:
    """Write the world, start its broker, serve its fabric, let its simulators play; stop all of it at the end."""
    folder = folder.resolve()
    broker_port = _known_port(folder) or free_port()
    write_world(folder, mqtt_port=broker_port, http_base=f"http://127.0.0.1:{port}", seed=seed)
    world = World(folder, seed=seed, speed=speed, no_trouble=not trouble)
    world.start_broker()
    try:
        show = _Show(world, seconds, as_json=as_json)
        run_loop(serve(folder, port=port, demo=True, ready=show.play))
    finally:
        world.stop()


class _Show:
    """What happens between the first page and the end."""

    def __init__(self, world: World, seconds: float | None, *, as_json: bool) -> None:
        self._world = world
        self._seconds = seconds
        self._as_json = as_json
        self._seen: dict[str, dict[str, Any]] = {}

    async def play(self, serving: Serving) -> None:
        """Make or find the accounts, start the simulators, and watch the tower until the time is up."""
        account = await asyncio.to_thread(_account, serving)
        await asyncio.to_thread(self._world.start_simulators, account["keys"], serving.url)
        sys.stderr.write(
            f"weftline: look at {serving.url} and sign in as {account['email']} with {account['password']}\n"
        )
        sys.stderr.flush()
        remote = Remote(serving.fabric.folder / STATE / SOCKET)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds if self._seconds is not None else None
        while end is None or loop.time() < end:
            pause = LOOK_SECONDS if end is None else min(LOOK_SECONDS, max(end - loop.time(), 0.0))
            await asyncio.sleep(pause)
            if self._seconds is not None:
                self._remember(await asyncio.to_thread(remote.get, "/api/v1/tower"))
        await asyncio.to_thread(self._world.stop_simulators)
        ledger = await self._settled(remote)
        self._report(ledger)

    async def _settled(self, remote: Remote) -> list[dict[str, Any]]:
        """Read the ledger once nothing waits any more, at most five seconds after the last record."""
        for _ in range(SETTLE_LOOKS):
            await asyncio.sleep(LOOK_SECONDS)
            rows: list[dict[str, Any]] = await asyncio.to_thread(remote.call, "ledger")
            if all(row["waiting"] == 0 and row["balanced"] for row in rows):
                break
        return rows

    def _remember(self, tower: dict[str, Any]) -> None:
        """Keep each thing the tower said needs a person; a simulator never tells the server anything."""
        for item in tower["attention"]:
            known = self._seen.setdefault(item["id"], {"first_seen": tower["time"], **item})
            known.update(last_seen=tower["time"], detail=item["detail"], severity=item["severity"])

    def _report(self, rows: list[dict[str, Any]]) -> None:
        total = {term: sum(int(row[term] or 0) for row in rows) for term in TERMS}
        troubles = sorted(self._seen.values(), key=lambda item: (item["first_seen"], item["id"]))
        if self._as_json:
            ledger = {"total": total, "feeds": rows}
            emit({"seed": self._world.seed, "speed": self._world.speed, "ledger": ledger, "troubles": troubles})
            return
        say("ledger", list(TERMS), [[total[term] for term in TERMS]], right=TERMS)
        shown = [[item["severity"], item["title"], item["detail"]] for item in troubles]
        say("troubles the tower showed", ["severity", "what", "detail"], shown)


def _known_port(folder: Path) -> int:
    """Return the broker's port of an earlier run, so that its session and the folder's connections stay."""
    from weftline.testing.world.fabric import read_world, world_file

    return int(str(read_world(folder)["mqtt_port"])) if world_file(folder).exists() else 0


def _account(serving: Serving) -> dict[str, Any]:
    """Return the demo's administrator and the carriers' API keys, made at the first start and kept since."""
    place = serving.fabric.state / "demo-account.json"
    if place.exists():
        found: dict[str, Any] = json.loads(place.read_text("utf-8"))
        return found
    password = secrets.token_urlsafe(12)
    people, keys = serving.fabric.people, serving.fabric.keys
    people.add(LOCAL_OPERATOR, name="Demo administrator", email=ACCOUNT, roles=["administrator"], password=password)
    made = {feed: keys.create(LOCAL_OPERATOR, f"feed:{feed}", note="demo carrier")[1] for feed in PUSH_FEEDS}
    account = {"email": ACCOUNT, "password": password, "keys": made}
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(account, stream)
    return account
