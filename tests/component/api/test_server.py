"""The server on real sockets: loopback, TLS, the Unix socket's peer, busy ports, and the stream of events."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from weftline.api.app import build_app
from weftline.api.certificates import self_signed
from weftline.api.server import Listen, PortBusyError, Server, SocketBusyError
from weftline.clock import ShiftedClock
from weftline.errors import UsageError
from weftline.service.announcements import Hub, Place, place_of
from weftline.service.views import Event

DAY = 86_400_000_000


@asynccontextmanager
async def running(world: Any, folder: Path, **settings: Any) -> AsyncIterator[Server]:
    server = Server(build_app(world.services), Listen(folder, port=0, **settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def over_socket(server: Server) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(server.socket_path))
    return httpx.AsyncClient(transport=transport, base_url="http://fabric")


async def test_it_serves_loopback_and_the_owner_on_the_socket(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.fingerprint == ""
        async with httpx.AsyncClient(base_url=server.url) as tcp:
            assert (await tcp.get("/healthz")).json()["status"] == "alive"
            assert (await tcp.get("/api/v1/session")).status_code == 401
            assert "server" not in (await tcp.get("/healthz")).headers
        async with over_socket(server) as unix:
            assert (await unix.get("/api/v1/session")).json()["authenticated"] == "local-operator"
        assert server.socket_path.stat().st_mode & 0o777 == 0o600
    assert not server.socket_path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_the_kernel_tells_who_connects_and_another_user_is_refused(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o055)
        server.socket_path.chmod(0o666)
        program = (
            "import os,socket,sys; os.setgid(65534); os.setuid(65534); s=socket.socket(socket.AF_UNIX);"
            "s.connect(sys.argv[1]);"
            "s.sendall(b'GET /api/v1/session HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n');"
            "sys.stdout.write(s.makefile('rb').read().decode())"
        )
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/env", "python3", "-c", program, str(server.socket_path), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert b" 403 " in out.splitlines()[0]
        assert b"foreign-peer" in out


async def test_a_busy_port_is_named(world: Any, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        server = Server(build_app(world.services), Listen(tmp_path, port=port))
        with pytest.raises(PortBusyError, match=f"127.0.0.1:{port}"):
            await server.start()


async def test_a_second_server_on_the_folder_is_refused_and_a_dead_ones_socket_is_taken_over(
    world: Any, tmp_path: Path
) -> None:
    async with running(world, tmp_path):
        with pytest.raises(SocketBusyError):
            await Server(build_app(world.services), Listen(tmp_path, port=0)).start()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "socket"))
    async with running(world, tmp_path) as server, over_socket(server) as unix:
        assert (await unix.get("/healthz")).status_code == 200


async def test_a_long_path_is_no_obstacle(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with running(world, folder) as server:
        descriptor = os.open(folder, os.O_RDONLY)
        transport = httpx.AsyncHTTPTransport(uds=f"/proc/self/fd/{descriptor}/socket")
        async with httpx.AsyncClient(transport=transport, base_url="http://fabric") as unix:
            assert (await unix.get("/healthz")).status_code == 200
        os.close(descriptor)
    assert not server.socket_path.exists()


async def test_elsewhere_than_loopback_it_speaks_tls_only(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path, host="0.0.0.0") as server:
        assert server.url.startswith("https://")
        assert len(server.fingerprint.split(":")) == 32
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / "certificate.pem"))
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{server.port}", verify=trust) as client:
            answer = await client.get("/healthz")
            assert answer.status_code == 200
            assert "max-age" in answer.headers["strict-transport-security"]
            signed = await client.post(
                "/api/v1/session", json={"email": "viewer@plant.example", "password": "a long enough sentence"}
            )
            assert "Secure" in signed.headers["set-cookie"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as plain:
            with pytest.raises(httpx.HTTPError):
                await plain.get("/healthz")
        assert (tmp_path / "tls" / "key.pem").stat().st_mode & 0o077 == 0


def test_a_certificate_is_kept_until_it_ends_soon_or_the_name_changes(tmp_path: Path) -> None:
    clock = ShiftedClock()

    def serial(host: str = "plant.example") -> int:
        certificate, _ = self_signed(tmp_path, host, clock)
        return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number

    first = serial()
    assert serial() == first
    other = serial("10.0.0.7")
    assert other != first
    clock.shift = 370 * DAY
    assert serial("10.0.0.7") != other


@pytest.mark.parametrize(
    "settings",
    [{"host": "256.0.0.1"}, {"host": "192.0.2.77"}, {"certificate": Path("absent.pem"), "key": Path("absent.pem")}],
    ids=["no address", "not ours", "no file"],
)
async def test_what_cannot_be_listened_on_is_a_clear_error(
    world: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        await Server(build_app(world.services), Listen(tmp_path, port=0, **settings)).start()


# The stream of events


class Stream:
    """Read events off an open response."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.blocks = self._blocks()

    async def _blocks(self) -> AsyncIterator[dict[str, str]]:
        block: dict[str, str] = {}
        async for line in self.response.aiter_lines():
            if line:
                name, _, value = line.partition(":")
                block[name] = value.strip()
            elif block:
                yield block
                block = {}

    async def event(self, *names: str) -> tuple[str, dict[str, Any], str]:
        """Return the next event with one of these names: name, data, id."""
        async with asyncio.timeout(5):
            async for block in self.blocks:
                if block.get("event") in names:
                    return block["event"], json.loads(block["data"]), block.get("id", "")
        raise AssertionError("the stream ended")


