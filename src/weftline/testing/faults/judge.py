"""Compare what senders were acknowledged for with what the fabric holds, one by one and both ways."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftline.service.operations import Operations
from weftline.service.wiring import Fabric, open_fabric
from weftline.testing.faults.process import ZYGOTE
from weftline.testing.faults.senders import Sent

__all__ = ["Verdict", "judge", "verify_command"]

IDENTITY = re.compile(rb"[a-z]+-[0-9]+-[0-9]{6,}")
DRAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a round left behind; `right` is the only good outcome."""

    sent: int
    stored: int
    quarantined: int
    duplicates: int
    received: int
    missing: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Identities nobody sent."""
    findings: tuple[str, ...] = ()
    """What `ledger --verify` found, and terms that do not add up."""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Say whether every record has exactly one outcome and the ledger agrees."""
        return not (self.missing or self.doubled or self.unknown or self.findings)

    def sentence(self) -> str:
        """Return the verdict on one line."""
        lists = ((self.missing, "missing"), (self.doubled, "doubled"), (self.unknown, "unknown"))
        parts = [f"{len(found)} {word} ({', '.join(found[:5])})" for found, word in lists if found]
        parts += self.findings[:5]
        what = "; ".join(parts) or "right"
        return (
            f"{what}: sent {self.sent}, received {self.received}, stored {self.stored}, "
            f"quarantined {self.quarantined}, duplicate {self.duplicates} {self.notes or ''}"
        )


def judge(folder: Path, sent: Sent, *, may_lose: int = 0) -> Verdict:
    """Open a stopped folder, let it store what is spooled, and compare.

    `sent.acknowledged` must be there exactly once; `sent.uncertain` (published, never acknowledged) at most once.
    `may_lose` is how many the broker itself says it dropped.
    """
    fabric = open_fabric(folder)
    try:
        _drain(fabric)
        held = Counter(fabric.lake.scan("SELECT id FROM main.reading").column(0).to_pylist())
        stored = held.total()
        originals = fabric.lake.scan("SELECT original FROM weftline.quarantine").column(0).to_pylist()
        aside = Counter(_identity(original or b"") for original in originals)
        operations = Operations(fabric)
        differences = operations.verify()
        rows = operations.ledger()
    finally:
        fabric.close()
    held.update(aside)
    total = {term: sum(int(row[term] or 0) for row in rows) for term in ("received", "duplicate", "stored", "waiting")}
    missing = sorted(sent.acknowledged - held.keys())
    findings = [f"{one['feed']}: {one['counted']} {one['term']} counted, {one['told']} told" for one in differences]
    findings += [f"feed {row['feed']} is not balanced: {row}" for row in rows if row["balanced"] is False]
    expected = held.total() + total["duplicate"]
    if total["received"] != expected or total["waiting"]:
        findings.append(f"received {total['received']}, outcomes {expected}, waiting {total['waiting']}")
    return Verdict(
        sent=len(sent.acknowledged),
        stored=stored,
        quarantined=len(originals),
        duplicates=total["duplicate"],
        received=total["received"],
        missing=tuple(missing) if len(missing) != may_lose else (),
        doubled=tuple(sorted(name for name, count in held.items() if count > 1)),
        unknown=tuple(sorted(held.keys() - sent.acknowledged - sent.uncertain)),
        findings=tuple(findings),
    )


def _identity(original: bytes) -> str:
    found = IDENTITY.search(original)
    return found[0].decode() if found else f"no identity in {original[:60]!r}"


def _drain(fabric: Fabric) -> None:
    until = time.monotonic() + DRAIN_SECONDS
    while sum(fabric.road.waiting_now().values()) and time.monotonic() < until:
        time.sleep(0.02)


def verify_command(folder: Path) -> tuple[int, Any]:
    """Run `weftline ledger --verify` as a person does; return its exit status and its JSON, or what it said instead."""
    output = folder.with_name(f"{folder.name}.verify")
    output.unlink(missing_ok=True)
    arguments = ["ledger", "--verify", "--format", "json", "--fabric", str(folder)]
    pid = ZYGOTE.start(arguments, {**os.environ}, output, folder)
    while (status := ZYGOTE.poll(pid)) is None:
        time.sleep(0.05)
    said = output.read_text("utf-8", "replace")
    start = said.find("{")
    return status, json.JSONDecoder().raw_decode(said, start)[0] if start >= 0 else said
