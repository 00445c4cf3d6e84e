"""Plans run: the semantics of contracts to the letter (DESIGN §4), over typed and text batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from weftline.store.plan_runner import PlanRunner
from weftline.testing.plans import plan_of, run

AT = "2024-01-02T03:04:05Z"
RESERVED = [
    *(
        "select",
        "from",
        "where",
        "group",
        "order",
        "table",
        "user",
        "all",
        "and",
        "null",
        "true",
        "case",
        "cast",
        "end",
    ),
    *(
        "feed",
        "received",
        "n",
        "s0",
        "p0",
        "x0",
        "batch",
        "params",
        "failing",
        'a"b',
        "a'b",
        "a b",
        "a;b",
        "--",
        "ä",
        "{0}",
    ),
]


@pytest.fixture(scope="module")
def runner() -> Iterator[PlanRunner]:
    made = PlanRunner()
    yield made
    made.close()


def column(kind: str, **options: Any) -> dict[str, Any]:
    return {"name": "v", "logicalType": kind, **({"logicalTypeOptions": options} if options else {})}


@pytest.mark.parametrize(
    ("prop", "value", "broken"),
    [
        ({**column("number"), "required": True}, None, ["v.required"]),
        ({**column("number"), "required": True}, "", ["v.required"]),
        ({**column("number"), "required": True}, "x", ["v.required", "v.type"]),
        (column("number", minimum=5), None, []),
        (column("number", minimum=5), "5", []),
        (column("number", minimum=5), 4.999, ["v.minimum"]),
        (column("number", exclusiveMinimum=5), 5, ["v.exclusiveMinimum"]),
        (column("number", maximum=5), "5.0000001", ["v.maximum"]),
        (column("number", exclusiveMaximum=5), "5", ["v.exclusiveMaximum"]),
        (column("number"), float("nan"), ["v.type"]),
        (column("number"), float("inf"), ["v.type"]),
        (column("number"), "NaN", ["v.type"]),
        (column("integer"), "1.7", ["v.type"]),
        (column("integer"), 1.7, ["v.type"]),
        (column("integer"), 2.0, []),
        (column("integer", format="u8"), "256", ["v.format"]),
        (column("integer", format="i8"), -128, []),
        (column("integer", format="u64"), "18446744073709551615", []),
        (column("integer", format="u64"), "18446744073709551616", ["v.format"]),
        (column("number", multipleOf=0.005), "1.005", []),
        (column("number", multipleOf=0.005), 1.005, []),
        (column("number", multipleOf=0.005), 1000000.005, []),
        (column("number", multipleOf=0.005), 1.006, ["v.multipleOf"]),
        (column("number", multipleOf=0.1), 0.3, []),
        (column("number", multipleOf=3), 1e300, ["v.multipleOf"]),
        (column("integer", multipleOf=5), "-10", []),
        (column("integer", multipleOf=5), "12", ["v.multipleOf"]),
        (column("string", minLength=2), "a", ["v.minLength"]),
        (column("string", maxLength=2), "äöü", ["v.maxLength"]),
        (column("string", maxLength=3), "äöü", []),
        (column("string", pattern="[0-9]+"), "LOT-7", []),
        (column("string", pattern="^[0-9]+$"), "LOT-7", ["v.pattern"]),
        (column("string", format="email"), "a@b.example", []),
        (column("string", format="email"), "a@b", ["v.format"]),
        (column("string", format="uuid"), "123e4567-e89b-12d3-a456-426614174000", []),
        (column("string", format="uuid"), "123e4567", ["v.format"]),
        (column("string", format="uri"), "https://example.org/a?b=c", []),
        (column("string", format="uri"), "example org", ["v.format"]),
        (column("string", format="hostname"), "plant-1.example", []),
        (column("string", format="hostname"), "-x.example", ["v.format"]),
        (column("string", format="ipv4"), "192.168.1.255", []),
        (column("string", format="ipv4"), "192.168.1.256", ["v.format"]),
        (column("string", format="ipv6"), "2001:db8::1", []),
        (column("string", format="ipv6"), "::ffff:192.168.0.1", []),
        (column("string", format="ipv6"), "2001:db8:::1", ["v.format"]),
        ({**column("string"), "enum": [{"value": "a"}, {"value": "b"}]}, "c", ["v.enum"]),
        ({**column("integer"), "enum": [{"value": 1}, {"value": 2}]}, "2", []),
        (column("date", minimum="2024-01-01"), "2023-12-31", ["v.minimum"]),
        (column("timestamp", maximum="2024-01-01 00:00:00+10:00"), "2023-12-31T14:00:01Z", ["v.maximum"]),
        (column("timestamp", maximum="2024-01-01 00:00:00+10:00"), "2023-12-31T14:00:00Z", []),
        (column("timestamp", format="dd.MM.yyyy HH:mm"), "02.08.2018 17:43", []),
        (column("timestamp", format="dd.MM.yyyy HH:mm"), AT, ["v.type"]),
        (column("array", minItems=1), "[]", ["v.minItems"]),
        (column("array", maxItems=2), "[1,2,3]", ["v.maxItems"]),
        (column("array"), '{"a":1}', ["v.type"]),
        (column("array", maxItems=2), "not json", ["v.type"]),
        (column("object", required=["a"]), '{"b":1}', ["v.required.a"]),
        (column("object", maxProperties=1), '{"a":1,"b":2}', ["v.maxProperties"]),
        (column("boolean"), "maybe", ["v.type"]),
        (column("boolean"), "ON", []),
    ],
)
def test_a_rule_of_a_column(prop: dict[str, Any], value: Any, broken: list[str], runner: PlanRunner) -> None:
    found = run(plan_of([prop]), [{"v": value}], runner=runner)
    assert found.broken() == broken
    assert found.rows[0]["failed"] is bool(broken)


def test_a_violation_says_rule_field_found_and_expected(runner: PlanRunner) -> None:
    plan = plan_of([column("number", maximum=5)])
    found = run(plan, [{"v": "3"}, {"v": "7.50"}, {"v": "x" * 500}], runner=runner)
    assert found.violations == [
        {"n": 1, "rule": "v.maximum", "field": "v", "found": "7.50", "expected": "at most 5"},
        {"n": 2, "rule": "v.type", "field": "v", "found": "x" * 200, "expected": "number"},
    ]


@pytest.mark.parametrize(
    ("given", "unit"), [(98.6, "FAH"), ("98.6", "FAH"), ("37", "CEL"), (310.15, "KEL"), ("37.0", None)]
)
def test_a_stated_unit_is_converted_and_an_unstated_one_is_the_columns(
    given: Any, unit: str | None, runner: PlanRunner
) -> None:
    prop = {**column("number"), "custom": {"unit": "CEL", "sourceUnit": {"field": "u"}}}
    found = run(plan_of([prop]), [{"v": given, "u": unit}], runner=runner)
    assert found.values("v") == [pytest.approx(37.0, abs=1e-9)]
    assert found.broken() == []


def test_a_unit_of_another_dimension_breaks_the_rule_unit(runner: PlanRunner) -> None:
    prop = {**column("number"), "custom": {"unit": "CEL", "sourceUnit": {"field": "u"}}}
    found = run(
        plan_of([prop]), [{"v": 1, "u": "KGM"}, {"v": 1, "u": "furlong"}, {"v": None, "u": "KGM"}], runner=runner
    )
    assert [found.broken(n) for n in range(3)] == [["v.unit"], ["v.unit"], []]


def test_fahrenheit_becomes_celsius_exactly(runner: PlanRunner) -> None:
    prop = {**column("number"), "custom": {"unit": "CEL", "sourceUnit": "FAH"}}
    found = run(plan_of([prop]), [{"v": "98.6"}, {"v": "-40"}, {"v": "212"}], runner=runner)
    assert found.values("v") == [37.0, -40.0, 100.0]


def test_a_mapping_reads_fields_parameters_and_received_time(runner: PlanRunner) -> None:
    plan = plan_of(
        [
            {"name": "a", "logicalType": "number", "transformLogic": "raw * feed.factor + 1"},
            {"name": "b", "logicalType": "string", "transformLogic": "coalesce(json_text(body, '$.x.y'), 'none')"},
            {"name": "c", "logicalType": "timestamp", "transformLogic": "received_time"},
        ]
    )
    params = pa.table({"feed": pa.array([1, 2], pa.int32()), "enforce0": [-1, -1], "factor": [10.0, 100.0]})
    rows = [{"raw": "1.5", "body": '{"x":{"y":"z"}}'}, {"raw": "2", "body": "{"}]
    found = run(plan, rows, runner=runner, feeds=[1, 2], params=params)
    assert found.values("a") == [16.0, 201.0]
    assert found.values("b") == ["z", "none"]
    assert found.values("c") == [datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)] * 2


def test_a_failed_conversion_in_a_mapping_breaks_the_rule_type_only_on_the_branch_taken(runner: PlanRunner) -> None:
    logic = "CASE WHEN kind = 'number' THEN CAST(raw AS DOUBLE) ELSE 0 END"
    plan = plan_of([{"name": "v", "logicalType": "number", "transformLogic": logic}])
    found = run(plan, [{"kind": "number", "raw": "x"}, {"kind": "text", "raw": "x"}], runner=runner)
    assert [found.broken(n) for n in (0, 1)] == [["v.type"], []]
    quiet = plan_of([{"name": "v", "logicalType": "number", "transformLogic": "TRY_CAST(raw AS DOUBLE)"}])
    assert run(quiet, [{"raw": "x"}], runner=runner).broken() == []


@pytest.mark.parametrize(
    ("logic", "row", "fails"),
    [
        ("coalesce(CAST(a AS BIGINT), CAST(b AS BIGINT))", {"a": "5", "b": "x"}, False),
        ("coalesce(CAST(a AS BIGINT), CAST(b AS BIGINT))", {"a": None, "b": "x"}, True),
        ("coalesce(CAST(a AS BIGINT), CAST(b AS BIGINT))", {"a": "x", "b": "5"}, True),
        ("a + b", {"a": "x", "b": 1}, True),
        ("a + b", {"a": None, "b": 1}, False),
        ("a / b", {"a": 1, "b": 0}, False),
        ("a * b", {"a": 9223372036854775807, "b": 2}, False),
        ("if(a > 5, 1, 0)", {"a": "x", "b": 1}, False),
        ("a + b", {"a": True, "b": datetime(2024, 1, 1, tzinfo=UTC)}, True),
        ("sqrt(a)", {"a": "-1"}, False),
        ("sqrt(a)", {"a": "x"}, True),
    ],
)
def test_only_a_conversion_that_fails_breaks_the_rule_type(
    logic: str, row: dict[str, Any], fails: bool, runner: PlanRunner
) -> None:
    plan = plan_of([{"name": "v", "logicalType": "number", "transformLogic": logic}])
    assert run(plan, [row], runner=runner).broken() == (["v.type"] if fails else [])


def test_where_selects_rows_and_null_is_not_selected(runner: PlanRunner) -> None:
    plan = plan_of([{**column("number"), "required": True}], custom={"where": "tag = 'temp'"})
    rows = [
        {"tag": "temp", "v": "1"},
        {"tag": "speed", "v": None},
        {"tag": None, "v": None},
        {"tag": "temp", "v": None},
    ]
    found = run(plan, rows, runner=runner)
    assert found.values("selected") == [True, False, False, True]
    assert found.values("failed") == [False, False, False, True]


def test_the_event_time_comes_from_the_named_column_else_from_the_received_time(runner: PlanRunner) -> None:
    plan = plan_of([{"name": "measured", "logicalType": "timestamp"}], custom={"eventTime": "measured"})
    found = run(plan, [{"measured": "2024-01-01T00:00:00Z"}, {"measured": None}], runner=runner)
    assert found.values("time_source") == ["source", "received"]
    assert found.values("event_time") == [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)]


@pytest.mark.parametrize(("seconds", "broken"), [(0, []), (300, []), (301, ["event_time.future"])])
def test_a_time_ahead_of_the_received_one_breaks_the_rule_future(
    seconds: int, broken: list[str], runner: PlanRunner
) -> None:
    plan = plan_of([{"name": "event_time", "logicalType": "timestamp"}])
    moment = datetime.fromtimestamp(1_704_164_645 + seconds, UTC).isoformat()
    assert run(plan, [{"event_time": moment}], runner=runner).broken() == broken


def test_the_limit_of_future_is_the_feeds(runner: PlanRunner) -> None:
    plan = plan_of([{"name": "event_time", "logicalType": "timestamp"}])
    params = pa.table({"feed": pa.array([1, 2], pa.int32()), "enforce0": [-1, -1], "future_limit": [10.0, 1e9]})
    rows = [{"event_time": "2024-01-02T03:05:05Z"}] * 2
    found = run(plan, rows, runner=runner, feeds=[1, 2], params=params)
    assert [found.broken(n) for n in (0, 1)] == [["event_time.future"], []]


def test_each_feed_enforces_its_own_rules_and_one_without_parameters_all(runner: PlanRunner) -> None:
    plan = plan_of([{**column("number", minimum=0), "required": True}])
    bit = next(one.bit for one in plan.row_rules if one.kind == "minimum")
    params = pa.table({"feed": pa.array([1, 2], pa.int32()), "enforce0": [0, 1 << bit]})
    found = run(plan, [{"v": -1}] * 3, runner=runner, feeds=[1, 2, 3], params=params)
    assert found.values("failed") == [False, True, True]
    assert found.values("mask0") == [1 << bit] * 3


def test_more_rules_than_a_mask_holds_get_another_mask(runner: PlanRunner) -> None:
    plan = plan_of([{"name": f"c{place}", "logicalType": "number", "required": True} for place in range(40)])
    params = pa.table({"feed": pa.array([1], pa.int32()), "enforce0": [0], "enforce1": [-1]})
    row = {f"c{place}": 1.0 for place in range(40)}
    found = run(plan, [row, {**row, "c0": None}, {**row, "c39": None}], runner=runner, params=params)
    assert found.table.column_names[-3:] == ["mask0", "mask1", "failed"]
    assert found.values("failed") == [False, False, True]
    assert found.broken(2) == ["c39.required"]
    assert max(one.bit for one in plan.row_rules) == 79


def test_unknown_fields_are_kept_and_absent_ones_are_null(runner: PlanRunner) -> None:
    plan = plan_of([{**column("number"), "required": True}, {"name": "w", "logicalType": "string"}])
    found = run(plan, [{"v": 1, "new": "x", 'odd "name': 2, "none": None}, {"v": 2}], runner=runner)
    assert json.loads(found.rows[0]["extra"]) == {"new": "x", 'odd "name': 2}
    assert found.rows[1]["extra"] is None
    assert found.values("w") == [None, None]
    missing = run(plan, [{"other": float("nan")}], runner=runner)
    assert missing.broken() == ["v.required"]
    assert missing.rows[0]["extra"] is None or json.loads(missing.rows[0]["extra"]) == {}


def test_any_field_name_can_be_read_and_written(runner: PlanRunner) -> None:
    plan = plan_of(
        [{"name": f"c{place}", "physicalName": name, "logicalType": "string"} for place, name in enumerate(RESERVED)]
    )
    row = {name: f"value {place}" for place, name in enumerate(RESERVED)}
    found = run(plan, [row], runner=runner)
    assert [found.rows[0][f"c{place}"] for place in range(len(RESERVED))] == list(row.values())
    assert found.rows[0]["extra"] is None
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in RESERVED)
    joined = plan_of([{"name": "all of it", "logicalType": "string", "transformLogic": f"concat({quoted})"}])
    assert run(joined, [row], runner=runner).values("all of it") == ["".join(row.values())]


def test_reserved_words_can_be_target_columns(runner: PlanRunner) -> None:
    names = ["select", "from", "order", "table", 'quo"te', "semi;colon", "-- comment"]
    found = run(
        plan_of([{"name": name, "logicalType": "integer"} for name in names]),
        [dict.fromkeys(names, "5")],
        runner=runner,
    )
    assert [found.rows[0][name] for name in names] == [5] * len(names)


def test_literals_of_a_contract_are_never_read_as_sql(runner: PlanRunner) -> None:
    odd = "'; DROP TABLE batch; -- {0} {s1} {all} x0"
    plan = plan_of(
        [
            {"name": "v", "logicalType": "string", "enum": [{"value": odd}]},
            {"name": "w", "logicalType": "string", "transformLogic": "concat(v, '" + odd.replace("'", "''") + "')"},
        ]
    )
    found = run(plan, [{"v": odd}], runner=runner)
    assert found.broken() == []
    assert found.values("w") == [odd + odd]


def test_the_first_good_row_keeps_a_key_within_a_batch(runner: PlanRunner) -> None:
    plan = plan_of(
        [{**column("number", minimum=0), "name": "v"}, {"name": "id", "logicalType": "string", "unique": True}]
    )
    rows = [
        {"id": "a", "v": -1},
        {"id": "a", "v": 1},
        {"id": "b", "v": 1},
        {"id": "a", "v": 2},
        {"id": None, "v": 1},
        {"id": None, "v": 1},
    ]
    found = run(plan, rows, runner=runner)
    assert [found.broken(n) for n in range(6)] == [["id.unique", "v.minimum"], [], [], ["id.unique"], [], []]
    hashes = found.values("k0")
    assert hashes[0] == hashes[1] == hashes[3] != hashes[2]
    assert hashes[4] is None


def test_a_key_of_scope_batch_is_the_feeds_own(runner: PlanRunner) -> None:
    props = [{"name": "id", "logicalType": "string", "unique": True}]
    own = plan_of([{**props[0], "custom": {"uniqueScope": "batch"}}])
    shared = plan_of(props)
    rows = [{"id": "a"}, {"id": "a"}, {"id": "a"}]
    assert run(own, rows, runner=runner, feeds=[1, 2, 1]).values("failed") == [False, False, True]
    assert run(shared, rows, runner=runner, feeds=[1, 2, 1]).values("failed") == [False, True, True]


def test_a_composite_key_keeps_its_parts_apart(runner: PlanRunner) -> None:
    plan = plan_of(
        [
            {"name": name, "logicalType": "string", "primaryKey": True, "primaryKeyPosition": place}
            for place, name in ((1, "a"), (2, "b"))
        ]
    )
    rows = [{"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}, {"a": "x", "b": "yz"}, {"a": None, "b": "z"}]
    found = run(plan, rows, runner=runner)
    assert [found.broken(n) for n in range(3)] == [[], [], ["reading.primaryKey"]]
    assert "a.required" in found.broken(3)


def test_the_hash_of_a_key_never_changes(runner: PlanRunner) -> None:
    plan = plan_of([{"name": "id", "logicalType": "string", "unique": True}])
    # The last eight bytes, little end first, of MD5("abc") = 900150983cd24fb0 d6963f7d28e17f72 (RFC 1321).
    wanted = int.from_bytes(bytes.fromhex("d6963f7d28e17f72"), "little")
    assert run(plan, [{"id": "abc"}], runner=runner).values("k0") == [wanted]


def test_set_rules_give_one_indicator_a_row(runner: PlanRunner) -> None:
    plan = plan_of(
        [
            {
                **column("number"),
                "quality": [
                    {"metric": "nullValues", "mustBe": 0},
                    {"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [None, "", "N/A"]}},
                    {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [1, 2]}},
                ],
            },
            {
                "name": "t",
                "logicalType": "string",
                "quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^a"}}],
            },
        ],
        quality=[
            {"metric": "rowCount", "mustBeGreaterThan": 0},
            {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["v", "t"]}},
            {"type": "sql", "query": "SELECT COUNT(*) FROM ${table} WHERE v > 1", "mustBe": 0},
        ],
        custom={"where": "t <> 'skip'"},
    )
    rows = [
        {"v": "1", "t": "a"},
        {"v": "N/A", "t": "b"},
        {"v": "3", "t": None},
        {"v": "1", "t": "a"},
        {"v": None, "t": "skip"},
    ]
    found = run(plan, rows, runner=runner)
    by_metric = {f"{one.field}.{one.metric}": found.values(one.indicator) for one in plan.set_rules}
    assert found.values("selected") == [True, True, False, True, False]
    assert by_metric["v.nullValues"] == [False, True, False, False, False]
    assert by_metric["v.missingValues"] == [False, True, False, False, False]
    assert by_metric["v.invalidValues"] == [False, False, False, False, False]
    assert by_metric["t.invalidValues"] == [False, True, False, False, False]
    assert by_metric[".rowCount"] == [True, True, False, True, False]
    assert by_metric[".duplicateValues"] == [False, False, False, True, False]
    assert by_metric[".sql"] == [False] * 5


def test_sql_rules_decide_rows(runner: PlanRunner) -> None:
    quality = [
        {"type": "sql", "id": "good", "query": "v < feed.high OR w = 'x'", "mustBe": True},
        {"type": "sql", "id": "bad", "query": "{column} = 13", "mustBe": False, "custom": {"scope": "row"}},
    ]
    plan = plan_of([{**column("number"), "quality": quality}, {"name": "w", "logicalType": "string"}])
    params = pa.table({"feed": pa.array([1], pa.int32()), "enforce0": [-1], "high": ["100"]})
    rows = [{"v": 5, "w": "a"}, {"v": 500, "w": "x"}, {"v": 500, "w": "a"}, {"v": 13, "w": "a"}, {"v": None, "w": "a"}]
    found = run(plan, rows, runner=runner, params=params)
    assert [found.broken(n) for n in range(5)] == [[], [], ["good"], ["bad"], []]
    assert found.violations[0]["found"] == "v=500, w=a"


def test_text_and_typed_batches_give_the_same_columns(runner: PlanRunner) -> None:
    plan = plan_of(
        [
            {"name": "t", "logicalType": "timestamp"},
            {"name": "i", "logicalType": "integer"},
            {"name": "f", "logicalType": "number"},
            {"name": "b", "logicalType": "boolean"},
            {"name": "d", "logicalType": "number", "physicalType": "decimal(9,2)"},
            {"name": "day", "logicalType": "date"},
            {"name": "s", "logicalType": "string"},
        ]
    )
    moment = datetime(2024, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)
    typed = {"t": moment, "i": 7, "f": 1.5, "b": True, "d": Decimal("12.50"), "day": date(2024, 1, 2), "s": "x"}
    text = {
        "t": "2024-01-02T03:04:05.25Z",
        "i": "7",
        "f": "1.5",
        "b": "true",
        "d": "12.5",
        "day": "2024-01-02",
        "s": "x",
    }
    schema = {"t": pa.timestamp("us", "UTC")}
    first, second = run(plan, [typed], runner=runner, schema=schema), run(plan, [text], runner=runner)
    assert first.table.schema.equals(second.table.schema)
    assert first.rows == second.rows
    assert first.rows[0]["d"] == Decimal("12.50")


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float32(), pa.bool_(), pa.string(), pa.large_string()),
        *(
            pa.string_view(),
            pa.binary(),
            pa.date32(),
            pa.time64("us"),
            pa.timestamp("ns"),
            pa.timestamp("s", "Europe/Berlin"),
        ),
        *(pa.decimal128(20, 3), pa.null(), pa.dictionary(pa.int32(), pa.string()), pa.duration("us")),
    ],
    ids=str,
)
def test_a_column_of_any_arrow_type_is_read_without_a_fault(kind: pa.DataType, runner: PlanRunner) -> None:
    properties = [
        {"name": name, "logicalType": logical, "physicalName": "v"}
        for name, logical in (("a", "string"), ("b", "number"), ("c", "timestamp"), ("d", "boolean"), ("e", "integer"))
    ]
    logic = [
        {"name": "f", "logicalType": "number", "transformLogic": "v * 2 + 1"},
        {
            "name": "g",
            "logicalType": "string",
            "transformLogic": "CASE WHEN v > 1 OR v = 'x' THEN 'y' ELSE lower(v) END",
        },
    ]
    values: list[Any] = [None, None]
    if not pa.types.is_null(kind) and not pa.types.is_dictionary(kind):
        sample = {"date32[day]": date(2024, 1, 2), "binary": b"\x00\xff", "bool": True}.get(str(kind), 1)
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        values = ["1" if text else Decimal(1) if pa.types.is_decimal(kind) else sample, None]
    found = run(plan_of(properties + logic), [{"v": value} for value in values], runner=runner, schema={"v": kind})
    assert len(found.rows) == 2
    extra = run(
        plan_of([column("string")]), [{"v": "a", "w": value} for value in values], runner=runner, schema={"w": kind}
    )
    assert extra.rows[1]["extra"] is None


def test_counters_beyond_the_doubles_keep_their_whole_value(runner: PlanRunner) -> None:
    props = [
        {"name": "equipment", "logicalType": "string"},
        {"name": "term", "logicalType": "string"},
        {"name": "value", "logicalType": "number"},
    ]
    plan = plan_of(props, dataset="signal")
    rows = [
        {"equipment": "e", "term": "t", "value": "9007199254740993"},
        {"equipment": "e", "term": "t", "value": "1.5"},
    ]
    found = run(plan, rows, runner=runner)
    assert found.values("value_int") == [9007199254740993, None]
    assert found.values("value")[1] == 1.5


def test_a_default_stands_for_what_is_absent_not_for_what_is_wrong(runner: PlanRunner) -> None:
    plan = plan_of([{**column("integer"), "custom": {"default": 7}}])
    found = run(plan, [{"v": None}, {"v": "x"}, {"v": "3"}], runner=runner)
    assert found.values("v") == [7, None, 3]
    assert found.broken(1) == ["v.type"]
