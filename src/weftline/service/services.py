"""Everything the faces stand on, as one value; `wiring.py` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from weftline.clock import Clock
from weftline.incidents.book import IncidentBook
from weftline.service.announcements import Hub
from weftline.service.keys import Keys
from weftline.service.people import People
from weftline.service.ports import Push, Replayer, RoadView
from weftline.service.quarantine import Quarantine
from weftline.service.reading import Door
from weftline.store.control.jobs import JobTable
from weftline.store.control.published import PublishedTable

__all__ = ["Limits", "Services"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the faces. Sizes are bytes, times seconds."""

    push_bytes: int = 32 << 20
    request_bytes: int = 1 << 20
    wait_for_commit: float = 5.0
    heartbeat: float = 15.0
    stream_clients: int = 1000


@dataclass(frozen=True, slots=True)
class Services:
    """The composed service. `readers` runs what blocks: database, lake, argon2id; four threads of their own."""

    road: RoadView
    door: Door
    quarantine: Quarantine
    people: People
    keys: Keys
    incidents: IncidentBook
    jobs: JobTable
    published: PublishedTable
    push: Push
    replayer: Replayer
    hub: Hub
    clock: Clock
    readers: Executor
    version: str = ""
    limits: Limits = field(default_factory=Limits)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks in a reader thread and return its answer."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, partial(call, *args, **kwargs))
