"""Rows of the incident book. At most one incident per key is open; the database enforces it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from weftline.store.control.database import Control
from weftline.store.control.tables import incident

__all__ = ["IncidentTable"]

Row = dict[str, Any]
"""id, kind, subject, key, severity, opened, last_seen, closed, detail (dict), owner, note."""


class IncidentTable:
    """Read and write incidents as plain rows."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def open(
        self, *, key: str, kind: str, subject: str, severity: str, now: int, detail: dict[str, Any]
    ) -> tuple[Row, bool]:
        """Open an incident, or touch the open one of this key; return the row and whether it is new."""
        text = msgspec.json.encode(detail).decode()
        with self.control.write() as connection:
            row = connection.execute(
                update(incident)
                .where(incident.c.key == key, incident.c.closed.is_(None))
                .values(last_seen=now, detail=text, severity=severity)
                .returning(*incident.c)
            ).first()
            if row is not None:
                return _row(row), False
            row = connection.execute(
                insert(incident)
                .values(
                    kind=kind,
                    subject=subject,
                    key=key,
                    severity=severity,
                    opened=now,
                    last_seen=now,
                    detail=text,
                    owner="",
                    note="",
                )
                .returning(*incident.c)
            ).one()
            return _row(row), True

    def close(self, key: str, now: int) -> Row | None:
        """Close the open incident of this key; None when there is none."""
        with self.control.write() as connection:
            row = connection.execute(
                update(incident)
                .where(incident.c.key == key, incident.c.closed.is_(None))
                .values(closed=now)
                .returning(*incident.c)
            ).first()
        return None if row is None else _row(row)

    def annotate(self, incident_id: int, *, owner: str | None, note: str | None) -> Row | None:
        """Set owner or note; None when there is no such incident."""
        values = {name: value for name, value in (("owner", owner), ("note", note)) if value is not None}
        with self.control.write() as connection:
            if values:
                connection.execute(update(incident).where(incident.c.id == incident_id).values(**values))
            row = connection.execute(select(incident).where(incident.c.id == incident_id)).first()
        return None if row is None else _row(row)

    def get(self, incident_id: int) -> Row | None:
        """Return one incident."""
        with self.control.read() as connection:
            row = connection.execute(select(incident).where(incident.c.id == incident_id)).first()
        return None if row is None else _row(row)

    def list(self, *, open_only: bool, before: int | None = None, limit: int = 200) -> list[Row]:
        """Return incidents, newest first; `before` is the id to continue from."""
        query = select(incident).order_by(incident.c.id.desc()).limit(limit)
        if open_only:
            query = query.where(incident.c.closed.is_(None))
        if before is not None:
            query = query.where(incident.c.id < before)
        with self.control.read() as connection:
            return [_row(row) for row in connection.execute(query)]


def _row(row: Any) -> Row:
    found: dict[str, Any] = row._asdict()
    found["detail"] = msgspec.json.decode(found["detail"])
    return found
