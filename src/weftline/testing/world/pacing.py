"""What the simulators share: their arguments, how they keep time, when they stop, and the log of what they sent."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from weftline.testing.world.script import Play

__all__ = ["Due", "SentLog", "Stop", "arguments", "play", "played", "started_at"]

_LOG_BYTES = 32 << 20
_LOOK_SECONDS = 0.2


class Due(Protocol):
    """Something to be sent, `due` real seconds after the start."""

    @property
    def due(self) -> float:
        """Return real seconds after the start."""
        ...


T = TypeVar("T", bound=Due)


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of what every simulator is told."""
    parser = argparse.ArgumentParser(prog=f"python -m weftline.testing.world.{name}", description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--run", type=int, default=1, help="number of this start; keeps identities apart from earlier ones"
    )
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--start-ms", type=int, default=0, help="start of the world, milliseconds since 1970; 0 = now")
    parser.add_argument("--no-trouble", action="store_true")
    parser.add_argument("--log", type=Path, default=None, help="JSON-lines file of what was sent, for tests")
    parser.add_argument("--stop-file", type=Path, default=None, help="stop when this file exists")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    return parser


def played(given: argparse.Namespace) -> Play:
    """Return the play the arguments ask for."""
    start_ms = given.start_ms or int(time.time() * 1000)
    return Play(given.seed, given.run, given.speed, given.no_trouble, start_ms)


def started_at(start_ms: int) -> float:
    """Return the monotonic time at which the world started, so that a clock that jumps moves nothing."""
    return time.monotonic() - (time.time() - start_ms / 1000)


class Stop:
    """Say when a simulator has to end: SIGTERM, its standard input ends, or its stop file appears."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.event = threading.Event()
        self._file: Path | None = given.stop_file
        signal.signal(signal.SIGTERM, lambda *_: self.event.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's; it ends us by closing our input
        if given.exit_with_parent:
            threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def _watch(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            continue
        self.event.set()

    @property
    def now(self) -> bool:
        """Tell whether to end."""
        if self._file is not None and self._file.exists():
            self.event.set()
        return self.event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether to end."""
        until = time.monotonic() + seconds
        while not self.now:
            left = until - time.monotonic()
            if left <= 0:
                return False
            self.event.wait(min(left, _LOOK_SECONDS))
        return True


def play(events: Iterable[T], send: Any, stop: Stop, start_ms: int) -> None:
    """Send every event when it is due, in order, until it is time to stop."""
    began = started_at(start_ms)
    for event in events:
        if stop.wait(max(began + event.due - time.monotonic(), 0)):
            return
        send(event)


class SentLog:
    """Keep JSON lines of what was sent; at 32 MiB the log begins anew beside one older part."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8") if path is not None else None

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows and hand them to the operating system."""
        with self._lock:
            if self._file is None or self._path is None:
                return
            self._file.writelines(json.dumps(row) + "\n" for row in rows)
            self._file.flush()
            if self._file.tell() > _LOG_BYTES:
                self._file.close()
                self._path.replace(self._path.with_suffix(".older.jsonl"))
                self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
