"""Ten thousand feeds from one template: start, first records, rest, and pages."""

from __future__ import annotations

import time
from pathlib import Path

from weftline.testing.bench import young
from weftline.testing.bench.broker import Generator
from weftline.testing.bench.processes import NotServedError, Served, cpu_seconds, rss_mb, until
from weftline.testing.bench.report import Figure, Report
from weftline.testing.mosquitto import Mosquitto

__all__ = ["PAGES", "measure"]

PAGES = ("/", "/feeds", "/feeds/line-1.t1", "/quarantine", "/datasets", "/datasets/signal")
POISON_LINE = 7
POISON = b"\x89PNG\r\n\x1a\n\x00\xff\xfe{{{ no json at all \x00\n"
IDLE_SECONDS = 20.0
ROUNDS = 5


def measure(work: Path, scale: float = 1.0) -> Report:
    """Start 10,000 feeds, give each one record, look at them, and measure the rest that follows."""
    lines = max(int(young.LINES * scale), 4)
    report = Report("feeds", {"lines": lines, "mqtt_feeds": lines * young.TAGS, "drop_folders": lines})
    folder, generator = work / "young", Generator(work)
    with Mosquitto() as broker:
        young.write_plant(folder, broker.port, lines=lines)
        with Served(folder) as served:
            report.figures.append(Figure("start to first page", round(served.start_seconds, 2), "s", most=30))
            until(lambda: not served.call("status")["states"].get("failing"), 60, "three sessions", 0.5)
            time.sleep(2)  # 9,900 subscriptions go out after CONNACK
            _first_records(report, served, broker, generator, folder, lines)
            _rest(report, served)
            _pages(report, served, generator, broker, lines)
            report.figures.append(Figure("resident memory", round(rss_mb(served.pid)), "MiB", most=1024))
    return report


def _first_records(
    report: Report, served: Served, broker: Mosquitto, generator: Generator, folder: Path, lines: int
) -> None:
    """One message for each MQTT feed within ten seconds, one file for each folder; one of the files is poison."""
    topics = lines * young.TAGS
    process = generator.start(
        broker.port, qos=0, rate=topics / 9.5, seconds=10, lines=lines, tags=young.TAGS, topic=young.TOPIC
    )
    now = time.time_ns() // 1000
    for line in range(lines):
        place = folder / "data" / f"line-{line}"
        part = place / "first.part"
        part.write_bytes(POISON if line == POISON_LINE % lines else b'{"t":%d,"value":21.5}\n' % now)
        part.rename(place / "first.ndjson")
    generator.result(process)
    began = time.perf_counter()
    try:
        until(lambda: _live(served) >= lines * (young.TAGS + 1) - 1, 60, "every feed live", 0.25)
    except NotServedError as error:
        report.notes.append(str(error))
    poisoned = served.call("ledger", feed=f"line-{POISON_LINE % lines}.reports")
    report.figures += [
        Figure("feeds live after their first record", _live(served), "feeds", least=lines * (young.TAGS + 1) - 1),
        Figure("last first record to every feed live", round(time.perf_counter() - began, 1), "s", most=60),
        Figure("records of the poison feed in quarantine", sum(row["quarantined"] for row in poisoned), "records",
               least=1),
    ]  # fmt: skip


def _live(served: Served) -> int:
    return int(served.call("status")["states"].get("live", 0))


def _rest(report: Report, served: Served) -> None:
    time.sleep(8)  # what the load left behind (checkpoint, archive) is not rest
    before = cpu_seconds(served.pid)
    time.sleep(IDLE_SECONDS)
    used = 100 * (cpu_seconds(served.pid) - before) / IDLE_SECONDS
    report.figures.append(Figure("CPU at rest", round(used, 1), "% of a core", most=50))


def _pages(report: Report, served: Served, generator: Generator, broker: Mosquitto, lines: int) -> None:
    """Open each page while every feed gets a record a minute, as their cadence says; the slowest of five rounds counts."""
    topics = lines * young.TAGS
    served.page("/", as_person=True)
    process = generator.start(
        broker.port, qos=0, rate=topics / 60, seconds=25, lines=lines, tags=young.TAGS, topic=young.TOPIC
    )
    time.sleep(1)
    for target in PAGES:
        seconds = []
        for _ in range(ROUNDS):
            status, took, _ = served.page(target, as_person=True)
            assert status == 200, (target, status)
            seconds.append(took * 1000)
            time.sleep(0.7)
        report.figures.append(Figure(f"page {target}, slowest of {ROUNDS}", round(max(seconds)), "ms", most=300))
        report.notes.append(f"{target}: " + ", ".join(f"{value:.0f}" for value in seconds) + " ms")
    generator.result(process)
