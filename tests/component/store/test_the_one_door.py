"""The one door: what it answers from a real lake, what it refuses, and that the decision is on disk first."""

from __future__ import annotations

import errno
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from weftline.clock import ShiftedClock
from weftline.errors import InputError, NotFoundError, RefusedError, UsageError
from weftline.service.actor import ANONYMOUS, LOCAL_OPERATOR, Actor, Client, ForbiddenError, UnauthenticatedError
from weftline.service.decisions import Decision, DecisionLog, DecisionLogError, TornLine
from weftline.service.quarantine import Quarantine
from weftline.service.queries import DatasetQuery, Filter, QuarantineQuery, SqlQuery
from weftline.service.reading import Door, LakeRows
from weftline.store.duck_lake import DuckLake
from weftline.store.guard import guard

VIEWER = Actor("person:7", "Ada", frozenset({"viewer"}), "password", credential="session:3")
FEED_KEY = Actor("key:ab", "key ab", frozenset(), "api-key", "feed:press-1", "key:1")
SUPPLIER = Actor("person:8", "Sam", frozenset({"supplier"}), "password")


@pytest.fixture
def log(tmp_path: Path):
    opened = DecisionLog(tmp_path / "decisions", ShiftedClock())
    yield opened
    opened.close()


@pytest.fixture
def door(lake: DuckLake, log: DecisionLog) -> Door:
    return Door(LakeRows(lake), guard, log, ShiftedClock())


def recorded(log: DecisionLog) -> list[Decision]:
    found = [line for day in log.days() for line in log.read(day)]
    assert not any(isinstance(line, TornLine) for line in found)
    return found  # type: ignore[return-value]


def test_pages_follow_each_other_newest_first_and_miss_nothing(lake: DuckLake, world: Any, door: Door) -> None:
    for first in (0, 10, 20):
        lake.commit(world.group(first, 10))
    frames, after, pages = [], "", 0
    while True:
        reading = door.read(VIEWER, "shift report", DatasetQuery("signal", after=after, limit=7))
        frames += reading.table.column("frame").to_pylist()
        pages += 1
        after = reading.next
        if pages == 2:
            lake.commit(world.group(30, 5))  # newer rows do not shift the pages under way
        if not after:
            break
    assert frames == list(range(29, -1, -1))
    assert pages == 5


def test_names_stand_for_ids_and_columns_come_as_asked(lake: DuckLake, world: Any, door: Door) -> None:
    lake.commit(world.group(0, 3))
    reading = door.read(VIEWER, "", DatasetQuery("signal", columns=("frame", "feed"), limit=1))
    assert reading.columns == ("frame", "feed")
    assert reading.table.to_pylist() == [{"frame": 2, "feed": "press-1"}]
    assert reading.commit_seq == lake.health().commit_seq


def test_a_feed_that_is_new_since_the_last_read_has_its_name(lake: DuckLake, world: Any, door: Door) -> None:
    lake.commit(world.group(0, 3))
    query = DatasetQuery("signal", columns=("feed", "contract", "lane"))
    assert set(door.read(VIEWER, "", query).table.column("feed").to_pylist()) == {"press-1"}
    new = lake.dictionary("feed", ["press-9"])["press-9"]
    lake.commit(world.group(0, 2, producer="lane:other", feed=new))
    rows = door.read(VIEWER, "", query).table.to_pylist()
    assert {row["feed"] for row in rows} == {"press-1", "press-9"}
    assert {row["contract"] for row in rows} == {"thermo@1.0.0"}
    assert {row["lane"].partition("@")[0] for row in rows} == {"lane:push", "lane:other"}


