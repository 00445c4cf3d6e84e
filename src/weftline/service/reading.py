"""The one door: every read of data (page, API, download, stream, command line, export) passes `Door.read`.

It takes the actor, the purpose and the query, and gives Arrow or refuses with a reason. The decision is on disk before
the answer leaves. Today it admits whoever is signed in; the policy engine will stand in `_admit`.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from weftline.clock import Clock
from weftline.errors import NotFoundError, RefusedError, WeftlineError, nearest
from weftline.service.actor import Actor, Client, ForbiddenError, UnauthenticatedError
from weftline.service.decisions import Decision, DecisionLog
from weftline.service.ports import Guard, Rows
from weftline.service.queries import (
    NAMED,
    DatasetQuery,
    Plan,
    QuarantineQuery,
    Query,
    Shape,
    SqlQuery,
    dataset_plan,
    quarantine_plan,
    token_of,
)
from weftline.store.lake import Lake

__all__ = ["Door", "LakeRows", "Reading", "Subscription"]

POLICY = "signed-in/1"
QUERY_TEXT = 4000
SHAPES = """SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = 'main' AND table_name = $name ORDER BY ordinal_position"""
TABLES = "SELECT DISTINCT table_name FROM information_schema.tables WHERE table_schema = 'main'"
DICTIONARY = "SELECT id, name FROM weftline.dictionary WHERE kind = $kind"
SHAPE_SECONDS = 5.0


class LakeRows:
    """Give the door its lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def select(self, sql: str, params: Mapping[str, Any] | None, *, timeout: float, heavy: bool = False) -> pa.Table:
        """Run one SELECT through the lake's admission gate."""
        return self._lake.select(sql, params, timeout=timeout, heavy=heavy)

    def commit_seq(self) -> int:
        """Return the newest commit_seq."""
        return self._lake.health().commit_seq


@dataclass(frozen=True, slots=True)
class Reading:
    """What the door gave. `commit_seq` is the watermark: rows of every commit up to it were considered."""

    table: pa.Table
    columns: tuple[str, ...]
    commit_seq: int
    decision: str
    next: str = ""
    """Where the next page starts; empty at the end."""
    cut: bool = False
    """More rows exist than the limit let through."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A stream the door admitted. Close it when the client is gone."""

    actor: Actor
    query: str
    decision: str
    close: Callable[[], None]


