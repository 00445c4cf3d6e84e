"""Reads of the lake behind an admission gate: a few cursors, a time limit each, one heavy read at a time.

A read runs in the caller's thread on a borrowed cursor, is fetched as Arrow to its end and leaves no transaction. One
watch thread interrupts what runs over its time, and tells the age of the oldest snapshot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from weftline.errors import InputError, RefusedError, StoreBusyError, TransientError, WeftlineError
from weftline.store.duck import Instance, LakeUnavailableError, fatal, table

__all__ = ["ReadGate", "ReadLimitError", "ReadMemoryError", "ReadShapeError", "SqlError"]


class SqlError(InputError):
    """Say what the store could not run in a SELECT."""

    code = "sql"


class ReadShapeError(RefusedError):
    """Refuse anything that is not exactly one SELECT."""

    code = "read-shape"


class ReadLimitError(TransientError):
    """Say that a read was interrupted: its time was over, or the writer needed its memory."""

    code = "read-limit"


class ReadMemoryError(InputError):
    """Say that a read needs more memory and spill than the lake may use."""

    code = "read-memory"


@dataclass(eq=False, slots=True)
class _Running:
    """One read under way; owned by the gate's lock."""

    cursor: Any
    began: float
    deadline: float
    heavy: bool
    why: str = ""


class _Pool:
    """Cursors of one kind of reader; taking waits on the gate's condition."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.free: list[Any] = []


class ReadGate:
    """Admit reads from any thread. `on_fatal` is told when the instance died under a read."""

    def __init__(self, *, readers: int, system: int, snapshot_limit: float, on_fatal: Callable[[], None]) -> None:
        self._pools = {False: _Pool(readers), True: _Pool(system)}
        self._limit = snapshot_limit
        self._on_fatal = on_fatal
        self._guard = threading.Condition()
        self._running: list[_Running] = []
        self._heavy = False
        self._open = False
        self._ended = False
        self._watch = threading.Thread(target=self._interrupt_late, name="lake-watch", daemon=True)
        self._watch.start()

    def attach(self, instance: Instance) -> None:
        """Hand out cursors of this instance from now on."""
        with self._guard:
            for pool in self._pools.values():
                pool.free = [instance.cursor() for _ in range(pool.size)]
            self._open = True
            self._guard.notify_all()

    def detach(self) -> None:
        """Admit nothing, interrupt what runs and wait until every cursor is back."""
        with self._guard:
            self._open = False
            while self._running:
                self._stop_all("the lake is being reopened")
                self._guard.wait(0.05)
            for pool in self._pools.values():
                pool.free = []

    def end(self) -> None:
        """Detach for good and end the watch thread."""
        self.detach()
        with self._guard:
            self._ended = True
            self._guard.notify_all()
        self._watch.join()

    def oldest(self) -> float:
        """Return the age of the oldest running read in seconds, 0 where none runs."""
        with self._guard:
            now = time.monotonic()
            return max((now - read.began for read in self._running), default=0.0)

    def interrupt_heaviest(self) -> bool:
        """Interrupt the heavy read, or else the oldest one; say whether there was one."""
        with self._guard:
            if not self._running:
                return False
            victim = min(self._running, key=lambda read: (not read.heavy, read.began))
            victim.why = "the writer needed its memory"
            victim.deadline = 0.0
            victim.cursor.interrupt()
            until = time.monotonic() + 2.0
            while victim in self._running and time.monotonic() < until:
                self._guard.wait(0.05)
                victim.cursor.interrupt()
            return True

    def read(
        self, sql: str, params: Mapping[str, Any] | None, *, timeout: float, heavy: bool = False, system: bool = False
    ) -> pa.Table:
        """Run one SELECT and return Arrow. Raises StoreBusyError, ReadLimitError, SqlError or LakeUnavailableError."""
        running = self._admit(timeout, heavy=heavy, system=system)
        try:
            _one_select(running.cursor, sql)
            # Read-only because a WITH may hold a DELETE and is a SELECT all the same.
            running.cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                return table(running.cursor, sql, params)
            finally:
                running.cursor.execute("ROLLBACK")
        except (duckdb.Error, MemoryError) as error:
            raise self._named(error, running, timeout) from error
        finally:
            self._release(running, system=system)

    def _admit(self, timeout: float, *, heavy: bool, system: bool) -> _Running:
        pool = self._pools[system]
        until = time.monotonic() + timeout
        with self._guard:
            while not (self._open and pool.free and not (heavy and self._heavy)):
                left = until - time.monotonic()
                if left <= 0 or self._ended:
                    raise self._refuse(heavy)
                self._guard.wait(left)
            now = time.monotonic()
            running = _Running(pool.free.pop(), now, now + min(timeout, self._limit), heavy)
            self._heavy = self._heavy or heavy
            self._running.append(running)
            self._guard.notify_all()  # the watch thread learns of the new deadline
            return running

    def _refuse(self, heavy: bool) -> TransientError:
        if not self._open:
            return LakeUnavailableError(
                place="the lake", found="an instance that is being reopened", expected="one that reads"
            )
        found = "a heavy read that still runs" if heavy and self._heavy else "every reader at work"
        return StoreBusyError(place="the lake", found=found, expected="a free reader", next_step="Try again shortly.")

    def _release(self, running: _Running, *, system: bool) -> None:
        with self._guard:
            self._running.remove(running)
            if running.heavy:
                self._heavy = False
            if self._open:
                self._pools[system].free.append(running.cursor)
            self._guard.notify_all()

    def _named(self, error: BaseException, running: _Running, timeout: float) -> WeftlineError:
        text = str(error).splitlines()[0]
        if fatal(error):
            self._on_fatal()
            return LakeUnavailableError(place="the lake", found=text, expected="an instance that reads")
        if isinstance(error, duckdb.InterruptException):
            why = running.why or f"more than {min(timeout, self._limit):g} s"
            return ReadLimitError(
                place="the query", found=why, expected="an answer in time", next_step="Narrow the query and try again."
            )
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
            return ReadMemoryError(
                place="the query",
                found=text,
                expected="less memory",
                next_step="Narrow the query or ask for fewer columns.",
            )
        return SqlError(place="the query", found=text, expected="a SELECT the store can run")

    def _stop_all(self, why: str) -> None:
        for read in self._running:
            read.why = why
            read.cursor.interrupt()

    def _interrupt_late(self) -> None:
        with self._guard:
            while not self._ended:
                now = time.monotonic()
                for read in self._running:
                    if read.deadline <= now:
                        # Repeated until it ends: an interrupt before the statement begins is forgotten by the store.
                        read.cursor.interrupt()
                late = any(read.deadline <= now for read in self._running)
                nearest = min((read.deadline for read in self._running), default=now + 60.0)
                self._guard.wait(0.05 if late else nearest - now)


def _one_select(cursor: Any, sql: str) -> None:
    statements = cursor.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise ReadShapeError(place="the query", found=kinds, expected="exactly one SELECT")
