"""Commands about quarantine: list, show, replay."""

from __future__ import annotations

from typing import Annotated

import typer

from weftline.cli.context import FabricOption, FormatOption, checked_format, emit, folder_of, say, tell
from weftline.cli.holder import reach
from weftline.clock import from_micros

__all__ = ["register"]

SHOWN = 2000
"""Characters of an original that a terminal is given."""

quarantine = typer.Typer(help="Records that failed their contract, with their originals.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def groups(
    fabric: FabricOption = None,
    feed: Annotated[str, typer.Option(help="Only this feed.")] = "",
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """List groups of records that failed the same way, the newest first."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("quarantine", feed=feed)
    if format == "json":
        emit(found)
        return
    rows = [
        [
            item["records"],
            item["example"],
            item["expected"],
            ", ".join(item["feeds"][:3]),
            _time(item["last_seen"]),
            item["id"],
        ]
        for item in found
    ]
    columns = ["records", "found", "expected", "feeds", "last seen", "group"]
    say("", columns, rows, right=["records"], whole=["group"])


@quarantine.command("show")
def show(
    group: Annotated[str, typer.Argument(help="Group, as `quarantine list` names it.")],
    fabric: FabricOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most records to show.")] = 20,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Show records of a group: every violation beside the bytes the source sent."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("quarantined", group=group, limit=limit)
    if format == "json":
        emit(found)
        return
    for item in found:
        tell(f"record {item['id']} of feed {item['feed']}, received {_time(item['received'])}, {item['size']} bytes")
        for violation in item["violations"]:
            where = f"{violation['field']}: " if violation["field"] else ""
            tell(f"  {violation['rule']}: {where}found {violation['found']}, expected {violation['expected']}")
        original = item["original"] or ""
        more = f" … {len(original) - SHOWN:,} more characters; --format json has all" if len(original) > SHOWN else ""
        tell(f"  {'base64 ' if item['encoding'] == 'base64' else ''}{original[:SHOWN]}{more}")


@quarantine.command("replay")
def replay(
    group: Annotated[str, typer.Argument(help="Group, as `quarantine list` names it.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the job.")],
    fabric: FabricOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Put a group's originals on the road again, under the contract now in force."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("replay", group=group, reason=reason)
    if format == "json":
        emit(found)
    else:
        counts = f"{found['tried']} tried, {found['released']} released, {found['still_failing']} still fail"
        tell(f"{counts} {found['reason']}".rstrip())
    if found["state"] == "failed" or found["still_failing"]:
        raise typer.Exit(1)


def _time(micros: int) -> str:
    return f"{from_micros(micros):%Y-%m-%d %H:%M:%S} UTC"
