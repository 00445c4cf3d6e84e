"""The demo as a person starts it: real protocols, scripted trouble, told by the control tower alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from weftline.testing.world import free_port, script

SPEED, SECONDS = 2.0, 25
TERMS = ("stored", "quarantined", "duplicate", "ignored", "expired", "waiting")


def demo(folder, *words):
    """Run the demo to its end; return its JSON and the line that tells how to sign in."""
    call = [sys.executable, "-m", "weftline", "demo", "--folder", str(folder), "--port", str(free_port())]
    call += ["--format", "json", *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "sign in as" in line]
    return json.loads(done.stdout), line.partition("sign in as ")[2]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "world"
    return folder, *demo(folder, "--for", SECONDS, "--speed", SPEED)


@pytest.fixture(scope="module")
def again(troubled):
    """Start the same folder once more, in calm."""
    return demo(troubled[0], "--for", 2, "--no-trouble")


def balanced(told):
    total = told["ledger"]["total"]
    assert total["received"] == sum(total[term] for term in TERMS)
    assert total["received"] > 0
    off = [row["feed"] for row in told["ledger"]["feeds"] if row["balanced"] is False]
    assert not off


def test_the_demo_ends_with_a_balanced_ledger(troubled):
    _, told, _ = troubled
    balanced(told)
    assert told["ledger"]["total"]["stored"] > told["ledger"]["total"]["quarantined"] > 0
    assert (told["seed"], told["speed"]) == (1, SPEED)


def test_the_tower_shows_troubles_of_the_script_and_no_other_subject(troubled):
    _, told, _ = troubled
    played = [one for one in script(1) if one.attention and one.begins(SPEED) < SECONDS]
    shown = json.dumps(told["troubles"])
    seen = [one for one in played if one.subject in shown]
    assert len(seen) >= 3, (shown, [one.subject for one in played])
    strangers = [one for one in told["troubles"] if not any(hit.subject in json.dumps(one) for hit in script(1))]
    assert not strangers


def test_a_restart_on_the_same_folder_prints_the_same_account(troubled, again):
    assert again[1] == troubled[2]
    balanced(again[0])
    assert again[0]["ledger"]["total"]["received"] >= troubled[1]["ledger"]["total"]["received"]


def test_a_calm_world_has_no_trouble(tmp_path):
    told, _ = demo(tmp_path / "calm", "--for", 15, "--no-trouble")
    assert told["troubles"] == []
    assert told["ledger"]["total"]["quarantined"] == 0
    balanced(told)
