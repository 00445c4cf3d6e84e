"""Every command explains itself, speaks JSON where it prints, and stands on docs/cli.md."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from weftline.cli import holder
from weftline.service import wiring

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("cli_docs", ROOT / "tools" / "cli_docs.py")
assert SPEC is not None
assert SPEC.loader is not None
cli_docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cli_docs)
COMMANDS = dict(cli_docs.commands())
SILENT = {
    "up": "runs until stopped; what it says is for people and goes to standard error",
    "schema": "its answer is a JSON document already",
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weftline", *words], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_and_each_of_its_options_has_words(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip().endswith("."), "one sentence"
    assert [item.name for item in command.params if not item.help] == []


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(SILENT)))
def test_a_command_that_prints_speaks_json(name: str) -> None:
    formats = [item for item in COMMANDS[name].params if item.name == "format"]
    assert formats, "give it --format table|json"
    assert "json" in f"{formats[0].metavar} {formats[0].help}"


def test_the_exceptions_are_commands() -> None:
    assert set(SILENT) <= set(COMMANDS)


def test_the_page_of_commands_is_current() -> None:
    assert cli_docs.PAGE.read_text() == cli_docs.page(), "run: python tools/cli_docs.py"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "nosuch"),
        (["ingest"], "feed"),
        (["query", "--forma", "json", "SELECT 1"], "--forma"),
        (["demo", "--speed", "1000"], "100"),
    ],
    ids=["unknown command", "missing argument", "unknown option", "value out of range"],
)
def test_a_misused_command_ends_with_2_and_one_sentence_of_its_use(words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.rstrip().endswith("[usage]")
    assert "error of its own" not in done.stderr


def test_a_bare_call_shows_the_commands() -> None:
    done = run()
    assert done.returncode == 2
    assert "quarantine" in done.stderr + done.stdout


def test_help_does_not_wait_for_the_store() -> None:
    script = "import sys, weftline.cli; print([m for m in ('duckdb', 'sqlalchemy', 'sqlglot') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_commands_look_where_the_service_keeps_its_state() -> None:
    assert holder.STATE == wiring.STATE
