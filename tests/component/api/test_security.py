"""Who gets in and who does not: keys, sessions, CSRF, the Unix socket, headers, and no route without sign-in."""

from __future__ import annotations

from typing import Any

import pytest

from weftline.api.app import OPERATIONS
from weftline.api.operations import Operation
from weftline.service.people import ROTATE_AFTER

PUBLIC = {"healthz", "readyz", "metrics", "openapi", "signIn"}


def filled(operation: Operation) -> str:
    """Return the operation's path with its parameters filled in."""
    path = operation.path
    for name, value in (("{feed:path}", "press-1"), ("{id:int}", "1"), ("{id}", "push-1-0"), ("{name}", "signal"),
                        ("{group:path}", "thermo@1/range/value"), ("{email}", "viewer@plant.example")):  # fmt: skip
        path = path.replace(name, value)
    assert "{" not in path
    return path


def test_exactly_the_listed_routes_are_public() -> None:
    assert {operation.name for operation in OPERATIONS if operation.public} == PUBLIC


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if not one.public], ids=lambda one: one.name)
async def test_no_other_route_answers_somebody_who_is_not_signed_in(shared: Any, operation: Operation) -> None:
    async with shared.client() as client:
        answer = await client.request(operation.method, filled(operation))
        assert answer.status_code == 401
        assert answer.json()["code"] == "not-signed-in"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        forged = await client.request(
            operation.method, filled(operation), headers={"Cookie": "weftline_session=guess", "X-CSRF-Token": "guess"}
        )
        assert forged.status_code == 401
        wrong = await client.request(operation.method, filled(operation), headers={"Authorization": "Bearer wk_guess"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "key-invalid")


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if not one.public], ids=lambda one: one.name)
async def test_a_feed_key_opens_nothing_but_its_feed(shared: Any, operation: Operation) -> None:
    if operation.name in {"pushRecords", "whoami", "signOut", "getReceipt"}:
        return
    body: Any = {}
    if operation.name == "query":
        body = {"sql": "SELECT 1"}
    elif operation.request is not None:
        body = {"reason": "because", "name": "x", "email": "x@y", "roles": ["viewer"], "scope": "feed:x"}
        body = {name: body[name] for name in operation.request.__struct_fields__ if name in body}
    query = {"topics": "feeds"} if operation.name == "events" else None
    async with shared.as_key("feed") as client:
        answer = await client.request(
            operation.method, filled(operation), params=query, headers={"Idempotency-Key": "k"},
            **({"json": body} if operation.request else {}),
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (403, "not-permitted"), answer.text


@pytest.mark.parametrize(("who", "status"), [("feed", 202), ("engineer", 202), ("viewer", 403), ("supplier", 403)])
async def test_a_push_needs_the_feeds_key_or_an_engineer(shared: Any, who: str, status: int) -> None:
    async with shared.as_key(who) as client:
        answer = await client.post("/api/v1/feeds/press-1/records", json={"value": 1})
        assert answer.status_code == status
        other = await client.post("/api/v1/feeds/press-2/records", json={"value": 1})
        assert other.status_code == (403 if who == "feed" else status)


async def test_a_revoked_key_is_out_with_the_next_request(world: Any) -> None:
    async with world.as_key("viewer") as client, world.as_key("administrator") as administrator:
        assert (await client.get("/api/v1/feeds")).status_code == 200
        for key in (await administrator.get("/api/v1/keys")).json()["keys"]:
            if key["scope"] == "actor:viewer@plant.example":
                assert (await administrator.delete(f"/api/v1/keys/{key['id']}")).json()["revoked"]
        assert (await client.get("/api/v1/feeds")).status_code == 401


async def test_an_unsafe_request_with_a_cookie_needs_the_sessions_token(world: Any) -> None:
    browser, csrf = await world.as_browser("administrator")
    body = {"scope": "feed:press-1"}
    assert (await browser.post("/api/v1/keys", json=body)).json()["code"] == "csrf"
    wrong = await browser.post("/api/v1/keys", json=body, headers={"X-CSRF-Token": "x" * len(csrf)})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "csrf")
    right = await browser.post("/api/v1/keys", json=body, headers={"X-CSRF-Token": csrf})
    assert right.status_code == 201
    foreign = await browser.post(
        "/api/v1/keys", json=body, headers={"X-CSRF-Token": csrf, "Origin": "https://evil.example"}
    )
    assert (foreign.status_code, foreign.json()["code"]) == (403, "csrf")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["origin", "null origin", "fetch metadata"],
)
async def test_another_website_cannot_sign_a_browser_in(shared: Any, headers: dict[str, str]) -> None:
    async with shared.client() as client:
        answer = await client.post(
            "/api/v1/session", json={"email": "viewer@plant.example", "password": "x"}, headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


async def test_signing_in_replaces_a_planted_session_and_signing_out_ends_it(world: Any) -> None:
    async with world.client(cookies={"weftline_session": "planted"}) as client:
        answer = await client.post(
            "/api/v1/session", json={"email": "viewer@plant.example", "password": "a long enough sentence"}
        )
        cookie = answer.headers["set-cookie"]
        assert "planted" not in cookie
        for flag in ("HttpOnly", "SameSite=Lax", "Path=/"):
            assert flag in cookie
        token = cookie.partition("=")[2].partition(";")[0]
        client.cookies.clear()
        client.cookies.set("weftline_session", token)
        assert (await client.get("/api/v1/session")).json()["name"] == "Viewer"
        out = await client.delete("/api/v1/session")
        assert out.status_code == 204
        client.cookies.clear()
        client.cookies.set("weftline_session", token)
        assert (await client.get("/api/v1/session")).status_code == 401


async def test_an_old_token_is_replaced_in_the_answer_and_the_new_one_works(world: Any) -> None:
    browser, _ = await world.as_browser()
    before = browser.cookies["weftline_session"]
    world.clock.shift = ROTATE_AFTER + 1
    answer = await browser.get("/api/v1/session")
    assert answer.status_code == 200
    assert browser.cookies["weftline_session"] != before
    assert (await browser.get("/api/v1/session")).status_code == 200


async def test_wrong_passwords_are_counted_and_then_paused(world: Any) -> None:
    async with world.client() as client:
        wrong = {"email": "viewer@plant.example", "password": "wrong password here"}
        codes = [(await client.post("/api/v1/session", json=wrong)).status_code for _ in range(6)]
        assert codes == [401] * 5 + [429]
        right = await client.post(
            "/api/v1/session", json={"email": "viewer@plant.example", "password": "a long enough sentence"}
        )
        assert right.status_code == 429
        assert right.headers["retry-after"]


async def test_the_owner_on_the_socket_is_the_local_operator_and_nobody_else_is(world: Any) -> None:
    async with world.as_peer(4242) as owner:
        who = (await owner.get("/api/v1/session")).json()
        assert (who["id"], who["authenticated"], who["roles"]) == ("local", "local-operator", ["administrator"])
    for uid in (0, 1000):
        async with world.as_peer(uid) as other:
            answer = await other.get("/healthz")
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign-peer")


async def test_a_request_over_tcp_cannot_claim_to_be_a_peer(world: Any) -> None:
    async with world.client() as client:
        answer = await client.get("/api/v1/session", headers={"weftline.peer": "4242", "X-Weftline-Peer": "4242"})
        assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/feeds", "/nowhere", "/api/v1/nowhere"])
async def test_every_answer_carries_the_security_headers(shared: Any, path: str) -> None:
    async with shared.client() as client:
        headers = (await client.get(path)).headers
        assert "'unsafe" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert len(headers["x-request-id"]) == 16
        echoed = await client.get(path, headers={"X-Request-Id": "trace-1"})
        assert echoed.headers["x-request-id"] == "trace-1"
        injected = await client.get(path, headers={"X-Request-Id": "a b<script>"})
        assert "<" not in injected.headers["x-request-id"]


async def test_a_supplier_reads_nothing_until_a_policy_says_what(world: Any) -> None:
    async with world.as_key("supplier") as client:
        for path in ("/api/v1/feeds", "/api/v1/tower", "/api/v1/datasets/signal", "/api/v1/quarantine"):
            assert (await client.get(path)).status_code == 403


async def test_violations_found_in_a_push_are_told_to_its_sender_only(world: Any) -> None:
    async with world.as_key("feed") as sender, world.as_key("viewer") as viewer:
        pushed = (await sender.post("/api/v1/feeds/press-1/records?wait=commit", json={})).json()
        own = (await sender.get(f"/api/v1/receipts/{pushed['id']}")).json()
        other = (await viewer.get(f"/api/v1/receipts/{pushed['id']}")).json()
        assert own["outcomes"][0]["violations"][0]["found"] == "900"
        assert other["outcomes"][0]["violations"][0]["found"] == ""
