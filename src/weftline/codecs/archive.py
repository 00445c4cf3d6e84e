"""Open gzip and ZIP files within bounds: every member gives a stream or a reason, and no name leaves the folder.

Sources: RFC 1952 (gzip), PKWARE APPNOTE 6.3.10 (ZIP); the bounds are those of `Limits`.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from weftline.codecs.base import Limits
from weftline.errors import InputError

__all__ = ["ArchiveError", "Member", "compression_of", "members"]

NESTED = {".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".zst"}
SLACK = 16 << 20
"""Bytes a member may always have: small files of one repeated line shrink a thousandfold and are no bombs."""
BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, LookupError)


class ArchiveError(InputError):
    """Say why an archive or one of its members cannot be read; `kind` is the stable word of the outcome."""

    code = "archive"

    def __init__(self, kind: str, place: str, found: str, expected: str) -> None:
        super().__init__(place=place, found=found, expected=expected)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive: `stream` to read it, or `refusal` with the reason it is not read.

    Reading the stream raises ArchiveError when a bound is passed, the checksum is wrong or the data end early.
    """

    name: str
    stream: BinaryIO | None
    refusal: ArchiveError | None = None


def compression_of(path: Path, declared: str = "auto") -> str:
    """Return `gz`, `zip` or `none`. `auto` goes by the first bytes, and takes for ZIP only what is named so.

    Spreadsheets and other documents are ZIP files inside and stay whole.
    """
    if declared != "auto":
        return declared
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return "gz"
    return "zip" if magic in {b"PK\x03\x04", b"PK\x05\x06"} and path.suffix.lower() == ".zip" else "none"


def members(path: Path, limits: Limits, compression: str = "auto") -> Iterator[Member]:
    """Give the files in an archive in its order; a file that is no archive is its own one member.

    Directories are left out. A stream is valid until the next member is asked for. Raises ArchiveError where nothing of
    the archive can be read.
    """
    kind = compression_of(path, compression)
    if kind == "none":
        with path.open("rb") as file:
            yield Member(path.name, file)
    elif kind == "gz":
        yield from _gzip(path, limits)
    else:
        yield from _zip(path, limits)


def _gzip(path: Path, limits: Limits) -> Iterator[Member]:
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    if (reason := _name_refusal(path, name)) is not None:
        yield Member(name, None, reason)
        return
    with path.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as file:
        budget = _Budget(limits.expanded_bytes)
        most = max(path.stat().st_size * limits.expansion_ratio, SLACK)
        yield Member(name, io.BufferedReader(_Bounded(file, f"{path.name}", most, budget)))


def _zip(path: Path, limits: Limits) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN as error:
        raise ArchiveError(
            "archive-broken", path.name, f"no readable ZIP directory ({type(error).__name__})", "a whole ZIP file"
        ) from None
    with archive:
        parts = [part for part in archive.infolist() if not part.is_dir()]
        if len(parts) > limits.members:
            raise ArchiveError("limit-members", path.name, f"{len(parts)} members", f"at most {limits.members}")
        budget = _Budget(limits.expanded_bytes)
        seen: set[str] = set()
        for part in parts:
            refusal = _name_refusal(path, part.filename) or _part_refusal(path, part, seen)
            seen.add(part.filename)
            if refusal is not None:
                yield Member(part.filename, None, refusal)
                continue
            place = f"{path.name}/{part.filename}"
            try:
                file = archive.open(part)
            except BROKEN as error:
                found = f"a member that cannot be opened ({type(error).__name__})"
                yield Member(part.filename, None, ArchiveError("archive-broken", place, found, "a whole member"))
                continue
            with file:
                most = max(part.compress_size * limits.expansion_ratio, SLACK)
                yield Member(part.filename, io.BufferedReader(_Bounded(file, place, most, budget)))


def _name_refusal(path: Path, name: str) -> ArchiveError | None:
    """Return why a member's name may not be used, or nothing."""
    place = f"{path.name}/{name[:200]}"
    pure = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or ":" in name or pure.is_absolute() or ".." in pure.parts:
        return ArchiveError("archive-name", place, "a name that leads out of the archive", "a plain relative name")
    if pure.suffix.lower() in NESTED:
        return ArchiveError("archive-nested", place, "an archive inside an archive", "data files")
    return None


def _part_refusal(path: Path, part: zipfile.ZipInfo, seen: set[str]) -> ArchiveError | None:
    place = f"{path.name}/{part.filename[:200]}"
    if part.flag_bits & 0x1:
        return ArchiveError("archive-encrypted", place, "a member with a password", "an open one")
    if part.filename in seen:
        return ArchiveError("archive-twice", place, "a name the archive has twice", "each name once")
    return None


class _Budget:
    """Bytes all members of one archive may still give."""

    def __init__(self, left: int) -> None:
        self.left = left


class _Bounded(io.RawIOBase):
    """Count what comes out of a member and stop at its bounds; every fault of the source is one ArchiveError."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, place: str, most: int, budget: _Budget) -> None:
        super().__init__()
        self.file, self.place, self.most, self.budget = file, place, most, budget
        self.given = 0

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; raises ArchiveError."""
        try:
            data = self.file.read(len(buffer))
        except BROKEN as error:
            found = f"data that end early or do not match their checksum ({type(error).__name__})"
            raise ArchiveError("archive-broken", self.place, found, "a whole member") from None
        self.given += len(data)
        self.budget.left -= len(data)
        if self.given > self.most:
            raise ArchiveError("limit-expansion", self.place, f"more than {self.most} bytes after expansion", "fewer")
        if self.budget.left < 0:
            raise ArchiveError("limit-expanded-bytes", self.place, "more bytes in all than the limit", "fewer")
        buffer[: len(data)] = data
        return len(data)
