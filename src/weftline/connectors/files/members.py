"""Archives: each member is a content of its own, unpacked within bounds and brought onto the road one by one."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from weftline.codecs.archive import ArchiveError, Member, members
from weftline.connectors.files.intake import FileOutcome, Reading, Verdict, ingest_content

__all__ = ["ingest_members"]

FINAL = frozenset({Verdict.STORED, Verdict.DUPLICATE, Verdict.EMPTY, Verdict.HELD, Verdict.REFUSED})


def ingest_members(reading: Reading) -> FileOutcome:
    """Bring every member onto the road and add up what became of them.

    A member that cannot be opened does not keep its neighbours back: they are stored, and the archive is refused with
    the member's reason, so that a person sees it. Dropped again, the neighbours are known.
    """
    with reading.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    total = FileOutcome(reading.path, reading.feed.name, Verdict.EMPTY, digest)
    with tempfile.TemporaryDirectory(prefix="weftline-") as folder:
        for one in _outcomes(reading, Path(folder)):
            total = replace(
                total,
                verdict=_worse(total.verdict, one.verdict),
                producers=total.producers + one.producers,
                records=total.records + one.records,
                duplicates=total.duplicates + one.duplicates,
                complaint=total.complaint or one.complaint,
            )
            if one.verdict not in FINAL:
                return replace(total, verdict=one.verdict, complaint=one.complaint)
    return total


def _worse(before: Verdict, now: Verdict) -> Verdict:
    """Return what is said of the whole: refused beats stored beats known beats empty."""
    order = (Verdict.EMPTY, Verdict.DUPLICATE, Verdict.STORED, Verdict.HELD, Verdict.REFUSED)
    return max(before, now, key=order.index) if now in order else now


def _outcomes(reading: Reading, folder: Path) -> Iterator[FileOutcome]:
    for number, member in enumerate(members(reading.path, reading.limits)):
        inner = _again(reading, folder / f"{number}{Path(member.name).suffix}")
        try:
            if _unpack(member, inner.path) == 0:
                yield FileOutcome(inner.path, reading.feed.name, Verdict.EMPTY)
            else:
                yield ingest_content(inner)
        except ArchiveError as error:
            yield FileOutcome(inner.path, reading.feed.name, Verdict.REFUSED, complaint=error.complaint)
        finally:
            inner.path.unlink(missing_ok=True)


def _again(reading: Reading, path: Path) -> Reading:
    """Return a fresh reading of another path for the same feed and road."""
    return Reading(
        road=reading.road,
        feed=reading.feed,
        codec=reading.codec,
        path=path,
        limits=reading.limits,
        flags=reading.flags,
        stop=reading.stop,
        progress=reading.progress,
    )


def _unpack(member: Member, target: Path) -> int:
    if member.refusal is not None:
        raise member.refusal
    assert member.stream is not None
    with target.open("wb") as file:
        shutil.copyfileobj(member.stream, file, 1 << 20)
        return file.tell()
