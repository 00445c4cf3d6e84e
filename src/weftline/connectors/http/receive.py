"""One push: checked, made durable, answered with a receipt. The API's route calls this and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from weftline.batch import Draft, FrameFlag
from weftline.connectors.base import Road
from weftline.connectors.http.content import BodyBrokenError, check_headers, expand
from weftline.connectors.http.options import HttpOptions
from weftline.connectors.http.recent import PushIdentity, RecentPushes, receipt_id
from weftline.errors import AdmissionError, ConflictError, UsageError
from weftline.model.feed import FeedSpec

__all__ = ["Receipt", "receive"]

LOOP_BYTES = 64 << 10
"""Bodies above this are expanded and hashed in a thread, so that the event loop is never held for a millisecond."""
KEY_LIMIT = 255


class IdempotencyKeyError(UsageError):
    """Say what an Idempotency-Key may be."""

    code = "http-idempotency-key"


class IdempotencyConflictError(ConflictError):
    """Say that the key was used for another body."""

    code = "http-idempotency-conflict"


class RoadHeldError(AdmissionError):
    """Say why pushes are not taken now; nothing was kept."""

    code = "http-held"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender may rely on: the body is durable. `id` leads to its outcome, record by record."""

    id: str
    feed: str
    received: int
    """Microseconds UTC when this answer's push arrived."""
    payload_bytes: int
    repeated: bool = False
    """The same push was received before and this is its receipt; nothing was stored twice."""


class _Push(NamedTuple):
    body: bytes
    encoding: str
    key_id: str
    key: str | None


async def receive(
    feed: FeedSpec,
    headers: Mapping[str, str],
    body: bytes,
    *,
    key_id: str,
    road: Road,
    recent: RecentPushes,
    options: HttpOptions,
) -> Receipt:
    """Take a push onto the road and return once it is durable.

    `headers` has lower-case names. Raises InputError (400, 406, 409, 413, 415) or TransientError (503): then nothing
    was kept. Runs on the event loop; `recent` is shared by all pushes of a connection.
    """
    kind, encoding = check_headers(feed, headers)
    key = _idempotency_key(feed, headers)
    held = road.held()
    if held:
        raise RoadHeldError(
            place=f"feed {feed.name}",
            found=held,
            expected="room on the road",
            next_step="Send it again later, with the same Idempotency-Key.",
        )
    push = _Push(body, encoding, key_id, key)
    if len(body) > LOOP_BYTES:
        content, identity = await asyncio.to_thread(_prepare, push, feed, options)
    else:
        content, identity = _prepare(push, feed, options)
    received, moment = road.clock.now(), recent.moment(road.clock)
    connection = feed.connection
    if key is not None:
        known = recent.find(feed.id, identity, moment)
        if known is not None:
            if known[0] != identity.content:
                raise IdempotencyConflictError(
                    place=f"feed {feed.name}",
                    found=f"the Idempotency-Key '{key}' with another body than before",
                    expected="the same body, or a new key",
                )
            first = await asyncio.wrap_future(known[2])
            attributes = json.dumps({"of": first}).encode()
            repeat = Draft(feed.id, identity.pack(), b"", attributes, received, FrameFlag.DUPLICATE)
            await asyncio.wrap_future(road.append(connection, [repeat]))
            return Receipt(receipt_id(known[1], first), feed.name, received, len(content), repeated=True)
    attributes = json.dumps({"content_type": kind}).encode()
    lane = road.lane(connection)
    offset = road.append(connection, [Draft(feed.id, identity.pack(), content, attributes, received)])
    if key is not None:
        recent.add(feed.id, identity, moment, lane, offset)
    try:
        first = await asyncio.wrap_future(offset)
    except Exception:
        recent.forget(feed.id, identity, offset)
        raise
    return Receipt(receipt_id(lane, first), feed.name, received, len(content))


def _prepare(push: _Push, feed: FeedSpec, options: HttpOptions) -> tuple[bytes, PushIdentity]:
    content = expand(feed, push.body, push.encoding, options)
    if not content:
        raise BodyBrokenError(place=f"feed {feed.name}", found="an empty body", expected="at least one record")
    return content, PushIdentity.of(push.key_id, push.key, content)


def _idempotency_key(feed: FeedSpec, headers: Mapping[str, str]) -> str | None:
    key = headers.get("idempotency-key")
    if key is not None and (not key.strip() or len(key) > KEY_LIMIT or not key.isprintable()):
        raise IdempotencyKeyError(
            place=f"feed {feed.name}, Idempotency-Key",
            found=f"{len(key)} characters, some of them not printable" if key.strip() else "an empty key",
            expected=f"1 to {KEY_LIMIT} printable characters",
        )
    return key
