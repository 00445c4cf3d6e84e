"""Rows of jobs: work across the stores, found again by its idempotency key (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from weftline.store.control.database import Control
from weftline.store.control.tables import job

__all__ = ["JobRow", "JobTable"]

ENDED = ("done", "failed")


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job. `state` is queued, running, done or failed; `log` is the permalink of its log."""

    id: int
    kind: str
    state: str
    progress: dict[str, Any]
    idempotency_key: str
    created: int
    created_by: str
    started: int | None
    ended: int | None
    result: Any
    log: str


class JobTable:
    """Read and write jobs."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def add(self, *, kind: str, key: str, now: int, by: str) -> tuple[JobRow, bool]:
        """Queue a job, or return the one with this kind and key; the second value tells whether it is new."""
        with self.control.write() as connection:
            same = select(job).where(job.c.kind == kind, job.c.idempotency_key == key)
            row = connection.execute(same).first()
            if row is not None:
                return _job(row), False
            number = connection.scalar(
                insert(job)
                .values(
                    kind=kind,
                    state="queued",
                    progress="{}",
                    idempotency_key=key,
                    created=now,
                    created_by=by,
                    log="",
                )
                .returning(job.c.id)
            )
            connection.execute(update(job).where(job.c.id == number).values(log=f"/jobs/{number}/log"))
            return _job(connection.execute(same).one()), True

    def get(self, job_id: int) -> JobRow | None:
        """Return one job."""
        with self.control.read() as connection:
            row = connection.execute(select(job).where(job.c.id == job_id)).first()
        return None if row is None else _job(row)

    def unfinished(self) -> list[JobRow]:
        """Return jobs a restart has to take up again, oldest first."""
        with self.control.read() as connection:
            query = select(job).where(job.c.state.not_in(ENDED)).order_by(job.c.id)
            return [_job(row) for row in connection.execute(query)]

    def list(self, *, limit: int = 200) -> list[JobRow]:
        """Return jobs, newest first."""
        with self.control.read() as connection:
            return [_job(row) for row in connection.execute(select(job).order_by(job.c.id.desc()).limit(limit))]

    def start(self, job_id: int, now: int) -> None:
        """Mark a job as running; a job taken up again keeps its first start."""
        with self.control.write() as connection:
            connection.execute(update(job).where(job.c.id == job_id, job.c.started.is_(None)).values(started=now))
            connection.execute(update(job).where(job.c.id == job_id).values(state="running"))

    def progress(self, job_id: int, progress: dict[str, Any]) -> None:
        """Note how far the job is."""
        with self.control.write() as connection:
            connection.execute(
                update(job).where(job.c.id == job_id).values(progress=msgspec.json.encode(progress).decode())
            )

    def end(self, job_id: int, *, state: str, result: Any, now: int) -> None:
        """End a job as done or failed."""
        with self.control.write() as connection:
            connection.execute(
                update(job)
                .where(job.c.id == job_id)
                .values(state=state, ended=now, result=msgspec.json.encode(result).decode())
            )


def _job(row: Any) -> JobRow:
    found = row._asdict()
    found["progress"] = msgspec.json.decode(found["progress"])
    found["result"] = None if found["result"] is None else msgspec.json.decode(found["result"])
    return JobRow(**found)
