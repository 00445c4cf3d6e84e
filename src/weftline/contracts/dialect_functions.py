"""The functions of Weftline SQL as one table: name, arguments, result, meaning, and how each engine writes it.

Every function is total: whatever the data, it gives a value or null and never raises. A null argument gives null unless
the summary says otherwise. Text positions count characters from 1. Functions of calendar parts take an explicit zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FUNCTIONS", "Arg", "Function", "Kind", "Type"]


class Kind(StrEnum):
    """The types of Weftline SQL."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Type:
    """A kind; `precision` and `scale` are those of a decimal."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """Return the type as documents write it."""
        return f"decimal({self.precision},{self.scale})" if self.kind is Kind.DECIMAL else str(self.kind)


class Arg(StrEnum):
    """What an argument must be. The last five are literals, checked when the document is."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    ANY = "any"
    SAME = "any, all of one type"
    ZONE = "zone"
    PATTERN = "pattern"
    FORMAT = "format"
    PATH = "path"
    PART = "part"
    DIGITS = "digits"


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `duckdb` are steps: `{0}` … are the arguments, `{s1}` … the steps before; the last is the result.

    `{same}` and `{all}` stand for all arguments. A `special` function is written by the dialect itself.
    """

    name: str
    args: tuple[Arg, ...]
    result: Kind
    summary: str
    example: str
    duckdb: tuple[str, ...] = ()
    optional: int = 0
    defaults: tuple[str, ...] = ()
    variadic: bool = False
    special: bool = False
    finite: bool = True
    """False: a number it gives may be infinite and is made null by the dialect."""


LIMIT = 4294967295
"""Longest cut DuckDB accepts; larger counts mean the same."""
SPACE = "' \t\n\v\f\r'"
YEAR_1, YEAR_10000 = -62135596800, 253402300800


def _text(name: str, summary: str, example: str, sql: str) -> Function:
    return Function(name, (Arg.TEXT,), Kind.TEXT, summary, example, (sql,))


def _calendar(name: str, summary: str, example: str, part: str) -> Function:
    sql = f"CAST(extract({part} FROM timezone({{1}}, {{0}})) AS BIGINT)"
    return Function(name, (Arg.TIMESTAMP, Arg.ZONE), Kind.INTEGER, summary, example, (sql,))


def _number(name: str, summary: str, example: str, sql: str, *, finite: bool = True) -> Function:
    return Function(name, (Arg.NUMBER,), Kind.NUMBER, summary, example, (sql,), finite=finite)


TEXTS = (
    _text("lower", "Text in small letters.", "lower('ABC') = 'abc'", "lower({0})"),
    _text("upper", "Text in capital letters.", "upper('abc') = 'ABC'", "upper({0})"),
    _text("trim", "Text without white space at both ends.", "trim(' a ') = 'a'", f"trim({{0}}, {SPACE})"),
    Function("length", (Arg.TEXT,), Kind.INTEGER, "Number of characters.", "length('abc') = 3", ("length({0})",)),
    Function(
        "substring",
        (Arg.TEXT, Arg.INTEGER, Arg.INTEGER),
        Kind.TEXT,
        "Part of a text from a position, of a length or to the end; null where position < 1 or length < 0.",
        "substring('machine', 2, 3) = 'ach'",
        (
            f"CASE WHEN {{1}} >= 1 AND {{2}} >= 0 THEN substring({{0}}, least({{1}}, {LIMIT}), least({{2}}, {LIMIT})) END",
        ),
        optional=1,
        defaults=(str(LIMIT),),
    ),
    Function(
        "left",
        (Arg.TEXT, Arg.INTEGER),
        Kind.TEXT,
        "The first characters; null for a negative count.",
        "left('abc', 2) = 'ab'",
        (f"CASE WHEN {{1}} >= 0 THEN left({{0}}, least({{1}}, {LIMIT})) END",),
    ),
    Function(
        "right",
        (Arg.TEXT, Arg.INTEGER),
        Kind.TEXT,
        "The last characters; null for a negative count.",
        "right('abc', 2) = 'bc'",
        (f"CASE WHEN {{1}} >= 0 THEN right({{0}}, least({{1}}, {LIMIT})) END",),
    ),
    Function(
        "replace",
        (Arg.TEXT, Arg.TEXT, Arg.TEXT),
        Kind.TEXT,
        "Text with every occurrence of a part replaced; an empty part changes nothing.",
        "replace('1,5', ',', '.') = '1.5'",
        ("replace({0}, {1}, {2})",),
    ),
    Function(
        "concat",
        (Arg.TEXT,),
        Kind.TEXT,
        "All arguments as one text; nulls are left out.",
        "concat('a', null, 'b') = 'ab'",
        ("concat({all})",),
        variadic=True,
    ),
    Function(
        "starts_with",
        (Arg.TEXT, Arg.TEXT),
        Kind.BOOLEAN,
        "Whether a text begins with another.",
        "starts_with('abc', 'ab') = true",
        ("starts_with({0}, {1})",),
    ),
    Function(
        "ends_with",
        (Arg.TEXT, Arg.TEXT),
        Kind.BOOLEAN,
        "Whether a text ends with another.",
        "ends_with('abc', 'bc') = true",
        ("ends_with({0}, {1})",),
    ),
    Function(
        "contains",
        (Arg.TEXT, Arg.TEXT),
        Kind.BOOLEAN,
        "Whether a text holds another.",
        "contains('abc', 'b') = true",
        ("contains({0}, {1})",),
    ),
    Function(
        "lpad",
        (Arg.TEXT, Arg.INTEGER, Arg.TEXT),
        Kind.TEXT,
        "Text filled at its start to a length (0 to 10000), or cut to it; null for an empty filling.",
        "lpad('7', 3, '0') = '007'",
        ("CASE WHEN {1} BETWEEN 0 AND 10000 AND {2} <> '' THEN lpad({0}, CAST({1} AS INTEGER), {2}) END",),
    ),
    Function(
        "split_part",
        (Arg.TEXT, Arg.TEXT, Arg.INTEGER),
        Kind.TEXT,
        "The n-th part of a text cut at a separator; null where there is none or the separator is empty.",
        "split_part('a/b/c', '/', 2) = 'b'",
        ("CASE WHEN {2} >= 1 AND {1} <> '' THEN list_extract(string_split({0}, {1}), {2}) END",),
    ),
    Function(
        "sha256",
        (Arg.TEXT,),
        Kind.TEXT,
        "SHA-256 of the UTF-8 text, 64 small hexadecimal digits.",
        "left(sha256('abc'), 8) = 'ba7816bf'",
        ("sha256({0})",),
    ),
)

PATTERNS = (
    Function(
        "regexp_matches",
        (Arg.TEXT, Arg.PATTERN),
        Kind.BOOLEAN,
        "Whether a pattern is found anywhere in a text.",
        "regexp_matches('LOT-42', '[0-9]+') = true",
        ("regexp_matches({0}, {1})",),
    ),
    Function(
        "regexp_full_match",
        (Arg.TEXT, Arg.PATTERN),
        Kind.BOOLEAN,
        "Whether a pattern matches a whole text.",
        "regexp_full_match('LOT-42', '[0-9]+') = false",
        ("regexp_full_match({0}, {1})",),
    ),
    Function(
        "regexp_extract",
        (Arg.TEXT, Arg.PATTERN, Arg.DIGITS),
        Kind.TEXT,
        "What the first match captured in a group (0 = the whole match); null where nothing matches.",
        "regexp_extract('LOT-42', '([A-Z]+)-([0-9]+)', 2) = '42'",
        ("CASE WHEN regexp_matches({0}, {1}) THEN regexp_extract({0}, {1}, {2}) END",),
        optional=1,
        defaults=("0",),
    ),
    Function(
        "regexp_replace",
        (Arg.TEXT, Arg.PATTERN, Arg.TEXT),
        Kind.TEXT,
        "Text with every match replaced by a literal text.",
        "regexp_replace('a1b22', '[0-9]+', '#') = 'a#b#'",
        ("regexp_replace({0}, {1}, replace({2}, '\\', '\\\\'), 'g')",),
    ),
)

NUMBERS = (
    Function(
        "abs",
        (Arg.SAME,),
        Kind.NULL,
        "Value without its sign, same type.",
        "abs(-2) = 2",
        ("TRY(abs({0}))",),
        special=True,
    ),
    Function(
        "round",
        (Arg.NUMBER, Arg.DIGITS),
        Kind.NUMBER,
        "Nearest number with so many decimals (0 to 15), halves away from zero.",
        "round(2.5) = 3",
        ("round({0}, {1})",),
        optional=1,
        defaults=("0",),
    ),
    _number("floor", "Largest whole number not above.", "floor(-1.5) = -2", "floor({0})"),
    _number("ceil", "Smallest whole number not below.", "ceil(1.2) = 2", "ceil({0})"),
    _number("trunc", "Whole part, towards zero.", "trunc(-1.7) = -1", "trunc({0})"),
    _number("sqrt", "Square root; null below zero.", "sqrt(9) = 3", "CASE WHEN {0} >= 0 THEN sqrt({0}) END"),
    Function(
        "power",
        (Arg.NUMBER, Arg.NUMBER),
        Kind.NUMBER,
        "First to the power of second; null where that is no finite real number.",
        "power(2, 10) = 1024",
        ("pow({0}, {1})",),
        finite=False,
    ),
    _number("ln", "Natural logarithm; null at or below zero.", "ln(1) = 0", "CASE WHEN {0} > 0 THEN ln({0}) END"),
    Function(
        "mod",
        (Arg.SAME, Arg.SAME),
        Kind.NULL,
        "Rest of a division, with the sign of the dividend; null for a zero divisor. The same as %.",
        "mod(7, 3) = 1",
        special=True,
    ),
    Function(
        "is_number",
        (Arg.TEXT,),
        Kind.BOOLEAN,
        "Whether a text is a number of this dialect.",
        "is_number('1e3') = true",
        special=True,
    ),
    Function(
        "is_integer",
        (Arg.TEXT,),
        Kind.BOOLEAN,
        "Whether a text is a whole number of 64 bits.",
        "is_integer('1.7') = false",
        special=True,
    ),
)

CHOICES = (
    Function(
        "coalesce",
        (Arg.SAME,),
        Kind.NULL,
        "The first value that is not null.",
        "coalesce(null, 2, 3) = 2",
        variadic=True,
        special=True,
    ),
    Function(
        "nullif",
        (Arg.SAME, Arg.SAME),
        Kind.NULL,
        "Null where both are equal, else the first.",
        "nullif('N/A', 'N/A') is null",
        special=True,
    ),
    Function(
        "if",
        (Arg.BOOLEAN, Arg.SAME, Arg.SAME),
        Kind.NULL,
        "The second where the first is true, else the third.",
        "if(2 > 1, 'a', 'b') = 'a'",
        special=True,
    ),
    Function(
        "least",
        (Arg.SAME,),
        Kind.NULL,
        "The smallest value; nulls are left out.",
        "least(3, null, 2) = 2",
        ("least({all})",),
        variadic=True,
        special=True,
    ),
    Function(
        "greatest",
        (Arg.SAME,),
        Kind.NULL,
        "The largest value; nulls are left out.",
        "greatest(3, null, 2) = 3",
        ("greatest({all})",),
        variadic=True,
        special=True,
    ),
)

FLOOR_1000 = "({0} - ((({0} % 1000) + 1000) % 1000)) // 1000"

TIMES = (
    Function(
        "parse_time",
        (Arg.TEXT, Arg.FORMAT, Arg.ZONE),
        Kind.TIMESTAMP,
        "Time of a text in a format; without an offset in the text it is local time of the zone.",
        "parse_time('02.08.2018 17:43', 'dd.MM.yyyy HH:mm', 'Europe/Berlin')",
        special=True,
    ),
    Function(
        "parse_date",
        (Arg.TEXT, Arg.FORMAT),
        Kind.DATE,
        "Date of a text in a format.",
        "parse_date('02.08.2018', 'dd.MM.yyyy')",
        special=True,
    ),
    Function(
        "from_unix_s",
        (Arg.NUMBER,),
        Kind.TIMESTAMP,
        "Time of seconds since 1970 UTC, rounded to microseconds.",
        "from_unix_s(0.5)",
        (
            f"CASE WHEN {{0}} >= {YEAR_1} AND {{0}} < {YEAR_10000} THEN make_timestamptz(CAST(round({{0}} * 1e6) AS BIGINT)) END",
        ),
    ),
    Function(
        "from_unix_ms",
        (Arg.INTEGER,),
        Kind.TIMESTAMP,
        "Time of milliseconds since 1970 UTC.",
        "from_unix_ms(1700000000000)",
        (f"CASE WHEN {{0}} >= {YEAR_1}000 AND {{0}} < {YEAR_10000}000 THEN make_timestamptz({{0}} * 1000) END",),
    ),
    Function(
        "from_unix_us",
        (Arg.INTEGER,),
        Kind.TIMESTAMP,
        "Time of microseconds since 1970 UTC.",
        "from_unix_us(1700000000000000)",
        (f"CASE WHEN {{0}} >= {YEAR_1}000000 AND {{0}} < {YEAR_10000}000000 THEN make_timestamptz({{0}}) END",),
    ),
    Function(
        "from_unix_ns",
        (Arg.INTEGER,),
        Kind.TIMESTAMP,
        "Time of nanoseconds since 1970 UTC, cut to microseconds.",
        "from_unix_ns(1700000000000000000)",
        (f"make_timestamptz(TRY({FLOOR_1000}))",),
    ),
    Function(
        "to_unix_ms",
        (Arg.TIMESTAMP,),
        Kind.INTEGER,
        "Milliseconds since 1970 UTC, cut down.",
        "to_unix_ms(from_unix_ms(5)) = 5",
        ("epoch_us({0})", FLOOR_1000.replace("{0}", "{s1}")),
    ),
    Function(
        "to_unix_s",
        (Arg.TIMESTAMP,),
        Kind.NUMBER,
        "Seconds since 1970 UTC.",
        "to_unix_s(from_unix_ms(1500)) = 1.5",
        ("epoch_us({0}) / 1e6",),
    ),
    Function(
        "date_of",
        (Arg.TIMESTAMP, Arg.ZONE),
        Kind.DATE,
        "Calendar date of a time in a zone.",
        "date_of(from_unix_ms(0), 'UTC')",
        ("CAST(timezone({1}, {0}) AS DATE)",),
    ),
    _calendar("year", "Year of a time in a zone.", "year(from_unix_ms(0), 'UTC') = 1970", "year"),
    _calendar("month", "Month 1 to 12.", "month(from_unix_ms(0), 'UTC') = 1", "month"),
    _calendar("day", "Day of the month.", "day(from_unix_ms(0), 'UTC') = 1", "day"),
    _calendar("hour", "Hour 0 to 23.", "hour(from_unix_ms(0), 'Europe/Berlin') = 1", "hour"),
    _calendar(
        "day_of_week", "ISO weekday: 1 = Monday to 7 = Sunday.", "day_of_week(from_unix_ms(0), 'UTC') = 4", "isodow"
    ),
    Function(
        "truncate_time",
        (Arg.PART, Arg.TIMESTAMP, Arg.ZONE),
        Kind.TIMESTAMP,
        "Begin of the second, minute, hour, day, week (Monday), month, quarter or year in a zone.",
        "truncate_time('hour', from_unix_ms(5400000), 'UTC') = from_unix_ms(3600000)",
        ("timezone({2}, date_trunc({0}, timezone({2}, {1})))",),
    ),
    Function(
        "add_seconds",
        (Arg.TIMESTAMP, Arg.NUMBER),
        Kind.TIMESTAMP,
        "Time moved by seconds, to the microsecond; null outside the years 1 to 9999.",
        "add_seconds(from_unix_ms(0), 1.5) = from_unix_ms(1500)",
        (
            "CASE WHEN abs({1}) < 1e12 THEN epoch_us({0}) + CAST(round({1} * 1e6) AS BIGINT) END",
            f"CASE WHEN {{s1}} >= {YEAR_1}000000 AND {{s1}} < {YEAR_10000}000000 THEN make_timestamptz({{s1}}) END",
        ),
    ),
    Function(
        "seconds_between",
        (Arg.TIMESTAMP, Arg.TIMESTAMP),
        Kind.NUMBER,
        "Seconds from the first to the second.",
        "seconds_between(from_unix_ms(0), from_unix_ms(1500)) = 1.5",
        ("(epoch_us({1}) - epoch_us({0})) / 1e6",),
    ),
    Function(
        "format_time",
        (Arg.TIMESTAMP, Arg.FORMAT, Arg.ZONE),
        Kind.TEXT,
        "Text of a time in a format and zone; the format must not hold an offset.",
        "format_time(from_unix_ms(0), 'yyyy-MM-dd', 'UTC') = '1970-01-01'",
        special=True,
    ),
)

NESTED = (
    Function(
        "json_text",
        (Arg.TEXT, Arg.PATH),
        Kind.TEXT,
        "Text of a value inside JSON text ('$.a.b', '$.list[0]', '$.\"odd name\"'); null where absent, null or no JSON.",
        "json_text('{\"a\":{\"b\":7}}', '$.a.b') = '7'",
        ("CASE WHEN json_valid({0}) THEN json_extract_string({0}, {1}) END",),
    ),
    Function(
        "json_length",
        (Arg.TEXT, Arg.PATH),
        Kind.INTEGER,
        "Number of items of an array inside JSON text; null where it is no array.",
        "json_length('[1,2]', '$') = 2",
        (
            (
                "CASE WHEN json_valid({0}) THEN CASE WHEN json_type({0}, {1}) = 'ARRAY' "
                "THEN CAST(json_array_length({0}, {1}) AS BIGINT) END END"
            ),
        ),
        optional=1,
        defaults=("'$'",),
    ),
)

UNITS = (
    Function(
        "unit_convert",
        (Arg.NUMBER, Arg.TEXT, Arg.TEXT),
        Kind.NUMBER,
        "Value in another unit (Rec 20 or UCUM codes); the target is a literal, null for a source of another dimension.",
        "unit_convert(98.6, 'FAH', 'CEL') = 37",
        special=True,
    ),
)

FUNCTIONS: dict[str, Function] = {
    one.name: one for one in (*TEXTS, *PATTERNS, *NUMBERS, *CHOICES, *TIMES, *NESTED, *UNITS)
}
"""Every function by name. Together with the operators at most 80 (DESIGN §4)."""
