"""The exception tree: every complaint tells place, found, expected, next step and a stable code.

WeftlineError
├── InputError            what a person or a document gave us is wrong (exit 2, HTTP 422)
│   ├── UsageError            a command or a request cannot be understood (HTTP 400)
│   ├── NotFoundError         the named thing does not exist (HTTP 404)
│   └── ConflictError         it contradicts what is already there (HTTP 409)
├── RefusedError          a policy, a guard or a missing sign-in said no (exit 3, HTTP 403)
├── MissingExtraError     an optional part is not installed; the message holds the install line
├── TransientError        trying again may help (HTTP 503)
│   ├── UnreachableError      a source, broker or server does not answer
│   ├── StoreBusyError        the read gate or the writer's queue is full
│   ├── AdmissionError        sources are held back: space, memory or snapshot limits
│   └── OutcomeUnknownError   a COMMIT failed in a way that may or may not be durable
└── TerminalError         trying again cannot help (HTTP 500)
    ├── StoreError            the lake, control database or spool is broken or of another version
    └── LockedError           another process owns the folder

A subclass lives beside the code that raises it and sets `code`, a stable kebab-case word documented in `docs/errors/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AdmissionError",
    "Complaint",
    "ConflictError",
    "InputError",
    "LockedError",
    "MissingExtraError",
    "NotFoundError",
    "OutcomeUnknownError",
    "RefusedError",
    "StoreBusyError",
    "StoreError",
    "TerminalError",
    "TransientError",
    "UnreachableError",
    "UsageError",
    "WeftlineError",
    "nearest",
]


@dataclass(frozen=True, slots=True)
class Complaint:
    """One finding about an input, as a person reads it and as a program matches it.

    `line` and `column` count from 1; 0 means the place has none. `place` is a path, a feed or a field path.
    """

    code: str
    place: str
    found: str
    expected: str
    next_step: str = ""
    line: int = 0
    column: int = 0

    @property
    def where(self) -> str:
        """Return `place:line:column`, leaving out what is unknown."""
        return ":".join([self.place, *(str(part) for part in (self.line, self.column) if part)])

    def sentence(self) -> str:
        """Return the complaint as one sentence ending in its code."""
        text = f"{self.where}: found {self.found}, expected {self.expected}."
        return f"{text}{' ' + self.next_step if self.next_step else ''} [{self.code}]"


class WeftlineError(Exception):
    """Carry one complaint; the message is built here so that no caller formats its own."""

    code: ClassVar[str] = "weftline"
    exit_code: ClassVar[int] = 2
    status: ClassVar[int] = 500

    def __init__(
        self, *, place: str, found: str, expected: str, next_step: str = "", line: int = 0, column: int = 0
    ) -> None:
        self.complaint = Complaint(self.code, place, found, expected, next_step, line, column)
        super().__init__(self.complaint.sentence())


class InputError(WeftlineError):
    """Say what is wrong with something a person, a document or a partner gave."""

    code = "input"
    status = 422


class UsageError(InputError):
    """Say why a command or a request cannot be understood."""

    code = "usage"
    status = 400


class NotFoundError(InputError):
    """Say that the named thing does not exist, with the nearest one that does."""

    code = "not-found"
    status = 404


class ConflictError(InputError):
    """Say what the request contradicts."""

    code = "conflict"
    status = 409


class RefusedError(WeftlineError):
    """Refuse with the reason; nothing left the store."""

    code = "refused"
    exit_code = 3
    status = 403


class MissingExtraError(WeftlineError):
    """Name the extra that is not installed and the line that installs it."""

    code = "missing-extra"

    def __init__(self, *, extra: str, needed_for: str) -> None:
        super().__init__(
            place=needed_for,
            found="a part that is not installed",
            expected=f"the extra '{extra}'",
            next_step=f"Run: pip install 'weftline[{extra}]'",
        )


class TransientError(WeftlineError):
    """Mark a failure that a later try may not meet."""

    code = "transient"
    exit_code = 1
    status = 503


class UnreachableError(TransientError):
    """Say which source, broker or server does not answer, and when the next try is."""

    code = "unreachable"


class StoreBusyError(TransientError):
    """Say that a read waited too long at the gate or the writer's queue is full."""

    code = "store-busy"


class AdmissionError(TransientError):
    """Hold sources back until the named limit is met again; nothing was acknowledged."""

    code = "admission"


class OutcomeUnknownError(TransientError):
    """Say that a COMMIT failed and may be durable; the store reopens and reads its checkpoint before going on."""

    code = "outcome-unknown"


class TerminalError(WeftlineError):
    """Mark a failure that trying again cannot mend."""

    code = "terminal"


class StoreError(TerminalError):
    """Say what is broken in the lake, the control database or the spool."""

    code = "store"


class LockedError(TerminalError):
    """Name the process that owns the folder."""

    code = "locked"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a ready half sentence with the nearest known word, or the whole short list, or nothing."""
    words = sorted(set(known))
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(words)}" if 0 < len(words) <= 12 else ""
