"""What a contract compiles to, and every complaint with its code and place; nothing runs here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from weftline.contracts.compile import WARNINGS, compile_contract
from weftline.contracts.plan import Scope
from weftline.testing.plans import complaints_of, contract, plan_of

NUMBER = {"name": "temperature", "logicalType": "number"}


@pytest.mark.parametrize(
    ("properties", "more", "code", "words"),
    [
        ([{**NUMBER, "transformLogic": "rond(temp)"}], {}, "sql-function", "did you mean 'round'?"),
        ([{**NUMBER, "transformLogic": "temp +"}], {}, "sql-syntax", ""),
        ([{**NUMBER, "transformLogic": "(SELECT 1)"}], {}, "sql-construct", "a query"),
        ([{**NUMBER, "transformLogic": "a::int[]"}], {}, "sql-type", "bigint"),
        ([{**NUMBER, "transformLogic": "feed.a.b"}], {}, "sql-field", "feed.<parameter>"),
        ([{**NUMBER, "transformLogic": "unit_convert(t, 'FAX', 'CEL')"}], {}, "unit-unknown", "FAX"),
        ([{**NUMBER, "transformLogic": "unit_convert(t, 'KGM', 'CEL')"}], {}, "unit-dimension", "mass"),
        ([{**NUMBER, "transformLogic": "if(regexp_matches(a, '(?=b)'), 1, 2)"}], {}, "pattern", "look-around"),
        ([{**NUMBER, "transformLogic": "hour(t, 'Mars/Base')"}], {}, "sql-argument", "IANA"),
        (
            [{"name": "a", "logicalType": "string", "logicalTypeOptions": {"pattern": "(?!x)"}}],
            {},
            "pattern",
            "look-around",
        ),
        ([{**NUMBER, "custom": {"unit": "CELL"}}], {}, "unit-unknown", "CELL"),
        ([{**NUMBER, "custom": {"unit": "CEL", "sourceUnit": "KGM"}}], {}, "unit-dimension", "temperature"),
        ([{**NUMBER, "custom": {"sourceUnit": "FAH"}}], {}, "contract-rule", "unit"),
        ([{"name": "a", "logicalType": "string", "custom": {"unit": "CEL"}}], {}, "contract-rule", "text"),
        ([NUMBER, {"name": "Temperature", "logicalType": "number"}], {}, "contract-column-duplicate", "again"),
        ([{"name": "mark", "logicalType": "integer"}], {}, "contract-column-reserved", "physicalName"),
        ([{"name": "n", "logicalType": "integer"}], {}, "contract-column-reserved", "physicalName"),
        ([{**NUMBER, "custom": {"default": "hot"}}], {}, "contract-rule", "hot"),
        (
            [{"name": "t", "logicalType": "timestamp", "logicalTypeOptions": {"minimum": "soon"}}],
            {},
            "contract-rule",
            "soon",
        ),
        (
            [{"name": "t", "logicalType": "date", "logicalTypeOptions": {"format": "HH:mm"}}],
            {},
            "contract-rule",
            "date",
        ),
        ([{"name": "t", "logicalType": "date", "logicalTypeOptions": {"format": "YYYY"}}], {}, "time-format", "YYYY"),
        ([NUMBER], {"custom": {"eventTime": "temperatur"}}, "contract-event-time", "property"),
        ([NUMBER], {"custom": {"eventTime": "temperature"}}, "contract-event-time", "timestamp"),
        ([NUMBER], {"custom": {"where": "temperature >"}}, "sql-syntax", ""),
        ([{**NUMBER, "unique": True, "custom": {"uniqueScope": "datset"}}], {}, "contract-rule", "dataset"),
        ([{**NUMBER, "unique": True, "custom": {"uniqueWindow": "soon"}}], {}, "contract-rule", "7d"),
        (
            [{**NUMBER, "unique": True, "custom": {"uniqueScope": "dataset"}}],
            {},
            "contract-dataset-scope",
            "whole dataset",
        ),
        ([NUMBER], {"quality": [{"type": "sql", "query": "missing > 1", "mustBe": True}]}, "sql-field", "missing"),
        ([NUMBER], {"quality": [{"type": "sql", "query": "temperature > 1", "mustBe": 7}]}, "contract-rule", "mustBe"),
        (
            [NUMBER],
            {"quality": [{"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["temp"]}}]},
            "contract-rule",
            "known: temperature",
        ),
        (
            [NUMBER],
            {"quality": [{"type": "sql", "query": "SELECT COUNT(*) FROM {object} WHERE nope > 1", "mustBe": 0}]},
            "sql-field",
            "nope",
        ),
        ([NUMBER], {"dataset": "signal"}, "contract-builtin", "a column of the dataset 'signal'"),
        ([{"name": "value", "logicalType": "string"}], {"dataset": "signal"}, "contract-builtin", "double"),
    ],
)
def test_a_wrong_contract_is_complained_about(properties: Any, more: Any, code: str, words: str) -> None:
    found = [one for one in complaints_of(properties, **more) if one.code == code]
    assert found, [one.sentence() for one in complaints_of(properties, **more)]
    assert words in found[0].sentence()
    assert found[0].line > 1
    assert found[0].place == "test.odcs.yaml"


def test_all_complaints_come_at_once_and_each_at_its_line() -> None:
    wrong = [
        {"name": name, "logicalType": "number", "transformLogic": f"no_such_{name}(x)"} for name in ("a", "b", "c")
    ]
    found = complaints_of(wrong)
    assert [one.code for one in found] == ["sql-function"] * 3
    assert len({one.line for one in found}) == 3


def test_an_object_with_a_complaint_has_no_plan_and_a_warning_stops_nothing() -> None:
    wrong = [{"name": "a", "logicalType": "number", "transformLogic": "lowr(x)"}]
    assert compile_contract(contract(wrong))[0] == ()
    plans, complaints = compile_contract(contract([{**NUMBER, "unique": True, "custom": {"uniqueScope": "dataset"}}]))
    assert len(plans) == 1
    assert {one.code for one in complaints} <= WARNINGS


def test_columns_carry_type_unit_and_term() -> None:
    plan = plan_of(
        [
            {"name": "temperature", "logicalType": "number", "custom": {"unit": "CEL", "term": "0173-1#02-AAV232#002"}},
            {"name": "price", "logicalType": "number", "physicalType": "DECIMAL(8,2)"},
            {"name": "day", "logicalType": "date", "classification": "restricted"},
            {"name": "event_time", "logicalType": "timestamp"},
        ]
    )
    assert [(one.name, one.type) for one in plan.columns] == [
        ("temperature", pa.float64()),
        ("price", pa.decimal128(8, 2)),
        ("day", pa.date32()),
    ]
    assert (plan.columns[0].unit, plan.columns[0].term) == ("CEL", "0173-1#02-AAV232#002")
    assert plan.columns[2].classification == "restricted"


def test_bits_are_numbered_without_gaps_over_row_and_unique_rules() -> None:
    plan = plan_of(
        [
            {"name": "a", "logicalType": "string", "required": True, "primaryKey": True, "primaryKeyPosition": 2},
            {"name": "b", "logicalType": "integer", "primaryKey": True, "primaryKeyPosition": 1, "unique": True},
        ]
    )
    bits = [one.bit for one in (*plan.row_rules, *plan.unique_rules)]
    assert bits == list(range(len(bits)))
    assert plan.unique_rules[0].columns == ("b", "a")
    assert plan.unique_rules[0].scope is Scope.WINDOW
    assert plan.unique_rules[0].window == 7 * 86400
    assert {one.id for one in plan.row_rules} >= {"a.required", "b.required"}


def test_a_window_is_read_with_its_unit() -> None:
    plan = plan_of([{**NUMBER, "unique": True, "custom": {"uniqueWindow": "12h"}}])
    assert plan.unique_rules[0].window == 12 * 3600


def test_rules_of_engines_we_do_not_run_are_listed_with_the_reason() -> None:
    plan = plan_of(
        [{**NUMBER, "quality": [{"type": "custom", "engine": "soda", "implementation": "x", "id": "soda1"}]}],
        quality=[
            {"type": "sql", "query": "SELECT AVG(temperature) FROM {object}", "mustBe": 5, "id": "average"},
            {"type": "sql", "query": "SELECT COUNT(*) FROM other WHERE a > 1", "mustBe": 0, "id": "other"},
            {"type": "text", "description": "be careful", "id": "text"},
        ],
    )
    reasons = {one.id: one.reason for one in plan.not_run}
    assert set(reasons) == {"soda1", "average", "other", "text"}
    assert "soda" in reasons["soda1"]
    assert "another table" in reasons["other"]
    assert plan.row_rules[0].kind == "type"
    assert plan.set_rules == ()


def test_set_rules_keep_operator_limits_unit_and_dimension() -> None:
    plan = plan_of(
        [
            {
                **NUMBER,
                "quality": [
                    {"metric": "nullValues", "mustBeBetween": [0, 5], "unit": "percent", "dimension": "completeness"}
                ],
            }
        ],
        quality=[{"metric": "rowCount", "mustBeGreaterThan": 10}],
    )
    first, second = plan.set_rules
    assert (first.metric, first.unit, first.operator, first.limits) == (
        "nullValues",
        "percent",
        "mustBeBetween",
        (0.0, 5.0),
    )
    assert (first.field, first.dimension, first.indicator) == ("temperature", "completeness", "i0")
    assert (second.metric, second.unit, second.operator, second.limits) == (
        "rowCount",
        "rows",
        "mustBeGreaterThan",
        (10.0,),
    )


@pytest.mark.parametrize(
    "operator",
    ["mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo"],
)
def test_every_operator_is_read(operator: str) -> None:
    plan = plan_of([NUMBER], quality=[{"metric": "rowCount", operator: 3}])
    assert (plan.set_rules[0].operator, plan.set_rules[0].limits) == (operator, (3.0,))


def test_the_key_is_equal_for_equal_meaning_only() -> None:
    first, same, other = (
        plan_of([{**NUMBER, "description": text, "logicalTypeOptions": {"minimum": low}}])
        for text, low in (("a", 1), ("a", 1), ("a", 2))
    )
    assert first.key == same.key
    assert first.key != other.key


def test_a_codec_may_assume_the_types_of_fields_that_only_one_kind_of_column_reads() -> None:
    plan = plan_of(
        [
            {"name": "a", "logicalType": "integer"},
            {"name": "b", "logicalType": "string", "physicalName": "B field"},
            {"name": "c", "logicalType": "number", "transformLogic": "x * 2"},
            {"name": "d", "logicalType": "string", "physicalName": "a"},
            {"name": "e", "logicalType": "number", "transformLogic": "y + feed.offset"},
            {"name": "f", "logicalType": "string", "transformLogic": "upper(y)"},
        ]
    )
    assert plan.source_types == {"a": pa.string(), "B field": pa.string(), "x": pa.float64()}
    assert plan.source_fields == ("a", "B field", "x", "y")


def test_parameters_are_known_to_the_fabric() -> None:
    plan = plan_of([{**NUMBER, "transformLogic": "temp * feed.factor"}], custom={"where": "tag = feed.tag"})
    assert set(plan.parameters) == {"factor", "tag"}


def test_a_plan_is_compiled_once_per_schema() -> None:
    plan = plan_of([NUMBER])
    params = pa.schema([("feed", pa.int32())])
    text, typed = pa.schema([("temperature", pa.string())]), pa.schema([("temperature", pa.float64())])
    assert plan.compile(text, params) is plan.compile(text, params)
    assert plan.compile(text, params).main != plan.compile(typed, params).main


def test_a_builtin_dataset_needs_the_columns_it_cannot_do_without() -> None:
    found = complaints_of([{"name": "value", "logicalType": "number"}], dataset="signal")
    assert [one.found for one in found if one.code == "contract-builtin"] == [
        "no column 'equipment'",
        "no column 'term'",
    ]
    plan = plan_of(
        [{"name": "equipment", "logicalType": "string"}, {"name": "term", "logicalType": "string"}], dataset="signal"
    )
    assert {one.id for one in plan.row_rules if one.always} == {"equipment.required", "term.required"}
    assert [one.name for one in plan.columns] == [
        "equipment",
        "term",
        "value",
        "value_int",
        "value_text",
        "unit",
        "quality",
    ]
