"""Named places where the fault tests make the road fail; inert, and free, unless the environment names one.

`WEFTLINE_FAILPOINTS` holds `name=action[:nth]` parted by commas: at the nth hit (default the first) the action is done.
Actions: `kill` ends the process at once as kill -9 does, `error` raises InjectedError, `enospc` raises OSError(ENOSPC)
at that hit and every later one, `stall` sleeps for WEFTLINE_FAILPOINT_STALL seconds (default 5).
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

from weftline.errors import StoreBusyError, UsageError, nearest

__all__ = ["NAMES", "InjectedError", "armed", "hit"]

NAMES = (
    "spool.fsync.before",
    "spool.fsync.after",
    "store.commit.before",
    "store.commit.inside",
    "store.commit.after",
)
"""Every failpoint of the product; a name that is not here is refused."""

ACTIONS = ("enospc", "error", "kill", "stall")


class InjectedError(StoreBusyError):
    """Mark an error that a fault test asked for; callers treat it as a store that is busy."""

    code = "injected"


def _nothing(_name: str) -> None:
    """Do nothing: what `hit` is while no failpoint is named."""


def _act(name: str, action: str, stall: float) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    elif action == "error":
        raise InjectedError(place=name, found="a failpoint that is switched on", expected="none outside fault tests")
    else:
        time.sleep(stall)


def _refuse(found: str, expected: str, hint: str) -> UsageError:
    return UsageError(place="WEFTLINE_FAILPOINTS", found=found, expected=expected, next_step=hint.capitalize())


def _parse(text: str) -> dict[str, tuple[str, int]]:
    wanted: dict[str, tuple[str, int]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, rest = part.partition("=")
        action, _, nth = rest.partition(":")
        if name not in NAMES:
            raise _refuse(f"failpoint '{name}'", "one of weftline.failpoint.NAMES", nearest(name, NAMES))
        if action not in ACTIONS:
            raise _refuse(f"action '{action}' of {name}", "kill, error, enospc or stall", nearest(action, ACTIONS))
        if nth and not (nth.isascii() and nth.isdigit() and int(nth) > 0):
            raise _refuse(f"hit '{nth}' of {name}", "a whole number from 1", "")
        wanted[name] = (action, int(nth or 1))
    return wanted


def armed(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return the `hit` function for this environment: a no-op where no failpoint is named."""
    wanted = _parse(environment.get("WEFTLINE_FAILPOINTS", ""))
    if not wanted:
        return _nothing
    stall = float(environment.get("WEFTLINE_FAILPOINT_STALL", "5"))
    hits: dict[str, int] = {}
    guard = threading.Lock()

    def count(name: str) -> None:
        if name not in wanted:
            return
        action, nth = wanted[name]
        with guard:
            hits[name] = hits.get(name, 0) + 1
            now = hits[name]
        if now == nth or (action == "enospc" and now > nth):
            _act(name, action, stall)

    return count


hit = armed(os.environ)
"""Pass a failpoint by name. Import the module, not this name, so that a test may swap it."""
