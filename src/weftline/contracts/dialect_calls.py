"""Calls of functions: arguments checked and converted, then the engine's steps, or the few the dialect writes itself."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from weftline.contracts.dialect_functions import Arg, Function, Kind, Type
from weftline.contracts.dialect_types import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    TEXT,
    TIMESTAMP,
    SqlArgumentError,
    Typed,
)
from weftline.contracts.patterns import PatternError, read_pattern
from weftline.contracts.time_formats import TimeFormat, TimeFormatError, read_time_format
from weftline.errors import InputError
from weftline.model.units import conversion, same_dimension, unit

if TYPE_CHECKING:
    from weftline.contracts.dialect import Compiler

__all__ = ["compile_call", "convert_unit", "known_zone", "parse_formatted"]

PATH = re.compile(r'\$(\.[A-Za-z_][A-Za-z0-9_]*|\."[^"\\]+"|\[[0-9]{1,6}\])*')
PARTS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
PLAIN = {Arg.TEXT: TEXT, Arg.NUMBER: NUMBER, Arg.INTEGER: INTEGER, Arg.BOOLEAN: BOOLEAN, Arg.TIMESTAMP: TIMESTAMP}


def compile_call(compiler: Compiler, function: Function, node: Any) -> Typed:
    """Compile one call whose name and number of arguments are right."""
    if function.special:
        return SPECIAL[function.name](compiler, function, node)
    args: list[str] = []
    fails: tuple[str, ...] = ()
    groups = 0
    kinds = function.args * len(node.expressions) if function.variadic else function.args
    for kind, given in zip(kinds, node.expressions, strict=False):
        if kind in PLAIN:
            value = plain(compiler, given, PLAIN[kind])
            args.append(value.sql)
            fails += value.fails
        elif kind is Arg.ZONE:
            args.append(zone(compiler, given))
        else:
            written, groups = literal_argument(compiler, kind, given, groups)
            args.append(written)
    args += function.defaults[len(args) - len(function.args) :] if len(args) < len(function.args) else ()
    sql = compiler.steps(function.duckdb, args)
    return Typed(sql, Type(function.result), fails, suspect=not function.finite)


def plain(compiler: Compiler, node: Any, target: Type) -> Typed:
    """Compile an argument and convert it; a failed conversion is remembered."""
    value = compiler.finite(compiler.node(node))
    return compiler.coerce(value, target, strict=True, node=node)


def literal_text(compiler: Compiler, node: Any, what: str) -> str:
    """Return the text of an argument that must be a literal."""
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise compiler.refuse(SqlArgumentError, node, f"'{node.sql()[:40]}'", f"{what} as literal text")


def literal_argument(compiler: Compiler, kind: Arg, node: Any, groups: int) -> tuple[str, int]:
    """Check a literal argument; returns it as engine text and the groups of the pattern before it."""
    if kind is Arg.DIGITS:
        most = groups if groups >= 0 and kind is Arg.DIGITS and _is_pattern_call(node) else 15
        if not isinstance(node, exp.Literal) or node.is_string or not str(node.this).isdigit() or int(node.this) > most:
            raise compiler.refuse(SqlArgumentError, node, f"'{node.sql()[:40]}'", f"a whole number from 0 to {most}")
        return str(int(node.this)), groups
    text = literal_text(compiler, node, f"a {kind}")
    if kind is Arg.PATTERN:
        pattern = _placed(node, lambda: read_pattern(text, place=compiler.place), PatternError)
        return compiler.engine.text(pattern.text), pattern.groups
    if kind is Arg.PATH and not PATH.fullmatch(text):
        raise compiler.refuse(SqlArgumentError, node, f"the path '{text[:60]}'", "a path like $.a.b or $.list[0]")
    if kind is Arg.PART and text not in PARTS:
        raise compiler.refuse(SqlArgumentError, node, f"the part '{text[:60]}'", ", ".join(PARTS))
    return compiler.engine.text(text), groups


def _is_pattern_call(node: Any) -> bool:
    return str(node.parent.this).lower().startswith("regexp")


def _placed(node: Any, read: Callable[[], Any], kind: type[InputError]) -> Any:
    """Read a literal; a refusal keeps its own words and gains the character of the expression."""
    try:
        return read()
    except kind as error:
        old = error.complaint
        at = node.meta.get("start")
        found = old.found + (f", in the text at character {at + 1}" if at is not None else "")
        raise kind(place=old.place, found=found, expected=old.expected, next_step=old.next_step) from error


def known_zone(name: str) -> bool:
    """Return whether a zone is in the time-zone database; without a database any well-formed name passes."""
    if name == "UTC":
        return True
    available = zones()
    return name in available if available else re.fullmatch(r"[A-Za-z]+(/[A-Za-z0-9_+-]+)*", name) is not None


@cache
def zones() -> set[str]:
    """Return the names of the time-zone database that mean a zone."""
    skipped = ("posix/", "right/")
    return {
        one
        for one in zoneinfo.available_timezones()
        if not one.startswith(skipped) and one not in ("localtime", "Factory")
    }


def zone(compiler: Compiler, node: Any) -> str:
    """Compile a zone: a literal checked now, or a parameter of the feed checked by the engine's own list."""
    if isinstance(node, exp.Column) and node.table.lower() == "feed":
        name = compiler.bound(compiler.coerce(compiler.column(node), TEXT, strict=False)).sql
        return compiler.scope.bind(f"CASE WHEN {compiler.engine.known_zone(name)} THEN {name} END")
    text = literal_text(compiler, node, "a time zone, or feed.<parameter>,")
    if not known_zone(text):
        raise compiler.refuse(SqlArgumentError, node, f"the time zone '{text[:60]}'", "an IANA name like Europe/Berlin")
    return compiler.engine.text(text)


