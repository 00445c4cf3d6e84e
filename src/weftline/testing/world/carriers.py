"""Push the carriers' transport events over HTTP, from a process of its own; one connection for each carrier.

    python -m weftline.testing.world.carriers --http-base http://127.0.0.1:8420 --keys-file keys.json --seed 1

A push that gets no answer, 429 or 5xx is sent again with the same Idempotency-Key until it is answered; any other
answer is final. The keys file is a JSON object of feed and API key.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from weftline.testing.world.pacing import SentLog, Stop, arguments, play, played
from weftline.testing.world.partners import CARRIERS, PLACES, STATUSES, Carrier
from weftline.testing.world.script import Play

__all__ = ["Push", "carrier_pushes", "main"]

_TIMEOUT_SECONDS = 10.0
_BACK_OFF = (0.25, 0.5, 1.0, 2.0)
_TYPES = {"json": "application/json", "ndjson": "application/x-ndjson"}


class Push(NamedTuple):
    """One push, `due` real seconds after the start."""

    due: float
    feed: str
    key: str
    content_type: str
    body: bytes
    records: int


def carrier_pushes(carrier: Carrier, play: Play) -> Iterator[Push]:
    """Yield the pushes of one carrier, for ever, in order of time."""
    rng = play.stream(f"carriers:{carrier.name}")
    world, number, events = rng.uniform(0.3, 1.5), 0, 0
    while True:
        due = world / play.speed
        trouble = play.trouble_of(carrier.feed, due)
        count = rng.randint(1, 3)
        rows = [_event(carrier, rng, f"{play.run}-{events + place}", play.at(due)) for place in range(count)]
        events += count
        if trouble == "unknown-status":
            rows[0]["status"] = "X9"
        if carrier.form == "json":
            body = json.dumps(rows).encode()
        else:
            body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if trouble != "carrier-silent":
            yield Push(due, carrier.feed, f"{carrier.code}-{play.run}-{number:08d}", _TYPES[carrier.form], body, count)
        world += carrier.every * rng.uniform(0.8, 1.2)
        number += 1


def _event(carrier: Carrier, rng: random.Random, number: str, at: datetime) -> dict[str, Any]:
    place, latitude, longitude = rng.choice(PLACES)
    return {
        "event_id": f"{carrier.code}-{number}",
        "shipment": f"{carrier.code}{26110000 + rng.randrange(400)}",
        "status": rng.choice(STATUSES),
        "location": place,
        "latitude": round(latitude + rng.gauss(0, 0.01), 5),
        "longitude": round(longitude + rng.gauss(0, 0.01), 5),
        "occurred_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eta": (at + timedelta(hours=rng.randint(2, 48))).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "estimated": rng.random() < 0.2,
    }


class _Sender:
    """Send the pushes of one carrier over one connection; belongs to one thread."""

    def __init__(self, base: SplitResult, keys: Mapping[str, str], stop: Stop, log: SentLog) -> None:
        self._base, self._keys, self._stop, self._log = base, keys, stop, log
        self._link: http.client.HTTPConnection | None = None

    def send(self, push: Push) -> None:
        """Send until there is a final answer or it is time to stop."""
        attempts = 0
        while not self._stop.now:
            attempts += 1
            status = self._try(push)
            if status is not None and status != 429 and status < 500:
                row = {"feed": push.feed, "key": push.key, "status": status, "records": push.records}
                self._log.add([{**row, "attempts": attempts}])
                return
            if self._stop.wait(_BACK_OFF[min(attempts, len(_BACK_OFF)) - 1]):
                return

    def _try(self, push: Push) -> int | None:
        """Return the status of one attempt, None where there was no answer."""
        headers = {
            "Authorization": f"Bearer {self._keys.get(push.feed, '')}",
            "Idempotency-Key": push.key,
            "Content-Type": push.content_type,
        }
        try:
            if self._link is None:
                kind = http.client.HTTPSConnection if self._base.scheme == "https" else http.client.HTTPConnection
                self._link = kind(self._base.hostname or "127.0.0.1", self._base.port, timeout=_TIMEOUT_SECONDS)
            path = f"{self._base.path.rstrip('/')}/api/v1/feeds/{push.feed}/records"
            self._link.request("POST", path, push.body, headers)
            answer = self._link.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None


def main(given: Sequence[str] | None = None) -> int:
    """Push until told to stop."""
    parser = arguments("carriers", "Push the transport events of the demo world's carriers.")
    parser.add_argument("--http-base", required=True, help="address of the server, as http://127.0.0.1:8420")
    parser.add_argument("--keys-file", type=Path, required=True, help="JSON object of feed and API key")
    options = parser.parse_args(given)
    chosen = played(options)
    stop = Stop(options)
    log = SentLog(Path(options.log) if options.log else None)
    keys = json.loads(options.keys_file.read_text("utf-8"))

    def carry(carrier: Carrier) -> None:
        sender = _Sender(urlsplit(options.http_base), keys, stop, log)
        play(carrier_pushes(carrier, chosen), sender.send, stop, chosen.start_ms)
        sender.close()

    threads = [threading.Thread(target=carry, args=(carrier,), name=carrier.name) for carrier in CARRIERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
