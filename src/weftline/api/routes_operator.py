"""What the local operator's commands ask of a server, over its Unix socket only."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from weftline.api.problems import internal, problem
from weftline.api.security import identity_of
from weftline.errors import NotFoundError, UsageError, WeftlineError, nearest
from weftline.service.actor import ForbiddenError
from weftline.service.operations import OPERATIONS, Operations
from weftline.service.services import Services

__all__ = ["operator_routes"]

JSON = "application/json"
WORKERS = 4
Handler = Callable[[Request], Any]


def operator_routes(services: Services, operations: Operations, incoming: Path) -> list[BaseRoute]:
    """Return the routes; whoever is not the local operator is refused before anything is read.

    Files, replays and recounts take long, so they have threads of their own: pages are read by other ones.
    """
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="weftline-operator")

    async def run(call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(workers, call)

    async def call(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in OPERATIONS:
            raise NotFoundError(
                place="operator", found=f"'{name}'", expected="an operation", next_step=nearest(name, OPERATIONS)
            )
        arguments = await _arguments(request)
        try:
            answer = await run(partial(getattr(operations, name), **arguments))
        except TypeError as error:
            raise UsageError(
                place=f"operator {name}", found=str(error), expected="the operation's arguments"
            ) from error
        return Response(msgspec.json.encode(answer), media_type=JSON)

    async def query(request: Request) -> Response:
        arguments = await _arguments(request)
        table = await services.run(partial(operations.query, **arguments))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Response(sink.getvalue().to_pybytes(), media_type="application/vnd.apache.arrow.stream")

    async def ingest(request: Request) -> Response:
        feed, name = request.path_params["feed"], Path(request.query_params.get("name", "file")).name
        history = request.query_params.get("history") == "true"
        path = await services.run(_place, incoming, name)
        try:
            with path.open("wb") as sink:
                async for part in request.stream():
                    await services.run(sink.write, part)
            answer = await run(partial(operations.ingest, feed, str(path), history=history, name=name))
        finally:
            await services.run(shutil.rmtree, path.parent)
        return Response(msgspec.json.encode(answer), media_type=JSON)

    return [
        Route("/api/v1/operator/query", _guarded(query), methods=["POST"]),
        Route("/api/v1/operator/ingest/{feed}", _guarded(ingest), methods=["POST"]),
        Route("/api/v1/operator/{name}", _guarded(call), methods=["POST"]),
    ]


def _place(incoming: Path, name: str) -> Path:
    """Return where an incoming file may be written: a folder of its own, for its name is the sender's."""
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=incoming)) / name


def _guarded(handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            identity = identity_of(request)
            if identity.actor.authenticated != "local-operator":
                raise ForbiddenError(
                    place=request.url.path,
                    found="a request from elsewhere",
                    expected="the owner of the folder, over its Unix socket",
                    next_step="Run the command as the folder's owner on the server's machine.",
                )
            response: Response = await handler(request)
        except WeftlineError as error:
            return problem(request, error)
        except Exception as error:  # noqa: BLE001 - the answer says that it was ours; the log holds it
            return internal(request, error)
        return response

    return endpoint


async def _arguments(request: Request) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(await request.body() or b"{}")
    except msgspec.DecodeError as error:
        raise UsageError(place=request.url.path, found=str(error), expected="a JSON object") from error
    if not isinstance(found, dict):
        raise UsageError(place=request.url.path, found="no object", expected="a JSON object")
    return found
