"""Drop the suppliers' files, and the log of the machining centre, into their folders, from a process of its own.

    python -m weftline.testing.world.suppliers --folder demo --seed 1 --log sent.jsonl

A file is written under another name and renamed, so that it is there whole or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from weftline.testing.world.documents import Drop, supplier_files
from weftline.testing.world.fabric import drop_folder
from weftline.testing.world.pacing import SentLog, Stop, arguments, play, played

__all__ = ["drop_file", "main"]


def drop_file(folder: Path, drop: Drop, log: SentLog) -> None:
    """Write one file atomically and log it."""
    target = drop_folder(folder, drop.folder) / drop.name
    part = target.with_name(f"{drop.name}.part")
    part.write_bytes(drop.content)
    part.replace(target)
    row = {"feed": drop.feed, "file": drop.name, "sha256": sha256(drop.content).hexdigest(), "records": drop.records}
    log.add([row])


def main(given: Sequence[str] | None = None) -> int:
    """Drop files until told to stop."""
    parser = arguments("suppliers", "Drop the files of the demo world's suppliers.")
    parser.add_argument("--folder", type=Path, required=True, help="fabric folder of the demo world")
    options = parser.parse_args(given)
    chosen = played(options)
    stop = Stop(options)
    log = SentLog(Path(options.log) if options.log else None)
    play(supplier_files(chosen), lambda drop: drop_file(options.folder, drop, log), stop, chosen.start_ms)
    log.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
