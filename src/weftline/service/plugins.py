"""What is installed, as the fabric folder needs it; and the whole check of a folder, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weftline.codecs import registry as codecs
from weftline.connectors import registry as connectors
from weftline.contracts.compile import compile_contract
from weftline.contracts.plan import ObjectPlan
from weftline.errors import Complaint, InputError
from weftline.fabric import ConnectorModel, Folder, Plugins, discover, load
from weftline.model.builtin import BUILTIN
from weftline.model.dataset import Column, DatasetSpec

__all__ = ["Checked", "FolderInvalidError", "check_folder", "plugins"]


WARNINGS = frozenset({"contract-dataset-scope"})
"""Codes of findings that a person should know and may accept."""


class FolderInvalidError(InputError):
    """Carry every complaint of a folder that does not pass `check`."""

    code = "folder-invalid"

    def __init__(self, path: Path, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(complaints)
        first = self.complaints[0]
        more = f" and {len(self.complaints) - 1} more" if len(self.complaints) > 1 else ""
        super().__init__(
            place=str(path),
            found=f"{first.sentence()}{more}",
            expected="a folder that passes check",
            next_step="Run: weftline check",
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A folder with everything that is wrong with it, its compiled contracts and its datasets."""

    folder: Folder
    complaints: tuple[Complaint, ...]
    warnings: tuple[Complaint, ...]
    """Findings that keep nothing from running."""
    plans: dict[tuple[str, str], tuple[ObjectPlan, ...]]
    datasets: tuple[DatasetSpec, ...]


def plugins() -> Plugins:
    """Return connectors, codecs and document kinds that are installed."""
    found = connectors.connectors()
    return Plugins(
        connectors={
            kind: ConnectorModel(made.options, made.selector, made.check, made.summary) for kind, made in found.items()
        },
        codecs={name: codecs.options_of(name) for name in codecs.names()},
        kinds=discover(),
    )


def check_folder(path: Path, installed: Plugins | None = None) -> Checked:
    """Load a folder, compile its contracts and compare the datasets they write; no network is touched."""
    folder = load(path, installed or plugins())
    complaints = list(folder.complaints)
    plans: dict[tuple[str, str], tuple[ObjectPlan, ...]] = {}
    contracts = {}
    for reading in folder.documents.get("contract", ()):
        contract = reading.value
        if contract is None:
            continue
        compiled, found = compile_contract(contract)
        complaints += found
        plans[contract.id, contract.version] = tuple(compiled)
        contracts[contract.id, contract.version] = contract.place
    datasets, found = _datasets(plans, contracts)
    complaints += found
    unique = sorted(dict.fromkeys(complaints), key=lambda item: (item.place, item.line, item.column, item.code))
    wrong = tuple(item for item in unique if item.code not in WARNINGS)
    warnings = tuple(item for item in unique if item.code in WARNINGS)
    return Checked(folder, wrong, warnings, plans, datasets)


def _datasets(
    plans: dict[tuple[str, str], tuple[ObjectPlan, ...]], places: dict[tuple[str, str], str]
) -> tuple[tuple[DatasetSpec, ...], list[Complaint]]:
    """Take each dataset's columns from its contracts, the highest version last; columns must agree in type and unit."""
    complaints: list[Complaint] = []
    columns: dict[str, dict[str, Column]] = {}
    writers: dict[str, list[str]] = {}
    for key in sorted(plans, key=lambda item: (item[0], _version(item[1]))):
        for plan in plans[key]:
            reference = f"{key[0]}@{key[1]}"
            writers.setdefault(plan.dataset, []).append(reference)
            if plan.dataset in BUILTIN:
                continue
            held = columns.setdefault(plan.dataset, {})
            for column in plan.columns:
                before = held.get(column.name)
                if before is not None and (before.type, before.unit) != (column.type, column.unit):
                    complaints.append(_differs(places[key], plan.dataset, before, column))
                held[column.name] = column
    made = [
        DatasetSpec(name, tuple(found.values()), contracts=tuple(writers[name]))
        for name, found in sorted(columns.items())
    ]
    builtin = [
        DatasetSpec(
            spec.name, spec.columns, spec.description, builtin=True, contracts=tuple(writers.get(spec.name, ()))
        )
        for spec in BUILTIN.values()
    ]
    return (*made, *builtin), complaints


def _differs(place: str, dataset: str, before: Column, column: Column) -> Complaint:
    return Complaint(
        "dataset-column-differs",
        place,
        f"column '{column.name}' of dataset '{dataset}' as {column.type} {column.unit}".rstrip(),
        f"{before.type} {before.unit}".rstrip() + ", as another contract writes it",
        "Write another dataset, or agree on type and unit.",
    )


def _version(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in text.replace("-", ".").split("."))
