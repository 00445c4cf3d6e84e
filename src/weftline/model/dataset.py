"""Datasets as tables: the columns beside the fact columns, their units and terms."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

__all__ = ["Column", "DatasetSpec"]


@dataclass(frozen=True, slots=True)
class Column:
    """One target column. `unit` is a UN/ECE Rec 20 or UCUM code; `term` is a taxonomy id."""

    name: str
    type: pa.DataType
    unit: str = ""
    term: str = ""
    description: str = ""
    classification: str = ""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One dataset; its table holds FACT_COLUMNS and then `columns`."""

    name: str
    columns: tuple[Column, ...]
    description: str = ""
    builtin: bool = False
    contracts: tuple[str, ...] = ()
    """Contracts (`id@version`) that write it; the highest published version of a contract gives the columns."""
