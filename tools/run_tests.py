"""Run the test tiers one after the other, each with its wall time; write tests/results/full.json with --full.

A tier is a set of folders. Under CI=true a skipped test fails the run. Exit code: 0 all green, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TIERS = {
    "unit": ([["tests/unit", "tests/golden", "tests/property"]], 60.0),
    "component": ([["tests/component", "tests/conformance"]], 240.0),
    # The browser keeps an event loop running in its thread, and the corpus drives parsers to their depth limits: each of
    # these groups has processes of its own.
    "system": ([["tests/browser"], ["tests/docs"], ["tests/system", "tests/corpus", "tests/faults"]], 480.0),
    "faults": ([["tests/faults"]], 3600.0),
}


def run_group(folders: list[str], environment: dict[str, str], workers: list[str], extra: list[str]) -> dict[str, int]:
    """Run some folders in processes of their own; return their counts, with `status` as pytest's exit code."""
    present = [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [sys.executable, "-m", "pytest", "-q", "--durations=10", f"--junitxml={report.name}", *workers]
        result = subprocess.run([*command, *present, *extra], cwd=ROOT, env=environment, check=False)
        try:
            suites = list(ElementTree.parse(report.name).getroot().iter("testsuite"))
        except ElementTree.ParseError:
            suites = []
    counts = {
        key: sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    }
    return {**counts, "status": result.returncode}


def run_tier(name: str, full: bool, extra: list[str]) -> dict[str, object]:
    """Run one tier and return its counts, wall time and verdict."""
    groups, budget = TIERS[name]
    environment = {**os.environ, "WEFTLINE_TEST_PROFILE": "full" if full else "ci"}
    # The fault rounds alone are bounded by the disk: one worker. The rest shares two.
    workers = ["-n", "2", "--dist", "loadfile"] if name != "faults" else []
    started = time.monotonic()
    results = [run_group(folders, environment, workers, extra) for folders in groups]
    seconds = time.monotonic() - started
    counts = {key: sum(result[key] for result in results) for key in ("tests", "failures", "errors", "skipped")}
    over = seconds > budget
    skips_fail = os.environ.get("CI") == "true" and counts["skipped"] > 0
    green = all(result["status"] == 0 for result in results) and counts["tests"] > 0 and not skips_fail
    ran = counts["tests"] - counts["skipped"]
    print(f"\n{name}: {ran} run, {counts['skipped']} skipped, {seconds:.0f} s (budget {budget:.0f} s)")
    if skips_fail:
        print(f"{name}: CI=true and {counts['skipped']} tests were skipped: that is a failure")
    if over:
        print(f"{name}: over its budget of {budget:.0f} s")
    return {"tier": name, **counts, "seconds": round(seconds, 1), "budget": budget, "green": green}


def commit() -> str:
    """Return the commit under test, marked when the tree has changes."""
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    dirty = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return head + ("+changes" if re.search(r"\S", dirty) else "")


def main() -> int:
    """Run the tiers named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiers", nargs="+", choices=[*TIERS])
    parser.add_argument("--full", action="store_true")
    options, extra = parser.parse_known_args()
    results = [run_tier(tier, options.full, extra) for tier in options.tiers]
    green = all(result["green"] for result in results)
    passed = sum(
        int(str(r["tests"])) - int(str(r["skipped"])) - int(str(r["failures"])) - int(str(r["errors"])) for r in results
    )
    failed = sum(int(str(r["failures"])) + int(str(r["errors"])) for r in results)
    if options.full:
        folder = ROOT / "tests" / "results"
        folder.mkdir(parents=True, exist_ok=True)
        summary = {
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}",
            "green": green,
            "tiers": results,
        }
        (folder / "full.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\ntotal {sum(float(str(r['seconds'])) for r in results):.0f} s, {'green' if green else 'NOT green'}")
    print(f"{passed} passed, {failed} failed")
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
