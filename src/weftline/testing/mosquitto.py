"""Start a real mosquitto on loopback for as long as a test or benchmark needs it.

Its limits are raised, since at defaults mosquitto drops what a stalled subscriber does not take; `settings` holds what
was set, so that a benchmark can print it. Source: mosquitto.conf(5).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from weftline.errors import TerminalError, TransientError


class MosquittoMissingError(TerminalError):
    """Say that there is no mosquitto on this machine."""

    code = "mosquitto-missing"


class MosquittoStartError(TransientError):
    """Say why mosquitto did not come up."""

    code = "mosquitto-start"


def find_mosquitto() -> str:
    """Return the path of the mosquitto program; raises `MosquittoMissingError`."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MosquittoMissingError(
            place="mosquitto", found="no such program", expected="it on PATH", next_step="Run: apt install mosquitto"
        )
    return path


class Mosquitto:
    """A mosquitto process on a free loopback port for the length of a ``with`` block; stopped by its own pid."""

    def __init__(self, *, persistence: bool = False, timeout_seconds: float = 10.0) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.pid = 0
        self.settings: dict[str, str] = {
            "max_queued_messages": "0",
            "max_inflight_messages": "65535",
            "allow_anonymous": "true",
            "sys_interval": "1",
            "set_tcp_nodelay": "true",
            "persistence": "true" if persistence else "false",
        }
        self._timeout = timeout_seconds
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        program = find_mosquitto()
        self._folder = tempfile.TemporaryDirectory(prefix="weftline-mosquitto-")
        folder = Path(self._folder.name)
        # As root mosquitto would change to a user that cannot write here.
        lines = ["user root", f"persistence_location {folder}/", "log_dest file " + str(folder / "log")]
        self.port = _free_port()
        lines += [f"{name} {value}" for name, value in self.settings.items()]
        configuration = folder / "mosquitto.conf"
        configuration.write_text("\n".join([*lines, f"listener {self.port} {self.host}", ""]), "utf-8")
        self._process = subprocess.Popen(
            [program, "-c", str(configuration)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.pid = self._process.pid
        deadline = time.monotonic() + self._timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "log").read_text("utf-8") if (folder / "log").exists() else "no log"
                self.stop()
                raise MosquittoStartError(
                    place=program, found=log[-500:], expected=f"it on port {self.port}", next_step="read its log"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End this process only: SIGTERM, after five seconds SIGKILL."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), 0.5).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
