"""The fabric that the fault rounds break: one MQTT connection, one HTTP connection, one drop folder, one dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DROP", "HTTP_FEED", "MQTT_FEED", "POISON_FEED", "Limits", "write_fault_fabric"]

MQTT_FEED, HTTP_FEED, FILE_FEED, POISON_FEED = "line.mqtt", "line.push", "line.files", "line.poison"
DROP = "data/drop"

_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: reading
version: 1.0.0
status: active
description:
  purpose: Records with an identity, so that a fault test can find each of them again
schema:
  - name: reading
    physicalName: reading
    properties:
      - name: id
        logicalType: string
        required: true
        logicalTypeOptions:
          maxLength: 60
      - name: value
        logicalType: number
        required: true
        logicalTypeOptions:
          minimum: 0
          maximum: 1000
"""

_FEED = """\
name: {name}
connection: {connection}
select: {select}
format:
  codec: {codec}
contract: reading@1.0.0
mode: enforce
cadence: 1h
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of the store a round may lower: sizes as fabric.yaml writes them."""

    min_free: str = ""
    memory: str = "512MB"


def write_fault_fabric(folder: Path, *, mqtt_port: int, port: int, limits: Limits | None = None) -> None:
    """Write the documents; `mqtt_port` 0 leaves the MQTT connection out, `port` is the server's."""
    given = limits or Limits()
    lake = f"  memoryLimit: {given.memory}\n" + (f"  minFree: {given.min_free}\n" if given.min_free else "")
    documents = {
        "fabric.yaml": f"name: faults\ntimezone: UTC\nlisten:\n  host: 127.0.0.1\n  port: {port}\nlake:\n{lake}",
        "contracts/reading.odcs.yaml": _CONTRACT,
        "connections/push.yaml": "name: push\nkind: http\n",
        "connections/drop.yaml": f"name: drop\nkind: files\npath: {DROP}\npollSeconds: 0.1\nsettleSeconds: 0\n",
        f"feeds/{HTTP_FEED}.yaml": _FEED.format(name=HTTP_FEED, connection="push", select="{}", codec="ndjson"),
        f"feeds/{FILE_FEED}.yaml": _FEED.format(
            name=FILE_FEED, connection="drop", select='{path: "*.ndjson"}', codec="ndjson"
        ),
    }
    if mqtt_port:
        documents["connections/plant.yaml"] = (
            f"name: plant\nkind: mqtt\nhost: 127.0.0.1\nport: {mqtt_port}\nclientId: weftline-faults\n"
            # What the broker drops is compared with what is missing, and $SYS messages are not records.
            "watchDrops: false\n"
        )
        for name, topic in ((MQTT_FEED, "good/{machine}"), (POISON_FEED, "poison/{machine}")):
            documents[f"feeds/{name}.yaml"] = _FEED.format(
                name=name, connection="plant", select=f'{{topic: "{topic}"}}', codec="json"
            )
    for place, text in documents.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    (folder / DROP).mkdir(parents=True, exist_ok=True)
