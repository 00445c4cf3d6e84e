"""The command `bench`: measure this machine, each figure beside its floor."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from weftline.cli.context import FormatOption, checked_format, emit, note, say
from weftline.errors import UsageError, WeftlineError, nearest

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    name: Annotated[str, typer.Argument(help="ingest, mqtt, contract, codecs, start, feeds, or all.", metavar="NAME")],
    scale: Annotated[float, typer.Option(min=0.01, max=10, help="Size; the budgets are stated for 1.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Also write NAME-DATE.json here.", metavar="DIR")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Disk to measure on; default the temporary one.", metavar="DIR")
    ] = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Measure the product beside its floors; exit 1 where a budget is missed."""
    from weftline.testing.bench import NAMES

    checked_format(format)
    if name not in {*NAMES, "all"}:
        raise UsageError(
            place="bench", found=f"'{name}'", expected="a benchmark", next_step=nearest(name, (*NAMES, "all"))
        )
    reports = []
    missed = False
    for each in NAMES if name == "all" else (name,):
        note(f"{each}: measuring …")
        report = _measured(each, scale, work)
        missed = missed or any(figure["met"] is False for figure in report["figures"])
        reports.append(report)
        if out is not None:
            note(f"{each}: written to {_write(report, out)}")
        if format == "table":
            _show(report)
    if format == "json":
        emit(reports[0] if len(reports) == 1 else reports)
    if missed:
        raise typer.Exit(1)


def _measured(name: str, scale: float, work: Path | None) -> dict[str, Any]:
    from weftline.testing.bench import benchmark
    from weftline.testing.bench.report import Report, machine

    described = machine()
    folder = Path(tempfile.mkdtemp(prefix=f"weftline-bench-{name}-", dir=work))
    try:
        report = benchmark(name)(folder, scale)
    except WeftlineError as error:
        report = replace(Report(name), notes=[f"not measured: {error.complaint.sentence()}"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.machine = described
    report.settings["scale"] = scale
    return report.plain()


def _write(report: dict[str, Any], folder: Path) -> Path:
    import json

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report['name']}-{report['at'][:10]}.json"
    path.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


def _show(report: dict[str, Any]) -> None:
    found = report["machine"]
    rows = [
        [
            figure["name"],
            f"{figure['value']:,g} {figure['unit']}" if figure["value"] < 1e5 else f"{figure['value']:,.0f} {figure['unit']}",
            "" if figure["floor"] is None else f"{figure['floor']:,.0f}" if figure["floor"] > 100 else f"{figure['floor']:g}",
            "" if figure["ratio"] is None else f"{figure['ratio']:.2f}",
            figure["budget"],
            {True: "kept", False: "MISSED", None: ""}[figure["met"]],
        ]
        for figure in report["figures"]
    ]  # fmt: skip
    say(
        report["name"],
        ["figure", "measured", "floor", "ratio", "budget", ""],
        rows,
        right=["measured", "floor", "ratio"],
    )
    for text in sorted({figure["floor_name"] for figure in report["figures"] if figure["floor_name"]}):
        note(f"floor: {text}")
    for text in report["notes"]:
        note(text)
    parts = ", ".join(f"{name} {found[name]}" for name in ("python", "duckdb", "pyarrow", "commit"))
    note(
        f"{found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB, load {found['load_before']} before; {parts}"
    )
