"""Drop files as senders do: well and badly. Every file made is a function of its arguments."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["Dropper", "ndjson", "zip_bomb", "zipped"]


def ndjson(numbers: Iterable[int], **fields: object) -> bytes:
    """Return one JSON object a line, each with its number in `n`."""
    return b"".join(json.dumps({"n": number, **fields}).encode() + b"\n" for number in numbers)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_bomb(expanded: int) -> bytes:
    """Return a small zip archive whose one member has `expanded` zero bytes."""
    return zipped({"bomb.ndjson": bytes(expanded)})


class Dropper:
    """Put files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, name: str) -> Path:
        """Return where a name lies, making its folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def drop(self, name: str, content: bytes) -> Path:
        """Write under a name that is passed over, then rename: the file appears whole."""
        path = self.place(name)
        partial = path.with_name(f"{path.name}.part")
        partial.write_bytes(content)
        return partial.replace(path)

    def drop_gzip(self, name: str, content: bytes) -> Path:
        """Drop content compressed."""
        return self.drop(name, gzip.compress(content, mtime=0))

    def drop_large(self, name: str, line: bytes, size: int) -> Path:
        """Drop a file of at least `size` bytes made of one line repeated."""
        return self.drop(name, line * (size // len(line) + 1))

    def drop_link(self, name: str, target: Path) -> Path:
        """Drop a symbolic link."""
        path = self.place(name)
        path.symlink_to(target)
        return path

    def drop_unreadable(self, name: str, content: bytes) -> Path:
        """Drop a file nobody may read (root may)."""
        path = self.drop(name, content)
        path.chmod(0)
        return path

    @contextmanager
    def growing(self, name: str) -> Iterator[BinaryIO]:
        """Write under the final name while the block runs, as careless senders do; what is written is there at once."""
        with self.place(name).open("ab", buffering=0) as file:
            yield file
