"""The application: the API's routes, the pages it is given, and one security layer around both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from weftline.api import routes_data, routes_people, routes_road, routes_system
from weftline.api.openapi import document
from weftline.api.operations import Operation, route
from weftline.api.problems import internal, plain
from weftline.api.routes_system import Metrics
from weftline.api.security import Security, is_api
from weftline.service.services import Services

__all__ = ["OPERATIONS", "build_app"]

OPERATIONS: tuple[Operation, ...] = (
    *routes_road.OPERATIONS,
    *routes_data.OPERATIONS,
    *routes_people.OPERATIONS,
    *routes_system.OPERATIONS,
)
ErrorPage = Callable[[Request, Exception], Awaitable[Response]]


class App(Starlette):
    """Starlette with the security layer outermost, so that its headers are on every answer."""

    def __init__(self, services: Services, *, owner: Callable[[], int], **settings: Any) -> None:
        super().__init__(**settings)
        self.state.services = services
        self.state.metrics = Metrics(services)
        self.state.openapi = document(OPERATIONS, services.version)
        self.state.security = Security(super().__call__, services, owner=owner)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        scope["app"] = self
        await self.state.security(scope, receive, send)


def build_app(
    services: Services,
    pages: Sequence[BaseRoute] = (),
    page_errors: Mapping[Any, ErrorPage] | None = None,
    *,
    owner: Callable[[], int] = os.getuid,
) -> App:
    """Return the application. `pages` and `page_errors` come from the website; without them it is the API alone.

    `owner` tells the uid that the Unix socket admits as local operator.
    """
    unfound = (page_errors or {}).get(404)

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if unfound is not None and not is_api(request.url.path):
            return await unfound(request, error)
        found, expected = {
            404: ("nothing at this address", "an address of /api/v1/openapi.json"),
            405: (f"the method {request.method}", "a method this address takes"),
        }.get(status, ("a request that cannot be answered", "another request"))
        return plain(request, status, code=f"http-{status}", found=found, expected=expected)

    async def fault(request: Request, error: Exception) -> Response:
        return internal(request, error)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        unlisten = services.road.listen(services.hub.publish)
        ticking = asyncio.create_task(services.hub.run(), name="announcements")
        try:
            yield
        finally:
            unlisten()
            services.hub.end()
            ticking.cancel()

    return App(
        services,
        owner=owner,
        routes=[*(route(operation, services) for operation in OPERATIONS), *pages],
        exception_handlers={HTTPException: http_error, Exception: fault},
        lifespan=lifespan,
    )
