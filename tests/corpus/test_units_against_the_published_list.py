"""Our unit codes against UN/ECE Recommendation 20 as published, where the corpus holds it."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest

from weftline.model import units
from weftline.model.unit_table import TABLE

CORPUS = Path(os.environ.get("WEFTLINE_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "data"))
LIST = CORPUS / "partners" / "codes" / "units-of-measure.csv"
if not LIST.is_file():
    pytest.skip("the published list of units is not present", allow_module_level=True)

PUBLISHED = {row["CommonCode"]: row for row in csv.DictReader(LIST.open(encoding="utf-8"))}
OURS = [line.split("|") for line in TABLE.strip().splitlines() if not line.startswith("#")]
CODED = [(parts[0], parts[-1]) for parts in OURS if parts[0]]
POWERS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
BASE = r"kg|m|m²|m³|s|Pa|J|W|N|K|A|V|Hz|kg/m|m³/s|kg/s|m/s|N x m|Pa x s|m²/s|kg/m³"
NUMBER = re.compile(rf"^(?:(\d[\d ]*(?:,[\d ]+)?)\s*[x×]?\s*)?(?:10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?\s*({BASE})$")


MISPRINTED = {"APZ"}
"""The list gives a troy ounce as 3.11 g; NIST SP 811 has 31.103 476 8 g."""


def words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower()))


def published_factor(text: str) -> float | None:
    match = NUMBER.match(text.strip().replace("\u00a0", " ").replace(" x 10", " × 10"))
    if match is None:
        return None
    number = float(match[1].replace(" ", "").replace(",", ".")) if match[1] else 1.0
    return number * 10.0 ** int(match[2].translate(POWERS)) if match[2] else number


@pytest.mark.parametrize(("code", "name"), CODED, ids=[code for code, _ in CODED])
def test_a_code_names_the_unit_the_standard_gives_it_to(code: str, name: str) -> None:
    if code.startswith("X"):
        return  # packages of Recommendation 21, which Recommendation 20 writes with an X before the code
    assert code in PUBLISHED, f"{code} is not a code of Recommendation 20"
    assert words(name) & words(PUBLISHED[code]["Name"]), f"{code} is {PUBLISHED[code]['Name']}, not {name}"


def test_factors_agree_with_the_published_ones() -> None:
    wrong, compared = [], 0
    for code, name in CODED:
        wanted = published_factor(PUBLISHED.get(code, {}).get("ConversionFactor", ""))
        if wanted is None or code in MISPRINTED:
            continue
        factor = float(units.unit(code).factor)
        compared += 1
        if abs(factor / wanted - 1) > 1e-4:
            wrong.append(f"{code} {name}: ours {factor:g}, published {wanted:g}")
    assert not wrong, "\n".join(wrong)
    assert compared >= 100, compared
