"""Passwords and tokens: argon2id hashes, random secrets, and the count of failed tries."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict, deque

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from weftline.clock import Clock
from weftline.errors import InputError, RefusedError

__all__ = ["Passwords", "TooManyTriesError", "Tries", "WeakPasswordError", "new_token", "token_hash"]

MIN_LENGTH = 12
MAX_LENGTH = 1024


class WeakPasswordError(InputError):
    """Say what a password must be."""

    code = "password-weak"


class TooManyTriesError(RefusedError):
    """Say how long to wait after failed tries."""

    code = "too-many-tries"
    status = 429


def new_token() -> str:
    """Return a random token of 256 bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return SHA-256 of a token in hexadecimal; enough for random secrets of this length."""
    return hashlib.sha256(token.encode()).hexdigest()


class Passwords:
    """Hash and verify with argon2id (RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes)."""

    def __init__(self, *, memory_kib: int = 65536, passes: int = 3, lanes: int = 4) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes, type=Type.ID)
        self._gate = threading.Semaphore(2)  # at most two at a time: 128 MiB
        self._dummy = self._hasher.hash(new_token())

    def hash(self, password: str) -> str:
        """Return the hash. Raises WeakPasswordError."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise WeakPasswordError(
                place="password",
                found=f"{len(password)} characters",
                expected=f"{MIN_LENGTH} to {MAX_LENGTH}, a short sentence",
                next_step="Choose another password.",
            )
        with self._gate:
            return self._hasher.hash(password)

    def verify(self, hashed: str | None, password: str) -> bool:
        """Tell whether the password fits; a missing hash takes as long as a wrong password."""
        if len(password) > MAX_LENGTH:
            password = ""
        with self._gate:
            try:
                return self._hasher.verify(hashed or self._dummy, password) and hashed is not None
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                return False

    def outdated(self, hashed: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)


class Tries:
    """Count failed tries per account or address in a sliding window; a success clears an account, never an address."""

    def __init__(self, clock: Clock, *, limit: int, window: float = 900.0, keys: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window
        self._keys = keys
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._guard = threading.Lock()

    def check(self, key: str) -> None:
        """Raise TooManyTriesError while the key is over its limit."""
        with self._guard:
            times = self._failed.get(key)
            if times is None:
                return
            now = self._clock.steady()
            while times and times[0] <= now - self._window:
                times.popleft()
            if len(times) < self._limit:
                return
            wait = int(times[0] + self._window - now) + 1
        raise TooManyTriesError(
            place="sign-in",
            found=f"{self._limit} failed tries",
            expected="a pause",
            next_step=f"Try again in {max(1, round(wait / 60))} min.",
        )

    def fail(self, key: str) -> None:
        """Count one failed try."""
        with self._guard:
            times = self._failed.setdefault(key, deque(maxlen=self._limit))
            times.append(self._clock.steady())
            self._failed.move_to_end(key)
            while len(self._failed) > self._keys:
                self._failed.popitem(last=False)

    def clear(self, key: str) -> None:
        """Forget a key's failures."""
        with self._guard:
            self._failed.pop(key, None)
