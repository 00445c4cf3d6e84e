"""Open Data Contract Standard 3.0, 3.1 and 3.2 as typed values; every node keeps its path and line.

Names follow the standard (https://bitol-io.github.io/open-data-contract-standard) in snake case. What the three
versions write differently (team as list or object, boolean or numeric exclusive limits) reads the same here. Servers,
support, price and context stay in the document's data. URLs are text and are never opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from weftline.contracts.identity import content_hash
from weftline.contracts.odcs_schema import SUPPORTED, family, schema
from weftline.document import Document, Reading, Tree, parse
from weftline.errors import Complaint, nearest

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
    "load",
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
    """One quality rule. `type` is text, library, sql or custom; `metric` holds 3.0's `rule` if it alone is given."""

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
    map: tuple[Property, Property] | None = None
    """Key and value of a map (3.2)."""


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
    document: Document | None = field(default=None, repr=False, compare=False)
    """`spot(path)` gives line and column of any node, `complaint(...)` speaks of one, `data` holds the plain values."""

    @property
    def reference(self) -> str:
        """Return `id@version`, as feeds name it."""
        return f"{self.id}@{self.version}"


_OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)


class _View:
    """One mapping of the document with its node and path, so that positions cost no search from the root."""

    __slots__ = ("_nodes", "data", "node", "path")

    def __init__(self, data: Mapping[str, Any], node: Any, path: Path) -> None:
        self.data = data
        self.node = node
        self.path = path
        self._nodes: dict[str, Any] | None = None

    @property
    def spot(self) -> Spot:
        return (self.node.start_mark.line + 1, self.node.start_mark.column + 1)

    def _child(self, key: str) -> Any:
        if self._nodes is None:
            self._nodes = {name.value: value for name, value in self.node.value if isinstance(name, yaml.ScalarNode)}
        return self._nodes[key]

    def text(self, key: str) -> str:
        return str(self.data.get(key) or "")

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key) or ()
        return (value,) if isinstance(value, str) else tuple(value)

    def part(self, key: str) -> _View | None:
        data = self.data.get(key)
        return _View(data, self._child(key), (*self.path, key)) if isinstance(data, dict) else None

    def parts(self, key: str) -> Iterator[_View]:
        data = self.data.get(key)
        if isinstance(data, list):
            node = self._child(key)
            for index, (item, child) in enumerate(zip(data, node.value, strict=True)):
                yield _View(item, child, (*self.path, key, index))

    def custom(self) -> dict[str, Any]:
        return {item.text("property"): item.data.get("value") for item in self.parts("customProperties")}

    def definitions(self) -> tuple[AuthoritativeDefinition, ...]:
        return tuple(
            AuthoritativeDefinition(item.text("url"), item.text("type"), item.text("description"))
            for item in self.parts("authoritativeDefinitions")
        )


