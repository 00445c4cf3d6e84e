"""Live pages: values change in place, one stream for all tabs, a restart is told and survived, Pause holds."""

from __future__ import annotations

from fake_services import EMAIL
from playwright.sync_api import expect


def test_a_value_changes_without_a_reload_and_keeps_focus_and_open_parts(server, visit) -> None:
    page = visit(server, "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.evaluate("window.sameDocument = true")
    button = page.locator("#needs .act a").first
    button.focus()
    page.locator("details.menu summary").evaluate("e => e.parentElement.open = true")
    before = page.locator("#book .total .num").inner_text()
    server.site.bump += 5000
    server.announce("ledger")
    expect(page.locator("#book .total .num")).not_to_have_text(before)
    expect(button).to_be_focused()
    assert page.evaluate("window.sameDocument")
    assert page.locator("details.menu").get_attribute("open") is not None


def test_a_page_hears_only_of_what_it_shows(server, visit) -> None:
    page = visit(server, "/feeds/lviv.lv2.mtconnect")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    refreshed: list[str] = []
    page.on("request", lambda request: refreshed.append(request.url) if request.headers.get("hx-request") else None)
    server.announce("feed:another")
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        server.announce("feed:lviv.lv2.mtconnect")
    assert len(refreshed) == 1


def test_a_restart_shows_on_the_chip_and_the_page_catches_up_by_itself(server, visit) -> None:
    visit.watch.allowed = ("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY")
    page = visit(server, "/")
    chip = page.locator("#live")
    expect(chip).to_have_attribute("data-state", "live")
    before = page.locator("#book .total .num").inner_text()
    server.stop()
    expect(chip).to_have_attribute("data-state", "reconnecting")
    expect(page.locator("#live-word")).to_have_text("Reconnecting")
    expect(page.locator("#live-status")).to_have_text("Updates: Reconnecting")
    server.site.bump += 777
    server.start()
    expect(chip).to_have_attribute("data-state", "live", timeout=15_000)
    expect(page.locator("#book .total .num")).not_to_have_text(before)


def test_pause_holds_the_page_still_counts_and_resumes(server, visit) -> None:
    page = visit(server, "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Pause live updates").click()
    expect(page.locator("#live-word")).to_have_text("Paused")
    before = page.locator("#book .total .num").inner_text()
    server.site.bump += 50
    server.announce("tower")
    expect(page.locator("#live-more")).to_have_text("1 waiting")
    assert page.locator("#book .total .num").inner_text() == before
    page.get_by_role("button", name="Resume live updates").click()
    expect(page.locator("#book .total .num")).not_to_have_text(before)


def test_ten_tabs_are_live_over_one_stream(server, visit) -> None:
    first = visit(server, "/")
    pages = [first]
    for path in ("/feeds", "/ledger", "/quarantine", "/feeds/lviv.mes", "/", "/feeds", "/datasets", "/", "/account"):
        page = first.context.new_page()
        page.goto(server.url + path)
        pages.append(page)
    for page in pages:
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
    assert server.streams <= 2
    server.site.bump += 999
    before = pages[5].locator("#book .total .num").inner_text()
    pages[5].bring_to_front()
    server.announce("tower")
    expect(pages[5].locator("#book .total .num")).not_to_have_text(before)


def test_a_browser_without_shared_workers_is_live_too(server, visit) -> None:
    page = visit(server, None)
    page.add_init_script("delete window.SharedWorker")
    page.goto(server.url + "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_panel_that_fails_says_so_and_the_page_lives_on(server, visit) -> None:
    visit.watch.allowed = ("500",)
    page = visit(server, "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    server.site.broken = "a fault on purpose"
    server.announce("tower")
    expect(page.locator("#toast")).to_contain_text("could not refresh")
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    server.site.broken = ""
    server.announce("tower")
    expect(page.locator("#toast")).to_be_hidden()


def test_a_page_that_fails_says_what_to_do_and_shows_no_trace(server, visit) -> None:
    visit.watch.allowed = ("500",)
    server.site.broken = "secret-detail"
    page = visit(server, "/feeds")
    expect(page.get_by_role("heading", level=1)).to_have_text("This page failed")
    expect(page.get_by_text("weftline doctor")).to_be_visible()
    assert "secret-detail" not in page.content()
    assert "Traceback" not in page.content()
    assert server.site.accounts[EMAIL]
