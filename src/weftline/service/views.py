"""What the service answers: the structs that the API, the website and the command line show.

Every time is an integer of microseconds since 1970-01-01 UTC, every duration a number of seconds unless its name says
milliseconds. None means *unknown* and is shown as such: never 0, never 100 %, never an empty text.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "Attention",
    "ConnectionView",
    "ContractView",
    "DatasetColumn",
    "DatasetRow",
    "Event",
    "FeedDetail",
    "FeedRow",
    "FeedState",
    "Gap",
    "IncidentView",
    "KeyView",
    "Latency",
    "LedgerDetail",
    "LedgerHour",
    "LedgerRow",
    "NotRunRule",
    "PersonView",
    "QuarantineGroup",
    "QuarantineRecord",
    "RatePoint",
    "Readiness",
    "ReceiptView",
    "RecordOutcome",
    "ReplayView",
    "RuleView",
    "SenderSide",
    "SetRuleResult",
    "Severity",
    "Tower",
    "ViolationView",
    "Whoami",
]

FeedState = Literal["live", "quiet", "silent", "never", "rejecting", "failing", "held", "stopped", "unknown"]
"""live: records come within the cadence · quiet: later than the cadence, within three · silent: longer than that.

never: none yet · rejecting: records go to quarantine · failing: its connection is lost or refused or a set rule fails ·
held: sources are held back or a whole file is kept · stopped: switched off · unknown: no cadence is stated, so silence
says nothing."""

Severity = Literal["critical", "warning", "unknown"]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles in milliseconds over `window` seconds; None where nothing was measured."""

    p50: float | None = None
    p99: float | None = None
    window: float = 300.0


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One feed's ledger: received = stored + quarantined + duplicate + ignored + expired + waiting.

    All terms count records and are cumulative except `quarantined` and `waiting`, which are current. `waiting` is None
    where the source does not tell.
    """

    feed: str
    received: int
    stored: int
    quarantined: int
    duplicate: int
    ignored: int
    expired: int
    waiting: int | None
    rows: int = 0
    """Rows stored (fan-out of records)."""
    frames: int = 0
    sent: int | None = None
    """What the sender numbers or counts; None = it does not."""
    missing: int | None = None
    balanced: bool | None = None
    """None while `waiting` is unknown."""


class LedgerHour(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one received hour (UTC)."""

    hour: int
    received: int
    stored: int
    quarantined: int
    duplicate: int
    ignored: int
    expired: int
    rows: int = 0


class LedgerDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One feed's ledger with its hours, newest first."""

    total: LedgerRow
    hours: list[LedgerHour]


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One feed as the control tower lists it."""

    name: str
    connection: str
    kind: str
    contract: str
    version: str
    partner: str
    site: str
    critical: bool
    state: FeedState
    since: int | None
    """When it entered this state."""
    reason: str
    """Why it is in this state, in one sentence; empty only for live."""
    last_record: int | None
    """Received time of the newest record."""
    age: float | None
    """Seconds since `last_record`."""
    cadence: float | None
    """Expected seconds between records; None = not stated."""
    rate_per_minute: float | None
    latency_ours: Latency
    """record − received."""
    latency_theirs: Latency
    """received − event."""
    completeness: float | None
    """0–1, seen ÷ expected by cadence or the sender's numbering."""
    received: int
    stored: int
    quarantined: int
    duplicate: int
    ignored: int
    expired: int
    waiting: int | None
    connection_state: str
    """connecting, connected, held, lost, refused, stopped, or unknown."""


