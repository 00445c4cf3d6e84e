"""Messages → drafts: which feed takes a message, and which message we have already.

Identity (DESIGN §3): session, packet identifier, payload digest, against frames the broker may not have seen
acknowledged. A redelivery carries DUP (MQTT 5.0 §3.3.1.1); without DUP the identifier belongs to a new message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from weftline.batch import Draft, FrameFlag
from weftline.model.feed import FeedSpec
from weftline.protocols.mqtt.stream import Message
from weftline.protocols.mqtt.topics import PatternTable, TopicPattern

__all__ = ["Intake", "session_tag"]

_TOPICS_KEPT = 200_000
_TAG_BYTES = 8


def session_tag(host: str, port: int, client_id: str) -> bytes:
    """Return the eight bytes that name a session in identities."""
    return blake2b(f"{host}:{port}/{client_id}".encode(), digest_size=_TAG_BYTES).digest()


class Intake:
    """Turn the messages of one session into drafts. Belongs to the event loop's thread."""

    def __init__(self, feeds: Sequence[FeedSpec], tag: bytes) -> None:
        self.table = PatternTable({feed.name: TopicPattern.parse(feed.selector.topic) for feed in feeds})
        self._ids = {feed.name: feed.id for feed in feeds}
        self._topics: dict[bytes, tuple[int, bytes] | None] = {}
        self._tag = tag
        self._open: dict[int, bytes] = {}
        self.unmatched = 0
        """Messages no feed's pattern took (acknowledged and counted here only)."""

    def recall(self, identities: Iterable[bytes]) -> None:
        """Rebuild the window of this session from the lane, oldest first, so that a kill -9 forgets nothing."""
        for identity in identities:
            if identity[:_TAG_BYTES] == self._tag:
                self._open[int.from_bytes(identity[_TAG_BYTES : _TAG_BYTES + 2], "big")] = identity

    def confirmed(self, packet_ids: Iterable[int]) -> None:
        """Forget what the broker has certainly seen acknowledged."""
        for packet_id in packet_ids:
            self._open.pop(packet_id, None)

    def forget(self) -> None:
        """Forget every open identity: the broker lost the session, so its identifiers begin anew."""
        self._open.clear()

    def drafts(self, messages: Sequence[Message], received: int) -> tuple[list[Draft], list[int]]:
        """Return the drafts of these messages and the packet identifiers to acknowledge, both in order of receipt."""
        drafts: list[Draft] = []
        packet_ids: list[int] = []
        topics, window, tag, make = self._topics, self._open, self._tag, tuple.__new__
        for topic, payload, qos, packet_id, dup, _retain, _properties in messages:
            try:
                place = topics[topic]
            except KeyError:
                place = self._place(topic)
            if qos:
                packet_ids.append(packet_id)
            if place is None:
                self.unmatched += 1
                continue
            feed, attributes = place
            identity, flags = b"", 0
            if qos:
                digest = blake2b(payload, digest_size=16, key=topic[:64]).digest()
                identity = tag + packet_id.to_bytes(2, "big") + digest
                if dup and window.get(packet_id) == identity:
                    flags, payload, attributes = FrameFlag.DUPLICATE, b"", b""  # noqa: PLW2901 - the bytes are held already
                window[packet_id] = identity
            drafts.append(make(Draft, (feed, identity, payload, attributes, received, flags, -1)))
        return drafts, packet_ids

    def _place(self, topic: bytes) -> tuple[int, bytes] | None:
        """Find the feed of a topic and what the topic says, once per topic."""
        text = topic.decode()
        found = self.table.match(text)
        place = None
        if found is not None:
            owner, captures = found
            attributes = json.dumps({"captures": {"topic": text, **captures}}, ensure_ascii=False).encode()
            place = (self._ids[owner], attributes)
        if len(self._topics) >= _TOPICS_KEPT:
            self._topics.clear()
        self._topics[topic] = place
        return place
