"""People and their ways in: the first administrator, invitations, signing in and out, sessions, roles.

Methods block (database, argon2id); the event loop calls them in a worker thread. A session's token is random, only its
hash is stored; it is replaced every hour and at each sign-in, and ends after 12 hours idle or 7 days at most.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from weftline.clock import Clock
from weftline.errors import ConflictError, InputError, NotFoundError, RefusedError, UsageError, nearest
from weftline.service.actor import ROLES, SYSTEM, Actor, Authentication, Client, require
from weftline.service.passwords import Passwords, Tries, new_token, token_hash
from weftline.service.views import PersonView
from weftline.store.control.people import LinkRow, PeopleTable, PersonRow, SessionRow

__all__ = ["Invitation", "LinkVoidError", "People", "SessionView", "SignedIn", "WrongPasswordError"]

SECOND = 1_000_000
LINK_LIFE = 30 * 60 * SECOND
IDLE_LIFE = 12 * 3600 * SECOND
FULL_LIFE = 7 * 24 * 3600 * SECOND
ROTATE_AFTER = 3600 * SECOND
GRACE = 60 * SECOND
"""How long the token before a rotation is good, for requests that were under way."""
TOUCH_AFTER = 60 * SECOND
FIRST_EMAIL = "admin@localhost"

log = structlog.get_logger("weftline.people")


class WrongPasswordError(RefusedError):
    """Say the same sentence for an unknown account and a wrong password."""

    code = "sign-in-wrong"
    status = 401


class LinkVoidError(RefusedError):
    """Say that a one-time link was used, replaced, or is past its 30 minutes."""

    code = "link-void"
    status = 410


@dataclass(frozen=True, slots=True)
class SignedIn:
    """One live session. `token` is set where the cookie has to be replaced."""

    actor: Actor
    email: str
    csrf: str
    id: str
    expires: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session of a person, for the account page; times in microseconds UTC."""

    id: str
    started: int
    seen: int
    address: str
    agent: str
    current: bool


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time link that still works. `email` is empty for the first administrator, who chooses it."""

    email: str
    roles: tuple[str, ...]
    expires: int
    first: bool


class People:
    """Decide who somebody is."""

    def __init__(self, table: PeopleTable, clock: Clock, passwords: Passwords | None = None) -> None:
        self._table = table
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._by_account = Tries(clock, limit=5)
        self._by_address = Tries(clock, limit=30)

    # The first administrator

    def first_link(self) -> str:
        """Return the token of a fresh one-time link when nobody administers this fabric, else an empty text."""
        if self._table.administrators():
            return ""
        token = new_token()
        now = self._clock.now()
        self._table.add_link(
            token_hash=token_hash(token),
            person_id=None,
            purpose="first",
            now=now,
            expires=now + LINK_LIFE,
            by=SYSTEM.id,
        )
        return token

    def first_from_file(self, path: Path) -> bool:
        """Make the first administrator `admin@localhost` from a password file; False when there is one already.

        Raises UsageError when the file cannot be read and WeakPasswordError for what it holds.
        """
        if self._table.administrators():
            return False
        try:
            secret = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                place="WEFTLINE_ADMIN_PASSWORD_FILE",
                found=str(error),
                expected="a readable file that holds one password",
                next_step="Correct the path or the file's permissions.",
            ) from error
        now = self._clock.now()
        hashed = self._passwords.hash(secret)
        found = self._table.by_email(FIRST_EMAIL)
        who = (
            found.id
            if found
            else self._table.add(name="Administrator", email=FIRST_EMAIL, roles=["administrator"], now=now)
        )
        assert who is not None, "nobody else adds people before the server listens"
        self._table.change(who, roles=["administrator"], active=True)
        self._table.set_password(who, hashed, now=now)
        log.info("first administrator made from file", email=FIRST_EMAIL)
        return True

    # People

    def add(
        self, actor: Actor, *, name: str, email: str, roles: Sequence[str], password: str | None = None
    ) -> PersonView:
        """Add a person. Raises ConflictError, InputError or ForbiddenError."""
        require(actor, "people", "administrator")
        name, email = _checked_name(name), _checked_email(email)
        wanted = _checked_roles(roles)
        hashed = self._passwords.hash(password) if password is not None else None
        now = self._clock.now()
        person_id = self._table.add(name=name, email=email, roles=wanted, now=now)
        if person_id is None:
            raise ConflictError(
                place="people",
                found=f"'{email}' a second time",
                expected="an address nobody signs in with",
                next_step="Invite the person again instead.",
            )
        if hashed is not None:
            self._table.set_password(person_id, hashed, now=now)
        log.info("person added", person=person_id, roles=wanted, by=actor.id)
        return _view(self._get(person_id))

    def link_for(self, actor: Actor, email: str) -> str:
        """Return the token of a fresh one-time link with which a person sets a password; older ones are void."""
        require(actor, "people", "administrator")
        row = self._by_email(email)
        token = new_token()
        now = self._clock.now()
        purpose = "reset" if row.password_hash else "invite"
        self._table.add_link(
            token_hash=token_hash(token),
            person_id=row.id,
            purpose=purpose,
            now=now,
            expires=now + LINK_LIFE,
            by=actor.id,
        )
        log.info("one-time link made", person=row.id, purpose=purpose, by=actor.id)
        return token

    def list(self, actor: Actor) -> list[PersonView]:
        """Return everybody."""
        require(actor, "people", "administrator")
        return [_view(row) for row in self._table.list()]

    def find(self, email: str) -> PersonView:
        """Return a person by sign-in name or raise NotFoundError."""
        return _view(self._by_email(email))

    def change(
        self, actor: Actor, email: str, *, roles: Sequence[str] | None = None, active: bool | None = None
    ) -> PersonView:
        """Change roles or activity; the last administrator stays one."""
        require(actor, "people", "administrator")
        row = self._by_email(email)
        wanted = None if roles is None else _checked_roles(roles)
        loses = row.active and "administrator" in row.roles and row.password_hash
        keeps = active is not False and (wanted is None or "administrator" in wanted)
        if loses and not keeps and self._table.administrators() == 1:
            raise ConflictError(
                place=f"people, {row.email}",
                found="the last administrator",
                expected="one administrator who can sign in",
                next_step="Make somebody else administrator first.",
            )
        self._table.change(row.id, roles=wanted, active=active)
        log.info("person changed", person=row.id, roles=wanted, active=active, by=actor.id)
        return _view(self._get(row.id))

    # One-time links

    def invitation(self, token: str) -> Invitation | None:
        """Return what a link is for, or None when it is void; looking does not use it."""
        link = self._live_link(token)
        if link is None:
            return None
        if link.person is None:
            return Invitation("", ("administrator",), link.expires, first=True)
        row = self._table.get(link.person)
        return None if row is None or not row.active else Invitation(row.email, row.roles, link.expires, first=False)

    def accept(self, token: str, *, name: str, email: str, password: str, client: Client) -> str:
        """Use a link once: set the password, sign in, and return a session token.

        `name` and `email` count only for the first administrator. Raises LinkVoidError, WeakPasswordError, InputError.
        """
        self._by_address.check(client.address)
        link = self._live_link(token)
        if link is None:
            self._by_address.fail(client.address)
            raise _void()
        newcomer = (_checked_name(name), _checked_email(email)) if link.person is None else None
        if newcomer and self._table.by_email(newcomer[1]):
            raise ConflictError(place="email", found=f"'{newcomer[1]}', taken", expected="an address of your own")
        hashed = self._passwords.hash(password)
        person_id = self._table.use_link(link.id, hashed=hashed, now=self._clock.now(), newcomer=newcomer)
        if person_id is None:
            raise _void()
        return self._open(self._get(person_id), "one-time-link", client)

    def _live_link(self, token: str) -> LinkRow | None:
        link = self._table.link(token_hash(token))
        if link is None or link.used is not None or link.expires <= self._clock.now():
            return None
        if link.purpose == "first" and self._table.administrators():
            return None
        return link

    # Signing in and out

    def sign_in(self, email: str, password: str, client: Client) -> str:
        """Return a new session token. Raises WrongPasswordError or TooManyTriesError."""
        account = email.strip().lower()
        self._by_address.check(client.address)
        self._by_account.check(account)
        row = self._table.by_email(account)
        usable = row is not None and row.active
        if not self._passwords.verify(row.password_hash if row and usable else None, password):
            self._by_account.fail(account)
            self._by_address.fail(client.address)
            log.warning("sign-in failed", address=client.address)
            raise WrongPasswordError(
                place="sign-in",
                found="a wrong e-mail address or password",
                expected="an account and its password",
                next_step="Try again, or ask an administrator for a one-time link.",
            )
        assert row is not None, "only a person's hash verifies"
        self._by_account.clear(account)
        if row.password_hash and self._passwords.outdated(row.password_hash):
            self._table.rehash(row.id, self._passwords.hash(password))
        return self._open(row, "password", client)

    def _open(self, row: PersonRow, how: str, client: Client) -> str:
        token, now = new_token(), self._clock.now()
        self._table.open_session(
            token_hash=token_hash(token),
            person_id=row.id,
            authenticated=how,
            csrf=new_token(),
            now=now,
            expires=now + FULL_LIFE,
            agent=client.agent,
            address=client.address,
        )
        log.info("signed in", person=row.id, how=how, address=client.address)
        return token

    def session(self, token: str, *, rotate: bool = False) -> SignedIn | None:
        """Return the live session of a token, or None.

        With `rotate`, a token older than an hour is replaced; the caller must send `SignedIn.token` as the new cookie.
        """
        if not token:
            return None
        hashed = token_hash(token)
        found = self._table.session(hashed)
        if found is None:
            return None
        row, who = found
        now = self._clock.now()
        if not _alive(row, who, now):
            self._table.close_session(row.id)
            return None
        arrived = row.last_seen > row.rotated
        if row.superseded and now - row.rotated > GRACE and arrived:
            # The token that replaced this one is in use: one of the two copies is stolen.
            self._table.close_session(row.id)
            log.warning("superseded session token used", session=row.id, person=who.id)
            return None
        fresh = ""
        # A replacement whose answer never reached the browser is replaced again.
        due = now - row.rotated > GRACE if row.superseded else now - row.rotated >= ROTATE_AFTER
        if rotate and due:
            candidate = new_token()
            if self._table.rotate_session(
                row.id, current=row.token_hash, previous=hashed, new_hash=token_hash(candidate), now=now
            ):
                fresh = candidate
        elif not row.superseded and (not arrived or now - row.last_seen >= TOUCH_AFTER):
            self._table.touch_session(row.id, max(now, row.rotated + 1))
        return _signed(row, who, now, fresh)

    def alive(self, signed: SignedIn) -> bool:
        """Tell whether a session still stands with the same roles, whatever its token is now; streams ask this."""
        found = self._table.session_by_id(int(signed.id))
        if found is None or not _alive(*found, self._clock.now()):
            return False
        return frozenset(found[1].roles) == signed.actor.roles

    def sign_out(self, token: str) -> None:
        """End the session of this token."""
        found = self._table.session(token_hash(token)) if token else None
        if found is not None:
            self._table.close_session(found[0].id)

    def sessions(self, signed: SignedIn) -> builtins.list[SessionView]:
        """Return the person's sessions, the most recently used first."""
        return [
            SessionView(str(row.id), row.created, row.last_seen, row.address, row.agent, str(row.id) == signed.id)
            for row in self._table.sessions_of(_number(signed.actor))
        ]

    def end_session(self, signed: SignedIn, session_id: str) -> None:
        """End one of the person's own sessions. Raises NotFoundError."""
        own = {view.id for view in self.sessions(signed)}
        if session_id not in own:
            raise NotFoundError(place="sessions", found=f"session '{session_id}'", expected="one of your own")
        self._table.close_session(int(session_id))

    def change_password(self, signed: SignedIn, old: str, new: str) -> None:
        """Change the person's own password and end every other session.

        Raises WrongPasswordError, TooManyTriesError or WeakPasswordError.
        """
        row = self._get(_number(signed.actor))
        self._by_account.check(row.email)
        if not self._passwords.verify(row.password_hash, old):
            self._by_account.fail(row.email)
            raise WrongPasswordError(
                place="old", found="Not the present password", expected="the present password", next_step="Try again."
            )
        self._table.set_password(row.id, self._passwords.hash(new), now=self._clock.now(), keep_session=int(signed.id))
        log.info("password changed", person=row.id)

    def tidy(self) -> int:
        """Remove sessions past their life; return how many."""
        now = self._clock.now()
        return self._table.close_stale_sessions(idle_before=now - IDLE_LIFE, now=now)

    def actor_of(self, person_id: int) -> Actor | None:
        """Return an active person as actor, not signed in; keys and `--as` build on it."""
        row = self._table.get(person_id)
        return Actor(f"person:{row.id}", row.name, frozenset(row.roles)) if row is not None and row.active else None

    def _get(self, person_id: int) -> PersonRow:
        row = self._table.get(person_id)
        assert row is not None, "people are never deleted"
        return row

    def _by_email(self, email: str) -> PersonRow:
        row = self._table.by_email(email.strip().lower())
        if row is None:
            raise NotFoundError(
                place="people",
                found=f"'{email}'",
                expected="somebody's sign-in address",
                next_step=nearest(email, (one.email for one in self._table.list())).capitalize(),
            )
        return row


