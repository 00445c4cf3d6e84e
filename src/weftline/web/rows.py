"""Rows of datasets as cells of a table: how each Arrow type is written, which column says where the row came from."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from weftline.batch import FACT_COLUMNS, Mark
from weftline.clock import to_micros
from weftline.web.format import decimal

__all__ = ["Cell", "Cells", "cells_of", "marks"]

PLACE = ("lane", "frame", "position", "row")
OWN = {field.name for field in FACT_COLUMNS} | {"dataset"}
LONG = 160
_MARKS = {
    Mark.BAD_STATUS: "bad status",
    Mark.LATE: "late",
    Mark.SKEWED: "clock skewed",
    Mark.GUESSED_UNIT: "unit guessed",
    Mark.RECEIVED_TIME: "time of receipt",
    Mark.VIOLATION: "rule failed",
}


class Cell(NamedTuple):
    """One value: its text, or None where there is none; `time` in microseconds UTC where it is one."""

    text: str | None
    kind: str = "text"
    """text, number, time, code."""
    time: int = 0


class Row(NamedTuple):
    """One row with its provenance."""

    event: int | None
    record: int | None
    feed: str
    contract: str
    dataset: str
    place: dict[str, str]
    marks: list[str]
    cells: list[Cell]


class Cells(NamedTuple):
    """The dataset's own columns, and the rows."""

    columns: list[str]
    numeric: list[bool]
    rows: list[Row]


def marks(bits: int) -> list[str]:
    """Return the words of a row's mark bits."""
    return [word for bit, word in _MARKS.items() if bits & bit]


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell(None)
    if isinstance(value, bool):
        return Cell("true" if value else "false")
    if isinstance(value, int):
        return Cell(f"{value:,}" if abs(value) >= 10_000 else str(value), "number")
    if isinstance(value, float):
        return Cell(_float(value), "number")
    if isinstance(value, datetime):
        return Cell("", "time", to_micros(value))
    if isinstance(value, date):
        return Cell(value.isoformat())
    if isinstance(value, bytes):
        return Cell(value[:40].hex(" "), "code")
    if isinstance(value, dict | list):
        return Cell(json.dumps(value, default=str, ensure_ascii=False), "code")
    return Cell(str(value))


def _float(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.6g}" if abs(value) < 1e15 else f"{value:.6e}" if value else decimal(value)


def _micros(value: Any) -> int | None:
    return to_micros(value) if isinstance(value, datetime) else None


def cells_of(table: pa.Table) -> Cells:
    """Return a page of rows as cells; at most some hundred rows, hence Python objects."""
    own = [name for name in table.column_names if name not in OWN]
    numeric = [pa.types.is_floating(t) or pa.types.is_integer(t) for t in (table.schema.field(n).type for n in own)]
    rows = [
        Row(
            _micros(row.get("event_time")),
            _micros(row.get("record_time")),
            str(row.get("feed") or ""),
            str(row.get("contract") or ""),
            str(row.get("dataset") or ""),
            {name: str(row[name]) for name in PLACE if row.get(name) is not None},
            marks(int(row.get("mark") or 0)),
            [_cell(row[name]) for name in own],
        )
        for row in table.to_pylist()
    ]
    return Cells(own, numeric, rows)
