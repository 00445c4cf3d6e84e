"""Schemas of the folder's documents, composed of our models and those of connectors and codecs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from weftline.document_schema import DocumentSchema
from weftline.errors import NotFoundError, nearest
from weftline.fabric.kinds import Connection, FabricFile, Feed, Partner, Site, Template
from weftline.fabric.registry import Plugins

__all__ = ["CORE", "compiled", "connection_schema", "core_schema", "feed_schema", "object_schema", "schema"]

CORE: dict[str, tuple[tuple[str, ...], type[msgspec.Struct], str]] = {
    "fabric": (("fabric.yaml",), FabricFile, "the fabric's name and settings"),
    "connection": (("connections/*.yaml",), Connection, "one session with one system"),
    "feed": (("feeds/*.yaml",), Feed, "one stream of records under one contract"),
    "template": (("templates/*.yaml",), Template, "feeds written once, made for every row of a table"),
    "site": (("sites/*.yaml",), Site, "one plant: hierarchy, shifts and reasons"),
    "partner": (("partners/*.yaml",), Partner, "one company data is exchanged with"),
}
"""Kinds of this package: file patterns, model, summary."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_OWN = {"name", "kind", "description"}


def object_schema(model: Any, home: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a Struct's object schema and the definitions it refers to, both free to be changed.

    `home` prefixes the definitions' names, since models of different packages may share a class name.
    """
    text = json.dumps(msgspec.json.schema(model)).replace('"#/$defs/', f'"#/$defs/{home}')
    whole = json.loads(text)
    defs: dict[str, Any] = {f"{home}{name}": part for name, part in whole.pop("$defs", {}).items()}
    name = whole["$ref"].removeprefix("#/$defs/")
    return defs[name] | {"additionalProperties": False}, defs


def connection_schema(kind: str, plugins: Plugins) -> dict[str, Any]:
    """Return the schema of a connection of one kind: our keys and the connector's beside them."""
    built, defs = object_schema(Connection)
    built["properties"]["kind"] = {"enum": sorted(plugins.connectors), "description": "Connector."}
    model = plugins.connectors.get(kind)
    if model is None:
        built["additionalProperties"] = True
        return {"$schema": _DRAFT, **built, "$defs": defs}
    options, more = object_schema(model.options, f"{kind}.")
    taken = _OWN & set(options["properties"])
    assert not taken, f"connector {kind} has options named {taken}"
    built["properties"] |= options["properties"]
    built["required"] += options.get("required", [])
    return {"$schema": _DRAFT, **built, "$defs": defs | more}


def feed_schema(kind: str, codec: str, plugins: Plugins, *, open_texts: bool = False) -> dict[str, Any]:
    """Return the schema of a feed of one kind of connection and one codec; unknown ones leave their part open.

    `open_texts` drops what only a finished feed can hold (patterns, required keys), for the feeds of a template.
    """
    built, defs = object_schema(Feed)
    properties = built["properties"]
    if kind in plugins.connectors:
        selector, more = object_schema(plugins.connectors[kind].selector, f"{kind}.")
        properties["select"] = selector
        defs |= more
        if selector.get("required"):
            built["required"].append("select")
    described = {"enum": sorted(plugins.codecs), "description": "Codec."}
    properties["format"] = {"type": "object", "properties": {"codec": described}, "required": ["codec"]}
    if codec in plugins.codecs:
        options, more = object_schema(plugins.codecs[codec], f"{codec}.")
        options["properties"] = {"codec": described} | options["properties"]
        options["required"] = ["codec", *options.get("required", [])]
        properties["format"] = options
        defs |= more
    if open_texts:
        built.pop("required")
    return {"$schema": _DRAFT, **built, "$defs": defs}


def core_schema(kind: str, plugins: Plugins) -> dict[str, Any]:
    """Return the schema of one of our kinds for editors: every connector's and codec's keys, chosen by their word."""
    model = CORE[kind][1]
    built, defs = object_schema(model)
    if kind == "connection":
        built["properties"]["kind"] = {"enum": sorted(plugins.connectors)}
        built["additionalProperties"] = True
        built["allOf"] = _choices("kind", plugins.connectors, lambda name: connection_schema(name, plugins), defs)
    elif kind == "feed":
        selectors = [object_schema(item.selector, f"{name}.") for name, item in plugins.connectors.items()]
        for _, more in selectors:
            defs |= more
        if selectors:
            built["properties"]["select"] = {"anyOf": [part for part, _ in selectors]}
        chosen = _choices("codec", plugins.codecs, lambda name: _format_schema(name, plugins), defs)
        word = {"codec": {"enum": sorted(plugins.codecs)}}
        built["properties"]["format"] = {
            "type": "object",
            "properties": word,
            "required": ["codec"],
            "allOf": chosen,
        }
    return {"$schema": _DRAFT, "title": CORE[kind][2], **built, "$defs": defs}


def _format_schema(codec: str, plugins: Plugins) -> dict[str, Any]:
    whole = feed_schema("", codec, plugins)
    part: dict[str, Any] = whole["properties"]["format"]
    return part | {"$defs": whole["$defs"]}


def _choices(key: str, names: Iterable[str], build: Any, defs: dict[str, Any]) -> list[dict[str, Any]]:
    rules = []
    for name in names:
        part = build(name)
        defs |= part.pop("$defs")
        part.pop("$schema", None)
        rules.append({"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": part})
    return rules


@lru_cache(maxsize=256)
def _compiled(form: str, kind: str, codec: str, box: _Held) -> DocumentSchema:
    if form == "connection":
        return DocumentSchema(connection_schema(kind, box.plugins))
    return DocumentSchema(feed_schema(kind, codec, box.plugins, open_texts=form == "shape"))


class _Held:
    """A key for the cache: plugins are held by identity, since mappings have no hash."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.plugins is self.plugins

    def __hash__(self) -> int:
        return id(self.plugins)


def compiled(form: str, plugins: Plugins, *, kind: str = "", codec: str = "") -> DocumentSchema:
    """Return the compiled schema of a `connection`, a `feed`, or the `shape` of a template's feed."""
    return _compiled(form, kind, codec, _Held(plugins))


def schema(kind: str, plugins: Plugins) -> dict[str, Any]:
    """Return the JSON Schema of a kind of document, for editors; raise NotFoundError with the nearest kind."""
    if kind in CORE:
        return core_schema(kind, plugins)
    others = {item.name: item for item in plugins.kinds}
    if kind in others:
        return dict(others[kind].schema())
    known = sorted({*CORE, *others})
    raise NotFoundError(
        place="schema",
        found=f"kind '{kind}'",
        expected=f"one of {', '.join(known)}",
        next_step=nearest(kind, known).capitalize(),
    )
