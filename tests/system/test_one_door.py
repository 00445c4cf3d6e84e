"""There is one door: each route, page, download, stream and command that shows records' content leaves a decision.

Two marks stand in the data, one in a stored row and one in a quarantined record. Whatever answer holds one of them must
have raised the door's counter; whatever is declared to read data must raise it; nothing else may.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from weftline.api.app import OPERATIONS
from weftline.cli.app import app as commands
from weftline.cli.holder import Remote
from weftline.service.operations import OPERATIONS as VERBS
from weftline.service.operations import Operations
from weftline.web.app import PAGES, PUBLIC

STORED, HELD = "mark-stored-7f3a", "mark-held-9c1b"
CONTRACT = """\
    apiVersion: v3.1.0
    kind: DataContract
    id: reading
    version: 1.0.0
    status: active
    schema:
      - name: reading
        physicalName: reading
        properties:
          - name: name
            logicalType: string
            required: true
            logicalTypeOptions: {maxLength: 40, pattern: "^(?:own|mark-stored).*$"}
          - name: temperature
            logicalType: number
            logicalTypeOptions: {maximum: 100}
"""
FEED = "name: {name}\nconnection: {connection}\n{select}format: {{codec: ndjson}}\ncontract: reading@1.0.0\n"


@dataclass
class World:
    """A served fabric with marked data, and its counters."""

    server: object
    client: object
    folder: object
    group: str
    record: int
    receipt: str
    key_id: int
    spare: str
    """A group that may be replayed without taking the marked record away."""

    def decisions(self):
        """Count the decisions on disk; each is there before its answer."""
        return sum(path.read_bytes().count(b"\n") for path in (self.folder / ".weftline/decisions").glob("*.jsonl"))

    def metric(self):
        with self.server.client() as plain:
            text = plain.get("/metrics").text
        return sum(float(count) for count in re.findall(r"^weftline_door_reads_total\{.*\} (\S+)$", text, re.MULTILINE))

    def rise(self, act):
        """Do something; return its answer and by how many decisions the door's two counters rose."""
        before, told = self.decisions(), self.metric()
        answer = act()
        rose = self.decisions() - before
        assert self.metric() - told == rose, "the metric and the record of decisions differ"
        return answer, rose


@pytest.fixture(scope="module")
def world(tmp_path_factory, up, write, password_file):
    folder = tmp_path_factory.mktemp("door") / "shop"
    write(folder / "fabric.yaml", "name: shop\n")
    write(folder / "connections/drop.yaml", "name: drop\nkind: files\npath: data\n")
    write(folder / "connections/push.yaml", "name: push\nkind: http\n")
    write(folder / "contracts/reading.odcs.yaml", CONTRACT)
    write(
        folder / "feeds/oven.yaml", FEED.format(name="oven", connection="drop", select='select: {path: "*.ndjson"}\n')
    )
    write(folder / "feeds/gate.yaml", FEED.format(name="gate", connection="push", select=""))
    server = up(folder, password_file=password_file)
    lines = f'{{"name": "{STORED}", "temperature": 20}}\n{{"name": "{HELD}", "temperature": 900}}\n'
    with server.signed_in() as client:
        made = client.post("/api/v1/keys", json={"scope": "feed:gate", "note": "door"}).json()
        kind = {"Content-Type": "application/x-ndjson"}
        pushed = client.post("/api/v1/feeds/gate/records?wait=commit", content=lines, headers=kind).json()
        assert (pushed["stored"], pushed["quarantined"]) == (1, 1), pushed
        path = write(folder / "data/oven-1.ndjson", lines.replace("20", "21"))
        Remote(folder / ".weftline/socket").ingest("oven", path, history=False, progress=None)
        client.post("/api/v1/feeds/gate/records?wait=commit", content='{"temperature": 5}\n', headers=kind)
        groups = {one["rule"]: one for one in client.get("/api/v1/quarantine").json()["groups"]}
        group, spare = next(one for one in groups.values() if one["records"] == 2), groups["name.required"]
        record = client.get(f"/api/v1/quarantine/{group['id']}").json()["records"][0]["id"]
        yield World(server, client, folder, group["id"], record, pushed["id"], made["key"]["id"], spare["id"])
    assert server.stop()[0] == 0


