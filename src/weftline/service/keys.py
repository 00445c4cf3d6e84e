"""API keys: made once, shown once, stored as a hash; each is bound to feeds it may push to or to a person."""

from __future__ import annotations

import hmac
import re
import secrets
import threading

import structlog

from weftline.clock import Clock
from weftline.errors import InputError, NotFoundError, RefusedError
from weftline.service.actor import Actor, require
from weftline.service.passwords import new_token, token_hash
from weftline.service.people import People
from weftline.service.views import KeyView
from weftline.store.control.keys import KeyRow, KeyTable

__all__ = ["KeyInvalidError", "Keys"]

FORM = re.compile(r"wk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z")
FRESH_SECONDS = 5.0
"""How long a key read from the database is believed; revoking in this process takes effect at once."""
TOUCH_AFTER = 60_000_000

log = structlog.get_logger("weftline.keys")


class KeyInvalidError(RefusedError):
    """Say that an API key is unknown, revoked, or belongs to somebody who may not sign in."""

    code = "key-invalid"
    status = 401


class Keys:
    """Make, verify and revoke API keys."""

    def __init__(self, table: KeyTable, people: People, clock: Clock) -> None:
        self._table = table
        self._people = people
        self._clock = clock
        self._known: dict[str, tuple[float, KeyRow, Actor]] = {}
        self._guard = threading.Lock()

    def create(self, actor: Actor, scope: str, *, note: str = "") -> tuple[KeyView, str]:
        """Make a key with scope `feed:<name>` (may end in *) or `actor:<email>`; return it with its secret."""
        require(actor, "keys", "administrator")
        kind, _, name = scope.partition(":")
        if kind not in {"feed", "actor"} or not name or len(scope) > 300:
            raise InputError(
                place="scope", found=f"'{scope[:80]}'", expected="feed:<name> or actor:<email>", next_step="Name one."
            )
        person = self._people.find(name).id if kind == "actor" else None
        prefix, secret = secrets.token_hex(6), new_token()
        row = self._table.add(
            prefix=prefix,
            secret_hash=token_hash(secret),
            scope=scope,
            person=person,
            now=self._clock.now(),
            by=actor.id,
            note=note,
        )
        log.info("key made", key=prefix, scope=scope, by=actor.id)
        return _view(row), f"wk_{prefix}_{secret}"

    def held(self, token: str) -> Actor | None:
        """Return whom a key stands for if it was read lately; never blocks, so the event loop may ask."""
        match = FORM.match(token)
        if match is None:
            return None
        with self._guard:
            known = self._known.get(match[1])
        if known is None or self._clock.steady() - known[0] > FRESH_SECONDS:
            return None
        return known[2] if hmac.compare_digest(known[1].secret_hash, token_hash(match[2])) else None

    def verify(self, token: str) -> Actor:
        """Return whom a key stands for. Raises KeyInvalidError, the same for every reason."""
        match = FORM.match(token)
        if match is None:
            raise _invalid()
        prefix, secret = match.groups()
        with self._guard:
            held = self._known.get(prefix)
        if held is None or self._clock.steady() - held[0] > FRESH_SECONDS:
            held = self._load(prefix)
        if held is None or not hmac.compare_digest(held[1].secret_hash, token_hash(secret)):
            raise _invalid()
        return held[2]

    def _load(self, prefix: str) -> tuple[float, KeyRow, Actor] | None:
        row = self._table.by_prefix(prefix)
        actor = None if row is None or row.revoked is not None else self._actor(row)
        if row is None or actor is None:
            with self._guard:
                self._known.pop(prefix, None)
            return None
        now = self._clock.now()
        if row.last_used is None or now - row.last_used >= TOUCH_AFTER:
            self._table.touch(row.id, now)
        with self._guard:
            if len(self._known) >= 10_000:
                self._known.clear()
            held = self._known[prefix] = (self._clock.steady(), row, actor)
        return held

    def _actor(self, row: KeyRow) -> Actor | None:
        if row.person is None:
            return Actor(f"key:{row.prefix}", f"key {row.prefix}", frozenset(), "api-key", row.scope, f"key:{row.id}")
        person = self._people.actor_of(row.person)
        if person is None:
            return None
        return Actor(person.id, person.name, person.roles, "api-key", row.scope, f"key:{row.id}")

    def list(self, actor: Actor) -> list[KeyView]:
        """Return every key without its secret, newest first."""
        require(actor, "keys", "administrator")
        return [_view(row) for row in self._table.list()]

    def revoke(self, actor: Actor, key_id: int) -> KeyView:
        """Revoke a key for good. Raises NotFoundError."""
        require(actor, "keys", "administrator")
        row = self._table.revoke(key_id, self._clock.now())
        if row is None:
            raise NotFoundError(place="keys", found=f"number {key_id}", expected="a key", next_step="See /api/v1/keys.")
        with self._guard:
            self._known.pop(row.prefix, None)
        log.info("key revoked", key=row.prefix, by=actor.id)
        return _view(row)


def _view(row: KeyRow) -> KeyView:
    return KeyView(
        id=row.id,
        prefix=f"wk_{row.prefix}",
        scope=row.scope,
        created=row.created,
        last_used=row.last_used,
        revoked=row.revoked,
        note=row.note,
    )


def _invalid() -> KeyInvalidError:
    return KeyInvalidError(
        place="Authorization",
        found="a key that is unknown or revoked",
        expected="a valid API key",
        next_step="Make one with: weftline key create",
    )
