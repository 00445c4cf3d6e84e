"""Write each connector's manual from its options models: README.md beside the code and docs/connectors/<kind>.md."""

from __future__ import annotations

import sys
from pathlib import Path

from weftline.connectors.registry import BUILT_IN, connectors
from weftline.testing.connector_manual import manual, manual_path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "connectors"


def main() -> int:
    """Write the pages; with --check write nothing and return 1 where one is not current."""
    stale = []
    for kind, connector in connectors().items():
        if kind not in BUILT_IN:
            continue  # another package's own matter
        page = manual(connector)
        for path in (manual_path(connector), FOLDER / f"{kind}.md"):
            if path.exists() and path.read_text() == page:
                continue
            stale.append(path)
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(page)
    for path in stale:
        print(f"{'not current' if '--check' in sys.argv else 'written'}: {path}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
