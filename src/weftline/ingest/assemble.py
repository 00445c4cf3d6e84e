"""Outcomes → one group: rows per dataset, quarantine with originals, ledger, receipts, set partials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from weftline.batch import TIMESTAMP, Frame, Undecodable
from weftline.errors import TerminalError
from weftline.ingest.decode import Parked, RoutedBatch
from weftline.ingest.feeds import FeedBook
from weftline.ingest.validate import Outcome, one
from weftline.store.lake import LEDGER, LEDGER_TERMS, QUARANTINE, RECEIPT, SET_COUNT, VIOLATION, Group, KeyCheck

__all__ = ["Parts", "UnbalancedError", "assemble", "balance", "parked_rows", "per_frame"]

HOUR = 3_600_000_000
RECEIPT_ASKED = b'"content_type"'
"""Pushed frames say their content type; whoever pushes gets a receipt."""


class UnbalancedError(TerminalError):
    """Say that a codec's count and the outcomes of its records differ; the frames are parked, nothing is stored."""

    code = "ledger-unbalanced"


@dataclass(slots=True)
class Parts:
    """What one group is made of, before it is put together."""

    producer: str
    epoch: int
    first: int
    last: int
    frames: Sequence[Frame]
    spooled: bool
    """False: the source skips the spool, so the Log counts no frames of it."""
    outcomes: list[Outcome] = field(default_factory=list)
    duplicates: Sequence[Frame] = ()
    parked: Sequence[Parked] = ()
    repeats: Mapping[int, int] = field(default_factory=dict)
    """Offset of a duplicate frame → records it stands for; 1 where nothing is known."""
    complete: bool = False
    released: Sequence[int] = ()
    job: str = ""


def assemble(parts: Parts, book: FeedBook) -> Group:
    """Put a group together; its ledger is counted from the outcomes, term by term."""
    rows: dict[str, list[pa.Table]] = {}
    keys: list[tuple[KeyCheck, pa.Table]] = []
    quarantine: list[pa.Table] = []
    ledger: list[pa.Table] = []
    counts: list[pa.Table] = []
    for outcome in parts.outcomes:
        for item in outcome.objects:
            if item.rows.num_rows:
                rows.setdefault(item.dataset, []).append(item.rows)
            keys += [(check, table) for check, table in item.keys if table.num_rows]
        quarantine += _failed(outcome) + _undecodable(outcome.batch)
        ledger.append(_record_counts(outcome))
        ledger += _format_counts(outcome.batch)
        contract = outcome.batch.route.plans.contract_id
        counts += [_with_contract(table, contract) for table in outcome.rule_counts]
    quarantine += parked_rows(parts.parked, book)
    ledger.append(_frame_counts(parts))
    folded = _fold(ledger)
    return Group(
        producer=parts.producer,
        epoch=parts.epoch,
        first=parts.first,
        last=parts.last,
        rows={dataset: pa.concat_tables(tables, promote_options="permissive") for dataset, tables in rows.items()},
        ledger=folded,
        quarantine=pa.concat_tables(quarantine) if quarantine else None,
        receipts=_receipts(parts) if parts.spooled else None,
        set_counts=pa.concat_tables(counts) if counts else None,
        keys=keys,
        released=parts.released,
        complete=parts.complete,
        records=pc.sum(folded["received"]).as_py() or 0,
        job=parts.job,
    )


def _record_counts(outcome: Outcome) -> pa.Table:
    """Count decoded records by feed and received hour; rows stored are counted where they were kept."""
    decoded = outcome.batch.decoded
    first = outcome.first_row
    feed, received = decoded.feed, decoded.received
    if len(first) != len(feed):
        feed, received = feed.take(first), received.take(first)
    hour = _hour(received)
    failed, ignored = outcome.failed, outcome.ignored
    ignored = pc.and_not(ignored, failed)
    kept = pc.invert(pc.or_(failed, ignored))
    records = pa.table(
        {
            "feed": feed,
            "hour": hour,
            "received": pa.repeat(pa.scalar(1, pa.int64()), len(first)),
            "stored": kept.cast(pa.int64()),
            "quarantined": failed.cast(pa.int64()),
            "ignored": ignored.cast(pa.int64()),
        }
    )
    counted = _complete(records)
    parts = [counted]
    for item in outcome.objects:
        if item.rows.num_rows:
            # The received hour of a stored row is that of its frame; all rows of a batch's frame share it.
            index = pc.index_in(item.rows["frame"], value_set=_frame_offsets(outcome.batch))
            hours = _frame_hours(outcome.batch).take(one(pa.table({"i": index}), "i"))
            ones = pa.repeat(pa.scalar(1, pa.int64()), item.rows.num_rows)
            parts.append(_complete(pa.table({"feed": item.rows["feed"], "hour": hours, "rows": ones})))
    return pa.concat_tables(parts)


