"""The bench of the files connector: a drop folder and a dropper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from weftline.batch import Frame
from weftline.codecs.json_codec import NdjsonCodec
from weftline.connectors.base import Road, Source
from weftline.connectors.files.options import FilesOptions, FilesSelector
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.testing.dropper import Dropper, ndjson

__all__ = ["Bench"]


class Bench:
    """Drop numbers as NDJSON files."""

    kind: ClassVar[str] = "files"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drop = folder / "drop"
        self._away = folder / "away"
        self._dropper = Dropper(self._drop)
        self._sent = 0

    def connection(self) -> ConnectionSpec:
        """Return the drop folder."""
        options = FilesOptions(path="drop", poll_seconds=0.05, settle_seconds=0.0)
        return ConnectionSpec("bench", "files", options, str(self._folder))

    def feeds(self) -> Sequence[FeedSpec]:
        """Return two feeds of one folder each."""
        return [
            FeedSpec(
                name=name,
                connection="bench",
                kind="files",
                selector=FilesSelector(path=f"{name}/*"),
                codec="ndjson",
                codec_options=NdjsonCodec.options(),
                contract="bench",
                version="1.0.0",
                id=number,
            )
            for number, name in enumerate(("one", "other"), 1)
        ]

    async def start(self) -> None:
        """Make the folder."""
        self._drop.mkdir(parents=True)

    async def attach(self, source: Source, road: Road) -> None:
        """Need nothing."""

    async def detach(self) -> None:
        """Need nothing."""

    async def send(self, feed: str, numbers: Sequence[int]) -> None:
        """Drop one file."""
        self._sent += 1
        self._dropper.drop(f"{feed}/{self._sent:06d}.ndjson", ndjson(numbers, feed=feed))

    async def send_again(self, feed: str, numbers: Sequence[int]) -> None:
        """Drop the same content under another name."""
        await self.send(feed, numbers)

    async def poison(self, feed: str) -> None:
        """Drop an archive that cannot be opened."""
        self._dropper.drop(f"{feed}/000000.zip", b"PK\x03\x04 and nothing that follows from it")

    async def cut(self) -> None:
        """Take the folder away, as an unmounted share."""
        self._drop.rename(self._away)

    async def mend(self) -> None:
        """Bring the folder back."""
        self._away.rename(self._drop)

    def acknowledged(self) -> set[int]:
        """Return the numbers in the archive."""
        folder = self._drop / ".archive"
        files = [path for path in folder.rglob("*.ndjson") if not path.name.startswith(".")]
        return {json.loads(line)["n"] for path in files for line in path.read_bytes().splitlines()}

    def numbers(self, frame: Frame) -> list[int]:
        """Return the numbers of a block."""
        return [json.loads(line)["n"] for line in frame.payload.splitlines()]

    async def close(self) -> None:
        """Need nothing."""
