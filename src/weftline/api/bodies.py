"""Requests and answers of the API beside the service's views: pages of lists, and what people send."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from weftline.service.views import (
    DatasetRow,
    FeedRow,
    IncidentView,
    KeyView,
    LedgerRow,
    PersonView,
    QuarantineGroup,
    QuarantineRecord,
)

__all__ = [
    "Datasets",
    "Feeds",
    "Groups",
    "Health",
    "IncidentChange",
    "Incidents",
    "JobState",
    "JobView",
    "KeyMade",
    "KeyRequest",
    "Keys",
    "Ledger",
    "Link",
    "People",
    "PersonChange",
    "PersonRequest",
    "QueryRequest",
    "Records",
    "ReplayRequest",
    "SignInRequest",
]


JobState = Literal["queued", "running", "done", "failed"]


class Feeds(msgspec.Struct, frozen=True, kw_only=True):
    """A page of feeds in order of name; `total` counts those that fit the filters."""

    feeds: list[FeedRow]
    total: int
    next: str = ""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger per feed."""

    ledger: list[LedgerRow]
    commit_seq: int


class Datasets(msgspec.Struct, frozen=True, kw_only=True):
    """The catalogue of datasets."""

    datasets: list[DatasetRow]


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Quarantine groups, the most recently seen first."""

    groups: list[QuarantineGroup]


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantine group with a page of its records; `next` is the `after` of the next page, 0 at the end."""

    group: QuarantineGroup
    records: list[QuarantineRecord]
    next: int = 0


class Incidents(msgspec.Struct, frozen=True, kw_only=True):
    """A page of incidents, newest first; `next` is the `before` of the next page, 0 at the end."""

    incidents: list[IncidentView]
    next: int = 0


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """API keys without their secrets."""

    keys: list[KeyView]


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; `secret` is told this once."""

    key: KeyView
    secret: str


class People(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who may sign in."""

    people: list[PersonView]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link, told this once; good for 30 minutes and one use."""

    person: PersonView
    path: str
    expires_in: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"]
    version: str


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job."""

    id: int
    kind: str
    state: JobState
    progress: dict[str, Any]
    created: int
    created_by: str
    started: int | None
    ended: int | None
    result: Any
    log: str


class QueryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SELECT. `format` decides the content type of the answer."""

    sql: str
    limit: int = 10_000
    format: Literal["json", "csv", "parquet", "arrow"] = "json"
    purpose: str = ""


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a group is replayed; the header Idempotency-Key makes it happen once."""

    reason: str


class SignInRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account and its password."""

    email: str
    password: str


class PersonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new person; without a password they get in by a one-time link."""

    name: str
    email: str
    roles: list[str]
    password: str | None = None


class PersonChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New roles or activity of a person; what is left out stays."""

    roles: list[str] | None = None
    active: bool | None = None


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scope of a new key: `feed:<name>` (may end in *) or `actor:<email>`."""

    scope: str
    note: str = ""


class IncidentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Owner or note of an incident; what is left out stays."""

    owner: str | None = None
    note: str | None = None
