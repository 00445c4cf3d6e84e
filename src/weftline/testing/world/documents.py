"""The files of the suppliers and of the machining centre's adapter: what is in them and how each sender writes."""

from __future__ import annotations

import csv
import heapq
import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from weftline.testing.world.partners import SUPPLIERS, Supplier
from weftline.testing.world.plant import CNC_FEED, CNC_FOLDER
from weftline.testing.world.script import Play

__all__ = ["Drop", "supplier_files"]

Row = dict[str, Any]
_AGAIN_SECONDS = 1.0
_CNC_EVERY = 4.0
_RUBBISH = bytes(range(0x80, 0x100)) + b"\x00\xff\xfe"


class Drop(NamedTuple):
    """One file to be dropped, `due` real seconds after the start."""

    due: float
    feed: str
    folder: str
    name: str
    content: bytes
    records: int
    """Lines or rows as the sender counts them; of a broken file what was meant."""


class _Moment(NamedTuple):
    """What a file is made from beside its sender: randomness, its number, the time, and the trouble of its feed."""

    rng: random.Random
    run: int
    number: int
    at: datetime
    trouble: str


def supplier_files(play: Play) -> Iterator[Drop]:
    """Yield the files of all suppliers and of the adapter, for ever, in order of time."""
    streams = [_stream(play, supplier, feed) for supplier in SUPPLIERS for feed in supplier.files]
    return heapq.merge(*streams, _adapter(play), key=lambda drop: (drop.due, drop.name))


