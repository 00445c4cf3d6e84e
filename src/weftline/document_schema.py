"""What a document may hold: a compiled JSON Schema, the types it gives each plain scalar, and its findings in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import msgspec

from weftline.errors import nearest

__all__ = ["DocumentSchema", "Shape", "Violation", "describe"]

Path = tuple[str | int, ...]
_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
}
_BRANCHES = ("allOf", "anyOf", "oneOf")
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One way a document breaks its schema; `on_key` = the place is the key, not its value."""

    code: str
    path: Path
    found: str
    expected: str
    next_step: str = ""
    on_key: bool = False


def describe(value: Any) -> str:
    """Return a value as a complaint names it: short, text in quotes, never more than sixty characters of it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            text = value if len(value) <= 60 else f"{value[:57]}..."
            return "'" + text.replace("\n", "\\n") + "'"
        case Mapping():
            return "a mapping" if value else "an empty mapping"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
    text = str(value) if not isinstance(value, int) or abs(value) < 10**60 else "a number of more than sixty digits"
    return text[:60]


class Shape:
    """The part of a schema that decides how one node is read: its scalar types and the shapes of its children."""

    __slots__ = ("_children", "_items", "_memo", "_parts", "_root", "types")

    def __init__(
        self, root: Mapping[str, Any], parts: Iterable[Any], memo: dict[tuple[int, ...], Shape] | None = None
    ) -> None:
        self._root = root
        self._memo = {} if memo is None else memo
        self._parts = tuple(self._flatten(parts, set()))
        self.types = self._scalar_types()
        self._children: dict[str, Shape | None] = {}
        self._items: Shape | bool | None = False

    def _flatten(self, parts: Iterable[Any], seen: set[int]) -> Iterator[Mapping[str, Any]]:
        for part in parts:
            if not isinstance(part, Mapping) or id(part) in seen:
                continue
            seen.add(id(part))
            yield part
            if "$ref" in part:
                yield from self._flatten([self.resolve(part["$ref"])], seen)
            for word in _BRANCHES:
                yield from self._flatten(part.get(word, ()), seen)
            yield from self._flatten([part.get("then"), part.get("else")], seen)

    def resolve(self, reference: str) -> Any:
        """Return the part of the schema a `#/…` reference points to."""
        node: Any = self._root
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        return node

    def _scalar_types(self) -> frozenset[str] | None:
        types: set[str] = set()
        for part in self._parts:
            stated = part.get("type")
            if isinstance(stated, str):
                types.add(stated)
            elif stated:
                types.update(stated)
            elif "enum" in part or "const" in part:
                types.update(_json_type(value) for value in part.get("enum", [part.get("const")]))
        return frozenset(types) or None

    def _shape(self, parts: list[Any]) -> Shape | None:
        known = [part for part in parts if isinstance(part, Mapping)]
        if not known:
            return None
        key = tuple(sorted({id(part) for part in known}))
        if key not in self._memo:
            self._memo[key] = Shape(self._root, known, self._memo)
        return self._memo[key]

    def child(self, key: str) -> Shape | None:
        """Return the shape of the value of a key, or None where the schema says nothing."""
        if key not in self._children:
            parts = [part["properties"][key] for part in self._parts if key in part.get("properties", {})]
            if not parts:
                parts = [part.get("additionalProperties") for part in self._parts]
            self._children[key] = self._shape(parts)
        return self._children[key]

    def item(self) -> Shape | None:
        """Return the shape of a list's items."""
        if isinstance(self._items, bool):
            self._items = self._shape([part.get("items") for part in self._parts])
        return self._items


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


