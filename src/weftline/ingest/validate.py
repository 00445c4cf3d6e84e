"""Decoded batch → stored rows, violations and set partials, by the plans of its contract.

Everything here is columns. Records decide together: a record is stored only if all its selected rows pass the rules
that are enforced for its feed (DESIGN §3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from weftline.batch import TIMESTAMP, Mark
from weftline.contracts.plan import ObjectPlan, Scope
from weftline.ingest.decode import RoutedBatch
from weftline.ingest.feeds import MASK_RULES
from weftline.store.lake import KeyCheck
from weftline.store.plans import PlanRunnerLike

__all__ = ["LATE_AFTER", "KeyLookup", "ObjectRows", "Outcome", "validate"]

LATE_AFTER = 24 * 3600 * 1_000_000
"""Microseconds after which a row is marked late: its hour has been sealed."""

KEY_COLUMNS = ["hash", "frame", "position", "row"]
KeyLookup = Callable[[KeyCheck, pa.Table], pa.Array]


@dataclass(frozen=True, slots=True)
class ObjectRows:
    """The rows one plan stores, with the new keys of its uniqueness rules."""

    dataset: str
    rows: pa.Table
    keys: list[tuple[KeyCheck, pa.Table]]


@dataclass(slots=True)
class Outcome:
    """What became of the records of one routed batch. Record arrays have one value per decoded record, in order."""

    batch: RoutedBatch
    record: pa.Array
    """int64 per row: the record's number in this batch."""
    first_row: pa.Array
    """int64 per record: its first row."""
    failed: pa.Array
    """bool per record: goes to quarantine."""
    ignored: pa.Array
    """bool per record: no object of the contract selects any of its rows."""
    objects: list[ObjectRows] = field(default_factory=list)
    violations: pa.Table | None = None
    """(record int64, rule, field, found, expected) of quarantined records, sorted by record."""
    rule_counts: list[pa.Table] = field(default_factory=list)
    """(feed, rule, hour, rows, failing) partials of set rules and of failed row rules."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """One plan's result over the batch, rows in order of n."""

    plan: ObjectPlan
    table: pa.Table
    inputs: Mapping[str, pa.Table]
    violations_sql: str
    selected: pa.Array
    failed: pa.Array
    masked: pa.Array


def validate(batch: RoutedBatch, runner: PlanRunnerLike, lookup: KeyLookup) -> Outcome:
    """Run every plan of the batch's contract and decide each record."""
    record, first_row = _records(batch)
    rows = len(record)
    ran = [_run(index, batch, runner) for index in range(len(batch.route.plans.plans))]
    key_hits = [(_keys(item, batch, lookup)) for item in ran]
    failed_rows = pa.array([], pa.int64())
    chosen = pa.array([False] * 0, pa.bool_())
    for item, (hits, _) in zip(ran, key_hits, strict=True):
        bad = pc.or_(item.failed, hits) if hits is not None else item.failed
        numbers = pc.indices_nonzero(pc.and_(bad, item.selected)).cast(pa.int64())
        failed_rows = pa.concat_arrays([failed_rows, numbers])
        chosen = item.selected if len(chosen) == 0 else pc.or_(chosen, item.selected)
    count = len(first_row)
    failed = _marked(pc.unique(record.take(failed_rows)), count)
    ignored = _none_of(chosen if ran else pa.array([False] * rows, pa.bool_()), record, count)
    outcome = Outcome(batch, record, first_row, failed, ignored)
    hour = _hours(batch.decoded.received)
    row_failed = failed.take(record) if len(failed_rows) else None
    found: list[pa.Table] = []
    for item, (hits, keys) in zip(ran, key_hits, strict=True):
        keep = item.selected if row_failed is None else pc.and_not(item.selected, row_failed)
        outcome.objects.append(_stored(item, batch, keep, keys))
        found += _violations(item, hits, runner)
        outcome.rule_counts += _set_counts(item, batch, hour)
    if found:
        table = pa.concat_tables(found)
        outcome.rule_counts.append(_failed_counts(table, batch, hour))
        table = table.append_column("record", record.take(table["n"].combine_chunks()))
        table = table.filter(failed.take(table["record"].combine_chunks()))
        outcome.violations = table.sort_by([("record", "ascending"), ("n", "ascending")]).drop_columns(["n"])
    return outcome


