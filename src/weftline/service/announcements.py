"""Announcements to live pages: published from any thread, gathered ten times a second, fanned out on the event loop.

Events of one topic within one tick are merged, so a fast road costs a page no more than a slow one. Each client has a
bounded queue; when it overflows the oldest go and the client is told of the gap. A position `<commit_seq>.<n>` resumes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from weftline.clock import Clock
from weftline.service.views import Event

__all__ = ["Hub", "Listening", "Place", "Sent", "place_of"]

TICK = 0.1
CHECK_EVERY = 5.0
"""Seconds after which the tower is announced even without a commit: silence changes states too."""
RING = 4096
QUEUE = 256
FEEDS_NAMED = 200


class Place(NamedTuple):
    """Position of an announcement: the newest commit_seq it may show, and its number among those."""

    seq: int
    number: int


class Sent(NamedTuple):
    """One announcement as it goes out; encoded once for all clients."""

    place: Place
    topic: str
    data: bytes


def place_of(text: str) -> Place | None:
    """Read a position, or a bare commit_seq; None for anything else."""
    seq, point, number = text.partition(".")
    if not (seq.isascii() and seq.isdigit() and len(seq) < 19):
        return None
    if not point:
        return Place(int(seq), 1 << 62)
    return Place(int(seq), int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None


class Listening:
    """One client's queue. Owned by the event loop."""

    def __init__(self, topics: Iterable[str], leave: Callable[[Listening], None], size: int) -> None:
        self.topics = frozenset(topics)
        self._leave = leave
        self._queue: deque[Sent] = deque()
        self._size = size
        self._ready = asyncio.Event()
        self.dropped = 0
        """Announcements this client missed since it was last told."""
        self.closed = False

    def put(self, sent: Sent) -> None:
        """Queue one announcement; the oldest goes when the queue is full."""
        if len(self._queue) >= self._size:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(sent)
        self._ready.set()

    def gap(self) -> None:
        """Note that something was missed, one cannot say how much."""
        self.dropped += 1
        self._ready.set()

    async def take(self, wait: float) -> tuple[int, list[Sent]]:
        """Return what was missed and what is queued, after at most `wait` seconds."""
        if not self._queue and not self.dropped and not self.closed:
            try:
                async with asyncio.timeout(wait):
                    await self._ready.wait()
            except TimeoutError:
                return 0, []
        self._ready.clear()
        dropped, self.dropped = self.dropped, 0
        queued = list(self._queue)
        self._queue.clear()
        return dropped, queued

    def end(self) -> None:
        """Let the client go."""
        self.closed = True
        self._ready.set()

    def close(self) -> None:
        """Leave the hub."""
        self._leave(self)


class Hub:
    """Gather announcements and hand them out. `publish` may be called from any thread, the rest on the event loop."""

    def __init__(self, clock: Clock, commit_seq: Callable[[], int]) -> None:
        self._clock = clock
        self._commit_seq = commit_seq
        self._pending: deque[Event] = deque(maxlen=100_000)  # append and popleft are atomic; bounded if nobody gathers
        self._ring: deque[Sent] = deque(maxlen=RING)
        self._last = Place(commit_seq(), 0)
        self._clients: set[Listening] = set()
        self._ended = False

    @property
    def clients(self) -> int:
        """Return how many listen."""
        return len(self._clients)

    def publish(self, event: Event) -> None:
        """Announce; it goes out with the next tick."""
        self._pending.append(event)

    async def run(self) -> None:
        """Gather until cancelled. Deadlines are fixed on the steady clock, so ticks do not drift."""
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        checked = deadline
        while True:
            deadline += TICK
            now = loop.time()
            if deadline < now - 1.0:
                deadline = now  # the machine slept: do not run after lost ticks
            await asyncio.sleep(max(0.0, deadline - now))
            if loop.time() - checked >= CHECK_EVERY:
                checked = loop.time()
                self.publish(Event(topic="tower", kind="checked", seq=0, data={}))
            self.gather()

    def gather(self) -> None:
        """Merge what was published since the last tick and queue it for every client that asked for it."""
        merged: dict[str, Event] = {}
        while self._pending:
            event = self._pending.popleft()
            known = merged.get(event.topic)
            merged[event.topic] = event if known is None else _merge(known, event)
        commit = merged.get("feeds")
        if commit is not None:
            for topic in ("ledger", "tower"):
                merged.setdefault(topic, Event(topic=topic, kind="commit", seq=commit.seq, data={}))
        for event in merged.values():
            self._send(event)

    def _send(self, event: Event) -> None:
        seq = max(self._last.seq, event.seq)
        self._last = Place(seq, self._last.number + 1 if seq == self._last.seq else 1)
        body = {"topic": event.topic, "kind": event.kind, "seq": event.seq, "time": self._clock.now(), **event.data}
        sent = Sent(self._last, event.topic, msgspec.json.encode(body))
        self._ring.append(sent)
        for client in self._clients:
            if event.topic in client.topics:
                client.put(sent)

    def listen(self, topics: Iterable[str], after: Place | None = None, *, queue: int = QUEUE) -> Listening:
        """Add a client; with `after`, what it missed is queued, or a gap where that is no longer known."""
        client = Listening(topics, self._clients.discard, queue)
        if after is not None and after < self._last:
            # What lies before the ring is known only if the ring reaches back to the client's position.
            reaches = bool(self._ring) and self._ring[0].place <= after
            if not reaches:
                client.gap()
            for sent in self._ring:
                if sent.place > after and sent.topic in client.topics:
                    client.put(sent)
        if self._ended:
            client.end()
        self._clients.add(client)
        return client

    def end(self) -> None:
        """Let every client go, at shutdown."""
        self._ended = True
        for client in self._clients:
            client.end()


def _merge(older: Event, newer: Event) -> Event:
    names = [*older.data.get("feeds", ()), *newer.data.get("feeds", ())]
    data = {**older.data, **newer.data}
    if names:
        unique = list(dict.fromkeys(names))
        more = bool(older.data.get("more") or newer.data.get("more") or len(unique) > FEEDS_NAMED)
        data |= {"feeds": unique[:FEEDS_NAMED], "more": more}
    return Event(topic=newer.topic, kind=newer.kind, seq=max(older.seq, newer.seq), data=data)
