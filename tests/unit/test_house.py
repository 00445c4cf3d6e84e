"""The house rules that a machine can see: layers, lengths, names, who may import what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "weftline"
MODULES = sorted(SOURCE.rglob("*.py"))
LAYERS = [
    {"errors", "clock", "failpoint"},
    {"batch", "model", "document", "document_schema"},
    {"contracts", "audit"},
    {"codecs", "protocols", "spool", "store"},
    {"fabric", "connectors", "ingest", "lineage", "incidents"},
    {"quality", "governance", "analysis", "security", "programme", "alerts"},
    {"edge", "service"},
    {"api", "web"},
    {"testing", "cli"},  # cli composes the faces and runs the demo and the benchmarks that testing ships
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Codecs cut files for the files connector; the road decodes with them. Both are declared in DESIGN §4 and §5.
NAMELESS = {"utils", "helpers", "manager", "common", "misc"}
STORE_ONLY = {"duckdb", "sqlalchemy", "alembic"}


def room(path: Path) -> str:
    """Return the package or module directly below weftline."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> list[tuple[str, int]]:
    """Return every module name a file imports, wherever the import stands, with its line."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, node.lineno))
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names if node.module == "weftline"]
    return found


def test_every_room_stands_in_the_layer_list() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= set(LEVEL), f"not in LAYERS: {sorted(rooms - set(LEVEL))}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_to_the_left(path: Path) -> None:
    here = room(path)
    if here in {"__init__", "__main__"}:
        return
    wrong = []
    for name, line in imported(path):
        parts = name.split(".")
        if parts[0] != "weftline" or len(parts) < 2 or parts[1] not in LEVEL or parts[1] == here:
            continue
        same_layer_packages = LEVEL[parts[1]] == LEVEL[here] and 1 < LEVEL[here] < len(LAYERS) - 1
        if LEVEL[parts[1]] > LEVEL[here] or same_layer_packages:
            wrong.append(f"line {line}: {here} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_store_talks_to_databases(path: Path) -> None:
    if room(path) == "store":
        return
    wrong = [f"line {line}: {name}" for name, line in imported(path) if name.split(".")[0] in STORE_ONLY]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_are_short_and_named(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 600, f"{lines} lines"
    assert path.stem not in NAMELESS
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} at line {node.lineno} has {length} lines"


def test_connectors_never_see_another_connector() -> None:
    folder = SOURCE / "connectors"
    kinds = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    wrong = []
    for path in folder.rglob("*.py"):
        here = path.relative_to(folder).parts[0]
        for name, line in imported(path):
            parts = name.split(".")
            if (
                parts[:2] == ["weftline", "connectors"]
                and len(parts) > 2
                and parts[2] in kinds - {here}
                and here in kinds
            ):
                wrong.append(f"{path.name}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_swallowed() -> None:
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and all(
                isinstance(stmt, ast.Pass | ast.Continue) for stmt in node.body
            ):
                wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


SELECTS = {"service/reading.py"}
"""The one door: nothing else asks the lake for rows that a reader will see."""
SCANS = {
    "service/wiring.py",  # set rules' counts at start
    "service/books.py",  # the ledger
    "service/pushes.py",  # identities of pushes, so that a repeat is known
    "service/receipts.py",  # outcomes of one push; `found` goes to its sender only (api/routes_road.py)
    "service/replays.py",  # originals, back onto the road
    "service/road_view.py",  # ages of feeds; equipment that stands still
}
"""Modules outside store, ingest and testing that read operational tables past the door, and what for."""


def asks(path: Path, verb: str) -> list[int]:
    """Return the lines that call `verb` on a lake, or on the door's rows."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == verb:
            holder = node.func.value
            name = (
                holder.id if isinstance(holder, ast.Name) else holder.attr if isinstance(holder, ast.Attribute) else ""
            )
            if name.lstrip("_") in {"lake", "rows", "reads"}:
                found.append(node.lineno)
    return found


def test_rows_leave_through_one_door() -> None:
    selects, scans = set(), set()
    for path in MODULES:
        place = str(path.relative_to(SOURCE))
        if room(path) not in {"store", "testing"} and asks(path, "select"):
            selects.add(place)
        if room(path) not in {"store", "testing", "ingest"} and asks(path, "scan"):
            scans.add(place)
    assert selects == SELECTS
    assert scans == SCANS