def _records(batch: RoutedBatch) -> tuple[pa.Array, pa.Array]:
    """Number the records: rows of one (frame, position) stand together, in order."""
    rows = batch.decoded.row
    count = len(rows)
    numbers = pa.arange(0, count)
    if count == 0 or not pc.any(pc.greater(rows, pa.scalar(0, rows.type))).as_py():
        return numbers, numbers
    first = pc.equal(rows, pa.scalar(0, rows.type))
    record = pc.subtract(pc.cumulative_sum(first.cast(pa.int64())), 1)
    return record, pc.indices_nonzero(first).cast(pa.int64())


def _run(index: int, batch: RoutedBatch, runner: PlanRunnerLike) -> _Ran:
    plans = batch.route.plans
    plan = plans.plans[index]
    decoded = batch.decoded
    params = plans.params_for(index, pc.unique(decoded.feed))
    fields = decoded.fields
    columns = {
        "n": pa.arange(0, fields.num_rows),
        "feed": decoded.feed,
        "received": decoded.received.cast(TIMESTAMP),
    }
    columns.update({f"s{place}": column for place, column in enumerate(fields.columns)})
    compiled = plan.compile(fields.schema, params.schema)
    inputs = {"batch": pa.table(columns), "params": params}
    table = runner.run(compiled.main, inputs)
    masks = [name for name in table.column_names if name.startswith("mask") and name[4:].isdigit()]
    masked = None
    for name in masks:
        part = pc.not_equal(one(table, name), 0)
        masked = part if masked is None else pc.or_(masked, part)
    if masked is None:
        masked = one(table, "failed")
    return _Ran(plan, table, inputs, compiled.violations, one(table, "selected"), one(table, "failed"), masked)