def test_a_reading_holds_nothing_above_its_watermark(lake: DuckLake, world: Any, log: DecisionLog) -> None:
    first = lake.commit(world.group(0, 4)).commit_seq
    lake.commit(world.group(4, 4))

    class Behind(LakeRows):
        def commit_seq(self) -> int:
            return first

    reading = Door(Behind(lake), guard, log, ShiftedClock()).read(VIEWER, "", DatasetQuery("signal"))
    assert reading.commit_seq == first
    assert reading.table.column("frame").to_pylist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("filters", "frames"),
    [
        ([Filter("feed", "eq", "press-1")], 10),
        ([Filter("feed", "ne", "press-1")], 0),
        ([Filter("feed", "eq", "unheard of")], 0),
        ([Filter("frame", "ge", "8")], 2),
        ([Filter("frame", "in", "1,3,99")], 2),
        ([Filter("event_time", "gt", "2100-01-01T00:00:00Z")], 0),
        ([Filter("extra", "null")], 10),
        ([Filter("time_source", "has", "SOUR")], 10),
        ([Filter("time_source", "eq", "x' OR '1'='1")], 0),
    ],
    ids=lambda value: " ".join(f"{f.column} {f.operator} {f.value}" for f in value) if isinstance(value, list) else "",
)
def test_filters_are_read_as_the_columns_type(
    lake: DuckLake, world: Any, door: Door, filters: list[Filter], frames: int
) -> None:
    lake.commit(world.group(0, 10))
    assert door.read(VIEWER, "", DatasetQuery("signal", tuple(filters))).table.num_rows == frames


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (DatasetQuery("signol"), NotFoundError),
        (DatasetQuery("signal", columns=("valeu",)), NotFoundError),
        (DatasetQuery("signal", (Filter("frame", "about", "1"),)), UsageError),
        (DatasetQuery("signal", (Filter("frame", "eq", "one"),)), InputError),
        (DatasetQuery("signal", after="%%%"), UsageError),
        (DatasetQuery("signal", limit=0), UsageError),
        (SqlQuery("SELECT * FROM nothing_here"), InputError),
        (SqlQuery("DROP TABLE signal"), RefusedError),
        (SqlQuery("SELECT * FROM read_csv('/etc/passwd')"), RefusedError),
        (SqlQuery("SELECT original FROM weftline.quarantine"), RefusedError),
        (SqlQuery("SELECT 1) UNION ALL (SELECT 2"), RefusedError),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_named_and_recorded(
    lake: DuckLake, world: Any, log: DecisionLog, query: DatasetQuery | SqlQuery, error: type[Exception]
) -> None:
    lake.commit(world.group(0, 3))
    door = Door(LakeRows(lake), guard, log, ShiftedClock())
    with pytest.raises(error):
        door.read(VIEWER, "", query)
    last = recorded(log)[-1]
    assert (last.outcome, last.rows or 0) == ("refused" if issubclass(error, RefusedError) else "failed", 0)
    assert last.decision == ("deny" if issubclass(error, RefusedError) else "permit")


def test_sql_is_answered_with_its_tables_in_the_record(
    lake: DuckLake, world: Any, door: Door, log: DecisionLog
) -> None:
    lake.commit(world.group(0, 10))
    reading = door.read(
        LOCAL_OPERATOR, "audit", SqlQuery("WITH s AS (SELECT frame FROM signal) SELECT count(*) AS n FROM s -- all")
    )
    assert reading.table.to_pylist() == [{"n": 10}]
    last = recorded(log)[-1]
    assert (last.datasets, last.columns, last.rows, last.purpose) == (["signal"], ["n"], 1, "audit")
    cut = door.read(LOCAL_OPERATOR, "", SqlQuery("SELECT frame FROM signal ORDER BY frame DESC", limit=3))
    assert (cut.cut, cut.table.column(0).to_pylist()) == (True, [9, 8, 7])


@pytest.mark.parametrize(
    ("actor", "error"),
    [(ANONYMOUS, UnauthenticatedError), (FEED_KEY, ForbiddenError), (SUPPLIER, ForbiddenError)],
    ids=["nobody", "feed key", "supplier"],
)
@pytest.mark.parametrize(
    "query",
    [DatasetQuery("signal"), SqlQuery("SELECT 1"), QuarantineQuery(groups=True)],
    ids=lambda q: type(q).__name__,
)
def test_who_may_not_read_is_refused_with_a_reason_that_is_recorded(
    door: Door, log: DecisionLog, actor: Actor, error: type[Exception], query: Any
) -> None:
    with pytest.raises(error):
        door.read(actor, "", query)
    with pytest.raises(error):
        door.subscribe(actor, "", ["feeds"])
    denied = recorded(log)
    assert [one.decision for one in denied] == ["deny", "deny"]
    assert all(one.reasons[0].startswith(("not-signed-in", "not-permitted")) for one in denied)
    assert door.reads == 2


def test_the_decision_names_everything_an_audit_asks(lake: DuckLake, world: Any, door: Door, log: DecisionLog) -> None:
    done = lake.commit(world.group(0, 4))
    seen: list[Decision] = []
    door.observers.append(seen.append)
    client = Client("10.0.0.1", "browser", "req-1")
    reading = door.read(VIEWER, "8D report", DatasetQuery("signal", (Filter("feed", "eq", "press-1"),)), client)
    (entry,) = recorded(log)
    assert seen == [entry]
    assert entry.id == reading.decision
    assert (entry.actor, entry.actor_name, entry.roles, entry.authenticated) == (
        "person:7", "Ada", ["viewer"], "password",
    )  # fmt: skip
    assert (entry.credential, entry.client, entry.agent, entry.request) == (
        "session:3", "10.0.0.1", "browser", "req-1",
    )  # fmt: skip
    assert (entry.purpose, entry.datasets, entry.rows, entry.commit_seq) == (
        "8D report",
        ["signal"],
        4,
        done.commit_seq,
    )
    assert (entry.decision, entry.outcome, entry.obligations, entry.policy) == ("permit", "answered", [], "signed-in/1")
    assert "press-1" in entry.query
    assert len(entry.query_hash) == 64
    assert set(reading.columns) == set(entry.columns)


