"""Fork servers from a process that has imported everything, so that a fault round does not pay for imports each time.

    python -c "from weftline.testing.faults.zygote import main; main()"

answers one JSON line for each: {"start": {"arguments": …, "environment": …, "log": …, "folder": …}} → {"pid": …} and
{"poll": pid} → {"status": null or the exit status, negative for a signal}. It ends when its standard input ends, and
kills what it started. Single-threaded, as fork demands.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weftline.connectors.registry import connector

__all__ = ["Zygote", "main"]


class Zygote:
    """The client's side; one per test process, started when first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._guard = threading.Lock()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send one question and return the answer."""
        with self._guard:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", "from weftline.testing.faults.zygote import main; raise SystemExit(main())"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                )
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def start(self, arguments: Sequence[str], environment: dict[str, str], log: Path, folder: Path) -> int:
        """Start the command line in a child and return its pid."""
        start = {"arguments": [*arguments], "environment": environment, "log": str(log), "folder": str(folder)}
        return int(self.ask(start=start)["pid"])

    def poll(self, pid: int) -> int | None:
        """Return the exit status of a child, None while it runs."""
        status: int | None = self.ask(poll=pid)["status"]
        return status


def _start(arguments: list[str], environment: dict[str, str], log: str, folder: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        status = _serve(arguments)
    finally:
        os._exit(status)


def _serve(arguments: list[str]) -> int:
    from weftline import failpoint
    from weftline.cli import main as command

    failpoint.hit = failpoint.armed(os.environ)
    # A server that hangs tells where: SIGUSR1 writes every thread's stack to its log.
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    sys.argv = ["weftline", *arguments]
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _import_everything() -> None:
    for name in ("weftline.cli", "weftline.cli.serving", "weftline.codecs.registry"):
        importlib.import_module(name)
    for kind in ("mqtt", "http", "files"):
        connector(kind)


def main() -> int:
    """Answer questions until there are no more."""
    _import_everything()
    running: dict[int, int | None] = {}
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        if "start" in question:
            pid = _start(**question["start"])
            running[pid] = None
            answer = {"pid": pid}
        else:
            pid = int(question["poll"])
            if running[pid] is None:
                found, status = os.waitpid(pid, os.WNOHANG)
                running[pid] = os.waitstatus_to_exitcode(status) if found else None
            answer = {"status": running[pid]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid, ended in running.items():
        if ended is None and os.waitpid(pid, os.WNOHANG)[0] == 0:
            os.kill(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
