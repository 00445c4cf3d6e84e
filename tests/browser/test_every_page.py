"""Every page, in every world, width and theme: nothing overflows, nothing forbidden happens, axe finds nothing."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from fake_services import HOSTILE

from conftest import AXE

PAGES = {
    "tower": "/",
    "feeds": "/feeds",
    "feeds, nothing matches": "/feeds?q=zzzz",
    "feed": "/feeds/lviv.lv2.mtconnect",
    "feed never received": "/feeds/dnister.events",
    "quarantine": "/quarantine",
    "group": "/quarantine/q2",
    "group of bytes": "/quarantine/q4",
    "datasets": "/datasets",
    "dataset": "/datasets/signal",
    "dataset, no row": "/datasets/signal?term=nothing",
    "ledger": "/ledger",
    "account": "/account",
    "not found": "/no-such-page",
}
OPEN = {"sign-in": "/sign-in", "welcome": "/welcome/first-link", "void link": "/welcome/used"}
HOSTILE_PAGES = ["/", "/feeds", "/quarantine", "/quarantine/q0", "/quarantine/q3", "/datasets/signal", "/ledger"] + [
    "/feeds/" + quote(name, safe="") for name in HOSTILE
]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STATUS = ("404", "410", "403")


def overflow(page) -> str:
    """Tell what is wider than the window, if anything."""
    return page.evaluate(
        """() => { const wide = document.documentElement.scrollWidth - innerWidth; if (wide <= 0) return '';
        const guilty = [...document.querySelectorAll('body *')].filter(e =>
          e.getBoundingClientRect().right > innerWidth + 1
          && !e.closest('.scroll, .original, .hide'));
        return `${wide}px: ` + guilty.slice(0, 4).map(e => e.tagName + '.' + e.className).join(' ') }"""
    )


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_is_wider_than_the_window(worlds, visit, width: int) -> None:
    visit.watch.allowed = STATUS
    page = visit(worlds("story"), None, width=width)
    found = {}
    for path in [*PAGES.values(), *OPEN.values()]:
        page.goto(worlds("story").url + path)
        found[path] = overflow(page)
    assert {path: wide for path, wide in found.items() if wide} == {}


@pytest.mark.parametrize("width", [320, 1440])
def test_hostile_names_are_shown_safely_everywhere(worlds, visit, width: int) -> None:
    server = worlds("hostile")
    server.site.renamed(HOSTILE[1])
    page = visit(server, None, width=width)
    page.on("dialog", lambda dialog: pytest.fail(f"a script of a name ran: {dialog.message}"))
    found = {}
    for path in HOSTILE_PAGES:
        answer = page.goto(server.url + path)
        assert answer is not None
        assert answer.status == 200, path
        wide = overflow(page)
        if wide:
            found[path] = wide
        assert "\u202e" not in page.locator("body").inner_text()
    assert found == {}


def test_what_fingers_touch_is_44_pixels_high(worlds, visit) -> None:
    server = worlds("story")
    page = visit(server, None, width=390, has_touch=True, is_mobile=True)
    small = {}
    for path in ("/", "/feeds", "/quarantine/q2", "/account"):
        page.goto(server.url + path)
        found = page.evaluate(
            """() => [...document.querySelectorAll(
              'button, .btn, .facets a, .bottom a, input:not([type=hidden]):not([type=checkbox]), select')]
            .filter(e => e.checkVisibility())
            .map(e => [e.textContent.trim().slice(0, 30) || e.id, e.getBoundingClientRect().height])
            .filter(([, height]) => height > 0 && height < 43.5)"""
        )
        if found:
            small[path] = found
    assert small == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(worlds, visit, theme: str) -> None:
    visit.watch.allowed = STATUS
    script = AXE.read_text()
    # The markup is the same in both themes; only colours differ.
    only = {"type": "tag", "values": TAGS} if theme == "light" else {"type": "rule", "values": ["color-contrast"]}
    broken = {}
    story = visit(worlds("story"), None, theme=theme, bypass_csp=True)
    empty = visit(worlds("empty"), None, theme=theme, bypass_csp=True)
    for world, page, paths in (
        ("story", story, PAGES),
        ("empty", empty, {"first run": "/", "feeds": "/feeds", "quarantine": "/quarantine"}),
    ):
        for name, path in {**paths, **(OPEN if world == "empty" else {})}.items():
            if name == "sign-in":
                page.context.clear_cookies()
            page.goto(worlds(world).url + path)
            page.evaluate(script)
            result = page.evaluate("only => axe.run(document, {runOnly: only, resultTypes: ['violations']})", only)
            for violation in result["violations"]:
                nodes = [node["html"][:140] for node in violation["nodes"][:2]]
                broken.setdefault(f"{world} {name}", []).append((violation["id"], nodes))
    assert broken == {}


def test_the_policy_allows_no_inline_code_and_pages_are_not_kept(worlds, visit) -> None:
    server = worlds("story")
    page = visit(server, None)
    answer = page.goto(server.url + "/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "HX-Request" in answer.headers["vary"]
    style = page.locator("link[rel=stylesheet]").last.get_attribute("href")
    kept = page.context.request.get(server.url + style)
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    # The policy really stops what slips in: an injected inline script does not run.
    visit.watch.allowed = ("Content Security Policy", "violates", "Refused")
    ran = page.evaluate(
        """() => { const s = document.createElement('script'); s.textContent = 'window.slipped = 1';
        document.body.append(s); return window.slipped ?? 0 }"""
    )
    assert ran == 0


def test_a_fragment_is_the_content_of_its_full_page_twin(worlds, visit) -> None:
    server = worlds("story")
    get = visit(server, None).context.request.get
    for path in ("/", "/feeds", "/feeds/lviv.lv2.mtconnect", "/quarantine", "/quarantine/q2", "/datasets/signal"):
        whole = get(server.url + path).text()
        part = get(server.url + path, headers={"HX-Request": "true"}).text()
        assert "<html" in whole, path
        assert "<html" not in part, path
        assert part.lstrip().startswith("<title>"), path
        assert part.split("<h1", 1)[1].split("</h1>")[0] in whole, path


def test_ten_thousand_feeds_are_one_readable_page(worlds, visit) -> None:
    server = worlds("many")
    page = visit(server, "/")
    assert page.locator("#needs li").count() == 8
    assert page.locator("#partners tbody tr").count() == 12
    assert page.locator(".cellb").count() < 120
    begun = time.perf_counter()
    body = page.context.request.get(server.url + "/").body()
    seconds = time.perf_counter() - begun
    # A bound against accidents (a page with every feed in it), not a benchmark: `weftline bench web` measures.
    assert len(body) < 90_000
    assert seconds < 2
    page.goto(server.url + "/feeds?state=failing")
    assert page.locator("#feeds tbody tr").count() == 50
    page.get_by_role("link", name="Next 50").click()
    assert page.locator("#feeds tbody tr").count() == 50


def test_printing_leaves_out_what_paper_cannot_do(worlds, visit) -> None:
    page = visit(worlds("story"), "/feeds/lviv.lv2.mtconnect")
    page.emulate_media(media="print")
    assert not page.locator(".side").is_visible()
    assert page.get_by_role("heading", level=1).is_visible()
