"""Commands about data: ingest, query, ledger, status, doctor."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from weftline.cli.context import FabricOption, FormatOption, checked_format, emit, folder_of, note, say
from weftline.cli.holder import reach
from weftline.errors import NotFoundError, UsageError
from weftline.service.export import FORMATS, write_table

__all__ = ["TERMS", "register"]

TERMS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")
SHOWN_ROWS = 200


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ingest")(ingest)
    app.command("query")(query)
    app.command("ledger")(ledger)
    app.command("status")(status)
    app.command("doctor")(doctor)


def ingest(
    feed: Annotated[str, typer.Argument(help="Feed whose contract checks the files.")],
    files: Annotated[list[Path], typer.Argument(help="Files, in order.", metavar="FILE…")],
    fabric: FabricOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Old data: keep its times and do not mark it late.")
    ] = False,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Bring files onto the road once; the answer is the ledger of this call."""
    checked_format(format)
    root = folder_of(fabric)
    for path in files:
        if not path.exists():
            raise NotFoundError(place=str(path), found="no such file", expected="a file to read")
    results: list[dict[str, Any]] = []
    with reach(root) as folder, _bar() as bar:
        for path in files:
            task = bar.add_task(path.name, total=max(path.stat().st_size, 1))
            results.append(folder.ingest(feed, path, history=history, progress=partial(_move, bar, task)))
            bar.update(task, completed=bar.tasks[task].total)
    total: dict[str, Any] = {term: sum(int(result[term]) for result in results) for term in TERMS}
    if format == "json":
        emit({**total, "files": results})
    else:
        say(
            "",
            ["file", "outcome", *TERMS],
            [[Path(r["file"]).name, r["verdict"], *(r[t] for t in TERMS)] for r in results],
            right=TERMS,
        )
        for result in results:
            if result.get("reason"):
                note(f"{result['file']}: {result['reason']}")
        if total["quarantined"]:
            note(f"{total['quarantined']:,} records are in quarantine. See: weftline quarantine list --feed {feed}")
    if any(result["verdict"] in {"refused", "unreadable", "vanished", "changed"} for result in results):
        raise typer.Exit(1)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the datasets.")],
    fabric: FabricOption = None,
    purpose: Annotated[str, typer.Option(help="Why you read; kept with the decision.")] = "local query",
    format: Annotated[str, typer.Option("--format", help="table, json, csv, arrow or parquet.")] = "table",  # noqa: A002
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to read.")] = 1_000_000,
) -> None:
    """Run one SELECT through the one door."""
    checked_format(format, ("table", *FORMATS))
    if format in {"arrow", "parquet"} and out is None and sys.stdout.isatty():
        raise UsageError(place="--format", found=f"{format} to a terminal", expected="--out FILE")
    with reach(folder_of(fabric)) as folder:
        table = folder.query(sql, purpose, limit)
    if format == "table":
        _show(table)
        return
    if out is not None:
        with out.open("wb") as stream:
            write_table(table, format, stream)
        note(f"{table.num_rows:,} rows in {out}")
        return
    write_table(table, format, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def ledger(
    feed: Annotated[str, typer.Argument(help="Feed; default all.")] = "",
    fabric: FabricOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Recount from data, quarantine and spool.")] = False,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> None:
    """Show the ledger: received = stored + quarantined + duplicate + ignored + expired + waiting."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        rows = folder.call("ledger", feed=feed)
        findings = folder.call("verify") if verify else []
    if feed:
        findings = [item for item in findings if item["feed"] == feed]
    if format == "json":
        total = {term: sum(int(row[term] or 0) for row in rows) for term in TERMS}
        emit({"total": total, "feeds": rows, **({"verified": not findings, "findings": findings} if verify else {})})
    else:
        say(
            "",
            ["feed", *TERMS, "balanced"],
            [[row["feed"], *(row[t] for t in TERMS), _verdict(row)] for row in rows],
            right=TERMS,
        )
        for item in findings:
            counted = f"{item['counted']} {item['term']} counted again"
            note(f"feed {item['feed']}: {counted}, the ledger says {item['told']} [ledger-mismatch]")
        if verify and not findings:
            note("verified: data, quarantine, checkpoints and spool agree with the ledger")
    if findings:
        raise typer.Exit(1)


def status(fabric: FabricOption = None, format: FormatOption = "table") -> None:  # noqa: A002 - the option's name
    """Show feeds by state and what needs a person."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("status")
    if format == "json":
        emit(found)
        return
    note(f"{found['fabric']}: {found['feeds']} feeds, commit {found['commit_seq']}")
    say("", ["state", "feeds"], sorted(found["states"].items()), right=["feeds"])
    rows = [[item["severity"], item["title"], item["detail"], item["next_step"]] for item in found["attention"]]
    say("needs a person", ["severity", "what", "detail", "next step"], rows)


def doctor(fabric: FabricOption = None, format: FormatOption = "table") -> None:  # noqa: A002 - the option's name
    """Look at the parts of the fabric and say what to do."""
    checked_format(format)
    with reach(folder_of(fabric)) as folder:
        found = folder.call("doctor")
    if format == "json":
        emit(found)
    else:
        say("", ["subject", "verdict", "detail", "next step"], [list(item.values()) for item in found])
    if any(item["verdict"] == "failed" for item in found):
        raise typer.Exit(1)


def _move(bar: Progress, task: TaskID, done: int, size: int) -> None:
    bar.update(task, completed=done, total=max(size, 1))


def _verdict(row: dict[str, Any]) -> str:
    return {True: "yes", False: "NO", None: "unknown"}[row["balanced"]]


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _show(table: pa.Table) -> None:
    shown = table.slice(0, SHOWN_ROWS)
    numbers = [
        field.name for field in table.schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    rows = [["" if value is None else value for value in row.values()] for row in shown.to_pylist()]
    say("", table.column_names, rows, right=numbers)
    if table.num_rows > SHOWN_ROWS:
        note(f"{table.num_rows:,} rows, the first {SHOWN_ROWS} shown; use --format csv or --out")
