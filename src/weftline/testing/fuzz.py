"""Fuzz codecs: seeded mutations of whole payloads, each held to the promises of the conformance suite.

`python -m weftline.testing.fuzz [--codec NAME] [--seconds N] [--seed N]`; a finding names codec, seed and round, and
the same three give the same bytes again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from weftline.codecs import registry
from weftline.codecs.decode_process import DecodeProcess
from weftline.testing.codec_conformance import CodecConformance, ConformanceError

__all__ = ["Findings", "fuzz", "mutate"]

TOKENS: Final = (
    *(b'\x00 \xff \xef\xbb\xbf \xff\xfe \r \n \r\n , ; | \t " \' \\ \\" "" { } [ ] : // # * @ - + . e'.split(b" ")),
    *(b"NaN Infinity -0 1e999 9223372036854775808 null true \\ud800 \\u0000 2026-01-01 PAR1 ARROW1 PK\x03\x04".split()),
    b"\n\n",
    b" ",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run saw: `rounds` done, and the first broken promise with the round that repeats it, if any."""

    codec: str
    seed: int
    rounds: int
    broken: str = ""


def mutate(payload: bytes, random_: random.Random) -> bytes:
    """Return the payload after one to six small accidents."""
    data = bytearray(payload)
    for _ in range(random_.randint(1, 6)):
        _accident(random_)(data, random_)
    return bytes(data[: 1 << 20])


def _accident(random_: random.Random) -> Callable[[bytearray, random.Random], None]:
    return random_.choice((_flip, _flip, _token, _token, _cut, _copy, _drop, _swap))


def _flip(data: bytearray, random_: random.Random) -> None:
    if data:
        data[random_.randrange(len(data))] = random_.choice((0, 0x7F, 0x80, 0xFF, random_.randrange(256)))


def _token(data: bytearray, random_: random.Random) -> None:
    at = random_.randint(0, len(data))
    end = at + random_.choice((0, 0, 1, 3))
    data[at:end] = random_.choice(TOKENS) * random_.choice((1, 1, 1, 2, 90))


def _cut(data: bytearray, random_: random.Random) -> None:
    del data[random_.randint(0, len(data)) :]


def _copy(data: bytearray, random_: random.Random) -> None:
    start = random_.randint(0, len(data))
    at = random_.randint(0, len(data))
    data[at:at] = data[start : start + random_.randint(0, 200)]


def _drop(data: bytearray, random_: random.Random) -> None:
    start = random_.randint(0, len(data))
    del data[start : start + random_.randint(0, 40)]


def _swap(data: bytearray, random_: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    random_.shuffle(lines)
    data[:] = b"\n".join(lines)


def fuzz(
    name: str, *, seconds: float = 0.0, rounds: int = 0, seed: int = 1, process: DecodeProcess | None = None
) -> Findings:
    """Mutate and examine until the rounds or the seconds are over; stops at the first broken promise."""
    suite = CodecConformance(name, process)
    end = time.monotonic() + seconds
    done = 0
    while (done < rounds) if rounds else (time.monotonic() < end):
        payload = mutate(suite.sample.payload, random.Random(f"{name}/{seed}/{done}"))
        try:
            suite.examine(payload)
        except ConformanceError as error:
            return Findings(name, seed, done, str(error))
        done += 1
    return Findings(name, seed, done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz one codec or all; exit 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m weftline.testing.fuzz", description="Fuzz Weftline's codecs.")
    parser.add_argument("--codec", choices=registry.names(), help="one codec (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds per codec")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    process = DecodeProcess(seconds=20.0, memory_bytes=512 << 20)
    broken = 0
    try:
        for name in [given.codec] if given.codec else registry.names():
            found = fuzz(name, seconds=given.seconds, seed=given.seed, process=process)
            broken += bool(found.broken)
            verdict = (
                f"broken in round {found.rounds}: {found.broken}" if found.broken else f"{found.rounds} rounds kept"
            )
            sys.stdout.write(f"{name}: seed {found.seed}, {verdict}\n")
    finally:
        process.close()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