def _options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return logicalTypeOptions with a boolean exclusive limit of 3.0 turned into the limit itself."""
    options = dict(data)
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = options.get(exclusive)
        if flag is False or (flag is True and inclusive not in options):
            del options[exclusive]
        elif flag is True:
            options[exclusive] = options.pop(inclusive)
    return options


def _quality(view: _View) -> Quality:
    data = view.data
    metric = view.text("metric") or view.text("rule")
    name = next((name for name in _OPERATORS if name in data), "")
    limits = data.get(name)
    return Quality(
        type=view.text("type") or ("library" if metric else "text"),
        path=view.path,
        position=view.spot,
        id=view.text("id"),
        name=view.text("name"),
        description=view.text("description"),
        metric=metric,
        rule=view.text("rule"),
        arguments=data.get("arguments") or {},
        query=view.text("query"),
        engine=view.text("engine"),
        implementation=data.get("implementation"),
        must=Operator(name, tuple(limits) if isinstance(limits, list) else (limits,)) if name else None,
        dimension=view.text("dimension"),
        severity=view.text("severity"),
        unit=view.text("unit"),
        method=view.text("method"),
        business_impact=view.text("businessImpact"),
        schedule=view.text("schedule"),
        scheduler=view.text("scheduler"),
        tags=view.strings("tags"),
        custom=view.custom(),
    )


def _relationship(view: _View) -> Relationship:
    return Relationship(
        view.strings("to"),
        view.path,
        view.spot,
        view.strings("from"),
        view.text("type") or "foreignKey",
        view.custom(),
    )


def _property(view: _View) -> Property:
    data = view.data
    items, pair = view.part("items"), view.part("map")
    key, value = (pair.part("key"), pair.part("value")) if pair else (None, None)
    return Property(
        name=view.text("name"),
        path=view.path,
        position=view.spot,
        id=view.text("id"),
        physical_name=view.text("physicalName"),
        logical_type=view.text("logicalType"),
        physical_type=view.text("physicalType"),
        options=_options(data.get("logicalTypeOptions") or {}),
        required=bool(data.get("required")),
        unique=bool(data.get("unique")),
        primary_key=bool(data.get("primaryKey")),
        primary_key_position=int(data.get("primaryKeyPosition", -1)),
        partitioned=bool(data.get("partitioned")),
        partition_key_position=int(data.get("partitionKeyPosition", -1)),
        critical_data_element=bool(data.get("criticalDataElement")),
        transform_logic=view.text("transformLogic"),
        transform_source_objects=view.strings("transformSourceObjects"),
        transform_description=view.text("transformDescription"),
        business_name=view.text("businessName"),
        description=view.text("description"),
        classification=view.text("classification"),
        encrypted_name=view.text("encryptedName"),
        semantic_type=view.text("semanticType"),
        enum=tuple(
            EnumValue(item.data["value"], item.text("label"), item.text("description")) for item in view.parts("enum")
        ),
        examples=tuple(data.get("examples") or ()),
        tags=view.strings("tags"),
        quality=tuple(map(_quality, view.parts("quality"))),
        relationships=tuple(map(_relationship, view.parts("relationships"))),
        definitions=view.definitions(),
        custom=view.custom(),
        properties=tuple(map(_property, view.parts("properties"))),
        items=_property(items) if items else None,
        map=(_property(key), _property(value)) if key and value else None,
    )


def _object(view: _View) -> SchemaObject:
    return SchemaObject(
        name=view.text("name"),
        path=view.path,
        position=view.spot,
        id=view.text("id"),
        physical_name=view.text("physicalName"),
        physical_type=view.text("physicalType"),
        logical_type=view.text("logicalType"),
        business_name=view.text("businessName"),
        description=view.text("description"),
        granularity=view.text("dataGranularityDescription"),
        properties=tuple(map(_property, view.parts("properties"))),
        quality=tuple(map(_quality, view.parts("quality"))),
        relationships=tuple(map(_relationship, view.parts("relationships"))),
        tags=view.strings("tags"),
        definitions=view.definitions(),
        custom=view.custom(),
    )


def _team(view: _View) -> Team:
    held = view.part("team")
    members = held.parts("members") if held else view.parts("team")
    return Team(
        held.text("name") if held else "",
        held.text("description") if held else "",
        tuple(
            Member(
                member.text("username"),
                member.text("name"),
                member.text("role"),
                member.text("description"),
                member.text("dateIn"),
                member.text("dateOut"),
                member.text("replacedByUsername"),
            )
            for member in members
        ),
    )


def _contract(document: Document) -> Contract:
    view = _View(document.data, document.root, ())
    words = view.part("description")
    return Contract(
        id=view.text("id"),
        version=view.text("version"),
        api_version=view.text("apiVersion").removeprefix("v"),
        place=document.place,
        status=view.text("status"),
        name=view.text("name"),
        domain=view.text("domain"),
        tenant=view.text("tenant"),
        data_product=view.text("dataProduct"),
        purpose=words.text("purpose") if words else "",
        limitations=words.text("limitations") if words else "",
        usage=words.text("usage") if words else "",
        schema=tuple(map(_object, view.parts("schema"))),
        team=_team(view),
        roles=tuple(
            Role(
                role.text("role"),
                role.text("access"),
                role.text("description"),
                role.text("firstLevelApprovers"),
                role.text("secondLevelApprovers"),
            )
            for role in view.parts("roles")
        ),
        sla=tuple(
            SlaProperty(
                level.text("property"),
                level.data["value"],
                level.path,
                level.spot,
                level.data.get("valueExt"),
                level.text("unit"),
                level.text("element"),
                level.text("driver"),
                level.text("description"),
            )
            for level in view.parts("slaProperties")
        ),
        sla_default_element=view.text("slaDefaultElement"),
        tags=view.strings("tags"),
        definitions=view.definitions(),
        custom=view.custom(),
        hash=content_hash(document.data),
        document=document,
    )


def _names(contract: Contract, document: Document) -> Iterator[Complaint]:
    """Refuse what the standard's schema cannot: names given twice, and ids that `id@version` cannot carry."""
    for key, value in (("id", contract.id), ("version", contract.version)):
        if not value or "@" in value or any(not mark.isprintable() or mark.isspace() for mark in value):
            expected = "text without @ and spaces, since feeds name a contract as id@version"
            yield document.complaint("contract-reference", (key,), f"'{value[:60]}'", expected)
    yield from _twice(document, contract.schema, "schema object")
    for table in contract.schema:
        stack = [table.properties]
        while stack:
            level = stack.pop()
            yield from _twice(document, level, "property")
            stack += [item.properties for item in level if item.properties]
            stack += [item.items.properties for item in level if item.items and item.items.properties]


def _twice(document: Document, parts: Sequence[SchemaObject] | Sequence[Property], what: str) -> Iterator[Complaint]:
    seen: set[str] = set()
    for part in parts:
        if part.name in seen:
            path = (*part.path, "name")
            found = f"{what} '{part.name}' a second time"
            yield document.complaint("contract-duplicate-name", path, found, "each name once")
        seen.add(part.name)


def _later(tree: Tree, version: int, reading: Reading) -> Reading:
    """Tell the writer when the document fits a later version of the standard than the one it names."""
    fits = next(
        (word for word in SUPPORTED if family(word) > version and not tree.read(schema(family(word))).complaints), ""
    )
    if not fits:
        return reading
    step = f"The document fits {fits}: set apiVersion to it."
    return replace(reading, complaints=tuple(replace(item, next_step=step) for item in reading.complaints))


def load(data: bytes, place: str) -> Reading:
    """Read a contract; the reading's value is a Contract unless something is complained about."""
    tree = parse(data, place)
    if isinstance(tree, Complaint):
        return Reading(None, (tree,))
    version = tree.text("apiVersion") or ""
    if version not in SUPPORTED:
        line, column = Document(place, None, tree.root).spot(("apiVersion",))
        hint = nearest(f"v{version.removeprefix('v')}", SUPPORTED)
        step = f"D{hint[1:]}" if hint.startswith("did") else "Set apiVersion to one of these."
        found = f"apiVersion '{version[:40]}'" if version else "no apiVersion"
        complaint = Complaint("contract-api-version", place, found, ", ".join(SUPPORTED), step, line, column)
        return Reading(None, (complaint,))
    reading = tree.read(schema(family(version)))
    if reading.document is None or reading.complaints:
        return _later(tree, family(version), reading)
    contract = _contract(reading.document)
    complaints = tuple(_names(contract, reading.document))
    return Reading(reading.document, complaints, None if complaints else contract)
