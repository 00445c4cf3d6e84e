"""One browser per session, one server per kind of world; every page is watched for CSP, console and foreign hosts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_server import Server
from fake_services import EMAIL, FakeSite

ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
AXE = Path(__file__).parents[1] / "vendor" / "axe.min.js"


@dataclass
class Watch:
    """What a page must not do."""

    problems: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def follow(self, page, url: str) -> None:
        page.on(
            "console", lambda message: self.note(f"console {message.type}: {message.text}", message.type == "error")
        )
        page.on("pageerror", lambda error: self.note(f"script: {error}"))
        page.on(
            "request", lambda request: self.note(f"off host: {request.url}", not request.url.startswith((url, "data:")))
        )

    def note(self, text: str, wrong: bool = True) -> None:
        if wrong and not any(part in text for part in self.allowed):
            self.problems.append(text)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    if not shutil.which(CHROMIUM):
        reason = f"no Chromium at {CHROMIUM}: apt-get install chromium, or set CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def worlds() -> Iterator[Callable[[str], Server]]:
    made: dict[str, Server] = {}

    def world(kind: str) -> Server:
        if kind not in made:
            made[kind] = Server(FakeSite(feeds=kind))
        return made[kind]

    yield world
    for server in made.values():
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve a world of this test's own."""
    made = Server(FakeSite())
    yield made
    made.stop()


@pytest.fixture
def visit(browser) -> Iterator[Callable]:
    """Open signed-in pages; at the end nothing forbidden may have happened on any of them."""
    contexts = []
    watch = Watch()

    def open_page(
        server: Server, path: str | None = "/", *, width: int = 1440, theme: str = "light", signed: bool = True, **more
    ):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", **more
        )
        context.set_default_timeout(8000)
        contexts.append(context)
        if signed:
            token = server.site.open(EMAIL)
            context.add_cookies([{"name": "weftline_session", "value": token, "url": server.url}])
        page = context.new_page()
        watch.follow(page, server.url)
        if path is not None:
            page.goto(server.url + path)
        return page

    open_page.watch = watch
    yield open_page
    for context in contexts:
        context.close()
    assert not watch.problems, "\n".join(watch.problems[:10])
