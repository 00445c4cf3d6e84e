"""Routes that give records' content: datasets, SQL, quarantine. Each passes the one door."""

from __future__ import annotations

from starlette.responses import Response

from weftline.api.bodies import Datasets, Groups, QueryRequest, Records, ReplayRequest
from weftline.api.operations import Answer, Call, Operation, Param
from weftline.api.routes_road import READERS, page
from weftline.api.streaming import FORMATS, Rows, encode, respond
from weftline.errors import NotFoundError, UsageError, nearest
from weftline.service.actor import require
from weftline.service.queries import BARE, OPERATORS, DatasetQuery, Filter, SqlQuery
from weftline.service.views import DatasetRow, QuarantineRecord, ReplayView

__all__ = ["OPERATIONS"]

KNOWN = ("filter", "columns", "after", "limit", "format")
TAIL = ("csv", "parquet", "arrow")


async def datasets(call: Call) -> Datasets:
    """List the datasets and their columns; no row."""
    require(call.actor, "datasets", *READERS)
    return Datasets(datasets=list(await call.services.run(call.services.road.datasets)))


async def dataset(call: Call) -> Response:
    """Give rows of a dataset, newest commit first; `{name}.csv` and its like choose the format."""
    name, kind = _format(call)
    columns = tuple(part for part in call.query["columns"].split(",") if part)
    query = DatasetQuery(name, _filters(call), columns, call.query["after"], call.query["limit"])
    reading = await call.services.run(call.services.door.read, call.actor, call.purpose, query, call.client)
    body = await call.services.run(encode, reading, kind)
    known = call.request.headers.get("if-none-match", "")
    return respond(reading, body, kind, name=name, asked=str(call.request.url.query) + name, known=known)


def _format(call: Call) -> tuple[str, str]:
    name, kind = call.path("name"), call.query["format"]
    stem, point, tail = name.rpartition(".")
    if point and tail in FORMATS:
        name, kind = stem, tail
    if kind not in FORMATS:
        raise UsageError(
            place="format",
            found=f"'{kind[:40]}'",
            expected=f"one of {', '.join(FORMATS)}",
            next_step=nearest(kind, FORMATS),
        )
    return name, kind


def _filters(call: Call) -> tuple[Filter, ...]:
    """Read `filter=column:operator:value` (or `column:value`), and `column=value` for plain equality."""
    found = []
    for text in call.query["filter"]:
        column, colon, rest = text.partition(":")
        if not colon:
            raise UsageError(
                place="filter",
                found=f"'{text[:80]}'",
                expected="column:operator:value",
                next_step="See /api/v1/openapi.json.",
            )
        operator, _, value = rest.partition(":")
        if operator in BARE or operator in OPERATORS:
            found.append(Filter(column, operator, value))
        else:
            found.append(Filter(column, "eq", rest))
    found += [Filter(name, "eq", value) for name, value in call.request.query_params.multi_items() if name not in KNOWN]
    return tuple(found)


async def query(call: Call) -> Response:
    """Run one SELECT, at most 60 seconds."""
    asked: QueryRequest = call.body
    purpose = asked.purpose or call.purpose
    if not 1 <= asked.limit <= 1_000_000:
        raise UsageError(place="limit", found=str(asked.limit), expected="1 to 1000000")
    reading = await call.services.run(
        call.services.door.read, call.actor, purpose, SqlQuery(asked.sql, asked.limit), call.client
    )
    body = await call.services.run(encode, reading, asked.format)
    return respond(reading, body, asked.format, name="query", asked=asked.sql)


async def groups(call: Call) -> Groups:
    """List quarantine groups."""
    found = await call.services.run(
        call.services.quarantine.groups, call.actor, call.purpose, call.client,
        feed=call.query["feed"], limit=call.query["limit"],
    )  # fmt: skip
    return Groups(groups=found)


async def group(call: Call) -> Records:
    """Show a quarantine group with its newest records."""
    name, limit = call.path("group"), call.query["limit"]
    shown = await call.services.run(call.services.quarantine.group, call.actor, call.purpose, name, call.client)
    records = await call.services.run(
        call.services.quarantine.records, call.actor, call.purpose, name, call.client,
        after=call.query["after"], limit=limit + 1, originals=call.query["originals"],
    )  # fmt: skip
    return Records(group=shown, records=records[:limit], next=records[limit - 1].id if len(records) > limit else 0)


async def record(call: Call) -> QuarantineRecord:
    """Show one quarantined record with its reasons and its original."""
    return await call.services.run(
        call.services.quarantine.record, call.actor, call.purpose, int(call.path("id")), call.client
    )


