"""Commands that run a server: up, demo."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weftline.cli.context import FabricOption, FormatOption, checked_format, folder_of

if TYPE_CHECKING:
    from weftline.cli.serving import Serving

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("demo")(demo)


def up(
    fabric: FabricOption = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one; default of fabric.yaml.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; loopback unless told otherwise, TLS elsewhere.")] = None,
) -> None:
    """Run the fabric: sources, road, website and API in one process."""
    from weftline.cli.serving import run_loop, serve, speak

    root = folder_of(fabric)

    async def ready(serving: Serving) -> None:
        speak(serving)
        await asyncio.Event().wait()

    run_loop(serve(root, host=host, port=port, ready=ready))


def demo(
    port: Annotated[int, typer.Option(help="TCP port of the website.")] = 8420,
    speed: Annotated[float, typer.Option(min=1, max=100, help="How fast the world runs.")] = 1.0,
    for_seconds: Annotated[float | None, typer.Option("--for", min=1, help="Stop after so many seconds.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the world; another one has other troubles.")] = 1,
    trouble: Annotated[bool, typer.Option("--trouble/--no-trouble", help="Scripted trouble, or a calm world.")] = True,
    folder: Annotated[Path, typer.Option(help="Where the demo's fabric lives.", metavar="DIR")] = Path("var/demo"),
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Run a world of two plants, six suppliers and two carriers over the real protocols."""
    checked_format(format)
    from weftline.cli.demo import run_demo

    run_demo(folder, port=port, speed=speed, seconds=for_seconds, seed=seed, trouble=trouble, as_json=format == "json")
