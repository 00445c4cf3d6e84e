"""Start the test broker in a process of its own, and stop that process only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from weftline.errors import TransientError


class BrokerStartError(TransientError):
    """Say why a broker process did not come up."""

    code = "mqtt-broker-start"


class BrokerProcess:
    """A broker on free loopback ports for the length of a ``with`` block.

    The process also ends when this one dies, since it watches its standard input. Raises `BrokerStartError` if it is
    not ready within `timeout_seconds`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 0,
        users: Mapping[str, str] | None = None,
        max_inflight: int = 65_535,
        max_queued: int | None = None,
        sys_seconds: float = 1.0,
        timeout_seconds: float = 20.0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.control_port = 0
        self.pid = 0
        self._users = users
        self._timeout = timeout_seconds
        self._arguments = ["--seed", str(seed), "--max-inflight", str(max_inflight), "--sys-seconds", str(sys_seconds)]
        if max_queued is not None:
            self._arguments += ["--max-queued", str(max_queued)]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        self._folder = tempfile.TemporaryDirectory(prefix="weftline-mqtt-")
        ready = Path(self._folder.name) / "ready.json"
        arguments = ["--port", str(self.port), "--ready-file", str(ready), "--exit-with-parent", *self._arguments]
        if self._users is not None:
            users = Path(self._folder.name) / "users.json"
            users.touch(0o600)
            users.write_text(json.dumps(dict(self._users)), "utf-8")
            arguments += ["--users-file", str(users)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weftline.testing.mqtt_broker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        deadline = time.monotonic() + self._timeout
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                status = self._process.poll()
                self.stop()
                raise BrokerStartError(
                    place="weftline.testing.mqtt_broker",
                    found="no answer in time" if status is None else f"exit status {status}",
                    expected=f"a broker within {self._timeout:.0f} s",
                    next_step="read its standard error above",
                )
            time.sleep(0.02)
        answer = json.loads(ready.read_text("utf-8"))
        self.port, self.control_port, self.pid = answer["port"], answer["control_port"], answer["pid"]

    def stop(self) -> None:
        """End the process, first with SIGTERM, after five seconds with SIGKILL."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def command(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command of `mqtt_faults` and return the answer; raises `BrokerStartError` if it was refused."""
        if self._control is None:
            self._control = socket.create_connection((self.host, self.control_port), 5)
        self._control.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = self._control.recv(65_536)
            if not more:
                break
            answer += more
        result: dict[str, Any] = json.loads(answer or b'{"ok": false, "error": "the broker is gone"}')
        if not result["ok"]:
            raise BrokerStartError(place=do, found=result["error"], expected="ok", next_step="correct the command")
        return result
