"""A young plant: one template gives 9,900 MQTT feeds on three connections and 100 drop folders, with 5 M signals stored."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weftline.service.operations import Operations
from weftline.service.wiring import open_fabric

__all__ = ["LINES", "TAGS", "TOPIC", "fill", "topic_count", "write_plant"]

LINES = 100
TAGS = 99
"""MQTT feeds of each line; the hundredth feed of a line is its drop folder."""
TOPIC = "plant/line-%d/t%d"
"""For the generator: line, then tag."""
_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: {id}
version: 1.0.0
status: active
schema:
  - name: reading
    physicalName: signal
    properties:
      - {{name: event_time, logicalType: timestamp, required: true, transformLogic: from_unix_us(t)}}
      - {{name: equipment, logicalType: string, required: true, transformLogic: '{equipment}'}}
      - {{name: term, logicalType: string, required: true, transformLogic: "{term}"}}
      - name: value
        logicalType: number
        required: true
        logicalTypeOptions: {{minimum: -40, maximum: 400}}
"""


def write_plant(folder: Path, port: int, *, lines: int = LINES, tags: int = TAGS, own_lane: bool = False) -> None:
    """Write the folder; `port` is the broker's. Line n uses connection n modulo 3."""
    feeds = [
        f'  - name: "{{line}}.t{tag}"\n    connection: "{{connection}}"\n    contract: reading@1.0.0\n'
        f'    select: {{topic: "plant/{{line}}/t{tag}"}}\n    format: {{codec: json}}\n    cadence: 60s\n'
        for tag in range(tags)
    ]
    feeds.append(
        '  - name: "{line}.reports"\n    connection: drops\n    contract: reading@1.0.0\n'
        '    select: {path: "{line}/*.ndjson"}\n    format: {codec: ndjson}\n    cadence: 60s\n'
    )
    rows = "".join(f"line-{line},mqtt-{line % 3},{line}\n" for line in range(lines))
    files = {
        "fabric.yaml": "name: young-plant\ntimezone: UTC\nlisten: {host: 127.0.0.1, port: 8420}\n",
        "contracts/reading.odcs.yaml": _CONTRACT.format(
            id="reading", equipment="feed.line", term="coalesce(tag, topic, 'report')"
        ),
        "contracts/history.odcs.yaml": _CONTRACT.format(id="history", equipment="equipment", term="term"),
        "connections/drops.yaml": "name: drops\nkind: files\npath: data\npollSeconds: 2\nsettleSeconds: 0\n",
        "feeds/history.yaml": "name: history\nconnection: drops\ncontract: history@1.0.0\n"
        "select: {path: 'history/*.parquet'}\nformat: {codec: parquet}\ncadence: 30d\n",
        "templates/lines.yaml": "name: lines\nparameters:\n  - {name: line}\n  - {name: connection}\n"
        "  - {name: number, type: integer}\ninstances: {table: lines.csv}\nfeeds:\n" + "".join(feeds),
        "templates/lines.csv": "line,connection,number\n" + rows,
    }
    for number in range(3):
        files[f"connections/mqtt-{number}.yaml"] = (
            f"name: mqtt-{number}\nkind: mqtt\nhost: 127.0.0.1\nport: {port}\nclientId: weftline-young-{number}\n"
            + ("ownLane: true\n" if own_lane else "")
        )
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for line in range(lines):
        (folder / "data" / f"line-{line}").mkdir(parents=True, exist_ok=True)


def topic_count(lines: int = LINES, tags: int = TAGS) -> int:
    """Return how many topics the plant publishes."""
    return lines * tags


def fill(folder: Path, rows: int) -> None:
    """Store `rows` signals of the last thirty days before the plant is served."""
    if not rows:
        return
    number = pa.arange(0, rows)
    equipment = pa.array([f"line-{line}" for line in range(LINES)]).take(pc.bit_wise_and(number, 63))
    terms = pa.array([f"t{tag}" for tag in range(64)]).take(pc.bit_wise_and(pc.shift_right(number, 6), 63))
    table = pa.table(
        {
            "t": pc.add(pc.multiply(number, 500_000), 1_763_000_000_000_000),
            "equipment": equipment,
            "term": terms,
            "value": pc.add(pc.multiply(pc.bit_wise_and(number, 255).cast(pa.float64()), 0.25), 20.0),
        }
    )
    place = folder / "data" / "history.parquet"
    pq.write_table(table, place, row_group_size=100_000)
    fabric = open_fabric(folder)
    try:
        answer = Operations(fabric).ingest("history", os.fspath(place), history=True)
        assert answer["stored"] == rows, answer
    finally:
        fabric.close()
        place.unlink()
