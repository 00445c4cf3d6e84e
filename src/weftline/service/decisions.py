"""The record of decisions: one line per read, durable before the answer leaves, kept 400 days, never rewritten.

Files `decisions-YYYY-MM-DD.jsonl` (UTC) lie in the folder; each line is one JSON object (`Decision`). Appends of many
threads share one fsync: whoever comes while an fsync runs is in the next one, so nobody waits for company.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from weftline.clock import Clock, from_micros
from weftline.errors import StoreError

__all__ = ["Decision", "DecisionLog", "DecisionLogError", "TornLine"]

RETENTION_SECONDS = 400 * 86_400.0
log = structlog.get_logger("weftline.decisions")


class DecisionLogError(StoreError):
    """Say that a decision could not be recorded; the answer was withheld."""

    code = "decision-not-recorded"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision as it is recorded. `time` is microseconds UTC."""

    id: str
    time: int
    actor: str
    actor_name: str
    roles: list[str]
    authenticated: str
    credential: str
    purpose: str
    action: Literal["read", "subscribe"]
    datasets: list[str]
    query: str
    """Text of the query, at most 4,000 characters; `query_hash` is SHA-256 of the whole."""
    query_hash: str
    columns: list[str]
    decision: Literal["permit", "deny"]
    reasons: list[str]
    obligations: list[dict[str, Any]]
    policy: str
    """Version of the policy that decided."""
    outcome: Literal["answered", "refused", "failed"]
    rows: int | None
    commit_seq: int
    client: str
    agent: str
    request: str


class TornLine(msgspec.Struct, frozen=True):
    """A line a crash cut short; its answer never left."""

    file: str
    line: int


class DecisionLog:
    """Append decisions. Any thread may call `append`; one thread of its own writes and syncs."""

    def __init__(self, folder: Path, clock: Clock, *, sync: Callable[[int], None] = os.fsync) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._clock = clock
        self._sync = sync
        self._ready = threading.Condition()
        self._waiting: list[tuple[str, bytes, Future[None]]] = []
        self._ended = False
        self._file: int | None = None
        self._day = ""
        self.syncs = 0
        self._writer = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._writer.start()

    def append(self, decision: Decision) -> None:
        """Return once the decision is on disk. Raises DecisionLogError, and then nothing may be answered."""
        done: Future[None] = Future()
        day = from_micros(decision.time).strftime("%Y-%m-%d")
        with self._ready:
            if self._ended:
                raise DecisionLogError(place=str(self.folder), found="a closed record", expected="an open one")
            self._waiting.append((day, msgspec.json.encode(decision) + b"\n", done))
            self._ready.notify()
        try:
            done.result()
        except OSError as error:
            raise DecisionLogError(
                place=str(self.folder),
                found=str(error),
                expected="a decision on disk before the answer",
                next_step="Free space on this disk; reading goes on by itself then.",
            ) from error

    def read(self, day: str) -> Iterator[Decision | TornLine]:
        """Return a day's decisions in the order they were made."""
        path = self._path(day)
        if not path.exists():
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield msgspec.json.decode(line, type=Decision)
                except msgspec.DecodeError:
                    yield TornLine(path.name, number)

    def days(self) -> list[str]:
        """Return the days that have a file, oldest first."""
        return sorted(path.stem.removeprefix("decisions-") for path in self.folder.glob("decisions-*.jsonl"))

    def expire(self, seconds: float = RETENTION_SECONDS) -> list[str]:
        """Remove files whose day is longer ago than the retention; return their days."""
        oldest = (from_micros(self._clock.now()) - timedelta(seconds=seconds)).strftime("%Y-%m-%d")
        gone = [day for day in self.days() if day < oldest]
        for day in gone:
            self._path(day).unlink()
        return gone

    def close(self) -> None:
        """Write what waits and end the writer."""
        with self._ready:
            self._ended = True
            self._ready.notify()
        self._writer.join()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _path(self, day: str) -> Path:
        return self.folder / f"decisions-{day}.jsonl"

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._ended:
                    self._ready.wait()
                batch, self._waiting = self._waiting, []
                if not batch:
                    return
            for day in sorted({day for day, _, _ in batch}):
                self._write(day, [(line, done) for when, line, done in batch if when == day])

    def _write(self, day: str, lines: list[tuple[bytes, Future[None]]]) -> None:
        try:
            descriptor = self._open(day)
            view = memoryview(b"".join(line for line, _ in lines))
            while view:
                view = view[os.write(descriptor, view) :]
            self._sync(descriptor)
            self.syncs += 1
        except OSError as error:
            log.error("decisions not recorded", error=str(error), decisions=len(lines))
            self._drop_file()  # the next batch opens anew, ends a torn line and does not trust a failed fsync
            for _, done in lines:
                done.set_exception(error)
        else:
            for _, done in lines:
                done.set_result(None)

    def _open(self, day: str) -> int:
        if self._file is not None and self._day == day:
            return self._file
        self._drop_file()
        path = self._path(day)
        new = not path.exists()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._day = day
        if new:
            directory = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        elif path.stat().st_size:
            with path.open("rb") as tail:
                tail.seek(-1, os.SEEK_END)
                if tail.read(1) != b"\n":
                    os.write(self._file, b"\n")
        return self._file

    def _drop_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
