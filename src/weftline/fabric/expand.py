"""Documents to what the road runs: connections and feeds, with everything that ties one document to another checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from weftline.contracts.odcs import Contract
from weftline.document import Document
from weftline.document_schema import describe
from weftline.errors import Complaint, nearest
from weftline.fabric.kinds import FabricFile, Feed, Partner, Site, seconds
from weftline.fabric.registry import Plugins
from weftline.model.feed import ConnectionSpec, FeedSpec, Mode

__all__ = ["DocumentOrigin", "Expansion", "FabricSpec", "Origin", "hint"]

Same = Mapping[str, object]
"""`select` or `format` → a key that is equal for feeds whose part is equal; absent where each feed has its own."""
_OWN: Same = {}
_STRICT = {Mode.OBSERVE: 0, Mode.WARN: 1, Mode.ENFORCE: 2}


@dataclass(frozen=True, slots=True)
class FabricSpec:
    """A checked folder, ready to run."""

    root: Path
    settings: FabricFile
    connections: tuple[ConnectionSpec, ...]
    feeds: tuple[FeedSpec, ...]
    contracts: tuple[Contract, ...]
    sites: tuple[Site, ...]
    partners: tuple[Partner, ...]
    others: Mapping[str, tuple[Any, ...]]
    """Values of the documents of kinds that other packages registered."""

    def contract(self, name: str, version: str) -> Contract:
        """Return one contract; raise KeyError if the folder holds none of that id and version."""
        return next(item for item in self.contracts if (item.id, item.version) == (name, version))


class Origin(Protocol):
    """Where a feed was written: a document, or a template and a row."""

    @property
    def label(self) -> str:
        """Return `template.yaml:row`, or nothing for a document of its own."""
        ...

    def complaint(self, code: str, path: tuple[str | int, ...], found: str, expected: str, step: str = "") -> Complaint:
        """Return a complaint about a part of the feed, at the place its writer can change."""
        ...


@dataclass(frozen=True, slots=True)
class DocumentOrigin:
    """A feed written as a document of its own."""

    document: Document
    label: str = ""

    def complaint(self, code: str, path: tuple[str | int, ...], found: str, expected: str, step: str = "") -> Complaint:
        """Return a complaint at the node of the path."""
        return self.document.complaint(code, path, found, expected, step)


@dataclass(slots=True)
class Known:
    """Names of one kind: those that exist, and those whose document is broken and must not be missed as well."""

    what: str
    names: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)


def hint(word: str, known: Iterable[str]) -> str:
    """Return the nearest known word as a sentence, or nothing."""
    text = nearest(word, known)
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('?') else '.'}" if text else ""


class Expansion:
    """Gather feeds from documents and template rows; complaints are kept once each, in the order they were met."""

    def __init__(self, plugins: Plugins, connections: Mapping[str, ConnectionSpec]) -> None:
        self.plugins = plugins
        self.connections = connections
        self.known = {what: Known(what) for what in ("connection", "partner", "site")}
        self.known["connection"].names.update(connections)
        self.versions: dict[str, set[str]] = defaultdict(set)
        self.broken_contracts: set[str] = set()
        self.feeds: list[FeedSpec] = []
        self.complaints: dict[Complaint, None] = {}
        self._origins: dict[str, Origin] = {}
        self._models: dict[tuple[Any, ...], Any] = {}

    def complain(self, complaint: Complaint) -> None:
        """Keep a complaint, once."""
        self.complaints.setdefault(complaint)

    def add(self, feed: Feed, origin: Origin, params: Mapping[str, Any], same: Same = _OWN) -> None:
        """Check a feed against the other documents and keep it; `same` names parts that many feeds share."""
        before = len(self.complaints)
        first = self._origins.setdefault(feed.name, origin)
        if first is not origin:
            place = first.complaint("", ("name",), "", "").where
            self.complain(
                origin.complaint("feed-duplicate", ("name",), f"feed '{feed.name}', also at {place}", "each name once")
            )
        for what, name in (("connection", feed.connection), ("partner", feed.partner), ("site", feed.site)):
            self._exists(what, name, origin)
        self._contract(feed.contract, origin)
        for rule, mode in feed.severity.items():
            if _STRICT[mode] < _STRICT[feed.mode]:
                self.complain(
                    origin.complaint(
                        "feed-severity",
                        ("severity", rule),
                        f"'{mode}' for rule '{rule}' in a feed of mode '{feed.mode}'",
                        "a stricter mode than the feed's",
                    )
                )
        connection = self.connections.get(feed.connection)
        if connection is None or len(self.complaints) > before:
            return
        self._keep(feed, connection, origin, params, same)

    def look_at(self, data: object, origin: Origin) -> None:
        """Check the names in a document that does not fit its schema, so that one run tells everything."""
        if not isinstance(data, dict):
            return
        for what in self.known:
            if isinstance(data.get(what), str):
                self._exists(what, data[what], origin)
        reference = data.get("contract")
        if isinstance(reference, str) and reference.count("@") == 1:
            self._contract(reference, origin)

    def _keep(
        self,
        feed: Feed,
        connection: ConnectionSpec,
        origin: Origin,
        params: Mapping[str, Any],
        same: Same,
    ) -> None:
        codec = str(feed.format["codec"])
        selector = self._model(self.plugins.connectors[connection.kind].selector, feed.select, "select", origin, same)
        options = {key: value for key, value in feed.format.items() if key != "codec"}
        codec_options = self._model(self.plugins.codecs[codec], options, "format", origin, same)
        if selector is None or codec_options is None:
            return
        name, _, version = feed.contract.partition("@")
        self.feeds.append(
            FeedSpec(
                name=feed.name,
                connection=connection.name,
                kind=connection.kind,
                selector=selector,
                codec=codec,
                codec_options=codec_options,
                contract=name,
                version=version,
                mode=feed.mode,
                severity=feed.severity,
                on_batch=feed.on_batch,
                cadence=seconds(feed.cadence) if feed.cadence else None,
                future_limit=seconds(feed.future_limit),
                partner=feed.partner,
                site=feed.site,
                critical=feed.critical,
                description=feed.description,
                params={**params, **feed.params},
                template=origin.label,
            )
        )

    def _model(self, model: Any, data: Any, part: str, origin: Origin, same: Same) -> Any:
        """Return data as the plugin's model; equal parts of a template's feeds share one instance."""
        key = (same[part], part, model) if part in same else None
        if key is not None and key in self._models:
            return self._models[key]
        try:
            value = msgspec.convert(data, model)
        except msgspec.ValidationError as error:
            self.complain(origin.complaint("feed-part", (part,), str(error), f"what {model.__name__} holds"))
            return None
        if key is not None:
            self._models[key] = value
        return value

    def _exists(self, what: str, name: str, origin: Origin) -> None:
        known = self.known[what]
        if name and name not in known.names and name not in known.broken:
            step = hint(name, known.names) or f"Write its document in {what}s/."
            expected = f"a {what} of this folder"
            self.complain(origin.complaint(f"feed-{what}", (what,), f"{what} {describe(name)}", expected, step))

    def _contract(self, reference: str, origin: Origin) -> None:
        name, _, version = reference.partition("@")
        if version in self.versions.get(name, ()) or name in self.broken_contracts:
            return
        if name in self.versions:
            expected, step = f"a version of '{name}' that exists", hint(version, self.versions[name])
        else:
            expected, step = "a contract of this folder", hint(name, self.versions)
        self.complain(
            origin.complaint("feed-contract", ("contract",), f"contract {describe(reference)}", expected, step)
        )

    def check_connections(self) -> None:
        """Let each connector look at all feeds of a connection together (ties of topic patterns, shared paths)."""
        members: dict[str, list[FeedSpec]] = defaultdict(list)
        for feed in self.feeds:
            members[feed.connection].append(feed)
        for name, feeds in members.items():
            connection = self.connections[name]
            check = self.plugins.connectors[connection.kind].check
            for feed, finding in check(connection, feeds) if check else ():
                origin = self._origins[feed.name]
                if isinstance(finding, Complaint):
                    complaint = origin.complaint(
                        finding.code, ("select",), finding.found, finding.expected, finding.next_step
                    )
                else:
                    complaint = origin.complaint("feed-select", ("select",), str(finding), "feeds that do not clash")
                self.complain(complaint)
