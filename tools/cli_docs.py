"""Write docs/cli.md from the commands themselves; with --check write nothing and return 1 where it is not current."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from weftline.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """<!-- Generated from the commands by tools/cli_docs.py; change those. -->

# Commands

Every command finds its fabric as the nearest folder above that holds `fabric.yaml`, or takes `--fabric DIR`. Results go to
standard output, everything said to a person goes to standard error. While a server runs on the folder, commands speak to it
over its socket; without one they open the folder themselves. Exit codes: 0 done, 1 findings, 2 usage or input error, 3 refused.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Return each command that does something, by its full name."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {part}", inner) for part, inner in below.items())


def _kind(parameter: Any) -> str:
    if parameter.metavar:
        return f" {parameter.metavar}"
    annotation = getattr(parameter.type_descriptor.annotation, "__name__", "")
    return {"str": " TEXT", "int": " NUMBER", "float": " NUMBER", "Path": " PATH"}.get(annotation, "")


def _row(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    stands = "" if default is None or default in ("", False) or callable(default) else f"`{default}`"
    if default is True:
        stands = "yes"
    limits = " to ".join(f"{limit:g}" for limit in (parameter.min, parameter.max) if limit is not None)
    if limits and parameter.max is None:
        limits = f"at least {limits}"
    meaning = (parameter.help or "").rstrip(".")
    kind = _kind(parameter).replace("|", "\\|")
    return f"| {names}{kind} | {stands} | {meaning}{f' ({limits})' if limits else ''} |"


def _usage(name: str, command: Any) -> str:
    words = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = parameter.metavar or parameter.name.upper()
            words.append(word if parameter.required else f"[{word}]")
    return " ".join(["weftline", name, *words, "[OPTIONS]" if len(command.params) > len(words) else ""]).strip()


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name, command in commands():
        parts.append(
            f"\n## `weftline {name}`\n\n{inspect.cleandoc(command.help or '')}\n\n```\n{_usage(name, command)}\n```\n"
        )
        arguments = [item for item in command.params if item.param_type_name == "argument" and item.help]
        parts += [f"\n- `{item.metavar or item.name.upper()}`: {item.help}\n" for item in arguments[:1]]
        parts += [f"- `{item.metavar or item.name.upper()}`: {item.help}\n" for item in arguments[1:]]
        options = [item for item in command.params if item.param_type_name == "option" and item.name != "fabric"]
        if options:
            parts.append("\n| Option | Default | Meaning |\n|---|---|---|\n")
            parts.append("".join(f"{_row(option)}\n" for option in options))
    return "".join(parts)


def main() -> int:
    """Write the page or compare it."""
    text = page()
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    if "--check" in sys.argv:
        print(f"not current: {PAGE}; run: python tools/cli_docs.py")
        return 1
    PAGE.write_text(text)
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
