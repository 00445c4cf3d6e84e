"""Write the fabric folder of the demo world: documents kept beside this module, and tables made from the plants."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import urlsplit

from weftline.errors import ConflictError, NotFoundError
from weftline.testing.world.partners import CARRIERS, SUPPLIERS
from weftline.testing.world.plant import CNC_FOLDER, Line, Tag, tags

__all__ = ["PUSH_FEEDS", "WorldMissingError", "drop_folder", "move_broker", "read_world", "world_file", "write_world"]

PUSH_FEEDS: tuple[str, ...] = tuple(carrier.feed for carrier in CARRIERS)
"""Feeds that need an API key each (scope `feed:<name>`)."""
_COLUMNS = ("site", "line", "tag", "equipment", "unit", "low", "high")


class WorldExistsError(ConflictError):
    """Refuse to write the demo world into a folder that holds something else."""

    code = "world-exists"


class WorldMissingError(NotFoundError):
    """Say that a folder holds no demo world."""

    code = "world-missing"


def world_file(folder: Path) -> Path:
    """Return the file that says what was written: seed, ports, address."""
    return folder / "data" / "world" / "world.json"


def drop_folder(folder: Path, name: str) -> Path:
    """Return the drop folder of a supplier, or of the machining centre's log."""
    return folder / "data" / "drop" / name


def write_world(folder: Path, *, mqtt_port: int, http_base: str, seed: int) -> None:
    """Write the demo world's fabric folder, or bring ports and seed of an existing one up to date.

    `http_base` is the server's address, as http://127.0.0.1:8420. Documents a person has changed stay as they are; only
    the instance tables, the connections of the brokers and the listen port are written anew. Raises `WorldExistsError`
    where the folder holds another fabric.
    """
    known = world_file(folder).exists()
    if not known and (folder / "fabric.yaml").exists():
        raise WorldExistsError(
            place=str(folder),
            found="another fabric",
            expected="an empty folder or a demo world",
            next_step="Give the demo a folder of its own.",
        )
    words = {"@MQTT_PORT@": str(mqtt_port), "@HTTP_PORT@": str(urlsplit(http_base).port or 8420)}
    for place, text in _documents(files("weftline.testing") / "world" / "folder", ""):
        target = folder / place
        if any(word in text for word in words) or not target.exists():
            for word, value in words.items():
                text = text.replace(word, value)  # noqa: PLW2901 - the text is filled in
            _write(target, text)
    listed = [(line, tag) for line, tag in tags() if not tag.plain]
    _write(folder / "templates" / "line-signals.csv", _table(listed, contract=True))
    plain = [(line, tag) for line, tag in tags() if tag.plain]
    _write(folder / "templates" / "plain-signals.csv", _table(plain, contract=False))
    for name in (*(supplier.name for supplier in SUPPLIERS), CNC_FOLDER):
        drop_folder(folder, name).mkdir(parents=True, exist_ok=True)
    _write(world_file(folder), json.dumps({"seed": seed, "mqtt_port": mqtt_port, "http_base": http_base}) + "\n")


def read_world(folder: Path) -> dict[str, object]:
    """Return what `write_world` noted; raises `WorldMissingError`."""
    try:
        found: dict[str, object] = json.loads(world_file(folder).read_text("utf-8"))
    except FileNotFoundError as error:
        raise WorldMissingError(
            place=str(folder), found="no demo world", expected="a folder of write_world", next_step="Write it first."
        ) from error
    return found


def move_broker(folder: Path, mqtt_port: int) -> None:
    """Let the broker of an existing world listen elsewhere; to be called before the folder is loaded."""
    known = read_world(folder)
    write_world(folder, mqtt_port=mqtt_port, http_base=str(known["http_base"]), seed=int(str(known["seed"])))


def _documents(place: Traversable, path: str) -> Iterable[tuple[str, str]]:
    for item in sorted(place.iterdir(), key=lambda item: item.name):
        here = f"{path}/{item.name}" if path else item.name
        if item.is_dir():
            yield from _documents(item, here)
        else:
            yield here, item.read_text("utf-8")


def _table(rows: Iterable[tuple[Line, Tag]], *, contract: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_COLUMNS, "contract", "cadence") if contract else (*_COLUMNS, "cadence"))
    for line, tag in rows:
        cells = [line.site, line.name, tag.name, line.equipment, tag.unit, tag.low, tag.high]
        writer.writerow([*cells, *([tag.contract] if contract else []), "5s"])
    return out.getvalue()


def _write(target: Path, text: str) -> None:
    """Write a document whole or not at all, and only where it differs, so that times of change mean something."""
    if target.exists() and target.read_text("utf-8") == text:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_text(text, "utf-8")
    part.replace(target)