class ConnectionView(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection stands now."""

    name: str
    kind: str
    state: str
    detail: str = ""
    since: int | None = None
    next_try: int | None = None
    feeds: int = 0


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Records received in one bucket that starts at `time`; None = we were not running."""

    time: int
    received: int | None
    quarantined: int | None = 0


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A silence longer than three cadences, or a missing sequence. `end` is None while it lasts."""

    start: int
    end: int | None
    seconds: float
    kind: Literal["silence", "sequence"]
    missing: int | None = None
    """Records missing by the sender's numbering; None = unknown."""


class SenderSide(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender says about its own side."""

    known: bool
    how: str
    """How the sender counts (Sparkplug seq, signed manifest …), or why it is unknown."""
    sent: int | None = None
    missing: int | None = None


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """One row rule of the feed's contract."""

    id: str
    field: str
    kind: str
    expected: str
    mode: str
    failed: int | None = None
    """Records that failed it in the last 24 hours."""


class SetRuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One set rule over one received hour; `passed` is None while the hour holds too little to say."""

    id: str
    field: str
    metric: str
    expected: str
    hour: int | None
    rows: int | None
    failing: int | None
    value: float | None
    passed: bool | None


class NotRunRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for an engine we do not run: listed, never passed."""

    id: str
    field: str
    reason: str


class ContractView(msgspec.Struct, frozen=True, kw_only=True):
    """The contract version that checks a feed."""

    id: str
    version: str
    name: str
    hash: str
    datasets: list[str]
    rules: list[RuleView]
    set_rules: list[SetRuleResult]
    not_run: list[NotRunRule]


class FeedDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the feed page shows beside its last records, which come through the door."""

    row: FeedRow
    mode: str
    description: str
    template: str
    params: dict[str, str | int | float | bool | None]
    connection: ConnectionView
    contract: ContractView | None
    """None = the contract could not be resolved; the feed is then refused."""
    per_second: list[RatePoint]
    per_minute: list[RatePoint]
    gaps: list[Gap]
    sender: SenderSide
    ledger: LedgerDetail
    datasets: list[str]
    probe_possible: bool


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that needs a person. The list is ordered: critical first, then by deadline, then by `since`."""

    id: str
    severity: Severity
    title: str
    detail: str
    subject_kind: str
    """feed, connection, store, spool, incident, quarantine, person."""
    subject: str
    since: int | None
    deadline: int | None
    next_step: str
    href: str
    owner: str = ""


class Tower(msgspec.Struct, frozen=True, kw_only=True):
    """The control tower at one moment."""

    time: int
    commit_seq: int
    attention: list[Attention]
    feeds: int
    states: dict[str, int]
    """Feeds per state word."""
    checked: int | None
    """When the states were last worked out; None = never, so nothing may be called good."""
    holding: str = ""
    """Why sources are held back, or an empty text."""


class ViolationView(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule of one record."""

    rule: str
    field: str
    found: str
    expected: str


class QuarantineGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Records that failed the same way: contract, rule and field."""

    id: str
    """The fingerprint."""
    stage: str
    """decode, contract or frame."""
    code: str
    contract: str
    rule: str
    field: str
    expected: str
    example: str
    """What was found in the newest record; empty where the actor may not see it."""
    feeds: list[str]
    records: int
    first_seen: int
    last_seen: int
    trend: list[int] = []
    """Records per hour over the last 24 hours, oldest first."""


class QuarantineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One quarantined record with its reasons; `original` is the source's bytes where they are asked for."""

    id: int
    group: str
    feed: str
    contract: str
    stage: str
    code: str
    received: int
    lane: str
    frame: int
    position: int
    violations: list[ViolationView]
    attributes: dict[str, Any]
    size: int
    original: str | None = None
    """Text as UTF-8, or base64 where it is not."""
    encoding: Literal["utf-8", "base64"] = "utf-8"


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """A replay of a quarantine group: a job that puts its originals on the road again."""

    job: str
    group: str
    state: Literal["queued", "running", "done", "failed"]
    tried: int = 0
    released: int = 0
    still_failing: int = 0
    reason: str = ""


class RecordOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one record of a push."""

    position: int
    outcome: Literal["stored", "quarantined", "duplicate", "ignored"]
    quarantine_id: int | None = None
    violations: list[ViolationView] = []


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """Receipt of a push: `durable` when the bytes are fsynced, `committed` when the lake holds the outcome."""

    id: str
    feed: str
    state: Literal["durable", "committed"]
    received: int
    records: int | None = None
    """None until the codec has cut them."""
    stored: int | None = None
    quarantined: int | None = None
    duplicate: int | None = None
    ignored: int | None = None
    commit_seq: int | None = None
    repeated: bool = False
    """The same push was received before; this is its receipt."""
    outcomes: list[RecordOutcome] = []
    """One per record that was not stored; at most 1,000."""


class DatasetColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a dataset."""

    name: str
    type: str
    unit: str = ""
    term: str = ""
    description: str = ""
    classification: str = ""


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset of the catalogue."""

    name: str
    description: str
    columns: list[DatasetColumn]
    contracts: list[str]
    builtin: bool = False
    rows: int | None = None


class IncidentView(msgspec.Struct, frozen=True, kw_only=True):
    """One incident; `closed` is None while it is open."""

    id: int
    kind: str
    subject: str
    key: str
    opened: int
    last_seen: int
    closed: int | None
    detail: dict[str, Any]
    owner: str = ""
    note: str = ""
    severity: Severity = "warning"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this process does its work: false when frames wait and no group was tried for 5 s."""

    ready: bool
    reasons: list[str]
    waiting_frames: int | None = None
    last_try_age: float | None = None
    holding: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One announcement to live pages. `seq` is the commit_seq it belongs to; 0 = no commit."""

    topic: str
    """feeds, tower, ledger, or feed:<name>."""
    kind: str
    seq: int
    data: dict[str, Any]


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """One person who may sign in."""

    id: int
    name: str
    email: str
    roles: list[str]
    active: bool
    created: int
    last_sign_in: int | None = None
    invited: bool = False
    """True until a password was set."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """One API key; the secret itself is shown once, at creation."""

    id: int
    prefix: str
    scope: str
    """feed:<name> (may push to it) or actor:<person> (may do what that person may)."""
    created: int
    last_used: int | None
    revoked: int | None
    note: str = ""


class Whoami(msgspec.Struct, frozen=True, kw_only=True):
    """Who the request is taken for."""

    id: str
    name: str
    roles: list[str]
    authenticated: str
    """password, one-time-link, api-key or local-operator."""
    scope: str = ""
    csrf: str = ""
    """Token that unsafe requests of this session must carry in X-CSRF-Token; empty without a session."""
    expires: int | None = None
