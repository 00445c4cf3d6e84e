"""A watched drop folder on the road: look, take what has settled, archive after the commit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import structlog

from weftline.connectors.back_off import BackOff
from weftline.connectors.base import Capabilities, Connector, Finding, Replay, Road, Source
from weftline.connectors.files.drop_folder import DropFolder, Found, Look
from weftline.connectors.files.globs import Glob, GlobError, parse, ties
from weftline.connectors.files.intake import Beginning, FileOutcome, Stop, Verdict, ingest_file
from weftline.connectors.files.options import FilesOptions, FilesSelector
from weftline.errors import Complaint, WeftlineError
from weftline.model.feed import ConnectionSpec, ConnectionState, FeedSpec

__all__ = ["FilesConnector", "FilesSource"]

log = structlog.get_logger()

FEEDS_AT_ONCE = 4
"""Feeds of one folder whose files are read at the same time; one more thread looks at the folder."""
DONE = frozenset({Verdict.STORED, Verdict.DUPLICATE, Verdict.EMPTY, Verdict.HELD})


class FilesConnector(Connector):
    """Watch drop folders."""

    kind: ClassVar[str] = "files"
    summary: ClassVar[str] = "Files dropped into a folder, taken when whole, archived after they are stored."
    capabilities: ClassVar[Capabilities] = Capabilities(
        replay=Replay.COMMIT,
        identity="SHA-256 of the content and the byte where the block begins",
        pushes=False,
        holds_back=True,
        reconnects=True,
    )
    options: ClassVar[type[FilesOptions]] = FilesOptions
    selector: ClassVar[type[FilesSelector]] = FilesSelector

    def open(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> Source:
        """Return the source; the folder is looked at once it runs."""
        return FilesSource(connection, feeds, road)

    async def probe(self, connection: ConnectionSpec, feed: FeedSpec) -> Sequence[Finding]:
        """Look at the folder without taking anything."""
        return await asyncio.to_thread(_probe, root_of(connection), connection.options, feed)

    def check(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec]) -> Sequence[tuple[FeedSpec, Complaint]]:  # noqa: ARG002
        """Refuse globs that leave the folder and two feeds with the same glob."""
        found: list[tuple[FeedSpec, Complaint]] = []
        globs: dict[str, Glob] = {}
        by_name = {feed.name: feed for feed in feeds}
        for feed in feeds:
            try:
                globs[feed.name] = parse(feed.selector.path, f"feed {feed.name}")
            except GlobError as error:
                found.append((feed, error.complaint))
        for one, other in ties(globs):
            complaint = Complaint(
                "files-glob-tie",
                f"feed {one}",
                f"the glob '{globs[one].text}', which feed '{other}' has too",
                "one feed for a file",
                "Make one of the two globs more specific.",
            )
            found.append((by_name[one], complaint))
        return found


def root_of(connection: ConnectionSpec) -> Path:
    """Return the drop folder; a relative path starts in the fabric's folder."""
    options: FilesOptions = connection.options
    return Path(connection.folder or ".") / options.path


def _probe(root: Path, options: FilesOptions, feed: FeedSpec) -> list[Finding]:
    glob = parse(feed.selector.path, f"feed {feed.name}")
    if not root.is_dir():
        return [Finding("folder", "failed", f"{root} is no folder", "Create it, or correct `path`.")]
    findings = []
    for right, name, step in (
        (os.R_OK | os.X_OK, "read", "Give leave to read the folder."),
        (os.W_OK, "move files", "Give leave to write: stored files are moved to the archive."),
    ):
        fine = os.access(root, right)
        findings.append(Finding(name, "ok" if fine else "failed", str(root), "" if fine else step))
    if not os.access(root, os.R_OK | os.X_OK):
        return findings
    from weftline.clock import SystemClock

    quick = DropFolder(root, _without_settling(options), {feed.name: glob}, SystemClock())
    look = quick.look()
    files = look.ready.get(feed.name, [])
    size = sum(found.size for found in files)
    verdict = "ok" if files else "unknown"
    findings.append(Finding("files", verdict, f"{len(files)} files of {size:,} bytes match '{glob.text}'"))
    unreadable = [found.relative for found in files if not os.access(found.path, os.R_OK)]
    if unreadable:
        named = ", ".join(unreadable[:3])
        findings.append(Finding("permissions", "failed", f"may not be read: {named}", "Give leave to read them."))
    findings += [Finding("entry", "warning", complaint.sentence()) for _, complaint in look.refused]
    return findings


def _without_settling(options: FilesOptions) -> FilesOptions:
    import msgspec

    return msgspec.structs.replace(options, settle_seconds=0.0)


