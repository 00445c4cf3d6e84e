"""Units: facts looked up elsewhere than in our table (NIST SP 811, the definitions of the units), and refusals."""

from __future__ import annotations

import math

import pytest

from weftline.model.units import (
    UnitDimensionError,
    UnknownUnitError,
    codes,
    conversion,
    convert,
    find,
    registry,
    same_dimension,
)

FACTS = [
    (98.6, "FAH", "CEL", 37.0),
    (-40, "FAH", "CEL", -40.0),
    (212, "FAH", "CEL", 100.0),
    (100, "CEL", "FAH", 212.0),
    (0, "KEL", "CEL", -273.15),
    (0, "CEL", "[degF]", 32.0),
    (491.67, "A48", "KEL", 273.15),
    (1, "INH", "MMT", 25.4),
    (1, "SMI", "KMT", 1.609344),
    (1, "NMI", "MTR", 1852.0),
    (1, "LBR", "KGM", 0.45359237),
    (16, "ONZ", "LBR", 1.0),
    (1, "STN", "LBR", 2000.0),
    (1, "LTN", "LBR", 2240.0),
    (1, "GLL", "LTR", 3.785411784),
    (42, "GLL", "BLL", 1.0),
    (1, "GLI", "LTR", 4.54609),
    (1, "PS", "KPA", 6.894757293168361),
    (1, "BAR", "PAL", 100000.0),
    (760, "UA", "ATM", 1.0),
    (1, "KWH", "3B", 3.6),
    (1, "BTU", "JOU", 1055.05585262),
    (1, "BHP", "WTT", 745.6998715822702),
    (3600, "RPM", "RPS", 60.0),
    (60, "C94", "HTZ", 1.0),
    (1, "KMH", "MTS", 1000 / 3600),
    (1, "KNT", "KMH", 1.852),
    (180, "DD", "C81", math.pi),
    (1, "M44", "DD", 360.0),
    (1, "MQH", "LTR", None),
    (1, "L2", "MQH", 0.06),
    (1, "M92", "NU", 1.3558179483314004),
    (1, "C78", "NEW", 4.4482216152605),
    (1, "KVT", "VLT", 1000.0),
    (1, "AMH", "COU", 3600.0),
    (2, "DZN", "H87", 24.0),
    (1, "GRO", "DZN", 12.0),
    (50, "P1", "C62", 0.5),
    (1, "59", "61", 1000.0),
    (1, "C7", "C24", 1.0),
    (1, "23", "KMQ", 1000.0),
    (1, "WEE", "HUR", 168.0),
]


@pytest.mark.parametrize(("value", "source", "target", "wanted"), [fact for fact in FACTS if fact[3] is not None])
def test_a_value_converts_to_the_number_that_is_known(value: float, source: str, target: str, wanted: float) -> None:
    assert convert(value, source, target) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_body_temperature_is_exact() -> None:
    assert convert(98.6, "FAH", "CEL") == 37.0
    assert conversion("FAH", "CEL") == (5.0, -160.0, 9.0)


def test_both_standards_name_the_same_unit() -> None:
    assert find("Cel") is find("CEL")
    assert find("[degF]") is find("FAH")


def test_there_are_units_enough_for_a_plant() -> None:
    assert len({one.rec20 for one in registry().values() if one.rec20}) >= 250
    assert len({one.dimension for one in registry().values()}) >= 40


def test_different_dimensions_are_refused_with_both_named() -> None:
    with pytest.raises(UnitDimensionError, match=r"kilogram, mass.*degree Celsius, temperature"):
        convert(1, "KGM", "CEL")
    with pytest.raises(UnitDimensionError):
        convert(1, "MQH", "LTR")


def test_an_unknown_code_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownUnitError, match="KGX"):
        convert(1, "KGX", "KGM")


def test_case_matters_as_both_standards_say() -> None:
    assert find("cel") is None
    assert find("kg") is find("KGM")
    assert find("mPa") is not find("MPa")


@pytest.mark.parametrize("code", codes())
def test_every_unit_comes_back_from_its_dimension(code: str) -> None:
    for other in same_dimension(code)[:6]:
        there = convert(convert(12.5, code, other), other, code)
        assert there == pytest.approx(12.5, rel=1e-9)


def test_no_code_is_given_twice_in_the_table() -> None:
    from weftline.model.unit_table import TABLE

    rows = [line.split("|") for line in TABLE.strip().splitlines() if not line.startswith("#")]
    for column in (0, 1):
        given = [row[column] for row in rows if row[column]]
        assert len(given) == len(set(given))
