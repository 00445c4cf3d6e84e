"""Commands about who may do what: user, key."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from weftline.cli.context import FabricOption, FormatOption, checked_format, emit, folder_of, note, say
from weftline.cli.holder import reach, server_url

__all__ = ["register"]

user = typer.Typer(help="People who may sign in.", no_args_is_help=True)
key = typer.Typer(help="API keys for machines and partners.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(user, name="user")
    app.add_typer(key, name="key")


@user.command("add")
def add(
    email: Annotated[str, typer.Argument(help="Address the person signs in with.")],
    name: Annotated[str, typer.Option(help="Name shown on pages.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="administrator, engineer, buyer, supplier or viewer.")] = None,
    fabric: FabricOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Add a person and print a one-time link; WEFTLINE_PASSWORD sets a password instead."""
    checked_format(format)
    root = folder_of(fabric)
    password = os.environ.get("WEFTLINE_PASSWORD", "")
    with reach(root) as folder:
        found = folder.call(
            "user_add", name=name or email.split("@")[0], email=email, roles=role or ["viewer"], password=password
        )
        link = {} if password else folder.call("user_invite", email=email)
    if format == "json":
        emit({**found, **link})
        return
    note(f"{found['email']} added as {', '.join(found['roles'])}")
    if link:
        note(f"one-time link, 30 minutes: {server_url(root) or 'http://127.0.0.1:8420'}{link['path']}")


@user.command("list")
def people(fabric: FabricOption = None, format: FormatOption = "table") -> None:  # noqa: A002 - the option's name
    """List who may sign in."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("user_list")
    if format == "json":
        emit(found)
        return
    say(
        "",
        ["email", "name", "roles", "active"],
        [[p["email"], p["name"], ", ".join(p["roles"]), p["active"]] for p in found],
    )


@user.command("invite")
def invite(
    email: Annotated[str, typer.Argument(help="Person; empty for the first administrator.")] = "",
    fabric: FabricOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Print a fresh one-time link; older ones are void."""
    checked_format(format)
    root = folder_of(fabric)
    with reach(root) as folder:
        found = folder.call("user_invite", email=email)
    if format == "json":
        emit(found)
    elif found["path"]:
        note(f"one-time link, 30 minutes: {server_url(root) or 'http://127.0.0.1:8420'}{found['path']}")
    else:
        note("there is an administrator already; give the person's address")


@key.command("create")
def create(
    scope: Annotated[str, typer.Argument(metavar="FEED|ACTOR", help="Feed name, feed:<name> or actor:<email>.")],
    note_text: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
    fabric: FabricOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Make an API key; its secret is shown once."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("key_create", scope=scope if ":" in scope else f"feed:{scope}", note=note_text)
    if format == "json":
        emit(found)
    else:
        note(f"scope {found['scope']}; shown once, keep it:")
        typer.echo(found["key"])


@key.command("list")
def keys(fabric: FabricOption = None, format: FormatOption = "table") -> None:  # noqa: A002 - the option's name
    """List API keys without their secrets."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("key_list")
    if format == "json":
        emit(found)
        return
    say(
        "",
        ["prefix", "scope", "revoked", "note"],
        [[k["prefix"], k["scope"], bool(k["revoked"]), k["note"]] for k in found],
    )