def marked(content):
    """Tell whether an answer holds a mark, also inside Parquet and Arrow."""
    raw = content if isinstance(content, bytes) else content.encode()
    if raw[:4] == b"PAR1":
        raw = json.dumps(pq.read_table(io.BytesIO(raw)).to_pylist(), default=str).encode()
    elif raw[:4] == b"\xff\xff\xff\xff":
        raw = json.dumps(pa.ipc.open_stream(raw).read_all().to_pylist(), default=str).encode()
    return any(mark.encode() in raw for mark in (STORED, HELD))


def judge(name, content, rose, *, reads):
    if marked(content):
        assert rose, f"{name} shows content without a decision"
    assert bool(rose) == reads, f"{name} left {rose} decisions"


# How each operation of the API is asked; an operation that is not here fails the test that compares the two lists.
ASKED = {
    "pushRecords": lambda w, c: c.post(
        "/api/v1/feeds/gate/records?wait=commit",
        content='{"name": "own", "temperature": 1}\n',
        headers={"Content-Type": "application/x-ndjson"},
    ),
    "getReceipt": lambda w, c: c.get(f"/api/v1/receipts/{w.receipt}"),
    "listFeeds": lambda w, c: c.get("/api/v1/feeds"),
    "getFeed": lambda w, c: c.get("/api/v1/feeds/gate"),
    "getLedger": lambda w, c: c.get("/api/v1/ledger"),
    "getFeedLedger": lambda w, c: c.get("/api/v1/ledger/gate"),
    "getTower": lambda w, c: c.get("/api/v1/tower"),
    "listIncidents": lambda w, c: c.get("/api/v1/incidents"),
    "getIncident": lambda w, c: c.get("/api/v1/incidents/1"),
    "changeIncident": lambda w, c: c.patch("/api/v1/incidents/1", json={"note": "seen"}),
    "listDatasets": lambda w, c: c.get("/api/v1/datasets"),
    "getDatasetColumns": lambda w, c: c.get("/api/v1/datasets/reading/columns"),
    "readDataset": lambda w, c: c.get("/api/v1/datasets/reading"),
    "query": lambda w, c: c.post("/api/v1/query", json={"sql": "SELECT * FROM reading"}),
    "listQuarantine": lambda w, c: c.get("/api/v1/quarantine"),
    "getQuarantineRecord": lambda w, c: c.get(f"/api/v1/quarantine/records/{w.record}"),
    "getQuarantineOriginal": lambda w, c: c.get(f"/api/v1/quarantine/records/{w.record}/original"),
    "replayQuarantine": lambda w, c: c.post(
        f"/api/v1/quarantine/{w.spare}/replay", json={"reason": "for the door"}, headers={"Idempotency-Key": "door-1"}
    ),
    "getQuarantineGroup": lambda w, c: c.get(f"/api/v1/quarantine/{w.group}?originals=true"),
    "whoami": lambda w, c: c.get("/api/v1/session"),
    "signIn": lambda w, c: c.post(
        "/api/v1/session", json={"email": "nobody@shop.example", "password": "wrong-password-1"}
    ),
    "signOut": lambda w, c: w.server.client().delete("/api/v1/session"),
    "listPeople": lambda w, c: c.get("/api/v1/people"),
    "addPerson": lambda w, c: c.post(
        "/api/v1/people", json={"name": "Bo", "email": "bo@shop.example", "roles": ["viewer"]}
    ),
    "changePerson": lambda w, c: c.patch("/api/v1/people/bo@shop.example", json={"roles": ["engineer"]}),
    "invite": lambda w, c: c.post("/api/v1/people/bo@shop.example/link"),
    "listKeys": lambda w, c: c.get("/api/v1/keys"),
    "makeKey": lambda w, c: c.post("/api/v1/keys", json={"scope": "feed:oven", "note": "door"}),
    "revokeKey": lambda w, c: c.delete(f"/api/v1/keys/{w.key_id}"),
    "getJob": lambda w, c: c.get("/api/v1/jobs/1"),
    "healthz": lambda w, c: c.get("/healthz"),
    "readyz": lambda w, c: c.get("/readyz"),
    "metrics": lambda w, c: c.get("/metrics"),
    "openapi": lambda w, c: c.get("/api/v1/openapi.json"),
}
STREAMS = {"events"}
MAY_MISS = {"getIncident", "changeIncident", "signIn", "signOut", "getJob"}
"""Operations whose subject need not be there; a 401 or 404 of theirs is an answer too."""