def test_nothing_is_answered_when_the_decision_cannot_be_recorded(lake: DuckLake, world: Any, tmp_path: Path) -> None:
    lake.commit(world.group(0, 4))
    full = [True]

    def sync(_descriptor: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    log = DecisionLog(tmp_path / "decisions", ShiftedClock(), sync=sync)
    door = Door(LakeRows(lake), guard, log, ShiftedClock())
    with pytest.raises(DecisionLogError, match="No space left"):
        door.read(VIEWER, "", DatasetQuery("signal"))
    full[0] = False
    assert door.read(VIEWER, "", DatasetQuery("signal")).table.num_rows == 4
    log.close()


def test_many_readers_share_syncs_and_each_waits_for_its_own(tmp_path: Path) -> None:
    written = threading.Event()

    def sync(_descriptor: int) -> None:
        time.sleep(0.01)
        written.set()

    log = DecisionLog(tmp_path / "decisions", ShiftedClock(), sync=sync)
    answered: list[bool] = []

    def one(number: int) -> None:
        log.append(decision(number))
        answered.append(written.is_set())

    threads = [threading.Thread(target=one, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered == [True] * 32
    assert len(recorded(log)) == 32
    assert log.syncs < 32
    log.close()


def decision(number: int, moment: int = 1_800_000_000_000_000) -> Decision:
    return Decision(
        id=str(number), time=moment, actor="a", actor_name="a", roles=[], authenticated="password", credential="",
        purpose="", action="read", datasets=[], query="", query_hash="", columns=[], decision="permit", reasons=[],
        obligations=[], policy="", outcome="answered", rows=0, commit_seq=0, client="", agent="", request="",
    )  # fmt: skip


def test_the_record_is_only_appended_to_and_a_torn_line_is_shown_as_torn(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    log = DecisionLog(folder, ShiftedClock())
    log.append(decision(1))
    log.close()
    (path,) = folder.iterdir()
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"id":"2","ti')
    again = DecisionLog(folder, ShiftedClock())
    again.append(decision(3))
    again.close()
    assert path.read_bytes().startswith(before)
    lines = list(again.read(again.days()[0]))
    assert [line.id if isinstance(line, Decision) else line for line in lines] == ["1", TornLine(path.name, 2), "3"]
    assert path.stat().st_mode & 0o077 == 0


def test_days_have_files_of_their_own_and_expire_after_400_days(tmp_path: Path) -> None:
    clock = ShiftedClock()
    log = DecisionLog(tmp_path / "decisions", clock)
    day = 86_400_000_000
    for age in (0, 399, 401):
        log.append(decision(age, clock.now() - age * day))
    assert len(log.days()) == 3
    assert len(log.expire()) == 1
    assert len(log.days()) == 2
    log.close()


def test_streams_of_one_subject_and_query_share_a_decision_while_open(door: Door, log: DecisionLog) -> None:
    first = door.subscribe(VIEWER, "", ["feeds", "ledger"])
    second = door.subscribe(VIEWER, "", ["ledger", "feeds"])
    assert first.decision == second.decision
    other = door.subscribe(VIEWER, "", ["tower"])
    assert other.decision != first.decision
    first.close()
    second.close()
    later = door.subscribe(VIEWER, "", ["feeds", "ledger"])
    assert later.decision != first.decision
    assert [one.action for one in recorded(log)] == ["subscribe"] * 3
    assert door.reads == 4


def test_quarantine_groups_records_and_originals_come_through_the_door(lake: DuckLake, world: Any, door: Door) -> None:
    lake.commit(world.group(0, 10, bad=3))
    quarantine = Quarantine(door)
    (group,) = quarantine.groups(VIEWER, "")
    assert (group.id, group.records, group.feeds) == ("thermo@1/range/value", 3, ["press-1"])
    assert (group.rule, group.field, group.expected, group.example) == ("range", "value", "at most 300", "900")
    assert len(group.trend) == 24
    assert quarantine.group(VIEWER, "", group.id) == group
    first, second = quarantine.records(VIEWER, "", group.id, limit=2, originals=True)
    assert first.id > second.id
    assert json.loads(first.original or "")["value"] == 900
    (third,) = quarantine.records(VIEWER, "", group.id, after=second.id)
    assert third.original is None
    assert third.size > 0
    assert third.violations[0].rule == "range"
    assert quarantine.original(VIEWER, "", third.id).startswith(b'{"value"')
    assert door.reads == 5
    with pytest.raises(NotFoundError):
        quarantine.group(VIEWER, "", "no such group")
    with pytest.raises(NotFoundError):
        quarantine.record(VIEWER, "", 999_999)


def test_ledger_is_a_dataset_too_and_pages_without_keys(lake: DuckLake, world: Any, door: Door) -> None:
    lake.commit(world.group(0, 10))
    lake.commit(world.group(0, 10, producer="lane:other", feed=2))
    first = door.read(VIEWER, "", DatasetQuery("ledger", limit=1))
    second = door.read(VIEWER, "", DatasetQuery("ledger", limit=1, after=first.next))
    assert {first.table.column("feed")[0].as_py(), second.table.column("feed")[0].as_py()} == {"press-1", "press-2"}
    assert second.next == ""
