"""The wheel alone: what `pip install weftline` gives, without extras and without this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        **more,
    )  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def weftline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it with its locked base dependencies into a clean environment."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    built = run(sys.executable, "-m", "hatchling", "build", "-d", folder, "-t", "wheel", cwd=ROOT)
    assert built.returncode == 0, built.stderr
    wheel = next(folder.glob("*.whl"))
    for step in (
        (uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"),
        (
            uv,
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--python",
            folder / "venv",
            "-r",
            ROOT / "requirements/base.lock",
        ),
        (uv, "pip", "install", "--quiet", "--no-deps", "--python", folder / "venv", wheel),
    ):
        done = run(*step)
        assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin" / "weftline"


def test_the_base_install_takes_a_file_to_an_answer(weftline: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    assert run(weftline, "init", shop, "--template", "plant").returncode == 0
    assert run(weftline, "check", "--fabric", shop).returncode == 0
    readings = tmp_path / "readings.csv"
    readings.write_text(
        "time,machine,temperature,good_parts\n2026-11-22T10:00:00Z,P1,21.5,3\n2026-11-22T10:00:10Z,P1,999,3\n"
    )
    assert run(weftline, "ingest", "press-readings", readings, "--fabric", shop).returncode == 0
    answer = run(
        weftline, "query", "SELECT machine, temperature FROM press_reading", "--format", "csv", "--fabric", shop
    )
    assert answer.stdout.split() == ['"machine","temperature"', '"P1",21.5']


def test_a_missing_extra_names_the_line_that_installs_it(weftline: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run(weftline, "init", shop, "--template", "plant")
    feed = next((shop / "feeds").glob("*.yaml"))
    feed.write_text(feed.read_text().replace("codec: csv", "codec: xlsx"))
    refused = run(weftline, "ledger", "--fabric", shop)
    assert refused.returncode == 2
    assert "pip install 'weftline[xlsx]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_demo_runs_from_the_wheel(weftline: Path, tmp_path: Path) -> None:
    shown = run(weftline, "demo", "--folder", tmp_path / "demo", "--port", "0", "--for", "8", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    assert '"troubles"' in shown.stdout
