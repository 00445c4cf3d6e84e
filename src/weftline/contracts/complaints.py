"""Collect what is wrong with a contract, each finding at its line and column."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from weftline.contracts.odcs import Contract, Path
from weftline.errors import Complaint, WeftlineError

__all__ = ["Notes"]


class Notes:
    """The complaints of one contract."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.complaints: list[Complaint] = []

    def stopping(self, warnings: Collection[str]) -> list[Complaint]:
        """Return the complaints that are not warnings."""
        return [complaint for complaint in self.complaints if complaint.code not in warnings]

    def add(self, code: str, path: Path, found: str, expected: str, next_step: str = "") -> None:
        """Add a complaint about one node."""
        line, column = self.spot(path)
        self.complaints.append(Complaint(code, self.contract.place, found, expected, next_step, line, column))

    def spot(self, path: Path) -> tuple[int, int]:
        """Return line and column of a node, zeros where the contract has no document."""
        document = self.contract.document
        if document is None:
            return 0, 0
        line, column = document.spot(path)
        return line, column

    @contextmanager
    def about(self, path: Path, name: str) -> Iterator[None]:
        """Turn a refusal inside into a complaint; its place is a dotted path below `path`."""
        try:
            yield
        except WeftlineError as error:
            old = error.complaint
            below = tuple(int(part) if part.isdigit() else part for part in old.place.split(".") if part)
            found = f"{old.found} in '{name}'" if name else old.found
            self.add(old.code, (*path, *below), found, old.expected, old.next_step)

    def custom(self, path: Path, name: str) -> Path:
        """Return the path of a custom property's value."""
        node: Any = self.contract.document.data if self.contract.document is not None else None
        for step in path:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                return path
        for place, item in enumerate(node.get("customProperties") or () if isinstance(node, dict) else ()):
            if isinstance(item, dict) and item.get("property") == name:
                return (*path, "customProperties", place, "value")
        return path
