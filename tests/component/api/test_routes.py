"""Every route answers as it declares; the door sees every read; errors are problems."""

from __future__ import annotations

import io
import json
from typing import Any

import jsonschema_rs
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from weftline.api.app import OPERATIONS
from weftline.api.openapi import document
from weftline.api.operations import Operation
from weftline.service.actor import LOCAL_OPERATOR
from weftline.service.views import Readiness

DOCUMENT = document(OPERATIONS, "0.1.0")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
BODIES: dict[str, Any] = {
    "query": {"sql": "SELECT count(*) AS n FROM signal"},
    "replayQuarantine": {"reason": "the contract was mended"},
    "signIn": {"email": "viewer@plant.example", "password": "a long enough sentence"},
    "addPerson": {"name": "New", "email": "new@plant.example", "roles": ["buyer"]},
    "changePerson": {"roles": ["buyer"]},
    "makeKey": {"scope": "feed:press-1"},
    "changeIncident": {"owner": "Ada"},
}


def filled(operation: Operation, ids: dict[str, str]) -> str:
    path = operation.path
    for name, value in {
        "{feed:path}": "press-1", "{name}": "signal", "{group:path}": "thermo@1/range/value",
        "{email}": "viewer@plant.example", "{id:int}": ids.get(operation.name, "1"),
        "{id}": ids.get(operation.name, "1"),
    }.items():  # fmt: skip
        path = path.replace(name, value)
    return path


def schema_of(operation: Operation, status: int) -> dict[str, Any] | None:
    """Return the declared JSON schema of an answer, with the components beside it."""
    path = operation.path.replace(":path", "").replace(":int", "")
    answer = DOCUMENT["paths"][path][operation.method.lower()]["responses"].get(str(status))
    assert answer is not None, f"{operation.name} does not declare {status}"
    content = answer.get("content", {}).get("application/json", {}).get("schema")
    return None if content is None else {**content, "components": DOCUMENT["components"], "$schema": DIALECT}


async def prepared(world: Any) -> dict[str, str]:
    """Make what the routes with an id ask for."""
    incident = world.services.incidents.report("k", kind="feed-silent", subject="press-1")
    job, _ = world.services.jobs.add(kind="replay", key="k", now=1, by="local")
    async with world.as_key("feed") as client:
        receipt = (await client.post("/api/v1/feeds/press-1/records", json={})).json()["id"]
    key, _ = world.services.keys.create(LOCAL_OPERATOR, "feed:press-9")
    return {
        "revokeKey": str(key.id),
        "getReceipt": receipt,
        "getIncident": str(incident.id),
        "changeIncident": str(incident.id),
        "getJob": str(job.id),
    }


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.name != "events"], ids=lambda operation: operation.name
)
async def test_every_route_answers_as_declared_and_reads_pass_the_door(shared: Any, operation: Operation) -> None:
    ids = await prepared(shared)
    before = shared.services.door.reads
    body = BODIES.get(operation.name)
    sent: dict[str, Any] = {"json": body} if body else {"content": b"{}"} if operation.takes else {}
    async with shared.as_key("administrator") as client:
        answer = await client.request(
            operation.method, filled(operation, ids), headers={"Idempotency-Key": "k1"}, **sent
        )
    assert answer.status_code == min(operation.responses) or operation.name == "pushRecords", answer.text
    schema = schema_of(operation, answer.status_code)
    if schema is not None:
        assert answer.headers["content-type"] == "application/json"
        jsonschema_rs.validate(schema, answer.json())
    assert (shared.services.door.reads > before) is operation.reads_data


def test_the_document_names_every_route_once_and_every_reference_resolves() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
    assert DOCUMENT["openapi"] == "3.1.0"
    declared = sum(len(item) for item in DOCUMENT["paths"].values())
    assert declared == len(OPERATIONS)
    text = json.dumps(DOCUMENT)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in DOCUMENT["components"]["schemas"]
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": DIALECT})
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            inside = {part["name"] for part in operation["parameters"] if part["in"] == "path"}
            assert inside == {part.split("}")[0] for part in path.split("{")[1:]}
            assert operation["responses"]["default"]


@pytest.mark.parametrize("name", [one.name for one in OPERATIONS if one.request is not None])
async def test_a_body_that_is_not_as_declared_is_a_problem_that_names_the_field(shared: Any, name: str) -> None:
    operation = next(one for one in OPERATIONS if one.name == name)
    bad: list[tuple[Any, int]] = [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 5000, 400),
        (b'{"surprise": 1}', 400),
    ]
    async with shared.as_key("administrator") as client:
        for content, status in bad:
            answer = await client.request(operation.method, filled(operation, {}), content=content)
            assert (answer.status_code, answer.json()["code"]) == (status, "request-body"), content[:20]
        large = await client.request(operation.method, filled(operation, {}), content=b" " * (2 << 20))
        assert (large.status_code, large.json()["code"]) == (413, "request-too-large")


