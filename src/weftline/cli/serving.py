"""Serve a fabric: road, sources, upkeep, API and pages in one process, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weftline import __version__
from weftline.api.app import App, build_app
from weftline.api.routes_operator import operator_routes
from weftline.api.server import Listen, Server
from weftline.connectors.base import Source
from weftline.connectors.http.source import HttpSource
from weftline.service.announcements import Hub
from weftline.service.operations import Operations
from weftline.service.pushes import Pushes, known_pushes
from weftline.service.services import Services
from weftline.service.sources import Sources
from weftline.service.upkeep import Upkeep
from weftline.service.wiring import Fabric, open_fabric
from weftline.store.control.jobs import JobTable
from weftline.store.control.published import PublishedTable
from weftline.web import About, ServiceSite, Step, exception_handlers, routes

__all__ = ["Serving", "run_loop", "serve", "speak"]

READERS = 4
PASSWORD_FILE = "WEFTLINE_ADMIN_PASSWORD_FILE"  # noqa: S105 - the variable's name


@dataclass(frozen=True, slots=True)
class Serving:
    """A fabric that is being served."""

    fabric: Fabric
    url: str
    first_link: str
    """Address with the one-time token where nobody administers the fabric yet, else empty."""
    fingerprint: str


Ready = Callable[[Serving], Coroutine[Any, Any, None]]


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run on the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


async def serve(
    folder: Path, *, host: str | None = None, port: int | None = None, demo: bool = False, ready: Ready | None = None
) -> None:
    """Open the folder and serve it; `ready` runs once pages answer, and its end ends the serving.

    Without `ready` the server runs until SIGINT or SIGTERM.
    """
    fabric = await asyncio.to_thread(open_fabric, folder, start=False)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="weftline-reader")
    sources = Sources(fabric.road, fabric.spec.connections, list(fabric.road.book().specs.values()), _opened(fabric))
    upkeep = Upkeep(fabric)
    try:
        await asyncio.to_thread(fabric.road.start)
        services = _services(fabric, sources, readers)
        listen = _listen(fabric, host, port)
        server = Server(_app(fabric, services, listen, demo=demo), listen, fabric.clock)
        await server.start()
        try:
            first = await asyncio.to_thread(_first, fabric, server.url)
            fabric.lock.announce(server.url)
            sources.start()
            upkeep.start()
            _settle_heap()
            await _until(stop, ready, Serving(fabric, server.url, first, server.fingerprint))
        finally:
            gc.unfreeze()
            # Sources and upkeep wait for the writer, which would hold on to a group as long as the disk is full.
            fabric.road.hurry()
            await sources.stop()
            await server.stop()
            await asyncio.to_thread(upkeep.stop)
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(fabric.close)


async def _until(stop: asyncio.Event, ready: Ready | None, serving: Serving) -> None:
    stopped = asyncio.create_task(stop.wait())
    work = asyncio.ensure_future(ready(serving)) if ready is not None else None
    await asyncio.wait({stopped, work} if work is not None else {stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if work is not None:
        if not work.done():
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def _settle_heap() -> None:
    """Leave what was loaded at start out of later collections, and collect less often.

    With 10,000 feeds a full collection walks millions of objects that stay for good, and frames (tuples of bytes, never
    in cycles) would start one every few thousand messages.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _opened(fabric: Fabric) -> Callable[[str, Source], None]:
    def remember(name: str, source: Source) -> None:
        if isinstance(source, HttpSource):
            source.remember(lambda since: known_pushes(fabric.road, fabric.lake, name, since))

    return remember


def _services(fabric: Fabric, sources: Sources, readers: ThreadPoolExecutor) -> Services:
    return Services(
        road=fabric.answers,
        door=fabric.door,
        quarantine=fabric.quarantine,
        people=fabric.people,
        keys=fabric.keys,
        incidents=fabric.incidents,
        jobs=JobTable(fabric.control),
        published=PublishedTable(fabric.control),
        push=Pushes(fabric.road, sources),
        replayer=fabric.replays,
        hub=Hub(fabric.clock, fabric.answers.commit_seq),
        clock=fabric.clock,
        readers=readers,
        version=__version__,
    )


def _listen(fabric: Fabric, host: str | None, port: int | None) -> Listen:
    settings = fabric.spec.settings.listen
    tls = settings.tls
    return Listen(
        fabric.state,
        host or settings.host,
        settings.port if port is None else port,
        fabric.folder / tls.certificate if tls else None,
        fabric.folder / tls.key if tls else None,
    )


def _app(fabric: Fabric, services: Services, listen: Listen, *, demo: bool) -> App:
    started = fabric.clock.now()

    def describe() -> About:
        return About(
            name=fabric.spec.settings.name,
            zone=fabric.spec.settings.timezone,
            address=f"{listen.host}:{listen.port}",
            loopback=listen.loopback,
            version=__version__,
            started=started,
            demo=demo,
            folder=str(fabric.folder),
            sites={site.name: getattr(site, "timezone", "") or "UTC" for site in fabric.spec.sites},
            steps=_steps(fabric),
        )

    site = ServiceSite(services, describe, fabric.answers.rates)
    pages = [*operator_routes(services, Operations(fabric), fabric.state / "incoming"), *routes(site)]
    return build_app(services, pages, exception_handlers(site))


def _steps(fabric: Fabric) -> Sequence[Step]:
    feeds, rows = len(fabric.spec.feeds), fabric.answers.commit_seq()
    return (
        Step("Connect a source", "Write a connection and a feed, or: weftline init DIR --template plant", feeds > 0),
        Step("Check the contract", "Run: weftline check", bool(fabric.spec.contracts)),
        Step("Bring the first records", "Drop a file, or: weftline ingest FEED FILE", rows > 1),
    )


def _first(fabric: Fabric, url: str) -> str:
    """Make the first administrator from a file, or return a one-time link where there is none."""
    path = os.environ.get(PASSWORD_FILE, "")
    if path:
        fabric.people.first_from_file(Path(path))
    token = fabric.people.first_link()
    return f"{url}/welcome/{token}" if token else ""


def speak(serving: Serving) -> None:
    """Tell where to look and how to sign in, on one line each, to standard error."""
    lines = [f"weftline: {serving.fabric.spec.settings.name} on {serving.url}"]
    if serving.first_link:
        lines.append(f"weftline: first administrator, once within 30 minutes: {serving.first_link}")
    if serving.fingerprint:
        lines.append(f"weftline: self-signed certificate, SHA-256 {serving.fingerprint}")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
