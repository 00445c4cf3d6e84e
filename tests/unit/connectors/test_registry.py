"""Connectors are found by name, loaded one by one, and never replace one another silently."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from weftline.connectors import registry
from weftline.connectors.registry import connector, connectors, kinds
from weftline.errors import WeftlineError
from weftline.testing.connector_manual import manual, manual_path

DOCS = Path(__file__).resolve().parents[3] / "docs"


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, registry.GROUP)


def test_built_in_connectors_are_there_and_say_their_kind() -> None:
    assert set(registry.BUILT_IN) <= set(kinds())
    assert {one.kind for one in connectors().values()} == set(kinds())


def test_a_second_package_for_a_kind_is_refused_and_the_same_one_is_not() -> None:
    same = point("files", registry.BUILT_IN["files"])
    assert registry.gather([same, point("opcua", "a:B")])["opcua"] == "a:B"
    with pytest.raises(WeftlineError, match="elsewhere:Files") as refused:
        registry.gather([point("files", "elsewhere:Files")])
    assert refused.value.code == "connector-conflict"


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(WeftlineError, match="Did you mean 'files'") as refused:
        connector("file")
    assert refused.value.code == "connector-unknown"


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "kinds", lambda: {"broken": "weftline.no_such_module:Thing"})
    with pytest.raises(WeftlineError, match="no_such_module") as refused:
        connector("broken")
    assert refused.value.code == "connector-broken"


def test_manuals_are_current_beside_the_code_and_in_the_docs() -> None:
    for kind in registry.BUILT_IN:
        page = manual(connector(kind))
        assert manual_path(connector(kind)).read_text() == page, f"{kind}: run python tools/connector_docs.py"
        assert (DOCS / "connectors" / f"{kind}.md").read_text() == page, f"{kind}: run python tools/connector_docs.py"


@pytest.mark.parametrize(
    ("page", "folders"), [("spool", ["spool"]), ("connectors", ["connectors/files", "connectors/http"])]
)
def test_every_code_has_its_heading(page: str, folders: list[str]) -> None:
    source = DOCS.parent / "src" / "weftline"
    text = "\n".join(path.read_text() for folder in folders for path in (source / folder).glob("*.py"))
    if page == "connectors":
        text += (source / "connectors" / "registry.py").read_text()
    codes = set(re.findall(r'^    code = "([a-z-]+)"', text, re.MULTILINE))
    codes |= set(re.findall(r'Complaint\(\s*"([a-z-]+)"', text))
    headings = set(re.findall(r"^## ([a-z-]+)$", (DOCS / "errors" / f"{page}.md").read_text(), re.MULTILINE))
    assert codes
    assert codes <= headings, f"no heading: {sorted(codes - headings)}"
