"""Quarantine as people work on it: groups, records and originals, each read through the one door."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pyarrow as pa

from weftline.errors import NotFoundError
from weftline.service.actor import Actor, Client
from weftline.service.queries import QuarantineQuery
from weftline.service.reading import Door
from weftline.service.views import QuarantineGroup, QuarantineRecord, ViolationView

__all__ = ["Quarantine"]

MAX_GROUPS = 1000


class Quarantine:
    """Read quarantine. Methods block."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def groups(
        self, actor: Actor, purpose: str, client: Client | None = None, *, feed: str = "", limit: int = MAX_GROUPS
    ) -> list[QuarantineGroup]:
        """Return groups, the most recently seen first."""
        reading = self._door.read(actor, purpose, QuarantineQuery(groups=True, feed=feed, limit=limit), client)
        return [_group(row) for row in reading.table.to_pylist()]

    def group(self, actor: Actor, purpose: str, group: str, client: Client | None = None) -> QuarantineGroup:
        """Return one group or raise NotFoundError."""
        reading = self._door.read(actor, purpose, QuarantineQuery(groups=True, group=group, limit=1), client)
        rows = reading.table.to_pylist()
        if not rows:
            raise NotFoundError(
                place="quarantine",
                found=f"group '{group[:100]}'",
                expected="a group that holds records",
                next_step="Its records may have been replayed or expired; see /quarantine.",
            )
        return _group(rows[0])

    def records(
        self, actor: Actor, purpose: str, group: str, client: Client | None = None, *,
        after: int = 0, limit: int = 100, originals: bool = False,
    ) -> list[QuarantineRecord]:  # fmt: skip
        """Return records of a group, newest first, ids below `after` when it is not 0."""
        query = QuarantineQuery(group=group, after=after, limit=limit, originals=originals)
        return [_record(row) for row in self._door.read(actor, purpose, query, client).table.to_pylist()]

    def record(self, actor: Actor, purpose: str, record_id: int, client: Client | None = None) -> QuarantineRecord:
        """Return one record with its original."""
        return _record(_one(self._read(actor, purpose, record_id, client), record_id))

    def original(self, actor: Actor, purpose: str, record_id: int, client: Client | None = None) -> bytes:
        """Return one record's bytes as the source sent them."""
        row = _one(self._read(actor, purpose, record_id, client), record_id)
        return bytes(row["original"] or b"")

    def _read(self, actor: Actor, purpose: str, record_id: int, client: Client | None) -> pa.Table:
        return self._door.read(actor, purpose, QuarantineQuery(record=record_id, originals=True), client).table


def _one(table: pa.Table, record_id: int) -> dict[str, Any]:
    if not table.num_rows:
        raise NotFoundError(
            place="quarantine",
            found=f"record {record_id}",
            expected="a quarantined record",
            next_step="It may have been replayed or expired; see /quarantine.",
        )
    row: dict[str, Any] = table.to_pylist()[0]
    return row


def _group(row: dict[str, Any]) -> QuarantineGroup:
    texts = {name: row[name] or "" for name in ("stage", "code", "contract", "rule", "field", "expected", "example")}
    return QuarantineGroup(
        id=row["id"],
        feeds=[name for name in row["feeds"] or [] if name],
        records=row["records"],
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        trend=row["trend"],
        **texts,
    )


def _record(row: dict[str, Any]) -> QuarantineRecord:
    original, encoding = _readable(row["original"])
    return QuarantineRecord(
        id=row["id"],
        group=row["fingerprint"],
        feed=row["feed"] or "",
        contract=row["contract"] or "",
        stage=row["stage"],
        code=row["code"],
        received=row["received"],
        lane=row["lane"],
        frame=row["frame"],
        position=row["position"],
        violations=[
            ViolationView(**{key: value or "" for key, value in one.items()}) for one in row["violations"] or []
        ],
        attributes=_attributes(row["attributes"]),
        size=row["size"],
        original=original,
        encoding="base64" if encoding else "utf-8",
    )


def _attributes(raw: bytes | None) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"unreadable": base64.b64encode(raw).decode()}


def _readable(raw: bytes | None) -> tuple[str | None, bool]:
    """Return the bytes as text, or as base64 and True."""
    if raw is None:
        return None, False
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), True
    return (base64.b64encode(raw).decode(), True) if "\x00" in text else (text, False)
