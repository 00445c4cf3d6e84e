"""Rules of a contract as SQL: logicalTypeOptions decide rows, library metrics and sql rules decide rows or sets.

A rule other than `required` passes on null. Patterns are searched for (ECMA-262, as JSON Schema reads them), `multipleOf`
is decimal, lengths count characters. What no engine of ours can judge is listed as not run, never as passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from weftline.contracts.dialect_duckdb import DuckDb
from weftline.contracts.dialect_functions import Kind, Type
from weftline.contracts.odcs import Property, Quality
from weftline.contracts.patterns import read_pattern
from weftline.errors import InputError

__all__ = ["Draft", "RuleError", "SetDraft", "SetTest", "literal", "metric_draft", "option_drafts", "statement"]

ENGINE = DuckDb()
OPERATORS = (
    *("mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo"),
    *("mustBeBetween", "mustNotBeBetween"),
)
OLD_METRICS = {
    "nullCheck": "nullValues",
    "duplicateCount": "duplicateValues",
    "duplicateCheck": "duplicateValues",
    "uniqueCheck": "duplicateValues",
    "validValues": "invalidValues",
    "invalidCount": "invalidValues",
    "missingCount": "missingValues",
}
"""Names of ODCS 3.0 (its `rule`) for what 3.1 calls `metric`."""

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = "[0-9A-Fa-f]{1,4}"
FORMATS: dict[str, str] = {
    "email": f"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\\.{_LABEL})+",
    "uuid": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    "uri": "[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#@!$&'()*+,;=%\\[\\]-]+",
    "hostname": f"{_LABEL}(\\.{_LABEL})*",
    "ipv4": f"{_BYTE}(\\.{_BYTE}){{3}}",
    "ipv6": (
        f"(({_HEX}:){{7}}{_HEX}|({_HEX}:){{1,7}}:|({_HEX}:){{1,6}}:{_HEX}|({_HEX}:){{1,5}}(:{_HEX}){{1,2}}"
        f"|({_HEX}:){{1,4}}(:{_HEX}){{1,3}}|({_HEX}:){{1,3}}(:{_HEX}){{1,4}}|({_HEX}:){{1,2}}(:{_HEX}){{1,5}}"
        f"|{_HEX}:(:{_HEX}){{1,6}}|:((:{_HEX}){{1,7}}|:)|({_HEX}:){{6}}{_BYTE}(\\.{_BYTE}){{3}}"
        f"|::(ffff:)?{_BYTE}(\\.{_BYTE}){{3}})"
    ),
    "byte": "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
}
"""Formats of text and the pattern a whole value must match (RFC 5321/5322 shape, 4122, 3986, 1123, 791, 4291, 4648)."""
NO_SHAPE = ("password", "binary")
"""Formats that say how to treat a text and nothing about its characters."""
SIGNS = (
    ("minimum", "<", "at least"),
    ("exclusiveMinimum", "<=", "more than"),
    ("maximum", ">", "at most"),
    ("exclusiveMaximum", ">=", "less than"),
)
SIZES = {f"{sign}{bits}": (sign, bits) for sign in "iu" for bits in (8, 16, 32, 64, 128)}


class RuleError(InputError):
    """Say which rule of a contract cannot be compiled."""

    code = "contract-rule"


@dataclass(frozen=True, slots=True)
class Draft:
    """A row rule of one column; `fails` takes the column's name in SQL and gives what is true where the rule fails."""

    kind: str
    expected: str
    fails: Callable[[str], str]


def literal(value: Any, kind: Type, place: str) -> str:
    """Write a constant of a contract as SQL of a type; one that is not of the type is refused."""
    try:
        return _literal(value, kind)
    except (ValueError, TypeError, InvalidOperation, OverflowError) as error:
        found = f"'{str(value)[:60]}'"
        raise RuleError(
            place=place, found=found, expected=f"a {kind}", next_step="Write it as ISO 8601 where it is a time."
        ) from error