def time_format(compiler: Compiler, node: Any) -> TimeFormat:
    """Read a format literal."""
    text = literal_text(compiler, node, "a format")
    found: TimeFormat = _placed(node, lambda: read_time_format(text, place=compiler.place), TimeFormatError)
    return found


def parse_formatted(compiler: Compiler, text: str, layout: TimeFormat, target: Type, zone_sql: str) -> str:
    """Write the reading of a text in a format; `text` must be a name."""
    engine = compiler.engine
    ready = f"regexp_replace({text}, 'Z$', '+00:00')" if layout.offset else text
    read = f"try_strptime({ready}, {engine.text(layout.strptime)})"
    matched = f"CASE WHEN regexp_full_match({text}, {engine.text(layout.pattern)}) THEN {read} END"
    moment = compiler.scope.bind(matched)
    if "%n" in layout.strptime:
        # A cast from nanoseconds would round; digits after the microsecond are cut off everywhere else.
        nanos = compiler.scope.bind(f"epoch_ns({moment})")
        made = "make_timestamptz" if layout.offset else "make_timestamp"
        moment = compiler.scope.bind(f"{made}(({nanos} - ((({nanos} % 1000) + 1000) % 1000)) // 1000)")
    if target.kind is Kind.DATE:
        local = f"timezone('UTC', {moment})" if layout.offset else moment
        return f"TRY_CAST({local} AS DATE)"
    if target.kind is Kind.TIME:
        return f"TRY_CAST({moment} AS TIME)"
    aware = (
        f"TRY_CAST({moment} AS TIMESTAMPTZ)"
        if layout.offset
        else f"timezone({zone_sql}, TRY_CAST({moment} AS TIMESTAMP))"
    )
    return engine.in_years(compiler.scope.bind(aware))


def strict_text(compiler: Compiler, source: Typed, sql: str, target: Type) -> Typed:
    """Remember a failed reading of text."""
    name = compiler.scope.bind(sql)
    failed = compiler.engine.failed(TEXT).replace("{0}", source.sql).replace("{1}", name)
    return Typed(name, target, (*source.fails, compiler.scope.bind(failed)))


def parse_time(compiler: Compiler, _: Function, node: Any) -> Typed:
    source = compiler.bound(plain(compiler, node.expressions[0], TEXT))
    layout = time_format(compiler, node.expressions[1])
    if not layout.has_date or not layout.has_time:
        expected = "a format with date and time (use parse_date for a date)"
        raise compiler.refuse(SqlArgumentError, node, f"the format '{layout.text}'", expected)
    sql = parse_formatted(compiler, source.sql, layout, TIMESTAMP, zone(compiler, node.expressions[2]))
    return strict_text(compiler, source, sql, TIMESTAMP)


def parse_date(compiler: Compiler, _: Function, node: Any) -> Typed:
    source = compiler.bound(plain(compiler, node.expressions[0], TEXT))
    layout = time_format(compiler, node.expressions[1])
    if not layout.has_date:
        raise compiler.refuse(SqlArgumentError, node, f"the format '{layout.text}'", "a format with a date")
    return strict_text(compiler, source, parse_formatted(compiler, source.sql, layout, DATE, "'UTC'"), DATE)


def format_time(compiler: Compiler, _: Function, node: Any) -> Typed:
    value = plain(compiler, node.expressions[0], TIMESTAMP)
    layout = time_format(compiler, node.expressions[1])
    padded = not any(len(part) == 1 for part in re.findall(r"M+|d+|H+|h+|m+|s+", re.sub("'[^']*'", "", layout.text)))
    fraction = re.search("S+", re.sub("'[^']*'", "", layout.text))
    if layout.offset or not padded or (fraction and len(fraction.group()) not in (6, 9)):
        expected = "a format without offset, with two-digit parts and a fraction of 6 or 9 digits"
        raise compiler.refuse(SqlArgumentError, node, f"the format '{layout.text}'", expected)
    local = f"timezone({zone(compiler, node.expressions[2])}, {value.sql})"
    return Typed(f"strftime({local}, {compiler.engine.text(layout.strptime)})", TEXT, value.fails)


