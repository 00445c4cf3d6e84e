"""Rows of API keys. The secret's hash is stored, the prefix is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from weftline.store.control.database import Control
from weftline.store.control.tables import api_key

__all__ = ["KeyRow", "KeyTable"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One API key."""

    id: int
    prefix: str
    secret_hash: str
    scope: str
    person: int | None
    created: int
    created_by: str
    last_used: int | None
    revoked: int | None
    note: str


class KeyTable:
    """Read and write API keys."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def add(
        self, *, prefix: str, secret_hash: str, scope: str, person: int | None, now: int, by: str, note: str
    ) -> KeyRow:
        """Add a key."""
        with self.control.write() as connection:
            row = connection.execute(
                insert(api_key)
                .values(
                    prefix=prefix,
                    secret_hash=secret_hash,
                    scope=scope,
                    person=person,
                    created=now,
                    created_by=by,
                    note=note,
                )
                .returning(*api_key.c)
            ).one()
        return _key(row)

    def by_prefix(self, prefix: str) -> KeyRow | None:
        """Return the key with this prefix, revoked or not."""
        with self.control.read() as connection:
            row = connection.execute(select(api_key).where(api_key.c.prefix == prefix)).first()
        return None if row is None else _key(row)

    def list(self) -> list[KeyRow]:
        """Return every key, newest first."""
        with self.control.read() as connection:
            return [_key(row) for row in connection.execute(select(api_key).order_by(api_key.c.id.desc()))]

    def revoke(self, key_id: int, now: int) -> KeyRow | None:
        """Revoke a key for good; None when there is no such key."""
        with self.control.write() as connection:
            connection.execute(
                update(api_key).where(api_key.c.id == key_id, api_key.c.revoked.is_(None)).values(revoked=now)
            )
            row = connection.execute(select(api_key).where(api_key.c.id == key_id)).first()
        return None if row is None else _key(row)

    def touch(self, key_id: int, now: int) -> None:
        """Note the last use; the service calls this at most once a minute per key."""
        with self.control.write() as connection:
            connection.execute(update(api_key).where(api_key.c.id == key_id).values(last_used=now))


def _key(row: Any) -> KeyRow:
    return KeyRow(**row._asdict())
