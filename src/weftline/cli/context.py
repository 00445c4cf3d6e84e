"""What every command shares: which folder, which format, and who holds the folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from weftline.errors import NotFoundError, UsageError

__all__ = ["FabricOption", "FormatOption", "emit", "folder_of", "note", "plain", "say", "tell"]

WIDE = 10_000
NARROWEST = 16

FabricOption = Annotated[
    Path | None,
    typer.Option(
        "--fabric", help="Fabric folder; default: the nearest folder above that holds fabric.yaml.", metavar="DIR"
    ),
]
FormatOption = Annotated[str, typer.Option("--format", help="table or json.", metavar="table|json")]


def folder_of(given: Path | None) -> Path:
    """Return the fabric folder: the one given, or the nearest above the current one."""
    if given is not None:
        if not (given / "fabric.yaml").is_file():
            raise NotFoundError(
                place=str(given),
                found="no fabric.yaml",
                expected="a fabric folder",
                next_step=f"Run: weftline init {given}",
            )
        return given.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "fabric.yaml").is_file():
            return folder
    raise NotFoundError(
        place=str(here),
        found="no fabric.yaml here or above",
        expected="a fabric folder",
        next_step="Run: weftline init DIR, or give --fabric DIR.",
    )


def plain(value: Any) -> Any:
    """Return a value of the service as JSON types."""
    return json.loads(msgspec.json.encode(value))


def checked_format(text: str, known: Sequence[str] = ("table", "json")) -> str:
    """Return a format word or raise UsageError."""
    if text not in known:
        raise UsageError(place="--format", found=f"'{text}'", expected=" or ".join(known))
    return text


def emit(value: Any) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2) + "\n")


def say(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Write a table; an empty one says so. Columns in `whole` are never folded: people copy their values."""
    fixed = {*right, *whole}
    console = Console()
    if not rows:
        console.print(f"{title}: none")
        return
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    # A pipe has no width, and a terminal narrower than this wraps lines better than cells three letters wide.
    least = [width if name in fixed else min(width, NARROWEST) for name, width in zip(columns, widths, strict=True)]
    wanted = sum(least) + 2 * len(least) if sys.stdout.isatty() else WIDE
    console = Console(width=max(console.width, wanted))
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column, width in zip(columns, least, strict=True):
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in fixed, min_width=width)
    for texts in cells:
        table.add_row(*texts)
    console.print(table)


def tell(text: str) -> None:
    """Write a line of an answer to standard output, as it is."""
    Console(soft_wrap=True).print(text, highlight=False, markup=False)


def note(text: str) -> None:
    """Write a line for people to standard error."""
    Console(stderr=True, soft_wrap=True).print(text, highlight=False, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return str(value).replace("[", "\\[")
