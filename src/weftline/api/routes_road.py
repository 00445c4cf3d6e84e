"""Routes of the road: pushes and their receipts, feeds, ledger, the control tower, incidents."""

from __future__ import annotations

import msgspec

from weftline.api.bodies import Feeds, IncidentChange, Incidents, Ledger
from weftline.api.operations import Answer, Call, Operation, Param, take_body
from weftline.incidents.book import Incident
from weftline.service.actor import ForbiddenError, require
from weftline.service.views import (
    FeedDetail,
    FeedRow,
    IncidentView,
    LedgerDetail,
    ReceiptView,
    Severity,
    Tower,
    ViolationView,
)

__all__ = ["OPERATIONS"]

READERS = ("administrator", "engineer", "buyer", "viewer")
PUSH_TYPES = (
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "text/plain",
)


async def push(call: Call) -> Answer:
    """Take records; 202 once durable, 200 with ?wait=commit once the lake holds their outcome."""
    feed, wait = call.path("feed"), call.query["wait"]
    if not call.actor.may_push(feed):
        raise ForbiddenError(
            place=f"feed {feed}",
            found=f"{call.actor.name}, who may not push to it",
            expected=f"a key with scope feed:{feed}",
            next_step=f"Make one with: weftline key create feed:{feed}",
        )
    body = await take_body(call.request, call.services.limits.push_bytes)
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    key = call.actor.credential or call.actor.id
    receipt = await call.services.push.receive(feed, headers, body, key)
    if wait == "commit":
        settled = await call.services.road.wait_for_commit(receipt.id, call.services.limits.wait_for_commit)
        receipt = msgspec.structs.replace(settled, repeated=receipt.repeated)
    status = 200 if receipt.state == "committed" and wait == "commit" else 202
    return Answer(receipt, status, {"Location": f"/api/v1/receipts/{receipt.id}"})


async def receipt(call: Call) -> ReceiptView:
    """Tell what became of a push; what was found in its records only to a key that pushes to the feed.

    Everybody else reads that in quarantine, through the one door.
    """
    found = await call.services.run(call.services.road.receipt, call.path("id"))
    if call.actor.feed_scope and call.actor.may_push(found.feed):
        return found
    require(call.actor, "receipts", *READERS)
    outcomes = [
        msgspec.structs.replace(
            outcome,
            violations=[
                ViolationView(rule=one.rule, field=one.field, found="", expected=one.expected)
                for one in outcome.violations
            ],
        )
        for outcome in found.outcomes
    ]
    return msgspec.structs.replace(found, outcomes=outcomes)


async def feeds(call: Call) -> Feeds:
    """List feeds, a page at a time."""
    require(call.actor, "feeds", *READERS)
    return await call.services.run(_feeds, call)


def _feeds(call: Call) -> Feeds:
    query = call.query
    text = query["q"].casefold()
    fitting = [
        row
        for row in call.services.road.feeds()
        if (not query["state"] or row.state == query["state"])
        and (not query["connection"] or row.connection == query["connection"])
        and (not text or text in f"{row.name} {row.partner} {row.site}".casefold())
    ]
    page: list[FeedRow] = [row for row in fitting if row.name > query["after"]][: query["limit"]]
    more = bool(page) and page[-1].name != fitting[-1].name
    return Feeds(feeds=page, total=len(fitting), next=page[-1].name if more else "")


async def feed(call: Call) -> FeedDetail:
    """Show one feed; its last records come from /api/v1/datasets."""
    require(call.actor, "feeds", *READERS)
    return await call.services.run(call.services.road.feed, call.path("feed"))


async def ledger(call: Call) -> Ledger:
    """Show the ledger per feed."""
    require(call.actor, "ledger", *READERS)
    rows = await call.services.run(call.services.road.ledger)
    return Ledger(ledger=list(rows), commit_seq=call.services.road.commit_seq())


async def ledger_of(call: Call) -> LedgerDetail:
    """Show one feed's ledger with its hours."""
    require(call.actor, "ledger", *READERS)
    return await call.services.run(call.services.road.ledger_of, call.path("feed"))


async def tower(call: Call) -> Tower:
    """Show what needs a person, and how many feeds are in which state."""
    require(call.actor, "tower", *READERS)
    return await call.services.run(call.services.road.tower)


