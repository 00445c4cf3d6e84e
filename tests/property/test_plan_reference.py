"""An independent, slow reading of the rules, row by row in Python, must agree with the plan's masks; and no data raises."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.contracts.compile_sql import SourceScope
from weftline.contracts.dialect import Compiler
from weftline.contracts.dialect_types import any_of
from weftline.contracts.stages import Stages
from weftline.store.plan_runner import PlanRunner
from weftline.testing.plans import RECEIVED, plan_of, run

PROPERTIES: list[dict[str, Any]] = [
    {"name": "event_time", "logicalType": "timestamp"},
    {
        "name": "id",
        "logicalType": "string",
        "required": True,
        "unique": True,
        "logicalTypeOptions": {"pattern": "^[A-Z][0-9]*$", "maxLength": 3},
    },
    {
        "name": "temperature",
        "logicalType": "number",
        "logicalTypeOptions": {"minimum": -40, "exclusiveMaximum": 150},
        "custom": {"unit": "CEL", "sourceUnit": "FAH"},
    },
    {"name": "count", "logicalType": "integer", "logicalTypeOptions": {"minimum": 0, "multipleOf": 5}},
    {"name": "weight", "logicalType": "number", "logicalTypeOptions": {"multipleOf": 0.25}},
    {"name": "running", "logicalType": "boolean"},
    {"name": "state", "logicalType": "string", "enum": [{"value": "idle"}, {"value": "run"}]},
]
QUALITY = [{"type": "sql", "id": "cold-idle", "query": "state <> 'idle' OR temperature < 50", "mustBe": True}]
NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*", re.ASCII)
WHOLE = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+(\.0*)?[ \t\n\v\f\r]*", re.ASCII)
MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)?",
    re.ASCII,
)
BLANK = " \t\n\v\f\r"


class NotOfTypeError(Exception):
    """The text is not of the type."""


def number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, float | int):
        if not math.isfinite(value):
            raise NotOfTypeError
        return float(value)
    if not value.strip(BLANK):
        return None
    if not NUMBER.fullmatch(value) or not math.isfinite(float(value)):
        raise NotOfTypeError
    return float(value)


def whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, float | int):
        if not math.isfinite(value) or value != int(value) or not -(2**63) <= int(value) < 2**63:
            raise NotOfTypeError
        return int(value)
    if not value.strip(BLANK):
        return None
    if not WHOLE.fullmatch(value) or not -(2**63) <= int(value.strip(BLANK).split(".")[0]) < 2**63:
        raise NotOfTypeError
    return int(value.strip(BLANK).split(".")[0])


def moment(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    if not value.strip(BLANK):
        return None
    found = MOMENT.fullmatch(value)
    if not found:
        raise NotOfTypeError
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    offset = found[8] or "Z"
    shift = timedelta()
    if offset != "Z":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if offset[0] == "-" else 1)
    try:
        return datetime(year, month, day, hour, minute, second, int((found[7] or "0")[:6].ljust(6, "0")), UTC) - shift
    except (ValueError, OverflowError) as error:
        raise NotOfTypeError from error


def truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = value.strip(BLANK).lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    if not text:
        return None
    raise NotOfTypeError


def read(reader: Any, value: Any, broken: set[str], name: str) -> Any:
    try:
        return reader(value)
    except NotOfTypeError:
        broken.add(f"{name}.type")
        return None


def judge(row: dict[str, Any]) -> set[str]:
    """Return the rules one row breaks, uniqueness apart."""
    broken: set[str] = set()
    time = read(moment, row["event_time"], broken, "event_time")
    if time is not None and (time - datetime.fromtimestamp(RECEIVED / 1e6, UTC)).total_seconds() > 300:
        broken.add("event_time.future")
    if row["id"] is None:
        broken.add("id.required")
    else:
        broken |= {"id.pattern"} if not re.search(r"^[A-Z][0-9]*\Z", row["id"], re.ASCII) else set()
        broken |= {"id.maxLength"} if len(row["id"]) > 3 else set()
    fahrenheit = read(number, row["temperature"], broken, "temperature")
    celsius = None if fahrenheit is None else (fahrenheit * 5 - 160) / 9
    if celsius is not None and math.isfinite(celsius):
        broken |= {"temperature.minimum"} if celsius < -40 else set()
        broken |= {"temperature.exclusiveMaximum"} if celsius >= 150 else set()
    count = read(whole, row["count"], broken, "count")
    if count is not None:
        broken |= {"count.minimum"} if count < 0 else set()
        broken |= {"count.multipleOf"} if count % 5 else set()
    weight = read(number, row["weight"], broken, "weight")
    if weight is not None and (abs(weight) >= 1e20 or Decimal(repr(weight)) % Decimal("0.25")):
        broken.add("weight.multipleOf")
    read(truth, row["running"], broken, "running")
    if row["state"] is not None and row["state"] not in ("idle", "run"):
        broken.add("state.enum")
    cold = None if celsius is None or not math.isfinite(celsius) else celsius < 50
    if row["state"] == "idle" and cold is False:
        broken.add("cold-idle")
    return broken


def judge_all(rows: list[dict[str, Any]]) -> list[set[str]]:
    broken = [judge(row) for row in rows]
    seen: set[str] = set()
    for good in (True, False):
        for row, found in zip(rows, broken, strict=True):
            mine = not found if good else bool(found - {"id.unique"})
            if row["id"] is not None and mine:
                if row["id"] in seen:
                    found.add("id.unique")
                seen.add(row["id"])
    return broken


NUMBERS = [
    "1",
    "-1.5",
    "98.6",
    "302",
    "302.1",
    "0.25",
    "1e3",
    "1e999",
    "NaN",
    "inf",
    "0x1F",
    "1_0",
    " 7 ",
    "7.0",
    "1.7",
    "",
    " ",
    "x",
    "5",
    "-5",
]
NUMBERS += [
    "9223372036854775807",
    "9223372036854775808",
    "10",
    ".5",
    "5.",
    "+5",
    "1e-3",
    "1,5",
    "007",
    "--1",
    "1e",
    "٣",
    "100000000000000000000",
]
TIMES = [
    "2024-01-02T03:04:05Z",
    "2024-01-02T03:09:05.000001Z",
    "2024-01-02T03:09:05Z",
    "2024-01-02 03:04",
    "2024-01-02T08:34:05.123456789+05:30",
]
TIMES += [
    "2024-01-02",
    "2024-02-30T00:00:00Z",
    "2024-01-02T24:00:00Z",
    "infinity",
    "",
    "x",
    "2024-1-2T03:04:05Z",
    "2024-01-02T03:04:60Z",
    "2030-01-01T00:00:00-14:00",
]
maybe = st.none()
TEXT_ROWS = st.fixed_dictionaries(
    {
        "event_time": maybe | st.sampled_from(TIMES),
        "id": maybe | st.sampled_from(["A", "B1", "C22", "A\n", "toolong", "", "Ä1"]),
        "temperature": maybe | st.sampled_from(NUMBERS) | st.floats(-1e3, 1e3).map(repr),
        "count": maybe | st.sampled_from(NUMBERS) | st.integers(-100, 100).map(str),
        "weight": maybe | st.sampled_from(NUMBERS) | st.integers(-400, 400).map(lambda n: str(n / 8)),
        "running": maybe | st.sampled_from(["true", "YES", " off ", "0", "maybe", "", "t"]),
        "state": maybe | st.sampled_from(["idle", "run", "stop", ""]),
    }
)
TYPED_ROWS = st.fixed_dictionaries(
    {
        "event_time": maybe
        | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda at: at.replace(tzinfo=UTC)),
        "id": maybe | st.sampled_from(["A", "B1", "C22", "toolong"]),
        "temperature": maybe | st.floats(allow_nan=True, allow_infinity=True) | st.floats(-100, 400),
        "count": maybe | st.floats(-100, 100).map(round).map(float) | st.floats(),
        "weight": maybe | st.floats(-1e6, 1e6) | st.integers(-4000, 4000).map(lambda n: n / 8),
        "running": maybe | st.booleans(),
        "state": maybe | st.sampled_from(["idle", "run", "stop"]),
    }
)
TYPES = {
    "event_time": pa.timestamp("us", "UTC"),
    "temperature": pa.float64(),
    "count": pa.float64(),
    "weight": pa.float64(),
    "running": pa.bool_(),
}
PLAN = plan_of(PROPERTIES, quality=QUALITY)


@pytest.fixture(scope="module")
def runner() -> Iterator[PlanRunner]:
    made = PlanRunner()
    yield made
    made.close()


def compare(rows: list[dict[str, Any]], schema: dict[str, pa.DataType], runner: PlanRunner) -> None:
    found = run(PLAN, rows, runner=runner, schema={name: schema.get(name, pa.string()) for name in rows[0]})
    for n, (row, wanted) in enumerate(zip(rows, judge_all(rows), strict=True)):
        assert found.broken(n) == sorted(wanted), row
        bits = {one.id: one.bit for one in (*PLAN.row_rules, *PLAN.unique_rules)}
        assert found.rows[n]["mask0"] == sum(1 << bits[name] for name in wanted)
        assert found.rows[n]["failed"] is bool(wanted)


@given(st.lists(TEXT_ROWS, min_size=1, max_size=12))
def test_the_masks_of_text_batches_are_those_of_the_slow_reading(
    runner: PlanRunner, rows: list[dict[str, Any]]
) -> None:
    compare(rows, {}, runner)


@given(st.lists(TYPED_ROWS, min_size=1, max_size=12))
def test_the_masks_of_typed_batches_are_those_of_the_slow_reading(
    runner: PlanRunner, rows: list[dict[str, Any]]
) -> None:
    compare(rows, TYPES, runner)


def outcome(reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except NotOfTypeError:
        return None


MUTANTS = st.builds(
    lambda base, place, sign: base[: place % (len(base) + 1)] + sign + base[place % (len(base) + 1) + len(sign) // 2 :],
    st.sampled_from([one for one in NUMBERS + TIMES if one]),
    st.integers(0, 40),
    st.sampled_from([*"0123456789.eE+-_ \t\n:TZxXnaif,/٣", "", "00", "1e"]),
)


@given(st.lists(MUTANTS | st.text(max_size=30), min_size=1, max_size=60))
def test_the_grammar_of_text_is_the_dialects_own(runner: PlanRunner, texts: list[str]) -> None:
    texts = [text.replace("\0", "") for text in texts]
    stages = Stages()
    scope = SourceScope(stages, pa.schema([("a", pa.string())]), None)
    compiler = Compiler(scope, place="")
    columns = [
        (name, compiler.compile(f"CAST(a AS {kind})").sql)
        for name, kind in (("f", "DOUBLE"), ("i", "BIGINT"), ("t", "TIMESTAMP"))
    ]
    found = runner.run(stages.query(columns, "SELECT * FROM batch"), {"batch": pa.table({"s0": texts})})
    for text, row in zip(texts, found.to_pylist(), strict=True):
        assert row["f"] == outcome(number, text), repr(text)
        assert row["i"] == outcome(whole, text), repr(text)
        assert row["t"] == outcome(moment, text), repr(text)


SHAPES = [
    "2024-11-12T13:14:15Z",
    "2024-11-12T03:14:15.678Z",
    "1024-01-02T23:59:59.123456Z",
    "2024-11-12T13:14:15.123456789Z",
]


@given(
    st.lists(
        st.builds(
            lambda base, edits: "".join(
                ("" if edits.get(place) == "cut" else edits.get(place, sign)) for place, sign in enumerate(base)
            ),
            st.sampled_from(SHAPES),
            st.dictionaries(
                st.integers(0, 29), st.sampled_from([*"0129:.-+ TZz/\t\n_", "cut", "00", " Z", ".5", "+01"]), max_size=3
            ),
        ),
        min_size=50,
        max_size=300,
    )
)
def test_the_quick_way_for_common_times_reads_what_the_grammar_reads(runner: PlanRunner, texts: list[str]) -> None:
    stages = Stages()
    compiler = Compiler(SourceScope(stages, pa.schema([("a", pa.string())]), None), place="")
    query = stages.query([("t", compiler.compile("CAST(a AS TIMESTAMP)").sql)], "SELECT * FROM batch")
    found = runner.run(query, {"batch": pa.table({"s0": texts})})
    for text, value in zip(texts, found["t"].to_pylist(), strict=True):
        assert value == outcome(moment, text), repr(text)


LEAVES = st.sampled_from(
    ["a", "b", "c", "t", "d", "feed.p", "1", "-2.5", "'x'", "'2024-01-01T00:00:00Z'", "null", "true", "received_time"]
)


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(
            "({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "%", "||", "=", "<", "AND", "OR"]), inner
        ),
        st.builds(
            "{}({})".format,
            st.sampled_from(
                [
                    "lower",
                    "abs",
                    "sqrt",
                    "floor",
                    "ln",
                    "is_number",
                    "length",
                    "from_unix_ms",
                    "from_unix_ns",
                    "from_unix_s",
                    "round",
                    "to_unix_ms",
                ]
            ),
            inner,
        ),
        st.builds(
            "{}({}, {})".format,
            st.sampled_from(
                [
                    "power",
                    "mod",
                    "coalesce",
                    "nullif",
                    "least",
                    "greatest",
                    "left",
                    "right",
                    "add_seconds",
                    "seconds_between",
                ]
            ),
            inner,
            inner,
        ),
        st.builds("substring({}, {}, {})".format, inner, inner, inner),
        st.builds("split_part({}, {}, {})".format, inner, inner, inner),
        st.builds("lpad({}, {}, {})".format, inner, inner, inner),
        st.builds("json_text({}, '$.a[0]')".format, inner),
        st.builds("hour({}, 'Europe/Berlin')".format, inner),
        st.builds("truncate_time('week', {}, 'Asia/Tokyo')".format, inner),
        st.builds("parse_time({}, 'yyyy-MM-dd HH:mm:ss.SSSSSSSSS', 'Europe/Berlin')".format, inner),
        st.builds("unit_convert({}, {}, 'CEL')".format, inner, st.just("a")),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, inner, inner, inner),
        st.builds(
            "CAST({} AS {})".format,
            inner,
            st.sampled_from(["BIGINT", "DOUBLE", "DECIMAL(9,3)", "BOOLEAN", "DATE", "TIME", "TIMESTAMP", "VARCHAR"]),
        ),
        st.builds("({} IN ({}, {}))".format, inner, inner, inner),
        st.builds("({} BETWEEN {} AND {})".format, inner, inner, inner),
        st.builds("({} IS NULL)".format, inner),
    )


ROW = st.fixed_dictionaries(
    {
        "s0": maybe | st.text(max_size=8).map(lambda text: text.replace("\0", "")) | st.sampled_from(NUMBERS + TIMES),
        "s1": maybe | st.integers(-(2**63), 2**63 - 1),
        "s2": maybe | st.floats(),
        "s3": maybe | st.integers(-(2**63), 2**63 - 1),
        "s4": maybe | st.decimals(-(10**30), 10**30, places=6, allow_nan=False, allow_infinity=False),
    }
)
SCHEMA = pa.schema(
    [
        ("s0", pa.string()),
        ("s1", pa.int64()),
        ("s2", pa.float64()),
        ("s3", pa.timestamp("us", "UTC")),
        ("s4", pa.decimal128(38, 6)),
    ]
)


@given(st.recursive(LEAVES, calls, max_leaves=6), st.lists(ROW, min_size=1, max_size=6))
def test_no_expression_raises_whatever_the_data(runner: PlanRunner, text: str, rows: list[dict[str, Any]]) -> None:
    stages = Stages()
    names = pa.schema([pa.field(name, field.type) for name, field in zip("abctd", SCHEMA, strict=True)])
    scope = SourceScope(stages, names, None)
    compiler = Compiler(scope, place="", checking=False)
    value = compiler.finite(compiler.compile(text))
    columns = pa.table({name: pa.array([row[name] for row in rows], SCHEMA.field(name).type) for name in SCHEMA.names})
    columns = columns.append_column("received", pa.array([RECEIVED] * len(rows), pa.timestamp("us", "UTC")))
    found = runner.run(
        stages.query([("v", value.sql), ("f", any_of(value.fails))], "SELECT * FROM batch"), {"batch": columns}
    )
    assert found.num_rows == len(rows)
    assert found["f"].null_count == 0
    if pa.types.is_floating(found.schema.field("v").type):
        assert all(one is None or math.isfinite(one) for one in found["v"].to_pylist())