def alike(compiler: Compiler, nodes: list[Any]) -> tuple[list[Typed], Type]:
    """Compile arguments and bring them to one type."""
    values = [compiler.finite(compiler.node(one)) for one in nodes]
    target = compiler.common(values)
    return [
        compiler.coerce(value, target, strict=True, node=node) for value, node in zip(values, nodes, strict=True)
    ], target


def coalesce(compiler: Compiler, _: Function, node: Any) -> Typed:
    values, target = alike(compiler, node.expressions)
    names = [compiler.bound(value).sql for value in values]
    fails: list[str] = []
    for place, value in enumerate(values):
        before = [f"{name} IS NULL" for name in names[:place]]
        fails += [f"({' AND '.join([*before, fail])})" if before else fail for fail in value.fails]
    return Typed(f"COALESCE({', '.join(names)})", target, tuple(fails))


def nullif(compiler: Compiler, _: Function, node: Any) -> Typed:
    first = compiler.bound(compiler.finite(compiler.node(node.expressions[0])))
    same = compiler.compare(first, compiler.node(node.expressions[1]), "=", node)
    return Typed(f"CASE WHEN {same.sql} THEN NULL ELSE {first.sql} END", first.type, first.fails)


def choose(compiler: Compiler, _: Function, node: Any) -> Typed:
    condition, *branches = node.expressions
    return compiler.choose([compiler.condition(condition)], [compiler.node(one) for one in branches], node)


def extreme(compiler: Compiler, function: Function, node: Any) -> Typed:
    values, target = alike(compiler, node.expressions)
    fails = tuple(fail for value in values for fail in value.fails)
    return Typed(f"{function.name}({', '.join(value.sql for value in values)})", target, fails)


def absolute(compiler: Compiler, _: Function, node: Any) -> Typed:
    value = compiler.finite(compiler.node(node.expressions[0]))
    if value.type.kind not in (Kind.INTEGER, Kind.DECIMAL):
        value = compiler.coerce(value, NUMBER, strict=True, node=node)
    return Typed(f"TRY(abs({value.sql}))", value.type, value.fails)


def modulo(compiler: Compiler, _: Function, node: Any) -> Typed:
    left, right = (compiler.node(one) for one in node.expressions)
    return compiler.arithmetic("%", left, right, node)


def is_a(target: Type) -> Callable[[Compiler, Function, Any], Typed]:
    def compiled(compiler: Compiler, _: Function, node: Any) -> Typed:
        value = compiler.finite(compiler.node(node.expressions[0]))
        text = compiler.bound(compiler.coerce(value, TEXT, strict=False))
        read = compiler.coerce(text, target, strict=False)
        return Typed(f"CASE WHEN {text.sql} IS NOT NULL THEN ({read.sql}) IS NOT NULL END", BOOLEAN)

    return compiled


def unit_convert(compiler: Compiler, _: Function, node: Any) -> Typed:
    value = compiler.bound(plain(compiler, node.expressions[0], NUMBER))
    target = literal_text(compiler, node.expressions[2], "the target unit")
    unit(target, place=compiler.place)
    source = node.expressions[1]
    if isinstance(source, exp.Literal) and source.is_string:
        return convert_unit(
            compiler, value, Typed(compiler.engine.text(source.this), TEXT, literal=source.this), target
        )
    return convert_unit(compiler, value, plain(compiler, source, TEXT), target)


def convert_unit(compiler: Compiler, value: Typed, source: Typed, target: str) -> Typed:
    """Write a conversion from a constant unit, or from one that each row states; another dimension gives null."""
    if isinstance(source.literal, str):
        return Typed(
            affine(value.sql, conversion(source.literal, target, place=compiler.place)),
            NUMBER,
            value.fails,
            suspect=True,
        )
    name, number = compiler.bound(source).sql, compiler.bound(value).sql
    groups: dict[tuple[float, float, float], list[str]] = {}
    for code in same_dimension(target):
        groups.setdefault(conversion(code, target), []).append(compiler.engine.text(code))
    branches = " ".join(
        f"WHEN {name} IN ({', '.join(codes)}) THEN {affine(number, factors)}" for factors, codes in groups.items()
    )
    return Typed(f"CASE {branches} END", NUMBER, value.fails + source.fails, suspect=True)


def affine(sql: str, factors: tuple[float, float, float]) -> str:
    """Write (x × p + q) / r without the parts that do nothing."""
    p, q, r = factors
    scaled = sql if p == 1 else f"{sql} * CAST({p!r} AS DOUBLE)"
    moved = scaled if q == 0 else f"({scaled} + CAST({q!r} AS DOUBLE))"
    return f"({moved})" if r == 1 else f"({moved} / CAST({r!r} AS DOUBLE))"


SPECIAL: dict[str, Callable[[Compiler, Function, Any], Typed]] = {
    "abs": absolute,
    "coalesce": coalesce,
    "format_time": format_time,
    "greatest": extreme,
    "if": choose,
    "is_integer": is_a(INTEGER),
    "is_number": is_a(NUMBER),
    "least": extreme,
    "mod": modulo,
    "nullif": nullif,
    "parse_date": parse_date,
    "parse_time": parse_time,
    "unit_convert": unit_convert,
}