def balance(outcome: Outcome) -> None:
    """Compare the codec's own count of records with the outcomes, feed by feed; raise UnbalancedError.

    A record that fails must also have its reasons: without them it would be counted as quarantined and kept nowhere.
    """
    decoded = outcome.batch.decoded
    seen = decoded.feed.take(outcome.first_row).value_counts()
    totals = dict(zip(seen.field("values").to_pylist(), seen.field("counts").to_pylist(), strict=True))
    frames = {frame.offset: frame.feed for frame in outcome.batch.frames}
    for bad in decoded.undecodable:
        feed = frames[bad.frame]
        totals[feed] = totals.get(feed, 0) + 1
    for feed, rules in decoded.ignored.items():
        totals[feed] = totals.get(feed, 0) + sum(rules.values())
    cut = {feed: count for feed, count in decoded.records.items() if count}
    if {feed: count for feed, count in totals.items() if count} != cut:
        raise UnbalancedError(
            place=f"codec {outcome.batch.route.codec.name}",
            found=f"outcomes for {totals} records",
            expected=f"{cut} records, as the codec counted",
            next_step="The frames are kept in quarantine; report this with one of them.",
        )
    failed = pc.sum(outcome.failed).as_py() or 0
    told = 0 if outcome.violations is None else len(pc.unique(outcome.violations["record"]))
    if failed != told:
        raise UnbalancedError(
            place=f"contract {outcome.batch.route.plans.contract}",
            found=f"reasons for {told} failed records",
            expected=f"reasons for {failed}",
            next_step="The frames are kept in quarantine; report this with one of them.",
        )


def _frame_offsets(batch: RoutedBatch) -> pa.Array:
    return pa.array([frame.offset for frame in batch.frames], pa.uint64())


def _frame_hours(batch: RoutedBatch) -> pa.Array:
    return _hour(pa.array([frame.received for frame in batch.frames], pa.int64()))


