"""What a contract document may hold, as tables: one row a key, one reading for each of ODCS 3.0, 3.1 and 3.2.

A table row is a list of keys. `name!` is required, `name!31` required since 3.1, `name!..31` until 3.1; `name@31`
exists since 3.1. After the colon stands the type: text unless told, `[x]` a list of x, a capital letter another table.
The schemas accept what the JSON Schemas of the standard accept (tests/corpus compares them over seeded mutants), but
every object is closed in one place, so that an unknown key is one complaint and not a cascade.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from weftline.document_schema import DocumentSchema

__all__ = ["SUPPORTED", "family", "json_schema", "schema"]

SUPPORTED = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
"""Values of apiVersion that are read."""

_OPERATORS = {
    "mustBe": "any",
    "mustNotBe": "any",
    "mustBeGreaterThan": "num",
    "mustBeGreaterOrEqualTo": "num",
    "mustBeLessThan": "num",
    "mustBeLessOrEqualTo": "num",
    "mustBeBetween": "pair",
    "mustNotBeBetween": "pair",
}
_META = "customProperties:[CustomProperty] authoritativeDefinitions:[Definition] tags:[str]"
_ELEMENT = (
    f"id@31:id name! physicalName physicalType description businessName deprecated@32:bool synonyms@32:[Synonym] "
    f"quality:[Quality] {_META}"
)
_TABLES = {
    "Contract": (
        f"version! kind!:kind apiVersion!:api id! name tenant status!..31 servers:[Server] dataProduct domain "
        f"description:Description context@32:Context schema:[Object] support:[Support] price:Price team:Team "
        f"roles:[Role] slaDefaultElement slaProperties:[Sla] contractCreatedTs {_META}"
    ),
    "Description": "usage purpose limitations authoritativeDefinitions:[Definition] customProperties:[CustomProperty]",
    "Object": (
        f"{_ELEMENT} logicalType:object dataGranularityDescription properties:[Property] "
        f"relationships@31:[ObjectRelationship] context@32:Context"
    ),
    "Property": (
        f"{_ELEMENT} logicalType:logical logicalTypeOptions:obj primaryKey:bool primaryKeyPosition:int required:bool "
        f"unique:bool partitioned:bool partitionKeyPosition:int classification encryptedName "
        f"transformSourceObjects:[str] transformLogic transformDescription examples:[any] criticalDataElement:bool "
        f"semanticType@32:semantic enum@32:EnumValues relationships@31:[PropertyRelationship] "
        f"properties:[Property] items:Item map@32:Map"
    ),
    "Map": "key!:Item value!:Item",
    "Quality": (
        "id@31:id authoritativeDefinitions:[Definition] businessImpact customProperties:[CustomProperty] description "
        "dimension:dimension method name schedule scheduler severity tags:[str] type:rule unit metric@31:metric rule "
        "arguments@31:obj query engine implementation:implementation "
        + " ".join(f"{name}:{kind}" for name, kind in _OPERATORS.items())
    ),
    "Definition": "id@31:id url! type! description@31",
    "Support": ("id@31:id channel! url!..30 description tool scope invitationUrl customProperties@31:[CustomProperty]"),
    "Price": "id@31:id priceAmount:num priceCurrency priceUnit",
    "TeamObject": f"id:id name description members:[Member] {_META}",
    "Member": (
        "id@31:id username!31 name description role dateIn dateOut replacedByUsername "
        "customProperties@31:[CustomProperty] authoritativeDefinitions@31:[Definition] tags@31:[str]"
    ),
    "Role": (
        "id@31:id role! description access firstLevelApprovers secondLevelApprovers customProperties:[CustomProperty]"
    ),
    "Sla": (
        "id@31:id property! value!:scalar valueExt:scalar unit element driver description@31 scheduler@31 schedule@31 "
        "customProperties@32:[CustomProperty] authoritativeDefinitions@32:[Definition]"
    ),
    "CustomProperty": "id@31:id property!31 value!31:any description@31 vendor@32",
    "EnumValue": f"value!:scalar label id:id description {_META}",
    "Synonym": "id:id synonym! description locale source status customProperties:[CustomProperty]",
    "ContextObject": "instructions verifiedStatements:[Statement] constraints:[Constraint]",
    "Statement": f"id question! answer {_META}",
    "Constraint": f"id constraint! {_META}",
    "ObjectRelationship": "id@32 type:foreign from!:references to!:references customProperties:[CustomProperty]",
    "PropertyRelationship": "id@32 type:foreign to!:references customProperties:[CustomProperty]",
    "Server": "id@31:id server! type!:server description environment roles:[Role] customProperties:[CustomProperty]",
}
_ALWAYS_CLOSED = {"Contract", "Object", "Property"}
_ALWAYS_OPEN = {"Description"}

_HOST = "host! port!:port database!"
_SERVERS = {
    "api": "location!",
    "athena": "stagingDir!..31 schema! catalog regionName workgroup@32",
    "azure": "location! format!:format encoding@32 delimiter:delimiter",
    "bigquery": "project! dataset!",
    "btrieve@32 zen@31": "host! port:port database!",
    "clickhouse mysql synapse": _HOST,
    "databricks": "host catalog! schema!",
    "denodo": "host! port!:port database",
    "dremio": "host! port!:port schema",
    "duckdb": "database! schema:duckdb",
    "exasol@32": "host! port:port schema",
    "fastobjects@32 poet@32 versant@32": "database! host port:port",
    "glue": "account! database! location format encoding@32",
    "hana@32": "host! port:port database schema",
    "cloudsql postgresql postgres vertica": f"{_HOST} schema!",
    "db2": f"{_HOST} schema",
    "hive@31 impala@31 informix": "host! port:port database!",
    "iceberg@32": "catalog! catalogUrl! namespace warehouse",
    "ingres@32 vectorwise@32": "database! host! port:port",
    "kafka": "host! format encoding@32",
    "kinesis": "region format encoding@32",
    "local": "path! format! encoding@32",
    "oracle": "host! port!:port serviceName!",
    "presto": "host! catalog schema",
    "pubsub": "project!",
    "redshift": "host database! schema! region account",
    "s3": "location! endpointUrl format:format encoding@32 delimiter:delimiter",
    "sftp": "location!:sftp format:format encoding@32 delimiter:delimiter",
    "snowflake": "host port:port account! database! schema! warehouse",
    "sqlserver": "host! port:port database! schema!",
    "teradata@32": "host! port:port database",
    "trino": "host! port!:port catalog! schema!",
    "custom": (
        "account catalog database dataset delimiter endpointUrl format encoding@32 host location path port:port "
        "project region regionName schema serviceName stagingDir warehouse stream@31"
    ),
}
_BOUNDS = "format maximum:{0} minimum:{0} exclusiveMaximum:{1} exclusiveMinimum:{1}"
_TIMES = _BOUNDS.format("str", "str")
_OPTIONS = {
    "string": "minLength:count maxLength:count pattern format",
    "date": _BOUNDS.format("str", "edge"),
    "timestamp@31 time@31": f"{_TIMES} timezone:bool defaultTimezone",
    "integer": "multipleOf:positive " + _BOUNDS.format("num", "limit").replace("format", "format:integers"),
    "number": "multipleOf:positive " + _BOUNDS.format("num", "limit").replace("format", "format:floats"),
    "object": "maxProperties:count minProperties:count required:names",
    "array": "maxItems:count minItems:count uniqueItems:bool",
    "vector@32": (
        "dimensions!:dimensions elementType:element distanceMetric:distance embeddingModel embeddingModelVersion "
        "normalized:bool"
    ),
}
_LOGICAL = {"boolean": 30, "timestamp": 31, "time": 31, "map": 32, "vector": 32} | dict.fromkeys(
    ("string", "date", "number", "integer", "object", "array"), 30
)
_FIELD = re.compile(
    r"(?P<name>\w+)(?:(?P<must>!)(?:(?P<since>\d\d)|\.\.(?P<until>\d\d))?)?(?:@(?P<from>\d\d))?(?::(?P<type>.+))?\Z"
)
_NAME = "[A-Za-z_][A-Za-z0-9_]*"


def family(api_version: str) -> int:
    """Return 30, 31 or 32 for a supported apiVersion."""
    return int(api_version[1] + api_version[3])


def _words(*options: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(options)}


def _terms(version: int) -> dict[str, dict[str, Any]]:
    """Return the named types of a version."""
    number, text, whole = {"type": "number"}, {"type": "string"}, {"type": "integer"}
    return {
        "str": text,
        "bool": {"type": "boolean"},
        "int": whole,
        "num": number,
        "obj": {"type": "object"},
        "any": {},
        "scalar": {"type": ["string", "number", "boolean", "null"]},
        "pair": {"type": "array", "minItems": 2, "maxItems": 2, "uniqueItems": True, "items": number},
        "count": {"type": "integer", "minimum": 0},
        "dimensions": {"type": "integer", "minimum": 1},
        "positive": {"type": "number", "exclusiveMinimum": 0},
        "names": {"type": "array", "minItems": 1, "uniqueItems": True, "items": text},
        "edge": {"type": "boolean"} if version == 30 else text,
        "limit": {"type": "boolean"} if version == 30 else number,
        "id": text | {"pattern": r"^[A-Za-z0-9_-]+$" if version == 31 else r"^[^\s.#/\\@!%&^]+$"},
        "kind": _words("DataContract"),
        "api": _words(*(word for word in SUPPORTED if family(word) <= version)),
        "object": _words("object", *(["blob"] if version == 32 else [])),
        "logical": _words(*(word for word, since in _LOGICAL.items() if since <= version)),
        "semantic": _words("column", "measure", "dimension"),
        "rule": _words("text", "library", "sql", "custom"),
        "metric": _words("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"),
        "dimension": _words(
            "accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness"
        ),
        "implementation": {"type": ["string", "object"]},
        "foreign": _words("foreignKey"),
        "references": _references(version),
        "integers": _words(*(f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64, 128))),
        "floats": _words("f32", "f64"),
        "element": _words("bfloat16", "binary", "float16", "float32", "float64", "int8", "uint8"),
        "distance": _words("cosine", "dotProduct", "euclidean", "hamming", "manhattan"),
        "server": _words(*(name for names in _SERVERS for name in _since(names, version))),
        "port": {"type": ["integer", "string"]} if version == 32 else whole,
        "duckdb": whole if version == 30 else text,
        "format": _words("parquet", "delta", "json", "csv") if version == 30 else text,
        "delimiter": _words("new_line", "array") if version == 30 else text,
        "sftp": text | {"pattern": "^sftp://.*"},
        "EnumValues": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"$ref": "#/$defs/EnumValue"}},
        "Context": {"oneOf": [text, {"$ref": "#/$defs/ContextObject"}]},
        "Team": _team(version),
    }


def _team(version: int) -> dict[str, Any]:
    people = {"type": "array", "items": {"$ref": "#/$defs/Member"}}
    return people if version == 30 else {"oneOf": [{"$ref": "#/$defs/TeamObject"}, people]}


def _references(version: int) -> dict[str, Any]:
    """Return one reference or a list of them: `object.property`, or a path of ids after an optional file."""
    dashed = _NAME.replace("0-9_", r"0-9_\-") if version == 32 else _NAME
    short = rf"^{dashed}(\.{dashed})+$" if version == 32 else rf"^{_NAME}\.{_NAME}$"
    segment = r"[^\s.#/\\@!%&^]+" if version == 32 else "[A-Za-z0-9_-]+"
    file = rf"(?:(?:https?://)?[A-Za-z0-9._\-/]+\.{'ya?ml' if version == 32 else 'yaml'}#)?"
    full = rf"^{file}/?{_NAME}/{segment}(?:/{_NAME}/{segment})*$"
    one = {"type": "string", "pattern": f"(?:{short})|(?:{full})"}
    return {"oneOf": [one, {"type": "array", "minItems": 1, "items": one}]}


def _since(names: str, version: int) -> list[str]:
    """Return the names of `a b@31 c@32` that a version has."""
    pairs = (name.partition("@") for name in names.split())
    return [name for name, _, since in pairs if int(since or 30) <= version]


def _fields(row: str, version: int, terms: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Return the properties and the required keys of a table row in one version."""
    properties: dict[str, Any] = {}
    required = []
    for word in row.split():
        match = _FIELD.match(word)
        assert match, word
        if int(match["from"] or 30) > version:
            continue
        properties[match["name"]] = _type(match["type"] or "str", terms)
        if match["must"] and int(match["since"] or 30) <= version <= int(match["until"] or 32):
            required.append(match["name"])
    return properties, required


