"""Reach the folder: over the Unix socket where a server runs on it, else by opening it directly."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import pyarrow as pa

from weftline.errors import UnreachableError, WeftlineError
from weftline.store.lock import holder

if TYPE_CHECKING:
    from weftline.service.operations import Operations

__all__ = ["Reach", "Remote", "ServerError", "reach", "server_url"]

STATE = ".weftline"
SOCKET = "socket"
BLOCK = 1 << 20


class Reach(Protocol):
    """The operator's verbs, wherever the folder is open."""

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Call an operation by name; returns JSON types."""
        ...

    def query(self, sql: str, purpose: str, limit: int) -> pa.Table:
        """Run one SELECT through the one door."""
        ...

    def ingest(self, feed: str, path: Path, *, history: bool, progress: Callable[[int, int], None] | None) -> Any:
        """Bring one file onto the road."""
        ...


class ServerError(WeftlineError):
    """Pass on what the server said."""

    code = "server"

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        self.code = str(problem.get("code") or "server")  # type: ignore[misc]
        self.exit_code = 3 if status in {401, 403} else 2  # type: ignore[misc]
        super().__init__(
            place=str(problem.get("place") or "server"),
            found=str(problem.get("found") or problem.get("detail") or status),
            expected=str(problem.get("expected") or "an answer"),
            next_step=str(problem.get("next") or problem.get("next_step") or ""),
        )


class Local:
    """The folder, opened by this process."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Call the operation."""
        return getattr(self._operations, name)(**arguments)

    def query(self, sql: str, purpose: str, limit: int) -> pa.Table:
        """Run one SELECT through the one door."""
        return self._operations.query(sql, purpose=purpose, limit=limit)

    def ingest(self, feed: str, path: Path, *, history: bool, progress: Callable[[int, int], None] | None) -> Any:
        """Bring one file onto the road."""
        return self._operations.ingest(feed, str(path), history=history, progress=progress)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("weftline")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Remote:
    """The server on the folder; the owner of the folder is its local operator."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Call the operation over the socket."""
        body = json.dumps(arguments).encode()
        return json.loads(self._send("POST", f"/api/v1/operator/{name}", body, "application/json"))

    def get(self, target: str) -> Any:
        """Return what the API answers to a GET."""
        return json.loads(self._send("GET", target, None, "application/json"))

    def query(self, sql: str, purpose: str, limit: int) -> pa.Table:
        """Run one SELECT; the answer travels as an Arrow stream."""
        body = json.dumps({"sql": sql, "purpose": purpose, "limit": limit}).encode()
        return pa.ipc.open_stream(self._send("POST", "/api/v1/operator/query", body, "application/json")).read_all()

    def ingest(self, feed: str, path: Path, *, history: bool, progress: Callable[[int, int], None] | None) -> Any:
        """Stream a file to the server and wait for its outcome."""
        size = path.stat().st_size

        def blocks() -> Iterator[bytes]:
            sent = 0
            with path.open("rb") as stream:
                while part := stream.read(BLOCK):
                    yield part
                    sent += len(part)
                    if progress is not None:
                        progress(sent, size)

        where = urlencode({"name": path.name, "history": "true" if history else "false"})
        target = f"/api/v1/operator/ingest/{quote(feed, safe='')}?{where}"
        return json.loads(self._send("POST", target, blocks(), "application/octet-stream", size))

    def _send(self, method: str, target: str, body: Any, kind: str, size: int | None = None) -> bytes:
        connection = _Connection(self._path)  # no limit of time: a long ingest or replay is answered when it ends
        headers = {"Content-Type": kind, **({"Content-Length": str(size)} if size is not None else {})}
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read()
        except OSError as error:
            raise UnreachableError(
                place=str(self._path),
                found=str(error),
                expected="the server that holds the folder",
                next_step="Look at the process named in .weftline/lock.",
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            try:
                problem = json.loads(content)
            except ValueError:
                problem = {"detail": content[:200].decode("utf-8", "replace")}
            raise ServerError(problem, response.status)
        return content


def server_url(folder: Path) -> str:
    """Return the address of the server on this folder, or an empty text."""
    owner = holder(folder / STATE)
    return owner.url if owner else ""


@contextmanager
def reach(folder: Path, *, wait: float = 10.0) -> Iterator[Reach]:
    """Reach the folder for one command."""
    if server_url(folder):
        yield Remote(folder / STATE / SOCKET)
        return
    # The store and the road take a second to import: not for a command that speaks to a server, nor for --help.
    from weftline.service.operations import Operations
    from weftline.service.wiring import open_fabric

    fabric = open_fabric(folder, wait=wait)
    try:
        yield Local(Operations(fabric))
    finally:
        fabric.close()
