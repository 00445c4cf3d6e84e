"""A connector's manual page, made from what the connector says of itself: its options cannot drift from it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from weftline.connectors.base import Connector, Replay
from weftline.errors import TerminalError

__all__ = ["manual", "manual_path"]

HEAD = "<!-- Generated from the options models by tools/connector_docs.py; change those. -->"
ACKNOWLEDGED = {
    Replay.SPOOL: "once the bytes are durable in the spool, since the source cannot send them again",
    Replay.COMMIT: "once the lake has committed the records; the source is read again after a crash",
}


WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "empty",
}


class UndocumentedError(TerminalError):
    """Name the option that says nothing of itself."""

    code = "option-undocumented"


def manual_path(connector: Connector) -> Path:
    """Return where the connector's README.md lies: beside its code."""
    return Path(inspect.getfile(type(connector))).with_name("README.md")


def manual(connector: Connector) -> str:
    """Return the manual page in Markdown; raises UndocumentedError for an option without a description."""
    able = connector.capabilities
    facts = [
        ("Acknowledged", ACKNOWLEDGED[able.replay]),
        ("Record identity", able.identity),
        ("Who begins", "the source pushes" if able.pushes else "Weftline asks"),
        (
            "Full road",
            "the source waits" if able.holds_back else "the source may drop records; an inferred drop is an incident",
        ),
        ("Broken connection", "tried again with jittered back-off" if able.reconnects else "the source comes again"),
    ]
    parts = [
        HEAD,
        f"# Connector `{connector.kind}`",
        connector.summary,
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts)]),
        f"## Connection: `connections/*.yaml` with `kind: {connector.kind}`",
        *_options(connector.options),
        "## Feed: `select` in `feeds/*.yaml`",
        *_options(connector.selector),
    ]
    return "\n\n".join(parts) + "\n"


def _options(model: type[msgspec.Struct]) -> list[str]:
    schema = msgspec.json.schema(model)
    definition = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    required = set(definition.get("required", ()))
    for key, shape in definition["properties"].items():
        meaning = shape.get("description", "")
        if not meaning:
            raise UndocumentedError(
                place=f"{model.__name__}.{key}", found="no description", expected="a Meta(description=...)"
            )
        default = "required" if key in required else f"`{json.dumps(shape.get('default'), ensure_ascii=False)}`"
        rows.append(f"| `{key}` | {_type(shape)} | {default} | {meaning} |")
    return [inspect.cleandoc(model.__doc__ or ""), "\n".join(rows)]


def _type(shape: dict[str, Any]) -> str:
    if "enum" in shape:
        return " or ".join(f"`{value}`" for value in shape["enum"])
    if "anyOf" in shape:
        return " or ".join(_type(one) for one in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_type(shape.get('items') or {})}"
    return WORDS.get(str(shape.get("type")), "value") + _bounds(shape)


def _bounds(shape: dict[str, Any]) -> str:
    low, high = shape.get("minimum"), shape.get("maximum")
    above = shape.get("exclusiveMinimum")
    said = [f"from {low:,}" if low is not None else "", f"above {above:,}" if above is not None else ""]
    said.append(f"to {high:,}" if high is not None else "")
    text = " ".join(part for part in said if part)
    return f", {text}" if text else ""
