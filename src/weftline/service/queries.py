"""What may be asked at the one door, and the one SELECT each question becomes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from weftline.errors import InputError, NotFoundError, UsageError, nearest

__all__ = [
    "NAMED",
    "OPERATORS",
    "DatasetQuery",
    "Filter",
    "Plan",
    "QuarantineQuery",
    "Query",
    "Shape",
    "SqlQuery",
    "columns_asked",
    "dataset_plan",
    "quarantine_plan",
]

OPERATORS: Mapping[str, str] = {
    "eq": "=",
    "ne": "<>",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "has": "",
    "in": "",
}
"""`has` finds a text within a text, `in` takes several values parted by commas; `null` and `set` take no value."""
BARE = {"null": "IS NULL", "set": "IS NOT NULL"}
KEYS = ("commit_seq", "id", "lane", "frame", "position", "row")
NAMED = {"feed": "feed", "contract": "contract", "lane": "lane"}
"""Columns that hold ids of the lake's dictionary, and the dictionary's kind."""
MAX_LIMIT = 1_000_000
HOUR = 3_600_000_000

Shape = Mapping[str, str]
"""Column → DuckDB type, in table order."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a column; `value` is text and read as the column's type."""

    column: str
    operator: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """Ask for rows of one dataset, newest commit first; `after` is the `next` of the reading before."""

    dataset: str
    filters: tuple[Filter, ...] = ()
    columns: tuple[str, ...] = ()
    """Empty = every column."""
    after: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """Ask with one SELECT of the reader's own; rows beyond `limit` are cut and the reading says so."""

    text: str
    limit: int = 100_000


@dataclass(frozen=True, slots=True)
class QuarantineQuery:
    """Ask for quarantine: its groups, the records of one group or feed, or one record with its original."""

    group: str = ""
    feed: str = ""
    record: int | None = None
    groups: bool = False
    originals: bool = False
    after: int = 0
    """Ids below this one; 0 = from the newest."""
    limit: int = 100
    now: int = 0
    """End of the 24 hours of a group's trend, microseconds UTC."""


Query = DatasetQuery | SqlQuery | QuarantineQuery


@dataclass(frozen=True, slots=True)
class Plan:
    """One SELECT with its parameters. `keys` are the keyset columns after the visible ones.

    `named` are columns of dictionary ids that the reader sees as names.
    """

    sql: str
    params: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    limit: int = 0
    offset: int = 0
    heavy: bool = False
    timeout: float = 2.0


def quoted(name: str) -> str:
    """Return a name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def columns_asked(query: DatasetQuery, shape: Shape) -> tuple[str, ...]:
    """Return the columns to show, in the order asked. Raises NotFoundError with the nearest name."""
    for name in query.columns:
        _known(query.dataset, name, shape)
    return query.columns or tuple(shape)


def _known(dataset: str, name: str, shape: Shape) -> str:
    if name not in shape:
        raise NotFoundError(
            place=f"dataset {dataset}",
            found=f"column '{name}'",
            expected="one of its columns",
            next_step=nearest(name, shape).capitalize(),
        )
    return shape[name]


def dataset_plan(query: DatasetQuery, shape: Shape, watermark: int) -> Plan:
    """Return the SELECT of a dataset query: conditions typed by column, keyset order."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise UsageError(place="limit", found=str(query.limit), expected=f"1 to {MAX_LIMIT}")
    shown = columns_asked(query, shape)
    keys = tuple(name for name in KEYS if name in shape) if "commit_seq" in shape else ()
    params: dict[str, Any] = {}
    conditions = [_condition(query, part, shape, params) for part in query.filters]
    if keys:
        conditions.append("t.commit_seq <= $watermark")
        params["watermark"] = watermark
    offset = 0
    if query.after:
        place = _token(query.after, len(keys) or 1)
        if keys:
            conditions.append(f"t.commit_seq <= $k0 AND ({_list('t', keys)}) < ({_numbered('k', keys)})")
            params |= {f"k{index}": value for index, value in enumerate(place)}
        else:
            offset = place[0]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(f"t.{quoted(name)} DESC" for name in keys)
    parts = [f"t.{quoted(name)}" for name in shown] + [f"t.{quoted(name)} AS _key_{name}" for name in keys]
    # Names are quoted and values are parameters, here and below.
    sql = f"SELECT {', '.join(parts)} FROM main.{quoted(query.dataset)} t{where} ORDER BY {order or 'ALL'}"  # noqa: S608
    sql += f" LIMIT {query.limit + 1} OFFSET {offset}"
    return Plan(
        sql=sql,
        params=params,
        datasets=(query.dataset,),
        columns=shown,
        keys=tuple(f"_key_{name}" for name in keys),
        named=tuple(name for name in shown if name in NAMED and shape[name] == "INTEGER"),
        limit=query.limit,
        offset=offset,
        heavy=query.limit > 10_000,
        timeout=60.0 if query.limit > 10_000 else 2.0,
    )


