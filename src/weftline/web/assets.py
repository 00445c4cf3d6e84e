"""Static files of the package under one content hash, so that a browser may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["DIGEST", "STATIC", "asset_url", "serve"]

STATIC = Path(__file__).parent / "static"
TEXT = {".css", ".js", ".svg", ".txt"}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
HIDDEN = {".toml", ".LICENSE"}


class Asset(NamedTuple):
    """One file as it goes on the wire."""

    type: str
    plain: bytes
    packed: bytes


def _digest() -> str:
    whole = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file() and path.suffix not in HIDDEN:
            whole.update(path.relative_to(STATIC).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


DIGEST = _digest()
"""One hash over all files: relative imports and CSS urls inside the tree keep working."""


@cache
def _load() -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for path in STATIC.rglob("*"):
        if path.is_file() and path.suffix not in HIDDEN:
            data = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            packed = gzip.compress(data, 9, mtime=0) if path.suffix in TEXT else b""
            charset = "; charset=utf-8" if path.suffix in TEXT else ""
            found[path.relative_to(STATIC).as_posix()] = Asset(kind + charset, data, packed)
    return found


def asset_url(name: str) -> str:
    """Return the hashed URL of a static file; a file that does not exist is a programming error."""
    if name not in _load():
        raise KeyError(name)
    return f"/static/{DIGEST}/{name}"


async def serve(request: Request) -> Response:
    """Answer a static file; one of another build is found too, but not kept."""
    asset = _load().get(request.path_params["path"])
    if asset is None:
        return PlainTextResponse("This file does not exist in this version.", 404)
    current = request.path_params["digest"] == DIGEST
    headers = {
        "Content-Type": asset.type,
        "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if asset.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.plain, headers=headers)
