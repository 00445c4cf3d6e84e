"""Run one connector over a durable road double in a process of its own, to be killed: KIND FOLDER VARIANT."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from weftline.connectors.registry import connector
from weftline.testing.conformance import bench_of
from weftline.testing.road_double import RoadDouble

__all__ = ["main"]


async def serve(kind: str, folder: Path, variant: str) -> None:
    """Run the source until the process is ended."""
    road = RoadDouble(folder / "road")
    bench = bench_of(kind, folder / "source", variant)
    source = connector(kind).open(bench.connection(), bench.feeds(), road)
    task = asyncio.create_task(source.run())
    await bench.attach(source, road)
    await task


def main() -> None:
    """Read the command line and serve."""
    kind, folder, variant = sys.argv[1:4]
    asyncio.run(serve(kind, Path(folder), variant))


if __name__ == "__main__":
    main()
