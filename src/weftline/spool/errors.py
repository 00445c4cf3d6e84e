"""Complaints of the spool; each code has its heading in docs/errors/spool.md."""

from __future__ import annotations

from weftline.errors import AdmissionError, InputError, LockedError, StoreError

__all__ = [
    "FrameRefusedError",
    "LaneNameError",
    "SpoolBehindError",
    "SpoolClosedError",
    "SpoolCorruptError",
    "SpoolFailedError",
    "SpoolFullError",
    "SpoolLockedError",
    "SpoolNotDurableError",
    "SpoolQueueError",
    "SpoolTruncatedError",
    "SpoolVersionError",
]


class SpoolFullError(AdmissionError):
    """Say that the disk has no room: the frames were not written and must not be acknowledged."""

    code = "spool-full"


class SpoolQueueError(AdmissionError):
    """Say that the disk is slower than the sources: too many bytes wait for their fsync."""

    code = "spool-queue"


class SpoolNotDurableError(StoreError):
    """Say that the disk refused to make frames durable; they must not be acknowledged."""

    code = "spool-not-durable"


class SpoolFailedError(StoreError):
    """Say that a lane cannot be written for a reason that is not space."""

    code = "spool-failed"


class SpoolCorruptError(StoreError):
    """Name the segment and byte where a durable record cannot be read."""

    code = "spool-corrupt"


class SpoolTruncatedError(StoreError):
    """Say that the offset asked for was removed, so that reading on would skip frames."""

    code = "spool-truncated"


class SpoolBehindError(StoreError):
    """Say that somebody knows offsets this lane never gave: it is not the lane he knew."""

    code = "spool-behind"


class SpoolVersionError(StoreError):
    """Say that a segment was written by another version of the format."""

    code = "spool-version"


class SpoolClosedError(StoreError):
    """Say that the lane was closed before the frames were written."""

    code = "spool-closed"


class SpoolLockedError(LockedError):
    """Name the lane another process has open."""

    code = "spool-locked"


class LaneNameError(InputError):
    """Say which characters a lane's name may have."""

    code = "lane-name"


class FrameRefusedError(InputError):
    """Say which bound of the record format a frame exceeds."""

    code = "frame-refused"
