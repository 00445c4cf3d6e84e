"""Open, touch and close incidents by key: the same trouble is one incident, however often it is reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from weftline.clock import Clock
from weftline.errors import NotFoundError

__all__ = ["Incident", "IncidentBook", "IncidentStore"]


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `closed` is None while it is open; times are microseconds UTC."""

    id: int
    kind: str
    subject: str
    key: str
    severity: str
    """critical, warning or unknown."""
    opened: int
    last_seen: int
    closed: int | None
    detail: dict[str, Any]
    owner: str
    note: str


class IncidentStore(Protocol):
    """Keep incidents as rows with the names of Incident; at most one per key is open."""

    def open(
        self, *, key: str, kind: str, subject: str, severity: str, now: int, detail: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """Open or touch; return the row and whether it is new."""
        ...

    def close(self, key: str, now: int) -> dict[str, Any] | None:
        """Close the open incident of this key."""
        ...

    def annotate(self, incident_id: int, *, owner: str | None, note: str | None) -> dict[str, Any] | None:
        """Set owner or note."""
        ...

    def get(self, incident_id: int) -> dict[str, Any] | None:
        """Return one incident."""
        ...

    def list(self, *, open_only: bool, before: int | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """Return incidents, newest first."""
        ...


class IncidentBook:
    """Keep the book. Every method may be called from any thread.

    The keys of open incidents are held in memory, so closing what is not open costs nothing; `listener` is told of
    each opening and closing, once.
    """

    TOUCH = 60_000_000
    """Microseconds between two writes for an incident that is only seen again with the same detail."""

    def __init__(
        self, store: IncidentStore, clock: Clock, listener: Callable[[str, Incident], None] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._listener = listener
        self._guard = threading.Lock()  # one writer: the order of open and close of a key is the order of the calls
        self._open = {row["key"]: Incident(**row) for row in store.list(open_only=True, limit=100_000)}

    def report(
        self, key: str, *, kind: str, subject: str, severity: str = "warning", detail: Mapping[str, Any] | None = None
    ) -> Incident:
        """Open an incident, or touch the open one of this key."""
        now = self._clock.now()
        facts = dict(detail or {})
        with self._guard:
            known = self._open.get(key)
            same = known is not None and known.detail == facts and known.severity == severity
            if known is not None and same and 0 <= now - known.last_seen < self.TOUCH:
                return known
            row, new = self._store.open(key=key, kind=kind, subject=subject, severity=severity, now=now, detail=facts)
            found = self._open[key] = Incident(**row)
        if new and self._listener:
            self._listener("opened", found)
        return found

    def close(self, key: str) -> Incident | None:
        """Close the open incident of this key; None when there is none."""
        with self._guard:
            if key not in self._open:
                return None
            row = self._store.close(key, self._clock.now())
            del self._open[key]
        if row is None:
            return None
        found = Incident(**row)
        if self._listener:
            self._listener("closed", found)
        return found

    def open_incidents(self) -> list[Incident]:
        """Return what is open, newest first, from memory."""
        with self._guard:
            found = list(self._open.values())
        return sorted(found, key=lambda incident: incident.id, reverse=True)

    def list(self, *, open_only: bool = False, before: int | None = None, limit: int = 200) -> list[Incident]:
        """Return incidents, newest first; `before` is the id to continue from."""
        return [Incident(**row) for row in self._store.list(open_only=open_only, before=before, limit=limit)]

    def get(self, incident_id: int) -> Incident:
        """Return one incident or raise NotFoundError."""
        return self._found(self._store.get(incident_id), incident_id)

    def annotate(self, incident_id: int, *, owner: str | None = None, note: str | None = None) -> Incident:
        """Set owner or note; raises NotFoundError."""
        with self._guard:
            found = self._found(self._store.annotate(incident_id, owner=owner, note=note), incident_id)
            if found.closed is None:
                self._open[found.key] = found
        return found

    @staticmethod
    def _found(row: dict[str, Any] | None, incident_id: int) -> Incident:
        if row is None:
            raise NotFoundError(
                place="incidents",
                found=f"number {incident_id}",
                expected="an incident of the book",
                next_step="See /api/v1/incidents.",
            )
        return Incident(**row)
