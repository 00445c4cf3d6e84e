"""The real server as its own process, and the real command line as another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

PASSWORD = "correct-horse-battery-7"
EMAIL = "admin@localhost"
START_SECONDS = 40.0
"""A bound for hanging, not a budget: the machine may be busy."""


class Up:
    """`weftline up` on a folder, on a free port."""

    def __init__(self, folder: Path, *, password_file: Path | None = None) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.url = ""
        self.link = ""
        self._heard = threading.Condition()
        environment = {**os.environ, "WEFTLINE_DEBUG": "1"}
        if password_file is not None:
            environment["WEFTLINE_ADMIN_PASSWORD_FILE"] = str(password_file)
        command = [sys.executable, "-m", "weftline", "up", "--fabric", str(folder), "--port", "0"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.url = self.wait_for("weftline: ", " on http").rpartition(" on ")[2]
        except BaseException:
            self.kill()
            raise
        self.seconds = time.monotonic() - self.began

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()

    def wait_for(self, *parts: str) -> str:
        """Return the first line of standard error that holds all parts."""

        def found() -> str | None:
            return next((line for line in self.lines if all(part in line for part in parts)), None)

        end = time.monotonic() + START_SECONDS
        with self._heard:
            while (line := found()) is None:
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise AssertionError(f"no line with {parts}; it said: {self.lines}")
                self._heard.wait(min(left, 0.2))
        return line

    def client(self, **settings: object) -> httpx.Client:
        """Return a browser without cookies."""
        return httpx.Client(base_url=self.url, timeout=30, **settings)  # type: ignore[arg-type]

    @contextmanager
    def signed_in(self, password: str = PASSWORD, email: str = EMAIL) -> Iterator[httpx.Client]:
        """Give a browser with a session; its CSRF token is sent along."""
        with self.client() as client:
            answer = client.post("/api/v1/session", json={"email": email, "password": password})
            assert answer.status_code == 200, answer.text
            client.headers["X-CSRF-Token"] = answer.json()["csrf"]
            yield client

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> tuple[int, float]:
        """Ask it to stop; return the exit code and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        seconds = time.monotonic() - began
        self._ended()
        return code, seconds

    def _ended(self) -> None:
        self.process.wait(timeout=10)
        self._listener.join(timeout=10)
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture(scope="module")
def up() -> Iterator[Callable[..., Up]]:
    """Return a function that starts a server; whatever still runs at the end is killed."""
    running: list[Up] = []

    def start(folder: Path, **settings: object) -> Up:
        running.append(Up(folder, **settings))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def weftline() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs one command; whatever it says, it never shows a traceback."""

    def run(*words: object, code: int | None = 0, **settings: object) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "weftline", *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False, **settings)  # type: ignore[call-overload]
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stderr, done.stdout)
        found: subprocess.CompletedProcess[str] = done
        return found

    return run


@pytest.fixture(scope="session")
def write() -> Callable[[Path, str], Path]:
    """Return a function that writes a file, its indentation taken away, and the folders above it."""

    def put(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return put


@pytest.fixture(scope="session")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path
