"""Look at processes from outside, and run `weftline up` on a folder as people do."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import pyarrow as pa

from weftline.errors import TransientError
from weftline.store.lock import holder

__all__ = ["NotServedError", "Served", "cpu_seconds", "peak_rss_mb", "rss_mb", "until"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PASSWORD = "bench-password-for-one-run"  # noqa: S105 - of a folder that is deleted after the run


class NotServedError(TransientError):
    """Say why a benchmark's server did not come up or did not answer."""

    code = "bench-server"


def cpu_seconds(pid: int) -> float:
    """Return user and system CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def rss_mb(pid: int) -> float:
    """Return resident memory, MiB."""
    return _status(pid, "VmRSS")


def peak_rss_mb(pid: int) -> float:
    """Return the largest resident memory so far, MiB."""
    return _status(pid, "VmHWM")


def until(test: Callable[[], Any], seconds: float, what: str, pause: float = 0.02) -> float:
    """Wait until `test` is true; return the seconds it took, or raise NotServedError."""
    began = time.perf_counter()
    while not test():
        if time.perf_counter() - began > seconds:
            raise NotServedError(place="bench", found=f"no {what} within {seconds:g} s", expected=what)
        time.sleep(pause)
    return time.perf_counter() - began


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("weftline", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(120)
        self.sock.connect(str(self._path))


class Served:
    """A `weftline up` in a process of its own, on a free port; ended by its own pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = 0
        self.url = ""
        self.start_seconds = 0.0
        """From the process's start to the answer of the first page."""
        self._process: subprocess.Popen[bytes] | None = None
        self._cookies = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, seconds: float = 120.0) -> None:
        """Start the process and wait until its first page answers."""
        with tempfile.NamedTemporaryFile("w", delete=False, prefix="weftline-bench-") as secret:
            secret.write(_PASSWORD)
        environment = {**os.environ, "WEFTLINE_ADMIN_PASSWORD_FILE": secret.name}
        began = time.perf_counter()
        log = (self.folder.with_name(f"{self.folder.name}.log")).open("ab")
        command = [sys.executable, "-m", "weftline", "up", "--fabric", str(self.folder), "--port", "0"]
        self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        log.close()
        self.pid = self._process.pid
        try:
            until(self._listens, seconds, "listening server", 0.005)
            self.page("/")
        finally:
            Path(secret.name).unlink()
        self.start_seconds = time.perf_counter() - began

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            told = (self.folder.with_name(f"{self.folder.name}.log")).read_text("utf-8", "replace")[-600:]
            raise NotServedError(place=str(self.folder), found=told, expected="a server that starts")
        owner = holder(self.folder / ".weftline")
        self.url = owner.url if owner is not None and owner.pid == self.pid else ""
        return bool(self.url)

    def kill(self) -> None:
        """End the process as a power cut does."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End the process in order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    # -- asking ------------------------------------------------------------------------------------------------------

    def page(self, target: str, *, as_person: bool = False) -> tuple[int, float, bytes]:
        """GET a page over TCP; return status, seconds until its last byte, and the page."""
        if as_person and not self._cookies:
            self._sign_in()
        place = urlsplit(self.url)
        began = time.perf_counter()
        connection = http.client.HTTPConnection(str(place.hostname), place.port or 80, timeout=60)
        headers = {"Cookie": self._cookies} if as_person else {}
        connection.request("GET", target, headers={"Accept": "text/html", **headers})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, time.perf_counter() - began, body

    def _sign_in(self) -> None:
        """Sign in as the administrator that the password file made."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port or 80, timeout=60)
        body = json.dumps({"email": "admin@localhost", "password": _PASSWORD})
        headers = {"Content-Type": "application/json", "Origin": self.url}
        connection.request("POST", "/api/v1/session", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        cookies = [value.split(";", 1)[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        connection.close()
        if answer.status >= 400 or not cookies:
            raise NotServedError(place=self.url, found=told[:300].decode("utf-8", "replace"), expected="a session")
        self._cookies = "; ".join(cookies)

    def _send(self, method: str, target: str, body: bytes | None = None) -> bytes:
        connection = _Unix(self.folder / ".weftline" / "socket")
        connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise NotServedError(place=target, found=content[:400].decode("utf-8", "replace"), expected="an answer")
        return content

    def get(self, target: str) -> Any:
        """Return what the API answers the local operator."""
        return json.loads(self._send("GET", target))

    def call(self, name: str, **arguments: Any) -> Any:
        """Run one of the operator's verbs."""
        return json.loads(self._send("POST", f"/api/v1/operator/{name}", json.dumps(arguments).encode()))

    def query(self, sql: str) -> pa.Table:
        """Run one SELECT through the one door."""
        body = json.dumps({"sql": sql, "purpose": "benchmark", "limit": 1_000_000}).encode()
        return pa.ipc.open_stream(self._send("POST", "/api/v1/operator/query", body)).read_all()

    def ingest(self, feed: str, path: Path, **options: str) -> Mapping[str, Any]:
        """Send a file."""
        query = urlencode({"name": path.name, **options})
        answer: Mapping[str, Any] = json.loads(
            self._send("POST", f"/api/v1/operator/ingest/{feed}?{query}", path.read_bytes())
        )
        return answer
