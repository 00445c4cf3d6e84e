"""Write docs/weftline-sql.md from the compiler's tables."""

from __future__ import annotations

from pathlib import Path

from weftline.contracts.dialect_reference import reference

if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "weftline-sql.md"
    page.write_text(reference(), encoding="utf-8")
    print(f"wrote {page}")
