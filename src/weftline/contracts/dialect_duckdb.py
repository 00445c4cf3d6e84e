"""How DuckDB writes the types and conversions of Weftline SQL. Nothing here raises, whatever the data.

Conversions are steps as in `dialect_functions`: `{0}` is the value, `{s1}` the first step's result; the last is the result.
The text grammar is ours: DuckDB alone would read '0x1F', '1_000', '1.7' as an integer (2) and 'NaN'.
"""

from __future__ import annotations

from weftline.contracts.dialect_functions import SPACE, YEAR_1, YEAR_10000, Kind, Type

__all__ = ["DuckDb"]

BLANK = "[ \\t\\n\\v\\f\\r]*"
INTEGER = f"{BLANK}[+-]?[0-9]+(\\.0*)?{BLANK}"
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?"
OFFSET = "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
TWO = "[0-9][0-9]"
MOMENT = f"{TWO}{TWO}-{TWO}-{TWO}[T ]{CLOCK}"
SHAPE = "____-__-__T__:__:__"
TRUE, FALSE = "('true', '1', 'yes', 'on')", "('false', '0', 'no', 'off')"
FIRST, LAST = f"make_timestamptz({YEAR_1}000000)", f"make_timestamptz({YEAR_10000}000000)"

NAMES = {
    Kind.TEXT: "VARCHAR",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "BIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMPTZ",
    Kind.NULL: "VARCHAR",
}
ONE_ZERO = "CASE WHEN {0} = 1 THEN true WHEN {0} = 0 THEN false END"

FIXED: dict[tuple[Kind, Kind], tuple[str, ...]] = {
    # The rare spellings stand in later branches: CASE computes a branch only for the rows that reach it.
    (Kind.TEXT, Kind.BOOLEAN): (
        (
            "CASE WHEN {0} IN ('true', '1') THEN true WHEN {0} IN ('false', '0') THEN false "
            f"WHEN lower(trim({{0}}, {SPACE})) IN {TRUE} THEN true WHEN lower(trim({{0}}, {SPACE})) IN {FALSE} THEN false END"
        ),
    ),
    (Kind.TEXT, Kind.INTEGER): (
        "TRY_CAST({0} AS BIGINT)",
        (
            "CASE WHEN CAST({s1} AS VARCHAR) = {0} THEN {s1} "
            f"WHEN {{s1}} IS NOT NULL THEN CASE WHEN regexp_full_match({{0}}, '{INTEGER}') THEN {{s1}} END END"
        ),
    ),
    (Kind.TEXT, Kind.NUMBER): (
        "TRY_CAST({0} AS DOUBLE)",
        "CASE WHEN isfinite({s1}) AND NOT contains({0}, '_') THEN {s1} END",
    ),
    (Kind.TEXT, Kind.DATE): (
        "TRY_CAST({0} AS DATE)",
        "CASE WHEN strlen({0}) = 10 AND CAST({s1} AS VARCHAR) = {0} THEN {s1} END",
    ),
    (Kind.TEXT, Kind.TIME): (f"CASE WHEN regexp_full_match({{0}}, '{CLOCK}') THEN TRY_CAST({{0}} AS TIME) END",),
    (Kind.INTEGER, Kind.TEXT): ("CAST({0} AS VARCHAR)",),
    (Kind.INTEGER, Kind.NUMBER): ("CAST({0} AS DOUBLE)",),
    (Kind.INTEGER, Kind.BOOLEAN): (ONE_ZERO,),
    (Kind.NUMBER, Kind.NUMBER): ("CASE WHEN isfinite({0}) THEN {0} END",),
    (Kind.NUMBER, Kind.INTEGER): ("CASE WHEN {0} = trunc({0}) THEN TRY_CAST({0} AS BIGINT) END",),
    (Kind.NUMBER, Kind.BOOLEAN): (ONE_ZERO,),
    (Kind.NUMBER, Kind.TEXT): (
        (
            "CASE WHEN {0} = trunc({0}) AND abs({0}) < 1e15 THEN CAST(CAST({0} AS BIGINT) AS VARCHAR) "
            "WHEN isfinite({0}) THEN CAST({0} AS VARCHAR) END"
        ),
    ),
    (Kind.BOOLEAN, Kind.TEXT): ("CAST({0} AS VARCHAR)",),
    (Kind.BOOLEAN, Kind.INTEGER): ("CAST({0} AS BIGINT)",),
    (Kind.BOOLEAN, Kind.NUMBER): ("CAST({0} AS DOUBLE)",),
    (Kind.DECIMAL, Kind.TEXT): ("CAST({0} AS VARCHAR)",),
    (Kind.DECIMAL, Kind.NUMBER): ("CAST({0} AS DOUBLE)",),
    (Kind.DECIMAL, Kind.INTEGER): ("TRY_CAST({0} AS BIGINT)", "CASE WHEN {s1} = {0} THEN {s1} END"),
    (Kind.DECIMAL, Kind.BOOLEAN): (ONE_ZERO,),
    (Kind.DATE, Kind.TEXT): ("CAST({0} AS VARCHAR)",),
    (Kind.TIME, Kind.TEXT): ("CAST({0} AS VARCHAR)",),
    (Kind.TIMESTAMP, Kind.TEXT): ("strftime(timezone('UTC', {0}), '%Y-%m-%dT%H:%M:%S.%fZ')",),
    (Kind.TIMESTAMP, Kind.DATE): (
        "CASE WHEN epoch_us({0}) % 86400000000 = 0 THEN CAST(timezone('UTC', {0}) AS DATE) END",
    ),
}


