"""Load a fabric folder: every file read once, every complaint at once, nothing opened outside it, no network."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from weftline.contracts.odcs import Contract
from weftline.document import Document, DocumentKind, Reading, kind_of, parse
from weftline.errors import Complaint
from weftline.fabric.expand import DocumentOrigin, Expansion, FabricSpec, hint
from weftline.fabric.kinds import FabricFile, Feed, Partner, Site, Template
from weftline.fabric.registry import Plugins, unique
from weftline.fabric.schema import CORE, compiled
from weftline.fabric.templates import expand, read_template
from weftline.model.feed import ConnectionSpec

__all__ = ["Folder", "load"]

_FREE = {"data", "docs"}
"""Folders whose files are not documents: drop folders, samples, notes."""
_LOOSE = ("README*", "LICENSE*", "*.md")


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds and what is wrong with it; `spec` is None while anything is."""

    path: Path
    complaints: tuple[Complaint, ...]
    spec: FabricSpec | None
    documents: Mapping[str, tuple[Reading, ...]]
    """Kind → readings, in file order."""


@dataclass(slots=True)
class _Load:
    """The state of one load."""

    root: Path
    plugins: Plugins
    complaints: list[Complaint] = field(default_factory=list)
    documents: dict[str, list[Reading]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Kind → files, in order of their names."""
    unclaimed: list[str] = field(default_factory=list)

    def bytes_of(self, place: str) -> bytes | None:
        try:
            return (self.root / place).read_bytes()
        except OSError as error:
            self.complaints.append(
                Complaint("fabric-file", place, f"a file that cannot be read ({error.strerror})", "a readable file")
            )
            return None

    def read(self, kind: str, how: Callable[[bytes, str], Reading]) -> list[Reading]:
        for place in self.files[kind]:
            data = self.bytes_of(place)
            if data is not None:
                reading = how(data, place)
                self.documents[kind].append(reading)
                self.complaints.extend(reading.complaints)
        return self.documents[kind]


def load(path: Path | str, plugins: Plugins) -> Folder:
    """Load a folder and check it whole; input never raises, it is complained about."""
    state = _Load(Path(path), plugins)
    kinds = _kinds(plugins)
    if not (state.root / "fabric.yaml").is_file():
        step = "Run: weftline init DIR, or give --fabric DIR."
        missing = Complaint("fabric-missing", str(path), "no fabric.yaml", "a fabric folder", step)
        return Folder(state.root, (missing,), None, {})
    _sort_files(state, kinds)
    connections = _connections(state)
    for kind in kinds:
        if kind.name not in ("connection", "feed", "template"):
            readings = state.read(kind.name, kind.load)
            state.complaints.extend(kind.check(readings) if kind.check else ())
    expansion = _expansion(state, connections)
    _feeds(state, expansion)
    _templates(state, expansion)
    _unclaimed(state, kinds, expansion)
    expansion.check_connections()
    complaints = (*state.complaints, *expansion.complaints)
    documents = {name: tuple(readings) for name, readings in state.documents.items()}
    spec = None if complaints else _spec(state, connections, expansion)
    return Folder(state.root, tuple(sorted(complaints, key=_order)), spec, documents)


def _order(complaint: Complaint) -> tuple[str, int, int]:
    return (complaint.place, complaint.line, complaint.column)


def _kinds(plugins: Plugins) -> tuple[DocumentKind, ...]:
    checks: dict[str, Callable[[Sequence[Reading]], Iterator[Complaint]]] = {
        "fabric": _check_fabric,
        "site": _check_sites,
        "partner": _check_partners,
    }
    own = [
        kind_of(name, patterns, model, summary, checks.get(name)) for name, (patterns, model, summary) in CORE.items()
    ]
    return unique([*own, *plugins.kinds])


def _sort_files(state: _Load, kinds: Sequence[DocumentKind]) -> None:
    """Give every file to the kind that claims it; hidden ones and free folders are nobody's."""
    for here, folders, names in os.walk(state.root):
        relative = Path(here).relative_to(state.root).as_posix()
        top = relative == "."
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (top and name in _FREE))
        for name in sorted(names):
            place = name if top else f"{relative}/{name}"
            if name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in _LOOSE):
                continue
            claimed = next((kind for kind in kinds if any(fnmatchcase(place, item) for item in kind.patterns)), None)
            if claimed is None or not (state.root / place).is_file():
                state.unclaimed.append(place)
            else:
                state.files[claimed.name].append(place)


