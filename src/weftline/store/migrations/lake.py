"""The lake's schema version: written when the file is made, checked at every opening, raised by named steps only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weftline.errors import StoreError
from weftline.store.tables import create_system

__all__ = ["LAKE_VERSION", "LakeVersionError", "prepare"]

LAKE_VERSION = 1

_STEPS: dict[int, tuple[str, ...]] = {}
"""Version → statements that lead to it from the one before."""


class LakeVersionError(StoreError):
    """Say that the lake file was written by a newer Weftline, or is not a lake."""

    code = "lake-version"


def prepare(execute: Callable[[str], Any], fetch: Callable[[str], list[tuple[Any, ...]]], place: str) -> None:
    """Make the system tables in an empty file, or check the version of a filled one and run the missing steps.

    The caller holds the transaction. Raises LakeVersionError.
    """
    tables = fetch("SELECT schema_name, table_name FROM duckdb_tables()")
    if not tables:
        create_system(execute, LAKE_VERSION)
        return
    if ("weftline", "version") not in tables:
        raise LakeVersionError(
            place=place,
            found="tables of something else",
            expected="a lake made by Weftline",
            next_step="Move the file away; `weftline up` makes a new one.",
        )
    version = int(fetch("SELECT max(lake) FROM weftline.version")[0][0])
    if version > LAKE_VERSION:
        raise LakeVersionError(
            place=place,
            found=f"lake version {version}",
            expected=f"at most {LAKE_VERSION}, which this Weftline knows",
            next_step="Run: pip install --upgrade weftline",
        )
    for step in range(version + 1, LAKE_VERSION + 1):
        for statement in _STEPS[step]:
            execute(statement)
        execute(f"INSERT INTO weftline.version VALUES ({step}, now())")