class Door:
    """Decide, read, record, answer. Any thread; never the event loop."""

    def __init__(self, rows: Rows, guard: Guard, decisions: DecisionLog, clock: Clock) -> None:
        self._rows = rows
        self._check_sql = guard
        self._decisions = decisions
        self._clock = clock
        self._guard = threading.Lock()
        self._shapes: dict[str, tuple[float, Shape]] = {}
        self._names: dict[str, tuple[pa.Array, pa.Array]] = {}
        self._streams: dict[tuple[str, str, str], tuple[int, str]] = {}
        self.reads = 0
        """Readings and subscriptions asked for since the start, whatever the answer."""
        self.observers: list[Callable[[Decision], None]] = []
        """Called with each decision once it is durable; tests and counters hang here."""

    def read(self, actor: Actor, purpose: str, query: Query, client: Client | None = None) -> Reading:
        """Answer a query.

        Raises RefusedError (with reason), NotFoundError, InputError, StoreBusyError, or DecisionLogError where the
        decision could not be recorded; in every case nothing left the store.
        """
        draft = self._draft(actor, purpose, query, client or Client(), "read")
        self._admit(draft, actor)
        with self._recorded(draft):
            watermark = self._rows.commit_seq()
            plan = self._plan(query, watermark)
        draft = replace_decision(draft, datasets=list(plan.datasets), columns=list(plan.columns), commit_seq=watermark)
        with self._recorded(draft):
            table = self._rows.select(plan.sql, plan.params, timeout=plan.timeout, heavy=plan.heavy)
            table = self._with_names(table, plan.named)
        reading = _page(table, plan, watermark, draft.id)
        self._record(
            replace_decision(draft, outcome="answered", rows=reading.table.num_rows, columns=list(reading.columns))
        )
        return reading

    def subscribe(
        self, actor: Actor, purpose: str, topics: Sequence[str], client: Client | None = None
    ) -> Subscription:
        """Admit a stream. One decision is recorded per subject and query while any such stream is open."""
        query = "events " + " ".join(sorted(topics))
        draft = self._draft(actor, purpose, query, client or Client(), "subscribe")
        self._admit(draft, actor)
        key = (actor.id, actor.credential, query)
        with self._guard:
            count, decision = self._streams.get(key, (0, ""))
            if count:
                self._streams[key] = (count + 1, decision)
        if not count:
            decision = draft.id
            self._record(replace_decision(draft, outcome="answered", commit_seq=self._rows.commit_seq()))
            with self._guard:
                count, decision = self._streams.get(key, (0, decision))
                self._streams[key] = (count + 1, decision)
        return Subscription(actor, query, decision, lambda: self._leave(key))

    def _leave(self, key: tuple[str, str, str]) -> None:
        with self._guard:
            count, decision = self._streams.get(key, (0, ""))
            if count > 1:
                self._streams[key] = (count - 1, decision)
            else:
                self._streams.pop(key, None)

    def shape(self, dataset: str) -> Shape:
        """Return a dataset's columns and types; metadata, no row. Raises NotFoundError."""
        now = self._clock.steady()
        with self._guard:
            held = self._shapes.get(dataset)
        if held is not None and now - held[0] < SHAPE_SECONDS:
            return held[1]
        found = self._rows.select(SHAPES, {"name": dataset}, timeout=2.0)
        if not found.num_rows:
            names = self._rows.select(TABLES, None, timeout=2.0).column(0).to_pylist()
            raise NotFoundError(
                place="datasets",
                found=f"'{dataset}'",
                expected="a dataset of this fabric",
                next_step=nearest(dataset, names).capitalize(),
            )
        shape = dict(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))
        with self._guard:
            self._shapes[dataset] = (now, shape)
        return shape

    def _plan(self, query: Query, watermark: int) -> Plan:
        if isinstance(query, DatasetQuery):
            return dataset_plan(query, self.shape(query.dataset), watermark)
        if isinstance(query, QuarantineQuery):
            return quarantine_plan(replace(query, now=query.now or self._clock.now()))
        admitted = self._check_sql(query.text)
        tables = tuple(sorted(admitted.tables))
        self._known(tables)
        sql = f"SELECT * FROM ({admitted.sql()}) LIMIT {query.limit + 1}"  # noqa: S608 - the guard wrote it out
        return Plan(sql, {}, tables, (), limit=query.limit, heavy=True, timeout=60.0)

    def _known(self, tables: Sequence[str]) -> None:
        """Refuse a table nobody made, with the nearest one that exists."""
        names = self._rows.select(TABLES, None, timeout=2.0).column(0).to_pylist() if tables else []
        folded = {name.casefold() for name in names}
        for table in tables:
            if table.casefold() not in folded:
                raise NotFoundError(
                    place="query",
                    found=f"the dataset '{table}'",
                    expected="a dataset of this fabric",
                    next_step=nearest(table, names).capitalize(),
                )

    def _with_names(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Replace dictionary ids by names; the names are held in memory, a join would cost three times the read."""
        for column in columns:
            place = table.schema.get_field_index(column)
            ids = table.column(place)
            for fresh in (False, True):
                known, names = self._dictionary(NAMED[column], fresh=fresh)
                index = pc.index_in(ids, value_set=known)
                if index.null_count == ids.null_count:
                    break
            table = table.set_column(place, column, names.take(index))
        return table

    def _dictionary(self, kind: str, *, fresh: bool) -> tuple[pa.Array, pa.Array]:
        with self._guard:
            held = self._names.get(kind)
        if held is None or fresh:
            found = self._rows.select(DICTIONARY, {"kind": kind}, timeout=2.0).combine_chunks()
            held = found.column(0).combine_chunks(), found.column(1).combine_chunks()
            with self._guard:
                self._names[kind] = held
        return held

    def _draft(self, actor: Actor, purpose: str, query: Query | str, client: Client, action: str) -> Decision:
        with self._guard:
            self.reads += 1
        text = _text(query)
        return Decision(
            id=secrets.token_hex(12),
            time=self._clock.now(),
            actor=actor.id,
            actor_name=actor.name,
            roles=sorted(actor.roles),
            authenticated=actor.authenticated,
            credential=actor.credential,
            purpose=purpose[:200],
            action="subscribe" if action == "subscribe" else "read",
            datasets=[query.dataset] if isinstance(query, DatasetQuery) else [],
            query=text[:QUERY_TEXT],
            query_hash=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            columns=list(query.columns) if isinstance(query, DatasetQuery) else [],
            decision="permit",
            reasons=["the actor is signed in"],
            obligations=[],
            policy=POLICY,
            outcome="failed",
            rows=None,
            commit_seq=0,
            client=client.address,
            agent=client.agent[:200],
            request=client.request[:100],
        )

    def _admit(self, draft: Decision, actor: Actor) -> None:
        """Decide; a denial is recorded and raised."""
        refused: RefusedError | None = None
        if not actor.signed_in:
            refused = UnauthenticatedError(
                place="reading",
                found="nobody signed in",
                expected="a session or an API key",
                next_step="Sign in at /sign-in.",
            )
        elif actor.feed_scope:
            refused = ForbiddenError(
                place="reading",
                found=f"a key that may only push to '{actor.feed_scope}'",
                expected="a person's session or key",
                next_step="Make a key with scope actor:EMAIL.",
            )
        elif not actor.roles or actor.roles == {"supplier"}:
            refused = ForbiddenError(
                place="reading",
                found="an actor for whom no policy says which rows may be read",
                expected="a role that reads: administrator, engineer, buyer or viewer",
                next_step="Ask an administrator for the role.",
            )
        if refused is not None:
            self._deny(draft, refused)
            raise refused

    def _deny(self, draft: Decision, error: RefusedError) -> None:
        complaint = error.complaint
        reason = f"{complaint.code}: found {complaint.found}, expected {complaint.expected}"
        self._record(replace_decision(draft, decision="deny", reasons=[reason], outcome="refused", rows=0))

    @contextmanager
    def _recorded(self, draft: Decision) -> Iterator[None]:
        """Record a read that ends in an error before the error is told."""
        try:
            yield
        except RefusedError as error:
            self._deny(draft, error)
            raise
        except WeftlineError as error:
            self._record(replace_decision(draft, reasons=[*draft.reasons, f"no answer: {error.code}"]))
            raise

    def _record(self, decision: Decision) -> None:
        self._decisions.append(decision)
        for observer in self.observers:
            observer(decision)


replace_decision = msgspec.structs.replace


def _text(query: Query | str) -> str:
    if isinstance(query, str):
        return query
    if isinstance(query, SqlQuery):
        return query.text
    return f"{type(query).__name__} {msgspec.json.encode(query).decode()}"


def _page(table: pa.Table, plan: Plan, watermark: int, decision: str) -> Reading:
    more = bool(plan.limit) and table.num_rows > plan.limit
    if more:
        table = table.slice(0, plan.limit)
    following = ""
    if more and plan.keys:
        following = token_of([table.column(name)[-1].as_py() for name in plan.keys])
    elif more and plan.offset + plan.limit and plan.datasets and plan.columns:
        following = token_of([plan.offset + plan.limit])
    if plan.keys:
        table = table.drop_columns(list(plan.keys))
    return Reading(table, tuple(table.column_names), watermark, decision, following, more)