def view_of(incident: Incident) -> IncidentView:
    """Return an incident as the API shows it."""
    severity: Severity = (
        "critical" if incident.severity == "critical" else "unknown" if incident.severity == "unknown" else "warning"
    )
    return IncidentView(
        id=incident.id,
        kind=incident.kind,
        subject=incident.subject,
        key=incident.key,
        opened=incident.opened,
        last_seen=incident.last_seen,
        closed=incident.closed,
        detail=incident.detail,
        owner=incident.owner,
        note=incident.note,
        severity=severity,
    )


async def incidents(call: Call) -> Incidents:
    """List incidents, newest first."""
    require(call.actor, "incidents", *READERS)
    limit = call.query["limit"]
    found = await call.services.run(
        call.services.incidents.list, open_only=call.query["open"], before=call.query["before"], limit=limit + 1
    )
    return Incidents(
        incidents=[view_of(one) for one in found[:limit]], next=found[limit - 1].id if len(found) > limit else 0
    )


async def incident(call: Call) -> IncidentView:
    """Show one incident."""
    require(call.actor, "incidents", *READERS)
    return view_of(await call.services.run(call.services.incidents.get, int(call.path("id"))))


async def change_incident(call: Call) -> IncidentView:
    """Set owner or note of an incident."""
    require(call.actor, "incidents", "administrator", "engineer", "buyer")
    change: IncidentChange = call.body
    done = await call.services.run(
        call.services.incidents.annotate, int(call.path("id")), owner=change.owner, note=change.note
    )
    return view_of(done)


def page(limit: int, most: int) -> Param:
    """Return the parameter that limits a list."""
    return Param("limit", "integer", "Most entries of one answer.", limit, minimum=1, maximum=most)


OPERATIONS = (
    Operation(
        "POST",
        "/api/v1/feeds/{feed:path}/records",
        "pushRecords",
        "Push records to a feed",
        "road",
        push,
        {202: ReceiptView, 200: ReceiptView},
        takes=PUSH_TYPES,
        params=(Param("wait", "string", "`commit` answers with each record's outcome, within five seconds.", ""),),
    ),
    Operation(
        "GET", "/api/v1/receipts/{id}", "getReceipt", "Tell what became of a push", "road", receipt, {200: ReceiptView}
    ),
    Operation(
        "GET",
        "/api/v1/feeds",
        "listFeeds",
        "List feeds and their states",
        "road",
        feeds,
        {200: Feeds},
        params=(
            Param("state", "string", "Only feeds in this state.", ""),
            Param("connection", "string", "Only feeds of this connection.", ""),
            Param("q", "string", "Only feeds whose name, partner or site holds this text.", ""),
            Param("after", "string", "`next` of the page before.", ""),
            page(1000, 10_000),
        ),
    ),
    Operation("GET", "/api/v1/feeds/{feed:path}", "getFeed", "Show one feed", "road", feed, {200: FeedDetail}),
    Operation("GET", "/api/v1/ledger", "getLedger", "Show the ledger per feed", "road", ledger, {200: Ledger}),
    Operation(
        "GET",
        "/api/v1/ledger/{feed:path}",
        "getFeedLedger",
        "Show one feed's ledger by hour",
        "road",
        ledger_of,
        {200: LedgerDetail},
    ),
    Operation("GET", "/api/v1/tower", "getTower", "Show what needs a person", "road", tower, {200: Tower}),
    Operation(
        "GET",
        "/api/v1/incidents",
        "listIncidents",
        "List incidents",
        "incidents",
        incidents,
        {200: Incidents},
        params=(
            Param("open", "boolean", "Only incidents that are open.", False),
            Param("before", "integer", "`next` of the page before.", None, minimum=1),
            page(200, 1000),
        ),
    ),
    Operation(
        "GET",
        "/api/v1/incidents/{id:int}",
        "getIncident",
        "Show one incident",
        "incidents",
        incident,
        {200: IncidentView},
    ),
    Operation(
        "PATCH",
        "/api/v1/incidents/{id:int}",
        "changeIncident",
        "Set owner or note of an incident",
        "incidents",
        change_incident,
        {200: IncidentView},
        request=IncidentChange,
    ),
)