@asynccontextmanager
async def following(client: httpx.AsyncClient, topics: str, after: str = "", **headers: str) -> AsyncIterator[Stream]:
    if after:
        headers["Last-Event-ID"] = after
    async with client.stream("GET", "/events", params={"topics": topics}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        await stream.event("beat")
        yield stream


def commit(world: Any, seq: int, *feeds: str) -> None:
    for listener in list(world.road.listeners):
        listener(Event(topic="feeds", kind="commit", seq=seq, data={"feeds": list(feeds)}))
        for feed in feeds:
            listener(Event(topic=f"feed:{feed}", kind="commit", seq=seq, data={"feed": feed}))


async def test_commits_reach_the_topics_that_follow_them(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server, over_socket(server) as client:
        before = world.services.door.reads
        async with following(client, "feeds,ledger,feed:press-1") as stream:
            assert world.services.door.reads == before + 1
            commit(world, 7, "press-1", "press-2")
            seen = {}
            for _ in range(3):
                name, data, _ = await stream.event("feeds", "ledger", "feed", "tower")
                seen[name] = data
            assert seen["feeds"]["feeds"] == ["press-1", "press-2"]
            assert seen["feed"]["topic"] == "feed:press-1"
            assert seen["ledger"]["seq"] == 7


async def test_a_stream_resumes_where_it_was_cut_and_marks_what_it_cannot_know(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server, over_socket(server) as client:
        async with following(client, "feeds") as stream:
            commit(world, 10, "press-1")
            _, _, last = await stream.event("feeds")
        assert last.startswith("10.")
        commit(world, 11, "press-2")
        async with following(client, "feeds", last) as stream:
            name, data, resumed = await stream.event("feeds", "gap")
            assert (name, data["feeds"]) == ("feeds", ["press-2"])
        async with following(client, "feeds", resumed) as stream:
            commit(world, 12, "press-1")
            name, data, _ = await stream.event("feeds", "gap")
            assert (name, data["seq"]) == ("feeds", 12)
        async with following(client, "feeds", "1") as stream:
            assert (await stream.event("feeds", "gap"))[0] == "gap"
        bad = await client.get("/events", params={"topics": "feeds"}, headers={"Last-Event-ID": "x"})
        assert bad.status_code == 400


async def test_a_stream_ends_when_its_session_ends(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server, httpx.AsyncClient(base_url=server.url) as client:
        signed = await client.post(
            "/api/v1/session", json={"email": "viewer@plant.example", "password": "a long enough sentence"}
        )
        async with following(client, "feeds") as stream:
            await stream.event("beat")
            out = await client.delete("/api/v1/session", headers={"X-CSRF-Token": signed.json()["csrf"]})
            assert out.status_code == 204
            with pytest.raises(AssertionError, match="ended"):
                await stream.event("no such event")


async def test_stopping_ends_streams_at_once(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server:
        client = over_socket(server)
        loop = asyncio.get_running_loop()
        async with following(client, "feeds") as stream:
            began = loop.time()
            stopping = asyncio.create_task(server.stop())
            with pytest.raises(AssertionError, match="ended"):
                await stream.event("feeds")
        await client.aclose()
        await stopping
        assert loop.time() - began < 3


async def test_a_slow_client_loses_the_oldest_and_is_told_how_many() -> None:
    hub = Hub(ShiftedClock(), lambda: 0)
    slow, quick = hub.listen(["feeds"], queue=4), hub.listen(["feeds"], queue=100)
    for seq in range(1, 11):
        hub.publish(Event(topic="feeds", kind="commit", seq=seq, data={}))
        hub.gather()
    dropped, queued = await slow.take(0)
    assert (dropped, [sent.place.seq for sent in queued]) == (6, [7, 8, 9, 10])
    dropped, queued = await quick.take(0)
    assert (dropped, len(queued)) == (0, 10)
    assert await slow.take(0) == (0, [])


async def test_one_tick_merges_a_topic_and_positions_always_rise() -> None:
    hub = Hub(ShiftedClock(), lambda: 5)
    client = hub.listen(["feeds", "tower", "ledger"])
    for seq in (6, 8, 7):
        hub.publish(Event(topic="feeds", kind="commit", seq=seq, data={"feeds": [f"f{seq}"]}))
    hub.gather()
    hub.publish(Event(topic="tower", kind="checked", seq=0, data={}))
    hub.gather()
    _, queued = await client.take(0)
    assert [sent.topic for sent in queued] == ["feeds", "ledger", "tower", "tower"]
    assert json.loads(queued[0].data)["feeds"] == ["f6", "f8", "f7"]
    assert json.loads(queued[0].data)["seq"] == 8
    places = [sent.place for sent in queued]
    assert places == sorted(set(places))
    assert place_of("8.2") == Place(8, 2)
    assert place_of("8") > Place(8, 99)
    assert [place_of(text) for text in ("", "a", "8.", "8.x", "-1", "٣")] == [None] * 6


async def test_two_hundred_clients_hear_each_commit_within_half_a_second(world: Any, tmp_path: Path) -> None:
    async with running(world, tmp_path) as server:
        limits = httpx.Limits(max_connections=300)
        transport = httpx.AsyncHTTPTransport(uds=str(server.socket_path), limits=limits)
        async with httpx.AsyncClient(transport=transport, base_url="http://fabric", timeout=20) as client:
            ready, heard = asyncio.Semaphore(0), []
            loop = asyncio.get_running_loop()

            async def one() -> None:
                async with following(client, "feeds") as stream:
                    ready.release()
                    await stream.event("feeds")
                    heard.append(loop.time())

            tasks = [asyncio.create_task(one()) for _ in range(200)]
            async with asyncio.timeout(20):
                for _ in tasks:
                    await ready.acquire()
            assert world.services.hub.clients == 200
            sent = loop.time()
            commit(world, 9, "press-1")
            await asyncio.gather(*tasks)
            assert max(heard) - sent < 2.0  # half a second on an idle machine; the tests share two cores