async def test_a_problem_tells_place_found_expected_and_next_step(world: Any) -> None:
    async with world.as_key("viewer") as client:
        answer = await client.get("/api/v1/datasets/signol", headers={"X-Request-Id": "r-1"})
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, body["status"], body["title"]) == (404, 404, "Not Found")
        assert (body["code"], body["place"], body["found"]) == ("not-found", "datasets", "'signol'")
        assert "signal" in body["next"]
        assert body["instance"] == "urn:request:r-1"
        assert body["type"] == "urn:weftline:error:not-found"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/nowhere", 404),
        ("/api/v1/tower?plant=x", 400),
        ("/api/v1/feeds?limit=0", 400),
        ("/api/v1/feeds?limit=ten", 400),
        ("/api/v1/incidents?open=maybe", 400),
        ("/api/v1/feeds/absent", 404),
        ("/api/v1/receipts/absent", 404),
        ("/api/v1/quarantine/absent", 404),
        ("/api/v1/quarantine/records/99999999", 404),
        ("/api/v1/jobs/99", 404),
        ("/api/v1/datasets/signal?format=xml", 400),
        ("/api/v1/datasets/signal?filter=value", 400),
        ("/api/v1/datasets/signal?colour=red", 404),
        ("/api/v1/datasets/signal?after=guess", 400),
        ("/events?topics=weather", 404),
        ("/events", 400),
    ],
)
async def test_what_is_asked_wrongly_is_a_problem(shared: Any, path: str, status: int) -> None:
    async with shared.as_key("viewer") as client:
        answer = await client.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_fault_of_ours_shows_no_detail(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(world.road, "tower", broken)
    async with world.as_key("viewer") as client:
        answer = await client.get("/api/v1/tower")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret detail" not in answer.text


async def test_a_dataset_is_the_same_in_every_format(world: Any) -> None:
    async with world.as_key("viewer") as client:
        rows = (await client.get("/api/v1/datasets/signal?limit=5&columns=frame,value,feed")).json()
        assert rows["columns"] == ["frame", "value", "feed"]
        expected = [row["frame"] for row in rows["rows"]]
        assert len(expected) == 5
        answers = {}
        for kind in ("csv", "parquet", "arrow"):
            answer = await client.get(f"/api/v1/datasets/signal.{kind}?limit=5&columns=frame,value,feed")
            assert answer.status_code == 200
            assert answer.headers["weftline-next"] == rows["next"]
            assert f'filename="signal.{kind}"' in answer.headers["content-disposition"]
            answers[kind] = io.BytesIO(answer.content)
        tables = [
            pyarrow.csv.read_csv(answers["csv"]),
            pyarrow.parquet.read_table(answers["parquet"]),
            pa.ipc.open_stream(answers["arrow"]).read_all(),
        ]
        for table in tables:
            assert table.column("frame").to_pylist() == expected


async def test_pages_of_a_dataset_cover_it_once(world: Any) -> None:
    async with world.as_key("viewer") as client:
        frames: list[int] = []
        after = ""
        while True:
            page = (await client.get("/api/v1/datasets/signal", params={"limit": 8, "after": after})).json()
            frames += [row["frame"] for row in page["rows"]]
            after = page["next"]
            if not after:
                break
        assert len(frames) == len(set(frames)) == 27


async def test_filters_by_name_and_by_operator(world: Any) -> None:
    async with world.as_key("viewer") as client:
        for query, count in (
            ("equipment=line/m3", 3), ("filter=value:ge:0.5&filter=feed:press-1", 12), ("filter=text:null", 27),
            ("feed=press-2", 0),
        ):  # fmt: skip
            rows = (await client.get(f"/api/v1/datasets/signal?{query}")).json()["rows"]
            assert len(rows) == count, query


async def test_an_entity_tag_spares_the_download_until_the_next_commit_and_is_still_decided(world: Any) -> None:
    async with world.as_key("viewer") as client:
        first = await client.get("/api/v1/datasets/signal.parquet")
        tag = first.headers["etag"]
        before = world.services.door.reads
        again = await client.get("/api/v1/datasets/signal.parquet", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert world.services.door.reads == before + 1
        other = await client.get("/api/v1/datasets/signal.parquet?limit=3", headers={"If-None-Match": tag})
        assert other.status_code == 200


async def test_sql_answers_in_the_format_asked_and_refuses_what_is_no_select(world: Any) -> None:
    async with world.as_key("viewer") as client:
        csv = await client.post("/api/v1/query", json={"sql": "SELECT 1 AS a, [1,2] AS b", "format": "csv"})
        assert csv.text.splitlines() == ['"a","b"', '1,"[1,2]"']
        for sql in ("DELETE FROM signal", "SELECT * FROM read_csv('/etc/passwd')", "SELECT 1; SELECT 2"):
            refused = await client.post("/api/v1/query", json={"sql": sql})
            assert (refused.status_code, refused.json()["code"]) == (403, "sql-refused")


async def test_the_purpose_and_the_request_are_in_the_record(world: Any) -> None:
    async with world.as_key("viewer") as client:
        answer = await client.get("/api/v1/datasets/signal", headers={"Purpose": "8D 4711", "X-Request-Id": "r-9"})
        (day,) = world.log.days()
        last = list(world.log.read(day))[-1]
        assert (last.id, last.purpose, last.request) == (answer.json()["decision"], "8D 4711", "r-9")
        assert (last.actor_name, last.authenticated, last.outcome) == ("Viewer", "api-key", "answered")


async def test_a_push_is_durable_at_once_and_told_per_record_when_it_waits(world: Any) -> None:
    async with world.as_key("feed") as client:
        body = b'{"value": 900}\n{"value": 1}\n'
        answer = await client.post("/api/v1/feeds/press-1/records", content=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["state"]) == (202, "durable")
        assert answer.headers["location"] == f"/api/v1/receipts/{answer.json()['id']}"
        feed, headers, received, key = world.road.pushed
        assert (feed, received, headers["idempotency-key"]) == ("press-1", body, "k")
        assert key.startswith("key:")
        told = await client.post("/api/v1/feeds/press-1/records?wait=commit", content=body)
        assert (told.status_code, told.json()["state"]) == (200, "committed")
        assert told.json()["outcomes"][0]["quarantine_id"] == 7
        world.road.commits = False
        late = await client.post("/api/v1/feeds/press-1/records?wait=commit", content=body)
        assert (late.status_code, late.json()["state"]) == (202, "durable")
        large = await client.post("/api/v1/feeds/press-1/records", content=b"x" * 1001)
        assert large.status_code == 413


async def test_a_feeds_name_may_hold_slashes(world: Any) -> None:
    async with world.as_key("engineer") as client:
        assert (await client.get("/api/v1/feeds/site/line/tag")).json()["row"]["name"] == "site/line/tag"
        assert (await client.get("/api/v1/ledger/site/line/tag")).json()["total"]["feed"] == "site/line/tag"
        assert (await client.post("/api/v1/feeds/site/line/tag/records", json={})).status_code == 202


async def test_feeds_are_filtered_and_paged(world: Any) -> None:
    async with world.as_key("viewer") as client:
        silent = (await client.get("/api/v1/feeds?state=silent")).json()
        assert ([row["name"] for row in silent["feeds"]], silent["total"], silent["next"]) == (["press-2"], 1, "")
        first = (await client.get("/api/v1/feeds?limit=2")).json()
        assert (len(first["feeds"]), first["total"], first["next"]) == (2, 3, "press-2")
        second = (await client.get(f"/api/v1/feeds?limit=2&after={first['next']}")).json()
        assert [row["name"] for row in second["feeds"]] == ["site/line/tag"]
        assert second["next"] == ""
        assert (await client.get("/api/v1/feeds?q=NORTH")).json()["total"] == 3


async def test_readyz_fails_while_frames_wait_and_nobody_tries_them(world: Any) -> None:
    async with world.client() as client:
        assert (await client.get("/readyz")).status_code == 200
        world.road.ready = Readiness(
            ready=False, reasons=["32 frames wait and no group was tried for 6 s"], waiting_frames=32, last_try_age=6.0
        )
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["waiting_frames"]) == (503, 32)
        assert (await client.get("/healthz")).status_code == 200


async def test_metrics_count_the_doors_reads_and_name_no_feed(world: Any) -> None:
    async with world.as_key("viewer") as client:
        await client.get("/api/v1/datasets/signal")
        text = (await client.get("/metrics")).text
        assert 'weftline_door_reads_total{decision="permit"} 1.0' in text
        assert "weftline_feeds_silent 1.0" in text
        assert "press-1" not in text