def _literal(value: Any, kind: Type) -> str:
    if kind.kind is Kind.TEXT:
        return ENGINE.text(value if isinstance(value, str) else _plain(value))
    if kind.kind is Kind.BOOLEAN:
        if isinstance(value, bool) or value in ("true", "false"):
            return "true" if value in (True, "true") else "false"
        raise ValueError(value)
    if kind.kind in (Kind.INTEGER, Kind.NUMBER, Kind.DECIMAL):
        return _number(value, kind)
    text = str(value)
    if kind.kind is Kind.DATE:
        return f"DATE '{date.fromisoformat(text[:10] if isinstance(value, datetime) else text).isoformat()}'"
    if kind.kind is Kind.TIME:
        return f"TIME '{time.fromisoformat(text).replace(tzinfo=None).isoformat()}'"
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    whole = int(moment.timestamp()) if moment.microsecond == 0 else int((moment.replace(microsecond=0)).timestamp())
    return f"make_timestamptz({whole * 1_000_000 + moment.microsecond})"


def _number(value: Any, kind: Type) -> str:
    if isinstance(value, bool):
        raise TypeError(value)
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(value)
    if kind.kind is Kind.NUMBER:
        return f"CAST({float(number)!r} AS DOUBLE)"
    if number == number.to_integral_value() and abs(number) < 2**63:
        return f"CAST({int(number)} AS BIGINT)"
    scale = max(0, -int(number.as_tuple().exponent))
    if scale > 30 or number.adjusted() + 1 + scale > 38:
        raise ValueError(value)
    return f"CAST('{number:f}' AS DECIMAL(38,{scale}))"


