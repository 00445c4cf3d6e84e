"""Spreadsheets: one sheet of an XLSX, XLSM, XLSB, XLS or ODS workbook, values only. Decoded in the decode process."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.json_records import Real, column_of
from weftline.codecs.records import Refusal, columns
from weftline.codecs.typed import decode_tables
from weftline.codecs.whole import whole_file
from weftline.errors import MissingExtraError

__all__ = ["XlsxCodec", "XlsxOptions"]


class XlsxOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say where the table stands in the workbook."""

    sheet: str = ""
    """Name of the sheet; nothing = the first one."""
    header_row: int = 1
    """Row of the field names, from 1; the records stand below it."""

    def __post_init__(self) -> None:
        """Refuse a row that no sheet has."""
        if not 1 <= self.header_row <= 1_048_576:
            raise ValueError(f"header_row: found {self.header_row}, expected 1 to 1048576")


class XlsxCodec:
    """Read the rows below a header; whole numbers are whole, times are ISO 8601 text in the plant's own time."""

    name: ClassVar[str] = "xlsx"
    summary: ClassVar[str] = "one sheet of a spreadsheet (XLSX, XLSB, XLS, ODS)"
    options: ClassVar[type[msgspec.Struct]] = XlsxOptions
    isolated: ClassVar[bool] = True

    def __init__(self) -> None:
        """Raise MissingExtraError where the reader is not installed."""
        if importlib.util.find_spec("python_calamine") is None:
            raise MissingExtraError(extra="xlsx", needed_for="codec xlsx")

    def decode(
        self, frames: Sequence[Frame], options: XlsxOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode workbooks; one that cannot be opened is one undecodable record."""
        return decode_tables(frames, lambda frame: _table(frame.payload, options, expected, limits), expected, limits)

    def blocks(self, path: Path, options: XlsxOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Give the whole workbook as one block."""
        return whole_file(path, start, limits)


def _table(payload: bytes, options: XlsxOptions, expected: Mapping[str, pa.DataType], limits: Limits) -> pa.Table:
    _refuse_bomb(payload, limits)
    rows = _rows(payload, options)
    header = [str(cell).strip() for cell in rows[0]] if rows else []
    body = [row for row in rows[1:] if any(cell not in {"", None} for cell in row)]
    if len(header) > limits.fields:
        raise Refusal("limit-fields", f"found {len(header)} columns, expected at most {limits.fields}")
    named: dict[str, pa.Array] = {}
    for at, name in enumerate(header):
        values = [_value(row[at]) if at < len(row) else None for row in body]
        if not name:
            if any(value is not None for value in values):
                raise Refusal("xlsx-header", f"found values in column {at + 1} without a name, expected a header")
            continue
        if name in named:
            raise Refusal("xlsx-header", f"found the field name {name[:60]!r} twice, expected each name once")
        named[name] = column_of(values, expected.get(name))
    if not named and body:
        raise Refusal("xlsx-header", f"found no field names in row {options.header_row}, expected a header")
    return columns(named, len(body), expected)


def _rows(payload: bytes, options: XlsxOptions) -> list[list[Any]]:
    import python_calamine as calamine

    try:
        book = calamine.load_workbook(io.BytesIO(payload))
        names = book.sheet_names
        if not names or (options.sheet and options.sheet not in names):
            raise Refusal("xlsx-sheet", f"found no sheet {options.sheet[:60]!r}, expected one of {len(names)} sheets")
        sheet = book.get_sheet_by_name(options.sheet or names[0])
        return list(sheet.to_python(skip_empty_area=False)[options.header_row - 1 :])
    except calamine.PasswordError:
        raise Refusal("xlsx-encrypted", "found a workbook with a password, expected an open one") from None
    except (calamine.CalamineError, OSError, ValueError, TypeError, LookupError) as error:
        found = f"found bytes that are no readable workbook ({type(error).__name__})"
        raise Refusal("xlsx-broken", f"{found}, expected XLSX, XLSB, XLS or ODS") from None


def _refuse_bomb(payload: bytes, limits: Limits) -> None:
    """Refuse a workbook that says it grows beyond the limits; the decode process bounds one that lies."""
    if not payload.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError) as error:
        found = f"found bytes that are no readable workbook ({type(error).__name__})"
        raise Refusal("xlsx-broken", f"{found}, expected XLSX, XLSB or ODS") from None
    size = sum(part.file_size for part in parts)
    most = min(limits.expanded_bytes, max(len(payload) * limits.expansion_ratio, 16 << 20))
    if size > most or len(parts) > limits.members:
        raise Refusal(
            "limit-expanded-bytes", f"found {size} bytes in {len(parts)} parts after expansion, expected at most {most}"
        )


def _value(cell: Any) -> Any:
    """Return a cell as a value of the column: sheets keep every number as a double, so whole ones are whole again."""
    if cell == "" or cell is None:
        return None
    if isinstance(cell, bool | str):
        return cell
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) <= 1 << 53 else Real(repr(cell))
    if isinstance(cell, timedelta):
        return Real(repr(cell.total_seconds()))
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return cell if isinstance(cell, int) and -(1 << 63) <= cell < 1 << 63 else str(cell)