def _stream(play: Play, supplier: Supplier, feed: str) -> Iterator[Drop]:
    rng = play.stream(f"suppliers:{feed}")
    form, word, every = supplier.files[feed]
    make, write, ending = _FORMS[form]
    world, number = rng.uniform(0.5, 2.5), 0
    while True:
        due = world / play.speed
        trouble = play.trouble_of(feed, due)
        rows = make(supplier, _Moment(rng, play.run, number, play.at(due).replace(microsecond=0), trouble))
        content = write(rows)
        if trouble == "file-broken":
            content = content[: len(content) * 2 // 3] + _RUBBISH + bytes([number % 256])
        drop = Drop(due, feed, supplier.name, f"{word}-{play.run}-{number:06d}.{ending}", content, len(rows))
        if trouble != "stock-silent":
            yield drop
        if trouble == "file-twice":
            # The same bytes under another name, as a sender does that lost our answer.
            again = f"{word}-{play.run}-{number:06d}-again.{ending}"
            yield drop._replace(due=due + _AGAIN_SECONDS / play.speed, name=again)
        world += every * rng.uniform(0.9, 1.1)
        number += 1


def _despatch(supplier: Supplier, moment: _Moment) -> list[Row]:
    """Return the lines of one despatch advice, in our words and units."""
    rng, asn = moment.rng, f"{supplier.prefix}-{moment.run}-{77101 + moment.number:05d}"
    rows: list[Row] = []
    for line in range(1, rng.randint(1, 3) + 1):
        goods = rng.choice(supplier.goods)
        step = 0.5 if goods.uom == "KGM" else 1
        quantity = float(round(goods.quantity * rng.uniform(0.5, 1.5) / step) * step)
        rows.append(
            {
                "asn": asn,
                "line": line,
                "order": str(supplier.order + rng.randrange(8)),
                "material": goods.number,
                "lot": _lot(supplier, rng),
                "quantity": quantity,
                "uom": goods.uom,
                "ship_time": moment.at,
                "eta": moment.at + timedelta(hours=rng.randint(6, 72)),
                "gross_weight": round(quantity * goods.weight * 1.04, 3),
                "sscc": f"{rng.randrange(10**17, 10**18):018d}",
                "remark": rng.choice(("", "", "Rückgabe der Ladungsträger", "handle with care")),
            }
        )
    if moment.trouble == "wrong-asn":
        for row in rows:
            row["quantity"], row["uom"] = float(max(1, round(row["quantity"] / 60))), "CT"
        if moment.number % 2:
            rows[-1]["lot"] = ""
    return rows


def _lot(supplier: Supplier, rng: random.Random) -> str:
    return f"{supplier.lot}-{rng.choice('KLCM')}{rng.randrange(1000, 9999)}"


def _confirm(supplier: Supplier, moment: _Moment) -> list[Row]:
    rng = moment.rng
    return [
        {
            "order": str(supplier.order + rng.randrange(8)),
            "line": line,
            "material": goods.number,
            "confirmed_quantity": float(round(goods.quantity * rng.uniform(0.8, 1.2))),
            "confirmed_date": (moment.at + timedelta(days=rng.randint(2, 21))).date().isoformat(),
            "status": "accepted" if rng.random() < 0.9 else "changed",
            "confirmed_at": moment.at,
        }
        for line, goods in enumerate(rng.choices(supplier.goods, k=rng.randint(1, 3)), 1)
    ]


def _count(supplier: Supplier, moment: _Moment) -> list[Row]:
    rng = moment.rng
    return [
        {
            "material": goods.number,
            "lot": _lot(supplier, rng),
            "quantity": float(round(goods.quantity * rng.uniform(2, 6)))
            * (-1 if moment.trouble == "stock-negative" else 1),
            "uom": goods.uom,
            "as_of": moment.at,
        }
        for goods in supplier.goods
    ]


def _iso(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


def _ndjson(rows: list[Row]) -> bytes:
    """Write NDJSON; a text without content is left out."""
    lines = ({key: _iso(value) for key, value in row.items() if value != ""} for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _parquet(rows: list[Row]) -> bytes:
    table = pa.Table.from_pylist([{key: value or None for key, value in row.items()} for row in rows])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _csv(
    heads: dict[str, str], *, delimiter: str = ",", zone: str = "", decimal: str = ".", encoding: str = "utf-8"
) -> Callable[[list[Row]], bytes]:
    """Return a writer of CSV whose headings are `heads`; with a zone, times are local ones of central Europe."""

    def cell(value: Any) -> str:
        if isinstance(value, datetime):
            return value.astimezone(ZoneInfo(zone)).strftime("%d.%m.%Y %H:%M:%S") if zone else str(_iso(value))
        return str(value).replace(".", decimal) if isinstance(value, float) else str(value)

    def write(rows: list[Row]) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
        writer.writerow(heads.values())
        writer.writerows([cell(row[key]) for key in heads] for row in rows)
        return out.getvalue().encode(encoding)

    return write


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_CONFIRMATION = ("order", "line", "material", "confirmed_quantity", "confirmed_date", "status", "confirmed_at")
_ASN = (
    "asn",
    "line",
    "order",
    "material",
    "lot",
    "quantity",
    "uom",
    "ship_time",
    "eta",
    "gross_weight",
    "sscc",
    "remark",
)


def _heads(names: tuple[str, ...], words: str) -> dict[str, str]:
    return dict(zip(names, words.split("|"), strict=True))


_GERMAN = {"C62": "STK", "KGM": "KG", "accepted": "bestätigt", "changed": "geändert"}


def _in_german(make: Callable[[Supplier, _Moment], list[Row]]) -> Callable[[Supplier, _Moment], list[Row]]:
    """Say units, states and dates as an Austrian house does."""

    def made(supplier: Supplier, moment: _Moment) -> list[Row]:
        rows = make(supplier, moment)
        for row in rows:
            for key in ("uom", "status"):
                if key in row:
                    row[key] = _GERMAN.get(row[key], row[key])
            if "confirmed_date" in row:
                row["confirmed_date"] = ".".join(reversed(row["confirmed_date"].split("-")))
        return rows

    return made


def _in_pounds(supplier: Supplier, moment: _Moment) -> list[Row]:
    rows = _despatch(supplier, moment)
    for row in rows:
        row["gross_weight"] = round(row["gross_weight"] / 0.45359237, 3)
    return rows


_DANUBE: dict[str, Any] = {"delimiter": ";", "zone": "Europe/Vienna", "decimal": ",", "encoding": "cp1252"}

_FORMS: dict[str, tuple[Callable[[Supplier, _Moment], list[Row]], Callable[[list[Row]], bytes], str]] = {
    "asn-ndjson": (_despatch, _ndjson, "ndjson"),
    "asn-parquet": (_despatch, _parquet, "parquet"),
    "bodrog-asn": (
        _despatch,
        _csv(
            _heads(_ASN, "ASN|Line|Order|Material|Lot|Quantity|UoM|Shipped|ETA|GrossWeight|SSCC|Remark"),
            delimiter=";", zone="Europe/Budapest", decimal=",",
        ),
        "csv",
    ),
    "danube-asn": (
        _in_german(_despatch),
        _csv(
            _heads(
                _ASN,
                "Lieferschein|Pos|Bestellung|Artikel|Charge|Menge|Einheit|Versand|Ankunft|Gewicht_brutto|NVE|Ladungsträger",
            ),
            **_DANUBE,
        ),
        "csv",
    ),
    "moravia-asn": (
        _in_pounds,
        _csv(_heads(_ASN, "asn|line|po|part|batch|qty|unit|shipped_at|eta|weight_lb|sscc|remark")),
        "csv",
    ),
    "confirmation-csv": (_confirm, _csv(_same(*_CONFIRMATION), delimiter=";", decimal=","), "csv"),
    "confirmation-ndjson": (_confirm, _ndjson, "ndjson"),
    "danube-confirmation": (
        _in_german(_confirm),
        _csv(_heads(_CONFIRMATION, "Bestellung|Pos|Artikel|Menge|Liefertermin|Status|Bestätigt am"), **_DANUBE),
        "csv",
    ),
    "stock-csv": (_count, _csv(_same("material", "lot", "quantity", "uom", "as_of")), "csv"),
    "stock-parquet": (_count, _parquet, "parquet"),
}  # fmt: skip
"""Form → how its rows are made, how they are written, ending of the file."""


def _adapter(play: Play) -> Iterator[Drop]:
    """Yield the log of the machining centre in pieces, as an adapter that turns its log over."""
    rng = play.stream(f"suppliers:{CNC_FEED}")
    world, number, left, execution = 2.0, 0, 0, "READY"
    while True:
        lines = []
        for step in range(int(_CNC_EVERY)):
            at = play.at((world - _CNC_EVERY + step + rng.random() * 0.9) / play.speed)
            stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            left -= 1
            if left <= 0:
                execution = {"ACTIVE": "READY", "READY": "ACTIVE"}[execution]
                left = rng.randint(20, 90) if execution == "ACTIVE" else rng.randint(4, 9)
                lines.append(f"{stamp}|execution|{execution}|program|O{rng.randrange(1000, 1010)}")
            speed_now = 9000 if execution == "ACTIVE" else 0
            position = f"Xact|{rng.uniform(-200, 200):.3f}|Yact|{rng.uniform(-150, 150):.3f}"
            lines.append(
                f"{stamp}|Srpm|{max(0, speed_now + rng.gauss(0, 12)):.0f}|Sload|{rng.uniform(5, 60):.1f}|{position}"
            )
        content = "".join(f"{line}\n" for line in lines).encode()
        yield Drop(
            world / play.speed, CNC_FEED, CNC_FOLDER, f"lv-2-m2-{play.run}-{number:06d}.shdr", content, len(lines)
        )
        world += _CNC_EVERY
        number += 1
