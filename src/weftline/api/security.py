"""Who sends a request, and the headers of every answer: one ASGI layer around API and pages.

A request is identified once: by the peer of the Unix socket, else by its Bearer key, else by its session cookie. Unsafe
API requests that stand on a cookie must carry the session's token in X-CSRF-Token. Pages check their forms themselves.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weftline.api.problems import internal, problem
from weftline.errors import RefusedError, WeftlineError
from weftline.service.actor import ANONYMOUS, LOCAL_OPERATOR, Actor, Client
from weftline.service.people import SignedIn
from weftline.service.services import Services

__all__ = ["COOKIE", "PEER", "CsrfError", "ForeignPeerError", "Identity", "Security", "cookie_header", "identity_of"]

COOKIE = "weftline_session"
PEER = "weftline.peer"
"""Scope key set by the server's own protocol class for Unix sockets: the peer's uid."""
IDENTITY = "weftline.identity"
SIGN_IN = "/api/v1/session"
"""Signing in or out needs the right origin but no token: an old session must not keep anybody from a new one."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
API_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class CsrfError(RefusedError):
    """Refuse an unsafe request that a page of another website could have sent."""

    code = "csrf"


class ForeignPeerError(RefusedError):
    """Refuse a peer of the Unix socket that is not the folder's owner."""

    code = "foreign-peer"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends this request. `signed` is set where a session cookie says so."""

    actor: Actor
    client: Client
    signed: SignedIn | None = None


def identity_of(request: Request) -> Identity:
    """Return whom the security layer found."""
    found = request.scope[IDENTITY]
    assert isinstance(found, Identity), "the security layer stands around every route"
    return found


def is_api(path: str) -> bool:
    """Tell whether a path is the API's rather than a page's."""
    return path.startswith(("/api/", "/events", "/healthz", "/readyz", "/metrics"))


class Security:
    """Wrap the application."""

    def __init__(self, app: ASGIApp, services: Services, *, owner: Callable[[], int] = os.getuid) -> None:
        self._app = app
        self._services = services
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify, check, and add headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        scope["weftline.request"] = asked if REQUEST_ID.match(asked) else secrets.token_hex(8)
        rotated = ""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._headers(scope, MutableHeaders(scope=message), rotated)
            await send(message)

        request = Request(scope)
        try:
            identity = await self.identify(scope, headers)
            scope[IDENTITY] = identity
            rotated = identity.signed.token if identity.signed else ""
            _check_csrf(scope, headers, identity)
        except WeftlineError as error:
            await problem(request, error)(scope, receive, sending)
            return
        except Exception as error:  # noqa: BLE001 - the last answer: logged, and told without details
            await internal(request, error)(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    async def identify(self, scope: Scope, headers: Headers) -> Identity:
        """Find out who sends a request. Raises KeyInvalidError or ForeignPeerError."""
        peer = scope.get(PEER)
        address = f"unix:{peer}" if peer is not None else (scope["client"][0] if scope.get("client") else "")
        client = Client(address, headers.get("user-agent", "")[:200], scope["weftline.request"])
        if peer is not None:
            if peer != self._owner():
                raise ForeignPeerError(
                    place="socket",
                    found=f"user id {peer}",
                    expected="the owner of the fabric's folder",
                    next_step="Sign in over HTTP, or use an API key.",
                )
            return Identity(LOCAL_OPERATOR, client)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            keys = self._services.keys
            actor = keys.held(token.strip())
            if actor is None:
                actor = await self._services.run(keys.verify, token.strip())
            return Identity(actor, client)
        cookie = _cookie(headers)
        if cookie:
            rotate = scope["method"] == "GET" and "hx-request" not in headers
            signed = await self._services.run(self._services.people.session, cookie, rotate=rotate)
            if signed is not None:
                return Identity(signed.actor, client, signed)
        return Identity(ANONYMOUS, client)

    def _headers(self, scope: Scope, headers: MutableHeaders, rotated: str) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        api = is_api(scope["path"])
        headers.setdefault("content-security-policy", API_CSP if api else PAGE_CSP)
        if api:
            headers.setdefault("cache-control", "no-store")
        headers["x-request-id"] = scope["weftline.request"]
        if scope.get("scheme") == "https":
            headers.setdefault("strict-transport-security", "max-age=31536000")
        if rotated and "set-cookie" not in headers:
            headers.append("set-cookie", cookie_header(rotated, secure=scope.get("scheme") == "https"))


def cookie_header(token: str, *, secure: bool) -> str:
    """Return the Set-Cookie value of a session; an empty token removes the cookie."""
    end = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}{end}"


def _cookie(headers: Headers) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    found = jar.get(COOKIE)
    return found.value if found else ""


def _check_csrf(scope: Scope, headers: Headers, identity: Identity) -> None:
    if scope["method"] in SAFE or not is_api(scope["path"]):
        return
    origin = headers.get("origin", "")
    foreign = bool(origin) and urlsplit(origin).netloc != headers.get("host", "")
    if foreign or headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise CsrfError(
            place=scope["path"],
            found="a request from another website",
            expected="a request of our own pages or of a program",
            next_step="Use an API key from programs.",
        )
    if identity.signed is None or scope["path"] == SIGN_IN:
        return
    if not hmac.compare_digest(headers.get("x-csrf-token", "").encode(), identity.signed.csrf.encode()):
        raise CsrfError(
            place=scope["path"],
            found="no token of this session in X-CSRF-Token",
            expected="the token that GET /api/v1/session tells",
            next_step="Send it in the header X-CSRF-Token.",
        )
