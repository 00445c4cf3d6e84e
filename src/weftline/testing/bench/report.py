"""What a benchmark says: each figure with its budget, its floor measured in the same run, and the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Figure", "Report", "machine"]

_PARTS = ("weftline", "duckdb", "pyarrow", "msgspec", "uvloop", "polars")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `least` or `most` is its budget; `floor` what stands beside it, in the same unit."""

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None
    floor: float | None = None
    floor_name: str = ""
    least_ratio: float | None = None
    """Budget stated as a share of the floor."""

    @property
    def ratio(self) -> float | None:
        """Return our figure over the floor."""
        return round(self.value / self.floor, 3) if self.floor else None

    @property
    def budget(self) -> str:
        """Return the budget in words, empty where DESIGN §12 states none."""
        if self.least is not None:
            return f"≥ {self.least:,g} {self.unit}"
        if self.most is not None:
            return f"< {self.most:,g} {self.unit}"
        return f"≥ {self.least_ratio:g} of the floor" if self.least_ratio is not None else ""

    @property
    def met(self) -> bool | None:
        """Tell whether the budget is kept, None where there is none."""
        if self.least is not None:
            return self.value >= self.least
        if self.most is not None:
            return self.value < self.most
        if self.least_ratio is not None and self.ratio is not None:
            return self.ratio >= self.least_ratio
        return None


@dataclass(slots=True)
class Report:
    """One run of one benchmark."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machine: Mapping[str, Any] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def plain(self) -> dict[str, Any]:
        """Return JSON types."""
        figures = [
            {**asdict(each), "ratio": each.ratio, "budget": each.budget, "met": each.met} for each in self.figures
        ]
        return {**asdict(self), "machine": dict(self.machine), "figures": figures}


def machine() -> dict[str, Any]:
    """Describe the machine, its load now, and the versions that matter."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
    }
    for name in _PARTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "commit": _commit()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8").splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