def _list(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{quoted(name)}" for name in names)


def _numbered(prefix: str, names: Sequence[str]) -> str:
    return ", ".join(f"${prefix}{index}" for index in range(len(names)))


def _condition(query: DatasetQuery, part: Filter, shape: Shape, params: dict[str, Any]) -> str:
    kind = _known(query.dataset, part.column, shape)
    column = f"t.{quoted(part.column)}"
    if part.operator in BARE:
        return f"{column} {BARE[part.operator]}"
    if part.operator not in OPERATORS:
        raise UsageError(
            place=f"filter on {part.column}",
            found=f"operator '{part.operator}'",
            expected=f"one of {', '.join([*OPERATORS, *BARE])}",
            next_step=nearest(part.operator, [*OPERATORS, *BARE]).capitalize(),
        )
    named = part.column in NAMED and kind == "INTEGER"
    values = part.value.split(",") if part.operator == "in" else [part.value]
    names = []
    for value in values:
        name = f"p{len(params)}"
        params[name] = value
        names.append(f"${name}" if named or kind == "VARCHAR" else f"CAST(${name} AS {kind})")
    if named:
        # Equality of names only: ids have no order that means anything.
        if part.operator not in {"eq", "ne", "in"}:
            raise UsageError(place=f"filter on {part.column}", found=part.operator, expected="eq, ne or in")
        verb = "NOT IN" if part.operator == "ne" else "IN"
        wanted = (
            f"SELECT id FROM weftline.dictionary"  # noqa: S608
            f" WHERE kind = '{NAMED[part.column]}' AND name IN ({', '.join(names)})"
        )
        return f"{column} {verb} ({wanted})"
    if part.operator == "in":
        return f"{column} IN ({', '.join(names)})"
    if part.operator == "has":
        return f"contains(lower(CAST({column} AS VARCHAR)), lower(CAST({names[0]} AS VARCHAR)))"
    return f"{column} {OPERATORS[part.operator]} {names[0]}"


def token_of(values: Sequence[int]) -> str:
    """Return a keyset position as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")


def _token(text: str, length: int) -> list[int]:
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[int])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise _bad_token(text) from error
    if len(place) != length or any(value < 0 for value in place):
        raise _bad_token(text)
    return place


def _bad_token(text: str) -> InputError:
    return UsageError(
        place="after",
        found=f"'{text[:60]}'",
        expected="the `next` of the page before",
        next_step="Start again without it.",
    )


_NAMES = """LEFT JOIN weftline.dictionary f ON f.kind = 'feed' AND f.id = q.feed
LEFT JOIN weftline.dictionary c ON c.kind = 'contract' AND c.id = q.contract
LEFT JOIN weftline.dictionary l ON l.kind = 'lane' AND l.id = q.lane"""


def quarantine_plan(query: QuarantineQuery) -> Plan:
    """Return the SELECT over quarantine; originals are read only where they are asked for."""
    params: dict[str, Any] = {}
    conditions = []
    for name, value in (("fingerprint", query.group), ("id", query.record)):
        if value not in ("", None):
            conditions.append(f"q.{name} = ${name}")
            params[name] = value
    if query.feed:
        conditions.append("f.name = $feed")
        params["feed"] = query.feed
    if query.after:
        conditions.append("q.id < $after")
        params["after"] = query.after
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    if query.groups:
        return Plan(_groups(where, query), params, ("quarantine",), ("found", "expected"), limit=query.limit)
    original = "q.original" if query.originals else "NULL::BLOB AS original"
    sql = f"""SELECT q.id, q.fingerprint, f.name AS feed, c.name AS contract, q.stage, q.code, epoch_us(q.received)
AS received, coalesce(l.name, CAST(q.lane AS VARCHAR)) AS lane, q.frame, q.position, q.violations, q.attributes,
coalesce(octet_length(q.original), 0) AS size, {original}
FROM weftline.quarantine q {_NAMES}{where} ORDER BY q.id DESC LIMIT {query.limit}"""  # noqa: S608
    columns = ("violations", "attributes", "original") if query.originals else ("violations", "attributes")
    return Plan(sql, params, ("quarantine",), columns, limit=query.limit)


def _groups(where: str, query: QuarantineQuery) -> str:
    first = query.now - 24 * HOUR
    hours = ", ".join(
        f"count(*) FILTER (WHERE epoch_us(q.received) >= {first + hour * HOUR}"
        f" AND epoch_us(q.received) < {first + (hour + 1) * HOUR})"
        for hour in range(24)
    )
    return f"""SELECT q.fingerprint AS id, arg_max(q.stage, q.id) AS stage, arg_max(q.code, q.id) AS code,
arg_max(c.name, q.id) AS contract, arg_max(q.violations[1]."rule", q.id) AS "rule",
arg_max(q.violations[1].field, q.id) AS field, arg_max(q.violations[1].expected, q.id) AS expected,
arg_max(q.violations[1].found, q.id) AS example, list_sort(list(DISTINCT f.name)) AS feeds, count(*) AS records,
epoch_us(min(q.received)) AS first_seen, epoch_us(max(q.received)) AS last_seen, [{hours}] AS trend
FROM weftline.quarantine q {_NAMES}{where} GROUP BY q.fingerprint ORDER BY last_seen DESC, id LIMIT {query.limit}"""  # noqa: S608
