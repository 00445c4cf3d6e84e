"""Which pushes were received lately: how the same push is known again, also after a restart."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from weftline.clock import Clock
from weftline.connectors.base import LaneId

__all__ = ["KnownPush", "PushIdentity", "RecentPushes", "receipt_id"]


class PushIdentity(NamedTuple):
    """Identity of a push (DESIGN §3): who, under which idempotency key, what. Its bytes are the frame's identity."""

    sender: bytes
    """16 bytes: BLAKE2b of the API key's id."""
    key: bytes
    """16 bytes: BLAKE2b of the Idempotency-Key, or random where there is none."""
    content: bytes
    """32 bytes: SHA-256 of the body."""

    @classmethod
    def of(cls, key_id: str, idempotency_key: str | None, body: bytes) -> PushIdentity:
        """Compute the identity of one push."""
        key = os.urandom(16) if idempotency_key is None else _short(idempotency_key)
        return cls(_short(key_id), key, hashlib.sha256(body).digest())

    @classmethod
    def parse(cls, identity: bytes) -> PushIdentity | None:
        """Read a frame's identity; None where another connector made it."""
        return cls(identity[:16], identity[16:32], identity[32:]) if len(identity) == 64 else None

    def pack(self) -> bytes:
        """Return the 64 bytes a frame carries."""
        return self.sender + self.key + self.content


class KnownPush(NamedTuple):
    """A push received before, as the lane or the lake's receipts tell it."""

    feed: int
    identity: bytes
    received: int
    lane: LaneId
    offset: int


class _Entry(NamedTuple):
    content: bytes
    received: int
    lane: LaneId
    offset: Future[int]


def receipt_id(lane: LaneId, offset: int) -> str:
    """Return the id of a receipt: `<lane>-<epoch>-<offset>`."""
    return f"{lane.name}-{lane.epoch}-{offset}"


class RecentPushes:
    """Remember pushes by (feed, sender, idempotency key). Owned by the event loop's thread."""

    def __init__(self, *, most: int, microseconds: int) -> None:
        self._most, self._microseconds = most, microseconds
        self._entries: OrderedDict[tuple[int, bytes, bytes], _Entry] = OrderedDict()
        self._anchor: int | None = None

    def moment(self, clock: Clock) -> int:
        """Return the wall time of the first call plus the steady time since: a clock that jumps forgets no push."""
        steady = int(clock.steady() * 1_000_000)
        if self._anchor is None:
            self._anchor = clock.now() - steady
        return self._anchor + steady

    def __len__(self) -> int:
        return len(self._entries)

    def rebuild(self, known: Iterable[KnownPush], now: int) -> None:
        """Take in what the lane and the lake's receipts hold; the first receipt of an identity is kept."""
        found = sorted(known, key=lambda push: push.received)
        for push in found:
            identity = PushIdentity.parse(push.identity)
            if identity is None or now - push.received > self._microseconds:
                continue
            offset: Future[int] = Future()
            offset.set_result(push.offset)
            place = (push.feed, identity.sender, identity.key)
            self._entries.setdefault(place, _Entry(identity.content, push.received, push.lane, offset))
        self._trim(now)

    def find(self, feed: int, identity: PushIdentity, now: int) -> tuple[bytes, LaneId, Future[int]] | None:
        """Return content hash, lane and offset of an earlier push under this key, or None."""
        entry = self._entries.get((feed, identity.sender, identity.key))
        if entry is None or now - entry.received > self._microseconds:
            return None
        return entry.content, entry.lane, entry.offset

    def add(self, feed: int, identity: PushIdentity, received: int, lane: LaneId, offset: Future[int]) -> None:
        """Remember a push that is on its way to the disk."""
        place = (feed, identity.sender, identity.key)
        self._entries[place] = _Entry(identity.content, received, lane, offset)
        self._entries.move_to_end(place)
        self._trim(received)

    def forget(self, feed: int, identity: PushIdentity, offset: Future[int]) -> None:
        """Forget a push that did not become durable: the same key may be sent again."""
        place = (feed, identity.sender, identity.key)
        entry = self._entries.get(place)
        if entry is not None and entry.offset is offset:
            del self._entries[place]

    def _trim(self, now: int) -> None:
        while self._entries:
            place, oldest = next(iter(self._entries.items()))
            if len(self._entries) <= self._most and now - oldest.received <= self._microseconds:
                return
            del self._entries[place]


def _short(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
