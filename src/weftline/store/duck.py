"""One DuckDB instance per lake file: opened, configured and locked before anybody reads, and reopened as a whole.

The configuration cannot be changed after opening: memory, threads and spill are capped, external access is off but for
the sealed folder, nothing is checkpointed behind the writer's back, times are UTC and the storage version is pinned.
`ATTACH ':memory:'` and `CREATE TEMP TABLE` stay possible in DuckDB 2.0 whatever the settings; readers are therefore
admitted with one SELECT only (duck_reads.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from weftline.errors import StoreBusyError, StoreError, WeftlineError
from weftline.store.lock import state_folder
from weftline.store.migrations.lake import prepare
from weftline.store.tables import literal

__all__ = [
    "Instance",
    "LakeBrokenError",
    "LakeSettings",
    "LakeUnavailableError",
    "fatal",
    "of_store",
    "table",
]

STORAGE_VERSION = "v2.0.0"
"""Storage version every lake file is written with; a later DuckDB keeps writing it until a migration raises it."""

MEBI = 1 << 20


class LakeBrokenError(StoreError):
    """Say that the lake file cannot be opened and waiting will not help."""

    code = "lake-broken"


class LakeUnavailableError(StoreBusyError):
    """Say that the lake is being reopened, or that its disk refuses; the same request may succeed later."""

    code = "lake-unavailable"


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """Limits of one lake. Sizes are bytes, times seconds; 0 bytes of memory means 25 % of RAM, at least 512 MiB."""

    memory_limit: int = 0
    threads: int = 0
    spill_limit: int = 10 << 30
    checkpoint_wal: int = 32 * MEBI
    """WAL size at which the writer checkpoints between two groups; 64 MiB were measured to take 250 ms."""
    checkpoint_quiet: float = 5.0
    """Seconds without a commit after which `maintain` checkpoints a smaller WAL."""
    wal_stop: int = 1 << 30
    """WAL size at which sources are held back: something keeps checkpoints from finishing."""
    min_free: int = 1 << 30
    segment_bytes: int = 64 * MEBI
    """The largest segment of the spool, for the free-space limit."""
    snapshot_limit: float = 60.0
    readers: int = 4
    system_readers: int = 2
    fold_rows: int = 50_000
    """Ledger rows after which the totals are folded."""

    @property
    def free_needed(self) -> int:
        """Return the free bytes below which admission stops (DESIGN §4)."""
        if self.min_free < 1 << 30:
            return self.min_free
        return max(self.min_free, 4 * self.checkpoint_wal, 2 * self.segment_bytes)


def _memory(settings: LakeSettings) -> int:
    if settings.memory_limit:
        return settings.memory_limit
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(512 * MEBI, ram // 4)


def fatal(error: BaseException) -> bool:
    """Say whether the instance is gone with this error, so that every later statement fails too."""
    return isinstance(error, duckdb.FatalException | duckdb.InternalException) or "has been invalidated" in str(error)


def of_store(error: BaseException) -> bool:
    """Say whether the error is the store's (disk, memory, instance, lock) and not the statement's or the data's."""
    kinds = (OSError, MemoryError, duckdb.OperationalError, duckdb.InterruptException, duckdb.ConnectionException)
    return fatal(error) or isinstance(error, kinds)


def table(cursor: Any, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Run one SELECT to its end and return Arrow; no read transaction outlives the call."""
    relation = cursor.sql(sql, params=dict(params)) if params else cursor.sql(sql)
    found: pa.Table = relation.to_arrow_table()
    return found


class Instance:
    """Own every cursor of one opening of the lake file; each cursor belongs to one thread at a time."""

    def __init__(self, folder: Path, settings: LakeSettings) -> None:
        self.file = folder / "lake" / "lake.duckdb"
        self.wal = self.file.with_name(self.file.name + ".wal")
        self._settings = settings
        self._sealed = folder / "sealed"
        self._spill = folder / "lake" / "spill"
        for part in (folder, self.file.parent, self._sealed, self._spill):
            state_folder(part)
        for left in self._spill.iterdir():  # what a killed process spilled belongs to nobody
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            self._root = self._connect()
        except duckdb.Error as error:
            raise self._cannot_open(error) from error
        try:
            self._configure()
            self.writer = self._root.cursor()
            self._prepare()
        except (duckdb.Error, WeftlineError) as error:
            self._root.close()
            if isinstance(error, WeftlineError):
                raise
            raise self._cannot_open(error) from error
        self._cursors: list[Any] = [self.writer]

    def _connect(self) -> Any:
        config = {
            "memory_limit": f"{_memory(self._settings)} bytes",
            "threads": str(self._settings.threads or os.cpu_count() or 2),
            "storage_compatibility_version": STORAGE_VERSION,
            "temp_directory": str(self._spill),
            "max_temp_directory_size": f"{self._settings.spill_limit} bytes",
            # Checkpoints inside somebody's COMMIT were measured at up to 3.5 s; only the writer asks for them.
            "checkpoint_threshold": "1TB",
            "auto_checkpoint_skip_wal_threshold": str(1 << 50),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        }
        return duckdb.connect(str(self.file), config=config)

    def _configure(self) -> None:
        for statement in (
            "SET GLOBAL TimeZone = 'UTC'",
            f"SET GLOBAL allowed_directories = [{literal(str(self._sealed.resolve()) + '/')}]",
            "SET GLOBAL enable_external_access = false",
            "SET GLOBAL lock_configuration = true",
        ):
            self._root.execute(statement)

    def _prepare(self) -> None:
        self.writer.execute("BEGIN")
        prepare(self.writer.execute, lambda sql: self.writer.sql(sql).fetchall(), str(self.file))
        self.writer.execute("COMMIT")

    def _cannot_open(self, error: BaseException) -> WeftlineError:
        text = str(error)
        if "lock" in text and "Conflicting" in text:
            return LakeBrokenError(
                place=str(self.file),
                found="a file that another process holds open",
                expected="one owner",
                next_step="Stop that process; `.weftline/lock` tells its number.",
            )
        kind: type[WeftlineError] = LakeUnavailableError if of_store(error) else LakeBrokenError
        return kind(place=str(self.file), found=text.splitlines()[0], expected="a lake that opens")

    def cursor(self) -> Any:
        """Return another connection of this instance; closed with it."""
        made = self._root.cursor()
        self._cursors.append(made)
        return made

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return self.wal.stat().st_size if self.wal.exists() else 0

    def close(self, *, broken: bool = False) -> None:
        """Close every cursor, so that the next opening makes a new instance; `broken` ignores what closing says."""
        for cursor in [*self._cursors, self._root]:
            try:
                cursor.close()
            except duckdb.Error:
                if not broken:
                    raise
        self._cursors.clear()
