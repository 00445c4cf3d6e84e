"""The commands of tutorial and README, run as a reader would: one shell, one folder, a server in a second one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
README = ROOT / "README.md"
CORPUS = Path(os.environ.get("WEFTLINE_CORPUS", ROOT.parent / "shared" / "data"))
LOG = CORPUS / "iiot" / "nist-smstestbed" / "raw" / "Mazak01-20180802-20180803.txt"
PORT = "8420"
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKS = {("bash", ""), ("bash", "run"), ("bash", "run corpus"), ("bash", "serve"), ("text", ""), ("text", "shows")}


@dataclass
class Step:
    """One block of commands and what the page says it prints."""

    words: str
    commands: str
    shows: list[str] = field(default_factory=list)


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    for language, words, body in FENCE.findall(text):
        if language == "bash" and words.strip():
            found.append(Step(words.strip(), body))
        elif words.strip() == "shows":
            found[-1].shows += [line for line in body.splitlines() if line.strip()]
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


class Shell:
    """A shell that lives through the page: folder and variables carry over from block to block."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self._folder = folder
        self._state = folder / ".shell"
        self._servers: list[subprocess.Popen[bytes]] = []
        binaries = Path(sys.executable).parent
        self._environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "FILE": str(LOG),
            "WEFTLINE_REPO": str(ROOT),
        }
        self._state.write_text(f"cd '{folder}'\n")

    def run(self, commands: str) -> str:
        keep = f"{{ declare -p KEY 2>/dev/null || true; echo \"cd '$PWD'\"; }} > '{self._state}'"
        script = f"source '{self._state}'\nset -eu\n{commands.replace(PORT, self.port)}\n{keep}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{said}"
        assert "Traceback" not in said
        return said

    def serve(self, commands: str) -> None:
        script = f"source '{self._state}'\nexec {commands.replace(PORT, self.port)}"
        log = (self._folder / "server.log").open("wb")
        self._servers.append(
            subprocess.Popen(["bash", "-c", script], cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        )
        self._ready()

    def _ready(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError):
                assert self._servers[-1].poll() is None, (self._folder / "server.log").read_text()
                time.sleep(0.2)
        pytest.fail((self._folder / "server.log").read_text())

    def close(self) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0, (self._folder / "server.log").read_text()


def follow(shell: Shell, blocks: list[Step]) -> None:
    """Run the blocks in order and look for each shown line in what its block said."""
    assert blocks
    try:
        for step in blocks:
            if step.words == "serve":
                shell.serve(step.commands)
                continue
            said = squeezed(shell.run(step.commands))
            for line in step.shows:
                assert squeezed(line).strip() in said, f"the page shows {line!r}, the commands said: {said}"
    finally:
        shell.close()


def test_the_page_marks_each_block_with_a_word_the_test_knows() -> None:
    marks = {(language, words.strip()) for language, words, _ in FENCE.findall(PAGE.read_text())}
    assert marks <= MARKS
    assert {"run", "run corpus", "serve"} <= {step.words for step in steps(PAGE.read_text())}


@pytest.mark.slow(reason="six commands, each a process of its own")
def test_the_commands_of_the_readme_run_and_answer_as_it_shows(tmp_path: Path) -> None:
    follow(Shell(tmp_path), [step for step in steps(README.read_text()) if step.words == "run"])


@pytest.mark.slow(reason="some fifteen commands and a server, each a process of its own")
@pytest.mark.parametrize("part", ["own file and push", "real file"])
def test_the_tutorial_runs_and_answers_as_it_shows(part: str, tmp_path: Path) -> None:
    if part == "real file" and not LOG.exists():
        pytest.skip(f"no machine log at {LOG}: set WEFTLINE_CORPUS to the folder that holds iiot/nist-smstestbed/raw")
    wanted = {"run corpus"} if part == "real file" else {"run", "serve"}
    follow(Shell(tmp_path), [step for step in steps(PAGE.read_text()) if step.words in wanted])
