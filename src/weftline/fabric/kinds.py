"""The documents of a fabric folder as models: fabric.yaml, connections, feeds, templates, sites, partners.

A connection's other keys, a feed's `select` and its `format` belong to the connector and codec (fabric/schema.py).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from weftline.model.feed import Mode, OnBatch

__all__ = [
    "Area",
    "Connection",
    "FabricFile",
    "Feed",
    "Instances",
    "Line",
    "Parameter",
    "Partner",
    "Shift",
    "Site",
    "Template",
    "WorkUnit",
    "seconds",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_PARAMETER_TYPES = ("string", "integer", "number", "boolean", "enum")

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$",
        extra_json_schema={"x-expected": "a name of letters, digits, dots, dashes and underscores, at most 200"},
    ),
]
Duration = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,8}(ms|s|m|h|d|w)$",
        extra_json_schema={"x-expected": "a duration such as 500ms, 15s, 5m, 1h, 30d or 2w"},
    ),
]
Size = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{0,8}(MB|GB|MiB|GiB)$", extra_json_schema={"x-expected": "a size such as 512MB or 4GB"}),
]
Reference = Annotated[
    str,
    Meta(pattern=r"^[^@\s]+@[^@\s]+$", extra_json_schema={"x-expected": "a contract and its version, as id@version"}),
]
TimeOfDay = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", extra_json_schema={"x-expected": "a time of day, as 06:00"})
]
Scalar = str | int | float | bool | None


@lru_cache(maxsize=4096)
def seconds(duration: str) -> float:
    """Return a duration such as `15s`, `5m`, `1h` in seconds."""
    match = re.fullmatch(r"([0-9]+)([a-z]+)", duration)
    assert match, duration
    return int(match[1]) * _UNITS[match[2]]


class _Model(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True, frozen=True):
    """Refuse unknown keys; keys are camelCase."""


class Tls(_Model, frozen=True):
    """Certificate of the website and the API."""

    certificate: Annotated[str, Meta(description="PEM file with the certificate chain, relative to the folder.")]
    key: Annotated[str, Meta(description="PEM file with the private key; it stays outside version control.")]


class Listen(_Model, frozen=True):
    """Where the website and the API listen."""

    host: Annotated[str, Meta(description="Address; without TLS settings only loopback is served in clear.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one.")] = 8420
    tls: Annotated[Tls | None, Meta(description="Own certificate; else a self-signed one off loopback.")] = None


class Lake(_Model, frozen=True):
    """Where facts are kept and how much memory the store may take."""

    path: Annotated[str, Meta(description="Folder of the lake; default .weftline in the fabric folder.")] = ""
    memory_limit: Annotated[Size | None, Meta(description="Memory of the store; default a quarter of RAM.")] = None
    min_free: Annotated[
        Size | None, Meta(description="Free space below which sources are held back; default 1GiB.")
    ] = None
    hot_days: Annotated[int, Meta(ge=1, le=3650, description="Days kept in the hot store before they are sealed.")] = 14


class Control(_Model, frozen=True):
    """The database of people, workflow and published versions."""

    url: Annotated[str, Meta(description="SQLAlchemy URL; default SQLite in .weftline. No password here.")] = ""


class Retention(_Model, frozen=True):
    """How long things are kept."""

    quarantine: Annotated[Duration, Meta(description="Quarantined records.")] = "90d"
    archive: Annotated[Duration, Meta(description="Ingested files.")] = "30d"
    decisions: Annotated[Duration, Meta(description="Decisions about reads.")] = "400d"


class Group(_Model, frozen=True):
    """How rows are gathered before a commit."""

    interval: Annotated[Duration, Meta(description="Longest wait of a row for its commit group.")] = "100ms"


class Notification(_Model, frozen=True):
    """One channel that people are told through."""

    name: Name
    target: Annotated[
        str, Meta(description="Reference to the channel's address: env:NAME or file:PATH.", pattern="^(env|file):.+$")
    ]
    description: str = ""


class FabricFile(_Model, frozen=True):
    """fabric.yaml: the fabric's name and its settings."""

    name: Annotated[Name, Meta(description="Name of the fabric, shown on every page.")]
    description: str = ""
    timezone: Annotated[str, Meta(description="IANA time zone in which pages show times, as Europe/Berlin.")] = "UTC"
    listen: Listen = Listen()
    lake: Lake = Lake()
    control: Control = Control()
    retention: Retention = Retention()
    group: Group = Group()
    notifications: list[Notification] = []


class Connection(_Model, frozen=True):
    """One session with one system; the other keys belong to the connector named by `kind`."""

    name: Annotated[Name, Meta(description="Name that feeds use.")]
    kind: Annotated[str, Meta(description="Connector.")]
    description: str = ""


