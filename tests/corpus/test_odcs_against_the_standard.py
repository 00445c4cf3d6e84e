"""Our reading of ODCS against the standard's own JSON Schemas: its examples and seeded mutants of them."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from weftline.contracts import odcs_schema
from weftline.contracts.odcs import Contract, load
from weftline.contracts.odcs_schema import schema
from weftline.document import read

ROOT = Path(__file__).resolve().parents[2]
ODCS = Path(os.environ.get("WEFTLINE_CORPUS", ROOT.parent / "shared" / "data")) / "governance" / "odcs"
pytestmark = pytest.mark.skipif(not ODCS.is_dir(), reason=f"no corpus at {ODCS}")
VERSIONS = {30: "3.0.2", 31: "3.1.0", 32: "3.2.0"}
MUTANTS = 3000
TIED = {"metric", "rule", "query", "engine", "logicalTypeOptions", "server", "items", "relationships"}
KEYS = sorted(
    {
        match["name"]
        for row in (*odcs_schema._TABLES.values(), *odcs_schema._SERVERS.values(), *odcs_schema._OPTIONS.values())
        for word in row.format("num", "num").split()
        if (match := odcs_schema._FIELD.match(word))
    }
    | {"unheardOf"}
)
VALUES: list[Any] = [
    "x", "", 1, -1, 1.5, True, False, None, [], {}, ["a"], "a.b", ["a.b"], "a.b.c", "schema/a", "f.yml#/schema/a",
    "é", "string", "integer", "object", "array", "map", "vector", "timestamp", "sql", "library", "custom", "text",
    "measure", "rowCount", [1, 2], [1, 1], {"key": {}, "value": {}}, {"format": "x"}, {"format": "i8"},
    {"exclusiveMinimum": True}, {"exclusiveMinimum": 1}, {"dimensions": 3}, [{"name": "q"}], [{"value": 1}],
    [{"metric": "rowCount", "mustBe": 1}], [{"rule": "x"}], [{"to": "a.b"}], [{"from": "a.b", "to": ["a.b"]}],
    [{"username": "u"}], {"members": []}, [{"property": "a", "value": [1]}], [{"property": "a"}], "sftp://x",
    {"minLength": 1}, "postgres", "kafka", "hana", "duckdb",
    [{"server": "s", "type": "local", "path": "p", "format": "f"}], [{"channel": "c"}],
]  # fmt: skip


def official(version: int) -> Any:
    path = ODCS / "schema" / f"odcs-json-schema-v{VERSIONS[version]}.json"
    return jsonschema_rs.validator_for(json.loads(path.read_text()), validate_formats=False, offline=True)


def documents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted([*ODCS.glob("examples/*.yaml"), *ODCS.glob("cli-fixtures/*.yaml")]):
        document = read(path.read_bytes(), path.name, schema(32)).document
        assert document is not None
        found.append((path.name, document.data))
    assert len(found) >= 17
    return found


def nodes(value: Any) -> Iterator[Any]:
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(part)


def mutate(source: random.Random, data: dict[str, Any]) -> dict[str, Any]:
    """Set, replace or remove a key of one to three mappings or lists."""
    data = copy.deepcopy(data)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        found = [item for item in nodes(data) if isinstance(item, dict | list)]
        # Half of the mutants change what has rules across keys: quality, properties with options, servers.
        tied = [item for item in found if isinstance(item, dict) and item.keys() & TIED]
        node = source.choice(tied if tied and source.random() < 0.5 else found)
        value = copy.deepcopy(source.choice(VALUES))
        if isinstance(node, list):
            node.append(value)
        elif node and source.random() < 0.2:
            node.pop(source.choice(sorted(node)))
        else:
            node[source.choice(KEYS if source.random() < 0.6 or not node else sorted(node))] = value
    return data


@pytest.mark.parametrize("version", VERSIONS)
def test_every_example_is_accepted_or_refused_as_the_standard_does(version: int) -> None:
    judge = official(version)
    for name, data in documents():
        told = {**data, "apiVersion": f"v{VERSIONS[version]}"}
        assert schema(version).accepts(told) == judge.is_valid(told), name


@pytest.mark.parametrize("version", VERSIONS)
def test_mutants_are_accepted_or_refused_as_the_standard_does(version: int) -> None:
    judge, ours, source, base = official(version), schema(version), random.Random(version), documents()
    accepted = 0
    for number in range(MUTANTS):
        name, data = source.choice(base)
        data = {**data, "apiVersion": f"v{VERSIONS[version]}"}
        data.setdefault("status", "active")
        data.setdefault("version", "1.0.0")
        mutant = mutate(source, data)
        # apiVersion 2.2 is in the enum of the standard's schemas, whose keys it does not share; it is not read here.
        verdict = judge.is_valid(mutant)
        accepted += verdict
        told = json.dumps(mutant)[:2000]
        assert ours.accepts(mutant) == verdict, f"mutant {number} of {name}: the standard says {verdict}: {told}"
    assert MUTANTS // 20 < accepted < MUTANTS * 19 // 20, "the mutants say something on both sides"


def test_every_example_that_its_own_version_accepts_is_loaded() -> None:
    judges = {version: official(version) for version in VERSIONS}
    loaded = 0
    for path in sorted([*ODCS.glob("examples/*.yaml"), *ODCS.glob("cli-fixtures/*.yaml")]):
        reading = load(path.read_bytes(), path.name)
        assert reading.document is not None
        data = reading.document.data
        valid = judges[int(data["apiVersion"][1] + data["apiVersion"][3])].is_valid(data)
        assert isinstance(reading.value, Contract) == valid, (
            path.name,
            [item.sentence() for item in reading.complaints],
        )
        assert valid or all(item.line for item in reading.complaints)
        loaded += valid
    assert loaded >= 10