def test_every_operation_of_the_api_is_asked_here(world):
    told = world.client.get("/api/v1/openapi.json").json()
    names = {operation["operationId"] for path in told["paths"].values() for operation in path.values()}
    assert names == ASKED.keys() | STREAMS


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.name not in STREAMS], ids=lambda one: one.name)
def test_an_operation_passes_the_door_exactly_if_it_shows_content(world, operation):
    answer, rose = world.rise(lambda: ASKED[operation.name](world, world.client))
    if operation.name not in MAY_MISS:
        assert answer.status_code < 300, answer.text
    judge(operation.name, answer.content, rose, reads=operation.reads_data)
    if operation.reads_data:
        assert marked(answer.content), "the answer of a reading operation holds the data it was asked for"


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.reads_data], ids=lambda one: one.name)
def test_a_stranger_gets_no_content_and_a_feeds_key_is_denied_on_record(world, operation):
    ask = ASKED.get(operation.name, lambda w, c: c.get("/events?topics=tower"))
    with world.server.client() as stranger:
        answer, rose = world.rise(lambda: ask(world, stranger))
        assert (answer.status_code, rose, marked(answer.content)) == (401, 0, False)
    secret = world.client.post("/api/v1/keys", json={"scope": "feed:gate", "note": "denied"}).json()["secret"]
    with world.server.client(headers={"Authorization": f"Bearer {secret}"}) as pusher:
        answer, rose = world.rise(lambda: ask(world, pusher))
        assert (answer.status_code, rose, marked(answer.content)) == (403, 1, False)


@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "arrow"])
def test_each_download_passes_the_door(world, kind):
    client = world.client
    for ask in (
        lambda: client.get(f"/api/v1/datasets/reading.{kind}"),
        lambda: client.get("/api/v1/datasets/reading", params={"format": kind}),
        lambda: client.post("/api/v1/query", json={"sql": "SELECT name FROM reading", "format": kind}),
    ):
        answer, rose = world.rise(ask)
        assert (answer.status_code, rose, marked(answer.content)) == (200, 1, True)


def test_an_answer_that_is_not_modified_was_decided_too(world):
    first = world.client.get("/api/v1/datasets/reading.csv")
    again = {"If-None-Match": first.headers["etag"]}
    answer, rose = world.rise(lambda: world.client.get("/api/v1/datasets/reading.csv", headers=again))
    assert (answer.status_code, rose) == (304, 1)


SHOWS = {"/feeds/{name:path}", "/quarantine", "/quarantine/{group:path}", "/datasets/{name:path}"}
"""Pages that show records' content; the page of a feed shows its last records."""


def address(world, path):
    if path == "/datasets/{name:path}":
        return "/datasets/reading"
    return path.replace("{name:path}", "gate").replace("{group:path}", world.group).replace("{token}", "none")


@pytest.mark.parametrize(("path", "methods"), [(path, methods) for path, _, methods in (*PAGES, *PUBLIC)])
def test_a_page_passes_the_door_exactly_if_it_shows_content(world, path, methods):
    where = address(world, path)
    if "GET" in methods:
        answer, rose = world.rise(lambda: world.client.get(where))
        assert answer.status_code < 500
        judge(path, answer.content, rose, reads=path in SHOWS)
        if path in SHOWS:
            assert marked(answer.content)
        with world.server.client() as stranger:
            answer, rose = world.rise(lambda: stranger.get(where))
            assert (rose, marked(answer.content)) == (0, False)
    if "POST" in methods and path != "/sign-out":
        answer, rose = world.rise(lambda: world.client.post(where, data={"csrf": world.client.headers["X-CSRF-Token"]}))
        judge(path, answer.content, rose, reads=path == "/quarantine/{group:path}/replay")  # the form is shown again


