"""The control database: its schema, its migrations and what its tables promise."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from weftline.clock import ShiftedClock
from weftline.errors import NotFoundError
from weftline.incidents.book import Incident, IncidentBook
from weftline.store.control import Control, ControlVersionError
from weftline.store.control.incidents import IncidentTable
from weftline.store.control.jobs import JobTable
from weftline.store.control.people import PeopleTable
from weftline.store.control.published import PublishedRow, PublishedTable, VersionChangedError, next_version
from weftline.store.control.settings import SettingTable
from weftline.store.control.tables import metadata


@pytest.fixture
def control(tmp_path: Path):
    opened = Control.open(tmp_path / "control.db")
    yield opened
    opened.close()


def test_migrations_give_exactly_the_declared_tables(control: Control) -> None:
    with control.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_twice_keeps_what_was_written(tmp_path: Path) -> None:
    first = Control.open(tmp_path / "control.db")
    SettingTable(first).set("retention", {"days": 400}, 1)
    first.close()
    second = Control.open(tmp_path / "control.db")
    assert SettingTable(second).get("retention") == {"days": 400}
    assert SettingTable(second).get("absent", "default") == "default"
    second.close()
    assert (tmp_path / "control.db").stat().st_mode & 0o077 == 0


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    control = Control.open(tmp_path / "control.db")
    with control.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    control.close()
    with pytest.raises(ControlVersionError) as caught:
        Control.open(tmp_path / "control.db")
    assert "9999" in str(caught.value)


def test_sqlite_runs_with_wal_foreign_keys_and_full_durability(control: Control) -> None:
    with control.read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 5000}


def test_one_incident_per_key_is_open_however_many_threads_report_it(control: Control) -> None:
    told: list[tuple[str, Incident]] = []
    clock = ShiftedClock()
    book = IncidentBook(IncidentTable(control), clock, lambda what, incident: told.append((what, incident)))
    threads = [
        threading.Thread(target=lambda: book.report("feed/a/silent", kind="feed-silent", subject="a")) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [what for what, _ in told] == ["opened"]
    assert len(book.open_incidents()) == 1
    closed = book.close("feed/a/silent")
    assert closed is not None
    assert closed.closed is not None
    assert book.close("feed/a/silent") is None
    again = book.report("feed/a/silent", kind="feed-silent", subject="a")
    assert again.id != closed.id
    assert [what for what, _ in told] == ["opened", "closed", "opened"]


def test_an_incident_seen_again_moves_last_seen_and_a_new_book_finds_it_open(control: Control) -> None:
    clock = ShiftedClock()
    book = IncidentBook(IncidentTable(control), clock)
    first = book.report("broker", kind="broker-drop", subject="line-3", severity="critical", detail={"lost": 1})
    clock.shift = 61_000_000
    second = book.report("broker", kind="broker-drop", subject="line-3", severity="critical", detail={"lost": 1})
    assert second.id == first.id
    assert second.last_seen > first.last_seen
    book.annotate(first.id, owner="Ada", note="looking")
    reopened = IncidentBook(IncidentTable(control), clock)
    assert [(one.id, one.owner, one.detail) for one in reopened.open_incidents()] == [(first.id, "Ada", {"lost": 1})]
    with pytest.raises(NotFoundError):
        book.get(999)


def test_a_job_is_found_again_by_its_key_and_ends_with_a_result(control: Control) -> None:
    jobs = JobTable(control)
    job, new = jobs.add(kind="replay", key="k1", now=1, by="local")
    same, again = jobs.add(kind="replay", key="k1", now=2, by="local")
    assert (new, again, same.id) == (True, False, job.id)
    assert job.log == f"/jobs/{job.id}/log"
    jobs.start(job.id, 3)
    jobs.progress(job.id, {"tried": 5})
    assert [row.progress for row in jobs.unfinished()] == [{"tried": 5}]
    jobs.start(job.id, 9)
    jobs.end(job.id, state="done", result={"released": 5}, now=10)
    done = jobs.get(job.id)
    assert done is not None
    assert (done.state, done.started, done.ended, done.result) == ("done", 3, 10, {"released": 5})
    assert jobs.unfinished() == []


def row(version: str, text: str) -> PublishedRow:
    return PublishedRow("contract", "signals", version, text, text, 1, "local")


def test_a_published_version_never_changes_and_nothing_of_the_batch_is_written(control: Control) -> None:
    published = PublishedTable(control)
    assert published.publish([row("1.0.0", "a"), row("1.1.0", "b")]) == 2
    assert published.publish([row("1.0.0", "a")]) == 0
    with pytest.raises(VersionChangedError) as caught:
        published.publish([row("2.0.0", "c"), row("1.0.0", "changed")])
    assert "1.1.1" in str(caught.value)
    assert published.get("contract", "signals", "2.0.0") is None
    assert [one.version for one in published.list("contract", "signals")] == ["1.0.0", "1.1.0"]


def test_the_next_version_is_above_every_numeric_one() -> None:
    assert next_version(["1.2.9", "1.10.0", "draft"]) == "1.10.1"
    assert next_version([]) == "1.0.0"
    assert next_version(["2"]) == "2.0.1"


def test_a_link_is_used_once_even_by_two_threads(control: Control) -> None:
    people = PeopleTable(control)
    who = people.add(name="Ada", email="ada@example.org", roles=["viewer"], now=1)
    people.add_link(token_hash="h", person_id=who, purpose="invite", now=1, expires=100, by="local")
    link = people.link("h")
    assert link is not None
    results: list[int | None] = []
    threads = [
        threading.Thread(target=lambda: results.append(people.use_link(link.id, hashed="x", now=5, newcomer=None)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [who, None, None, None]
