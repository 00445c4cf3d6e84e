"""Keys of a files connection and of a feed's `select`; the manual is generated from these docs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["FilesOptions", "FilesSelector"]


class FilesOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One drop folder."""

    path: Annotated[
        str, Meta(min_length=1, description="Folder that files are dropped into; relative to the fabric's folder.")
    ]
    poll_seconds: Annotated[float, Meta(ge=0.05, le=86_400, description="Seconds between two looks at the folder.")] = (
        2.0
    )
    settle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="A file is taken once its size and time have not changed for so many seconds. 0 = at once, for "
            "senders that write under another name and rename.",
        ),
    ] = 2.0
    archive: Annotated[
        str,
        Meta(description="Folder that a file moves to after its records are stored, below `path` if relative."),
    ] = ".archive"
    reject: Annotated[
        str,
        Meta(
            description="Folder that a file nobody can open moves to, with a .reason.json beside it; below `path` if "
            "relative."
        ),
    ] = ".reject"
    archive_days: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Days an archived file is kept; 0 = for ever; default `retention.archive` of fabric.yaml."),
    ] = None
    compression: Annotated[
        Literal["auto", "none"],
        Meta(description="auto = .gz and .zip are opened, each member a file of its own; none = taken as they are."),
    ] = "auto"


class FilesSelector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which files belong to the feed."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="Glob below the connection's folder, as press-4/*.csv: * and ? stay within a folder, ** "
            "crosses folders. The most specific glob takes a file.",
        ),
    ]
