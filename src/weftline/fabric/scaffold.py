"""`weftline init`: write a small, commented folder that passes `check` and runs as it is."""

from __future__ import annotations

import re
from pathlib import Path

from weftline.errors import ConflictError, NotFoundError, nearest

__all__ = ["TEMPLATES", "init"]


class FolderTakenError(ConflictError):
    """Say which file is in the way; nothing was written."""

    code = "fabric-exists"


_IGNORE = """\
# State of the fabric: lake, spool, control database, keys. Never under version control.
.weftline/
# Dropped files are data, not documents.
data/
"""

_FABRIC = """\
# The fabric. Every document is checked by `weftline check`; `weftline schema fabric` lists every key.
name: {name}
description: {description}
timezone: UTC            # pages show times in this zone; inside, all times are UTC
listen:
  host: 127.0.0.1        # other machines may connect once this is another address; then with TLS
  port: 8420
retention:
  quarantine: 90d
  archive: 30d
  decisions: 400d
"""

_READINGS = """\
# What one reading is, and what it must hold (Open Data Contract Standard 3.1).
apiVersion: v3.1.0
kind: DataContract
id: {name}
version: 1.0.0           # raise it when you change anything below
status: active
description:
  purpose: {purpose}
schema:
  - name: {name}
    physicalName: {dataset}   # the dataset the rows are written to
    customProperties:
      - property: eventTime
        value: measured_at
    properties:
      - name: measured_at
        logicalType: timestamp
        required: true
        transformLogic: time        # the source calls it `time`
      - name: machine
        logicalType: string
        required: true
        logicalTypeOptions:
          maxLength: 40
      - name: temperature
        logicalType: number
        required: true
        logicalTypeOptions:
          minimum: -40
          maximum: 400
        customProperties:
          - property: unit          # UN/ECE Recommendation 20 or UCUM
            value: Cel
      - name: good_parts
        logicalType: integer
        logicalTypeOptions:
          minimum: 0
"""

_DESPATCH = """\
# What one line of a despatch advice is, and what it must hold (Open Data Contract Standard 3.1).
apiVersion: v3.1.0
kind: DataContract
id: {name}
version: 1.0.0           # raise it when you change anything below
status: active
description:
  purpose: Lines of despatch advices, as the supplier's portal exports them
schema:
  - name: {name}
    physicalName: {dataset}   # the dataset the rows are written to
    customProperties:
      - property: eventTime
        value: despatched_at
    properties:
      - name: despatched_at
        logicalType: timestamp
        required: true
        transformLogic: despatch_time   # the source calls it `despatch_time`
      - name: despatch_advice
        logicalType: string
        required: true
      - name: purchase_order
        logicalType: string
        required: true
      - name: gtin
        logicalType: string
        required: true
        logicalTypeOptions:
          pattern: ^[0-9]{{14}}$
      - name: quantity
        logicalType: integer
        required: true
        logicalTypeOptions:
          minimum: 1
"""

_DROP = """\
# A drop folder: files appear here whole (write elsewhere, then move them in).
name: {name}
kind: files
path: data/{name}        # relative to this fabric
"""

_FEED = """\
# One stream of records under one contract.
name: {name}
connection: {connection}
select:
  path: "*.csv"          # which files of the connection belong to this feed
format:
  codec: csv             # header line first; `weftline schema feed` lists the options
contract: {contract}@1.0.0
mode: enforce            # observe: store and count; warn: as observe, with attention; enforce: quarantine
cadence: 1h              # silence beyond three times this is a gap
{more}"""

_SITE = """\
# One plant after ISA-95: areas, lines, work units; shifts in local time.
name: {name}
timezone: UTC
areas:
  - name: pressing
    lines:
      - name: line-1
        units:
          - name: press-1
            idealCycle: 4s
          - name: press-2
            idealCycle: 4s
shifts:
  - {{name: early, start: "06:00", end: "14:00", days: [mon, tue, wed, thu, fri]}}
  - {{name: late, start: "14:00", end: "22:00", days: [mon, tue, wed, thu, fri]}}
"""

_PARTNER = """\
# One company data is exchanged with.
name: {name}
role: supplier
critical: true           # its feeds are shown first when they need attention
contacts:
  - name: Logistics desk
    email: despatch@supplier.example
"""

