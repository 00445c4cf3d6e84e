"""The lock of a fabric's state folder: one process owns it, and everybody else is told which one and where it listens.

The lock is the operating system's (flock) on `.weftline/lock`, so a killed owner leaves none behind; the file's text
tells who holds it. A text without a held lock is stale and taken over.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from weftline.clock import Clock, SystemClock, from_micros
from weftline.errors import LockedError

__all__ = ["FolderLock", "Holder", "holder", "state_folder"]


class Holder(NamedTuple):
    """The process that owns the folder. `started` is microseconds UTC; `url` is empty for a command."""

    pid: int
    started: int
    url: str


def state_folder(path: Path) -> Path:
    """Make `.weftline` (or what the caller names) with mode 0700, which belongs to the platform identity alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def _read(path: Path) -> Holder | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=tuple[int, int, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return Holder(*found)


def holder(folder: Path) -> Holder | None:
    """Return who owns the folder now, or None; a text left by a killed process does not count."""
    path = folder / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path) or Holder(0, 0, "")
    finally:
        os.close(descriptor)
    return None


class FolderLock:
    """Own `.weftline` while open; `acquire` waits `wait` seconds and then raises LockedError naming the holder."""

    def __init__(self, folder: Path, *, url: str = "", wait: float = 10.0, clock: Clock | None = None) -> None:
        self._folder = folder
        self._path = folder / "lock"
        self._clock = clock or SystemClock()
        self._wait = wait
        self._url = url
        self._descriptor = -1

    def acquire(self) -> Self:
        """Take the lock and write who we are."""
        state_folder(self._folder)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = self._clock.steady() + self._wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if self._clock.steady() >= until:
                    os.close(descriptor)
                    raise self._refusal() from None
                time.sleep(0.05)
        self._descriptor = descriptor
        self.announce(self._url)
        return self

    def announce(self, url: str) -> None:
        """Write the address under which the owner is reached, once it is known."""
        text = msgspec.json.encode((os.getpid(), self._clock.now(), url))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Give the folder free; the file stays, empty."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _refusal(self) -> LockedError:
        owner = _read(self._path)
        who = "another process"
        if owner:
            who = f"process {owner.pid}, since {from_micros(owner.started):%Y-%m-%d %H:%M:%S} UTC"
            who += f", at {owner.url}" if owner.url else ""
        return LockedError(
            place=str(self._folder),
            found=f"the folder owned by {who}",
            expected="no other owner",
            next_step="Stop that process, or send the command to its address.",
        )

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
