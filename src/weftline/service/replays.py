"""Replay: quarantined originals go the road again, with the contract now in force; what passes leaves quarantine."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from weftline.batch import TIMESTAMP, Frame, FrameFlag
from weftline.clock import Clock
from weftline.errors import NotFoundError, WeftlineError
from weftline.ingest.prepare import Prepared, Preparer
from weftline.ingest.road import Road
from weftline.ingest.validate import one
from weftline.service.actor import Actor
from weftline.service.views import ReplayView
from weftline.store.control.jobs import JobTable
from weftline.store.lake import LEDGER, Lake

__all__ = ["Replays"]

log = structlog.get_logger()
GROUP_RECORDS = 5000
HOUR = 3_600_000_000


class Replays:
    """Run replays as jobs, one at a time. A record that fails again stays in quarantine with its new reasons."""

    def __init__(self, road: Road, lake: Lake, preparer: Preparer, jobs: JobTable, clock: Clock) -> None:
        self._road = road
        self._lake = lake
        self._preparer = preparer
        self._jobs = jobs
        self._clock = clock
        self._one = threading.Lock()
        for job in jobs.unfinished():
            if job.kind == "replay":
                # Its records are still in quarantine, but for the groups it had committed: it can be asked for again.
                reason = {"reason": "the process ended; replay the group again"}
                jobs.end(job.id, state="failed", result=reason, now=clock.now())

    def replay(self, group: str, actor: Actor, *, reason: str, key: str) -> ReplayView:
        """Start (or find, by idempotency key) the job that replays a group of quarantined records."""
        view, thread = self._start(group, actor, reason, key)
        del thread
        return view

    def replay_now(self, group: str, actor: Actor, reason: str) -> ReplayView:
        """Replay a group and return once it has ended."""
        view, thread = self._start(group, actor, reason, "")
        if thread is not None:
            thread.join()
        job = self._jobs.get(int(view.job))
        return view if job is None else _view(job.id, group, job.state, job.result or {})

    def _start(self, group: str, actor: Actor, reason: str, key: str) -> tuple[ReplayView, threading.Thread | None]:
        ids = self._lake.scan(
            "SELECT id FROM weftline.quarantine WHERE fingerprint = $group ORDER BY id", {"group": group}
        )["id"].to_pylist()
        log.info("replay asked for", group=group, records=len(ids), by=actor.id, reason=reason)
        name = key or f"replay:{group}:{ids[-1:]}:{self._clock.now()}"
        job, new = self._jobs.add(kind="replay", key=name, now=self._clock.now(), by=actor.id)
        if not new:
            return _view(job.id, group, job.state, job.progress or {}), None
        if not ids:
            self._jobs.end(job.id, state="failed", result={"reason": "no such group"}, now=self._clock.now())
            raise NotFoundError(place="quarantine", found=f"group '{group}'", expected="a group with records")
        thread = threading.Thread(target=self._run, args=(job.id, ids), name=f"replay-{job.id}", daemon=True)
        thread.start()
        return _view(job.id, group, "running", {"tried": 0}), thread

    def run(self, ids: list[int], job: int) -> dict[str, int]:
        """Replay these records now; return how many were tried, released and still fail."""
        tried = failing = 0
        for at in range(0, len(ids), GROUP_RECORDS):
            part = ids[at : at + GROUP_RECORDS]
            found, failed = self._group(part, f"replay:{job}:{at}")
            tried, failing = tried + found, failing + failed
            self._jobs.progress(job, {"tried": tried, "of": len(ids)})
        # A whole frame may hold many records: more may fail than were tried.
        return {"tried": tried, "released": max(tried - failing, 0), "still_failing": failing}

    def _run(self, job: int, ids: list[int]) -> None:
        with self._one:
            self._jobs.start(job, self._clock.now())
            try:
                result: dict[str, Any] = dict(self.run(ids, job))
                state = "done"
            except WeftlineError as error:
                state, result = "failed", {"reason": error.complaint.sentence()}
            except Exception as error:  # noqa: BLE001 - the job says what ended it
                log.error("replay failed", job=job, error=repr(error))
                state, result = "failed", {"reason": f"{type(error).__name__}: {str(error)[:300]}"}
            self._jobs.end(job, state=state, result=result, now=self._clock.now())

    def _group(self, ids: list[int], job: str) -> tuple[int, int]:
        """Give one group of originals back to the road in the same transaction that takes them out of quarantine.

        Returns how many were still there and how many records of them went back to quarantine, for whatever reason.
        """
        rows = self._lake.scan(
            "SELECT id, feed, lane, frame, position, stage, epoch_us(received) AS received, attributes, original "
            "FROM weftline.quarantine WHERE id IN (SELECT unnest($ids)) ORDER BY id",
            {"ids": ids},
        ).to_pylist()
        frames = [
            Frame(
                row["id"],
                row["feed"],
                row["received"],
                b"",
                row["attributes"] or b"",
                row["original"] or b"",
                FrameFlag.HISTORY,
            )
            for row in rows
        ]
        found = [frame.offset for frame in frames]
        if not frames:
            return 0, 0
        prepared = self._preparer.prepare(job, 1, frames, last=found[-1], spooled=False, complete=True, released=found)
        self._road.run(_kept_count(_kept_place(prepared, rows))).result()
        return len(frames), prepared.group.quarantine.num_rows if prepared.group.quarantine is not None else 0


def _kept_place(prepared: Prepared, rows: list[dict[str, Any]]) -> Prepared:
    """Leave everything under the permalink of the frame it came from; quarantine ids served as offsets so far."""
    ids = pa.array([row["id"] for row in rows], pa.uint64())
    lanes = pa.array([row["lane"] for row in rows], pa.int32())
    frames = pa.array([row["frame"] for row in rows], pa.uint64())
    # A row holds one record, or a whole frame or block that is cut into records again, which then count from its place.
    positions = pa.array([0 if row["stage"] == "frame" else row["position"] for row in rows], pa.uint32())

    def placed(table: pa.Table) -> pa.Table:
        which = pc.index_in(table["frame"], value_set=ids)
        position = pc.add(positions.take(one(pa.table({"i": which}), "i")), one(table, "position")).cast(pa.uint32())
        table = table.set_column(table.schema.get_field_index("frame"), "frame", frames.take(which))
        table = table.set_column(table.schema.get_field_index("position"), "position", position)
        return table.append_column("lane", lanes.take(which))

    group = prepared.group
    moved = replace(
        group,
        rows={dataset: placed(table) for dataset, table in group.rows.items()},
        quarantine=placed(group.quarantine) if group.quarantine is not None else None,
        keys=[(check, placed(table)) for check, table in group.keys],
    )
    return replace(prepared, group=moved)


def _kept_count(prepared: Prepared) -> Prepared:
    """Take off `received` what was counted when the records first came: one for each released record."""
    ledger = prepared.group.ledger
    assert ledger is not None, "a prepared group has a ledger"
    once = pa.table(
        {
            "feed": pa.array([frame.feed for frame in prepared.frames], pa.int32()),
            "hour": pa.array([frame.received // HOUR * HOUR for frame in prepared.frames], pa.int64()).cast(TIMESTAMP),
            "received": pa.repeat(pa.scalar(-1, pa.int64()), len(prepared.frames)),
        }
    )
    both = pa.concat_tables([ledger, once], promote_options="default")
    terms = [name for name in LEDGER.names if name not in {"feed", "hour"}]
    summed = both.group_by(["feed", "hour"]).aggregate([(term, "sum") for term in terms])
    columns = [summed["feed"], summed["hour"], *(pc.fill_null(summed[f"{term}_sum"], 0) for term in terms)]
    kept = pa.table(columns, names=LEDGER.names).cast(LEDGER)
    records = pc.sum(kept["received"]).as_py() or 0
    return replace(prepared, group=replace(prepared.group, ledger=kept, records=records))


def _view(job: int, group: str, state: str, progress: dict[str, Any]) -> ReplayView:
    return ReplayView(
        job=str(job),
        group=group,
        state=state if state in {"queued", "running", "done", "failed"} else "running",  # type: ignore[arg-type]
        tried=int(progress.get("tried", 0)),
        released=int(progress.get("released", 0)),
        still_failing=int(progress.get("still_failing", 0)),
        reason=str(progress.get("reason", "")),
    )
