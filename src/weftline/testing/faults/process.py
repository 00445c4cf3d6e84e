"""Run `weftline up` in a process that a test may kill, and start it again on the same folder.

The process is forked from one that has imported the program already (`zygote`), so times to ready leave imports out.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from weftline.errors import TransientError
from weftline.service.wiring import STATE
from weftline.store.lock import holder
from weftline.testing.faults.zygote import Zygote

__all__ = ["ZYGOTE", "FabricProcess", "FabricStartError", "free_port"]

ZYGOTE = Zygote()
READY_SECONDS = 60.0
STOP_SECONDS = 20.0


class FabricStartError(TransientError):
    """Say why the server did not come up, or did not end."""

    code = "fault-process"


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class FabricProcess:
    """A server on one folder. `failpoints` and `environment` hold for the next start only."""

    def __init__(self, folder: Path, log: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.log = log
        self.starts = 0
        self.ready_seconds: list[float] = []
        """Seconds from start to ready, one per start that got there."""
        self._environment = dict(environment or {})
        self._pid = 0
        self._status: int | None = None

    @property
    def url(self) -> str:
        """Return the address the server announced in its lock."""
        owner = holder(self.folder / STATE)
        return owner.url if owner else ""

    @property
    def alive(self) -> bool:
        """Say whether the process runs."""
        if self._pid and self._status is None:
            self._status = ZYGOTE.poll(self._pid)
        return self._pid != 0 and self._status is None

    def start(self, *, failpoints: str = "", wait: bool = True) -> None:
        """Start the server, with failpoints switched on if named, and wait until it is ready or dead."""
        environment = {**os.environ, **self._environment, "WEFTLINE_FAILPOINTS": failpoints}
        self.starts += 1
        with self.log.open("ab") as log:
            log.write(f"--- start {self.starts} {failpoints}\n".encode())
        self._status = None
        self._pid = ZYGOTE.start(["--verbose", "up", "--fabric", str(self.folder)], environment, self.log, self.folder)
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds: float = READY_SECONDS) -> bool:
        """Wait until pages answer; False where the process ended before, as a failpoint may have asked."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if not self.alive:
                if self.wait_end() != -signal.SIGKILL:
                    raise FabricStartError(place=str(self.folder), found=self.tail(), expected="a server that starts")
                return False
            if self._answers():
                self.ready_seconds.append(time.monotonic() - began)
                return True
            time.sleep(0.05)
        raise FabricStartError(place=str(self.folder), found=self.tail(), expected=f"ready within {seconds:.0f} s")

    def _answers(self) -> bool:
        url = self.url
        if not url:
            return False
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our own loopback address
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """End it as a power cut does to a process: SIGKILL, nothing is flushed."""
        if self.alive:
            os.kill(self._pid, signal.SIGKILL)
        self.wait_end()

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit status; raises where it does not end in time."""
        if self.alive:
            os.kill(self._pid, signal.SIGTERM)
        return self.wait_end()

    def wait_end(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit status (negative: the signal)."""
        until = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > until:
                os.kill(self._pid, signal.SIGUSR1)
                time.sleep(0.5)
                os.kill(self._pid, signal.SIGKILL)
                raise FabricStartError(
                    place=str(self.folder), found=f"no end after {seconds:.0f} s: see {self.log}", expected="it to end"
                )
            time.sleep(0.01)
        return self._status or 0

    def tail(self, lines: int = 15) -> str:
        """Return the end of the server's log."""
        if not self.log.exists():
            return "no log"
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
