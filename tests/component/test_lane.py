"""The lane on disk: what is acknowledged is there, what is broken is told, what is torn was never promised."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from weftline import failpoint
from weftline.batch import Frame, FrameFlag
from weftline.clock import SystemClock
from weftline.errors import AdmissionError, StoreError
from weftline.spool import recovery, segment
from weftline.spool.base import LogCount
from weftline.spool.errors import (
    FrameRefusedError,
    LaneNameError,
    SpoolBehindError,
    SpoolClosedError,
    SpoolCorruptError,
    SpoolFullError,
    SpoolLockedError,
    SpoolNotDurableError,
    SpoolQueueError,
    SpoolTruncatedError,
    SpoolVersionError,
)
from weftline.spool.lane import KEPT_SECONDS, Lane
from weftline.spool.spool_set import SpoolSet
from weftline.testing.small_disk import SmallDiskError, small_disk

WAIT = 20


class SteadyClock(SystemClock):
    """A clock whose steady time the test moves."""

    def __init__(self) -> None:
        self.moved = 0.0

    def steady(self) -> float:
        return 1000.0 + self.moved


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 2 << 20) as folder:
            yield folder
    except SmallDiskError as error:
        pytest.skip(str(error))


def frame(number: int, feed: int = 7, size: int = 20) -> Frame:
    return Frame(
        0, feed, 1_700_000_000_000_000 + number, b"id-%d" % number, b'{"n":%d}' % number, b"%d" % number * size
    )


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[SpoolSet]:
    held = SpoolSet(tmp_path / "spool")
    yield held
    held.close()


def fill(lane: Lane, numbers: range, per_append: int = 5) -> None:
    for at in range(0, len(numbers), per_append):
        lane.append([frame(number) for number in numbers[at : at + per_append]]).result(WAIT)


def only_segment(folder: Path) -> Path:
    (path,) = folder.glob("*.seg")
    return path


def test_frames_come_back_with_offsets_in_order(spools: SpoolSet) -> None:
    lane = spools.open("push")
    first = lane.append([frame(0), frame(1)])
    second = lane.append([frame(2, feed=9)])
    assert (first.result(WAIT), second.result(WAIT)) == (0, 2)
    frames = lane.read(0, 100, 1 << 20)
    assert frames == [frame(number, 9 if number == 2 else 7)._replace(offset=number) for number in range(3)]
    assert lane.tail() == (0, 3)
    assert lane.read(3, 10, 10) == []


def test_everything_survives_reopening(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    fill(lane, range(23))
    before, counts, epoch = lane.read(0, 100, 1 << 20), lane.counts(), lane.epoch
    spools.close()
    again = SpoolSet(tmp_path).open("push")
    assert again.read(0, 100, 1 << 20) == before
    assert (again.counts(), again.epoch, again.cuts) == (counts, epoch, ())
    assert again.append([frame(23)]).result(WAIT) == 23
    assert again.read(20, 100, 1 << 20)[-1].offset == 22, "disk and memory are read apart"
    assert again.read(23, 100, 1 << 20) == [frame(23)._replace(offset=23)]


def test_a_read_gives_at_least_one_frame_and_keeps_its_bounds(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    from_memory = spools.open("push")
    fill(from_memory, range(10))
    assert [held.offset for held in from_memory.read(4, 3, 1 << 20)] == [4, 5, 6]
    assert [held.offset for held in from_memory.read(4, 100, 1)] == [4]
    spools.close()
    from_disk = SpoolSet(tmp_path).open("push")
    assert [held.offset for held in from_disk.read(4, 3, 1 << 20)] == [4, 5, 6]
    assert [held.offset for held in from_disk.read(4, 100, 1)] == [4]


def test_the_torn_tail_is_cut_at_every_byte_of_the_last_frame(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path / "made")
    lane = spools.open("push")
    fill(lane, range(3))
    end = lane.size()
    lane.append([frame(3)]).result(WAIT)
    whole = lane.size()
    spools.close()
    content = only_segment(tmp_path / "made" / "push").read_bytes()
    assert len(content) == whole
    folder = tmp_path / "torn" / "push"
    folder.mkdir(parents=True)
    (folder / "epoch").write_text((tmp_path / "made" / "push" / "epoch").read_text())
    for size in range(end, whole):
        (folder / segment.file_name(0)).write_bytes(content[:size])
        torn = SpoolSet(tmp_path / "torn")
        held = torn.open("push")
        assert held.tail() == (0, 3), size
        assert [cut.length for cut in held.cuts] == ([size - end] if size > end else []), size
        assert held.counts() == {7: LogCount(3, sum(len(frame(n).payload) for n in range(3)))}
        if size in {end, end + 1, whole - 1}:
            assert held.append([frame(9)]).result(WAIT) == 3
            assert held.recount() == held.counts()
        torn.close()


def test_a_tail_with_a_hole_is_torn_when_nothing_was_written_after_it(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    fill(lane, range(2))
    end = lane.size()
    lane.append([frame(2), frame(3), frame(4)]).result(WAIT)  # one write: a power cut may keep its later pages only
    spools.close()
    path = only_segment(tmp_path / "push")
    content = bytearray(path.read_bytes())
    content[end + 4 : end + 12] = bytes(8)
    path.write_bytes(content)
    again = SpoolSet(tmp_path).open("push")
    assert again.tail() == (0, 2)
    assert again.cuts[0].at == end


def test_damage_before_a_later_write_is_reported_with_segment_and_byte(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    fill(lane, range(2))
    damaged = lane.size()
    lane.append([frame(2)]).result(WAIT)
    lane.append([frame(3)]).result(WAIT)
    spools.close()
    path = only_segment(tmp_path / "push")
    content = bytearray(path.read_bytes())
    content[damaged + 30] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpoolCorruptError, match=f"{path.name}, byte {damaged}: found .* checksum"):
        SpoolSet(tmp_path).open("push")
    assert path.read_bytes() == content, "nothing is cut off what was durable"
    with pytest.raises(SpoolCorruptError):
        recovery.verify(tmp_path / "push")


def test_damage_in_an_older_segment_is_reported_when_it_is_read(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path, segment_bytes=2000)
    fill(spools.open("push"), range(100))
    spools.close()
    oldest = min((tmp_path / "push").glob("*.seg"))
    content = bytearray(oldest.read_bytes())
    content[-5] ^= 1
    oldest.write_bytes(content)
    lane = SpoolSet(tmp_path).open("push")
    with pytest.raises(SpoolCorruptError, match=oldest.name):
        lane.read(0, 100, 1 << 20)
    with pytest.raises(SpoolCorruptError, match=oldest.name):
        list(lane.identities(0))
    with pytest.raises(SpoolCorruptError):
        lane.recount()
    assert lane.read(99, 1, 1)[0].identity == b"id-99", "what is intact can be read"


def test_a_missing_segment_is_reported(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path, segment_bytes=2000)
    fill(spools.open("push"), range(100))
    spools.close()
    sorted((tmp_path / "push").glob("*.seg"))[1].unlink()
    lane = SpoolSet(tmp_path).open("push")
    with pytest.raises(SpoolCorruptError, match="found the end of the segment"):
        lane.read(0, 100, 1 << 20)


def test_segments_roll_and_reads_cross_them(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path, segment_bytes=2000, recent_bytes=1)
    lane = spools.open("push")
    fill(lane, range(200), per_append=3)
    assert len(list((tmp_path / "push").glob("*.seg"))) > 5
    got: list[Frame] = []
    while len(got) < 200:
        got += lane.read(len(got), 7, 1 << 20)
    assert got == [frame(number)._replace(offset=number) for number in range(200)]
    assert lane.read(150, 7, 1 << 20)[0].offset == 150, "a second read uses the index"
    assert lane.recount() == lane.counts()
    assert recovery_count(spools, tmp_path) == 200


def recovery_count(spools: SpoolSet, folder: Path) -> int:
    spools.close()
    return recovery.verify(folder / "push")


def test_truncation_keeps_the_last_minute_and_the_totals(tmp_path: Path) -> None:
    clock = SteadyClock()
    spools = SpoolSet(tmp_path, segment_bytes=2000, clock=clock)
    lane = spools.open("push")
    fill(lane, range(100))
    counts = lane.counts()
    lane.truncate(100)
    assert lane.tail() == (0, 100), "the last minute stays"
    clock.moved = KEPT_SECONDS + 1
    lane.truncate(50)
    assert 0 < lane.tail().first <= 50
    lane.truncate(100)
    first = lane.tail().first
    assert 50 < first < 100, "the last segment stays"
    assert lane.counts() == counts
    spools.close()
    with pytest.raises(SpoolTruncatedError, match=f"from {first}"):
        SpoolSet(tmp_path).open("push").read(0, 1, 1)


def test_totals_survive_truncation_and_restart(tmp_path: Path) -> None:
    clock = SteadyClock()
    spools = SpoolSet(tmp_path, segment_bytes=2000, clock=clock)
    lane = spools.open("push")
    fill(lane, range(100))
    lane.append([frame(100, feed=8)]).result(WAIT)
    counts = lane.counts()
    clock.moved = KEPT_SECONDS + 1
    lane.truncate(101)
    assert lane.tail().first > 50
    assert lane.recount() == counts
    spools.close()
    again = SpoolSet(tmp_path).open("push")
    assert again.counts() == counts
    assert again.tail().next == 101


def test_one_lane_belongs_to_one_process(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    spools.open("push")
    with pytest.raises(SpoolLockedError):
        SpoolSet(tmp_path).open("push")
    spools.close()
    SpoolSet(tmp_path).open("push")


def test_a_lane_made_anew_has_a_higher_epoch(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    fill(spools.open("push"), range(3))
    epoch = spools.open("push").epoch
    spools.close()
    only_segment(tmp_path / "push").unlink()
    emptied = SpoolSet(tmp_path).open("push")
    assert emptied.epoch > epoch
    assert emptied.tail() == (0, 0)
    assert SpoolSet(tmp_path / "other").open("push", epoch_after=epoch + 10**9).epoch > epoch + 10**9


def test_a_segment_of_another_format_or_epoch_is_refused(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    fill(spools.open("push"), range(3))
    spools.close()
    path = only_segment(tmp_path / "push")
    content = path.read_bytes()
    path.write_bytes(b"WLSPOOL9" + content[8:])
    with pytest.raises(SpoolVersionError):
        SpoolSet(tmp_path).open("push")
    path.write_bytes(content[:20] + b"\x01" + content[21:])
    with pytest.raises(SpoolCorruptError, match="header"):
        SpoolSet(tmp_path).open("push")
    path.write_bytes(content)
    (tmp_path / "push" / "epoch").write_text("17\n")
    with pytest.raises(StoreError, match="one epoch"):
        SpoolSet(tmp_path).open("push")


def test_wait_ends_when_a_frame_is_durable_and_when_the_lane_closes(spools: SpoolSet) -> None:
    lane = spools.open("push")
    assert not lane.wait(0, 0.01)
    seen = threading.Event()
    waiter = threading.Thread(target=lambda: lane.wait(0, WAIT) and seen.set())
    waiter.start()
    lane.append([frame(0)]).result(WAIT)
    waiter.join(WAIT)
    assert seen.is_set()
    closed = threading.Thread(target=lane.wait, args=(5, WAIT))
    closed.start()
    lane.close()
    closed.join(WAIT)
    assert not closed.is_alive()
    with pytest.raises(SpoolClosedError):
        lane.append([frame(1)]).result(WAIT)


def test_reading_beyond_the_end_is_refused(spools: SpoolSet) -> None:
    lane = spools.open("push")
    fill(lane, range(3))
    with pytest.raises(SpoolBehindError):
        lane.read(4, 1, 1)


def test_identities_tell_what_was_seen_since(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path, segment_bytes=1000)
    lane = spools.open("push")
    fill(lane, range(30))
    lane.append([frame(30)._replace(flags=FrameFlag.DUPLICATE)]).result(WAIT)
    seen = list(lane.identities(frame(25).received))
    assert [one.offset for one in seen] == [25, 26, 27, 28, 29, 30]
    assert seen[0].identity == b"id-25"
    assert seen[-1].flags == FrameFlag.DUPLICATE


def test_frames_the_format_cannot_hold_are_refused_alone(spools: SpoolSet) -> None:
    lane = spools.open("push")
    bad = lane.append([frame(0), frame(1)._replace(identity=b"x" * 65)])
    good = lane.append([frame(2)])
    with pytest.raises(FrameRefusedError, match="65 bytes"):
        bad.result(WAIT)
    assert good.result(WAIT) == 0
    with pytest.raises(LaneNameError):
        spools.open("../up")


def test_a_frame_larger_than_a_segment_has_its_own(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path, segment_bytes=1000)
    lane = spools.open("push")
    fill(lane, range(2))
    lane.append([frame(2)._replace(payload=b"z" * 3_000_000)]).result(WAIT)
    fill(lane, range(3, 5))
    spools.close()
    again = SpoolSet(tmp_path).open("push")
    assert [len(held.payload) for held in again.read(1, 9, 1 << 30)][1] == 3_000_000
    assert again.tail().next == 5


def test_a_slow_disk_holds_sources_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spools = SpoolSet(tmp_path, queue_bytes=1500)
    lane = spools.open("push")
    fill(lane, range(1))
    go, real = threading.Event(), segment.datasync
    monkeypatch.setattr(segment, "datasync", lambda descriptor: (go.wait(WAIT), real(descriptor)))
    first = lane.append([frame(1, size=400)])
    second = lane.append([frame(2, size=400)])
    with pytest.raises(SpoolQueueError):
        lane.append([frame(3, size=400)]).result(WAIT)
    go.set()
    assert (first.result(WAIT), second.result(WAIT)) == (1, 2)
    assert lane.append([frame(3)]).result(WAIT) == 3
    spools.close()


def test_a_failed_fsync_is_never_taken_for_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    fill(lane, range(3))
    real, failing = segment.datasync, True

    def broken(descriptor: int) -> None:
        if failing:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(segment, "datasync", broken)
    lost = lane.append([frame(3)])
    with pytest.raises(SpoolNotDurableError, match="Input/output error"):
        lost.result(WAIT)
    assert lane.tail() == (0, 3)
    with pytest.raises(StoreError):
        lane.append([frame(4)]).result(WAIT)
    failing = False
    assert lane.append([frame(5)]).result(WAIT) == 3
    assert len(list((tmp_path / "push").glob("*.seg"))) == 2, "the lane goes on in a new segment"
    expected = [b"id-0", b"id-1", b"id-2", b"id-5"]
    assert [held.identity for held in lane.read(0, 9, 1 << 20)] == expected
    assert lane.recount() == lane.counts()
    spools.close()
    again = SpoolSet(tmp_path).open("push")
    assert [held.identity for held in again.read(0, 9, 1 << 20)] == expected


@pytest.mark.parametrize("name", ["spool.fsync.before", "spool.fsync.after"])
def test_an_error_at_a_failpoint_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    fill(lane, range(2))
    monkeypatch.setattr(failpoint, "hit", failpoint.armed({"WEFTLINE_FAILPOINTS": f"{name}=error"}))
    with pytest.raises(failpoint.InjectedError):
        lane.append([frame(2, size=90), frame(3)]).result(WAIT)
    assert only_segment(tmp_path / "push").stat().st_size == lane.size(), "the unit that failed was cut off"
    assert lane.append([frame(4, size=1)]).result(WAIT) == 2
    spools.close()
    again = SpoolSet(tmp_path).open("push")
    assert again.cuts == ()
    assert [held.identity for held in again.read(0, 9, 1 << 20)] == [b"id-0", b"id-1", b"id-4"]


CHILD = """
import sys
from pathlib import Path
from weftline.batch import Frame
from weftline.spool.spool_set import SpoolSet
spools = SpoolSet(Path(sys.argv[1]))
lane = spools.open("push")
for number in range(lane.tail().next, 1000):
    lane.append([Frame(0, 7, number, b"id-%d" % number, b"", b"payload")]).result(20)
    print(number, flush=True)
