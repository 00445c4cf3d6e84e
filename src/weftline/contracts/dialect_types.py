"""What expressions of Weftline SQL are made of: typed values, the scope they stand in, and how they are refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from weftline.contracts.dialect_functions import Kind, Type
from weftline.errors import InputError

__all__ = [
    "BOOLEAN",
    "DATE",
    "INTEGER",
    "NULL",
    "NUMBER",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "Scope",
    "SqlArgumentError",
    "SqlConstructError",
    "SqlFieldError",
    "SqlFunctionError",
    "SqlSyntaxError",
    "SqlTypeError",
    "Typed",
    "any_of",
]

TEXT, BOOLEAN, INTEGER, NUMBER = Type(Kind.TEXT), Type(Kind.BOOLEAN), Type(Kind.INTEGER), Type(Kind.NUMBER)
DATE, TIME, TIMESTAMP, NULL = Type(Kind.DATE), Type(Kind.TIME), Type(Kind.TIMESTAMP), Type(Kind.NULL)


class SqlSyntaxError(InputError):
    """Say where an expression cannot be read."""

    code = "sql-syntax"


class SqlConstructError(InputError):
    """Say which construct of SQL is not part of Weftline SQL."""

    code = "sql-construct"


class SqlFunctionError(InputError):
    """Say which function is not part of Weftline SQL, with the nearest that is."""

    code = "sql-function"


class SqlArgumentError(InputError):
    """Say which argument of a function does not fit."""

    code = "sql-argument"


class SqlTypeError(InputError):
    """Say which types do not meet."""

    code = "sql-type"


class SqlFieldError(InputError):
    """Say which field or parameter is not known here."""

    code = "sql-field"


@dataclass(frozen=True, slots=True)
class Typed:
    """One compiled expression. `fails` are engine booleans, never null: any true = a conversion on the way failed."""

    sql: str
    type: Type
    fails: tuple[str, ...] = ()
    literal: Any = None
    suspect: bool = False
    """A number that may be infinite or NaN; made null before anything but + - * sees it."""


class Scope(Protocol):
    """What names mean where an expression stands, and where shared steps go."""

    def column(self, name: str) -> Typed | None:
        """Return a source field, a target column or `received_time`; None = unknown here."""
        ...

    def parameter(self, name: str) -> Typed | None:
        """Return `feed.<name>`."""
        ...

    def bind(self, sql: str) -> str:
        """Keep a step once and return its name."""
        ...

    def names(self) -> Iterable[str]:
        """Return what `column` knows, for the nearest name in a refusal."""
        ...


def any_of(fails: tuple[str, ...]) -> str:
    """Return one boolean of many, false of none."""
    return f"({' OR '.join(fails)})" if len(fails) > 1 else (fails[0] if fails else "false")
