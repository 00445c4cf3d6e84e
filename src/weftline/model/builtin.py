"""Built-in datasets: fixed columns beside the fact columns (DESIGN §8), and which of them a row cannot do without."""

from __future__ import annotations

import pyarrow as pa

from weftline.model.dataset import Column, DatasetSpec

__all__ = ["BUILTIN", "NEVER_NULL"]

_TEXT, _DOUBLE, _WHOLE = pa.string(), pa.float64(), pa.int64()


def _dataset(name: str, description: str, *columns: tuple[str, pa.DataType, str]) -> DatasetSpec:
    made = tuple(Column(column, kind, description=text) for column, kind, text in columns)
    return DatasetSpec(name, made, description, builtin=True)


BUILTIN: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        _dataset(
            "signal",
            "One value of one signal of one equipment at one time.",
            ("equipment", _TEXT, "Equipment the signal belongs to (ISA-95 path or the source's own id)."),
            ("term", _TEXT, "What is measured: a taxonomy term or the source's tag."),
            ("value", _DOUBLE, "Value as a number."),
            ("value_int", _WHOLE, "The same value where it is whole: counters pass what a double holds exactly."),
            ("value_text", _TEXT, "Value as text."),
            ("unit", _TEXT, "Rec 20 or UCUM code of the value."),
            ("quality", _TEXT, "Status the source gave."),
        ),
        _dataset(
            "equipment_state",
            "State events of equipment; the store keeps closed intervals of them.",
            ("equipment", _TEXT, "Equipment."),
            ("state", _TEXT, "State it entered."),
            ("reason", _TEXT, "Reason code, as sent."),
        ),
        _dataset(
            "production_count",
            "Pieces made since the count before, or in one report.",
            ("equipment", _TEXT, "Equipment."),
            ("material", _TEXT, "Material made."),
            ("production_order", _TEXT, "Order it was made for."),
            ("lot", _TEXT, "Lot."),
            ("good", _DOUBLE, "Good quantity."),
            ("scrap", _DOUBLE, "Scrapped quantity."),
            ("rework", _DOUBLE, "Quantity to be reworked."),
            ("unit", _TEXT, "Rec 20 or UCUM code of the quantities."),
        ),
        _dataset(
            "energy",
            "Energy used, as a meter's reading or as an amount.",
            ("equipment", _TEXT, "Equipment or meter."),
            ("carrier", _TEXT, "Electricity, natural gas, compressed air, steam …"),
            ("amount", _DOUBLE, "Amount since the value before."),
            ("reading", _DOUBLE, "Reading of the counter."),
            ("unit", _TEXT, "Rec 20 or UCUM code of both."),
        ),
    )
}
"""Dataset by name. The wiring adds the lake's own tables; contracts may write these."""

NEVER_NULL: dict[str, tuple[str, ...]] = {
    "signal": ("equipment", "term"),
    "equipment_state": ("equipment", "state"),
    "production_count": ("equipment",),
    "energy": ("equipment",),
}
"""Columns without which a row of a built-in dataset means nothing: `required` in every mode."""
