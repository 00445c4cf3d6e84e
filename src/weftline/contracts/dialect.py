"""Weftline SQL: a named subset of SQL expressions, parsed by sqlglot, typed, and written anew for an engine.

Nothing of the author's text reaches an engine: literals are quoted again, identifiers become names of ours, and what is not
listed here is refused with its place. Every expression is total (no data makes it raise): division by zero, overflow and
NaN give null. A conversion that fails (`CAST`, or text met by arithmetic) is remembered in `fails`, so that a rule can say
so; `TRY_CAST` and comparisons fail silently to null. docs/weftline-sql.md is written from these tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from sqlglot import exp, parse_one
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser

from weftline.contracts.dialect_calls import compile_call
from weftline.contracts.dialect_duckdb import DuckDb
from weftline.contracts.dialect_functions import FUNCTIONS, Kind, Type
from weftline.contracts.dialect_types import (
    BOOLEAN,
    DATE,
    INTEGER,
    NULL,
    NUMBER,
    TEXT,
    TIME,
    TIMESTAMP,
    Scope,
    SqlArgumentError,
    SqlConstructError,
    SqlFieldError,
    SqlFunctionError,
    SqlSyntaxError,
    SqlTypeError,
    Typed,
    any_of,
)
from weftline.errors import WeftlineError, nearest

__all__ = ["OPERATORS", "Compiler", "parse"]

NUMERIC = (Kind.INTEGER, Kind.NUMBER, Kind.DECIMAL)
TEMPORAL = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP)
LONGEST, DEEPEST = 10_000, 60
OPERATORS = (
    *("=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE"),
    *("IS NULL", "IS TRUE", "IS DISTINCT FROM", "CASE", "CAST", "TRY_CAST"),
)
PLACEHOLDER = re.compile(r"\{(all|s?[0-9])\}")
NAME = re.compile(r"[a-z_]+[0-9]*$|-?[0-9.]+$|true$|false$")


class _WeftlineDialect(Dialect):  # type: ignore[misc]
    """sqlglot without any function of its own, so that every call arrives with the author's name."""

    class Parser(Parser):  # type: ignore[misc]
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            "CAST": lambda self: self._parse_cast(True),
            "TRY_CAST": lambda self: self._parse_cast(False, safe=True),
        }
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CASE": lambda self: self._parse_case()}


def parse(text: str, *, place: str) -> Any:
    """Parse one expression (or a SELECT, which only sql rules may hold) into a sqlglot tree."""
    if len(text) > LONGEST:
        raise SqlSyntaxError(place=place, found=f"{len(text)} characters", expected=f"at most {LONGEST}")
    if "\0" in text or not text.strip():
        raise SqlSyntaxError(place=place, found="nothing to read", expected="an expression of Weftline SQL")
    try:
        return parse_one(text, read=_WeftlineDialect)
    except SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        at = len(first.get("start_context") or "") + 1 if first else 0
        raise SqlSyntaxError(
            place=place,
            found=f"'{first.get('highlight') or text[:40]}' at character {at}" if first else repr(text[:40]),
            expected=str(first.get("description") or "an expression of Weftline SQL").rstrip("."),
        ) from error
    except RecursionError as error:
        raise SqlSyntaxError(place=place, found="deep nesting", expected=f"at most {DEEPEST} levels") from error


PARTS: dict[Any, tuple[str, ...]] = {
    exp.Literal: ("this", "is_string"),
    exp.Column: ("this", "table", "db", "catalog"),
    exp.Like: ("this", "expression", "negate"),
    exp.Between: ("this", "low", "high"),
    exp.Case: ("this", "ifs", "default"),
    exp.Cast: ("this", "to"),
    exp.TryCast: ("this", "to", "safe"),
    exp.DPipe: ("this", "expression", "safe"),
    exp.Div: ("this", "expression", "typed", "safe"),
}
"""Parts of a node that are read; the others have `this`, `expression` and `expressions`."""
TYPES: dict[str, Type] = {
    **dict.fromkeys(("VARCHAR", "TEXT", "CHAR", "NVARCHAR"), TEXT),
    "BOOLEAN": BOOLEAN,
    **dict.fromkeys(("BIGINT", "INT", "SMALLINT", "TINYINT"), INTEGER),
    **dict.fromkeys(("DOUBLE", "FLOAT"), NUMBER),
    "DATE": DATE,
    "TIME": TIME,
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), TIMESTAMP),
}
COMPARISONS: dict[Any, str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
}
ARITHMETIC: dict[Any, str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}


