"""The server: loopback TCP, or TLS elsewhere, and a Unix socket whose peer is known by the kernel's word."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from weftline.api.app import App
from weftline.api.certificates import Certificate, fingerprint, self_signed
from weftline.api.security import PEER
from weftline.clock import Clock, SystemClock
from weftline.errors import InputError, LockedError, UsageError

__all__ = ["Listen", "PortBusyError", "Server", "SocketBusyError"]

SOCKET_PATH_LIMIT = 100
"""Linux takes 108 bytes; longer paths are reached through the folder's descriptor."""
STOP_SECONDS = 5


class PortBusyError(InputError):
    """Name the port that another process listens on."""

    code = "port-busy"


class SocketBusyError(LockedError):
    """Say that another server answers on the folder's socket."""

    code = "socket-busy"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. `folder` is the state folder; `certificate` and `key` are PEM files for TLS."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8420
    certificate: Path | None = None
    key: Path | None = None
    unix: bool = True

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Server:
    """Serve one application on both. Owned by one event loop."""

    def __init__(self, app: App, listen: Listen, clock: Clock | None = None) -> None:
        self._app = app
        self._listen = listen
        self._clock = clock or SystemClock()
        self._servers: list[_Uvicorn] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._lifespan = contextlib.AsyncExitStack()
        self._tls: Certificate | None = None
        self.port = listen.port
        self.fingerprint = ""
        """SHA-256 of a self-signed certificate, to print for people; empty otherwise."""

    @property
    def url(self) -> str:
        """Return the address of the control tower."""
        host = self._listen.host if ":" not in self._listen.host else f"[{self._listen.host}]"
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def socket_path(self) -> Path:
        """Return the Unix socket's path."""
        return self._listen.folder / "socket"

    async def start(self) -> None:
        """Listen. Raises PortBusyError, SocketBusyError or UsageError before anything is served."""
        tcp = self._bind_tcp()
        try:
            self._tls = self._certificate()
            unix = self._bind_unix() if self._listen.unix else None
        except BaseException:
            tcp.close()
            raise
        self.port = tcp.getsockname()[1]
        await self._lifespan.enter_async_context(self._app.router.lifespan_context(self._app))
        await self._serve(self._config(self._tls), tcp)
        if unix is not None:
            config = self._config(None)
            config.load()
            config.http_protocol_class = _with_peer(config.http_protocol_class)
            await self._serve(config, unix)

    async def stop(self) -> None:
        """End streams, answer what is under way for at most five seconds, and close."""
        self._app.state.services.hub.end()
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks)
        if self._listen.unix:
            self.socket_path.unlink(missing_ok=True)
        await self._lifespan.aclose()

    def _config(self, tls: Certificate | None) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=STOP_SECONDS,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )

    async def _serve(self, config: uvicorn.Config, bound: socket.socket) -> None:
        server = _Uvicorn(config)
        task = asyncio.create_task(server.serve(sockets=[bound]), name=f"http {bound.getsockname()}")
        started = asyncio.create_task(server.listening.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if task.done():
            await task
        self._servers.append(server)
        self._tasks.append(task)

    def _certificate(self) -> Certificate | None:
        listen = self._listen
        if listen.certificate is not None and listen.key is not None:
            for path in (listen.certificate, listen.key):
                if not path.is_file():
                    raise UsageError(place=str(path), found="no file", expected="a PEM file")
            return listen.certificate, listen.key
        if listen.certificate is not None or listen.key is not None:
            raise UsageError(place="TLS", found="one of certificate and key", expected="both or neither")
        if listen.loopback:
            return None
        made = self_signed(listen.folder / "tls", listen.host, self._clock)
        self.fingerprint = fingerprint(made[0])
        return made

    def _bind_tcp(self) -> socket.socket:
        host, port = self._listen.host, self._listen.port
        place = f"{host}:{port}"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except socket.gaierror as error:
            raise UsageError(place=place, found=str(error), expected="an address of this machine") from error
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen(2048)
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                raise PortBusyError(
                    place=place,
                    found="another process that listens there",
                    expected="a free port",
                    next_step="Stop that process, or choose another port with --port.",
                ) from error
            raise UsageError(
                place=place,
                found=error.strerror or str(error),
                expected="an address and port this account may listen on",
                next_step="Use a port above 1023 and an address of this machine.",
            ) from error
        bound.setblocking(False)
        return bound

    def _bind_unix(self) -> socket.socket:
        with _reachable(self.socket_path) as path:
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if self.socket_path.exists():
                    self._remove_stale(path)
                before = os.umask(0o177)
                try:
                    bound.bind(path)
                finally:
                    os.umask(before)
                bound.listen(256)
            except BaseException:
                bound.close()
                raise
        bound.setblocking(False)
        return bound

    def _remove_stale(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except OSError:
                self.socket_path.unlink(missing_ok=True)
                return
        raise SocketBusyError(
            place=str(self.socket_path),
            found="another server that answers",
            expected="one server per folder",
            next_step="Stop it first; `weftline status` tells its process.",
        )


class _Uvicorn(uvicorn.Server):
    """Leave signals to whoever owns the process, and tell when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Give a name of the socket that fits into a socket address."""
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _with_peer(base: type[Any]) -> type[Any]:
    """Return the protocol class with the peer's uid, as the kernel tells it, in each request's scope."""

    class PeerProtocol(base):  # type: ignore[misc]
        """A connection over the Unix socket."""

        def connection_made(self, transport: Any) -> None:
            """Note who connected."""
            super().connection_made(transport)
            self.app: Any = _marked(self.app, _peer_uid(transport.get_extra_info("socket")))

    return PeerProtocol


def _marked(app: Any, uid: int) -> Any:
    async def marked(scope: Any, receive: Any, send: Any) -> None:
        scope[PEER] = uid
        await app(scope, receive, send)

    return marked


def _peer_uid(connected: Any) -> int:
    with socket.socket(fileno=os.dup(connected.fileno())) as own:
        _pid, uid, _gid = struct.unpack("3i", own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
