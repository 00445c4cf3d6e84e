"""Open the control database, bring it to this version, and give its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from weftline.errors import StoreBusyError, StoreError

__all__ = ["Control", "ControlBusyError", "ControlVersionError"]

BUSY_MILLISECONDS = 5000
MIGRATIONS = Path(__file__).parent / "migrations"


class ControlVersionError(StoreError):
    """Say that the control database cannot be brought to this version of Weftline."""

    code = "control-version"


class ControlBusyError(StoreBusyError):
    """Say that another transaction held the control database for too long, or that it does not answer."""

    code = "control-busy"


class Control:
    """Hold the engine. Repositories take one of these; transactions are short and never cross an await."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, where: str | Path) -> Control:
        """Open a SQLite file (mode 0600, made when missing) or a database URL, and apply missing migrations.

        Raises ControlVersionError where the database belongs to a newer Weftline.
        """
        if isinstance(where, Path):
            where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            where.touch(mode=0o600, exist_ok=True)
            url = make_url(f"sqlite:///{where}")
        else:
            url = make_url(where)
        if url.get_backend_name() == "sqlite":
            engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_MILLISECONDS / 1000})
            _prepare_sqlite(engine)
        else:
            engine = create_engine(url, pool_pre_ping=True)
        control = cls(engine)
        control.migrate()
        return control

    def migrate(self) -> None:
        """Apply missing migrations in one transaction."""
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        try:
            with self.write() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        except CommandError as error:
            raise ControlVersionError(
                place=self.place,
                found=f"a schema this Weftline does not know ({error})",
                expected=f"one of {', '.join(sorted(known))}",
                next_step="Use the Weftline version that wrote it, or restore a backup.",
            ) from error

    @property
    def place(self) -> str:
        """Return the database's address without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give one read transaction."""
        with self._transaction(immediate=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give one write transaction; it commits at the end of the block and rolls back on any error."""
        with self._transaction(immediate=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                connection.execution_options(weftline_immediate=immediate)
                with connection.begin():
                    yield connection
        except OperationalError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: DBAPIError) -> Exception:
        text = str(error.orig)
        if self.engine.dialect.name == "sqlite" and "locked" not in text and "busy" not in text:
            return StoreError(
                place=self.place,
                found=text,
                expected="a readable and writable control database",
                next_step="Check free space and the file's owner, or restore a backup.",
            )
        return ControlBusyError(
            place=self.place, found=text, expected="an answer within five seconds", next_step="Try again."
        )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """Set WAL, foreign keys and full durability per connection, and take the write lock at BEGIN."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would take the lock late and deadlock
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("weftline_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
