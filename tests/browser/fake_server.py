"""The website over the seeded service, on a port of its own; `python -m fake_server PORT KIND` runs it by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator

import uvicorn
from fake_services import FakeSite
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from weftline import web


class Server:
    """One server in a thread. `stop` and `start` again on the same port act as a restart."""

    def __init__(self, site: FakeSite, port: int = 0) -> None:
        self.site = site
        self.listeners: set[asyncio.Queue[tuple[str, int]]] = set()
        self.streams = 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        async def events(request: Request) -> Response:
            return StreamingResponse(
                self.stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
            )

        async def anything(request: Request) -> Response:
            return JSONResponse({"path": request.url.path})

        routes = [Route("/events", events), Route("/api/{path:path}", anything), *web.routes(self.site)]
        return Starlette(routes=routes, exception_handlers=web.exception_handlers(self.site))

    async def stream(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue(100)
        self.listeners.add(queue)
        self.streams += 1
        try:
            yield "retry: 300\n\n"
            while True:
                try:
                    topic, seq = await asyncio.wait_for(queue.get(), 2)
                    yield f"event: change\nid: {seq}\ndata: {json.dumps({'topic': topic, 'seq': seq})}\n\n"
                except TimeoutError:
                    yield f"event: beat\ndata: {json.dumps({'time': self.site.now()})}\n\n"
        finally:
            self.listeners.discard(queue)
            self.streams -= 1

    def announce(self, topic: str) -> None:
        """Let something change and tell every open stream."""
        self.site.bump += 1

        def tell() -> None:
            for queue in self.listeners:
                queue.put_nowait((topic, self.site.bump))

        self.loop.call_soon_threadsafe(tell)

    def start(self) -> None:
        config = uvicorn.Config(
            self.app(),
            host="127.0.0.1",
            port=self.port,
            log_level="warning",
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        self.server = uvicorn.Server(config)
        ready = threading.Event()

        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            task = asyncio.create_task(self.server.serve())
            while not self.server.started and not task.done():
                await asyncio.sleep(0.005)
            ready.set()
            await task

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(serve())

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        if not ready.wait(10):
            raise RuntimeError("the test server did not start within 10 s")

    def stop(self) -> None:
        self.server.should_exit = True
        self.server.force_exit = True
        self.thread.join(10)


if __name__ == "__main__":
    import sys
    import time

    made = Server(FakeSite(feeds=sys.argv[2] if len(sys.argv) > 2 else "story"), int(sys.argv[1]))
    token = made.site.open("oksana.hnatiuk@carpathia.example")
    sys.stdout.write(f"{made.url} weftline_session={token}\n")
    sys.stdout.flush()
    while True:
        time.sleep(1)
        made.announce("feeds")
