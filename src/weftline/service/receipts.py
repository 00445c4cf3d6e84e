"""Receipts of pushes: durable once spooled, committed once the lake holds the outcome of every record."""

from __future__ import annotations

import json
from typing import Any

from weftline.errors import NotFoundError
from weftline.ingest.road import Road
from weftline.service.views import ReceiptView, RecordOutcome, ViolationView
from weftline.store.lake import Lake

__all__ = ["Receipts"]

OUTCOMES_SHOWN = 1000


class Receipts:
    """Read a receipt by its id `<lane>-<epoch>-<offset>`."""

    def __init__(self, lake: Lake, road: Road) -> None:
        self._lake = lake
        self._road = road

    def get(self, receipt_id: str) -> ReceiptView:
        """Return the receipt: from the lake if committed, else from the spool."""
        lane, epoch, offset = self._parse(receipt_id)
        rows = self._lake.scan(
            "SELECT feed, epoch_us(received) AS received, records, stored, quarantined, duplicate, ignored, commit_seq "
            "FROM weftline.receipt WHERE producer = $producer AND epoch = $epoch AND frame = $frame",
            {"producer": f"lane:{lane}", "epoch": epoch, "frame": offset},
        ).to_pylist()
        if rows:
            return self._committed(receipt_id, (lane, epoch, offset), rows[0])
        for log in self._road.lanes():
            if log.name == lane and log.epoch == epoch and log.tail().first <= offset < log.tail().next:
                frame = log.read(offset, 1, 1)[0]
                name = self._road.book().name(frame.feed)
                return ReceiptView(id=receipt_id, feed=name, state="durable", received=frame.received)
        raise NotFoundError(place="receipts", found=f"'{receipt_id}'", expected="a receipt of the last days")

    def _parse(self, receipt_id: str) -> tuple[str, int, int]:
        lane, _, rest = receipt_id.rpartition("-")
        lane, _, epoch = lane.rpartition("-")
        if not (lane and receipt_id.isascii() and epoch.isdigit() and rest.isdigit()):
            raise NotFoundError(place="receipts", found=f"'{receipt_id}'", expected="an id as <lane>-<epoch>-<offset>")
        return lane, int(epoch), int(rest)

    def _committed(self, receipt_id: str, place: tuple[str, int, int], row: dict[str, Any]) -> ReceiptView:
        outcomes: list[RecordOutcome] = []
        if row["quarantined"]:
            outcomes = self._quarantined(*place)
        return ReceiptView(
            id=receipt_id,
            feed=self._road.book().name(row["feed"]),
            state="committed",
            received=row["received"],
            records=row["records"],
            stored=row["stored"],
            quarantined=row["quarantined"],
            duplicate=row["duplicate"],
            ignored=row["ignored"],
            commit_seq=row["commit_seq"],
            outcomes=outcomes,
        )

    def _quarantined(self, lane: str, epoch: int, offset: int) -> list[RecordOutcome]:
        table = self._lake.scan(
            "SELECT q.id, q.position, to_json(q.violations) AS violations FROM weftline.quarantine q "
            "JOIN weftline.checkpoint c ON c.lane = q.lane "
            "WHERE c.producer = $producer AND c.epoch = $epoch AND q.frame = $frame ORDER BY q.position LIMIT $shown",
            {"producer": f"lane:{lane}", "epoch": epoch, "frame": offset, "shown": OUTCOMES_SHOWN},
        )
        return [
            RecordOutcome(
                position=row["position"],
                outcome="quarantined",
                quarantine_id=row["id"],
                violations=[
                    ViolationView(**{key: str(value or "") for key, value in violation.items()})
                    for violation in json.loads(row["violations"] or "[]")
                ],
            )
            for row in table.to_pylist()
        ]
