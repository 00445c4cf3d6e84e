"""Documents of a fabric: YAML or JSON text to plain data, with line and column of every node, bounded and total.

Plain scalars are typed as the document's schema says: where it wants text, `no`, `1:30`, `2018-01-01`, `007` and `1e3`
stay text. Where it says nothing, the core schema of YAML 1.2 (section 10.3.2) decides. Any bytes give a document or
complaints, never an exception. Marks come from libyaml.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import yaml
from yaml._yaml import CParser

from weftline.document_schema import DocumentSchema, Shape, describe
from weftline.errors import Complaint

__all__ = ["Document", "DocumentKind", "Limits", "Reading", "Spot", "Tree", "kind_of", "parse", "read", "read_model"]

_TAGS = {f"tag:yaml.org,2002:{word}": (word,) for word in ("str", "int", "float", "bool", "null", "seq", "map")}
_PLAIN, _QUOTED, _COLLECTION = "plain", "quoted", "collection"
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_STARTS = frozenset("-+.0123456789")
_LONGEST_NUMBER = 300


class Spot(NamedTuple):
    """A place in a text; both count from 1, the column in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound what a document may cost."""

    size: int = 8 << 20
    """Bytes."""
    depth: int = 64
    nodes: int = 1_000_000
    expansion: int = 10_000
    """Nodes that aliases may add to those written."""


_LIMITS = Limits()


class _Bound(Exception):  # noqa: N818 - leaves this module as a complaint only
    """Stop libyaml's composer at a limit; it composes recursively, so depth must be bounded while it runs."""

    def __init__(self, code: str, found: str, expected: str, mark: Any) -> None:
        super().__init__(found)
        self.args_of_complaint = (code, found, expected)
        self.mark = mark