def _unclaimed(state: _Load, kinds: Sequence[DocumentKind], expansion: Expansion) -> None:
    """Refuse files of no kind, once for each unknown folder. Tables of templates belong to their template."""
    templates = state.documents["template"]
    tables = {
        (Path(reading.document.place).parent / reading.value.instances.table).as_posix()
        for reading in templates
        if reading.document and isinstance(reading.value, Template)
    }
    broken = any(reading.value is None for reading in templates)
    broken |= any(complaint.code == "template-table" for complaint in expansion.complaints)
    patterns = [pattern for kind in kinds for pattern in kind.patterns]
    folders = {pattern.split("/")[0] for pattern in patterns if "/" in pattern}
    told: set[str] = set()
    for place in state.unclaimed:
        top = place.split("/")[0]
        if os.path.normpath(place) in tables or (broken and place.endswith(".csv")) or (top in told):
            continue
        if "/" in place and top not in folders:
            told.add(top)
            step = hint(top, folders)
            found = f"folder '{top}'"
            state.complaints.append(Complaint("fabric-unknown-kind", place, found, "the folder of a known kind", step))
            continue
        expected = (
            " or ".join(item for item in patterns if item.startswith(f"{top}/")) or "a document in its kind's folder"
        )
        step = "Move data to data/ or out of the fabric; notes may end in .md."
        state.complaints.append(Complaint("fabric-unknown-file", place, "a file that no kind claims", expected, step))


def _connections(state: _Load) -> dict[str, ConnectionSpec]:
    found: dict[str, ConnectionSpec] = {}
    places: dict[str, str] = {}

    def how(data: bytes, place: str) -> Reading:
        tree = parse(data, place)
        if isinstance(tree, Complaint):
            return Reading(None, (tree,))
        kind = tree.text("kind") or ""
        reading = tree.read(compiled("connection", state.plugins, kind=kind))
        if reading.document is None or reading.complaints:
            return reading
        document = reading.document
        name = document.data["name"]
        if name in places:
            found_text = f"connection '{name}', also in {places[name]}"
            return Reading(document, (document.complaint("fabric-duplicate", ("name",), found_text, "each name once"),))
        options = {key: value for key, value in document.data.items() if key not in ("name", "kind", "description")}
        model = state.plugins.connectors[kind].options
        try:
            spec = ConnectionSpec(name, kind, msgspec.convert(options, model), str(state.root.resolve()))
        except msgspec.ValidationError as error:
            return Reading(document, (document.complaint("connection-options", (), str(error), f"{kind} options"),))
        places[name] = place
        found[name] = spec
        return Reading(document, (), spec)

    state.read("connection", how)
    return found


def _names(readings: Sequence[Reading], key: str = "name") -> tuple[set[str], set[str]]:
    """Return the names of good documents and, as far as they can be read, of broken ones."""
    good: set[str] = set()
    broken: set[str] = set()
    for reading in readings:
        data = reading.document.data if reading.document else None
        name = data.get(key) if isinstance(data, dict) else None
        if isinstance(name, str):
            (broken if reading.value is None else good).add(name)
    return good, broken


def _expansion(state: _Load, connections: Mapping[str, ConnectionSpec]) -> Expansion:
    expansion = Expansion(state.plugins, connections)
    for what in ("connection", "partner", "site"):
        expansion.known[what].names, expansion.known[what].broken = _names(state.documents[what])
    for reading in state.documents["contract"]:
        if isinstance(reading.value, Contract):
            expansion.versions[reading.value.id].add(reading.value.version)
    expansion.broken_contracts = _names(state.documents["contract"], "id")[1]
    return expansion


