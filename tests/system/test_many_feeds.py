"""Many feeds from one template on three sessions and ten drop folders: all come alive, and poison harms nobody else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from weftline.testing.bench import young
from weftline.testing.bench.broker import Generator
from weftline.testing.bench.feeds import POISON
from weftline.testing.bench.processes import Served, until
from weftline.testing.mosquitto import Mosquitto

LINES, TAGS, POISONED = 10, 49, "line-7.reports"


def states(served: Served) -> dict[str, int]:
    found: dict[str, int] = served.call("status")["states"]
    return found


def settled(served: Served) -> bool:
    return all(row["waiting"] == 0 and row["balanced"] for row in served.call("ledger"))


@pytest.mark.slow("five hundred feeds, a broker and a server")
def test_every_feed_comes_alive_and_the_poisoned_one_harms_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "plant"
    with Mosquitto() as broker:
        young.write_plant(folder, broker.port, lines=LINES, tags=TAGS)
        with Served(folder) as served:
            connections = {row["connection"]: 0 for row in served.get("/api/v1/feeds?limit=1000")["feeds"]}
            assert set(connections) == {"mqtt-0", "mqtt-1", "mqtt-2", "drops"}
            for line in range(LINES):
                place = folder / "data" / f"line-{line}"
                good = b'{"t":%d,"value":21.5}\n' % (time.time_ns() // 1000)
                (place / "first.part").write_bytes(POISON if line == 7 else good)
                (place / "first.part").rename(place / "first.ndjson")
            generator = Generator(tmp_path)

            def all_alive() -> bool:
                # Published again until the sessions have subscribed: at QoS 0 what nobody takes is gone.
                sent = generator.start(
                    broker.port, qos=0, rate=2000, seconds=0.5, lines=LINES, tags=TAGS, topic=young.TOPIC
                )
                assert generator.result(sent)["sent"] >= LINES * TAGS
                return states(served).get("live", 0) == LINES * (TAGS + 1) - 1

            until(all_alive, 20, "every feed alive", 0.5)
            until(lambda: settled(served), 10, "both sides of the ledger equal", 0.3)
            ledger = {row["feed"]: row for row in served.call("ledger")}
            assert ledger[POISONED]["stored"] == 0
            assert ledger[POISONED]["quarantined"] == ledger[POISONED]["received"] > 0
            others = [row for name, row in ledger.items() if name not in {POISONED, "history"}]
            assert len(others) == LINES * (TAGS + 1) - 1
            assert all(row["stored"] == row["received"] >= 1 for row in others)
            assert all(row["quarantined"] == 0 for row in others)
            assert states(served)["rejecting"] == 1
            titles = [item["title"] for item in served.call("status")["attention"]]
            assert titles == [f"{POISONED} is rejecting"]
            assert served.call("verify") == []
