"""Rows of published documents: the truth that the folder proposes changes to. A version never changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from weftline.errors import ConflictError
from weftline.store.control.database import Control
from weftline.store.control.tables import published

__all__ = ["PublishedRow", "PublishedTable", "VersionChangedError"]


class VersionChangedError(ConflictError):
    """Say that a document differs from what was published under the same version."""

    code = "published-version-changed"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published document."""

    kind: str
    name: str
    version: str
    hash: str
    document: str
    published_at: int
    published_by: str


class PublishedTable:
    """Read and write published documents."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def publish(self, documents: Sequence[PublishedRow]) -> int:
        """Publish documents in one transaction; return how many are new.

        Raises VersionChangedError for a document whose version is published with another hash; nothing is written then.
        """
        with self.control.write() as connection:
            columns = (published.c.kind, published.c.name, published.c.version, published.c.hash)
            known = {(row.kind, row.name, row.version): row.hash for row in connection.execute(select(*columns))}
            fresh: dict[tuple[str, str, str], PublishedRow] = {}
            for row in documents:
                key = (row.kind, row.name, row.version)
                found = known.get(key, row.hash)
                if found != row.hash:
                    versions = [version for kind, name, version in known if (kind, name) == (row.kind, row.name)]
                    raise VersionChangedError(
                        place=f"{row.kind} '{row.name}'",
                        found=f"a change under the published version {row.version}",
                        expected="a new version for a changed document",
                        next_step=f"Set the version to {next_version(versions)}.",
                    )
                if key not in known:
                    fresh[key] = row
            if fresh:
                connection.execute(insert(published), [_values(row) for row in fresh.values()])
            return len(fresh)

    def get(self, kind: str, name: str, version: str) -> PublishedRow | None:
        """Return one version."""
        with self.control.read() as connection:
            row = connection.execute(
                select(published).where(
                    published.c.kind == kind, published.c.name == name, published.c.version == version
                )
            ).first()
        return None if row is None else PublishedRow(**row._asdict())

    def list(self, kind: str, name: str | None = None) -> list[PublishedRow]:
        """Return published documents of a kind, oldest first."""
        query = select(published).where(published.c.kind == kind).order_by(published.c.published_at, published.c.name)
        if name is not None:
            query = query.where(published.c.name == name)
        with self.control.read() as connection:
            return [PublishedRow(**row._asdict()) for row in connection.execute(query)]


def next_version(versions: Sequence[str]) -> str:
    """Return the next free patch version above these; words that are no version are ignored."""
    parsed = []
    for version in versions:
        parts = version.split(".")
        if all(part.isascii() and part.isdigit() for part in parts):
            parsed.append((*(int(part) for part in parts), 0, 0)[:3])
    if not parsed:
        return "1.0.0"
    major, minor, patch = max(parsed)
    return f"{major}.{minor}.{patch + 1}"


def _values(row: PublishedRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in PublishedRow.__slots__}
