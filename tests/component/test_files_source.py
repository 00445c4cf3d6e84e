"""Drop folders: what becomes of files good and bad, over the road double and the real codecs."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from weftline.batch import FrameFlag
from weftline.codecs.base import Limits
from weftline.codecs.json_codec import NdjsonCodec
from weftline.connectors.files import intake
from weftline.connectors.files.intake import FileOutcome, Stop, Verdict, ingest_file
from weftline.connectors.files.options import FilesOptions, FilesSelector
from weftline.connectors.files.source import FilesConnector, FilesSource
from weftline.errors import AdmissionError, StoreError
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.model.position import Position
from weftline.testing.dropper import Dropper, ndjson, zip_bomb, zipped
from weftline.testing.road_double import RoadDouble

CODEC = NdjsonCodec()


def feed(name: str = "press", path: str = "*", number: int = 1) -> FeedSpec:
    return FeedSpec(
        name=name,
        connection="drop",
        kind="files",
        selector=FilesSelector(path=path),
        codec="ndjson",
        codec_options=NdjsonCodec.options(),
        contract="press",
        version="1.0.0",
        id=number,
    )


def connection(folder: Path, **options: object) -> ConnectionSpec:
    chosen = {"path": "drop", "poll_seconds": 0.05, "settle_seconds": 0.0, **options}
    return ConnectionSpec("drop", "files", FilesOptions(**chosen), str(folder))  # type: ignore[arg-type]


@asynccontextmanager
async def running(folder: Path, road: RoadDouble, *feeds: FeedSpec, **options: object) -> AsyncIterator[FilesSource]:
    source = FilesConnector().open(connection(folder, **options), feeds or [feed()], road)
    assert isinstance(source, FilesSource)
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        await source.stop()
        async with asyncio.timeout(3):
            await task


def numbers(road: RoadDouble, number: int | None = None) -> list[int]:
    frames = [frame for frame in road.fresh() if number in {None, frame.feed}]
    return sorted(json.loads(line)["n"] for frame in frames for line in frame.payload.splitlines())


@pytest.fixture
def drop(tmp_path: Path) -> Dropper:
    (tmp_path / "drop").mkdir()
    return Dropper(tmp_path / "drop")


def archived(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "drop" / ".archive").rglob("*") if path.is_file())


def rejected(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "drop" / ".reject").rglob("*") if path.is_file())


def ingest(road: RoadDouble, path: Path, **more: object) -> FileOutcome:
    return ingest_file(road, feed(), path, **more)  # type: ignore[arg-type]


# --- one file


def test_a_file_is_stored_and_known_again(tmp_path: Path, drop: Dropper) -> None:
    road, seen = RoadDouble(), list[tuple[int, int]]()
    path = drop.drop("a.ndjson", ndjson(range(50)))
    outcome = ingest(road, path, progress=lambda done, size: seen.append((done, size)))
    assert (outcome.verdict, outcome.records, outcome.duplicates) == (Verdict.STORED, 50, 0)
    assert outcome.producers == (f"file:press:{outcome.digest}",)
    assert numbers(road) == list(range(50))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    again = ingest(road, drop.drop("other-name.ndjson", ndjson(range(50))))
    assert (again.verdict, again.records, again.duplicates) == (Verdict.DUPLICATE, 0, 50)
    repeat = [frame for frame in road.committed() if frame.flags & FrameFlag.DUPLICATE]
    assert [json.loads(frame.attributes)["records"] for frame in repeat] == [50]
    assert not repeat[0].payload
    assert numbers(road) == list(range(50))


def test_history_is_said_with_every_frame(drop: Dropper) -> None:
    road = RoadDouble()
    ingest(road, drop.drop("a.ndjson", ndjson(range(3))), history=True)
    assert all(frame.flags == FrameFlag.HISTORY for frame in road.committed())


def test_a_file_goes_on_where_the_lake_stands(tmp_path: Path, drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftline.codecs.lines.BLOCK", 200)
    path = drop.drop("a.ndjson", ndjson(range(300)))
    road = RoadDouble()
    stop, handed = Stop(), list[int]()
    submit = road.submit

    def counted(producer: str, drafts: object, *, last: bool) -> object:
        handed.append(1)
        if len(handed) == 9:
            stop.ask()
        return submit(producer, drafts, last=last)  # type: ignore[arg-type]

    monkeypatch.setattr(road, "submit", counted)
    assert ingest(road, path, stop=stop).verdict is Verdict.STOPPED
    part = len(road.committed())
    assert 5 <= part <= 9
    outcome = ingest(road, path)
    assert outcome.verdict is Verdict.STORED
    assert numbers(road) == list(range(300))
    frames = road.committed()
    assert len(handed) == len({frame.identity for frame in frames}) == len(frames), "no block was handed over twice"
    assert outcome.records == 300 - sum(frame.payload.count(b"\n") for frame in frames[:part])


def test_failures_that_pass_are_waited_out(drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftline.codecs.lines.BLOCK", 200)
    monkeypatch.setattr(Stop, "sleep", lambda _self, _seconds: None)
    road = RoadDouble()
    road.fail(*(AdmissionError(place="disk", found="none", expected="room") for _ in range(5)))
    assert ingest(road, drop.drop("a.ndjson", ndjson(range(100)))).verdict is Verdict.STORED
    assert numbers(road) == list(range(100))


def test_a_road_that_lets_a_failed_block_be_overtaken_is_caught(drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftline.codecs.lines.BLOCK", 200)
    road, handed = RoadDouble(), list[int]()
    submit = road.submit

    def overtaking(producer: str, drafts: object, *, last: bool) -> Future[Position]:
        handed.append(1)
        if len(handed) != 2:
            return submit(producer, drafts, last=last)  # type: ignore[arg-type]
        late: Future[Position] = Future()
        threading.Timer(0.2, late.set_exception, [AdmissionError(place="d", found="f", expected="e")]).start()
        return late

    monkeypatch.setattr(road, "submit", overtaking)
    outcome = ingest(road, drop.drop("a.ndjson", ndjson(range(60))))
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.complaint is not None
    assert outcome.complaint.code == "file-out-of-order"


def test_a_broken_store_is_not_hidden(drop: Dropper) -> None:
    road = RoadDouble()
    road.fail(StoreError(place="lake", found="damage", expected="none"))
    with pytest.raises(StoreError):
        ingest(road, drop.drop("a.ndjson", ndjson(range(3))))


def test_few_blocks_are_on_their_way_at_once(drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftline.codecs.lines.BLOCK", 100)
    road = RoadDouble()
    road.stall()
    most = 0
    real = intake.wait

    def watched(futures: list, **more: object) -> object:
        nonlocal most
        most = max(most, road.pending())
        road.go()
        road.stall()
        return real(futures, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(intake, "wait", watched)
    assert ingest(road, drop.drop("a.ndjson", ndjson(range(200)))).verdict is Verdict.STORED
    assert 1 < most <= intake.IN_FLIGHT


def test_a_growing_file_goes_on_after_its_unchanged_beginning(drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weftline.codecs.lines.BLOCK", 200)
    road = RoadDouble()
    path = drop.drop("a.ndjson", ndjson(range(100)))
    submit, handed = road.submit, list[int]()

    def growing(producer: str, drafts: object, *, last: bool) -> object:
        handed.append(1)
        if len(handed) == 3:
            with path.open("ab") as file:
                file.write(ndjson(range(100, 150)))
        return submit(producer, drafts, last=last)  # type: ignore[arg-type]

    monkeypatch.setattr(road, "submit", growing)
    first = ingest(road, path)
    assert first.verdict is Verdict.CHANGED
    assert first.complaint is not None
    assert first.complaint.code == "file-changed"
    assert first.beginning is not None
    second = ingest(road, path, beginning=first.beginning)
    assert second.verdict is Verdict.STORED
    assert numbers(road) == list(range(150)), "nothing lost and nothing doubled"


def test_a_rewritten_file_begins_anew(drop: Dropper) -> None:
    road = RoadDouble()
    path = drop.drop("a.ndjson", ndjson(range(100, 150)))
    wrong = intake.Beginning("0" * 64, 20, 10)
    assert ingest(road, path, beginning=wrong).verdict is Verdict.STORED
    assert numbers(road) == list(range(100, 150))


@pytest.mark.parametrize(
    ("make", "verdict", "code"),
    [
        (lambda drop: drop.folder / "gone.ndjson", Verdict.VANISHED, "file-vanished"),
        (lambda drop: drop.folder, Verdict.REFUSED, "file-not-regular"),
        (lambda drop: drop.drop("e.ndjson", b""), Verdict.EMPTY, None),
        (lambda drop: drop.drop("b.zip", b"PK\x03\x04 nothing else"), Verdict.REFUSED, "archive"),
        (lambda drop: drop.drop("b.gz", b"\x1f\x8bnothing else"), Verdict.REFUSED, "archive"),
        (lambda drop: drop.drop("b.zip", zip_bomb(40 << 20)), Verdict.REFUSED, "archive"),
    ],
    ids=["vanished", "folder", "empty", "broken-zip", "broken-gz", "zip-bomb"],
)
def test_what_cannot_be_read_has_a_clear_outcome(drop: Dropper, make: object, verdict: Verdict, code: str) -> None:
    road = RoadDouble()
    outcome = ingest(road, make(drop), limits=Limits(expanded_bytes=20 << 20))  # type: ignore[operator]
    assert outcome.verdict is verdict
    assert (outcome.complaint.code if outcome.complaint else None) == code
    assert not road.frames()


def test_permissions_and_broken_disks_are_outcomes(drop: Dropper, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop.drop("a.ndjson", ndjson(range(3)))
    for error, word in (
        (PermissionError(13, "Permission denied"), "leave"),
        (OSError(5, "Input/output error"), "disk"),
    ):
        monkeypatch.setattr(intake, "_hash", lambda *_arguments, error=error: (_ for _ in ()).throw(error))
        outcome = ingest(RoadDouble(), path)
        assert outcome.verdict is Verdict.UNREADABLE
        assert outcome.complaint is not None
        assert word in outcome.complaint.next_step


def test_members_of_archives_are_contents_of_their_own(drop: Dropper) -> None:
    road = RoadDouble()
    both = zipped({"a.ndjson": ndjson(range(10)), "b/c.ndjson": ndjson(range(10, 20)), "empty.ndjson": b""})
    outcome = ingest(road, drop.drop("both.zip", both))
    assert (outcome.verdict, outcome.records, len(outcome.producers)) == (Verdict.STORED, 20, 2)
    assert numbers(road) == list(range(20))
    plain = ingest(road, drop.drop("a.ndjson", ndjson(range(10))))
    assert plain.verdict is Verdict.DUPLICATE, "the same content without its archive"
    packed = ingest(road, drop.drop_gzip("c.ndjson.gz", ndjson(range(10, 20))))
    assert packed.verdict is Verdict.DUPLICATE


def test_a_bad_member_does_not_keep_its_neighbours_back(drop: Dropper) -> None:
    road = RoadDouble()
    mixed = zipped({"a.ndjson": ndjson(range(5)), "../up.ndjson": b"{}", "b.ndjson": ndjson(range(5, 9))})
    outcome = ingest(road, drop.drop("mixed.zip", mixed))
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.complaint is not None
    assert "up.ndjson" in outcome.complaint.place
    assert numbers(road) == list(range(9))


# --- the folder


async def test_files_are_taken_archived_and_told(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    async with running(tmp_path, road):
        drop.drop("a.ndjson", ndjson(range(5)))
        await road.until(lambda: len(archived(tmp_path)) == 1)
        drop.drop("a.ndjson", ndjson(range(5, 9)))
        await road.until(lambda: len(archived(tmp_path)) == 2)
    assert numbers(road) == list(range(9))
    assert all(name.startswith("a.") and name.endswith(".ndjson") for name in archived(tmp_path)), archived(tmp_path)
    states = [state.state for state in road.states()]
    assert (states[0], states[-1]) == ("connecting", "stopped")
    assert list((tmp_path / "drop").glob("*.ndjson")) == []


async def test_a_file_stays_until_its_commit(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    road.stall()
    async with running(tmp_path, road):
        path = drop.drop("a.ndjson", ndjson(range(5)))
        await road.until(lambda: road.pending() == 1)
        assert path.exists()
        assert not archived(tmp_path)
        road.go()
        await road.until(lambda: bool(archived(tmp_path)))


async def test_unfinished_and_hidden_names_are_passed_over(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    for name in (".hidden", "a.part", "b.TMP", "c.filepart", "d~"):
        drop.place(name).write_bytes(ndjson([1]))
    async with running(tmp_path, road):
        drop.drop("last.ndjson", ndjson([2]))
        await road.until(lambda: bool(archived(tmp_path)))
    assert numbers(road) == [2]


async def test_a_file_is_taken_only_once_it_has_settled(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    async with running(tmp_path, road, settle_seconds=0.3):
        with drop.growing("slow.ndjson") as file:
            started = time.monotonic()
            while time.monotonic() - started < 0.7:
                file.write(ndjson([1]))
                await asyncio.sleep(0.05)
            assert not road.frames()
        await road.until(lambda: bool(archived(tmp_path)))
    assert len(road.committed()) == 1


async def test_what_cannot_be_opened_is_rejected_with_its_reason(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    async with running(tmp_path, road):
        drop.drop("bad.zip", b"PK\x03\x04 broken")
        drop.drop("good.ndjson", ndjson([1]))
        await road.until(lambda: len(rejected(tmp_path)) == 2 and bool(archived(tmp_path)))
    reason = next(path for path in (tmp_path / "drop" / ".reject").rglob("*.reason.json"))
    told = json.loads(reason.read_text())
    assert (told["file"], told["feed"], told["code"]) == ("bad.zip", "press", "archive")
    assert any(state.state == "refused" and "bad.zip" in state.detail for state in road.states("press"))
    assert numbers(road) == [1]


async def test_links_out_of_the_folder_and_pipes_are_refused_and_left(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    outside = tmp_path / "secret.ndjson"
    outside.write_bytes(ndjson([7]))
    drop.drop_link("link.ndjson", outside)
    os.mkfifo(drop.folder / "pipe.ndjson")
    (drop.folder / "a-folder.ndjson").mkdir()
    async with running(tmp_path, road):
        drop.drop("good.ndjson", ndjson([1]))
        await road.until(lambda: bool(archived(tmp_path)))
        await road.until(lambda: len([state for state in road.states("press") if state.state == "refused"]) >= 2)
    assert numbers(road) == [1]
    assert outside.exists()


async def test_the_most_specific_glob_takes_a_file_and_feeds_do_not_wait(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    feeds = [feed("all", "**", 1), feed("press", "press-*/**/*.ndjson", 2), feed("four", "press-4/*.ndjson", 3)]
    async with running(tmp_path, road, *feeds):
        drop.drop("x.ndjson", ndjson([1]))
        drop.drop("press-4/x.ndjson", ndjson([2]))
        drop.drop("press-4/deep/x.ndjson", ndjson([3]))
        await road.until(lambda: len(archived(tmp_path)) == 3)
    assert (numbers(road, 1), numbers(road, 2), numbers(road, 3)) == ([1], [3], [2])
    assert (tmp_path / "drop" / "press-4").is_dir()


async def test_a_feed_that_waits_does_not_delay_another(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    feeds = [feed("slow", "slow/*", 1), feed("fast", "fast/*", 2)]
    submit = road.submit

    def stuck(producer: str, drafts: object, *, last: bool) -> object:
        future = submit(producer, drafts, last=last)  # type: ignore[arg-type]
        if producer.startswith("file:slow"):
            return type(future)()
        return future

    road.submit = stuck  # type: ignore[method-assign, assignment]
    async with running(tmp_path, road, *feeds):
        drop.drop("slow/a", ndjson([1]))
        drop.drop("fast/a", ndjson([2]))
        await road.until(lambda: bool(archived(tmp_path)))


async def test_a_folder_that_is_away_is_told_and_found_again(tmp_path: Path, drop: Dropper) -> None:
    road = RoadDouble()
    async with running(tmp_path, road):
        drop.folder.rename(tmp_path / "away")
        await road.until(lambda: any(state.state == "lost" and state.next_try for state in road.states()))
        (tmp_path / "away").rename(drop.folder)
        drop.drop("a.ndjson", ndjson([1]))
        await road.until(lambda: bool(archived(tmp_path)))


async def test_archived_days_are_swept(tmp_path: Path, drop: Dropper) -> None:
    for day in ("2001-01-01", "2999-01-01", "not-a-day"):
        drop.drop(f".archive/{day}/a.ndjson", b"{}")
    async with running(tmp_path, RoadDouble()):
        await RoadDouble().until(lambda: not (drop.folder / ".archive" / "2001-01-01").exists())
    assert (drop.folder / ".archive" / "2999-01-01").exists()
    assert (drop.folder / ".archive" / "not-a-day").exists()


async def test_a_probe_takes_nothing_and_says_what_is_wrong(tmp_path: Path, drop: Dropper) -> None:
    drop.drop("a.ndjson", ndjson([1]))
    findings = await FilesConnector().probe(connection(tmp_path), feed(path="*.ndjson"))
    assert [finding.verdict for finding in findings] == ["ok", "ok", "ok"]
    assert "1 files" in findings[-1].detail
    assert (drop.folder / "a.ndjson").exists()
    (missing,) = await FilesConnector().probe(connection(tmp_path, path="nowhere"), feed())
    assert missing.verdict == "failed"
    assert missing.next_step


def test_check_refuses_globs_that_leave_the_folder_and_ties(tmp_path: Path) -> None:
    feeds = [feed("up", "../*"), feed("one", "a/*.csv"), feed("two", "a/*.csv"), feed("abs", "/etc/*")]
    found = FilesConnector().check(connection(tmp_path), feeds)
    assert [(one.name, complaint.code) for one, complaint in found] == [
        ("up", "files-glob"),
        ("abs", "files-glob"),
        ("two", "files-glob-tie"),
    ]


async def test_a_hundred_idle_folders_cost_next_to_nothing(tmp_path: Path) -> None:
    road = RoadDouble()
    sources = []
    for number in range(100):
        (tmp_path / f"drop-{number}").mkdir()
        spec = connection(tmp_path, path=f"drop-{number}", poll_seconds=2.0)
        sources.append(FilesConnector().open(spec, [feed()], road))
    tasks = [asyncio.create_task(source.run()) for source in sources]
    await asyncio.sleep(0.5)
    before, started = time.process_time(), time.monotonic()
    await asyncio.sleep(2.0)
    share = (time.process_time() - before) / (time.monotonic() - started)
    for source in sources:
        await source.stop()
    await asyncio.gather(*tasks)
    assert share < 0.25, f"{share:.1%} of a core"
