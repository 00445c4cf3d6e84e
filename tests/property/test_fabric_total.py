"""Any bytes in any file of a fabric folder give complaints, never an exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from weftline.fabric import ConnectorModel, Plugins, load
from weftline.fabric.scaffold import init


class Options(msgspec.Struct, forbid_unknown_fields=True):
    path: str


class Csv(msgspec.Struct, forbid_unknown_fields=True):
    delimiter: str = ","


PLUGINS = Plugins({"files": ConnectorModel(Options, Options)}, {"csv": Csv})
FILES = [
    "fabric.yaml",
    "contracts/press-readings.odcs.yaml",
    "connections/north-drop.yaml",
    "templates/presses.yaml",
    "templates/presses.csv",
    "sites/north.yaml",
]


@given(st.sampled_from(FILES), st.data())
def test_a_damaged_folder_is_complained_about_or_fine(name: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        init(folder, "two-plants")
        path = Path(folder) / name
        whole = path.read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, min(len(whole), start + 40)))
        marks = st.sampled_from(
            [b"\n", b"{", b"}", b"[", b"'", b'"', b": ", b"- ", b"\t", b"{press}", b"&a ", b"*a", b"7", b","]
        )
        middle = data.draw(st.one_of(st.binary(max_size=20), st.lists(marks, max_size=6).map(b"".join)))
        path.write_bytes(whole[:start] + middle + whole[end:])
        found = load(folder, PLUGINS)
        assert (found.spec is None) == bool(found.complaints)
        for item in found.complaints:
            assert item.code
            assert "\n" not in item.sentence()
