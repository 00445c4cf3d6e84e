"""What a running fabric does by itself: checkpoints, retention, incidents; each failure is logged and tried again."""

from __future__ import annotations

import threading

import structlog

from weftline.service.views import Attention, Event
from weftline.service.wiring import Fabric
from weftline.store.retention import Horizons, retain

__all__ = ["Upkeep"]

log = structlog.get_logger()
LOOK_SECONDS = 2.0
RETAIN_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
MICROS = 1_000_000


class Upkeep:
    """One thread beside the road; it only queues changes at the writer."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weftline-upkeep", daemon=True)
        self._retained = fabric.clock.steady()
        # What was open when the last process ended is closed as soon as it is over.
        self._open = {item.key: str(item.detail.get("title", "")) for item in fabric.incidents.open_incidents()}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the work at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for work in (self._maintain, self._incidents, self._retain):
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - upkeep lives on; the next look tries again
                    log.error("upkeep failed", work=work.__name__, error=repr(error))

    def _maintain(self) -> None:
        self._fabric.road.writer.run(self._fabric.lake.maintain).result()

    def _incidents(self) -> None:
        """Keep the incident book in step with what needs a person."""
        now_open = {item.id: item for item in self._fabric.answers.attention(renew=True)}
        for key, item in now_open.items():
            self._fabric.incidents.report(
                key, kind=_kind(item), subject=item.subject, severity=item.severity, detail={"title": item.title}
            )
        for key in set(self._open) - set(now_open):
            self._fabric.incidents.close(key)
        if set(self._open) != set(now_open):
            seq = self._fabric.answers.commit_seq()
            self._fabric.answers.announce(Event(topic="tower", kind="attention", seq=seq, data={"open": len(now_open)}))
        self._open = {key: item.title for key, item in now_open.items()}

    def _retain(self) -> None:
        if self._fabric.clock.steady() - self._retained < RETAIN_SECONDS:
            return
        self._retained = self._fabric.clock.steady()
        hours = [getattr(item.options, "idempotency_hours", 0) for item in self._fabric.spec.connections]
        horizons = Horizons(
            quarantine=self._fabric.retention["quarantine"] / DAY_SECONDS,
            receipts=max(1.0, *(value / 24 for value in hours), 0.0),
        )
        now = self._fabric.clock.now()
        done = self._fabric.road.writer.run(lambda: retain(self._fabric.lake, now, horizons)).result()
        self._fabric.decisions.expire(self._fabric.retention["decisions"])
        self._fabric.people.tidy()
        log.info("retention done", **done)


def _kind(item: Attention) -> str:
    return item.id.split("-", 1)[0]
