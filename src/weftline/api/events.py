"""`/events`: one stream of server-sent events per browser, resumed by commit_seq, with gaps marked.

Every stream passes the one door. What goes out is that something changed and where, never a record's content; the page
asks for the content itself. At each heartbeat the sender is identified again, so signing out ends the stream.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse

from weftline.api.operations import Call
from weftline.api.security import Security
from weftline.errors import NotFoundError, StoreBusyError, UsageError, WeftlineError, nearest
from weftline.service.announcements import Listening, Place, Sent, place_of
from weftline.service.reading import Subscription

__all__ = ["TOPICS", "events"]

TOPICS = ("feeds", "tower", "ledger")
TOPICS_AT_MOST = 100


class StreamsFullError(StoreBusyError):
    """Say that no further stream is taken."""

    code = "streams-full"


async def events(call: Call) -> StreamingResponse:
    """Stream what changes: `topics` names feeds, tower, ledger or feed:NAME, parted by commas."""
    topics = _topics(call)
    services = call.services
    if services.hub.clients >= services.limits.stream_clients:
        raise StreamsFullError(
            place="/events",
            found=f"{services.hub.clients} streams",
            expected=f"fewer than {services.limits.stream_clients}",
            next_step="Try again later.",
        )
    subscription = await services.run(services.door.subscribe, call.actor, call.purpose, topics, call.client)
    listening = services.hub.listen(topics, _after(call))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Weftline-Decision": subscription.decision}
    return StreamingResponse(_stream(call, listening, subscription), headers=headers, media_type="text/event-stream")


def _topics(call: Call) -> list[str]:
    asked = [part for part in call.query["topics"].split(",") if part]
    if not 1 <= len(asked) <= TOPICS_AT_MOST:
        raise UsageError(place="topics", found=f"{len(asked)} topics", expected=f"1 to {TOPICS_AT_MOST}")
    for topic in asked:
        if topic not in TOPICS and not (topic.startswith("feed:") and len(topic) > 5):
            raise NotFoundError(
                place="topics",
                found=f"'{topic[:80]}'",
                expected="feeds, tower, ledger or feed:NAME",
                next_step=nearest(topic, TOPICS).capitalize(),
            )
    return asked


def _after(call: Call) -> Place | None:
    text = call.request.headers.get("last-event-id") or call.query["after"]
    if not text:
        return None
    place = place_of(text)
    if place is None:
        raise UsageError(place="Last-Event-ID", found=f"'{text[:60]}'", expected="the id of an event, or a commit_seq")
    return place


async def _stream(call: Call, listening: Listening, subscription: Subscription) -> AsyncIterator[bytes]:
    heartbeat = call.services.limits.heartbeat
    due = time.monotonic() + heartbeat
    try:
        yield b"retry: 2000\n\n" + _beat(call)
        while not listening.closed:
            dropped, queued = await listening.take(max(0.0, due - time.monotonic()))
            if dropped:
                yield b"event: gap\ndata: " + msgspec.json.encode({"topic": "gap", "dropped": dropped}) + b"\n\n"
            if queued:
                yield b"".join(_event(sent) for sent in queued)
            if time.monotonic() >= due:
                if not await _still(call):
                    return
                # Deadlines stand on the steady clock, so heartbeats do not drift.
                due += heartbeat * max(1, int((time.monotonic() - due) // heartbeat) + 1)
                yield _beat(call)
    finally:
        listening.close()
        subscription.close()


def _event(sent: Sent) -> bytes:
    name = sent.topic.partition(":")[0]
    return f"id: {sent.place.seq}.{sent.place.number}\nevent: {name}\ndata: ".encode() + sent.data + b"\n\n"


def _beat(call: Call) -> bytes:
    body = {"topic": "beat", "time": call.services.clock.now(), "commit_seq": call.services.road.commit_seq()}
    return b"event: beat\ndata: " + msgspec.json.encode(body) + b"\n\n"


async def _still(call: Call) -> bool:
    """Tell whether the sender is still who it was when the stream began."""
    signed = call.identity.signed
    if signed is not None:
        return await call.services.run(call.services.people.alive, signed)
    scope = call.request.scope
    security: Security = call.request.app.state.security
    try:
        found = await security.identify(scope, Headers(scope=scope))
    except WeftlineError:
        return False
    return found.actor == call.actor