def _feeds(state: _Load, expansion: Expansion) -> None:
    def how(data: bytes, place: str) -> Reading:
        tree = parse(data, place)
        if isinstance(tree, Complaint):
            return Reading(None, (tree,))
        connection = expansion.connections.get(tree.text("connection") or "")
        codec = tree.text("format", "codec") or ""
        schema = compiled("feed", state.plugins, kind=connection.kind if connection else "", codec=codec)
        reading = tree.read(schema)
        if reading.document is None or reading.complaints:
            return reading
        return Reading(reading.document, (), msgspec.convert(reading.document.data, Feed))

    for reading in state.read("feed", how):
        if isinstance(reading.value, Feed) and reading.document:
            expansion.add(reading.value, DocumentOrigin(reading.document), {})
        elif reading.document:
            expansion.look_at(reading.document.data, DocumentOrigin(reading.document))


def _templates(state: _Load, expansion: Expansion) -> None:
    kinds = {name: spec.kind for name, spec in expansion.connections.items()}
    names: dict[str, str] = {}
    for reading in state.read("template", lambda data, place: read_template(data, place, state.plugins, kinds)):
        if not isinstance(reading.value, Template) or reading.document is None:
            continue
        first = names.setdefault(reading.value.name, reading.document.place)
        if first != reading.document.place:
            found = f"template '{reading.value.name}', also in {first}"
            expansion.complain(reading.document.complaint("fabric-duplicate", ("name",), found, "each name once"))
        expand(reading, (state.root / reading.document.place).parent, state.root, expansion)


def _spec(state: _Load, connections: Mapping[str, ConnectionSpec], expansion: Expansion) -> FabricSpec:
    def values(kind: str) -> tuple[Any, ...]:
        return tuple(reading.value for reading in state.documents[kind])

    core = {*CORE, "contract"}
    return FabricSpec(
        root=state.root,
        settings=values("fabric")[0],
        connections=tuple(connections.values()),
        feeds=tuple(expansion.feeds),
        contracts=values("contract"),
        sites=values("site"),
        partners=values("partner"),
        others={kind: values(kind) for kind in list(state.documents) if kind not in core},
    )


def _timezone(document: Document, name: str) -> Iterator[Complaint]:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        step = hint(name, available_timezones())
        yield document.complaint("fabric-timezone", ("timezone",), f"'{name}'", "an IANA time zone", step)


def _check_fabric(readings: Sequence[Reading]) -> Iterator[Complaint]:
    for reading in readings:
        if isinstance(reading.value, FabricFile) and reading.document:
            yield from _timezone(reading.document, reading.value.timezone)
            try:
                secret = bool(urlsplit(reading.value.control.url).password)
            except ValueError:
                expected = "a database URL"
                yield reading.document.complaint("fabric-url", ("control", "url"), "text that is no URL", expected)
                continue
            if secret:
                expected = "a URL without a password; drivers read it from the environment"
                yield reading.document.complaint("fabric-secret", ("control", "url"), "a password in clear", expected)


def _twice(readings: Sequence[Reading], what: str) -> Iterator[Complaint]:
    seen: dict[str, str] = {}
    for reading in readings:
        if reading.value is not None and reading.document:
            place = reading.document.place
            first = seen.setdefault(reading.value.name, place)
            if first != place:
                found = f"{what} '{reading.value.name}', also in {first}"
                yield reading.document.complaint("fabric-duplicate", ("name",), found, "each name once")


def _gln(document: Document, gln: str) -> Iterator[Complaint]:
    """Check a GLN's length and check digit (GS1 General Specifications, section 7.9)."""
    good = len(gln) == 13 and gln.isascii() and gln.isdigit()
    if good:
        total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(gln[:12]))
        good = (10 - total % 10) % 10 == int(gln[12])
    if gln and not good:
        yield document.complaint("fabric-gln", ("gln",), f"'{gln[:40]}'", "13 digits with a right check digit")


def _check_sites(readings: Sequence[Reading]) -> Iterator[Complaint]:
    yield from _twice(readings, "site")
    for reading in readings:
        if isinstance(reading.value, Site) and reading.document:
            yield from _timezone(reading.document, reading.value.timezone)
            yield from _gln(reading.document, reading.value.gln)


def _check_partners(readings: Sequence[Reading]) -> Iterator[Complaint]:
    yield from _twice(readings, "partner")
    for reading in readings:
        if isinstance(reading.value, Partner) and reading.document:
            yield from _gln(reading.document, reading.value.gln)
