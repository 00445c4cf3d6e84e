"""Contracts as a kind of document of a fabric folder, and their schema for editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from weftline.contracts.odcs import Contract, load
from weftline.contracts.odcs_schema import SUPPORTED, json_schema
from weftline.document import DocumentKind, Reading
from weftline.errors import Complaint

__all__ = ["KIND"]


def _versions(readings: Sequence[Reading]) -> Iterable[Complaint]:
    """Refuse two documents of one `id@version`."""
    seen: dict[str, str] = {}
    for reading in readings:
        contract = reading.value
        if isinstance(contract, Contract) and reading.document:
            first = seen.setdefault(contract.reference, contract.place)
            if first != contract.place:
                found = f"contract {contract.reference}, also in {first}"
                step = "Raise the version of one."
                yield reading.document.complaint(
                    "contract-duplicate-version", ("version",), found, "each id@version once", step
                )


def _editor_schema() -> dict[str, Any]:
    """Return one JSON Schema for editors that reads a document by its own apiVersion."""
    versions = {f"v{number}": _moved(json_schema(number), f"v{number}") for number in (30, 31, 32)}
    rules = [
        {
            "if": {"properties": {"apiVersion": {"pattern": rf"^v{name[1]}\.{name[2]}\."}}, "required": ["apiVersion"]},
            "then": {"$ref": f"#/$defs/{name}"},
        }
        for name in versions
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Open Data Contract Standard 3.0, 3.1 or 3.2",
        "type": "object",
        "properties": {"apiVersion": {"type": "string", "enum": list(SUPPORTED)}},
        "required": ["apiVersion"],
        "allOf": rules,
        "$defs": versions,
    }


def _moved(part: Any, home: str) -> Any:
    """Return a schema with its references pointing below `#/$defs/<home>`."""
    if isinstance(part, dict):
        return {
            key: value.replace("#/$defs/", f"#/$defs/{home}/$defs/") if key == "$ref" else _moved(value, home)
            for key, value in part.items()
            if key != "$schema"
        }
    return [_moved(item, home) for item in part] if isinstance(part, list) else part


KIND = DocumentKind(
    "contract",
    ("contracts/*.odcs.yaml", "contracts/*.odcs.yml", "contracts/*.odcs.json"),
    "what arrives and what it must hold, by the Open Data Contract Standard 3.0, 3.1 or 3.2",
    load,
    _editor_schema,
    _versions,
)
