"""The drop folder itself: what lies in it, what has settled, and where files go afterwards. Blocking; no road here."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from weftline.clock import Clock, from_micros
from weftline.connectors.files.globs import Glob, most_specific
from weftline.connectors.files.options import FilesOptions
from weftline.errors import Complaint

__all__ = ["DropFolder", "Found", "Look"]

UNFINISHED = (".part", ".tmp", ".temp", ".filepart", ".crdownload", ".partial", ".swp", "~")
"""Endings of names that senders use while they write."""


ARCHIVE_DAYS = 30
"""Days an archived file is kept where neither the connection nor a fabric says so."""


class Found(NamedTuple):
    """One file that has settled and belongs to a feed."""

    path: Path
    relative: str
    feed: str
    size: int
    modified: int  # nanoseconds, as the file system says


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the folder gave: files by feed, oldest first, and what can never be taken."""

    ready: Mapping[str, list[Found]]
    settling: int
    unclaimed: int
    """Files no feed's glob takes; they stay where they are."""
    refused: list[tuple[str, Complaint]]
    """(feed, complaint) of entries that are not regular files of this folder."""


class _Seen(NamedTuple):
    size: int
    modified: int
    since: float


class DropFolder:
    """One root, read by one scan per look for all its feeds."""

    def __init__(self, root: Path, options: FilesOptions, globs: Mapping[str, Glob], clock: Clock) -> None:
        self.root = root
        self.archive = root / options.archive
        self.reject = root / options.reject
        self._options, self._globs, self._clock = options, globs, clock
        self._depth = -1 if any(glob.depth < 0 for glob in globs.values()) else max(g.depth for g in globs.values())
        self._seen: dict[str, _Seen] = {}
        self._swept = ""

    def look(self) -> Look:
        """Scan the folder; raises OSError where the folder itself cannot be read."""
        ready: dict[str, list[Found]] = {}
        refused: list[tuple[str, Complaint]] = []
        settling = unclaimed = 0
        now = self._clock.steady()
        seen: dict[str, _Seen] = {}
        for entry, relative in self._entries(self.root, "", self._depth):
            feed = most_specific(self._globs, relative)
            if feed is None:
                unclaimed += 1
                continue
            complaint = self._foreign(entry)
            if complaint is not None:
                refused.append((feed, complaint))
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                self._seen.pop(relative, None)  # taken away between two system calls: as if it had never been there
                continue
            before = self._seen.get(relative)
            if before is None or (before.size, before.modified) != (status.st_size, status.st_mtime_ns):
                before = _Seen(status.st_size, status.st_mtime_ns, now)
            seen[relative] = before
            if now - before.since < self._options.settle_seconds:
                settling += 1
                continue
            found = Found(Path(entry.path), relative, feed, status.st_size, status.st_mtime_ns)
            ready.setdefault(feed, []).append(found)
        self._seen = seen
        for files in ready.values():
            files.sort(key=lambda found: (found.modified, found.relative))
        return Look(ready, settling, unclaimed, refused)

    def unsettle(self, relative: str) -> None:
        """Forget what was seen of a file, so that it has to settle again."""
        self._seen.pop(relative, None)

    def _entries(self, folder: Path, prefix: str, depth: int) -> Iterator[tuple[os.DirEntry[str], str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(UNFINISHED):
                    continue
                relative = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if depth != 0 and Path(entry.path) not in (self.archive, self.reject):
                        yield from self._entries(Path(entry.path), f"{relative}/", depth - 1)
                    continue
                yield entry, relative

    def _foreign(self, entry: os.DirEntry[str]) -> Complaint | None:
        """Return why an entry is not a file of this folder, or None."""
        if entry.is_symlink():
            target = Path(os.path.realpath(entry.path))
            if not target.is_relative_to(self.root.resolve()):
                return Complaint(
                    "file-outside",
                    entry.path,
                    f"a link to {target}",
                    f"a file below {self.root}",
                    "Copy the file into the drop folder.",
                )
        if not entry.is_file():
            return Complaint("file-not-regular", entry.path, "no regular file", "a file", "Remove it.")
        return None

    def to_archive(self, found: Found, digest: str) -> Path:
        """Move a stored file to the archive, by day, with its content's hash in the name."""
        day = from_micros(self._clock.now()).strftime("%Y-%m-%d")
        parent = self.archive / day / Path(found.relative).parent
        return _move(found.path, parent / _marked(found.path.name, digest))

    def to_reject(self, found: Found, complaint: Complaint, digest: str) -> Path:
        """Move a file that cannot be opened aside and write the reason beside it."""
        now = self._clock.now()
        parent = self.reject / Path(found.relative).parent
        target = _move(found.path, parent / _marked(found.path.name, digest or f"{now:x}"))
        reason = {
            "file": found.relative,
            "feed": found.feed,
            "size": found.size,
            "time": from_micros(now).isoformat(),
            "code": complaint.code,
            "found": complaint.found,
            "expected": complaint.expected,
            "nextStep": complaint.next_step,
        }
        beside = target.with_name(f"{target.name}.reason.json")
        beside.write_text(json.dumps(reason, indent=2, ensure_ascii=False) + "\n")
        return target

    def sweep(self) -> int:
        """Remove archived days older than `archiveDays`, at most once a day; return how many."""
        now = from_micros(self._clock.now())
        today = now.strftime("%Y-%m-%d")
        days = ARCHIVE_DAYS if self._options.archive_days is None else self._options.archive_days
        if not days or self._swept == today or not self.archive.is_dir():
            return 0
        self._swept = today
        oldest = (now - timedelta(days=days)).date()
        gone = [folder for folder in self.archive.iterdir() if (day := _day(folder)) is not None and day < oldest]
        for folder in gone:
            shutil.rmtree(folder)
        return len(gone)


def _day(folder: Path) -> date | None:
    try:
        return datetime.strptime(folder.name, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _marked(name: str, digest: str) -> str:
    """Return the name with the digest before its endings, so that equal names of different content never meet."""
    stem, dot, endings = name.partition(".")
    return f"{stem}.{digest[:16]}{dot}{endings}"


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.part")
        shutil.copy2(source, partial)
        partial.replace(target)
        source.unlink()
    return target