def _alive(row: SessionRow, who: PersonRow, now: int) -> bool:
    return who.active and now < row.expires and now - row.last_seen < IDLE_LIFE


def _signed(row: SessionRow, who: PersonRow, now: int, fresh: str) -> SignedIn:
    how: Authentication = "password" if row.authenticated == "password" else "one-time-link"
    actor = Actor(f"person:{who.id}", who.name, frozenset(who.roles), how, credential=f"session:{row.id}")
    return SignedIn(actor, who.email, row.csrf, str(row.id), min(row.expires, now + IDLE_LIFE), fresh)


def _number(actor: Actor) -> int:
    return int(actor.id.removeprefix("person:"))


def _view(row: PersonRow) -> PersonView:
    return PersonView(
        id=row.id,
        name=row.name,
        email=row.email,
        roles=list(row.roles),
        active=row.active,
        created=row.created,
        last_sign_in=row.last_sign_in,
        invited=row.password_hash is None,
    )


def _void() -> LinkVoidError:
    return LinkVoidError(
        place="one-time link",
        found="a link that was used, replaced or is older than 30 minutes",
        expected="a fresh link",
        next_step="Ask an administrator, or run: weftline user invite EMAIL",
    )


def _checked_name(name: str) -> str:
    text = " ".join(name.split())
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise InputError(place="name", found=f"{len(text)} characters", expected="1 to 200 printable characters")
    return text


def _checked_email(email: str) -> str:
    text = email.strip().lower()
    local, at, host = text.rpartition("@")
    if not (local and at and host) or len(text) > 320 or not text.isprintable() or " " in text:
        raise InputError(place="email", found=f"'{text[:80]}'", expected="an address like name@plant.example")
    return text


def _checked_roles(roles: Sequence[str]) -> list[str]:
    for role in roles:
        if role not in ROLES:
            raise InputError(
                place="roles", found=f"'{role}'", expected="a role", next_step=nearest(role, ROLES).capitalize()
            )
    if not roles:
        raise InputError(place="roles", found="no role", expected=f"one of {', '.join(ROLES)}")
    return sorted(set(roles))
