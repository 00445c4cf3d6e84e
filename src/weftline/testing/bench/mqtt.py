"""MQTT: one JSON value a message, publish → queryable, on a young lake; and QoS 1 both ways beside mosquitto alone.

Latency has two measures. *Stored*: record time minus the time in the payload, of every row, read from the lake; record
time is taken when the transaction begins. *Queryable*: a reader asks through the one door every 50 ms for the newest
row; by the time its answer is here, what it shows was queryable, so the age of the newest row then is an upper bound
that holds the query and the time since the last publication as well.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weftline.testing.bench import young
from weftline.testing.bench.broker import Generator, floor_qos1
from weftline.testing.bench.processes import NotServedError, Served, cpu_seconds, peak_rss_mb, until
from weftline.testing.bench.report import Figure, Report
from weftline.testing.mosquitto import Mosquitto

__all__ = ["measure"]

RATE = 20_000
SECONDS = 150.0
QOS1_SECONDS = 20.0
HISTORY = 5_000_000
TAGS_USED = 10
"""Of each line: 1,000 topics in all."""
LOOK_SECONDS = 0.05
CHECKPOINTS = 10


class _Watcher:
    """Ask for the newest row again and again; keep how old it was when the answer came, milliseconds."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bench-watcher")
        self.ages: list[float] = []
        self.failed = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        seq = int(self._served.get("/api/v1/tower")["commit_seq"])
        while not self._end.wait(LOOK_SECONDS):
            try:
                found = self._served.query(
                    f"SELECT max(epoch_us(event_time)) AS t, max(commit_seq) AS seq FROM signal WHERE commit_seq >= {seq}"  # noqa: S608 - a number
                )
            except (NotServedError, OSError) as error:
                self.failed = str(error)
                return
            newest, at = found["t"][0].as_py(), found["seq"][0].as_py()
            if newest is not None:
                self.ages.append((time.time_ns() // 1000 - newest) / 1000)
                seq = at


def measure(work: Path, scale: float = 1.0) -> Report:
    """Run the load at the budget's rate, then unthrottled at QoS 1 both ways."""
    report = Report("mqtt")
    generator = Generator(work)
    folder = work / "young"
    with Mosquitto() as broker:
        young.write_plant(folder, broker.port)
        young.fill(folder, int(HISTORY * min(scale, 1.0)))
        report.settings = {
            "mosquitto": broker.settings,
            "generator": generator.language,
            "history_rows": int(HISTORY * min(scale, 1.0)),
            "feeds": young.LINES * (young.TAGS + 1) + 1,
            "topics_published": young.LINES * TAGS_USED,
            "lanes": 1,
        }
        with Served(folder) as served:
            _connected(served)
            _sustained(report, served, broker, generator, SECONDS * scale)
            _both_ways(report, served, broker, generator, max(QOS1_SECONDS * scale, 5.0))
        _alone(report, broker, generator, max(QOS1_SECONDS * scale / 2, 5.0))
    return report


def _connected(served: Served) -> None:
    def ready() -> bool:
        return int(served.call("status")["states"].get("failing", 0)) == 0

    until(ready, 60, "connected session", 0.5)
    time.sleep(3)  # the subscriptions of 9,900 feeds go out after CONNACK


def _sustained(report: Report, served: Served, broker: Mosquitto, generator: Generator, seconds: float) -> None:
    before, first, cpu = _stored(served), _checkpoints(served), cpu_seconds(served.pid)
    began_micros = time.time_ns() // 1000
    with _watching(served) as watcher:
        process = generator.start(
            broker.port, qos=0, rate=RATE, seconds=seconds, lines=young.LINES, tags=TAGS_USED, topic=young.TOPIC
        )
        sent = generator.result(process)
    used = cpu_seconds(served.pid) - cpu
    try:
        drained = until(lambda: _stored(served) - before >= sent["sent"], 60, "the last message stored", 0.1)
    except NotServedError:
        drained = 60.0
    stored = _stored(served) - before
    ages = sorted(watcher.ages)
    row = served.query(
        "SELECT quantile_cont((epoch_us(record_time) - epoch_us(event_time)) / 1000.0, 0.5) AS p50, "  # noqa: S608 - a number
        "quantile_cont((epoch_us(record_time) - epoch_us(event_time)) / 1000.0, 0.99) AS p99, "
        "max(epoch_us(record_time) - epoch_us(event_time)) / 1000.0 AS most "
        f"FROM signal WHERE epoch_us(event_time) >= {began_micros}"
    ).to_pylist()[0]
    checkpoints = _checkpoints(served) - first
    report.figures += [
        Figure("QoS 0 published, QoS 1 subscribed: sent", round(sent["sent"] / sent["seconds"], -2), "messages/s", least=RATE),
        Figure("stored of what was sent", round(100 * stored / sent["sent"], 3), "%", least=100),
        Figure("publish to stored, p50", round(row["p50"], 1), "ms"),
        Figure("publish to stored, p99", round(row["p99"], 1), "ms", most=500),
        Figure("publish to stored, largest", round(row["most"], 1), "ms"),
        Figure("publish to queryable, p50", round(_share(ages, 0.5), 1), "ms"),
        Figure("publish to queryable, p99", round(_share(ages, 0.99), 1), "ms", most=500),
        Figure("checkpoints during the load", checkpoints, "checkpoints", least=CHECKPOINTS if seconds >= SECONDS else None),
        Figure("CPU of weftline under this load", round(100 * used / sent["seconds"]), "% of a core"),
        Figure("largest resident memory so far", round(peak_rss_mb(served.pid)), "MiB", most=1024),
    ]  # fmt: skip
    report.notes.append(
        f"{len(ages)} looks for the newest row; the last message was stored {drained:.2f} s after the generator ended"
        + (f"; the watcher ended early: {watcher.failed}" if watcher.failed else "")
    )


def _both_ways(report: Report, served: Served, broker: Mosquitto, generator: Generator, seconds: float) -> None:
    before, began = _stored(served), time.perf_counter()
    process = generator.start(
        broker.port, qos=1, rate=0, seconds=seconds, lines=young.LINES, tags=TAGS_USED, topic=young.TOPIC
    )
    sent = generator.result(process)
    with contextlib.suppress(NotServedError):
        until(lambda: _stored(served) - before >= sent["sent"], 120, "the last message stored", 0.1)
    stored, took = _stored(served) - before, time.perf_counter() - began
    floor = floor_qos1(broker, generator, max(seconds / 2, 5.0), young.LINES, TAGS_USED)
    report.figures += [
        Figure("QoS 1 both ways, stored until the last", round(stored / took), "messages/s", floor=round(floor),
               floor_name="mosquitto_sub taking the same generator's QoS 1", least_ratio=0.6),
        Figure("stored of what was sent at QoS 1", round(100 * stored / sent["sent"], 3), "%", least=100),
    ]  # fmt: skip


def _alone(report: Report, broker: Mosquitto, generator: Generator, seconds: float) -> None:
    floor = floor_qos1(broker, generator, seconds, young.LINES, TAGS_USED)
    report.figures.append(Figure("mosquitto alone, QoS 1 both ways, weftline stopped", round(floor), "messages/s"))


@contextlib.contextmanager
def _watching(served: Served) -> Iterator[_Watcher]:
    watcher = _Watcher(served)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def _total(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.call("status")["ledger"]
    return found


def _stored(served: Served) -> int:
    return int(_total(served)["stored"])


def _checkpoints(served: Served) -> int:
    return int(served.call("status")["gauges"]["lake_checkpoints"])


def _share(values: list[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)] if values else float("nan")
