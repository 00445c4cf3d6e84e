"""Commands about the fabric folder: init, check, schema, probe, contract check."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from weftline.cli.context import FabricOption, FormatOption, checked_format, emit, folder_of, note, say
from weftline.errors import Complaint, NotFoundError, nearest

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("check")(check)
    app.command("schema")(schema)
    app.command("probe")(probe)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    template: Annotated[str, typer.Option(help="plant, supplier or two-plants.")] = "plant",
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Write a small, commented, valid fabric folder."""
    from weftline.fabric import scaffold

    checked_format(format)
    made = scaffold.init(folder, template)
    if format == "json":
        emit({"folder": str(folder), "files": [str(path) for path in made]})
        return
    say(f"{folder}", ["file"], [[str(path)] for path in made])
    note(f"Next: cd {folder} && weftline check && weftline up")


def check(fabric: FabricOption = None, format: FormatOption = "table") -> None:  # noqa: A002 - the option's name
    """Report every problem of the folder at once; touches no network."""
    from weftline.service.plugins import check_folder

    checked_format(format)
    root = folder_of(fabric)
    checked = check_folder(root)
    if format == "json":
        found = [_finding(item) for item in checked.complaints]
        emit({"ok": not found, "complaints": found, "warnings": [_finding(item) for item in checked.warnings]})
    else:
        for item in checked.complaints:
            note(item.sentence())
        for item in checked.warnings:
            note(f"warning: {item.sentence()}")
        spec = checked.folder.spec
        if spec is not None and not checked.complaints:
            counts = f"{len(spec.feeds)} feeds, {len(spec.contracts)} contracts, {len(spec.connections)} connections"
            note(f"{root}: no problems in {counts}")
            for (name, version), plans in sorted(checked.plans.items()):
                for rule in [rule for plan in plans for rule in plan.not_run]:
                    note(f"contract {name}@{version}: rule '{rule.id}' is not run: {rule.reason}")
    if checked.complaints:
        note(f"{len(checked.complaints)} problem{'s' if len(checked.complaints) > 1 else ''}")
        raise typer.Exit(1)


def _finding(item: Complaint) -> dict[str, object]:
    return {
        "code": item.code,
        "file": item.place,
        "line": item.line,
        "column": item.column,
        "found": item.found,
        "expected": item.expected,
        "next": item.next_step,
    }


def schema(kind: Annotated[str, typer.Argument(help="Kind of document, as feed or contract.")]) -> None:
    """Print the JSON Schema of a kind of document, for editors."""
    from weftline.fabric.schema import schema as schema_of
    from weftline.service.plugins import plugins

    emit(schema_of(kind, plugins()))


def probe(
    feed: Annotated[str, typer.Argument(help="Feed to look at.")],
    fabric: FabricOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Connect to a feed's source without consuming, and tell what was found."""
    from weftline.connectors.registry import connector
    from weftline.service.plugins import FolderInvalidError, check_folder

    checked_format(format)
    root = folder_of(fabric)
    checked = check_folder(root)
    spec = checked.folder.spec
    if spec is None or checked.complaints:
        raise FolderInvalidError(root, checked.complaints)
    found = next((item for item in spec.feeds if item.name == feed), None)
    if found is None:
        names = [item.name for item in spec.feeds]
        raise NotFoundError(
            place="feeds", found=f"'{feed}'", expected="a feed of the folder", next_step=nearest(feed, names)
        )
    connection = next(item for item in spec.connections if item.name == found.connection)
    findings = asyncio.run(connector(connection.kind).probe(connection, found))
    if format == "json":
        emit([item._asdict() for item in findings])
    else:
        say(f"probe of {feed}", ["subject", "verdict", "detail", "next step"], [list(item) for item in findings])
    if any(item.verdict == "failed" for item in findings):
        raise typer.Exit(1)
