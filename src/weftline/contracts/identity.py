"""Content identity of a document: what a published version may not change.

The canonical form is the data as JSON with sorted keys and whole numbers without a fraction, after the schema has typed
every scalar. Key order, comments, quoting, line ends and the choice of YAML or JSON do not change it. Every value does,
descriptions too: a reader relies on the words that were published. List order counts, it is the order of columns.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

__all__ = ["canonical", "content_hash"]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def canonical(data: Any) -> bytes:
    """Return the canonical form of plain data as UTF-8."""
    text = json.dumps(_plain(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def content_hash(data: Any) -> str:
    """Return sha256 of the canonical form, hexadecimal."""
    return sha256(canonical(data)).hexdigest()
