"""A small fabric on a real lake, spool and control database, opened in this process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weftline.service.operations import Operations
from weftline.service.wiring import Fabric, open_fabric

CONTRACT = """
    apiVersion: v3.1.0
    kind: DataContract
    id: reading
    version: {version}
    status: active
    schema:
      - name: reading
        physicalName: reading
        customProperties:
          - property: eventTime
            value: measured_at
        properties:
          - name: id
            logicalType: string
            required: true
            unique: {unique}
            customProperties:
              - property: uniqueScope
                value: dataset
          - name: measured_at
            logicalType: timestamp
            transformLogic: at
          - name: temperature
            logicalType: number
            logicalTypeOptions:
              maximum: {maximum}
            customProperties:
              - property: unit
                value: CEL
              - property: sourceUnit
                value: {{field: unit}}
            transformLogic: temperature
        quality:
          - type: library
            metric: rowCount
            mustBeGreaterThan: {least}
"""
FEED = """
    name: {name}
    connection: {connection}
    select: {select}
    format: {format}
    contract: reading@{version}
    mode: {mode}
"""


def write(folder: Path, place: str, text: str) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


class Shop:
    """One fabric folder and whatever is open on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fabric: Fabric | None = None
        write(folder, "fabric.yaml", "name: shop\n")
        write(folder, "connections/drop.yaml", "name: drop\nkind: files\npath: data\n")
        write(folder, "connections/push.yaml", "name: push\nkind: http\n")
        self.contract()

    def contract(self, version: str = "1.0.0", maximum: int = 100, unique: str = "false", least: int = 0) -> None:
        text = CONTRACT.format(version=version, maximum=maximum, unique=unique, least=least)
        write(self.folder, f"contracts/reading-{version}.odcs.yaml", text)

    def feed(
        self,
        name: str = "oven",
        connection: str = "drop",
        mode: str = "enforce",
        version: str = "1.0.0",
        codec: str = "ndjson",
        more: str = "",
    ) -> None:
        select = '{path: "' + name + '*"}' if connection == "drop" else "{}"
        text = FEED.format(
            name=name, connection=connection, select=select, format="{codec: " + codec + "}", mode=mode, version=version
        )
        write(self.folder, f"feeds/{name}.yaml", textwrap.dedent(text) + more)

    def open(self) -> Operations:
        self.close()
        self.fabric = open_fabric(self.folder)
        return Operations(self.fabric)

    def close(self) -> None:
        if self.fabric is not None:
            self.fabric.close()
            self.fabric = None

    def file(self, name: str, *lines: str) -> str:
        path = self.folder / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines))
        return str(path)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "shop")
    yield made
    made.close()


@pytest.fixture
def terms() -> Callable[[dict[str, object]], dict[str, object]]:
    """Keep the ledger terms that are not zero."""
    names = ("received", "stored", "quarantined", "duplicate", "ignored", "expired", "waiting")
    return lambda result: {name: result[name] for name in names if result[name]}
