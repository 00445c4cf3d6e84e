"""`ledger --verify` finds what it must find: each test takes something away behind its back and sees it exit with 1."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from weftline.testing.faults.judge import verify_command
from weftline.testing.faults.senders import Pace
from weftline.testing.faults.world import new_world


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped fabric with records stored, quarantined and repeated, from the spool and from files."""
    folder = tmp_path_factory.mktemp("verify")
    with new_world(folder, "verify", 1) as world:
        world.server.start()
        for sender in [world.send("http", Pace(100, 10, 0)), world.send("files", Pace(100, 10, 0))]:
            sender.finish()
        world.settle()
        assert world.server.stop() == 0
        return world.folder


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "fabric"))


def lake(folder: Path, statement: str) -> int:
    """Run a statement on the lake file and return how many rows it changed."""
    with duckdb.connect(str(folder / ".weftline" / "lake" / "lake" / "lake.duckdb")) as connection:
        found = connection.execute(statement).fetchone()
    return int(found[0]) if found else 0


def test_an_untouched_folder_is_verified(copied: Path) -> None:
    status, answer = verify_command(copied)
    assert status == 0, answer
    assert answer["verified"] is True
    assert answer["total"]["received"] >= 200


MUTATIONS = {
    "a stored row is gone": (
        "DELETE FROM main.reading WHERE rowid = (SELECT min(rowid) FROM main.reading)",
        "stored",
    ),
    "a row is stored twice": ("INSERT INTO main.reading SELECT * FROM main.reading LIMIT 1", "rows"),
    "a quarantined record is gone": (
        "DELETE FROM weftline.quarantine WHERE rowid = (SELECT min(rowid) FROM weftline.quarantine)",
        "quarantined",
    ),
    "a counter of stored records is higher": (
        "UPDATE weftline.ledger SET stored = stored + 1 WHERE rowid = (SELECT min(rowid) FROM weftline.ledger)",
        "stored",
    ),
    "a counter of received records is higher": (
        "UPDATE weftline.ledger SET received = received + 1 WHERE rowid = (SELECT min(rowid) FROM weftline.ledger)",
        "received",
    ),
    "a counter of duplicates is higher": (
        'UPDATE weftline.ledger SET "duplicate" = 9 + "duplicate" WHERE rowid = (SELECT min(rowid) FROM weftline.ledger)',
        "received",
    ),
    "a counter of frames is higher": (
        "UPDATE weftline.ledger SET frames = 1 + frames WHERE rowid = (SELECT min(rowid) FROM weftline.ledger WHERE frames > 0)",
        "frames",
    ),
    "a checkpoint is ahead": (
        'UPDATE weftline.checkpoint SET "offset" = "offset" + 1 WHERE starts_with(producer, \'file:\')',
        "offset of the checkpoint",
    ),
    "a checkpoint counts more records": (
        "UPDATE weftline.checkpoint SET records = records + 1 WHERE starts_with(producer, 'lane:')",
        "records of the checkpoints",
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_verify_exits_with_1_when(what: str, copied: Path) -> None:
    statement, term = MUTATIONS[what]
    assert lake(copied, statement) > 0, "the mutation changed nothing"
    status, answer = verify_command(copied)
    assert status == 1, answer
    assert term in {item["term"] for item in answer["findings"]}, answer["findings"]


def last_segment(folder: Path) -> Path:
    return max(path for path in (folder / ".weftline" / "spool" / "push").iterdir() if path.stat().st_size > 500)


def cut_the_tail(folder: Path) -> None:
    """Take the last frames away, so that it looks like a torn write."""
    path = last_segment(folder)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - len(content) // 3])


def spoil_a_byte(folder: Path) -> None:
    """Change a byte in the middle of what was durable."""
    path = last_segment(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + random.Random(1).randrange(20)] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut_the_tail, spoil_a_byte])
def test_verify_does_not_pass_a_spool_that_lost_frames(spoil: Callable[[Path], None], copied: Path) -> None:
    spoil(copied)
    status, answer = verify_command(copied)
    assert status in {1, 2}, answer