class _Composer(CParser):
    """libyaml's composer with the two questions it asks a resolver answered here."""

    def __init__(self, text: str, limits: Limits) -> None:
        super().__init__(text)
        self.limits = limits
        self.depth = 0
        self.count = 0

    def descend_resolver(self, parent: Any, _index: Any) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > self.limits.depth:
            raise _Bound("document-depth", "a deeper nesting", f"at most {self.limits.depth} levels", parent.start_mark)
        if self.count > self.limits.nodes:
            raise _Bound("document-size", "more nodes", f"at most {self.limits.nodes} nodes", parent.start_mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: Any, _value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _COLLECTION


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data of one file and where each node stands."""

    place: str
    data: Any
    root: Any = field(repr=False)

    def spot(self, path: Iterable[str | int], *, key: bool = False) -> Spot:
        """Return where a node stands, or the nearest node above it that exists; `key` = its key in a mapping."""
        node = self.root
        mark = node.start_mark
        for step in path:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == step), None)
                if pair is None:
                    break
                mark, node = pair[0].start_mark, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
            else:
                break
        chosen = mark if key else node.start_mark
        return Spot(chosen.line + 1, chosen.column + 1)

    def complaint(
        self, code: str, path: Iterable[str | int], found: str, expected: str, next_step: str = "", *, key: bool = False
    ) -> Complaint:
        """Return a complaint about one node of this document."""
        line, column = self.spot(path, key=key)
        return Complaint(code, self.place, found, expected, next_step, line, column)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a text: a document, complaints, or both (a document that can be read but does not fit)."""

    document: Document | None
    complaints: tuple[Complaint, ...] = ()
    value: Any = None
    """The document as its model, where it has one and nothing was complained about."""


@dataclass(slots=True)
class _Walk:
    """Turn nodes into data; `budget` counts down the nodes that may still be visited."""

    place: str
    budget: int
    complaints: list[Complaint] = field(default_factory=list)

    def complain(self, code: str, mark: Any, found: str, expected: str, next_step: str = "") -> None:
        self.complaints.append(Complaint(code, self.place, found, expected, next_step, mark.line + 1, mark.column + 1))

    def build(self, node: Any, shape: Shape | None, depth: int) -> Any:
        self.budget -= 1
        if self.budget < 0 or depth < 0:
            raise _Bound(
                "document-alias",
                "aliases that repeat too much",
                "a document without repeating aliases",
                node.start_mark,
            )
        tag = node.tag
        if tag not in (_PLAIN, _QUOTED, _COLLECTION) and tag not in _TAGS:
            self.complain("document-tag", node.start_mark, f"tag '{tag[:60]}'", "no tag, or one of YAML's core tags")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, shape, depth)
        if isinstance(node, yaml.SequenceNode):
            item = shape.item() if shape else None
            return [self.build(child, item, depth - 1) for child in node.value]
        if tag is _PLAIN:
            return _scalar(node.value, shape.types if shape else None)
        if tag in _TAGS and _TAGS[tag] != ("str",):
            return _scalar(node.value, None)
        return node.value

    def _mapping(self, node: Any, shape: Shape | None, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain("document-key", key_node.start_mark, "a list or mapping as a key", "a key that is text")
                continue
            key = key_node.value
            if key in data:
                self.complain(
                    "document-duplicate-key",
                    key_node.start_mark,
                    f"key {describe(key)} a second time",
                    "each key once",
                    "Remove one of the two.",
                )
                continue
            data[key] = self.build(value_node, shape.child(key) if shape else None, depth - 1)
        return data


@dataclass(frozen=True, slots=True)
class Tree:
    """A composed text, before any schema typed its scalars."""

    place: str
    root: Any = field(repr=False)
    count: int
    limits: Limits

    def text(self, *path: str | int) -> str | None:
        """Return the scalar at a path as it is written, or None."""
        node = self.root
        for step in path:
            if isinstance(node, yaml.MappingNode):
                node = next((value for name, value in node.value if name.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step] if step < len(node.value) else None
            else:
                return None
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def count_items(self, *path: str) -> int:
        """Return the length of the list at a path, 0 where there is none."""
        node = self.root
        for step in path:
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            node = next((value for name, value in pairs if name.value == step), None)
        return len(node.value) if isinstance(node, yaml.SequenceNode) else 0

    def read(self, schema: DocumentSchema | None, shape: Shape | None = None) -> Reading:
        """Return the data typed and checked by a schema; without one, by YAML's core rules alone.

        `shape` types the scalars in the schema's stead, where what is checked is not yet what is meant (templates).
        """
        walk = _Walk(self.place, self.count + self.limits.expansion)
        try:
            data = walk.build(self.root, shape or (schema.shape if schema else None), self.limits.depth)
        except _Bound as bound:
            code, found, expected = bound.args_of_complaint
            walk.complain(code, bound.mark, found, expected)
            return Reading(None, tuple(walk.complaints))
        document = Document(self.place, data, self.root)
        complaints = list(walk.complaints)
        complaints.extend(
            document.complaint(item.code, item.path, item.found, item.expected, item.next_step, key=item.on_key)
            for item in (schema.violations(data) if schema else ())
        )
        complaints.sort(key=lambda complaint: (complaint.line, complaint.column))
        return Reading(document, tuple(complaints))


def _scalar(text: str, types: frozenset[str] | None) -> Any:
    """Return the value of a plain scalar: by YAML 1.2's core schema, unless the schema wants text there."""
    if text in _WORDS:
        value = _WORDS[text]
        return text if types and value is not None and "boolean" not in types and "string" in types else value
    if text[0] not in _STARTS or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.match(text):
        if types and "string" in types and not types & {"integer", "number"}:
            return text
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if _NUMBER.match(text):
        number = float(text)
        # A number that no double holds can be neither stored nor compared: it stays text, which a number type refuses.
        if abs(number) == float("inf") or (types and "string" in types and not types & {"integer", "number"}):
            return text
        return number
    return text


def parse(data: bytes, place: str, limits: Limits = _LIMITS) -> Tree | Complaint:
    """Compose a text (UTF-8, with or without BOM; LF, CRLF or CR), or say why it cannot be."""
    if len(data) > limits.size:
        return Complaint("document-size", place, f"{len(data)} bytes", f"at most {limits.size} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        found = f"byte 0x{data[error.start]:02x}"
        return Complaint("document-encoding", place, found, "UTF-8 text", "Save the file as UTF-8.", line, column)
    try:
        composer = _Composer(text, limits)
        try:
            root = composer.get_single_node()
        finally:
            composer.dispose()
    except _Bound as bound:
        code, found, expected = bound.args_of_complaint
        mark = bound.mark
        return Complaint(code, place, found, expected, "", mark.line + 1, mark.column + 1)
    except yaml.YAMLError as error:
        return _syntax(error, text, place)
    if root is None:
        return Complaint("document-empty", place, "an empty document", "a mapping of keys to values", "", 1, 1)
    return Tree(place, root, composer.count, limits)


def _syntax(error: yaml.YAMLError, text: str, place: str) -> Complaint:
    """Return libyaml's complaint in our words where a common cause is known, else in its own."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "text that is not YAML")
    if "but found another document" in problem or "single document" in str(getattr(error, "context", "")):
        return Complaint(
            "document-multiple", place, "a second document", "one document a file", "Split the file.", line, column
        )
    problem = problem.removeprefix("found ")
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in here[: max(column, 1)] and here[: max(column, 1)].strip() == "":
        step = "Indent with spaces."
        return Complaint("document-syntax", place, "a tab in the indentation", "spaces", step, line, column)
    if isinstance(error, yaml.reader.ReaderError):
        offset = error.position if isinstance(error.position, int) else 0
        line = text.encode()[:offset].count(b"\n") + 1
        return Complaint("document-encoding", place, "a control character", "printable text", "Remove it.", line, 1)
    return Complaint("document-syntax", place, problem, "a YAML or JSON document", "", line, column)


def read(data: bytes, place: str, schema: DocumentSchema | None = None, limits: Limits = _LIMITS) -> Reading:
    """Read a text into plain data with places, and check it against a schema; all problems at once."""
    tree = parse(data, place, limits)
    return Reading(None, (tree,)) if isinstance(tree, Complaint) else tree.read(schema)


def read_model(data: bytes, place: str, model: Any, schema: DocumentSchema) -> Reading:
    """Read a text into an instance of a msgspec model whose schema is given."""
    reading = read(data, place, schema)
    if reading.document is None or reading.complaints:
        return reading
    try:
        value = msgspec.convert(reading.document.data, model)
    except msgspec.ValidationError as error:
        complaint = reading.document.complaint("document-rule", (), str(error), f"a valid {model.__name__}")
        return Reading(reading.document, (complaint,))
    return Reading(reading.document, (), value)


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """One kind of document of a fabric folder, declared by the package that owns it."""

    name: str
    patterns: tuple[str, ...]
    """Globs from the folder's root, as `feeds/*.yaml`."""
    summary: str
    load: Callable[[bytes, str], Reading]
    """Read a file's bytes under the name complaints use; total."""
    schema: Callable[[], Mapping[str, Any]]
    """Return the JSON Schema for editors."""
    check: Callable[[Sequence[Reading]], Iterable[Complaint]] | None = None
    """Look at all documents of the kind together."""


def kind_of(
    name: str,
    patterns: tuple[str, ...],
    model: Any,
    summary: str,
    check: Callable[[Sequence[Reading]], Iterable[Complaint]] | None = None,
) -> DocumentKind:
    """Return the kind whose documents are instances of a msgspec Struct."""
    schema = DocumentSchema.of(model)
    return DocumentKind(
        name,
        patterns,
        summary,
        lambda data, place: read_model(data, place, model, schema),
        lambda: schema.schema,
        check,
    )
