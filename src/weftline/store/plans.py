"""PlanRunner's interface: run SQL over Arrow in a locked in-memory instance that sees no lake table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa

__all__ = ["PlanRunnerLike"]


class PlanRunnerLike(Protocol):
    """Map Arrow to Arrow. One per ingest worker; not shared between threads."""

    def run(self, sql: str, inputs: Mapping[str, pa.Table]) -> pa.Table:
        """Run a plan prepared once per (sql, input schemas) over these inputs."""
        ...
