"""kill -9, errors and full disks at every point of a commit: each group is there once or not at all, and counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from weftline import failpoint
from weftline.errors import LockedError, OutcomeUnknownError
from weftline.store import groups
from weftline.store.duck import LakeUnavailableError
from weftline.store.duck_lake import DuckLake
from weftline.store.duck_reads import ReadLimitError
from weftline.store.lock import FolderLock, Holder, holder
from weftline.store.migrations.lake import LakeVersionError
from weftline.store.verify import verify

CHILD = """
import importlib.util, pathlib, sys
from dataclasses import replace
spec = importlib.util.spec_from_file_location("makers", sys.argv[1])
makers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(makers)
from weftline.store.duck_lake import DuckLake
lake = DuckLake(pathlib.Path(sys.argv[2]), replace(makers.SMALL, checkpoint_wal=int(sys.argv[3])))
lake.ensure([makers.SIGNAL])
start = lake.position("lane:push")
first = start.offset + 1 if start else 0
for n in range(1000):
    lake.commit(makers.signal_group(first + n * 10, 10, bad=2))
    print(first + n * 10 + 9, flush=True)
"""


def run_until_killed(folder: Path, failpoints: str, checkpoint_wal: int = 60_000) -> int:
    """Return the last offset the child was told is committed, -1 for none."""
    makers = Path(__file__).with_name("conftest.py")
    environment = {**os.environ, "WEFTLINE_FAILPOINTS": failpoints}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(makers), str(folder), str(checkpoint_wal)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    return int(([-1] + [int(line) for line in done.stdout.split()])[-1])


@pytest.mark.parametrize(
    ("point", "durable"), [("store.commit.before", 0), ("store.commit.inside", 0), ("store.commit.after", 1)]
)
def test_kill_9_leaves_whole_groups(
    open_lake: Callable[..., DuckLake], tmp_path: Path, point: str, durable: int
) -> None:
    folder = tmp_path / ".weftline"
    told = -1
    for nth in (1, 7, 23):
        acknowledged = run_until_killed(folder, f"{point}=kill:{nth}")
        lake = open_lake(folder)
        position = lake.position("lane:push")
        last = position.offset if position else -1
        assert last == (acknowledged if acknowledged >= 0 else told) + 10 * durable
        assert verify(lake) == []
        assert lake.scan("SELECT count(*) FROM signal").column(0)[0].as_py() == (last + 1) // 10 * 8
        lake.close()
        told = last
    assert told > 200


def test_kill_9_at_any_moment_loses_nothing_acknowledged(open_lake: Callable[..., DuckLake], tmp_path: Path) -> None:
    folder = tmp_path / ".weftline"
    makers = Path(__file__).with_name("conftest.py")
    for delay in (0.05, 0.2, 0.4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(makers), str(folder), "20000"], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(delay)
        child.kill()
        rest = [int(line) for line in (first + child.stdout.read()).split("\n") if line.strip().isdigit()]
        child.wait()
        lake = open_lake(folder)
        position = lake.position("lane:push")
        assert position is not None
        assert position.offset - max(rest) in {0, 10}
        assert verify(lake) == []
        lake.close()


@pytest.mark.parametrize(("point", "repeated"), [("inside", False), ("after", True)])
@pytest.mark.parametrize("action", ["error", "enospc:1"])
def test_after_an_error_the_same_group_is_stored_once(
    lake: DuckLake, world: Any, monkeypatch: pytest.MonkeyPatch, *, point: str, repeated: bool, action: str
) -> None:
    lake.commit(world.group(0))
    text = f"store.commit.{point}={action}"
    monkeypatch.setattr(failpoint, "hit", failpoint.armed({"WEFTLINE_FAILPOINTS": text}))
    expected = OutcomeUnknownError if repeated else (failpoint.InjectedError, LakeUnavailableError)
    with pytest.raises(expected):
        lake.commit(world.group(10, bad=1))
    monkeypatch.setattr(failpoint, "hit", failpoint.armed({}))
    assert lake.commit(world.group(10, bad=1)).repeated is repeated
    assert lake.health().reopened == int(repeated)
    assert verify(lake) == []
    assert lake.scan("SELECT count(*) AS n FROM signal").to_pylist() == [{"n": 19}]


def test_readers_survive_a_reopening(lake: DuckLake, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.commit(world.group(0))
    monkeypatch.setattr(failpoint, "hit", failpoint.armed({"WEFTLINE_FAILPOINTS": "store.commit.after=error"}))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lake.select, "SELECT count(*) FROM range(100000000000) t(i)", None, timeout=20)
        while lake.health().oldest_snapshot_age == 0:
            time.sleep(0.005)
        with pytest.raises(OutcomeUnknownError):
            lake.commit(world.group(10))
        with pytest.raises(ReadLimitError, match="reopened"):
            reading.result()
    assert lake.select("SELECT count(*) AS n FROM signal", None, timeout=2).to_pylist() == [{"n": 20}]


def test_the_writer_gets_memory_back_from_the_heaviest_read(
    lake: DuckLake, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = groups.write, []

    def short_of_memory(*args: Any, **named: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")
        write(*args, **named)

    monkeypatch.setattr(groups, "write", short_of_memory)
    long = "SELECT count(*) FROM range(100000000000) t(i)"
    with ThreadPoolExecutor(2) as pool:
        light = pool.submit(lake.select, long, None, timeout=1.5)
        while lake.health().oldest_snapshot_age == 0:
            time.sleep(0.005)
        heavy = pool.submit(lake.select, long, None, timeout=20, heavy=True)
        while not lake._gate._heavy:
            time.sleep(0.005)
        assert not lake.commit(world.group(0)).repeated
        assert not light.done()
        with pytest.raises(ReadLimitError, match="memory"):
            heavy.result()
        with pytest.raises(ReadLimitError):
            light.result()
    assert len(tries) == 2
    assert verify(lake) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 48 MiB of tmpfs, or skip where that is not allowed."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail("a tmpfs cannot be mounted here")
        pytest.skip("a tmpfs cannot be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Write ballast so that `leave` bytes stay free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as out:
        left = shutil.disk_usage(disk).free - leave
        while left > 0:
            left -= out.write(b"\0" * min(left, 1 << 20))
    return ballast


def wide(world: Any, first: int, count: int = 3000) -> Any:
    """Return a group whose rows take about a megabyte."""
    group = world.group(first, count)
    noise = pa.array([os.urandom(150).hex() for _ in range(count)])
    rows = group.rows["signal"].append_column("text", noise)
    return replace(group, rows={"signal": rows})


@pytest.mark.tmpfs
@pytest.mark.parametrize("checkpoint_wal", [1 << 40, 1], ids=["full in the log", "full in the checkpoint"])
def test_a_full_disk_never_doubles_or_loses(
    open_lake: Callable[..., DuckLake], world: Any, small_disk: Path, checkpoint_wal: int
) -> None:
    settings = replace(world.small, checkpoint_wal=checkpoint_wal, min_free=4 << 20)
    folder = small_disk / ".weftline"
    lake = open_lake(folder, settings)
    lake.ensure([world.signal])
    lake.commit(wide(world, 0))
    assert lake.health().holding == ""
    ballast = fill(small_disk, 5 << 20)
    first, refused = 3000, 0
    for _ in range(30):
        try:
            lake.commit(wide(world, first))
            first += 3000
        except (OutcomeUnknownError, LakeUnavailableError):
            refused += 1
            if refused == 4:
                break
    assert refused == 4, "the disk was meant to be full"
    assert "MiB" in lake.health().holding or "does not open" in lake.health().holding
    ballast.unlink()
    assert lake.health().reopened > 0
    outcome = lake.commit(wide(world, first))
    assert lake.health().holding == ""
    assert lake.position("lane:push").offset == first + 2999  # type: ignore[union-attr]
    assert lake.scan("SELECT count(*) AS n FROM signal").to_pylist() == [{"n": first + 3000}]
    assert outcome.repeated in {True, False}
    assert verify(lake) == []
    lake.close()
    again = open_lake(folder, settings)
    assert verify(again) == []


@pytest.mark.tmpfs
def test_reopened_while_still_full_a_durable_commit_is_known(
    open_lake: Callable[..., DuckLake], world: Any, small_disk: Path
) -> None:
    folder = small_disk / ".weftline"
    settings = replace(world.small, min_free=1 << 20)
    lake = open_lake(folder, settings)
    lake.ensure([world.signal])
    first = 0
    for _ in range(6):
        lake.commit(wide(world, first))
        first += 3000
    ballast = fill(small_disk, 300_000)
    lake._reopen()
    kept = 0
    for n in range(200):
        try:
            lake.commit(world.group(first + n * 10, 10))
        except (OutcomeUnknownError, LakeUnavailableError):
            break
        kept = n + 1
    ballast.unlink()
    lake.commit(world.group(first + kept * 10, 10))
    assert lake.scan("SELECT count(*) AS n FROM signal").to_pylist() == [{"n": first + (kept + 1) * 10}]
    assert verify(lake) == []


def test_a_second_opener_waits_and_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".weftline"
    with FolderLock(folder, url="http://127.0.0.1:8420", wait=0.0):
        found = holder(folder)
        assert found is not None
        assert (found.pid, found.url) == (os.getpid(), "http://127.0.0.1:8420")
        with pytest.raises(LockedError, match=rf"process {os.getpid()}.*http://127.0.0.1:8420"):
            FolderLock(folder, wait=0.1).acquire()
    first = FolderLock(folder, wait=0.0).acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(FolderLock(folder, wait=10.0).acquire)
        time.sleep(0.1)
        assert not waiting.done()
        first.release()
        waiting.result(timeout=5).release()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_lock_of_a_killed_process_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / ".weftline"
    program = textwrap.dedent(
        """
        import os, pathlib, signal, sys
        from weftline.store.lock import FolderLock
        FolderLock(pathlib.Path(sys.argv[1]), url="http://old", wait=0.0).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode == -9
    assert (folder / "lock").read_text()
    assert holder(folder) is None
    with FolderLock(folder, wait=0.0):
        assert isinstance(holder(folder), Holder)


def test_a_newer_lake_is_refused_with_the_command(open_lake: Callable[..., DuckLake]) -> None:
    lake = open_lake()
    lake.change("newer", lambda cursor: cursor.execute("INSERT INTO weftline.version VALUES (99, now())") and None)
    lake.close()
    with pytest.raises(LakeVersionError, match="pip install --upgrade weftline"):
        open_lake()
