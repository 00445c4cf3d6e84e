"""Push as a careful sender does: an Idempotency-Key with every body, tried again until there is an answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Pusher"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Pusher:
    """Post bodies to feeds of one server."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", bearer: str = "bench", seed: int = 1) -> None:
        self.host, self.port = host, port
        self._bearer = bearer
        self._draw = random.Random(seed)

    async def post(self, feed: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Post once; raises OSError or EOFError where there is no answer."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            given = {
                "Host": f"{self.host}:{self.port}",
                "Authorization": f"Bearer {self._bearer}",
                "Content-Type": "application/x-ndjson",
                "Content-Length": str(len(body)),
                "Connection": "close",
                **(headers or {}),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
            writer.write(f"POST /api/v1/feeds/{feed}/records HTTP/1.1\r\n{head}\r\n".encode() + body)
            await writer.drain()
            status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            answer_headers = {name.lower(): value for name, value in fields.items()}
            content = await reader.readexactly(int(answer_headers.get("content-length", "0")))
            return Answer(int(status_line.split()[1]), answer_headers, content)
        finally:
            writer.close()

    async def push(
        self, feed: str, key: str, body: bytes, headers: Mapping[str, str] | None = None, *, seconds: float = 30.0
    ) -> Answer:
        """Post with an Idempotency-Key until there is an answer other than 5xx; waits a little more each time."""
        async with asyncio.timeout(seconds):
            tries = 0
            while True:
                try:
                    answer = await self.post(feed, body, {"Idempotency-Key": key, **(headers or {})})
                except (OSError, EOFError, asyncio.IncompleteReadError):
                    answer = None
                if answer is not None and answer.status < 500:
                    return answer
                tries += 1
                await asyncio.sleep(self._draw.uniform(0.0, min(1.0, 0.02 * 2**tries)))
