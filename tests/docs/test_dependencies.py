"""docs/dependencies.md lists exactly what pyproject.toml asks for, and nothing installed is under GPL or AGPL."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ([a-z0-9-]+) \| ([^|]+) \| ([^|]+) \| ([0-9.]+) \|$", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9._-]+")
SPDX = {"MIT License": "MIT OR Apache-2.0"}  # uvloop's free text; its classifiers name both
FORBIDDEN = re.compile(r"(?<!L)(A?GPL|General Public License)", re.IGNORECASE)


def listed() -> dict[str, dict[str, tuple[str, str, float]]]:
    sections: dict[str, dict[str, tuple[str, str, float]]] = {}
    for part in re.split(r"^## ", (ROOT / "docs" / "dependencies.md").read_text(), flags=re.MULTILINE)[1:]:
        rows = {name: (why.strip(), licence.strip(), float(size)) for name, why, licence, size in ROW.findall(part)}
        sections[part.partition("\n")[0]] = rows
    return sections


def asked(requirements: list[str]) -> set[str]:
    return {NAME.match(text)[0].lower() for text in requirements}


def licence_of(found: Distribution) -> str:
    text = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    classes = [line.rpartition(":: ")[2] for line in found.metadata.get_all("Classifier") or [] if "License ::" in line]
    return f"{text.splitlines()[0] if text else ''} {' '.join(classes)}".strip()


def test_the_page_lists_the_packages_of_the_project_and_no_others() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sections = listed()
    base = asked(project["project"]["dependencies"])
    extras = {name for group in project["project"]["optional-dependencies"].values() for name in asked(group)}
    assert set(sections["Base"]) == base
    assert set(sections["Extras"]) == extras
    assert set(sections["Development and tests"]) == asked(project["dependency-groups"]["dev"]) - base - extras


@pytest.mark.parametrize("name", sorted(name for rows in listed().values() for name in rows))
def test_a_listed_package_has_that_licence_and_about_that_size(name: str) -> None:
    why, licence, size = next(rows[name] for rows in listed().values() if name in rows)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.fail(f"{name} is listed and not installed: run make .venv/.installed")
    told = licence_of(found)
    assert why
    words = set(re.findall(r"[A-Za-z]{3,}", SPDX.get(licence, licence))) - {"AND"}
    assert words & set(re.findall(r"[A-Za-z]{3,}", told)), f"{name} says {told}"
    paths = [place.locate() for place in found.files or [] if "__pycache__" not in str(place)]
    measured = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    assert measured / 2 <= size <= measured * 2 or abs(measured - size) < 0.2, f"{name} takes {measured:.1f} MB"


def test_nothing_installed_is_under_gpl_or_agpl() -> None:
    told = {found.name: licence_of(found) for found in distributions()}
    bad = {name: text for name, text in told.items() if FORBIDDEN.search(text) and not re.search(r"\bOR\b", text)}
    assert bad == {}