class DocumentSchema:
    """A JSON Schema compiled once (draft as its `$schema` says, else 2020-12). Formats are not asserted."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self.shape = Shape(self.schema, [self.schema])
        self._validator = jsonschema_rs.validator_for(self.schema, validate_formats=False, offline=True)

    @classmethod
    def of(cls, model: Any) -> DocumentSchema:
        """Return the schema of a msgspec model; a Struct that forbids unknown fields refuses unknown keys."""
        return cls(msgspec.json.schema(model))

    def accepts(self, data: Any) -> bool:
        """Tell whether plain data fits."""
        return bool(self._validator.is_valid(data))

    def violations(self, data: Any) -> list[Violation]:
        """Return everything that does not fit, all at once, in document order as far as the validator gives it."""
        found: dict[Violation, None] = {}
        for error in self._validator.iter_errors(data):
            found.update(dict.fromkeys(self._translate(error)))
        return list(found)

    def _holder(self, schema_path: Iterable[str | int]) -> Mapping[str, Any]:
        """Return the part of the schema whose keyword failed."""
        node: Any = self.schema
        for step in list(schema_path)[:-1]:
            node = self.shape.resolve(node["$ref"]) if step == "$ref" else node[step]
        return node if isinstance(node, Mapping) else {}

    def _translate(self, error: Any) -> Iterator[Violation]:
        path: Path = tuple(error.instance_path)
        kind = error.kind.as_dict()
        name = str(error.kind.name)
        found = describe(error.instance)
        match name:
            case "additionalProperties" | "unevaluatedProperties":
                properties = self._holder(error.schema_path).get("properties", {})
                known = sorted(key for key, part in properties.items() if part is not False)
                for key in kind["unexpected"]:
                    yield _unknown_key(path, key, known)
            case "required":
                yield Violation("document-missing-key", path, f"no key '{kind['property']}'", "that key to be given")
            case "type":
                yield _type(path, error.instance, kind["types"])
            case "enum" | "const":
                options = kind.get("options", [kind.get("expected_value")])
                words = [str(option) for option in options if isinstance(option, str)]
                expected = _either([describe(option) for option in options])
                hint = nearest(str(error.instance), words) if isinstance(error.instance, str) and words else ""
                yield Violation(
                    "document-choice", path, found, expected, _sentence(hint) if "known" not in hint else ""
                )
            case "pattern":
                expected = self._holder(error.schema_path).get("x-expected") or f"text matching {kind['pattern']}"
                yield Violation("document-pattern", path, found, expected)
            case "uniqueItems":
                yield Violation("document-range", path, found, "items that differ")
            case "falseSchema":
                yield Violation(
                    "document-unknown-key", path, f"key '{path[-1] if path else ''}'", "no such key here", on_key=True
                )
            case "oneOf" | "anyOf":
                yield from self._branches(path, error.instance, kind.get("context", []), found)
            case _ if name in _LIMITS:
                limit = next(iter(kind.values()))
                yield Violation("document-range", path, found, _LIMITS[name].format(limit))
            case _:
                yield Violation("document-rule", path, found, f"a value that holds '{name}'")

    def _branches(self, path: Path, instance: Any, context: list[list[Any]], found: str) -> Iterator[Violation]:
        """Speak of the one branch that was meant: the one whose type fits; else of all the types that would."""
        meant = [
            errors
            for errors in context
            if errors and not any(tuple(error.instance_path) == path and error.kind.name == "type" for error in errors)
        ]
        if len(meant) == 1:
            for error in meant[0]:
                yield from self._translate(error)
            return
        types: dict[str, None] = {}
        for errors in context:
            for error in errors:
                if error.kind.name == "type" and tuple(error.instance_path) == path:
                    types.update(dict.fromkeys(error.kind.as_dict()["types"]))
        if types and not meant:
            yield _type(path, instance, list(types))
            return
        required = [
            str(error.kind.as_dict()["property"])
            for errors in context
            for error in errors
            if error.kind.name == "required" and tuple(error.instance_path) == path
        ]
        expected = (
            f"exactly one of the keys {', '.join(required)}" if required else "exactly one of the permitted forms"
        )
        yield Violation("document-rule", path, found, expected)


def _unknown_key(path: Path, key: str, known: list[str]) -> Violation:
    hint = nearest(key, known)
    expected = "a known key" if known else "no more keys here"
    return Violation(
        "document-unknown-key", (*path, key), f"key {describe(key)}", expected, _sentence(hint), on_key=True
    )


def _type(path: Path, instance: Any, types: list[str]) -> Violation:
    expected = _either([_TYPES[str(word)] for word in types])
    meant = _YAML_1_1.get(instance.lower(), "") if isinstance(instance, str) else ""
    step = f"Write {meant}: YAML 1.2 has no other words for it." if meant and "boolean" in types else ""
    return Violation("document-type", path, describe(instance), expected, step)


def _either(words: list[str]) -> str:
    short = words if len(words) <= 12 else [*words[:12], f"{len(words) - 12} more"]
    return short[0] if len(short) == 1 else f"{', '.join(short[:-1])} or {short[-1]}"


def _sentence(hint: str) -> str:
    return f"{hint[0].upper()}{hint[1:]}{'' if hint.endswith('?') else '.'}" if hint else ""