def _type(word: str, terms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if word.startswith("["):
        return {"type": "array", "items": _type(word[1:-1], terms)}
    return terms.get(word, {"$ref": f"#/$defs/{word}"})


def _object(row: str, version: int, terms: dict[str, dict[str, Any]], *, closed: bool) -> dict[str, Any]:
    properties, required = _fields(row, version, terms)
    built: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        built["required"] = required
    if closed:
        built["additionalProperties"] = False
    return built


def _when(key: str, word: str, then: dict[str, Any], otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"if": {"properties": {key: {"const": word}}, "required": [key]}, "then": then}
    return rule | ({"else": otherwise} if otherwise else {})


def _without(*keys: str) -> dict[str, Any]:
    return {"properties": dict.fromkeys(keys, False)}


def _property_rules(version: int, terms: dict[str, dict[str, Any]], *, item: bool) -> list[dict[str, Any]]:
    """Tie options and nested parts to the logical type; a property without one has neither options nor a wrong part."""
    rules = []
    for names, row in _OPTIONS.items():
        for name in _since(names, version):
            then: dict[str, Any] = {"properties": {"logicalTypeOptions": _object(row, version, terms, closed=True)}}
            if name == "vector":
                then["required"] = ["logicalTypeOptions"]
            rules.append(_when("logicalType", name, then))
    rules.append({
        "if": {"required": ["logicalType"]},
        "else": {"properties": {"logicalTypeOptions": {"maxProperties": 0}}},
    })  # fmt: skip
    for part, name in (("properties", "object"), ("items", "array")):
        if not (item and part == "properties" and version == 30):
            rules.append({"if": {"properties": {"logicalType": {"const": name}}}, "else": _without(part)})
    if version == 32:
        rules.append(_when("logicalType", "map", {"required": ["map"]}, _without("map")))
    return rules


def _quality_rules(version: int, terms: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Tie metric, query and engine to the rule's type; since 3.1 a library or sql rule has exactly one operator."""
    sql: dict[str, Any] = {"required": ["query"]}
    custom: dict[str, Any] = {"required": ["engine", "implementation"]}
    if version == 30:
        typed = {name: _type(kind, terms) for name, kind in _OPERATORS.items()} | {"rule": terms["str"]}
        sql["properties"] = {"query": terms["str"]}
        custom["properties"] = {"engine": terms["str"], "implementation": terms["implementation"]}
        # A rule without a type is a library rule in 3.0.
        assumed = {"properties": {"type": {"const": "library"}}}
        library = {"if": assumed, "then": {"required": ["rule"], "properties": typed}}
        return [library, _when("type", "sql", sql), _when("type", "custom", custom)]
    one = {"oneOf": [{"required": [name]} for name in _OPERATORS]}
    measured = {
        "anyOf": [{"properties": {"type": {"const": "library"}}, "required": ["type"]}, {"required": ["metric"]}]
    }
    checked = {"anyOf": [measured, {"properties": {"type": {"const": "sql"}}, "required": ["type"]}]}
    return [
        {"if": measured, "then": {"required": ["metric"]}, "else": _without("metric", "rule", "arguments")},
        {"if": checked, "then": one, "else": _without(*_OPERATORS)},
        _when("type", "sql", sql, _without("query")),
        _when("type", "custom", custom, _without("engine", "implementation")),
    ]


def _server_rules(version: int, terms: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each type of server its keys; since 3.1 it has no others."""
    shared, _ = _fields(_TABLES["Server"], version, terms)
    rules = []
    for names, row in _SERVERS.items():
        for name in _since(names, version):
            then = _object(row, version, terms, closed=version > 30)
            then["properties"] = dict.fromkeys(shared, True) | then["properties"]
            rules.append(_when("type", name, then))
    return rules


def json_schema(version: int) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ODCS 3.0, 3.1 or 3.2, given as 30, 31 or 32."""
    terms = _terms(version)
    defs = {}
    for name, row in _TABLES.items():
        closed = name in _ALWAYS_CLOSED or (version > 30 and name not in _ALWAYS_OPEN)
        defs[name] = _object(row, version, terms, closed=closed)
    defs["Item"] = dict(defs["Property"])
    del defs["Item"]["required"]
    defs["Property"]["allOf"] = _property_rules(version, terms, item=False)
    defs["Item"]["allOf"] = _property_rules(version, terms, item=True)
    defs["Server"]["allOf"] = _server_rules(version, terms)
    defs["Server"].pop("additionalProperties", None)
    if version > 30:
        same = [{"properties": {end: {"type": kind} for end in ("from", "to")}} for kind in ("string", "array")]
        defs["ObjectRelationship"]["anyOf"] = same
    defs["Quality"]["allOf"] = _quality_rules(version, terms)
    if version == 30:
        # Of these keys 3.0 types only those of the rule's own type; the others are unknown keys of an open object.
        for key in ("rule", "query", "engine", "implementation", *_OPERATORS):
            defs["Quality"]["properties"][key] = True
    contract = defs.pop("Contract")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **contract, "$defs": defs}


@cache
def schema(version: int) -> DocumentSchema:
    """Return the compiled schema of a version (30, 31, 32)."""
    return DocumentSchema(json_schema(version))