class FilesSource(Source):
    """Watch one root for its feeds. Feeds are read side by side, the files of one feed one after the other."""

    def __init__(self, connection: ConnectionSpec, feeds: Sequence[FeedSpec], road: Road) -> None:
        self._name, self._road = connection.name, road
        self._options: FilesOptions = connection.options
        self._feeds = {feed.name: feed for feed in feeds}
        globs = {feed.name: parse(feed.selector.path, f"feed {feed.name}") for feed in feeds}
        self._folder = DropFolder(root_of(connection), self._options, globs, road.clock)
        self._pool = ThreadPoolExecutor(FEEDS_AT_ONCE + 1, f"files-{self._name}")
        self._stop = Stop()
        self._woken = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(FEEDS_AT_ONCE)
        self._later: dict[str, tuple[BackOff, float]] = {}
        self._beginnings: dict[str, Beginning] = {}
        self._state = ""

    async def run(self) -> None:
        """Look at the folder at every poll until stopped; a folder that is away is looked for with back-off."""
        loop = asyncio.get_running_loop()
        back_off = BackOff(longest=max(60.0, self._options.poll_seconds), clock=self._road.clock)
        self._tell("connecting", "")
        try:
            while not self._stop.asked:
                pause = self._options.poll_seconds
                busy = set(self._busy)
                try:
                    look = await loop.run_in_executor(self._pool, self._look)
                except OSError as error:
                    pause = back_off.failed()
                    self._tell("lost", f"{self._folder.root}: {error.strerror}", pause)
                else:
                    back_off.connected()
                    self._take(look, busy)
                await self._pause(pause)
        finally:
            self._stop.ask()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            self._pool.shutdown(wait=False)
            self._tell("stopped", "")

    async def stop(self) -> None:
        """Ask for the end; files on their way go on at the next start where the lake stands."""
        self._stop.ask()
        self._woken.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def _look(self) -> Look:
        self._folder.sweep()
        return self._folder.look()

    def _take(self, look: Look, busy: set[str]) -> None:
        """Start on the feeds that have files; `busy` ones were being read while the folder was looked at."""
        held = self._road.held()
        self._tell("held" if held else "connected", held or self._folder_detail(look))
        if held or self._stop.asked:
            return
        now = self._road.clock.steady()
        for feed, files in look.ready.items():
            due = [found for found in files if self._later.get(found.relative, (None, 0.0))[1] <= now]
            if due and feed not in busy:
                task = asyncio.create_task(self._read(feed, due), name=f"files-{self._name}-{feed}")
                self._busy[feed] = task
                task.add_done_callback(lambda _, feed=feed: self._busy.pop(feed, None))  # type: ignore[misc]
        for feed, complaint in look.refused:
            self._tell_feed(feed, "refused", complaint.sentence())

    async def _read(self, feed: str, files: Sequence[Found]) -> None:
        loop = asyncio.get_running_loop()
        async with self._slots:
            for found in files:
                if self._stop.asked:
                    return
                try:
                    await loop.run_in_executor(self._pool, self._one, self._feeds[feed], found)
                except (WeftlineError, OSError) as error:
                    # The file stays; the lake's position says where to go on at the next try.
                    self._try_later(found)
                    log.error("file not taken", feed=feed, file=found.relative, error=str(error))
                    self._tell_feed(feed, "lost", str(error))

    def _one(self, feed: FeedSpec, found: Found) -> None:
        outcome = ingest_file(
            self._road,
            feed,
            found.path,
            stop=self._stop,
            compression=self._options.compression,
            beginning=self._beginnings.get(found.relative),
        )
        log.info("file", feed=feed.name, file=found.relative, verdict=outcome.verdict.value, records=outcome.records)
        if outcome.verdict in DONE:
            self._folder.to_archive(found, outcome.digest)
            self._forget(found)
            self._tell_feed(feed.name, "connected", "")
        elif outcome.verdict is Verdict.REFUSED and outcome.complaint is not None:
            self._folder.to_reject(found, outcome.complaint, outcome.digest)
            self._forget(found)
            self._tell_feed(feed.name, "refused", outcome.complaint.sentence())
        elif outcome.verdict is not Verdict.STOPPED:
            self._not_now(found, outcome)

    def _not_now(self, found: Found, outcome: FileOutcome) -> None:
        """Keep a file that changed, vanished or may not be read for a later look."""
        if outcome.verdict is Verdict.CHANGED:
            self._folder.unsettle(found.relative)
            if outcome.beginning is not None:
                self._beginnings[found.relative] = outcome.beginning
        elif outcome.verdict is Verdict.VANISHED:
            self._forget(found)
        else:
            self._try_later(found)
        if outcome.complaint is not None:
            self._tell_feed(outcome.feed, "lost", outcome.complaint.sentence())

    def _try_later(self, found: Found) -> None:
        back_off, _ = self._later.get(found.relative, (BackOff(first=1.0, longest=300.0), 0.0))
        self._later[found.relative] = (back_off, self._road.clock.steady() + back_off.failed())

    def _forget(self, found: Found) -> None:
        self._later.pop(found.relative, None)
        self._beginnings.pop(found.relative, None)

    def _folder_detail(self, look: Look) -> str:
        waiting = sum(len(files) for files in look.ready.values())
        parts = [(waiting, "waiting"), (look.settling, "settling"), (look.unclaimed, "claimed by no feed")]
        return ", ".join(f"{number} {word}" for number, word in parts if number)

    def _tell(self, state: str, detail: str, pause: float = 0.0) -> None:
        if f"{state} {detail}" == self._state and not pause:
            return
        self._state = f"{state} {detail}"
        now = self._road.clock.now()
        self._road.report(self._name, ConnectionState(state, detail, now, now + int(pause * 1_000_000) if pause else 0))

    def _tell_feed(self, feed: str, state: str, detail: str) -> None:
        self._road.report(self._name, ConnectionState(state, detail, self._road.clock.now()), [feed])
