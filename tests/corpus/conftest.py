"""The real files of the corpus, and fabrics that take them in; skipped where there is no corpus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from weftline.service.operations import Operations
from weftline.service.wiring import Fabric, open_fabric

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def corpus() -> Path:
    place = Path(os.environ.get("WEFTLINE_CORPUS", ROOT.parent / "shared" / "data"))
    if not place.is_dir():
        pytest.skip(f"no corpus at {place}; set WEFTLINE_CORPUS to the folder of real files")
    return place


class Shop:
    """An example folder of this repository, copied, and the fabric open on it."""

    def __init__(self, folder: Path, fabric: Fabric) -> None:
        self.folder = folder
        self.fabric = fabric
        self.operations = Operations(fabric)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Callable[[str], Shop]]:
    """Return a function that opens a fresh copy of an example."""
    with ExitStack() as ends:
        made = 0

        def open_copy(name: str) -> Shop:
            nonlocal made
            made += 1
            folder = tmp_path / f"{name}-{made}"
            shutil.copytree(ROOT / "examples" / name, folder)
            fabric = open_fabric(folder)
            ends.callback(fabric.close)
            return Shop(folder, fabric)

        yield open_copy
