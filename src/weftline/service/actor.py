"""Who asks: the actor that every use case takes and every decision names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from weftline.errors import RefusedError

__all__ = [
    "ANONYMOUS",
    "LOCAL_OPERATOR",
    "ROLES",
    "SYSTEM",
    "Actor",
    "Authentication",
    "Client",
    "ForbiddenError",
    "Role",
    "UnauthenticatedError",
    "require",
]

Role = Literal["administrator", "engineer", "buyer", "supplier", "viewer"]
ROLES: tuple[str, ...] = get_args(Role)
Authentication = Literal["none", "password", "one-time-link", "api-key", "local-operator", "system"]


class UnauthenticatedError(RefusedError):
    """Say that nobody is signed in."""

    code = "not-signed-in"
    status = 401


class ForbiddenError(RefusedError):
    """Say which role or scope the request needs."""

    code = "not-permitted"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as the decision record keeps it. `address` is an IP address or `unix:uid`."""

    address: str = ""
    agent: str = ""
    request: str = ""
    """Request id, the same as in the X-Request-Id header of the answer."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One subject. `scope` is a key's `feed:<name>` or `actor:<email>`; without a key it is empty."""

    id: str
    """person:<number>, local, system or anonymous; with a feed key, key:<prefix>."""
    name: str
    roles: frozenset[str] = frozenset()
    authenticated: Authentication = "none"
    scope: str = ""
    credential: str = ""
    """Session or key row the request stands on, `session:<id>` or `key:<id>`; never the secret."""

    @property
    def signed_in(self) -> bool:
        """Tell whether somebody proved who they are."""
        return self.authenticated != "none"

    @property
    def feed_scope(self) -> str:
        """Return the feed a feed-scoped key may push to, else an empty text."""
        return self.scope.removeprefix("feed:") if self.scope.startswith("feed:") else ""

    def may_push(self, feed: str) -> bool:
        """Tell whether the actor may push records to this feed; a key's feed may end in `*`."""
        if self.feed_scope:
            start, star, _ = self.feed_scope.partition("*")
            return feed.startswith(start) if star else feed == self.feed_scope
        return self.has("administrator", "engineer")

    def has(self, *roles: str) -> bool:
        """Tell whether the actor has one of these roles."""
        return not self.roles.isdisjoint(roles)


ANONYMOUS = Actor("anonymous", "nobody")
LOCAL_OPERATOR = Actor("local", "local operator", frozenset({"administrator"}), "local-operator")
"""The operating-system owner of the folder (DESIGN §13)."""
SYSTEM = Actor("system", "Weftline", frozenset({"administrator"}), "system")


def require(actor: Actor, place: str, *roles: str) -> None:
    """Refuse an actor that is not signed in or has none of these roles; a feed key has none.

    Raises UnauthenticatedError or ForbiddenError.
    """
    if not actor.signed_in:
        raise UnauthenticatedError(
            place=place, found="nobody signed in", expected="a session or an API key", next_step="Sign in at /sign-in."
        )
    if not actor.has(*roles):
        raise ForbiddenError(
            place=place,
            found=f"{actor.name} with {_having(actor)}",
            expected=f"the role {' or '.join(roles)}",
            next_step="Ask an administrator for the role.",
        )


def _having(actor: Actor) -> str:
    if actor.feed_scope:
        return f"a key that may only push to '{actor.feed_scope}'"
    return f"role {', '.join(sorted(actor.roles))}" if actor.roles else "no role"