def _format_counts(batch: RoutedBatch) -> list[pa.Table]:
    """Count what gave no row: undecodable records and records the format says hold no data."""
    decoded = batch.decoded
    frames = {frame.offset: frame for frame in batch.frames}
    counts: dict[tuple[int, int], list[int]] = {}
    for bad in decoded.undecodable:
        frame = frames[bad.frame]
        counts.setdefault((frame.feed, frame.received // HOUR * HOUR), [0, 0])[0] += 1
    if decoded.ignored:
        newest = {frame.feed: frame.received for frame in batch.frames}
        for feed, rules in decoded.ignored.items():
            counts.setdefault((feed, newest[feed] // HOUR * HOUR), [0, 0])[1] += sum(rules.values())
    if not counts:
        return []
    table = pa.table(
        {
            "feed": pa.array([feed for feed, _ in counts], pa.int32()),
            "hour": pa.array([hour for _, hour in counts], pa.int64()).cast(TIMESTAMP),
            "received": pa.array([bad + ignored for bad, ignored in counts.values()], pa.int64()),
            "quarantined": pa.array([bad for bad, _ in counts.values()], pa.int64()),
            "ignored": pa.array([ignored for _, ignored in counts.values()], pa.int64()),
        }
    )
    return [_complete(table)]


def _frame_counts(parts: Parts) -> pa.Table:
    """Count frames taken from the Log, repeated records, and parked frames (one record each until they are decoded)."""
    frames = parts.frames if parts.spooled else ()
    counted = pa.table(
        {
            "feed": pa.array([frame.feed for frame in frames], pa.int32()),
            "hour": _hour(pa.array([frame.received for frame in frames], pa.int64())),
            "frames": pa.repeat(pa.scalar(1, pa.int64()), len(frames)),
        }
    )
    repeats = [parts.repeats.get(frame.offset, 1) for frame in parts.duplicates]
    repeated = pa.table(
        {
            "feed": pa.array([frame.feed for frame in parts.duplicates], pa.int32()),
            "hour": _hour(pa.array([frame.received for frame in parts.duplicates], pa.int64())),
            "received": pa.array(repeats, pa.int64()),
            "duplicate": pa.array(repeats, pa.int64()),
        }
    )
    parked = [item.frame for item in parts.parked]
    ones = pa.repeat(pa.scalar(1, pa.int64()), len(parked))
    aside = pa.table(
        {
            "feed": pa.array([frame.feed for frame in parked], pa.int32()),
            "hour": _hour(pa.array([frame.received for frame in parked], pa.int64())),
            "received": ones,
            "quarantined": ones,
        }
    )
    return pa.concat_tables([_complete(counted), _complete(repeated), _complete(aside)])


def _complete(table: pa.Table) -> pa.Table:
    """Group by feed and hour and give the table every column of LEDGER."""
    terms = [name for name in table.column_names if name in LEDGER_TERMS]
    grouped = _summed(table, terms)
    columns = {"feed": grouped["feed"], "hour": grouped["hour"]}
    zeros = pa.repeat(pa.scalar(0, pa.int64()), grouped.num_rows)
    columns.update({term: grouped[f"{term}_sum"] if term in terms else zeros for term in LEDGER_TERMS})
    return pa.table(columns).cast(LEDGER)


def _summed(table: pa.Table, terms: Sequence[str]) -> pa.Table:
    """Sum by feed and hour; the rows of one file are mostly of one feed and one hour, and need no grouping."""
    if table.num_rows > 1 and all(len(set(pc.min_max(table[name]).as_py().values())) == 1 for name in ("feed", "hour")):
        first = table.slice(0, 1)
        sums = {f"{term}_sum": pa.array([pc.sum(table[term]).as_py()], pa.int64()) for term in terms}
        return pa.table({"feed": first["feed"], "hour": first["hour"], **sums})
    return table.group_by(["feed", "hour"], use_threads=False).aggregate([(term, "sum") for term in terms])


def _fold(tables: Sequence[pa.Table]) -> pa.Table:
    return _complete(pa.concat_tables(tables))


def _with_contract(table: pa.Table, contract: int) -> pa.Table:
    column = pa.repeat(pa.scalar(contract, pa.int32()), table.num_rows)
    return table.append_column("contract", column).select(SET_COUNT.names).cast(SET_COUNT)


def _failed(outcome: Outcome) -> list[pa.Table]:
    """Give quarantined records their violations and the bytes the source sent."""
    violations = outcome.violations
    if violations is None or violations.num_rows == 0:
        return []
    batch = outcome.batch
    record = one(violations, "record")
    runs = pc.run_end_encode(record)
    ends = runs.run_ends.cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    records = runs.values
    values = pa.StructArray.from_arrays(
        [one(violations, name) for name in ("rule", "field", "found", "expected")], fields=list(VIOLATION)
    )
    starts = offsets.slice(0, len(records))
    rows = outcome.first_row.take(records)
    rule, name = one(violations, "rule").take(starts), one(violations, "field").take(starts)
    count = len(records)
    contract = batch.route.plans.contract
    fingerprint = pc.binary_join_element_wise(
        pa.repeat(contract, count), pc.fill_null(rule, ""), pc.fill_null(name, ""), "|"
    )
    frame = batch.frame_index.take(rows)
    kept = batch.decoded.attributes
    attributes = pa.array([kept.get(item.offset, item.attributes) for item in batch.frames], pa.binary())
    if batch.decoded.original is None:
        original = pa.array([item.payload for item in batch.frames], pa.binary()).take(frame)
    else:
        original = batch.decoded.original(rows)
    table = pa.table(
        {
            "feed": batch.decoded.feed.take(rows),
            "contract": pa.repeat(pa.scalar(batch.route.plans.contract_id, pa.int32()), count),
            "frame": batch.decoded.frame.take(rows),
            "position": batch.decoded.position.take(rows),
            "received": batch.decoded.received.take(rows).cast(TIMESTAMP),
            "stage": pa.repeat("contract", count),
            "code": rule,
            "fingerprint": fingerprint,
            "violations": pa.ListArray.from_arrays(offsets, values),
            "attributes": attributes.take(frame),
            "original": original,
        }
    )
    return [table.cast(QUARANTINE)]


def _undecodable(batch: RoutedBatch) -> list[pa.Table]:
    bad = batch.decoded.undecodable
    if not bad:
        return []
    frames = {frame.offset: frame for frame in batch.frames}
    contract = batch.route.plans
    kept = batch.decoded.attributes
    held = []
    for item in bad:
        row = _held(frames[item.frame], item, contract.contract, contract.contract_id)
        held.append({**row, "attributes": kept.get(item.frame, row["attributes"])})
    return [pa.Table.from_pylist(held, schema=QUARANTINE)]


def _held(frame: Frame, item: Undecodable, contract: str, contract_id: int) -> dict[str, object]:
    violation = {"rule": item.code, "field": "", "found": item.reason, "expected": "a record the codec can read"}
    return {
        "feed": frame.feed,
        "contract": contract_id,
        "frame": item.frame,
        "position": item.position,
        "received": frame.received,
        "stage": "decode",
        "code": item.code,
        "fingerprint": f"{contract}|{item.code}|",
        "violations": [violation],
        "attributes": frame.attributes,
        "original": item.original,
    }


def parked_rows(parked: Sequence[Parked], book: FeedBook) -> list[pa.Table]:
    """Return quarantine rows that hold whole frames."""
    if not parked:
        return []
    held = []
    for item in parked:
        route = book.routes.get(item.frame.feed)
        contract, contract_id = (route.plans.contract, route.plans.contract_id) if route else ("", 0)
        shown = Undecodable(item.frame.offset, 0, item.code, item.reason, item.frame.payload)
        held.append({**_held(item.frame, shown, contract, contract_id), "stage": "frame"})
    return [pa.Table.from_pylist(held, schema=QUARANTINE)]


def _receipts(parts: Parts) -> pa.Table | None:
    """Answer frames that asked for a receipt (their attributes say so)."""
    asked = [frame for frame in parts.frames if RECEIPT_ASKED in frame.attributes]
    if not asked:
        return None
    counts = {frame.offset: [0, 0, 0, 0, 0] for frame in asked}
    for frame in parts.duplicates:
        if frame.offset in counts:
            counts[frame.offset][0] = counts[frame.offset][3] = parts.repeats.get(frame.offset, 1)
    for item in parts.parked:
        if item.frame.offset in counts:
            counts[item.frame.offset][0] = counts[item.frame.offset][2] = 1
    for outcome in parts.outcomes:
        for offset, *terms in per_frame(outcome):
            if offset in counts:
                counts[offset] = [have + more for have, more in zip(counts[offset], terms, strict=True)]
    columns = list(zip(*counts.values(), strict=True))
    return pa.table(
        {
            "frame": pa.array([frame.offset for frame in asked], pa.uint64()),
            "feed": pa.array([frame.feed for frame in asked], pa.int32()),
            "identity": pa.array([frame.identity for frame in asked], pa.binary()),
            "received": pa.array([frame.received for frame in asked], pa.int64()).cast(TIMESTAMP),
            **{
                name: pa.array(column, pa.int64())
                for name, column in zip(
                    ("records", "stored", "quarantined", "duplicate", "ignored"), columns, strict=True
                )
            },
        }
    ).cast(RECEIPT)


def per_frame(outcome: Outcome) -> list[tuple[int, int, int, int, int, int]]:
    """Return (offset, records, stored, quarantined, duplicate, ignored) per frame of a batch."""
    decoded = outcome.batch.decoded
    ignored = pc.and_not(outcome.ignored, outcome.failed)
    table = pa.table(
        {
            "frame": decoded.frame.take(outcome.first_row),
            "stored": pc.invert(pc.or_(outcome.failed, ignored)).cast(pa.int64()),
            "quarantined": outcome.failed.cast(pa.int64()),
            "ignored": ignored.cast(pa.int64()),
        }
    )
    grouped = table.group_by("frame", use_threads=False).aggregate(
        [(name, "sum") for name in ("stored", "quarantined", "ignored")]
    )
    found = [
        (row["frame"], row["stored_sum"] + row["quarantined_sum"] + row["ignored_sum"], row["stored_sum"],
         row["quarantined_sum"], 0, row["ignored_sum"])
        for row in grouped.to_pylist()
    ]  # fmt: skip
    return found + [(bad.frame, 1, 0, 1, 0, 0) for bad in decoded.undecodable]


def _hour(received: pa.Array) -> pa.Array:
    return pc.multiply(pc.divide(received.cast(pa.int64()), HOUR), HOUR).cast(TIMESTAMP)
