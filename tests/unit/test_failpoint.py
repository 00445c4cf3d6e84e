"""Failpoints do nothing unless named, act at the nth hit, and refuse names nobody placed."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from weftline import failpoint
from weftline.errors import UsageError


def test_without_the_variable_a_hit_is_the_shared_no_op() -> None:
    assert failpoint.armed({}) is failpoint.armed({"WEFTLINE_FAILPOINTS": ""})


def test_an_error_comes_at_the_nth_hit_only() -> None:
    hit = failpoint.armed({"WEFTLINE_FAILPOINTS": "store.commit.before=error:2"})
    hit("store.commit.before")
    hit("store.commit.inside")
    with pytest.raises(failpoint.InjectedError, match="fault tests"):
        hit("store.commit.before")
    hit("store.commit.before")


def test_a_full_disk_stays_full() -> None:
    hit = failpoint.armed({"WEFTLINE_FAILPOINTS": "spool.fsync.before=enospc"})
    for _ in range(2):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
            hit("spool.fsync.before")
        assert caught.value.errno == errno.ENOSPC


def test_kill_ends_the_process_as_kill_9_does() -> None:
    program = "from weftline import failpoint; failpoint.hit('spool.fsync.after'); raise SystemExit(0)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"WEFTLINE_FAILPOINTS": "spool.fsync.after=kill"}, check=False
    )
    assert done.returncode == -9


@pytest.mark.parametrize("text", ["store.commit=kill", "store.commit.before=explode", "store.commit.before=kill:0"])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        failpoint.armed({"WEFTLINE_FAILPOINTS": text})
