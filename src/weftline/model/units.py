"""Units of measure: UN/ECE Recommendation 20 and UCUM codes, their dimension, and exact conversion.

Source: UN/ECE Recommendation No. 20 (codes of trade, as `CEL`) and the Unified Code for Units of Measure (`Cel`). A unit
is `base = value × factor + offset`, kept as fractions, so that °F → °C and inch → millimetre carry no rounding of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import gcd

from weftline.errors import InputError, nearest
from weftline.model.unit_table import TABLE

__all__ = [
    "Unit",
    "UnitDimensionError",
    "UnknownUnitError",
    "codes",
    "conversion",
    "convert",
    "find",
    "same_dimension",
    "unit",
]

EXACT = 2**53
"""Whole numbers above this are not exact in a double."""


class UnknownUnitError(InputError):
    """Say that a unit code is in neither Rec 20 nor UCUM as this table knows them."""

    code = "unit-unknown"


class UnitDimensionError(InputError):
    """Say that two units measure different things."""

    code = "unit-dimension"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit. `rec20` or `ucum` may be empty; `base = value × factor + offset` in the dimension's SI unit."""

    rec20: str
    ucum: str
    name: str
    dimension: str
    factor: Fraction
    offset: Fraction

    @property
    def code(self) -> str:
        """Return the Rec 20 code, or the UCUM code of a unit that has no other."""
        return self.rec20 or self.ucum


def fraction(text: str) -> Fraction:
    """Read a factor of the table: a product or quotient of decimals, as `1609.344/3600`."""
    value = Fraction(1)
    for place, term in enumerate(text.split("/")):
        product = Fraction(1)
        for factor in term.split("*"):
            product *= Fraction(factor)
        value = product if place == 0 else value / product
    return value


@cache
def registry() -> dict[str, Unit]:
    """Return every code, Rec 20 before UCUM where one text is both."""
    units: list[Unit] = []
    dimension = ""
    for line in TABLE.strip().splitlines():
        if line.startswith("#"):
            dimension = line[1:].strip()
            continue
        rec20, ucum, factor, name = (part.strip() for part in line.split("|"))
        scale, _, shift = factor.partition("+")
        units.append(
            Unit(
                rec20,
                ucum,
                name,
                dimension,
                fraction(scale),
                fraction(shift) * fraction(scale) if shift else Fraction(0),
            )
        )
    known = {one.ucum: one for one in units if one.ucum}
    known.update({one.rec20: one for one in units if one.rec20})
    return known


def codes() -> tuple[str, ...]:
    """Return all known codes, sorted."""
    return tuple(sorted(registry()))


def find(code: str) -> Unit | None:
    """Return the unit of a Rec 20 or UCUM code (case matters, as both standards say), or None."""
    return registry().get(code)


def unit(code: str, *, place: str = "unit") -> Unit:
    """Return the unit of a code; an unknown one is refused with the nearest."""
    found = find(code)
    if found is None:
        raise UnknownUnitError(
            place=place,
            found=f"the unit code '{code}'",
            expected="a UN/ECE Rec 20 or UCUM code",
            next_step=nearest(code, codes()),
        )
    return found


@cache
def same_dimension(code: str) -> tuple[str, ...]:
    """Return every code that converts to this one, itself first."""
    target = unit(code)
    return (
        code,
        *sorted(one for one, known in registry().items() if known.dimension == target.dimension and one != code),
    )


@lru_cache(maxsize=4096)
def conversion(source: str, target: str, *, place: str = "unit") -> tuple[float, float, float]:
    """Return (p, q, r) with `target value = (source value × p + q) / r`.

    Whole numbers where they stay exact in a double: °F → °C is (5, -160, 9), so 98.6 gives 37.0 and not 36.99….
    """
    first, second = unit(source, place=place), unit(target, place=place)
    if first.dimension != second.dimension:
        raise UnitDimensionError(
            place=place,
            found=f"{source} ({first.name}, {first.dimension}) to {target} ({second.name}, {second.dimension})",
            expected="two units of one dimension",
        )
    scale = first.factor / second.factor
    shift = (first.offset - second.offset) / second.factor
    common: int = scale.denominator * shift.denominator // gcd(scale.denominator, shift.denominator)
    p, q = scale * common, shift * common
    if max(abs(p), abs(q), Fraction(common)) <= EXACT:
        return float(p), float(q), float(common)
    return float(scale), float(shift), 1.0


def convert(value: float, source: str, target: str) -> float:
    """Convert a value; unknown codes and different dimensions are refused."""
    p, q, r = conversion(source, target)
    return (value * p + q) / r
