"""Rows of people, passwords, sessions and one-time links. Only hashes of secrets ever reach this module."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, CursorResult, delete, insert, or_, select, update

from weftline.store.control.database import Control
from weftline.store.control.tables import one_time_link, password, person, session

__all__ = ["LinkRow", "PeopleTable", "PersonRow", "SessionRow"]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person."""

    id: int
    name: str
    email: str
    roles: tuple[str, ...]
    active: bool
    created: int
    last_sign_in: int | None
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One signed-in browser."""

    id: int
    token_hash: str
    person: int
    authenticated: str
    csrf: str
    created: int
    rotated: int
    last_seen: int
    expires: int
    agent: str
    address: str
    superseded: bool
    """The token asked for is the one before the last rotation."""


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One one-time link."""

    id: int
    person: int | None
    purpose: str
    expires: int
    used: int | None


class PeopleTable:
    """Read and write people and their ways of signing in."""

    def __init__(self, control: Control) -> None:
        self.control = control

    # People

    def add(self, *, name: str, email: str, roles: Sequence[str], now: int) -> int | None:
        """Add a person; None when the email is taken."""
        with self.control.write() as connection:
            if connection.scalar(select(person.c.id).where(person.c.email == email)) is not None:
                return None
            return _add(connection, name, email, roles, now)

    def get(self, person_id: int) -> PersonRow | None:
        """Return one person."""
        return self._one(person.c.id == person_id)

    def by_email(self, email: str) -> PersonRow | None:
        """Return the person with this sign-in name in lower case."""
        return self._one(person.c.email == email)

    def list(self) -> list[PersonRow]:
        """Return everybody, by name."""
        with self.control.read() as connection:
            return [_person(row) for row in connection.execute(_PEOPLE.order_by(person.c.name, person.c.id))]

    def _one(self, condition: Any) -> PersonRow | None:
        with self.control.read() as connection:
            row = connection.execute(_PEOPLE.where(condition)).first()
        return None if row is None else _person(row)

    def administrators(self) -> int:
        """Count active administrators who have a password."""
        found = [row for row in self.list() if row.active and row.password_hash and "administrator" in row.roles]
        return len(found)

    def change(self, person_id: int, *, roles: Sequence[str] | None = None, active: bool | None = None) -> None:
        """Change roles or activity; a person made inactive loses every session."""
        values: dict[str, Any] = {}
        if roles is not None:
            values["roles"] = msgspec.json.encode(list(roles)).decode()
        if active is not None:
            values["active"] = active
        if not values:
            return
        with self.control.write() as connection:
            connection.execute(update(person).where(person.c.id == person_id).values(**values))
            if active is False:
                connection.execute(delete(session).where(session.c.person == person_id))

    def set_password(self, person_id: int, hashed: str, *, now: int, keep_session: int = 0) -> None:
        """Set the password and end every session of the person but `keep_session`."""
        with self.control.write() as connection:
            _set_password(connection, person_id, hashed, now)
            connection.execute(delete(session).where(session.c.person == person_id, session.c.id != keep_session))

    def rehash(self, person_id: int, hashed: str) -> None:
        """Replace a hash made with older parameters; sessions stay."""
        with self.control.write() as connection:
            connection.execute(update(password).where(password.c.person == person_id).values(hash=hashed))

    # Sessions

    def open_session(
        self,
        *,
        token_hash: str,
        person_id: int,
        authenticated: str,
        csrf: str,
        now: int,
        expires: int,
        agent: str,
        address: str,
    ) -> int:
        """Add a session and note the sign-in."""
        with self.control.write() as connection:
            connection.execute(update(person).where(person.c.id == person_id).values(last_sign_in=now))
            result = connection.execute(
                insert(session).values(
                    token_hash=token_hash,
                    person=person_id,
                    authenticated=authenticated,
                    csrf=csrf,
                    created=now,
                    rotated=now,
                    last_seen=now,
                    expires=expires,
                    agent=agent[:400],
                    address=address[:64],
                )
            )
            return _new_id(result)

    def session(self, token_hash: str) -> tuple[SessionRow, PersonRow] | None:
        """Return the session of this token, current or just superseded, with its person."""
        with self.control.read() as connection:
            row = connection.execute(
                select(session).where(or_(session.c.token_hash == token_hash, session.c.previous_hash == token_hash))
            ).first()
            if row is None:
                return None
            who = connection.execute(_PEOPLE.where(person.c.id == row.person)).first()
        if who is None:
            return None
        return _session(row, superseded=row.token_hash != token_hash), _person(who)

    def session_by_id(self, session_id: int) -> tuple[SessionRow, PersonRow] | None:
        """Return a session with its person, whatever its token is now."""
        with self.control.read() as connection:
            row = connection.execute(select(session).where(session.c.id == session_id)).first()
            if row is None:
                return None
            who = connection.execute(_PEOPLE.where(person.c.id == row.person)).first()
        return None if who is None else (_session(row, superseded=False), _person(who))

    def touch_session(self, session_id: int, now: int) -> None:
        """Note that the session was used."""
        with self.control.write() as connection:
            connection.execute(update(session).where(session.c.id == session_id).values(last_seen=now))

    def rotate_session(self, session_id: int, *, current: str, previous: str, new_hash: str, now: int) -> bool:
        """Replace the token `current`, keep `previous` for its grace; False when another request was first."""
        with self.control.write() as connection:
            result = connection.execute(
                update(session)
                .where(session.c.id == session_id, session.c.token_hash == current)
                .values(token_hash=new_hash, previous_hash=previous, rotated=now, last_seen=now)
            )
            return bool(result.rowcount)

    def close_session(self, session_id: int) -> None:
        """End one session."""
        with self.control.write() as connection:
            connection.execute(delete(session).where(session.c.id == session_id))

    def sessions_of(self, person_id: int) -> builtins.list[SessionRow]:
        """Return a person's sessions, the most recently used first."""
        query = select(session).where(session.c.person == person_id).order_by(session.c.last_seen.desc())
        with self.control.read() as connection:
            return [_session(row, superseded=False) for row in connection.execute(query)]

    def close_stale_sessions(self, *, idle_before: int, now: int) -> int:
        """Remove sessions that were idle too long or are past their end; return how many."""
        with self.control.write() as connection:
            result = connection.execute(
                delete(session).where(or_(session.c.last_seen < idle_before, session.c.expires <= now))
            )
            return int(result.rowcount)

    # One-time links

    def add_link(
        self, *, token_hash: str, person_id: int | None, purpose: str, now: int, expires: int, by: str
    ) -> None:
        """Add a link and void every unused one for the same person and purpose."""
        with self.control.write() as connection:
            same = one_time_link.c.person == person_id if person_id else one_time_link.c.person.is_(None)
            connection.execute(
                update(one_time_link)
                .where(same, one_time_link.c.purpose == purpose, one_time_link.c.used.is_(None))
                .values(used=now)
            )
            connection.execute(
                insert(one_time_link).values(
                    token_hash=token_hash,
                    person=person_id,
                    purpose=purpose,
                    created=now,
                    expires=expires,
                    created_by=by,
                )
            )

    def link(self, token_hash: str) -> LinkRow | None:
        """Return a link without using it."""
        with self.control.read() as connection:
            row = connection.execute(select(one_time_link).where(one_time_link.c.token_hash == token_hash)).first()
        return None if row is None else LinkRow(row.id, row.person, row.purpose, row.expires, row.used)

    def use_link(self, link_id: int, *, hashed: str, now: int, newcomer: tuple[str, str] | None) -> int | None:
        """Use a link once: set the password of its person, or of `newcomer` (name, email) as first administrator.

        Return the person's id, or None when the link was used or has expired meanwhile, or the email is taken.
        """
        with self.control.write() as connection:
            if newcomer is not None and connection.scalar(select(person.c.id).where(person.c.email == newcomer[1])):
                return None
            row = connection.execute(
                update(one_time_link)
                .where(one_time_link.c.id == link_id, one_time_link.c.used.is_(None), one_time_link.c.expires > now)
                .values(used=now)
                .returning(one_time_link.c.person)
            ).first()
            if row is None:
                return None
            who = row.person
            if who is None:
                assert newcomer is not None, "a first link is used with a newcomer"
                who = _add(connection, newcomer[0], newcomer[1], ("administrator",), now)
            _set_password(connection, who, hashed, now)
            connection.execute(delete(session).where(session.c.person == who))
            return int(who)


