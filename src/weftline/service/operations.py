"""What the local operator does from the command line, in the process that holds the folder.

With a server on the folder the commands reach these over its Unix socket (`api/routes_operator.py`); without one they
call them directly. Every method blocks and returns JSON types, but for `query`, which returns Arrow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from weftline.clock import from_micros
from weftline.connectors.files.intake import FileOutcome, Verdict, ingest_file
from weftline.errors import NotFoundError, nearest
from weftline.ingest.prepare import Prepared
from weftline.model.feed import FeedSpec
from weftline.service.actor import LOCAL_OPERATOR, Actor
from weftline.service.books import total
from weftline.service.queries import SqlQuery
from weftline.service.wiring import Fabric
from weftline.store.lake import LEDGER_TERMS, Committed
from weftline.store.verify import verify

__all__ = ["OPERATIONS", "Operations"]

Answer = Any
Rows = Any
"""JSON types, as msgspec.to_builtins gives them."""
Progress = Callable[[int, int], None]
STILL_TRIES = 100
"""Times both sides of the spool are read again while frames arrive in between."""
TERMS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")


class _Tally:
    """Sum the ledger of the groups of some producers while they are committed."""

    def __init__(self) -> None:
        self.by_producer: dict[str, dict[str, int]] = {}

    def __call__(self, committed: Committed, prepared: Prepared) -> None:
        ledger = prepared.group.ledger
        if committed.repeated or ledger is None or not prepared.group.producer.startswith(("file:", "again:file:")):
            return
        held = self.by_producer.setdefault(prepared.group.producer, dict.fromkeys(LEDGER_TERMS, 0))
        for term in LEDGER_TERMS:
            held[term] += sum(ledger[term].to_pylist())

    def of(self, producers: tuple[str, ...]) -> dict[str, int]:
        """Return the terms of these producers and of their repeats."""
        found = dict.fromkeys(TERMS, 0)
        for name in producers:
            for key in (name, f"again:{name}"):
                for term in TERMS[:-1]:
                    found[term] += self.by_producer.get(key, {}).get(term, 0)
        return found


class Operations:
    """The operator's verbs over one open fabric."""

    def __init__(self, fabric: Fabric, actor: Actor = LOCAL_OPERATOR) -> None:
        self._fabric = fabric
        self._actor = actor

    def status(self) -> Answer:
        """Return feeds by state, what needs a person, and the store's gauges."""
        tower = self._fabric.answers.tower()
        ledger = total(list(self._fabric.answers.ledger()))
        return _plain(
            {
                "fabric": self._fabric.spec.settings.name,
                "feeds": tower.feeds,
                "states": tower.states,
                "attention": tower.attention,
                "ledger": ledger,
                "commit_seq": tower.commit_seq,
                "readiness": self._fabric.answers.readiness(),
                "gauges": dict(self._fabric.answers.gauges()),
            }
        )

    def feeds(self) -> Rows:
        """Return every feed as the tower lists it."""
        return _plain(list(self._fabric.answers.feeds()))

    def ingest(
        self, feed: str, path: str, *, history: bool = False, name: str = "", progress: Progress | None = None
    ) -> Answer:
        """Bring one file onto the road; return the ledger terms of this call and what became of the file."""
        spec = self._feed(feed)
        tally = _Tally()
        end = self._fabric.road.listen(tally)
        try:
            outcome = ingest_file(self._fabric.road, spec, Path(path), history=history, progress=progress)
        finally:
            end()
        return {
            **tally.of(outcome.producers),
            "file": name or path,
            "verdict": str(outcome.verdict),
            **_reason(outcome),
        }

    def query(self, sql: str, *, purpose: str = "local query", limit: int = 1_000_000) -> pa.Table:
        """Run one SELECT through the one door."""
        return self._fabric.door.read(self._actor, purpose, SqlQuery(sql, limit=limit)).table

    def ledger(self, feed: str = "") -> Rows:
        """Return the ledger of one feed or of all."""
        rows = list(self._fabric.answers.ledger())
        if feed:
            self._feed(feed)
            rows = [row for row in rows if row.feed == feed]
        return _plain(rows)

    def verify(self) -> Rows:
        """Recount the ledger from data, quarantine and spool; each difference is a finding.

        The recount runs between two groups, in the writer's queue, so that both sides are of one moment.
        """
        road = self._fabric.road

        def recount() -> Rows:
            for _ in range(STILL_TRIES):
                before = road.counts()
                waiting = road.waiting_in_lanes()
                counts = road.counts()
                if counts == before:
                    break
            found = verify(self._fabric.lake, counts, waiting)
            return [
                {"feed": item.feed, "term": item.term, "counted": item.counted, "told": item.told} for item in found
            ]

        found: list[dict[str, Any]] = road.writer.run(recount).result()
        return found

    def quarantine(self, feed: str = "") -> Rows:
        """Return the groups of quarantined records."""
        return _plain(self._fabric.quarantine.groups(self._actor, "quarantine list", feed=feed))

    def quarantined(self, group: str, limit: int = 100) -> Rows:
        """Return records of a group with their originals."""
        records = self._fabric.quarantine.records(self._actor, "quarantine show", group, limit=limit, originals=True)
        return _plain(records)

    def quarantined_record(self, record: int) -> Answer:
        """Return one record with its original."""
        found: dict[str, Any] = _plain(self._fabric.quarantine.record(self._actor, "quarantine show", record))
        return found

    def replay(self, group: str, reason: str = "") -> Answer:
        """Replay a group now and wait for the end."""
        return _plain(self._fabric.replays.replay_now(group, self._actor, reason))

    def user_add(self, name: str, email: str, roles: list[str], password: str = "") -> Answer:
        """Add a person who may sign in."""
        view = self._fabric.people.add(self._actor, name=name, email=email, roles=roles, password=password or None)
        found: dict[str, Any] = _plain(view)
        return found

    def user_list(self) -> Rows:
        """Return who may sign in."""
        return _plain(self._fabric.people.list(self._actor))

    def user_invite(self, email: str) -> Answer:
        """Return a one-time link's token for a person, or for the first administrator."""
        token = self._fabric.people.link_for(self._actor, email) if email else self._fabric.people.first_link()
        return {"token": token, "path": f"/welcome/{token}" if token else ""}

    def key_create(self, scope: str, note: str = "") -> Answer:
        """Make an API key; its secret is in the answer and nowhere else."""
        kind, _, name = scope.partition(":")
        if kind == "feed" and not name.endswith("*"):
            self._feed(name)
        view, secret = self._fabric.keys.create(self._actor, scope, note=note)
        return {**_plain(view), "key": secret}

    def key_list(self) -> Rows:
        """Return the API keys without their secrets."""
        return _plain(self._fabric.keys.list(self._actor))

    def doctor(self) -> Rows:
        """Return what was looked at, how it stands and what to do."""
        health = self._fabric.lake.health()
        readiness = self._fabric.answers.readiness()
        last = from_micros(health.last_commit).isoformat() if health.last_commit else "never"
        rows = [
            ("road", "ok" if readiness.ready else "failed", "; ".join(readiness.reasons) or "frames are stored", ""),
            ("lake", "ok", f"{health.file_bytes >> 20} MiB, commit {health.commit_seq}, last {last}", ""),
            (
                "write-ahead log",
                "ok" if health.wal_bytes < 1 << 30 else "warning",
                f"{health.wal_bytes >> 20} MiB, {health.checkpoints} checkpoints",
                "",
            ),
            (
                "disk",
                "ok" if not health.holding else "failed",
                f"{health.free_bytes >> 30} GiB free",
                health.holding,
            ),
            ("snapshots", "ok", f"oldest {health.oldest_snapshot_age:.1f} s", ""),
        ]
        return [dict(zip(("subject", "verdict", "detail", "next_step"), row, strict=True)) for row in rows]

    def _feed(self, name: str) -> FeedSpec:
        spec = self._fabric.feed(name)
        if spec is None:
            known = self._fabric.road.book().by_name
            raise NotFoundError(
                place="feeds", found=f"'{name}'", expected="a feed in force", next_step=nearest(name, known)
            )
        return spec


def _reason(outcome: FileOutcome) -> Answer:
    if outcome.complaint is not None:
        return {"reason": outcome.complaint.sentence()}
    return {"reason": "the file is empty"} if outcome.verdict is Verdict.EMPTY else {}


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


OPERATIONS = tuple(name for name in vars(Operations) if not name.startswith("_") and name not in {"query", "ingest"})
"""Names a request over the socket may call with a JSON object of arguments."""
