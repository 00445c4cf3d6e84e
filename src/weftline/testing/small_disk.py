"""A disk that is soon full: a tmpfs of a few megabytes, for the tests of what a full disk does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weftline.errors import UsageError

__all__ = ["SmallDiskError", "small_disk"]


class SmallDiskError(UsageError):
    """Say that this process may not mount a tmpfs."""

    code = "small-disk"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of `size` bytes on an empty folder while the block runs; needs root or a user namespace."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    result = subprocess.run(mount, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SmallDiskError(
            place=str(folder),
            found=result.stderr.strip() or "a mount that failed",
            expected="leave to mount a tmpfs",
            next_step="Run as root, or inside `unshare -rm`.",
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
