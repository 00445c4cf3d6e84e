"""The feeds in force: which codec, which plans and which parameters a frame of a feed meets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from weftline.codecs.base import Codec
from weftline.contracts.plan import ObjectPlan
from weftline.model.feed import FeedSpec, Mode

__all__ = ["FeedBook", "PlanSet", "Route"]

MASK_RULES = 62
_STRICTNESS = {Mode.OBSERVE: 0, Mode.WARN: 1, Mode.ENFORCE: 2}


@dataclass(frozen=True, slots=True)
class PlanSet:
    """The plans of one contract version and what they need to know of each feed.

    `params[i]` belongs to `plans[i]`: one row per feed, sorted by feed, with the enforcement masks of that plan.
    """

    contract: str
    contract_id: int
    plans: tuple[ObjectPlan, ...]
    params: tuple[pa.Table, ...]
    feeds: pa.Array
    """int32, sorted: the `feed` column of every params table."""

    def params_for(self, index: int, feeds: pa.Array) -> pa.Table:
        """Return the parameter rows of these feeds only; a small batch must not join ten thousand rows."""
        table = self.params[index]
        if table.num_rows <= 64:
            return table
        return table.take(pc.index_in(feeds, value_set=self.feeds))


@dataclass(frozen=True, slots=True)
class Route:
    """What the frames of some feeds share on their way: one decode call and one run of each plan."""

    codec: Codec
    options: Any
    plans: PlanSet
    expected: Mapping[str, pa.DataType] = field(hash=False, default_factory=dict)


class FeedBook:
    """Hold the feeds in force. Replaced as a whole, never changed: readers keep the book they started with."""

    def __init__(
        self, specs: Iterable[FeedSpec], codecs: Mapping[str, Codec], plan_sets: Mapping[tuple[str, str], PlanSet]
    ) -> None:
        self.specs = {spec.id: spec for spec in specs}
        self.by_name = {spec.name: spec for spec in self.specs.values()}
        shared: dict[tuple[str, str, bytes], Route] = {}
        self.routes: dict[int, Route] = {}
        for spec in self.specs.values():
            plans = plan_sets.get((spec.contract, spec.version))
            if plans is None:
                continue
            key = (spec.codec, f"{spec.contract}@{spec.version}", repr(spec.codec_options).encode())
            route = shared.get(key)
            if route is None:
                expected: dict[str, pa.DataType] = {}
                for plan in plans.plans:
                    expected.update(plan.source_types)
                route = shared[key] = Route(codecs[spec.codec], spec.codec_options, plans, expected)
            self.routes[spec.id] = route

    def name(self, feed: int) -> str:
        """Return the feed's name, or its id in words where the feed is not in force any more."""
        spec = self.specs.get(feed)
        return spec.name if spec else f"feed {feed} (not in force)"


def plan_set(contract: str, contract_id: int, plans: Sequence[ObjectPlan], specs: Sequence[FeedSpec]) -> PlanSet:
    """Build the parameter tables of the feeds that use one contract version."""
    ordered = sorted(specs, key=lambda spec: spec.id)
    return PlanSet(
        contract,
        contract_id,
        tuple(plans),
        tuple(_params(plan, ordered) for plan in plans),
        pa.array([spec.id for spec in ordered], pa.int32()),
    )


def enforced(plan: ObjectPlan, spec: FeedSpec) -> list[int]:
    """Return the feed's masks of rules that quarantine: its mode, made stricter rule by rule."""
    rules = [(rule.id, rule.bit, rule.always) for rule in plan.row_rules]
    rules += [(unique.id, unique.bit, False) for unique in plan.unique_rules]
    masks = [0] * (max((bit for _, bit, _ in rules), default=0) // MASK_RULES + 1)
    for rule, bit, always in rules:
        if always or strictest(spec.mode, spec.severity.get(rule)) is Mode.ENFORCE:
            masks[bit // MASK_RULES] |= 1 << (bit % MASK_RULES)
    return masks


def strictest(mode: Mode, severity: Mode | None) -> Mode:
    """Return the rule's own severity where it is stricter, or where the feed only observes."""
    if severity is None:
        return mode
    return severity if mode is Mode.OBSERVE or _STRICTNESS[severity] > _STRICTNESS[mode] else mode


def _params(plan: ObjectPlan, specs: Sequence[FeedSpec]) -> pa.Table:
    masks = [enforced(plan, spec) for spec in specs]
    columns: dict[str, pa.Array] = {
        "feed": pa.array([spec.id for spec in specs], pa.int32()),
        "future_limit": pa.array([spec.future_limit for spec in specs], pa.float64()),
    }
    for index in range(len(masks[0]) if masks else 1):
        columns[f"enforce{index}"] = pa.array([mask[index] for mask in masks], pa.int64())
    for name in sorted({name for spec in specs for name in spec.params}):
        columns[name] = _column([spec.params.get(name) for spec in specs])
    return pa.table(columns)


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
