"""Open Data Contract Standard 3.0, 3.1 and 3.2 as typed values; every node keeps its path and line.

Names follow the standard (https://bitol-io.github.io/open-data-contract-standard) in snake case. What the three
versions write differently (team as list or object, boolean or numeric exclusive limits) reads the same here. URLs are
text and are never opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AuthoritativeDefinition",
    "Contract",
    "EnumValue",
    "Member",
    "Operator",
    "Property",
    "Quality",
    "Relationship",
    "Role",
    "SchemaObject",
    "SlaProperty",
    "Team",
]

Path = tuple[str | int, ...]
"""Keys and list indexes from the document's root, as `('schema', 0, 'properties', 3)`."""
Spot = tuple[int, int]
"""Line and column, both from 1."""


@dataclass(frozen=True, slots=True)
class AuthoritativeDefinition:
    """A link to where something is defined; text only."""

    url: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """One comparison of a quality rule: `mustBe` (any scalar), `mustBeGreaterThan`, `mustBeBetween` (two limits) …"""

    name: str
    limits: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """One quality rule. `type` is text, library, sql or custom; `metric` holds 3.0's `rule` where that alone is given."""

    type: str
    path: Path
    position: Spot
    id: str = ""
    name: str = ""
    description: str = ""
    metric: str = ""
    rule: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    engine: str = ""
    implementation: Any = None
    """Of a custom rule: text or a mapping for that engine."""
    must: Operator | None = None
    dimension: str = ""
    severity: str = ""
    unit: str = ""
    """As written; the standard's default is rows."""
    method: str = ""
    business_impact: str = ""
    schedule: str = ""
    scheduler: str = ""
    tags: tuple[str, ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnumValue:
    """One permitted value of a property (3.2)."""

    value: str | int | float | bool | None
    label: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A reference to other columns. `source` is empty on a property, where it is the property itself."""

    to: tuple[str, ...]
    path: Path
    position: Spot
    source: tuple[str, ...] = ()
    type: str = "foreignKey"
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Property:
    """One property: a target column, a nested field or the item of an array (then `name` may be empty)."""

    name: str
    path: Path
    position: Spot
    id: str = ""
    physical_name: str = ""
    logical_type: str = ""
    """string, date, timestamp, time, number, integer, object, array, boolean, map, vector, or empty."""
    physical_type: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """logicalTypeOptions with 3.0's boolean exclusive limits rewritten as 3.1's: `exclusiveMinimum` holds the limit."""
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    primary_key_position: int = -1
    partitioned: bool = False
    partition_key_position: int = -1
    critical_data_element: bool = False
    transform_logic: str = ""
    transform_source_objects: tuple[str, ...] = ()
    transform_description: str = ""
    business_name: str = ""
    description: str = ""
    classification: str = ""
    encrypted_name: str = ""
    semantic_type: str = ""
    enum: tuple[EnumValue, ...] = ()
    examples: tuple[Any, ...] = ()
    tags: tuple[str, ...] = ()
    quality: tuple[Quality, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    definitions: tuple[AuthoritativeDefinition, ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    properties: tuple[Property, ...] = ()
    items: Property | None = None


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One schema object: what arrives, and by `physical_name` the dataset it writes."""

    name: str
    path: Path
    position: Spot
    id: str = ""
    physical_name: str = ""
    """As written; empty means the same as `name`."""
    physical_type: str = ""
    logical_type: str = ""
    business_name: str = ""
    description: str = ""
    granularity: str = ""
    properties: tuple[Property, ...] = ()
    quality: tuple[Quality, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    tags: tuple[str, ...] = ()
    definitions: tuple[AuthoritativeDefinition, ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """Return the dataset this object writes."""
        return self.physical_name or self.name


@dataclass(frozen=True, slots=True)
class Member:
    """One person of the team; dates as written (YYYY-MM-DD)."""

    username: str
    name: str = ""
    role: str = ""
    description: str = ""
    date_in: str = ""
    date_out: str = ""
    replaced_by: str = ""


@dataclass(frozen=True, slots=True)
class Team:
    """The people behind the contract; 3.0's plain list is a team without a name."""

    name: str = ""
    description: str = ""
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """One role that grants access."""

    role: str
    access: str = ""
    description: str = ""
    first_level_approvers: str = ""
    second_level_approvers: str = ""


@dataclass(frozen=True, slots=True)
class SlaProperty:
    """One service level: latency, frequency, retention, generalAvailability …"""

    property: str
    value: str | int | float | bool | None
    path: Path
    position: Spot
    value_ext: str | int | float | bool | None = None
    unit: str = ""
    element: str = ""
    driver: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one contract."""

    id: str
    version: str
    api_version: str
    """3.0.0 … 3.2.0, without the letter v."""
    place: str
    """File it was read from, as complaints name it."""
    status: str = ""
    name: str = ""
    domain: str = ""
    tenant: str = ""
    data_product: str = ""
    purpose: str = ""
    limitations: str = ""
    usage: str = ""
    schema: tuple[SchemaObject, ...] = ()
    team: Team = Team()
    roles: tuple[Role, ...] = ()
    sla: tuple[SlaProperty, ...] = ()
    sla_default_element: str = ""
    tags: tuple[str, ...] = ()
    definitions: tuple[AuthoritativeDefinition, ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""
    """sha256 of the canonical content (contracts/identity.py), hexadecimal."""
    document: Any = field(default=None, repr=False, compare=False)
    """The weftline.document.Document: `spot(path)` gives line and column of any node, `data` the plain values."""

    @property
    def reference(self) -> str:
        """Return `id@version`, as feeds name it."""
        return f"{self.id}@{self.version}"
