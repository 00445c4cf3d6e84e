"""OpenAPI 3.1 from the routes' own declarations; nothing is written twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from weftline.api.operations import JSON, Operation
from weftline.api.problems import MEDIA, Problem

__all__ = ["document"]

PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
REF = "#/components/schemas/{name}"


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Weftline",
            "version": version or "0",
            "summary": "Records in, contracts enforced, rows out through one door.",
            "description": "Times are microseconds since 1970-01-01 UTC, durations seconds, unless a name says "
            "otherwise. null means unknown. The header `Purpose` says what data is asked for and is recorded.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "session": {"type": "apiKey", "in": "cookie", "name": "weftline_session"},
            },
        },
        "security": [{"key": []}, {"session": []}],
    }


def _types(operations: Sequence[Operation]) -> list[Any]:
    found: dict[Any, None] = {Problem: None}
    for operation in operations:
        for kind in (operation.request, *operation.responses.values()):
            if kind is not None:
                found[kind] = None
    return list(found)


def _operation(operation: Operation, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.handler.__doc__ or operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": {
            **{
                str(status): _answer(operation, status, kind, schema_of) for status, kind in operation.responses.items()
            },
            "default": {
                "description": "A problem (RFC 9457).",
                "content": {MEDIA: {"schema": schema_of[Problem]}},
            },
        },
    }
    if operation.request is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of[operation.request]}}}
    elif operation.takes:
        found["requestBody"] = {"required": True, "content": {kind: {} for kind in operation.takes}}
    if operation.public:
        found["security"] = []
    return found


def _answer(
    operation: Operation, status: int, kind: type | None, schema_of: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": schema_of[kind]}} if kind is not None else {}
    if status == min(operation.responses):
        content |= {media: {} for media in operation.media}
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    return answer | ({"content": content} if content else {})


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer"} if kind == "int" else {"type": "string"},
            "description": "May hold slashes." if kind == "path" else "",
        }
        for name, kind in PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for param in operation.params:
        schema: dict[str, Any] = {"type": param.type}
        if param.default not in {None, ""}:
            schema["default"] = param.default
        schema |= {
            name: value for name, value in (("minimum", param.minimum), ("maximum", param.maximum)) if value is not None
        }
        if param.repeated:
            schema = {"type": "array", "items": schema}
        found.append({"name": param.name, "in": "query", "schema": schema, "description": param.description})
    if operation.free_query:
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        found.append({"name": "equal", "in": "query", "style": "form", "explode": True, "schema": schema,
                      "description": "Any column of the dataset with the value it must have."})  # fmt: skip
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if operation.reads_data:
        text = "What the data is asked for; recorded with the decision."
        found.append({"name": "Purpose", "in": "header", "schema": {"type": "string"}, "description": text})
    if operation.takes or operation.name == "replayQuarantine":
        text = "The same key with the same body is one request, however often it is sent."
        required = operation.name == "replayQuarantine"
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": required, "schema": {"type": "string"},
             "description": text}
        )  # fmt: skip
    return found
