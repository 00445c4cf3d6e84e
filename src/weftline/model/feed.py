"""Feeds and connections as the road sees them, after templates are expanded and documents checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["ConnectionSpec", "ConnectionState", "FeedSpec", "Mode", "OnBatch"]


class Mode(StrEnum):
    """Say what a failed rule does to its record."""

    OBSERVE = "observe"
    """Store it, mark it, count the violation."""
    WARN = "warn"
    """As observe, and the feed needs attention."""
    ENFORCE = "enforce"
    """Quarantine the record with every violation."""


class OnBatch(StrEnum):
    """Say what a failed set rule does to a file."""

    PASS = "pass"  # noqa: S105 - a mode of the contract, not a secret
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """One session with one system. `options` is an instance of the connector's options model."""

    name: str
    kind: str
    options: Any
    folder: str = ""
    """Where relative paths in `options` start: the fabric's folder."""


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One stream of records under one contract.

    `selector` and `codec_options` are instances of the connector's and codec's models. `params` are the values of the
    template's parameters and of the document's `params`, visible to the contract as `feed.<name>`. Times are seconds.
    """

    name: str
    connection: str
    kind: str
    selector: Any
    codec: str
    codec_options: Any
    contract: str
    version: str
    mode: Mode = Mode.ENFORCE
    severity: Mapping[str, Mode] = field(default_factory=dict)
    """Rule id → mode; stricter than `mode` only, unless `mode` is observe."""
    on_batch: OnBatch = OnBatch.PASS
    cadence: float | None = None
    """Expected seconds between records; None = not stated, so silence is *unknown*."""
    future_limit: float = 300.0
    """An event time further ahead than this is quarantined."""
    partner: str = ""
    site: str = ""
    critical: bool = False
    description: str = ""
    params: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    template: str = ""
    """Template and row this feed came from, as `template.yaml:12`, else empty."""
    id: int = 0
    """Dictionary id of the lake, given when the fabric is opened."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Tell how a connection stands: `connecting`, `connected`, `held`, `lost`, `refused` or `stopped`."""

    state: str
    detail: str = ""
    since: int = 0  # microseconds UTC
    next_try: int = 0  # microseconds UTC, 0 = none planned
    warning: str = ""  # what a person must look at although the connection works
