"""Two real machine tools: every line of their adapters' logs, and how long the machine was in which state."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from weftline.batch import Mark

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path("iiot/nist-smstestbed/raw")
MAZAK, HURCO = "Mazak01-20180802-20180803.txt", "Hurco01-20170518-20170519.txt"
LINES = 30_396
SECONDS = {
    "ACTIVE": 4_450.241,
    "READY": 2_419.950,
    "STOPPED": 1_237.559,
    "INTERRUPTED": 109.356,
    "FEED_HOLD": 5.307,
    "UNAVAILABLE": 167_858.861,
}
STATES = "SELECT state, sum(seconds) AS seconds FROM equipment_state WHERE equipment = '{}' GROUP BY state"
WORDS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")


def terms(result):
    """Keep the ledger terms that are not zero."""
    return {word: result[word] for word in WORDS if result[word]}


def durations(operations, equipment):
    return {row["state"]: row["seconds"] for row in operations.query(STATES.format(equipment)).to_pylist()}


def known(seconds):
    return {state: pytest.approx(value, abs=0.0005) for state, value in seconds.items()}


def oracle(path, state_tag):
    """Read the raw file in plain Python: seconds per state between the first and the last event of its tag."""
    events = []
    for line in path.read_text("utf-8").splitlines():
        stamp, *pairs = line.split("|")
        head, _, fraction = stamp.removesuffix("Z").partition(".")
        micros = int(datetime.fromisoformat(f"{head}+00:00").timestamp()) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
        events += [
            (micros, value.upper()) for tag, value in zip(pairs[::2], pairs[1::2], strict=False) if tag == state_tag
        ]
    events.sort(key=lambda event: event[0])
    found = defaultdict(int)
    for (start, state), (end, _) in pairwise(events):
        found[state] += end - start
    return {state: micros / 1_000_000 for state, micros in found.items()}


@pytest.fixture(scope="module")
def mazak(corpus):
    return corpus / LOGS / MAZAK


def command(folder, *words):
    """Run the real command line; return its JSON."""
    call = [sys.executable, "-m", "weftline", *map(str, words), "--fabric", str(folder), "--format", "json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow("three commands, each its own process")
def test_the_command_line_takes_a_real_day_to_durations(mazak, tmp_path):
    folder = tmp_path / "cnc"
    shutil.copytree(ROOT / "examples" / "cnc-log", folder)
    result = command(folder, "ingest", "mazak01", mazak, "--history")
    assert terms(result) == {"received": LINES, "stored": LINES}
    assert {row["state"]: row["seconds"] for row in command(folder, "query", STATES.format("Mazak01"))} == known(
        SECONDS
    )
    verified = command(folder, "ledger", "--verify")
    assert verified["verified"]
    assert terms(verified["total"]) == {"received": LINES, "stored": LINES}


def test_the_oracle_agrees_with_the_published_durations(mazak):
    assert oracle(mazak, "execution") == known(SECONDS)


def test_a_day_ingested_twice_counts_its_lines_as_duplicates_and_changes_no_duration(mazak, example):
    operations = example("cnc-log").operations
    assert terms(operations.ingest("mazak01", str(mazak), history=True)) == {"received": LINES, "stored": LINES}
    again = operations.ingest("mazak01", str(mazak), history=True)
    assert terms(again) == {"received": LINES, "duplicate": LINES}
    assert durations(operations, "Mazak01") == known(SECONDS)
    assert operations.query("SELECT count(*) AS n FROM signal").to_pylist() == [{"n": LINES}]
    (row,) = operations.ledger("mazak01")
    assert terms(row) == {"received": 2 * LINES, "stored": LINES, "duplicate": LINES}
    assert row["balanced"] is True
    assert operations.verify() == []


@pytest.mark.slow("six ingests of thirty thousand lines")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("order", ["as written", "later part first"])
def test_durations_do_not_depend_on_how_the_log_is_cut_and_in_which_order_it_comes(
    mazak, example, tmp_path, seed, order
):
    lines = mazak.read_bytes().splitlines(keepends=True)
    cut = random.Random(seed).randrange(1, len(lines))
    parts = [lines[:cut], lines[cut:]]
    operations = example("cnc-log").operations
    for number, part in enumerate(parts if order == "as written" else parts[::-1]):
        path = tmp_path / f"Mazak01-part-{number}.txt"
        path.write_bytes(b"".join(part))
        assert terms(operations.ingest("mazak01", str(path), history=True)) == {
            "received": len(part),
            "stored": len(part),
        }
    assert durations(operations, "Mazak01") == known(SECONDS), f"cut before line {cut + 1}"
    assert terms(operations.ledger("mazak01")[0]) == {"received": LINES, "stored": LINES}
    assert operations.verify() == []


def test_history_keeps_the_times_of_the_file_and_marks_nothing_late(mazak, example):
    operations = example("cnc-log").operations
    operations.ingest("mazak01", str(mazak), history=True)
    told = sorted({line.split("|", 1)[0][:26] for line in mazak.read_text().splitlines()})
    stored = operations.query(
        "SELECT DISTINCT strftime(event_time, '%Y-%m-%dT%H:%M:%S.%f') AS at FROM signal ORDER BY at"
    )
    assert stored.column("at").to_pylist() == [
        text.removesuffix("Z").ljust(20, ".").ljust(26, "0")[:26] for text in told
    ]
    late = operations.query(f"SELECT count(*) AS n FROM signal WHERE mark & {int(Mark.LATE)} != 0")
    assert late.to_pylist() == [{"n": 0}]


def test_without_history_old_lines_are_marked_late_and_durations_are_the_same(mazak, example):
    operations = example("cnc-log").operations
    operations.ingest("mazak01", str(mazak))
    late = operations.query(f"SELECT count(*) AS n FROM signal WHERE mark & {int(Mark.LATE)} != 0")
    assert late.to_pylist() == [{"n": LINES}]
    assert durations(operations, "Mazak01") == known(SECONDS)


def test_another_machine_agrees_with_an_independent_reading_of_its_file(corpus, example):
    path = corpus / LOGS / HURCO
    operations = example("cnc-log").operations
    result = operations.ingest("hurco01", str(path), history=True)
    assert terms(result) == {"received": 2_211, "stored": 2_211}
    expected = oracle(path, "Program_Status")
    assert set(expected) == {"ACTIVE", "FEED_HOLD", "READY", "UNAVAILABLE"}
    assert durations(operations, "Hurco01") == {
        state: pytest.approx(value, abs=1e-5) for state, value in expected.items()
    }
    assert operations.verify() == []


def test_two_machines_in_one_fabric_keep_their_states_apart(corpus, mazak, example):
    operations = example("cnc-log").operations
    operations.ingest("hurco01", str(corpus / LOGS / HURCO), history=True)
    operations.ingest("mazak01", str(mazak), history=True)
    assert durations(operations, "Mazak01") == known(SECONDS)
    assert durations(operations, "Hurco01").keys() == oracle(corpus / LOGS / HURCO, "Program_Status").keys()