class Compiler:
    """Compile trees of one document in one scope. `zone` is that of text times without an offset."""

    def __init__(
        self, scope: Scope, *, place: str, zone: str = "UTC", engine: DuckDb | None = None, checking: bool = True
    ) -> None:
        self.scope = scope
        self.place = place
        self.zone = zone
        self.engine = engine or DuckDb()
        self.checking = checking
        """While a document is checked, types that do not meet are refused; in a run, where they come from data, they give
        null and count as a failed conversion."""
        self.depth = 0

    def compile(self, text: str) -> Typed:
        """Parse and compile one expression; what is not Weftline SQL is refused."""
        return self.node(parse(text, place=self.place))

    def boolean(self, text: str) -> Typed:
        """Compile an expression that decides something."""
        return self.condition(parse(text, place=self.place))

    def condition(self, node: Any) -> Typed:
        """Compile a node and read it as true, false or null."""
        value = self.node(node)
        if self.checking and (
            value.type.kind in TEMPORAL or (value.literal is not None and value.type.kind is Kind.TEXT)
        ):
            raise self.refuse(SqlTypeError, node, f"a value of type {value.type}", "a condition")
        return self.coerce(value, BOOLEAN, strict=False)

    def refuse(
        self, kind: type[WeftlineError], node: Any, found: str, expected: str, next_step: str = ""
    ) -> WeftlineError:
        """Return the refusal with the character the node begins at."""
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        where = f" at character {min(starts) + 1}" if starts else ""
        return kind(place=self.place, found=found + where, expected=expected, next_step=next_step)

    def node(self, node: Any) -> Typed:
        """Compile any node."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise SqlSyntaxError(place=self.place, found="deep nesting", expected=f"at most {DEEPEST} levels")
        try:
            kind = type(node)
            self.known_parts(node)
            if kind in COMPARISONS:
                return self.comparison(node, COMPARISONS[kind])
            if kind in ARITHMETIC:
                return self.arithmetic(ARITHMETIC[kind], self.node(node.this), self.node(node.expression), node)
            handler = NODES.get(kind)
            if handler is None:
                raise self.refuse(SqlConstructError, node, construct(node), "expressions of docs/weftline-sql.md")
            return handler(self, node)
        finally:
            self.depth -= 1

    def known_parts(self, node: Any) -> None:
        """Refuse a construct with a part we do not read (NOT inside LIKE, FORMAT inside CAST …): it must not be lost."""
        known = PARTS.get(type(node), ("this", "expression", "expressions"))
        extra = next((key for key, value in node.args.items() if value and key not in known), None)
        if extra:
            raise self.refuse(
                SqlConstructError, node, f"{construct(node)} with '{extra}'", "expressions of docs/weftline-sql.md"
            )

    # Values

    def literal(self, node: Any) -> Typed:
        """Compile a text or number literal."""
        if node.is_string:
            return Typed(self.engine.text(node.this), TEXT, literal=node.this)
        return self.number_literal(node.this, node)

    def number_literal(self, text: str, node: Any) -> Typed:
        """Compile a number; beyond 64 bits or with a fraction it is a double."""
        if re.fullmatch(r"-?[0-9]+", text) and -(2**63) < int(text) < 2**63:
            return Typed(f"CAST({text} AS BIGINT)", INTEGER, literal=int(text))
        try:
            value = float(text)
        except ValueError:
            value = float("inf")
        if value in (float("inf"), float("-inf")):
            raise self.refuse(SqlTypeError, node, f"the number {text}", "a finite number")
        return Typed(f"CAST({value!r} AS DOUBLE)", NUMBER, literal=value)

    def negative(self, node: Any) -> Typed:
        """Compile a minus sign."""
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self.number_literal(f"-{node.this.this}", node)
        return self.arithmetic("-", Typed("CAST(0 AS BIGINT)", INTEGER, literal=0), self.node(node.this), node)

    def column(self, node: Any) -> Typed:
        """Compile a field, `feed.<parameter>` or `received_time`."""
        name, table = node.name, node.table
        if node.args.get("db") or (table and (table.lower() != "feed" or node.args["table"].quoted)):
            next_step = "Read nested JSON with json_text(field, '$.a.b'); quote a name that holds a dot."
            raise self.refuse(SqlFieldError, node, f"'{node.sql()}'", "a field, or feed.<parameter>", next_step)
        found = self.scope.parameter(name) if table else self.scope.column(name)
        if found is None:
            known = () if table else self.scope.names()
            raise self.refuse(SqlFieldError, node, f"'{node.sql()}'", "a known name", nearest(name, known))
        return found

    def bound(self, value: Typed) -> Typed:
        """Return the value under a name, so that it may be written more than once."""
        return value if NAME.match(value.sql) else replace(value, sql=self.scope.bind(value.sql))

    def finite(self, value: Typed) -> Typed:
        """Return the value with infinities and NaN made null."""
        if not value.suspect:
            return value
        name = self.bound(value).sql
        return replace(value, sql=self.scope.bind(f"CASE WHEN isfinite({name}) THEN {name} END"), suspect=False)

    def steps(self, steps: tuple[str, ...], args: list[str]) -> str:
        """Write a chain of steps; arguments and steps used more than once get a name."""
        names = [
            arg if NAME.match(arg) or sum(step.count(f"{{{place}}}") for step in steps) < 2 else self.scope.bind(arg)
            for place, arg in enumerate(args)
        ]
        known = {"all": ", ".join(names), **{str(place): name for place, name in enumerate(names)}}
        for number, step in enumerate(steps, 1):
            # One pass: what is put in (an author's literal may hold braces) is never read again.
            written = PLACEHOLDER.sub(lambda match: known[match[1]], step)
            if number == len(steps):
                return written
            known[f"s{number}"] = self.scope.bind(written)
        raise AssertionError(steps)

    def coerce(self, value: Typed, target: Type, *, strict: bool, node: Any = None) -> Typed:
        """Convert to a type by the dialect's grammar; `strict` remembers a failure in `fails`."""
        steps = self.engine.conversion(value.type, target, self.zone)
        if value.type == target and not value.suspect:
            return value
        if steps == ():
            return replace(value, type=target)
        source = self.bound(value)
        if steps is None:
            if self.checking and node is not None and value.type.kind not in (Kind.TEXT, Kind.NULL):
                raise self.refuse(SqlTypeError, node, f"a {value.type}", f"something that becomes {target}")
            fails = (f"({source.sql} IS NOT NULL)",) if strict else ()
            return Typed(self.engine.null(target), target, (*value.fails, *fails))
        result = self.steps(steps, [source.sql])
        if not strict or value.type.kind is Kind.NULL or (value.suspect and value.type == target):
            return Typed(result, target, value.fails)
        name = self.scope.bind(result)
        failed = self.engine.failed(value.type).replace("{0}", source.sql).replace("{1}", name)
        return Typed(name, target, (*value.fails, self.scope.bind(failed)))

    def common(self, values: list[Typed]) -> Type:
        """Return the type values meet in: numbers in the wider, text with a number in number, text literals stay text."""
        real = [value for value in values if value.type.kind is not Kind.NULL]
        kinds = {value.type.kind for value in real}
        if not kinds:
            return TEXT
        if len(kinds) == 1 and Kind.DECIMAL not in kinds:
            return real[0].type
        others = kinds - {Kind.TEXT}
        if Kind.TEXT in kinds:
            quoted = any(value.literal is not None and value.type.kind is Kind.TEXT for value in real)
            if quoted and not others <= set(TEMPORAL):
                return TEXT
            if others <= set(NUMERIC):
                return NUMBER
            return Type(next(iter(others))) if len(others) == 1 else TEXT
        if others <= set(NUMERIC):
            return self.wider(
                [value for value in real if value.literal is None or value.type.kind is not Kind.NUMBER], kinds
            )
        if others <= {Kind.BOOLEAN, *NUMERIC}:
            return NUMBER
        return TEXT

    def wider(self, values: list[Typed], kinds: set[Kind]) -> Type:
        """Return the numeric type that holds all; a fraction written as literal bends to decimals beside it."""
        if not values or any(value.type.kind is Kind.NUMBER for value in values) or Kind.DECIMAL not in kinds:
            return NUMBER
        return Type(Kind.DECIMAL, 38, max(value.type.scale for value in values))

    # Operators

    def comparison(self, node: Any, sign: str) -> Typed:
        """Compile a comparison; conversions in it fail to null silently."""
        return self.compare(self.node(node.this), self.node(node.expression), sign, node)

    def compare(self, left: Typed, right: Typed, sign: str, node: Any) -> Typed:
        """Bring two values to one type and compare them."""
        for value, other in ((left, right), (right, left)):
            quoted = (
                isinstance(value.literal, str) and other.literal is None and other.type.kind in (Kind.TEXT, *NUMERIC)
            )
            if (
                self.checking
                and sign in ("<", "<=", ">", ">=")
                and quoted
                and re.fullmatch(r"[+-]?[0-9.]+", value.literal)
            ):
                next_step = "Write the number without quotes, or compare text with text."
                raise self.refuse(SqlTypeError, node, f"the text '{value.literal}' in an order", "a number", next_step)
        target = self.common([left, right])
        if {left.type.kind, right.type.kind} & set(TEMPORAL) and target is TEXT:
            if self.checking:
                raise self.refuse(SqlTypeError, node, f"{left.type} and {right.type}", "two values of one type")
            return Typed(self.engine.null(BOOLEAN), BOOLEAN)
        parts = [self.meet(value, target, node) for value in (left, right)]
        return Typed(f"({parts[0].sql} {sign} {parts[1].sql})", BOOLEAN, parts[0].fails + parts[1].fails)

    def meet(self, value: Typed, target: Type, node: Any) -> Typed:
        """Convert quietly for a comparison; a literal that cannot be converted is refused at once."""
        if isinstance(value.literal, str) and target.kind in TEMPORAL:
            self.check_time_literal(value.literal, target, node)
        return self.finite(self.coerce(self.finite(value), target, strict=False))

    def check_time_literal(self, text: str, target: Type, node: Any) -> None:
        """Refuse a date or time literal that is not ISO 8601."""
        shapes = {
            Kind.DATE: r"\d{4}-\d\d-\d\d",
            Kind.TIME: r"\d\d:\d\d(:\d\d(\.\d{1,9})?)?",
            Kind.TIMESTAMP: r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?",
        }
        if self.checking and not re.fullmatch(shapes[target.kind], text):
            raise self.refuse(SqlTypeError, node, f"'{text[:40]}'", f"a {target} as ISO 8601 writes it")

    def arithmetic(self, sign: str, left: Typed, right: Typed, node: Any) -> Typed:
        """Compile + - * / %: whole numbers stay whole except in a division, anything that does not fit is null."""
        bad = next((one for one in (left, right) if one.type.kind in (Kind.BOOLEAN, *TEMPORAL)), None)
        if bad and self.checking:
            next_step = "Use add_seconds and seconds_between for times."
            raise self.refuse(SqlTypeError, node, f"a {bad.type} in '{sign}'", "numbers", next_step)
        target = NUMBER if sign == "/" or bad else self.common([left, right])
        if target.kind is Kind.TEXT or (
            sign == "*" and target.kind is Kind.DECIMAL and left.type.scale + right.type.scale > 38
        ):
            target = NUMBER
        if target.kind is Kind.DECIMAL:
            return self.decimals(sign, left, right, target)
        parts = [
            one if one.type == target else self.coerce(self.finite(one), target, strict=True, node=node)
            for one in (left, right)
        ]
        first, second = parts
        fails = first.fails + second.fails
        if sign in "/%":
            second = self.finite(second)
            divisor = second.sql if second.literal else f"NULLIF({second.sql}, 0)"
            first = self.finite(first) if sign == "%" else first
            sql = f"({first.sql} {sign} {divisor})"
        else:
            sql = f"({first.sql} {sign} {second.sql})"
        if target.kind is Kind.INTEGER:
            return Typed(f"TRY({sql})", INTEGER, fails)
        return Typed(sql, NUMBER, fails, suspect=True)

    def decimals(self, sign: str, left: Typed, right: Typed, target: Type) -> Typed:
        """Compile exact arithmetic in 38 digits; a product adds the scales."""
        if sign == "*":
            types = [Type(Kind.DECIMAL, 38, self.literal_scale(one)) for one in (left, right)]
            result = Type(Kind.DECIMAL, 38, sum(one.scale for one in types))
        else:
            types, result = [target, target], target
        if result.scale > 38:
            types, result = [NUMBER, NUMBER], NUMBER
        parts = [self.coerce(one, kind, strict=True) for one, kind in zip((left, right), types, strict=True)]
        second = f"NULLIF({parts[1].sql}, 0)" if sign == "%" else parts[1].sql
        sql = f"TRY({parts[0].sql} {sign} {second})"
        return Typed(sql, result, parts[0].fails + parts[1].fails, suspect=result is NUMBER)

    def literal_scale(self, value: Typed) -> int:
        """Return the decimals of a value, those written where it is a literal."""
        if value.type.kind is Kind.NUMBER and value.literal is not None:
            return len(f"{value.literal:.12f}".rstrip("0").split(".")[1])
        return value.type.scale

    def joined(self, node: Any) -> Typed:
        """Compile ||, null where a side is null."""
        parts = [self.coerce(self.finite(self.node(one)), TEXT, strict=False) for one in (node.this, node.expression)]
        return Typed(f"({parts[0].sql} || {parts[1].sql})", TEXT, parts[0].fails + parts[1].fails)

    def logic(self, node: Any) -> Typed:
        """Compile AND and OR of three-valued logic."""
        sign = "AND" if isinstance(node, exp.And) else "OR"
        parts = [self.condition(one) for one in (node.this, node.expression)]
        return Typed(f"({parts[0].sql} {sign} {parts[1].sql})", BOOLEAN, parts[0].fails + parts[1].fails)

    def negation(self, node: Any) -> Typed:
        """Compile NOT."""
        value = self.condition(node.this)
        return Typed(f"(NOT {value.sql})", BOOLEAN, value.fails)

    def is_test(self, node: Any) -> Typed:
        """Compile IS NULL, IS TRUE and IS FALSE."""
        test = node.expression
        if isinstance(test, exp.Null):
            value = self.finite(self.node(node.this))
            return Typed(f"({value.sql} IS NULL)", BOOLEAN, value.fails)
        if isinstance(test, exp.Boolean):
            value = self.condition(node.this)
            return Typed(f"({value.sql} IS {'TRUE' if test.this else 'FALSE'})", BOOLEAN, value.fails)
        raise self.refuse(SqlConstructError, node, f"'IS {test.sql()}'", "IS NULL, IS TRUE or IS FALSE")

    def membership(self, node: Any) -> Typed:
        """Compile IN with a list."""
        if not node.expressions or node.args.get("query") or node.args.get("unnest"):
            raise self.refuse(SqlConstructError, node, "IN with a query", "IN with a list of values")
        values = [self.node(node.this), *(self.node(one) for one in node.expressions)]
        target = self.common(values)
        parts = [self.meet(value, target, node) for value in values]
        listed = ", ".join(part.sql for part in parts[1:])
        return Typed(f"({parts[0].sql} IN ({listed}))", BOOLEAN, sum((part.fails for part in parts), ()))

    def between(self, node: Any) -> Typed:
        """Compile BETWEEN, both ends included."""
        value = self.bound(self.node(node.this))
        low = self.compare(value, self.node(node.args["low"]), ">=", node)
        high = self.compare(value, self.node(node.args["high"]), "<=", node)
        return Typed(f"({low.sql} AND {high.sql})", BOOLEAN, low.fails + high.fails)

    def like(self, node: Any) -> Typed:
        """Compile LIKE with % and _, and an optional ESCAPE sign."""
        escape = ""
        if isinstance(node, exp.Escape):
            sign, node = node.expression, node.this
            self.known_parts(node)
            pattern = node.expression
            literal = isinstance(pattern, exp.Literal) and isinstance(sign, exp.Literal) and len(sign.this) == 1
            if (
                not isinstance(node, exp.Like)
                or not literal
                or re.sub(re.escape(sign.this) + ".", "", pattern.this).endswith(sign.this)
            ):
                raise self.refuse(
                    SqlArgumentError, node, "this ESCAPE", "a literal pattern and one sign that ends no pattern"
                )
            escape = f" ESCAPE {self.engine.text(sign.this)}"
        parts = [self.coerce(self.finite(self.node(one)), TEXT, strict=False) for one in (node.this, node.expression)]
        sign = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return Typed(f"({parts[0].sql} {sign} {parts[1].sql}{escape})", BOOLEAN, parts[0].fails + parts[1].fails)

    # CASE, CAST and calls

    def case(self, node: Any) -> Typed:
        """Compile CASE; only the branch taken can fail."""
        subject = self.bound(self.node(node.this)) if node.this else None
        conditions = []
        for branch in node.args["ifs"]:
            if subject is None:
                conditions.append(self.condition(branch.this))
            else:
                conditions.append(self.compare(subject, self.node(branch.this), "=", node))
        values = [self.node(branch.args["true"]) for branch in node.args["ifs"]]
        default = self.node(node.args["default"]) if node.args.get("default") else Typed("NULL", NULL)
        return self.choose(conditions, [*values, default], node)

    def choose(self, conditions: list[Typed], values: list[Typed], node: Any) -> Typed:
        """Write CASE over conditions, the last value being ELSE."""
        target = self.common(values)
        parts = [self.coerce(self.finite(value), target, strict=True, node=node) for value in values]
        names = [self.bound(one).sql for one in conditions]
        branches = " ".join(f"WHEN {name} THEN {part.sql}" for name, part in zip(names, parts, strict=False))
        sql = f"CASE {branches} ELSE {parts[-1].sql} END"
        fails: tuple[str, ...] = ()
        if any(part.fails for part in parts):
            taken = " ".join(f"WHEN {name} THEN {any_of(part.fails)}" for name, part in zip(names, parts, strict=False))
            fails = (f"CASE {taken} ELSE {any_of(parts[-1].fails)} END",)
        return Typed(sql, target, (*(fail for one in conditions for fail in one.fails), *fails))

    def cast(self, node: Any) -> Typed:
        """Compile CAST (a failure is a failure of the rule `type`) and TRY_CAST (a failure is null)."""
        target = self.named_type(node)
        value = self.finite(self.node(node.this))
        strict = not isinstance(node, exp.TryCast)
        result = self.coerce(value, target, strict=strict, node=node)
        return result if strict else replace(result, fails=())

    def named_type(self, node: Any) -> Type:
        """Return the type a cast names."""
        to = node.args["to"]
        name = to.this.value if isinstance(to, exp.DataType) and hasattr(to.this, "value") else str(to)
        params = [int(one.name) for one in to.expressions if isinstance(one, exp.DataTypeParam) and one.name.isdigit()]
        if name == "DECIMAL":
            precision, scale = (*params, 0, 0)[:2] if params else (38, 9)
            if 1 <= precision <= 38 and 0 <= scale <= precision:
                return Type(Kind.DECIMAL, precision, scale)
        elif name in TYPES and not params:
            return TYPES[name]
        expected = "text, boolean, bigint, double, decimal(p,s), date, time or timestamp"
        raise self.refuse(SqlTypeError, node, f"the type '{to.sql()}'", expected)

    def call(self, node: Any) -> Typed:
        """Compile a function of the table; any other is refused with the nearest name."""
        name = str(node.this).lower()
        function = FUNCTIONS.get(name)
        if function is None or not isinstance(node.this, str):
            next_step = nearest(name, FUNCTIONS)
            raise self.refuse(
                SqlFunctionError, node, f"the function '{name}'", "a function of docs/weftline-sql.md", next_step
            )
        given, wanted = len(node.expressions), len(function.args)
        if not (wanted - function.optional <= given <= wanted or (function.variadic and given >= 1)):
            expected = f"{name}({', '.join(function.args)}{', …' if function.variadic else ''})"
            raise self.refuse(SqlArgumentError, node, f"{given} arguments of '{name}'", expected)
        return compile_call(self, function, node)


