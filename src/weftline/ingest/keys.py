"""Keys on their way to the lake: two groups in flight must not both store one key."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from weftline.ingest.validate import one
from weftline.store.lake import KeyCheck, Lake

__all__ = ["KeysInFlight"]


class KeysInFlight:
    """Answer which keys are taken, by the lake or by a group that is not committed yet.

    Shared by the ingest workers; a worker holds `guard` from its look-up until it has reserved its new keys.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._taken: dict[int, list[tuple[tuple[str, str], pa.Array]]] = {}
        self.guard = threading.RLock()

    def lookup(self, check: KeyCheck, rows: pa.Table) -> pa.Array:
        """Return per row whether the key is taken; a null hash never is."""
        known = self._lake.known_keys(check, rows)
        hashes = one(rows, "hash")
        with self.guard:
            flying = [taken for held in self._taken.values() for name, taken in held if name == _name(check)]
        for taken in flying:
            known = pc.or_(known, pc.is_in(hashes, value_set=taken, skip_nulls=True))
        return known

    def reserve(self, token: int, keys: Sequence[tuple[KeyCheck, pa.Table]]) -> None:
        """Hold these keys, beside those held before under this token, until `release(token)`."""
        if keys:
            with self.guard:
                held = self._taken.setdefault(token, [])
                held += [(_name(check), one(table, "hash")) for check, table in keys]

    def release(self, token: int) -> None:
        """Let go of a group's keys once the lake holds them or the group is given up."""
        with self.guard:
            self._taken.pop(token, None)


def _name(check: KeyCheck) -> tuple[str, str]:
    return check.dataset, check.rule