_PEOPLE = select(person, password.c.hash.label("password_hash")).select_from(
    person.outerjoin(password, password.c.person == person.c.id)
)


def _person(row: Any) -> PersonRow:
    return PersonRow(
        id=row.id,
        name=row.name,
        email=row.email,
        roles=tuple(msgspec.json.decode(row.roles)),
        active=bool(row.active),
        created=row.created,
        last_sign_in=row.last_sign_in,
        password_hash=row.password_hash,
    )


def _session(row: Any, *, superseded: bool) -> SessionRow:
    return SessionRow(
        id=row.id,
        token_hash=row.token_hash,
        person=row.person,
        authenticated=row.authenticated,
        csrf=row.csrf,
        created=row.created,
        rotated=row.rotated,
        last_seen=row.last_seen,
        expires=row.expires,
        agent=row.agent,
        address=row.address,
        superseded=superseded,
    )


def _add(connection: Connection, name: str, email: str, roles: Sequence[str], now: int) -> int:
    result = connection.execute(
        insert(person).values(
            name=name, email=email, roles=msgspec.json.encode(list(roles)).decode(), active=True, created=now
        )
    )
    return _new_id(result)


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None, "an insert of one row gives its key"
    return int(key[0])


def _set_password(connection: Connection, person_id: int, hashed: str, now: int) -> None:
    connection.execute(delete(password).where(password.c.person == person_id))
    connection.execute(insert(password).values(person=person_id, hash=hashed, changed=now))
