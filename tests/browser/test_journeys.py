"""What people do: sign in, become the first administrator, work without a mouse, a script, or their session."""

from __future__ import annotations

import re

from fake_server import Server
from fake_services import EMAIL, PASSWORD, FakeSite
from playwright.sync_api import expect


def test_a_person_signs_in_and_lands_on_the_page_asked_for(server, visit) -> None:
    visit.watch.allowed = ("401",)
    page = visit(server, "/feeds?state=silent", signed=False)
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/feeds"))
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong e-mail address or password")
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/feeds\?state=silent$"))
    expect(page.get_by_role("link", name="moravia.stock")).to_be_visible()
    cookie = next(one for one in page.context.cookies() if one["name"] == "weftline_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    page.get_by_text("Oksana Hnatiuk").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile(r"/sign-in$"))
    page.goto(server.url + "/feeds")
    expect(page).to_have_url(re.compile(r"/sign-in"))


def test_the_first_administrator_chooses_a_password_through_the_link_which_works_once(visit) -> None:
    visit.watch.allowed = ("410", "422")
    server = Server(FakeSite(feeds="empty", signed_up=False))
    page = visit(server, "/welcome/first-link", signed=False)
    page.get_by_label("Your name").fill("Tamás Vörös")
    page.get_by_label("E-mail").fill("tamas@carpathia.example")
    page.get_by_label("Password", exact=True).fill("a sentence of mine")
    page.get_by_label("Password again").fill("another sentence")
    page.get_by_role("button").click()
    expect(page.get_by_label("Password again")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Your name")).to_have_value("Tamás Vörös")
    page.get_by_label("Password", exact=True).fill("a sentence of mine")
    page.get_by_label("Password again").fill("a sentence of mine")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Bring the first data in")
    page.goto(server.url + "/welcome/first-link")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link no longer works")
    server.stop()


def test_the_keyboard_alone_leads_from_the_tower_to_a_replay(server, visit) -> None:
    page = visit(server, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Open quarantine"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/quarantine\?q=bodrog"))
    page.get_by_role("link", name="line.uom").focus()
    page.keyboard.press("Enter")
    expect(page.locator("mark")).to_have_text("CT")
    page.get_by_label("Reason, kept with the replay").focus()
    page.keyboard.type("Bodrog ships cartons since 14 Nov")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="released")).to_contain_text(
        "12 tried, 11 released, 1 still fail"
    )
    assert [(group, reason) for group, reason, _ in server.site.replays] == [
        ("q2", "Bodrog ships cartons since 14 Nov")
    ]
    page.keyboard.press("Control+k")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("gyor")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/feeds\?q=gyor"))


def test_every_focusable_thing_shows_its_focus_and_has_a_name(worlds, visit) -> None:
    page = visit(worlds("story"), "/feeds")
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                return [e.tagName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2,
                (e.textContent || e.getAttribute('aria-label') || e.labels?.[0]?.textContent || '').trim() !== ''] }"""
            )
        )
    assert all(ring and named for _, ring, named in seen), seen


def test_searching_keeps_the_focus_in_the_field_while_the_list_changes(worlds, visit) -> None:
    page = visit(worlds("story"), "/feeds")
    field = page.get_by_role("searchbox", name="Name, partner, site, contract")
    field.click()
    page.keyboard.type("vereb", delay=20)
    expect(page.locator("#feeds tbody tr")).to_have_count(2)
    expect(field).to_be_focused()
    expect(field).to_have_value("vereb")
    expect(page).to_have_url(re.compile(r"q=vereb"))
    page.keyboard.type("zzz")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.go_back()


def test_without_scripts_every_page_is_read_and_every_form_works(worlds, visit) -> None:
    server = worlds("story")
    page = visit(server, "/", java_script_enabled=False)
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    expect(page.locator("#live-word")).to_have_text("Not live")
    page.goto(server.url + "/feeds")
    page.get_by_role("searchbox", name="Name, partner, site, contract").fill("bodrog")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#feeds tbody tr")).to_have_count(2)
    page.goto(server.url + "/account")
    page.get_by_role("button", name="dark").first.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="auto").first.click()


def test_a_lost_session_takes_nothing_away_that_was_typed(server, visit) -> None:
    visit.watch.allowed = ("401",)
    page = visit(server, "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.locator("#find").fill("half a thought")
    server.site.sessions_by_token.clear()
    server.announce("tower")
    expect(page.locator("#toast")).to_contain_text("Your session has ended")
    expect(page.locator("#find")).to_have_value("half a thought")
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()


def test_a_form_from_elsewhere_or_without_the_token_is_refused(server, visit) -> None:
    page = visit(server, "/account")
    token = page.locator("input[name=csrf]").first.get_attribute("value")
    post = page.context.request.post
    assert post(f"{server.url}/sign-out", form={}).status == 403
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert post(f"{server.url}/sign-out", form={"csrf": token}, headers=foreign).status == 403
    assert post(f"{server.url}/quarantine/q1/replay", form={"reason": "because"}).status == 403
    assert not server.site.replays
    answer = post(f"{server.url}/quarantine/q1/replay", form={"csrf": token, "reason": "", "key": "k"}, max_redirects=0)
    assert answer.status == 422
    assert "found no reason" in answer.text().lower()


def test_a_password_is_changed_and_other_sessions_can_be_ended(server, visit) -> None:
    visit.watch.allowed = ("422",)
    server.site.open(EMAIL)
    page = visit(server, "/account")
    page.get_by_label("Present password").fill("not it")
    page.get_by_label("New password", exact=True).fill("another long sentence")
    page.get_by_label("New password again").fill("another long sentence")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_label("Present password")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill("another long sentence")
    page.get_by_label("New password again").fill("another long sentence")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status").filter(has_text="changed")).to_be_visible()
    page.get_by_role("button", name="End").first.click()
    expect(page.get_by_role("status").filter(has_text="ended")).to_be_visible()
    assert len(server.site.sessions_by_token) == 1