class Feed(_Model, frozen=True):
    """One stream of records under one contract."""

    name: Annotated[Name, Meta(description="Name of the feed; unique in the fabric, part of its address.")]
    connection: Annotated[Name, Meta(description="Connection the records come through.")]
    contract: Annotated[Reference, Meta(description="Contract every record must pass, as id@version.")]
    format: Annotated[dict[str, Any], Meta(description="Codec and its options.")]
    select: Annotated[dict[str, Any], Meta(description="What of the connection belongs to this feed.")] = {}
    description: str = ""
    mode: Annotated[Mode, Meta(description="What a failed rule does: observe, warn or enforce (quarantine).")] = (
        Mode.ENFORCE
    )
    severity: Annotated[dict[str, Mode], Meta(description="Rule id to a stricter mode than the feed's.")] = {}
    cadence: Annotated[Duration | None, Meta(description="Expected time between records.")] = None
    partner: Annotated[str, Meta(description="Partner the records come from.")] = ""
    site: Annotated[str, Meta(description="Site the records speak of.")] = ""
    critical: Annotated[bool, Meta(description="Shown first when it needs attention.")] = False
    on_batch: Annotated[OnBatch, Meta(description="What a failed set rule does to a whole file.")] = OnBatch.PASS
    future_limit: Annotated[Duration, Meta(description="Event times further ahead are quarantined.")] = "5m"
    params: Annotated[dict[str, Scalar], Meta(description="Values the contract reads as feed.<name>.")] = {}


class Parameter(_Model, frozen=True):
    """One typed parameter of a template: a column of its instance table."""

    name: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$",
            extra_json_schema={"x-expected": "a name of letters, digits and underscores"},
        ),
    ]
    type: Annotated[str, Meta(extra_json_schema={"enum": ["string", "integer", "number", "boolean", "enum"]})] = (
        "string"
    )
    required: Annotated[bool, Meta(description="Refuse a row without it, unless there is a default.")] = True
    default: Scalar = None
    values: Annotated[list[str], Meta(description="Permitted values of an enum.")] = []
    description: str = ""


class Instances(_Model, frozen=True):
    """Rows of parameters: a CSV file beside the template, or rows written here."""

    table: Annotated[str, Meta(description="CSV file beside the template; its header names parameters.")] = ""
    rows: list[dict[str, Scalar]] = []


class Template(_Model, frozen=True):
    """Feeds written once and made for every row of a table; {parameter} in a text is replaced."""

    name: Name
    parameters: Annotated[list[Parameter], Meta(min_length=1)]
    instances: Instances
    feeds: Annotated[list[dict[str, Any]], Meta(min_length=1, description="Feed documents with {parameter} in texts.")]
    description: str = ""


class WorkUnit(_Model, frozen=True):
    """A machine or cell (ISA-95 work unit)."""

    name: Name
    description: str = ""
    equipment: Annotated[str, Meta(description="Id of the equipment in facts, where it differs from the path.")] = ""
    ideal_cycle: Annotated[Duration | None, Meta(description="Ideal time of one piece.")] = None


class Line(_Model, frozen=True):
    """A line or process cell (ISA-95 work center)."""

    name: Name
    description: str = ""
    units: list[WorkUnit] = []


class Area(_Model, frozen=True):
    """An area of a site (ISA-95)."""

    name: Name
    description: str = ""
    lines: list[Line] = []


class Shift(_Model, frozen=True):
    """One shift in the site's local time; an end before its start is on the next day."""

    name: Name
    start: TimeOfDay
    end: TimeOfDay
    days: list[Annotated[str, Meta(extra_json_schema={"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]})]] = []


class Reason(_Model, frozen=True):
    """One reason of a stop, with finer ones below."""

    code: str
    name: str = ""
    planned: bool = False
    reasons: list[Reason] = []


class Site(_Model, frozen=True):
    """One plant or warehouse: its hierarchy after ISA-95, its calendar and its reasons."""

    name: Name
    description: str = ""
    timezone: Annotated[str, Meta(description="IANA time zone of the site.")] = "UTC"
    gln: Annotated[str, Meta(description="GS1 Global Location Number.")] = ""
    areas: list[Area] = []
    shifts: list[Shift] = []
    reasons: list[Reason] = []


class Contact(_Model, frozen=True):
    """A person or desk at a partner."""

    name: str
    email: str = ""
    phone: str = ""
    role: str = ""


class Envelope(_Model, frozen=True):
    """An identity a partner uses on EDI envelopes."""

    id: str
    qualifier: Annotated[str, Meta(description="ISA05/ISA07 or UNB qualifier.")] = ""


class Partner(_Model, frozen=True):
    """One company data is exchanged with."""

    name: Name
    description: str = ""
    role: Annotated[
        str,
        Meta(extra_json_schema={"enum": ["supplier", "customer", "carrier", "logistics", "manufacturer", "other"]}),
    ] = "other"
    gln: Annotated[str, Meta(description="GS1 Global Location Number.")] = ""
    bpn: Annotated[str, Meta(description="Catena-X Business Partner Number.")] = ""
    duns: Annotated[str, Meta(description="D-U-N-S number.")] = ""
    critical: Annotated[bool, Meta(description="Shown first when it needs attention.")] = False
    contacts: list[Contact] = []
    envelopes: list[Envelope] = []