_TEMPLATE = """\
# Feeds written once and made for every row of presses.csv: {press} in a text is replaced by the row's value.
name: presses
parameters:
  - {name: press, description: Work unit}
  - {name: site, type: enum, values: [north, south]}
  - {name: limit, type: number, description: The contract reads it as feed.limit}
instances:
  table: presses.csv
feeds:
  - name: "{site}-{press}"
    connection: "{site}-drop"
    select:
      path: "{press}/*.csv"
    format:
      codec: csv
    contract: press-readings@1.0.0
    site: "{site}"
    cadence: 1h
"""

_TABLE = """\
press,site,limit
press-1,north,180
press-2,north,180
press-1,south,190
press-2,south,190
"""


def _plant() -> dict[str, str]:
    purpose = "Readings of the presses, as their controllers write them"
    return {
        "fabric.yaml": _FABRIC.format(name="plant", description="One plant with its machines"),
        "contracts/press-readings.odcs.yaml": _READINGS.format(
            name="press-readings", dataset="press_reading", purpose=purpose
        ),
        "connections/presses.yaml": _DROP.format(name="presses"),
        "feeds/press-readings.yaml": _FEED.format(
            name="press-readings", connection="presses", contract="press-readings", more="site: plant-1\n"
        ),
        "sites/plant-1.yaml": _SITE.format(name="plant-1"),
    }


def _supplier() -> dict[str, str]:
    return {
        "fabric.yaml": _FABRIC.format(name="supplier", description="What one supplier sends"),
        "contracts/despatch-lines.odcs.yaml": _DESPATCH.format(name="despatch-lines", dataset="despatch_line"),
        "connections/supplier-drop.yaml": _DROP.format(name="supplier-drop"),
        "feeds/despatch-lines.yaml": _FEED.format(
            name="despatch-lines",
            connection="supplier-drop",
            contract="despatch-lines",
            more="partner: first-supplier\ncritical: true\n",
        ),
        "partners/first-supplier.yaml": _PARTNER.format(name="first-supplier"),
    }


def _two_plants() -> dict[str, str]:
    purpose = "Readings of the presses of both plants"
    return {
        "fabric.yaml": _FABRIC.format(name="two-plants", description="Two plants fed by one template"),
        "contracts/press-readings.odcs.yaml": _READINGS.format(
            name="press-readings", dataset="press_reading", purpose=purpose
        ),
        "connections/north-drop.yaml": _DROP.format(name="north-drop"),
        "connections/south-drop.yaml": _DROP.format(name="south-drop"),
        "templates/presses.yaml": _TEMPLATE,
        "templates/presses.csv": _TABLE,
        "sites/north.yaml": _SITE.format(name="north"),
        "sites/south.yaml": _SITE.format(name="south"),
    }


TEMPLATES = {"plant": _plant, "supplier": _supplier, "two-plants": _two_plants}
"""Names of `init --template` and what each writes: path → text."""


_DROP_FOLDER = re.compile(r"^path: (data/[\w/-]+)", re.MULTILINE)


def init(directory: Path | str, template: str = "plant") -> tuple[Path, ...]:
    """Write a new fabric folder and return its files; refuse if one of them exists."""
    if template not in TEMPLATES:
        raise NotFoundError(
            place="init",
            found=f"template '{template}'",
            expected=f"one of {', '.join(TEMPLATES)}",
            next_step=nearest(template, TEMPLATES).capitalize(),
        )
    root = Path(directory)
    files = {".gitignore": _IGNORE, **TEMPLATES[template]()}
    # A drop folder that is there from the start: git keeps no empty folder, and `up` must not call a fresh feed failing.
    files |= {
        f"{folder}/.gitkeep": "# keeps the drop folder in version control\n"
        for text in list(files.values())
        for folder in _DROP_FOLDER.findall(text)
    }
    for name in files:
        if (root / name).exists():
            raise FolderTakenError(
                place=str(root / name),
                found="a file that exists",
                expected="a folder without a fabric",
                next_step="Give another folder, or remove the file.",
            )
    written = []
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return tuple(written)