def construct(node: Any) -> str:
    """Return what a node is called, for a refusal."""
    words = {
        exp.Select: "a query",
        exp.Subquery: "a query",
        exp.Window: "a window function",
        exp.Block: "several statements",
    }
    return words.get(type(node), f"'{node.sql()[:40]}' ({type(node).__name__})")


def _null(_: Compiler, __: Any) -> Typed:
    return Typed("NULL", NULL)


def _truth(_: Compiler, node: Any) -> Typed:
    return Typed("true" if node.this else "false", BOOLEAN)


NODES: dict[Any, Callable[[Compiler, Any], Typed]] = {
    exp.Literal: Compiler.literal,
    exp.Null: _null,
    exp.Boolean: _truth,
    exp.Column: Compiler.column,
    exp.Paren: lambda self, node: self.node(node.this),
    exp.Neg: Compiler.negative,
    exp.DPipe: Compiler.joined,
    exp.And: Compiler.logic,
    exp.Or: Compiler.logic,
    exp.Not: Compiler.negation,
    exp.Is: Compiler.is_test,
    exp.In: Compiler.membership,
    exp.Between: Compiler.between,
    exp.Like: Compiler.like,
    exp.Escape: Compiler.like,
    exp.Case: Compiler.case,
    exp.Cast: Compiler.cast,
    exp.TryCast: Compiler.cast,
    exp.Anonymous: Compiler.call,
}
"""Every construct of Weftline SQL; what is not here is refused."""