def one(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one contiguous array."""
    column = table[name]
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else (pa.array([], column.type))
    )


def _keys(item: _Ran, batch: RoutedBatch, lookup: KeyLookup) -> tuple[pa.Array | None, list[tuple[KeyCheck, pa.Table]]]:
    """Ask for keys the lake (or a group on its way there) holds; give back hits per row and the new keys."""
    hits: pa.Array | None = None
    keys: list[tuple[KeyCheck, pa.Table]] = []
    for unique in item.plan.unique_rules:
        if unique.scope is Scope.BATCH:
            continue
        check = KeyCheck(item.plan.dataset, unique.id, str(unique.scope), unique.window, unique.columns)
        table = pa.table(
            {
                "hash": one(item.table, unique.hash_column),
                "frame": batch.decoded.frame,
                "position": batch.decoded.position,
                "row": batch.decoded.row,
                **{name: one(item.table, name) for name in unique.columns},
            }
        )
        known = pc.fill_null(lookup(check, table), fill_value=False)
        mask, bit = f"enforce{unique.bit // MASK_RULES}", 1 << (unique.bit % MASK_RULES)
        params = item.inputs["params"]
        enforced = pc.not_equal(pc.bit_wise_and(one(params, mask), pa.scalar(bit, pa.int64())), 0)
        per_row = enforced.take(pc.index_in(batch.decoded.feed, value_set=one(params, "feed")))
        known_enforced = pc.and_(known, per_row)
        hits = known_enforced if hits is None else pc.or_(hits, known_enforced)
        keys.append((check, table.append_column("known", known)))
    return hits, keys


def _stored(item: _Ran, batch: RoutedBatch, keep: pa.Array, keys: list[tuple[KeyCheck, pa.Table]]) -> ObjectRows:
    table, decoded = item.table, batch.decoded
    event_time = one(table, "event_time")
    from_source = pc.equal(one(table, "time_source"), "source")
    mark = pc.if_else(from_source, 0, int(Mark.RECEIVED_TIME))
    mark = pc.bit_wise_or(mark, pc.if_else(item.masked, int(Mark.VIOLATION), 0))
    if not batch.history:
        age = pc.subtract(decoded.received, event_time.cast(pa.int64()))
        mark = pc.bit_wise_or(mark, pc.if_else(pc.greater(age, LATE_AFTER), int(Mark.LATE), 0))
    count = table.num_rows
    columns = {
        "event_time": event_time,
        "feed": decoded.feed,
        "contract": pa.repeat(pa.scalar(batch.route.plans.contract_id, pa.int32()), count),
        "frame": decoded.frame,
        "position": decoded.position,
        "row": decoded.row,
        "clock_offset": pa.nulls(count, pa.int64()),
        "time_source": one(table, "time_source"),
        "mark": mark.cast(pa.uint8()),
        "extra": one(table, "extra"),
    }
    for column in item.plan.columns:
        if column.name not in columns:
            columns[column.name] = table[column.name]  # as it came: putting chunks together would copy the data
    rows = pa.table(columns)
    everything = pc.all(keep).as_py() is not False
    stored = rows if everything else rows.filter(keep)
    new_keys = []
    for check, found in keys:
        fresh = pc.and_not(keep, one(found, "known"))
        new_keys.append((check, found.filter(pc.and_(fresh, pc.is_valid(one(found, "hash")))).select(KEY_COLUMNS)))
    return ObjectRows(item.plan.dataset, stored, new_keys)


def _violations(item: _Ran, hits: pa.Array | None, runner: PlanRunnerLike) -> list[pa.Table]:
    """List every violation of the rows that have one, in every mode: (n, rule, field, found, expected)."""
    found: list[pa.Table] = []
    wrong = pc.indices_nonzero(pc.and_(item.masked, item.selected)).cast(pa.int64())
    if len(wrong):
        inputs = {**item.inputs, "failing": pa.table({"n": wrong})}
        found.append(runner.run(item.violations_sql, inputs).select(["n", "rule", "field", "found", "expected"]))
    if hits is not None:
        numbers = pc.indices_nonzero(pc.and_(hits, item.selected)).cast(pa.int64())
        for unique in item.plan.unique_rules if len(numbers) else ():
            parts = [one(item.table, name).take(numbers).cast(pa.string()) for name in unique.columns]
            values = pc.binary_join_element_wise(*[pc.fill_null(part, "null") for part in parts], ", ")
            count = len(numbers)
            found.append(
                pa.table(
                    {
                        "n": numbers,
                        "rule": pa.repeat(unique.id, count),
                        "field": pa.repeat(", ".join(unique.columns), count),
                        "found": values,
                        "expected": pa.repeat(f"a key not stored before (scope {unique.scope})", count),
                    }
                )
            )
    return [_plain(table) for table in found]


def _plain(table: pa.Table) -> pa.Table:
    types = {"n": pa.int64()}
    return pa.table({name: one(table, name).cast(types.get(name, pa.string())) for name in table.column_names})


def _hours(received: pa.Array) -> pa.Array:
    hour = 3_600_000_000
    return pc.multiply(pc.divide(received, hour), hour).cast(TIMESTAMP)


def _set_counts(item: _Ran, batch: RoutedBatch, hour: pa.Array) -> list[pa.Table]:
    if not item.plan.set_rules:
        return []
    counts = []
    for rule in item.plan.set_rules:
        table = pa.table(
            {"feed": batch.decoded.feed, "hour": hour, "failing": one(item.table, rule.indicator).cast(pa.int64())}
        ).filter(item.selected)
        grouped = table.group_by(["feed", "hour"], use_threads=False).aggregate(
            [("failing", "sum"), ("failing", "count")]
        )
        counts.append(
            pa.table(
                {
                    "feed": one(grouped, "feed"),
                    "rule": pa.repeat(rule.id, grouped.num_rows),
                    "hour": one(grouped, "hour"),
                    "rows": one(grouped, "failing_count"),
                    "failing": one(grouped, "failing_sum"),
                }
            )
        )
    return counts


def _failed_counts(violations: pa.Table, batch: RoutedBatch, hour: pa.Array) -> pa.Table:
    n = one(violations, "n")
    table = pa.table({"feed": batch.decoded.feed.take(n), "rule": one(violations, "rule"), "hour": hour.take(n)})
    grouped = table.group_by(["feed", "rule", "hour"], use_threads=False).aggregate([([], "count_all")])
    return pa.table(
        {
            "feed": one(grouped, "feed"),
            "rule": one(grouped, "rule"),
            "hour": one(grouped, "hour"),
            "rows": pa.repeat(pa.scalar(0, pa.int64()), grouped.num_rows),
            "failing": one(grouped, "count_all"),
        }
    )


def _marked(numbers: pa.Array, count: int) -> pa.Array:
    """Return a bool array of `count` that is true at these numbers."""
    if len(numbers) == 0:
        return pa.repeat(pa.scalar(value=False), count)
    return pc.is_in(pa.arange(0, count), value_set=numbers)


def _none_of(chosen: pa.Array, record: pa.Array, count: int) -> pa.Array:
    """Return per record whether none of its rows is chosen."""
    if pc.all(chosen).as_py() is not False:
        return pa.repeat(pa.scalar(value=False), count)
    return pc.invert(_marked(pc.unique(record.filter(chosen)), count))
