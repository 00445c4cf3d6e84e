"""A server from an empty folder to its end: first page, first administrator, pushes, commands beside it, crash, stop."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import httpx
import pytest

from weftline.cli.holder import Remote, ServerError

PASSWORD = "correct-horse-battery-7"
SECOND = "battery-staple-horse-8"
GOOD = "time,machine,temperature,good_parts\n2026-11-22T10:00:00Z,P1,20.5,3\n2026-11-22T10:00:01Z,P2,21,4\n"
HOT = "time,machine,temperature,good_parts\n2026-11-22T10:00:00Z,P9,900,1\n"
PUSHED = (
    '{"time": "2026-11-22T11:00:00Z", "machine": "P3", "temperature": 18}\n'
    '{"time": "2026-11-22T11:00:01Z", "machine": "P3", "temperature": 9000}\n'
)
GATE = """\
    name: gate
    connection: doors
    format: {codec: ndjson}
    contract: press-readings@1.0.0
"""
REFUSED_SQL = [
    "INSERT INTO press_reading SELECT * FROM press_reading",
    "DELETE FROM press_reading",
    "ATTACH 'other.db' AS other",
    "COPY press_reading TO '/tmp/stolen.csv'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM weftline.quarantine",
    "PRAGMA database_list",
    "SELECT 1; SELECT 2",
    "SELEKT 1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, weftline, write):
    made = tmp_path_factory.mktemp("life") / "plant"
    weftline("init", made)
    write(made / "connections/doors.yaml", "name: doors\nkind: http\n")
    write(made / "feeds/gate.yaml", GATE)
    weftline("check", "--fabric", made)
    return made


@pytest.fixture(scope="module")
def server(folder, up):
    return up(folder)


def within(seconds):
    """Return a budget on a machine that others use too: stretched by how many processes wait for each core."""
    return seconds * max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="module")
def link(server):
    return server.wait_for("first administrator", "/welcome/").rpartition(" ")[2]


@pytest.fixture(scope="module")
def browser(server, link):
    """Use the one-time link up as a person does, in a browser with cookies."""
    client = server.client()
    path = link.removeprefix(server.url)
    assert client.get(path).status_code == 200
    form = {"name": "Ada", "email": "ada@plant.example", "password": PASSWORD, "again": PASSWORD, "repeat": PASSWORD}
    answer = client.post(path, data=form)
    assert (answer.status_code, answer.headers.get("location")) == (303, "/"), answer.text
    assert client.get("/").status_code == 200
    yield client
    client.close()


@pytest.fixture(scope="module")
def key(folder, weftline, server):
    return json.loads(weftline("key", "create", "gate", "--fabric", folder, "--format", "json").stdout)["key"]


def test_the_first_page_answers_and_sends_a_stranger_to_the_sign_in(server):
    with server.client() as client:
        answer = client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert client.get("/sign-in").status_code == 200
        assert client.get("/healthz").json()["status"] == "alive"
        assert client.get("/readyz").status_code == 200
    assert server.seconds < within(3.0), f"{server.seconds:.1f} s from the command to listening"


def test_the_one_time_link_makes_one_administrator_and_is_void_afterwards(server, link, browser):
    assert browser.get("/api/v1/session").json()["roles"] == ["administrator"]
    with server.client() as other:
        assert other.get(link.removeprefix(server.url)).status_code == 410
        assert other.get("/", follow_redirects=False).status_code == 303


def test_signing_in_with_the_password_works_and_with_another_does_not(server, browser):
    with server.client() as client:
        wrong = client.post("/sign-in", data={"email": "ada@plant.example", "password": "not-the-password-1"})
        assert wrong.status_code in {401, 403, 422}
        assert "weftline_session" not in client.cookies
        right = client.post("/sign-in", data={"email": "ada@plant.example", "password": PASSWORD})
        assert (right.status_code, "weftline_session" in client.cookies) == (303, True)
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert client.get("/feeds").status_code == 200


def test_a_request_on_a_cookie_needs_the_sessions_token(browser):
    body = {"scope": "feed:gate", "note": "made in a test"}
    bare = browser.post("/api/v1/keys", json=body)
    assert (bare.status_code, bare.json()["code"]) == (403, "csrf")
    token = browser.get("/api/v1/session").json()["csrf"]
    assert browser.post("/api/v1/keys", json=body, headers={"X-CSRF-Token": token}).status_code == 201
    foreign = browser.post(
        "/api/v1/keys", json=body, headers={"X-CSRF-Token": token, "Origin": "https://elsewhere.example"}
    )
    assert foreign.status_code == 403
    assert browser.post("/account/password", data={"old": PASSWORD, "password": SECOND}).status_code == 403


def test_a_push_is_received_and_every_record_gets_its_outcome(server, key, browser):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson", "Idempotency-Key": "one"}
    with server.client(headers=headers) as client:
        answer = client.post("/api/v1/feeds/gate/records?wait=commit", content=PUSHED)
        assert answer.status_code == 200, answer.text
        receipt = answer.json()
        assert (receipt["state"], receipt["records"], receipt["stored"], receipt["quarantined"]) == (
            "committed",
            2,
            1,
            1,
        )
        (outcome,) = receipt["outcomes"]
        assert (outcome["position"], outcome["outcome"]) == (1, "quarantined")
        assert outcome["violations"][0]["rule"] == "temperature.maximum"
        told = client.get(answer.headers["location"]).json()
        assert told["id"] == receipt["id"]
        again = client.post("/api/v1/feeds/gate/records", content=PUSHED)
        assert (again.status_code, again.json()["id"]) == (202, receipt["id"])
        other = client.post("/api/v1/feeds/gate/records", content=PUSHED.replace("18", "19"))
        assert other.status_code == 409
        assert client.get("/api/v1/datasets/press_reading").status_code == 403, "a feed's key reads nothing"
        assert client.post("/api/v1/feeds/press-readings/records", content=PUSHED).status_code == 403
    rows = browser.get("/api/v1/datasets/press_reading.json", params={"feed": "gate"}).json()
    assert [row["machine"] for row in rows["rows"]] == ["P3"]


def test_without_a_key_nothing_is_pushed(server):
    with server.client() as client:
        answer = client.post("/api/v1/feeds/gate/records", content=PUSHED)
        assert (answer.status_code, answer.json()["code"]) == (401, "not-signed-in")


def test_commands_beside_the_server_go_through_its_socket(folder, server, weftline, tmp_path, browser):
    good, hot = tmp_path / "good.csv", tmp_path / "hot.csv"
    good.write_text(GOOD)
    hot.write_text(HOT)
    result = json.loads(weftline("ingest", "press-readings", good, hot, "--fabric", folder, "--format", "json").stdout)
    assert (result["received"], result["stored"], result["quarantined"]) == (3, 2, 1)
    sql = "SELECT machine FROM press_reading WHERE machine IN ('P1', 'P2', 'P9') ORDER BY machine"
    rows = json.loads(weftline("query", sql, "--fabric", folder, "--format", "json").stdout)
    assert [row["machine"] for row in rows] == ["P1", "P2"]
    verified = json.loads(weftline("ledger", "--verify", "--fabric", folder, "--format", "json").stdout)
    assert verified["verified"] is True
    assert server.process.poll() is None, "the server kept the folder all the while"
    group = next(
        item["id"]
        for item in json.loads(weftline("quarantine", "list", "--fabric", folder, "--format", "json").stdout)
        if "press-readings" in item["feeds"]
    )
    shown = weftline("quarantine", "show", group, "--fabric", folder)
    assert "P9,900,1" in shown.stderr + shown.stdout
    replayed = weftline(
        "quarantine", "replay", group, "--reason", "still too hot", "--fabric", folder, "--format", "json", code=1
    )
    assert json.loads(replayed.stdout)["still_failing"] >= 1


def test_a_second_server_on_the_folder_is_refused_by_name(folder, server, weftline):
    done = weftline("up", "--fabric", folder, "--port", "0", code=2)
    assert str(server.process.pid) in done.stderr
    assert server.url in done.stderr
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("sql", REFUSED_SQL)
def test_sql_that_is_no_plain_select_is_refused_over_the_socket(folder, server, sql):
    assert server.process.poll() is None
    with pytest.raises(ServerError) as refused:
        Remote(folder / ".weftline/socket").query(sql, "test", 10)
    assert (refused.value.exit_code, refused.value.complaint.code) == (3, "sql-refused")


def test_a_refused_statement_ends_the_command_with_three(folder, server, weftline):
    assert server.process.poll() is None
    done = weftline("query", "ATTACH 'other.db' AS other", "--fabric", folder, code=3)
    assert (done.stdout, done.stderr.strip().count("\n")) == ("", 0)


def test_a_crash_costs_no_session_and_no_record(folder, server, up, browser, weftline):
    rows = "SELECT count(*) AS n FROM press_reading"
    before = json.loads(weftline("query", rows, "--fabric", folder, "--format", "json").stdout)
    cookie = browser.cookies["weftline_session"]
    server.kill()
    again = up(folder)
    with httpx.Client(base_url=again.url, cookies={"weftline_session": cookie}, timeout=30) as client:
        assert client.get("/").status_code == 200
    assert again.seconds < within(4.0), f"{again.seconds:.1f} s to listen after kill -9"
    assert json.loads(weftline("query", rows, "--fabric", folder, "--format", "json").stdout) == before
    verified = weftline("ledger", "--verify", "--fabric", folder, "--format", "json")
    assert json.loads(verified.stdout)["verified"] is True
    assert not [line for line in again.lines if "/welcome/" in line], "there is an administrator already"
    code, seconds = again.stop()
    assert (code, seconds < 10) == (0, True)
    assert weftline("status", "--fabric", folder, "--format", "json").stdout.startswith("{"), "the folder is free again"


def test_an_open_stream_does_not_keep_the_server_from_ending(folder, up, password_file, weftline):
    weftline("user", "add", "bea@plant.example", "--role", "viewer", "--fabric", folder, env=with_password(SECOND))
    server = up(folder)
    with (
        server.signed_in(SECOND, "bea@plant.example") as client,
        client.stream("GET", "/events?topics=tower") as stream,
    ):
        assert stream.status_code == 200
        assert next(stream.iter_text())
        code, seconds = server.stop()
    assert (code, seconds < 10) == (0, True)


def with_password(password):
    return {**os.environ, "WEFTLINE_PASSWORD": password}


def test_the_first_administrator_can_come_from_a_password_file(tmp_path, weftline, up, password_file):
    weftline("init", tmp_path / "fresh")
    server = up(tmp_path / "fresh", password_file=password_file)
    with server.signed_in() as client:
        assert client.get("/api/v1/session").json()["roles"] == ["administrator"]
    assert not [line for line in server.lines if "/welcome/" in line]
    assert PASSWORD not in "".join(server.lines)
    assert server.stop()[0] == 0


def test_a_password_file_that_cannot_be_read_or_holds_a_weak_one_is_told_in_a_sentence(tmp_path, weftline):
    weftline("init", tmp_path / "fresh")
    for path, text in ((tmp_path / "none", None), (tmp_path / "weak", "short\n")):
        if text is not None:
            path.write_text(text)
        done = weftline(
            "up", "--fabric", tmp_path / "fresh", "--port", "0", code=None,
            env={**os.environ, "WEFTLINE_ADMIN_PASSWORD_FILE": str(path)},
        )  # fmt: skip
        assert done.returncode in {1, 2}
        assert done.stderr.strip().count("\n") == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["status", "--fabric", "{none}"], 2, "weftline init"),
        (["up", "--fabric", "{none}"], 2, "weftline init"),
        (["ingest", "press-reading", "{file}", "--fabric", "{folder}"], 2, "press-readings"),
        (["ledger", "gaet", "--fabric", "{folder}"], 2, "gate"),
        (["ingest", "gate", "{none}.csv", "--fabric", "{folder}"], 2, "no such file"),
        (["probe", "press-reading", "--fabric", "{folder}"], 2, "press-readings"),
        (["quarantine", "show", "no-such-group", "--fabric", "{folder}"], 0, ""),
        (["query", "SELECT * FROM press_readin", "--fabric", "{folder}"], 2, "press_readin"),
        (["query", "SELECT 1", "--fabric", "{folder}", "--format", "cvs"], 2, "csv"),
        (["schema", "fed"], 2, "feed"),
        (["key", "create", "gaet", "--fabric", "{folder}"], 2, "gate"),
        (["ingets", "x"], 2, "ingest"),
        (["up", "--prot", "1"], 2, "--port"),
        (["init", "{folder}"], 2, "fabric-exists"),
    ],
)
def test_a_mistake_on_the_command_line_gets_one_sentence(folder, weftline, tmp_path, words, code, says):
    file = tmp_path / "x.csv"
    file.write_text(GOOD)
    given = {"none": tmp_path / "nothing", "folder": folder, "file": file}
    done = weftline(*[word.format(**given) for word in words], code=code)
    said = done.stderr.strip()
    assert says in said
    assert said.count("\n") == 0, said


@pytest.mark.parametrize("sql", ["DROP TABLE press_reading", "SELECT * FROM read_csv('/etc/passwd')", "SELEKT"])
def test_sql_is_refused_the_same_way_without_a_server(folder, weftline, sql):
    done = weftline("query", sql, "--fabric", folder, code=3)
    assert done.stderr.strip().count("\n") == 0


def test_a_folder_that_fails_its_check_does_not_start_and_says_where(tmp_path, weftline):
    weftline("init", tmp_path / "bad")
    (tmp_path / "bad/feeds/press-readings.yaml").write_text("name: press-readings\nconection: presses\n")
    began = time.monotonic()
    done = weftline("up", "--fabric", tmp_path / "bad", "--port", "0", code=None)
    assert done.returncode in {1, 2}
    assert "press-readings.yaml" in done.stderr
    assert "connection" in done.stderr
    assert time.monotonic() - began < 60
    assert not Path(tmp_path / "bad/.weftline/lake").exists()