def _plain(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


# Options of a column


def option_drafts(prop: Property, kind: Type, place: str) -> tuple[list[Draft], list[tuple[str, str]]]:
    """Return the rules of logicalTypeOptions and enum, and (option, reason) of those not run."""
    options = prop.options
    drafts: list[Draft] = []
    not_run: list[tuple[str, str]] = []
    nested = prop.logical_type in ("object", "array", "map", "vector")
    if not nested:
        drafts += _limits(options, kind, f"{place}.logicalTypeOptions")
        drafts += _lengths(options, kind)
    else:
        drafts += _items(prop, options, not_run)
    if "pattern" in options and kind.kind is Kind.TEXT:
        pattern = read_pattern(str(options["pattern"]), place=f"{place}.logicalTypeOptions.pattern")
        drafts.append(_pattern("pattern", f"text with the pattern {options['pattern']}", pattern.text))
    allowed = [one.value for one in prop.enum] or list(options.get("enum") or ())
    if allowed:
        drafts.append(_enum(allowed, kind, place))
    if options.get("multipleOf") is not None and kind.kind in (Kind.INTEGER, Kind.NUMBER, Kind.DECIMAL):
        drafts.append(_multiple(options["multipleOf"], kind, place))
    drafts += _format(options.get("format"), kind, nested, not_run)
    return drafts, not_run


def _limits(options: Mapping[str, Any], kind: Type, place: str) -> list[Draft]:
    drafts = []
    for name, sign, words in SIGNS:
        limit = options.get(name)
        if limit is not None and not isinstance(limit, bool):
            drafts.append(_compared(name, f"{words} {limit}", "{v}", sign, literal(limit, kind, f"{place}.{name}")))
    return drafts


def _compared(kind: str, expected: str, measure: str, sign: str, limit: str) -> Draft:
    """Compare a measure of the value, written with `{v}` for its name."""
    return Draft(kind, expected, lambda v: f"{measure.replace('{v}', v)} {sign} {limit}")


def _lengths(options: Mapping[str, Any], kind: Type) -> list[Draft]:
    if kind.kind is not Kind.TEXT:
        return []
    drafts = []
    for name, sign, words in (("minLength", "<", "at least"), ("maxLength", ">", "at most")):
        if options.get(name) is not None:
            limit = int(options[name])
            drafts.append(_compared(name, f"{words} {limit} characters", "length({v})", sign, str(limit)))
    return drafts


def _items(prop: Property, options: Mapping[str, Any], not_run: list[tuple[str, str]]) -> list[Draft]:
    """Count items of arrays and keys of objects in JSON text; deeper rules are listed as not run."""
    array = prop.logical_type in ("array", "vector")
    count, what = ("json_array_length", "items") if array else ("json_keys", "properties")
    names = ("minItems", "maxItems") if array else ("minProperties", "maxProperties")
    drafts = []
    for name, sign, words in zip(names, "<>", ("at least", "at most"), strict=True):
        if options.get(name) is not None:
            limit = int(options[name])
            size = f"{count}({{v}})" if array else f"len({count}({{v}}))"
            drafts.append(_compared(name, f"{words} {limit} {what}", size, sign, str(limit)))
    for key in options.get("required") or () if not array else ():
        path = ENGINE.text('$."' + str(key).replace('"', "") + '"')
        exists = f"json_exists({{v}}, {path})"
        drafts.append(_compared(f"required.{key}", f"the property {key}", exists, "=", "false"))
    if options.get("uniqueItems"):
        not_run.append(("uniqueItems", "items of an array are not compared"))
    if prop.properties or (prop.items and (prop.items.properties or prop.items.options)):
        not_run.append(("nested", "rules of nested properties are not evaluated; map them to columns with json_text"))
    return drafts


def _pattern(kind: str, expected: str, pattern: str) -> Draft:
    return Draft(kind, expected, lambda v: f"NOT regexp_matches({v}, {ENGINE.text(pattern)})")


def _enum(allowed: list[Any], kind: Type, place: str) -> Draft:
    values = ", ".join(literal(value, kind, f"{place}.enum") for value in allowed if value is not None)
    words = ", ".join(_plain(value) for value in allowed[:12]) + (" …" if len(allowed) > 12 else "")
    return Draft("enum", f"one of {words}", lambda v: f"{v} NOT IN ({values})")


def _multiple(step: Any, kind: Type, place: str) -> Draft:
    """Compare in decimals of 38 digits; a value too large for that cannot be shown to be a multiple, so it fails."""
    number = Decimal(str(step))
    if not number.is_finite() or number <= 0 or -int(number.as_tuple().exponent) > 15:
        raise RuleError(
            place=f"{place}.multipleOf", found=str(step), expected="a number above 0 with at most 15 decimals"
        )
    scale = kind.scale if kind.kind is Kind.DECIMAL else 18
    wanted = f"CAST('{number:f}' AS DECIMAL(38,{max(scale, 15)}))"
    target = f"DECIMAL(38,{max(scale, 15)})"
    exact = (
        f"TRY_CAST(CAST({{v}} AS VARCHAR) AS {target})" if kind.kind is Kind.NUMBER else f"TRY_CAST({{v}} AS {target})"
    )
    fails = f"TRY({exact} % {wanted}) <> 0"
    if kind.kind is Kind.NUMBER:
        # Digits beyond the scale would be rounded away, and with them what makes the value no multiple.
        fails = f"{fails} OR CAST({exact} AS DOUBLE) <> {{v}}"
    return Draft(
        "multipleOf",
        f"a multiple of {step}",
        lambda v: f"CASE WHEN {v} IS NOT NULL THEN COALESCE({fails.replace('{v}', v)}, true) END",
    )


def _format(name: Any, kind: Type, nested: bool, not_run: list[tuple[str, str]]) -> list[Draft]:
    if not isinstance(name, str) or nested or name in NO_SHAPE:
        return []
    if kind.kind is Kind.TEXT:
        if name in FORMATS:
            pattern = ENGINE.text(FORMATS[name])
            return [Draft("format", f"the format {name}", lambda v: f"NOT regexp_full_match({v}, {pattern})")]
        not_run.append(("format", f"the format '{name}' is not known"))
    elif kind.kind in (Kind.INTEGER, Kind.DECIMAL) and name in SIZES:
        sign, bits = SIZES[name]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "i" else (0, 2**bits - 1)
        if kind.kind is Kind.INTEGER and (low, high) == (-(2**63), 2**63 - 1):
            return []
        bounds = [f"CAST('{max(min(limit, 10**38 - 1), 1 - 10**38)}' AS DECIMAL(38,0))" for limit in (low, high)]
        if max(-low, high) < 2**63:
            bounds = [f"CAST({limit} AS BIGINT)" for limit in (low, high)]
        return [Draft("format", f"a whole number of {name}", lambda v: f"{v} NOT BETWEEN {bounds[0]} AND {bounds[1]}")]
    return []


# Rules of sets


@dataclass(frozen=True, slots=True)
class SetTest:
    """How a set rule judges its count."""

    operator: str
    limits: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class SetDraft:
    """A set rule: `counts` takes (value, found text) of its column and gives what is true where the row is counted.

    `key` names the columns whose repetition is counted instead.
    """

    metric: str
    test: SetTest
    counts: Callable[[str, str], str] | None = None
    key: tuple[str, ...] = ()


def judged(rule: Quality, place: str) -> SetTest | str:
    """Return how the count of a rule is judged, or why it cannot be."""
    if rule.must is None:
        return "it has no operator (mustBe, mustBeLessThan …)"
    if rule.must.name not in OPERATORS:
        return f"the operator '{rule.must.name}' is not known"
    limits = rule.must.limits
    numbers = [limit for limit in limits if isinstance(limit, int | float) and not isinstance(limit, bool)]
    if len(numbers) != len(limits) or len(limits) != (2 if rule.must.name.endswith("Between") else 1):
        raise RuleError(place=f"{place}.{rule.must.name}", found=str(list(limits)), expected="numbers")
    unit = (rule.unit or "rows").lower()
    if unit not in ("rows", "percent"):
        return f"the unit '{rule.unit}' is neither rows nor percent"
    return SetTest(rule.must.name, tuple(float(limit) for limit in numbers), unit)


def metric_draft(rule: Quality, column: str, kind: Type | None, place: str) -> SetDraft | str:
    """Compile a library metric; text = why it is not run. `kind` is the column's type, None for a rule of the object."""
    metric = OLD_METRICS.get(rule.metric, rule.metric)
    test = judged(rule, place)
    if isinstance(test, str):
        return test
    arguments = rule.arguments
    if metric == "rowCount":
        return SetDraft(metric, test, lambda _, __: "true")
    if metric == "duplicateValues":
        given = arguments.get("properties") or ([column] if column else [])
        key = tuple(str(one) for one in given) if isinstance(given, list) else (str(given),)
        return SetDraft(metric, test, key=key) if key else "it names no properties"
    if kind is None:
        return f"the metric '{metric}' needs a property"
    if metric == "nullValues":
        return SetDraft(metric, test, lambda v, _: f"{v} IS NULL")
    if metric == "missingValues":
        values = arguments.get("missingValues", [None, ""])
        texts = ", ".join(ENGINE.text(_plain(one)) for one in values if one is not None)
        return SetDraft(metric, test, lambda v, found: f"{v} IS NULL OR {found} IN ({texts or 'NULL'})")
    if metric == "invalidValues":
        return _invalid(arguments, kind, test, place)
    return f"the metric '{rule.metric}' is not known"


def _invalid(arguments: Mapping[str, Any], kind: Type, test: SetTest, place: str) -> SetDraft | str:
    tests: list[Draft] = []
    if arguments.get("validValues"):
        tests.append(_enum(list(arguments["validValues"]), kind, f"{place}.arguments.validValues"))
    if arguments.get("pattern") is not None:
        text = read_pattern(str(arguments["pattern"]), place=f"{place}.arguments.pattern").text
        tests.append(_pattern("pattern", "", text))
    if any(one.kind == "pattern" for one in tests) and kind.kind is not Kind.TEXT:
        return "a pattern judges text only"
    if not tests:
        return "it has neither validValues nor pattern"
    return SetDraft("invalidValues", test, lambda v, _: " OR ".join(f"({one.fails(v)})" for one in tests))


# SQL rules

HOLDER = re.compile(r"\$\{(\w+)\}|\{(\w+)\}")
TABLE = ("object", "table", "model", "schema")
COLUMN = ("column", "property", "field")


def statement(query: str, names: tuple[str, ...], column: str) -> str:
    """Return a query with its placeholders (`{object}`, `${table}`, `${column}` …) as quoted names."""

    def named(match: re.Match[str]) -> str:
        word = match[1] or match[2]
        if word in TABLE:
            return ENGINE.identifier(names[0])
        return ENGINE.identifier(column) if word in COLUMN and column else match.group()

    return HOLDER.sub(named, query)