async def original(call: Call) -> Response:
    """Give one quarantined record's bytes as the source sent them."""
    number = int(call.path("id"))
    body = await call.services.run(call.services.quarantine.original, call.actor, call.purpose, number, call.client)
    headers = {"Content-Disposition": f'attachment; filename="quarantine-{number}.bin"'}
    return Response(body, headers=headers, media_type="application/octet-stream")


async def replay(call: Call) -> Answer:
    """Put a group's originals on the road again, once per Idempotency-Key."""
    require(call.actor, "quarantine", "administrator", "engineer")
    asked: ReplayRequest = call.body
    key = call.request.headers.get("idempotency-key", "")
    if len(asked.reason.strip()) < 3:
        raise UsageError(place="reason", found="no reason", expected="why it is right to try again")
    if not 0 < len(key) <= 200:
        raise UsageError(
            place="Idempotency-Key",
            found=f"{len(key)} characters",
            expected="1 to 200",
            next_step="Send a random key; sending the same one again does nothing twice.",
        )
    done = await call.services.run(
        call.services.replayer.replay, call.path("group"), call.actor, reason=asked.reason, key=key
    )
    return Answer(done, 202)


async def dataset_columns(call: Call) -> DatasetRow:
    """Show one dataset's columns; no row."""
    require(call.actor, "datasets", *READERS)
    name = call.path("name")
    rows = await call.services.run(call.services.road.datasets)
    for row in rows:
        if row.name == name:
            return row
    raise NotFoundError(
        place="datasets",
        found=f"'{name}'",
        expected="a dataset of this fabric",
        next_step=nearest(name, (row.name for row in rows)).capitalize(),
    )


OPERATIONS = (
    Operation("GET", "/api/v1/datasets", "listDatasets", "List datasets", "data", datasets, {200: Datasets}),
    Operation(
        "GET",
        "/api/v1/datasets/{name}/columns",
        "getDatasetColumns",
        "Show a dataset's columns",
        "data",
        dataset_columns,
        {200: DatasetRow},
    ),
    Operation(
        "GET",
        "/api/v1/datasets/{name}",
        "readDataset",
        "Read rows of a dataset",
        "data",
        dataset,
        {200: Rows, 304: None},
        media=tuple(FORMATS[kind] for kind in TAIL),
        reads_data=True,
        free_query=True,
        params=(
            Param(
                "filter",
                "string",
                "column:operator:value, repeated; operators: "
                f"{', '.join([*OPERATORS, *BARE])}. `column=value` is short for equality.",
                repeated=True,
            ),
            Param("columns", "string", "Columns to give, parted by commas; all by default.", ""),
            Param("after", "string", "`next` of the page before (header Weftline-Next).", ""),
            Param("format", "string", "json, csv, parquet or arrow; a suffix of the name does the same.", "json"),
            page(1000, 1_000_000),
        ),
    ),
    Operation(
        "POST",
        "/api/v1/query",
        "query",
        "Run one SELECT",
        "data",
        query,
        {200: Rows},
        request=QueryRequest,
        media=tuple(FORMATS[kind] for kind in TAIL),
        reads_data=True,
    ),
    Operation(
        "GET",
        "/api/v1/quarantine",
        "listQuarantine",
        "List quarantine groups",
        "quarantine",
        groups,
        {200: Groups},
        reads_data=True,
        params=(Param("feed", "string", "Only records of this feed.", ""), page(1000, 1000)),
    ),
    Operation(
        "GET",
        "/api/v1/quarantine/records/{id:int}",
        "getQuarantineRecord",
        "Show a quarantined record",
        "quarantine",
        record,
        {200: QuarantineRecord},
        reads_data=True,
    ),
    Operation(
        "GET",
        "/api/v1/quarantine/records/{id:int}/original",
        "getQuarantineOriginal",
        "Give a quarantined record's bytes",
        "quarantine",
        original,
        {200: None},
        media=("application/octet-stream",),
        reads_data=True,
    ),
    Operation(
        "POST",
        "/api/v1/quarantine/{group:path}/replay",
        "replayQuarantine",
        "Replay a quarantine group",
        "quarantine",
        replay,
        {202: ReplayView},
        request=ReplayRequest,
    ),
    Operation(
        "GET",
        "/api/v1/quarantine/{group:path}",
        "getQuarantineGroup",
        "Show a quarantine group",
        "quarantine",
        group,
        {200: Records},
        reads_data=True,
        params=(
            Param("after", "integer", "`next` of the page before.", 0, minimum=0),
            Param("originals", "boolean", "Give the originals too.", False),
            page(100, 1000),
        ),
    ),
)