"""


@pytest.mark.parametrize("name", ["spool.fsync.before", "spool.fsync.after"])
def test_kill_nine_at_the_fsync_loses_nothing_that_was_acknowledged(tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "WEFTLINE_FAILPOINTS": f"{name}=kill:7"}
    for _ in range(2):
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == -signal.SIGKILL, result.stderr
        acknowledged = [int(line) for line in result.stdout.split()]
        spools = SpoolSet(tmp_path)
        lane = spools.open("push")
        frames = lane.read(0, 1000, 1 << 20)
        assert [held.offset for held in frames] == list(range(len(frames)))
        assert len(frames) - 1 - acknowledged[-1] in {0, 1}, "at most the unit in flight is there unacknowledged"
        assert [held.identity for held in frames] == [b"id-%d" % number for number in range(len(frames))]
        assert lane.counts()[7].frames == len(frames)
        assert lane.recount() == lane.counts()
        spools.close()


def test_a_kill_while_chunks_stream_leaves_whole_frames_only(tmp_path: Path) -> None:
    child = CHILD.replace("[Frame(", "[Frame(0, 7, 0, b'x', b'', b'y' * 5000)] * 50 + [Frame(").replace("1000", "10**9")
    process = subprocess.Popen([sys.executable, "-c", child, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    acknowledged = 5 + len(process.stdout.read().split())
    process.wait()
    lane = SpoolSet(tmp_path).open("push")
    assert lane.tail().next >= acknowledged * 51
    assert lane.recount() == lane.counts()


def test_oldest_age_counts_only_what_nobody_has_given_free(tmp_path: Path) -> None:
    spools = SpoolSet(tmp_path)
    lane = spools.open("push")
    assert spools.oldest_age() == 0.0
    lane.append([frame(0), frame(1)._replace(received=SystemClock().now())]).result(WAIT)
    assert spools.oldest_age() > 1e6
    lane.truncate(1)
    assert 0 <= spools.oldest_age() < 60
    lane.truncate(2)
    assert spools.oldest_age() == 0.0
    assert spools.total_bytes() == only_segment(tmp_path / "push").stat().st_size
    spools.close()


@pytest.mark.tmpfs
def test_a_full_disk_refuses_and_nothing_is_half_written(tmpfs: Path) -> None:
    spools = SpoolSet(tmpfs / "spool", segment_bytes=600_000)
    lane = spools.open("push")
    stored = 0
    refused: BaseException | None = None
    while refused is None:
        refused = lane.append([frame(number, size=20_000) for number in range(3)]).exception(WAIT)
        stored += 0 if refused else 3
    assert isinstance(refused, SpoolFullError)
    assert isinstance(refused, AdmissionError)
    assert stored > 10
    assert lane.tail().next == stored
    assert lane.recount() == lane.counts()
    small = lane.append([frame(0, size=1)]).result(WAIT)
    assert small == stored, "the lane goes on as soon as there is room"
    spools.close()
    again = SpoolSet(tmpfs / "spool")
    assert again.open("push").tail().next == stored + 1
    assert again.open("push").cuts == ()
    again.close()
