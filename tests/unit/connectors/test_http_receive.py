"""HTTP push: what is taken, what is refused and with which status, and how the same push is known again."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import pytest

from weftline.batch import FrameFlag
from weftline.codecs.json_codec import NdjsonCodec
from weftline.connectors.base import LaneId
from weftline.connectors.http.options import HttpOptions, HttpSelector
from weftline.connectors.http.receive import Receipt, receive
from weftline.connectors.http.recent import KnownPush, PushIdentity, RecentPushes, receipt_id
from weftline.connectors.http.source import HttpConnector, HttpSource
from weftline.errors import AdmissionError, WeftlineError
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.testing.road_double import RoadDouble

BODY = b'{"n":1}\n{"n":2}\n'
NDJSON = {"content-type": "application/x-ndjson"}
HOUR = 3_600_000_000


def feed(codec: str = "ndjson", types: tuple[str, ...] = (), number: int = 1) -> FeedSpec:
    return FeedSpec(
        name=f"push-{number}",
        connection="api",
        kind="http",
        selector=HttpSelector(content_types=types),
        codec=codec,
        codec_options=NdjsonCodec.options(),
        contract="push",
        version="1.0.0",
        id=number,
    )


class Sender:
    """What pushes of one connection share, with short calls."""

    def __init__(self, **options: object) -> None:
        self.road = RoadDouble()
        self.recent = RecentPushes(most=1000, microseconds=24 * HOUR)
        self.options = HttpOptions(**options)  # type: ignore[arg-type]

    async def push(
        self, body: bytes = BODY, key: str | None = None, spec: FeedSpec | None = None, who: str = "a", **headers: str
    ) -> Receipt:
        given = {**NDJSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if key is not None:
            given["idempotency-key"] = key
        return await receive(
            spec or feed(), given, body, key_id=who, road=self.road, recent=self.recent, options=self.options
        )


async def test_a_push_is_one_frame_with_a_receipt() -> None:
    sender = Sender()
    receipt = await sender.push()
    (frame,) = sender.road.appended()
    assert (frame.feed, frame.payload, len(frame.identity)) == (1, BODY, 64)
    assert json.loads(frame.attributes) == {"content_type": "application/x-ndjson"}
    assert (receipt.id, receipt.feed, receipt.payload_bytes, receipt.repeated) == ("push-1-0", "push-1", 16, False)


async def test_the_same_key_and_body_give_the_same_receipt_and_a_counted_duplicate() -> None:
    sender = Sender()
    first = await sender.push(key="k1")
    again = await sender.push(key="k1")
    assert (again.id, again.repeated) == (first.id, True)
    one, two = sender.road.appended()
    assert two.identity == one.identity
    assert (two.flags, two.payload, json.loads(two.attributes)) == (FrameFlag.DUPLICATE, b"", {"of": 0})


async def test_the_same_key_with_another_body_is_a_conflict() -> None:
    sender = Sender()
    await sender.push(key="k1")
    with pytest.raises(WeftlineError, match="another body") as refused:
        await sender.push(b'{"n":3}', key="k1")
    assert (refused.value.code, refused.value.status) == ("http-idempotency-conflict", 409)
    assert len(sender.road.appended()) == 1


async def test_a_key_belongs_to_its_sender_and_feed() -> None:
    sender = Sender()
    receipts = [
        await sender.push(key="k1"),
        await sender.push(key="k1", who="b"),
        await sender.push(key="k1", spec=feed(number=2)),
    ]
    assert not any(receipt.repeated for receipt in receipts)
    assert len({receipt.id for receipt in receipts}) == 3


async def test_pushes_without_a_key_are_two_records_even_if_equal() -> None:
    sender = Sender()
    await sender.push()
    await sender.push()
    one, two = sender.road.appended()
    assert one.identity != two.identity


async def test_two_at_once_under_one_key_are_one() -> None:
    sender = Sender()
    sender.road.stall()
    both = [asyncio.create_task(sender.push(key="k1")) for _ in range(2)]
    await sender.road.until(lambda: sender.road.pending() > 0)
    await asyncio.sleep(0)
    sender.road.go()
    receipts = [await task for task in both]
    assert receipts[0].id == receipts[1].id
    assert sorted(receipt.repeated for receipt in receipts) == [False, True]


async def test_what_did_not_become_durable_may_be_sent_again_under_its_key() -> None:
    sender = Sender()
    sender.road.fail(AdmissionError(place="disk", found="full", expected="room"))
    with pytest.raises(AdmissionError):
        await sender.push(key="k1")
    receipt = await sender.push(key="k1")
    assert not receipt.repeated
    assert len(sender.recent) == 1


async def test_a_held_road_answers_503_and_keeps_nothing() -> None:
    sender = Sender()
    sender.road.hold("the disk is full")
    with pytest.raises(AdmissionError, match="the disk is full") as refused:
        await sender.push(key="k1")
    assert refused.value.status == 503
    assert not sender.road.appended()
    assert len(sender.recent) == 0


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        ({"content_type": "text/xml"}, BODY, 415, "application/x-ndjson or application/ndjson"),
        ({"content_type": ""}, BODY, 415, "no Content-Type"),
        ({"content_encoding": "br"}, BODY, 415, "identity or gzip"),
        ({"accept": "text/html"}, BODY, 406, "application/json"),
        ({}, b"", 400, "an empty body"),
        ({}, b"x" * 2001, 413, "2,001 bytes"),
        ({"content_encoding": "gzip"}, b"no gzip", 400, "no gzip"),
        ({"content_encoding": "gzip"}, gzip.compress(BODY, mtime=0)[:-3], 400, "ends too early"),
        ({"content_encoding": "gzip"}, gzip.compress(bytes(100_000)), 413, "expands to more"),
        ({"content_encoding": "gzip"}, gzip.compress(b"", mtime=0), 400, "an empty body"),
        ({"idempotency_key": ""}, BODY, 400, "an empty key"),
        ({"idempotency_key": "x" * 256}, BODY, 400, "256 characters"),
    ],
)
async def test_bad_pushes_are_refused_with_a_reason(
    headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    sender = Sender(max_body_bytes=2000, max_expanded_bytes=50_000)
    with pytest.raises(WeftlineError, match=said) as refused:
        await sender.push(body, **headers)
    assert refused.value.status == status
    assert not sender.road.appended()


@pytest.mark.parametrize(
    ("codec", "content_type"),
    [
        ("json", "application/json; charset=utf-8"),
        ("csv", "Text/CSV"),
        ("arrow", "application/vnd.apache.arrow.stream"),
    ],
)
async def test_the_content_type_must_be_one_of_the_codec(codec: str, content_type: str) -> None:
    sender = Sender()
    await sender.push(spec=feed(codec), content_type=content_type)
    assert len(sender.road.appended()) == 1


async def test_a_selector_may_add_content_types() -> None:
    sender = Sender()
    await sender.push(spec=feed("csv", ("text/plain",)), content_type="text/plain")
    assert len(sender.road.appended()) == 1


async def test_compressed_and_plain_bodies_are_the_same_content() -> None:
    sender = Sender()
    two_members = gzip.compress(BODY[:8], mtime=0) + gzip.compress(BODY[8:], mtime=0)
    await sender.push(two_members, key="k1", content_encoding="gzip")
    assert (await sender.push(BODY, key="k1")).repeated
    assert sender.road.appended()[0].payload == BODY


async def test_large_bodies_are_prepared_off_the_loop_and_whole() -> None:
    sender = Sender()
    body = b'{"n":1}\n' * 50_000
    await sender.push(zlib.compress(body, wbits=31) + b"", content_encoding="gzip")
    await sender.push(body)
    assert [frame.payload for frame in sender.road.appended()] == [body, body]


def test_recent_pushes_are_rebuilt_bounded_and_forgotten() -> None:
    lane = LaneId("push", 7)
    now = 100 * HOUR
    ids = [PushIdentity.of("a", f"k{number}", BODY) for number in range(5)]
    known = [KnownPush(1, one.pack(), now - number * HOUR, lane, number) for number, one in enumerate(ids)]
    known.append(KnownPush(1, ids[0].pack(), now + 1, lane, 99))
    known.append(KnownPush(1, b"of another connector", now, lane, 100))
    recent = RecentPushes(most=3, microseconds=3 * HOUR)
    recent.rebuild(known, now)
    assert len(recent) == 3
    found = recent.find(1, ids[0], now)
    assert found is not None
    assert (found[1], found[2].result()) == (lane, 0), "the first receipt counts"
    assert recent.find(1, ids[4], now) is None, "too old"
    assert recent.find(1, ids[0], now + 4 * HOUR) is None, "forgotten in time"
    assert receipt_id(lane, 12) == "push-7-12"


async def test_the_source_takes_pushes_only_while_it_runs() -> None:
    road = RoadDouble()
    source = HttpConnector().open(ConnectionSpec("api", "http", HttpOptions()), [feed()], road)
    assert isinstance(source, HttpSource)
    headers = {"Content-Type": "application/x-ndjson"}
    with pytest.raises(WeftlineError, match="stopping"):
        await source.receive("push-1", headers, BODY, key_id="a")
    task = asyncio.create_task(source.run())
    await road.until(lambda: bool(road.states()))
    assert (await source.receive("push-1", headers, BODY, key_id="a")).id == "push-1-0"
    with pytest.raises(WeftlineError, match="Did you mean 'push-1'") as refused:
        await source.receive("push-2", headers, BODY, key_id="a")
    assert refused.value.status == 404
    await source.stop()
    await task
    with pytest.raises(WeftlineError, match="stopping"):
        await source.receive("push-1", headers, BODY, key_id="a")


async def test_probe_and_check_name_codecs_that_cannot_be_pushed() -> None:
    spec = ConnectionSpec("api", "http", HttpOptions())
    findings = {one.subject: one for one in await HttpConnector().probe(spec, feed("strange"))}
    assert findings["content types"].verdict == "failed"
    assert [complaint.code for _, complaint in HttpConnector().check(spec, [feed("strange"), feed()])] == ["http-codec"]