@pytest.mark.parametrize("topics", ["feeds", "tower", "ledger", "feed:gate", "feeds,tower,ledger,feed:oven"])
def test_a_stream_is_decided_once_and_carries_no_content(world, topics):
    def listen():
        heard = ""
        with world.client.stream("GET", f"/events?topics={topics}") as stream:
            assert stream.status_code == 200
            parts = stream.iter_text()
            heard += next(parts)
            line = f'{{"name": "{STORED}", "temperature": 3, "topics": "{topics}"}}\n'
            kind = {"Content-Type": "application/x-ndjson"}
            for feed in ("gate",):
                world.client.post(f"/api/v1/feeds/{feed}/records?wait=commit", content=line, headers=kind)
            while "id: " not in heard:
                heard += next(parts)
        return heard

    heard, rose = world.rise(listen)
    assert (rose, marked(heard)) == (1, False)


READING_VERBS = {"quarantine", "quarantined", "quarantined_record"}
CALLED = {
    "ledger": {"feed": "gate"},
    "quarantined": {"group": "{group}"},
    "quarantined_record": {"record": "{record}"},
    "replay": {"group": "{group}", "reason": "for the door"},
    "user_add": {"name": "Cy", "email": "cy@shop.example", "roles": ["viewer"]},
    "user_invite": {"email": "cy@shop.example"},
    "key_create": {"scope": "feed:gate"},
}


def test_the_lists_of_verbs_agree():
    named = {name for name in vars(Operations) if not name.startswith("_")}
    assert named == {*VERBS, "query", "ingest"}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "replay"])
def test_an_operators_verb_passes_the_door_exactly_if_it_shows_content(world, verb):
    given = {"{group}": world.group, "{record}": world.record}
    arguments = {
        name: given.get(value, value) if isinstance(value, str) else value
        for name, value in CALLED.get(verb, {}).items()
    }
    remote = Remote(world.folder / ".weftline/socket")
    answer, rose = world.rise(lambda: remote.call(verb, **arguments))
    judge(verb, json.dumps(answer), rose, reads=verb in READING_VERBS)


READS = {
    ("query", "SELECT name FROM reading"): True,
    ("query", "SELECT name FROM reading", "--format", "csv"): True,
    ("query", "SELECT count(*) FROM reading"): True,
    ("quarantine", "list"): True,
    ("quarantine", "show", "{group}"): True,
    ("ledger",): False,
    ("ledger", "--verify"): False,
    ("status",): False,
    ("doctor",): False,
    ("user", "list"): False,
    ("key", "list"): False,
    ("check",): False,
}


@pytest.mark.parametrize(
    ("words", "reads"), READS.items(), ids=lambda one: " ".join(one) if isinstance(one, tuple) else ""
)
def test_a_command_passes_the_door_exactly_if_it_shows_content(world, words, reads):
    given = [word.format(group=world.group) for word in words]
    answer, rose = world.rise(lambda: CliRunner().invoke(commands, [*given, "--fabric", str(world.folder)]))
    assert answer.exit_code == 0, answer.output
    judge(" ".join(words), answer.output, rose, reads=reads)


def test_a_refused_statement_is_a_denial_on_record(world):
    answer, rose = world.rise(lambda: world.client.post("/api/v1/query", json={"sql": "SELECT * FROM read_csv('x')"}))
    assert (answer.status_code, rose) == (403, 1)
    newest = max((world.folder / ".weftline/decisions").glob("*.jsonl")).read_text().splitlines()[-1]
    assert json.loads(newest)["decision"] == "deny"
