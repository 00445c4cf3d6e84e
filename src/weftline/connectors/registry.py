"""Find the connectors that are installed: entry points first, the built-in ones as a fallback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from weftline.connectors.base import Connector
from weftline.errors import ConflictError, NotFoundError, TerminalError, nearest

__all__ = ["BUILT_IN", "GROUP", "connector", "connectors", "kinds"]

GROUP = "weftline.connectors"
BUILT_IN: Mapping[str, str] = {
    "files": "weftline.connectors.files.source:FilesConnector",
    "http": "weftline.connectors.http.source:HttpConnector",
    "mqtt": "weftline.connectors.mqtt.source:MqttConnector",
}
"""Kind → `module:class`, used where the package is run from source without its metadata."""


class ConnectorConflictError(ConflictError):
    """Say which two packages claim one kind."""

    code = "connector-conflict"


class ConnectorUnknownError(NotFoundError):
    """Say that no package offers this kind, with the nearest one that exists."""

    code = "connector-unknown"


class ConnectorBrokenError(TerminalError):
    """Say that an installed connector cannot be loaded."""

    code = "connector-broken"


def gather(points: Iterable[EntryPoint]) -> dict[str, str]:
    """Return kind → `module:class`; raise ConnectorConflictError where one kind has two."""
    found = dict(BUILT_IN)
    for point in points:
        if found.setdefault(point.name, point.value) != point.value:
            raise ConnectorConflictError(
                place=f"connector '{point.name}'",
                found=f"{found[point.name]} and {point.value}",
                expected="one package for a kind",
                next_step="Uninstall one of the two packages.",
            )
    return found


@cache
def kinds() -> Mapping[str, str]:
    """Return every kind that is installed, without importing any."""
    return gather(entry_points(group=GROUP))


@cache
def connector(kind: str) -> Connector:
    """Return the connector of a kind, importing only its package."""
    target = kinds().get(kind)
    if target is None:
        raise ConnectorUnknownError(
            place="connection kind",
            found=f"'{kind}'",
            expected="an installed connector",
            next_step=_sentence(nearest(kind, kinds())),
        )
    module, _, name = target.partition(":")
    try:
        made = getattr(import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise ConnectorBrokenError(
            place=f"connector '{kind}'",
            found=f"{target}, which cannot be loaded: {error}",
            expected="a class that can be made without arguments",
            next_step="Install the package again, with its extras.",
        ) from error
    return cast("Connector", made)


def connectors() -> dict[str, Connector]:
    """Return every installed connector by kind."""
    return {kind: connector(kind) for kind in sorted(kinds())}


def _sentence(hint: str) -> str:
    return hint[:1].upper() + hint[1:]
