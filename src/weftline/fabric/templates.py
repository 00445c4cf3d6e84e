"""Templates: feeds written once, made for every row of a typed table. The document is read once, whatever the rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from weftline.document import Document, Reading, Tree, parse
from weftline.document_schema import DocumentSchema, describe
from weftline.errors import Complaint
from weftline.fabric.expand import Expansion, hint
from weftline.fabric.kinds import Feed, Parameter, Template
from weftline.fabric.registry import Plugins
from weftline.fabric.schema import compiled, feed_schema, object_schema

__all__ = ["expand", "read_template"]

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}\Z")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?\Z")
_MOST_COMPLAINTS = 100
_TABLE_BYTES = 64 << 20
_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "enum": {"type": "string"},
}

Path_ = tuple[str | int, ...]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of parameters and where it stands."""

    values: Row
    place: str
    line: int
    spot: Callable[[str], tuple[int, int]]
    """Parameter → line and column of its value."""


@dataclass(slots=True)
class _Entry:
    """One feed of a template, its texts with parameters compiled to builders."""

    index: int
    head: Callable[[Row], dict[str, Any]]
    same: Mapping[str, object]
    """Parts without a parameter, which all rows share."""
    slots: dict[Path_, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _RowOrigin:
    """A feed made from a row: what a parameter filled in is the row's place, all else the template's."""

    document: Document
    entry: _Entry
    row: TableRow
    label: str

    def complaint(self, code: str, path: Path_, found: str, expected: str, step: str = "") -> Complaint:
        """Return a complaint at the row's cell where a parameter stands in that part, else at the template's node."""
        for slot, names in self.entry.slots.items():
            if slot[: len(path)] == path or path[: len(slot)] == slot:
                line, column = self.row.spot(names[0])
                return Complaint(code, self.row.place, found, expected, step, line, column)
        return self.document.complaint(code, ("feeds", self.entry.index, *path), found, expected, step)


def read_template(data: bytes, place: str, plugins: Plugins, kinds: Mapping[str, str]) -> Reading:
    """Read a template; `kinds` gives each connection's kind, by which the texts of its feeds are typed."""
    tree = parse(data, place)
    if isinstance(tree, Complaint):
        return Reading(None, (tree,))
    schema, defs = object_schema(Template)
    parameters = [
        (tree.text("parameters", index, "name") or "", tree.text("parameters", index, "type") or "string")
        for index in range(tree.count_items("parameters"))
    ]
    if parameters and all(name and kind in _TYPES for name, kind in parameters):
        rows = {
            "type": "object",
            "properties": {name: _TYPES[kind] for name, kind in parameters},
            "additionalProperties": False,
        }
        defs["Instances"]["properties"]["rows"] = {"type": "array", "items": rows}
    schema["$defs"] = defs
    checked = DocumentSchema(schema)
    typed = dict(schema)
    feeds = {"type": "array", "items": _feed_shape(tree, plugins, kinds, defs)}
    typed["properties"] = schema["properties"] | {"feeds": feeds}
    reading = tree.read(checked, DocumentSchema(typed).shape)
    if reading.document is None or reading.complaints:
        return reading
    template = msgspec.convert(reading.document.data, Template)
    complaints = tuple(_parameters(template, reading.document))
    return Reading(reading.document, complaints, None if complaints else template)


def _feed_shape(tree: Tree, plugins: Plugins, kinds: Mapping[str, str], defs: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that types the texts of the feeds: of every pair of connection and codec they name."""
    pairs = set()
    for index in range(tree.count_items("feeds")):
        connection = tree.text("feeds", index, "connection") or ""
        pairs.add((kinds.get(connection, ""), tree.text("feeds", index, "format", "codec") or ""))
    shapes = []
    for kind, codec in sorted(pairs):
        part = feed_schema(kind, codec, plugins, open_texts=True)
        defs |= part.pop("$defs")
        part.pop("$schema")
        shapes.append(part)
    return {"anyOf": shapes} if shapes else {"type": "object"}


def _parameters(template: Template, document: Document) -> Iterator[Complaint]:
    seen: set[str] = set()
    for index, parameter in enumerate(template.parameters):
        path = ("parameters", index)
        if parameter.name in seen:
            found = f"parameter '{parameter.name}' a second time"
            yield document.complaint("template-parameter", (*path, "name"), found, "each name once")
        seen.add(parameter.name)
        if (parameter.type == "enum") != bool(parameter.values):
            found = "no values" if parameter.type == "enum" else f"values of a parameter of type {parameter.type}"
            yield document.complaint("template-parameter", (*path, "values"), found, "values for type enum, only there")
        if parameter.default is not None and not _fits(parameter, parameter.default):
            found = f"default {describe(parameter.default)}"
            yield document.complaint("template-parameter", (*path, "default"), found, _wanted(parameter))
    instances = template.instances
    if bool(instances.table) == bool(instances.rows):
        found = "both table and rows" if instances.table else "neither table nor rows"
        yield document.complaint("template-instances", ("instances",), found, "one of the two")
    known = set(seen)
    for index, feed in enumerate(template.feeds):
        yield from _texts(feed, ("feeds", index), known, document)


def _texts(value: Any, path: Path_, known: set[str], document: Document) -> Iterator[Complaint]:
    """Refuse placeholders nobody fills; `select` may hold captures of its own, which look the same."""
    if isinstance(value, str) and "select" not in path:
        for name in _SLOT.findall(value):
            if name not in known:
                found = f"placeholder '{{{name}}}'"
                yield document.complaint("template-placeholder", path, found, "a parameter", hint(name, known))
    elif isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in known and next(iter(value.values())) is None:
            name = next(iter(value))
            step = f"Quote it: '{{{name}}}'."
            yield document.complaint("template-placeholder", path, "a mapping", "text with a placeholder", step)
            return
        for key, part in value.items():
            yield from _texts(part, (*path, key), known, document)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _texts(part, (*path, index), known, document)


def _fits(parameter: Parameter, value: Any) -> bool:
    match parameter.type:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "enum":
            return value in parameter.values
    return isinstance(value, str)


def _wanted(parameter: Parameter) -> str:
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
    return words.get(parameter.type) or f"one of {', '.join(parameter.values)}"


def _nearest(text: str, parameter: Parameter) -> str:
    """Return the nearest value of an enum; the whole list stands in what was expected."""
    step = hint(text, parameter.values)
    return "" if step.startswith("Known") else step


def _cell(parameter: Parameter, text: str) -> Any:
    """Return a cell's value, or the parameter itself where the text does not fit (no value is a Parameter)."""
    match parameter.type:
        case "integer":
            return int(text) if _INTEGER.match(text) else parameter
        case "number":
            return float(text) if _NUMBER.match(text) and isfinite(float(text)) else parameter
        case "boolean":
            return {"true": True, "false": False}.get(text, parameter)
        case "enum":
            return text if text in parameter.values else parameter
    return text


def expand(reading: Reading, folder: Path, root: Path, expansion: Expansion) -> None:
    """Make the feeds of a template; complaints go to the expansion, at most a hundred for one template."""
    template, document = reading.value, reading.document
    assert isinstance(template, Template)
    assert document is not None
    before = len(expansion.complaints)
    entries = [_entry(index, feed, template) for index, feed in enumerate(template.feeds)]
    rows = _inline(template, document, expansion) if template.instances.rows else _table(
        template, document, folder, root, expansion
    )  # fmt: skip
    for row in rows:
        if row is not None:
            for entry in entries:
                _make(entry, row, document, expansion)
        if len(expansion.complaints) - before >= _MOST_COMPLAINTS:
            found = f"{_MOST_COMPLAINTS} complaints"
            expansion.complain(
                document.complaint("template-complaints", ("instances",), found, "fewer", "The rest is not listed.")
            )
            return


def _make(entry: _Entry, row: TableRow, document: Document, expansion: Expansion) -> None:
    origin = _RowOrigin(document, entry, row, f"{document.place}:{row.line}")
    data = entry.head(row.values)
    connection = expansion.connections.get(str(data.get("connection", "")))
    codec = data["format"].get("codec", "") if isinstance(data.get("format"), dict) else ""
    schema = compiled("feed", expansion.plugins, kind=connection.kind if connection else "", codec=str(codec))
    if not schema.accepts(data):
        for item in schema.violations(data):
            expansion.complain(origin.complaint(item.code, item.path, item.found, item.expected, item.next_step))
        return
    expansion.add(msgspec.convert(data, Feed), origin, row.values, entry.same)


def _entry(index: int, feed: dict[str, Any], template: Template) -> _Entry:
    names = {parameter.name for parameter in template.parameters}
    slots: dict[Path_, tuple[str, ...]] = {}
    build = _compile(feed, (), names, slots)
    varied = {path[0] for path in slots}
    same = {part: (template.name, index) for part in ("select", "format") if part not in varied}
    return _Entry(index, build if build is not None else lambda _row: feed, same, slots)


def _compile(
    value: Any, path: Path_, names: set[str], slots: dict[Path_, tuple[str, ...]]
) -> Callable[[Row], Any] | None:
    """Return a builder for a value that holds parameters, or None for a constant one."""
    if isinstance(value, str):
        return _compile_text(value, path, names, slots)
    if not isinstance(value, dict | list):
        return None
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    builders = [(key, build) for key, part in pairs if (build := _compile(part, (*path, key), names, slots))]
    if not builders:
        return None
    if isinstance(value, list):
        chosen = dict(builders)
        return lambda row: [chosen[key](row) if key in chosen else part for key, part in pairs]

    def built(row: Row) -> dict[str, Any]:
        data = dict(value)
        for key, build in builders:
            filled = build(row)
            if filled is None:
                # An optional parameter without a value leaves its key out, so that the model's default holds.
                del data[key]
            else:
                data[key] = filled
        return data

    return built


def _compile_text(
    text: str, path: Path_, names: set[str], slots: dict[Path_, tuple[str, ...]]
) -> Callable[[Row], Any] | None:
    used = tuple(name for name in _SLOT.findall(text) if name in names)
    if not used:
        return None
    slots[path] = used
    if text == f"{{{used[0]}}}":
        only = used[0]
        return lambda row: row[only]
    parts = _SLOT.split(text)
    fixed = [part if index % 2 == 0 else f"{{{part}}}" for index, part in enumerate(parts)]
    filled = [(index, part) for index, part in enumerate(parts) if index % 2 and part in names]

    def built(row: Row) -> str:
        pieces = list(fixed)
        for index, name in filled:
            pieces[index] = _text(row[name])
        return "".join(pieces)

    return built


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _inline(template: Template, document: Document, expansion: Expansion) -> Iterator[TableRow | None]:
    for index, given in enumerate(template.instances.rows):
        path: Path_ = ("instances", "rows", index)
        values: dict[str, Any] = {}
        complaints = []
        for parameter in template.parameters:
            value = given.get(parameter.name, parameter.default)
            if value is None and parameter.required:
                complaints.append(_missing(document, path, parameter))
            elif value is not None and not _fits(parameter, value):
                where = (*path, parameter.name)
                step = _nearest(str(value), parameter)
                complaints.append(document.complaint("template-cell", where, describe(value), _wanted(parameter), step))
            values[parameter.name] = value
        for complaint in complaints:
            expansion.complain(complaint)
        if complaints:
            yield None
        else:
            spot = document.spot(path)
            yield TableRow(
                values,
                document.place,
                spot.line,
                lambda name, path=path: document.spot((*path, name)),  # type: ignore[misc]
            )


def _missing(document: Document, path: Path_, parameter: Parameter) -> Complaint:
    return document.complaint("template-cell", path, f"no '{parameter.name}'", _wanted(parameter))


def _table(
    template: Template, document: Document, folder: Path, root: Path, expansion: Expansion
) -> Iterator[TableRow | None]:
    """Read the CSV table (UTF-8, comma, quotes as RFC 4180) cell by cell; a row with a wrong cell gives None."""
    name = template.instances.table
    file = (folder / name).resolve()
    path: Path_ = ("instances", "table")
    if not file.is_relative_to(root.resolve()) or not file.is_file():
        found = f"table {describe(name)}"
        expected = "a CSV file beside the template, inside the fabric folder"
        expansion.complain(document.complaint("template-table", path, found, expected))
        return
    place = file.relative_to(root.resolve()).as_posix()
    data = file.read_bytes()
    if len(data) > _TABLE_BYTES:
        expected = f"at most {_TABLE_BYTES} bytes"
        expansion.complain(Complaint("template-table", place, f"{len(data)} bytes", expected))
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x}"
        expansion.complain(Complaint("template-table", place, found, "UTF-8 text", "Save the file as UTF-8.", line, 1))
        return
    try:
        yield from _csv_rows(template, place, text, expansion)
    except csv.Error as error:
        expansion.complain(Complaint("template-table", place, str(error), "a CSV table"))


def _csv_rows(template: Template, place: str, text: str, expansion: Expansion) -> Iterator[TableRow | None]:
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    parameters = {parameter.name: parameter for parameter in template.parameters}
    problems = list(_header(header, parameters, place, lines))
    for problem in problems:
        expansion.complain(problem)
    if problems:
        return
    columns = [(index, parameters[name]) for index, name in enumerate(header)]
    absent = {item.name: item.default for item in template.parameters if item.name not in header}
    start = reader.line_num
    for cells in reader:
        first, start = start + 1, reader.line_num
        if not cells:
            continue
        if len(cells) != len(header):
            found = f"{len(cells)} values"
            expansion.complain(Complaint("template-table", place, found, f"{len(header)}, as the header", "", first, 1))
            continue
        values = dict(absent)
        good = True
        for index, parameter in columns:
            value = _cell(parameter, cells[index]) if cells[index] else parameter.default
            if value is parameter or (value is None and parameter.required):
                column = _column(lines, first, index)
                step = _nearest(cells[index], parameter)
                found = f"{describe(cells[index])} for '{parameter.name}'"
                expansion.complain(Complaint("template-cell", place, found, _wanted(parameter), step, first, column))
                good = False
            values[parameter.name] = value
        yield TableRow(values, place, first, _spot_in(lines, first, header)) if good else None


def _header(
    header: Sequence[str], parameters: Mapping[str, Parameter], place: str, lines: Sequence[str]
) -> Iterator[Complaint]:
    for index, name in enumerate(header):
        if name not in parameters or name in header[:index]:
            found = f"column {describe(name)}" + (" a second time" if name in header[:index] else "")
            column = _column(lines, 1, index)
            yield Complaint("template-column", place, found, "a parameter", hint(name, parameters), 1, column)
    for name, parameter in parameters.items():
        if name not in header and parameter.required and parameter.default is None:
            yield Complaint("template-column", place, f"no column '{name}'", "every required parameter", "", 1, 1)


def _spot_in(lines: Sequence[str], first: int, header: Sequence[str]) -> Callable[[str], tuple[int, int]]:
    return lambda name: (first, _column(lines, first, header.index(name)) if name in header else 1)


def _column(lines: Sequence[str], line: int, index: int) -> int:
    """Return the column, from 1, where a cell starts; of a record over several lines only the first is looked at."""
    text = lines[line - 1] if line <= len(lines) else ""
    quoted, seen = False, 0
    if index == 0:
        return 1
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            seen += 1
            if seen == index:
                return position + 2
    return 1