class DuckDb:
    """The engine of plans today. Another engine is another class with these methods."""

    name = "duckdb"

    def identifier(self, name: str) -> str:
        """Return a quoted identifier."""
        return '"' + name.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        """Return a text literal."""
        return "'" + value.replace("'", "''") + "'"

    def type_name(self, kind: Type) -> str:
        """Return the engine's name of a type."""
        return f"DECIMAL({kind.precision},{kind.scale})" if kind.kind is Kind.DECIMAL else NAMES[kind.kind]

    def null(self, kind: Type) -> str:
        """Return a null of a type."""
        return f"CAST(NULL AS {self.type_name(kind)})"

    def conversion(self, source: Type, target: Type, zone: str = "UTC") -> tuple[str, ...] | None:
        """Return the steps of a conversion, an empty tuple where none is needed, None where there is none.

        `zone` is the zone of a text time without an offset.
        """
        if source.kind is Kind.NULL:
            return (self.null(target),)
        if target.kind is Kind.DECIMAL:
            return self.to_decimal(source, target)
        if source.kind is target.kind and source.kind is not Kind.NUMBER:
            return ()
        if (source.kind, target.kind) == (Kind.TEXT, Kind.TIMESTAMP):
            return self.to_timestamp(zone)
        return FIXED.get((source.kind, target.kind))

    def to_decimal(self, source: Type, target: Type) -> tuple[str, ...] | None:
        """Convert exactly: a digit that does not fit is a failure, not a rounding."""
        name = self.type_name(target)
        if source == target:
            return ()
        if source.kind is Kind.TEXT:
            decimals = f"\\.[0-9]{{1,{target.scale}}}0*" if target.scale else "\\.0+"
            grammar = f"{BLANK}[+-]?([0-9]+(\\.[0-9]{{0,{target.scale}}}0*)?|{decimals}){BLANK}"
            return (f"CASE WHEN regexp_full_match({{0}}, '{grammar}') THEN TRY_CAST({{0}} AS {name}) END",)
        if source.kind is Kind.NUMBER:
            return (
                f"TRY_CAST(CAST({{0}} AS VARCHAR) AS {name})",
                "CASE WHEN isfinite({0}) AND CAST({s1} AS DOUBLE) = {0} THEN {s1} END",
            )
        if source.kind is Kind.DECIMAL:
            return (
                f"TRY_CAST({{0}} AS {name})",
                f"CASE WHEN TRY_CAST({{s1}} AS {self.type_name(source)}) = {{0}} THEN {{s1}} END",
            )
        if source.kind in (Kind.INTEGER, Kind.BOOLEAN):
            return (f"TRY_CAST({{0}} AS {name})",)
        return None

    def to_timestamp(self, zone: str) -> tuple[str, ...]:
        """Read ISO 8601 with date, time and optional offset; digits after the microsecond are cut off."""
        if zone in ("UTC", "Etc/UTC", ""):
            # LIKE costs a third of the pattern; with the hour's digits checked it lets through what the cast accepts and
            # the grammar too, for the two shapes most sources send. tests/property compares it with the grammar.
            cast = "TRY_CAST({0} AS TIMESTAMPTZ)"
            digits = "{0} > '0' AND substr({0}, 12, 2) BETWEEN '00' AND '23'"
            return (
                (
                    f"CASE WHEN {{0}} LIKE '{SHAPE}._%Z' AND strlen({{0}}) <= 30 AND {digits} THEN {cast} "
                    f"WHEN {{0}} LIKE '{SHAPE}Z' AND NOT contains({{0}}, '.Z') AND {digits} THEN {cast} "
                    f"WHEN regexp_full_match({{0}}, '{MOMENT}{OFFSET}?') THEN TRY_CAST({{0}} AS TIMESTAMPTZ) END"
                ),
                f"CASE WHEN {{s1}} >= {FIRST} AND {{s1}} < {LAST} THEN {{s1}} END",
            )
        local = f"timezone({self.text(zone)}, TRY_CAST({{0}} AS TIMESTAMP))"
        return (
            (
                f"CASE WHEN regexp_full_match({{0}}, '{MOMENT}') THEN {local} "
                f"WHEN regexp_full_match({{0}}, '{MOMENT}{OFFSET}') THEN TRY_CAST({{0}} AS TIMESTAMPTZ) END"
            ),
            f"CASE WHEN {{s1}} >= {FIRST} AND {{s1}} < {LAST} THEN {{s1}} END",
        )

    def failed(self, source: Type) -> str:
        """Return whether `{0}` was something and its conversion `{1}` is nothing; blank text is absent, not wrong."""
        if source.kind is Kind.TEXT:
            wrong = f"NOT regexp_full_match({{0}}, '{BLANK}')"
            return f"CASE WHEN {{1}} IS NOT NULL OR {{0}} IS NULL THEN false ELSE {wrong} END"
        return "({1} IS NULL AND {0} IS NOT NULL)"

    def in_years(self, sql: str) -> str:
        """Return a time that is null outside the years 1 to 9999; `sql` must be a name."""
        return f"CASE WHEN {sql} >= {FIRST} AND {sql} < {LAST} THEN {sql} END"

    def known_zone(self, zone: str) -> str:
        """Return whether a zone that comes from a parameter is one the engine knows: an unknown one would raise."""
        return f"{zone} IN (SELECT name FROM pg_timezone_names())"  # noqa: S608 - names of ours
