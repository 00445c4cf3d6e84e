"""The commands by name. A failing command prints one sentence and exits by the kind of failure, never a traceback."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from typing import Annotated

import structlog
import typer
from rich.console import Console

from weftline import __version__
from weftline.cli import bench, data, folder, people, quarantine, run
from weftline.errors import WeftlineError

__all__ = ["app", "main"]

app = typer.Typer(
    name="weftline",
    help="The open data fabric for manufacturing supply chains.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"weftline {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to standard error.")] = False,
) -> None:
    """Set up logging: warnings and worse to standard error, all with --verbose."""
    del version
    level = logging.DEBUG if verbose else logging.WARNING
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )


for module in (folder, run, data, quarantine, people, bench):
    module.register(app)


def main() -> None:
    """Run the command line."""
    # The exit stands outside the handlers: an exception kept alive by SystemExit would keep its frames' stores alive,
    # and the interpreter's end would complain about them on standard error.
    code = _run()
    if code:
        gc.collect()
    sys.exit(code)


def _run() -> int:
    """Run one command; return its exit code, having told any error in one sentence."""
    try:
        ended = app(standalone_mode=False)
    except WeftlineError as error:
        complaints = getattr(error, "complaints", None) or (error.complaint,)
        for complaint in complaints:
            _tell(complaint.sentence())
        return error.exit_code
    except typer.TyperException as error:
        text = error.format_message()
        shown = text if text.startswith("Usage:") else f"weftline: {text.rstrip('.?')}. See: weftline --help [usage]"
        _tell(shown)
        return 2
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a person never sees a traceback
        if os.environ.get("WEFTLINE_DEBUG"):
            traceback.print_exception(error)
        _tell(
            f"weftline: found an error of its own ({type(error).__name__}: {error}), expected none. "
            "Run again with WEFTLINE_DEBUG=1 and report what it prints. [internal]"
        )
        return 2
    return ended if isinstance(ended, int) else 0  # a command that ended early gives its code instead of raising


def _tell(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, highlight=False, markup=False)
