"""Which kinds of documents, connectors and codecs a fabric may name: what packages registered, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import msgspec

from weftline.contracts.kind import KIND as CONTRACT
from weftline.document import DocumentKind
from weftline.errors import ConflictError
from weftline.model.feed import ConnectionSpec, FeedSpec

__all__ = ["ConnectorModel", "Plugins", "discover", "unique"]

_GROUP = "weftline.document_kinds"
_BUILT_IN = (CONTRACT,)


class DuplicateKindError(ConflictError):
    """Say which two packages declare one kind of document."""

    code = "fabric-duplicate-kind"


@dataclass(frozen=True, slots=True)
class ConnectorModel:
    """What the folder must know of a connector: the models of its documents and its look at a connection's feeds.

    `check` returns a Complaint (or a sentence) for each feed that does not fit its neighbours; only its code, found,
    expected and next step are used, the place is the feed's.
    """

    options: type[msgspec.Struct]
    selector: type[msgspec.Struct]
    check: Callable[[ConnectionSpec, Sequence[FeedSpec]], Sequence[tuple[FeedSpec, Any]]] | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Plugins:
    """What the caller's wiring gives the folder: connectors by kind, codec options by name, kinds of documents."""

    connectors: Mapping[str, ConnectorModel] = field(default_factory=dict)
    codecs: Mapping[str, type[msgspec.Struct]] = field(default_factory=dict)
    kinds: tuple[DocumentKind, ...] = _BUILT_IN


def unique(kinds: Iterable[DocumentKind]) -> tuple[DocumentKind, ...]:
    """Return the kinds, refusing a name or a pattern that is declared twice."""
    names: dict[str, DocumentKind] = {}
    patterns: dict[str, str] = {}
    for kind in kinds:
        if names.setdefault(kind.name, kind) is not kind:
            raise DuplicateKindError(
                place=_GROUP, found=f"kind '{kind.name}' declared twice", expected="each kind declared by one package"
            )
        for pattern in kind.patterns:
            if patterns.setdefault(pattern, kind.name) != kind.name:
                raise DuplicateKindError(
                    place=_GROUP,
                    found=f"files {pattern} claimed by '{patterns[pattern]}' and '{kind.name}'",
                    expected="each file pattern claimed by one kind",
                )
    return tuple(names.values())


def discover() -> tuple[DocumentKind, ...]:
    """Return the kinds installed packages registered under `weftline.document_kinds`, and the built-in ones."""
    found = [point.load() for point in entry_points(group=_GROUP)]
    return unique([*(kind for kind in _BUILT_IN if kind not in found), *found])
