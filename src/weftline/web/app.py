"""Which address shows which page. `/api/…`, `/events`, `/healthz`, `/readyz` and `/metrics` belong to the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from weftline.web import account, datasets, feeds, quarantine, tower
from weftline.web.assets import serve
from weftline.web.ports import Site
from weftline.web.visits import Handler, guarded, page_errors

__all__ = ["exception_handlers", "routes"]

NOT_PAGES = ("/api/", "/events", "/healthz", "/readyz", "/metrics", "/static/")

# A group's or a feed's own name may hold slashes, so the longer addresses stand first.
PAGES: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/", tower.tower, ("GET",)),
    ("/ledger", tower.ledger, ("GET",)),
    ("/feeds", feeds.feeds, ("GET",)),
    ("/feeds/{name:path}", feeds.feed, ("GET",)),
    ("/quarantine", quarantine.groups, ("GET",)),
    ("/quarantine/{group:path}/replay", quarantine.replay, ("POST",)),
    ("/quarantine/{group:path}", quarantine.group, ("GET",)),
    ("/datasets", datasets.datasets, ("GET",)),
    ("/datasets/{name:path}", datasets.dataset, ("GET",)),
    ("/account", account.account, ("GET",)),
    ("/account/password", account.password, ("POST",)),
    ("/account/sessions", account.end_session, ("POST",)),
    ("/sign-out", account.sign_out, ("POST",)),
)
PUBLIC: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/sign-in", account.sign_in, ("GET", "POST")),
    ("/welcome/{token}", account.welcome, ("GET", "POST")),
    ("/preferences", account.preferences, ("POST",)),
)


def routes(site: Site) -> list[BaseRoute]:
    """Return every route of the website."""
    found: list[BaseRoute] = [
        Route(path, guarded(site, handler), methods=list(methods), name=f"web:{path}")
        for path, handler, methods in PAGES
    ]
    found += [
        Route(path, guarded(site, handler, public=True), methods=list(methods), name=f"web:{path}")
        for path, handler, methods in PUBLIC
    ]
    found.append(Route("/static/{digest}/{path:path}", serve, name="web:static"))
    return found


def exception_handlers(site: Site) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Return what an application shows where no route fits; addresses of the API get one plain line."""

    async def missing(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 404
        if request.url.path.startswith(NOT_PAGES):
            return PlainTextResponse(f"Nothing at {request.url.path}.", status)
        return await page_errors(site, request, status)

    return {404: missing, 405: missing}
