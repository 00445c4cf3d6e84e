"""Frames → decoded batches, one call per route; what no codec can read is set aside with its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from weftline.batch import Decoded, Frame, FrameFlag
from weftline.codecs.base import Limits
from weftline.ingest.feeds import FeedBook, Route

__all__ = ["Parked", "RoutedBatch", "Sorted", "decode", "sort_frames", "split"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parked:
    """A frame that cannot be processed now: it is copied to quarantine whole, so the lane can go on."""

    frame: Frame
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoutedBatch:
    """The decoded rows of one route with the frames they came from."""

    route: Route
    frames: Sequence[Frame]
    decoded: Decoded
    frame_index: pa.Array
    """int64 per row: index into `frames`."""
    history: bool


@dataclass(slots=True)
class Sorted:
    """Frames of a group by what happens to them."""

    routes: dict[tuple[int, bool], tuple[Route, list[Frame]]] = field(default_factory=dict)
    duplicates: list[Frame] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)


def sort_frames(frames: Sequence[Frame], book: FeedBook) -> Sorted:
    """Give each frame to its feed's route; duplicates and frames without a route are set apart."""
    result = Sorted()
    routes, book_routes = result.routes, book.routes
    for frame in frames:
        flags = frame.flags  # `&` of an IntFlag costs a microsecond, so no frame without flags meets it
        if flags and flags & FrameFlag.DUPLICATE:
            result.duplicates.append(frame)
            continue
        if flags and flags & FrameFlag.HELD:
            reason = json.loads(frame.attributes).get("held", "") if frame.attributes else ""
            result.parked.append(Parked(frame, "batch-held", str(reason)))
            continue
        route = book_routes.get(frame.feed)
        if route is None:
            known = frame.feed in book.specs
            reason = "the feed has no contract in force" if known else "no feed with this id is in force"
            result.parked.append(Parked(frame, "contract-missing" if known else "feed-missing", reason))
            continue
        key = (id(route), bool(flags and flags & FrameFlag.HISTORY))
        held = routes.get(key)
        if held is None:
            routes[key] = (route, [frame])
        else:
            held[1].append(frame)
    return result


def decode(
    route: Route, frames: Sequence[Frame], *, history: bool, limits: Limits, parked: list[Parked]
) -> Iterator[RoutedBatch]:
    """Decode the frames of one route.

    A codec that raises has broken its promise: the frames are tried feed by feed, then alone, and the culprits are
    parked, so that a broken codec costs nobody else a record.
    """
    try:
        decoded = route.codec.decode(frames, route.options, route.expected, limits)
        batch = RoutedBatch(route, frames, *_with_captures(frames, decoded), history)
    except Exception as error:  # noqa: BLE001 - isolates whatever a codec does to the frames that cause it
        if len(frames) == 1:
            log.error("codec raised", codec=route.codec.name, feed=frames[0].feed, error=repr(error))
            reason = f"codec '{route.codec.name}' failed: {type(error).__name__}: {str(error)[:200]}"
            parked.append(Parked(frames[0], "decode-failed", reason))
            return
        for part in split(frames):
            yield from decode(route, part, history=history, limits=limits, parked=parked)
        return
    yield batch


def split(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the frames feed by feed, or those of one feed in two halves."""
    feeds: dict[int, list[Frame]] = {}
    for frame in frames:
        feeds.setdefault(frame.feed, []).append(frame)
    if len(feeds) > 1:
        return list(feeds.values())
    middle = len(frames) // 2
    return [list(frames[:middle]), list(frames[middle:])]


def _with_captures(frames: Sequence[Frame], decoded: Decoded) -> tuple[Decoded, pa.Array]:
    """Add what the transport said (topic captures) as source fields; it wins over payload fields of the same name."""
    rows = decoded.frame
    if len(frames) == 1:
        index = pa.nulls(len(rows), pa.int64()).fill_null(0)
    elif len(frames) == len(rows):
        index = pa.arange(0, len(frames))
        offsets = pa.array([frame.offset for frame in frames], pa.uint64())
        if not rows.equals(offsets):
            index = pc.index_in(rows, value_set=offsets).cast(pa.int64())
    else:
        offsets = pa.array([frame.offset for frame in frames], pa.uint64())
        index = pc.index_in(rows, value_set=offsets).cast(pa.int64())
    if not any(frame.attributes for frame in frames):
        return decoded, index
    per_frame = pa.array([frame.attributes for frame in frames], pa.binary()).dictionary_encode()
    said = [json.loads(value).get("captures", {}) if value else {} for value in per_frame.dictionary.to_pylist()]
    names = sorted({name for captures in said for name in captures})
    if not names:
        return decoded, index
    which = per_frame.indices.take(index)
    fields = decoded.fields
    for name in names:
        column = pa.array([_text(captures.get(name)) for captures in said], pa.string()).take(which)
        place = fields.schema.get_field_index(name)
        if place >= 0:
            fields = fields.append_column(f"payload.{name}", fields.column(place))
            fields = fields.set_column(place, name, column)
        else:
            fields = fields.append_column(name, column)
    return replace(decoded, fields=fields), index


def _text(value: object) -> str | None:
    return None if value is None else str(value)
