"""Suppliers and carriers as data: what they deliver or carry, in which form they write, how often."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARRIERS", "PLACES", "STATUSES", "SUPPLIERS", "Carrier", "Goods", "Supplier", "carrier_of_feed"]


@dataclass(frozen=True, slots=True)
class Goods:
    """One material: its number at the supplier, weight of one piece in kilograms, usual quantity of a line."""

    number: str
    weight: float
    quantity: int
    uom: str = "C62"


@dataclass(frozen=True, slots=True)
class Supplier:
    """One supplier. `files` maps each feed to (form, first part of the file name, world seconds between two files)."""

    name: str
    lot: str
    """The two letters its lots begin with."""
    prefix: str
    """Three letters of its despatch advices."""
    order: int
    """First of its purchase orders."""
    goods: tuple[Goods, ...]
    files: dict[str, tuple[str, str, float]]


@dataclass(frozen=True, slots=True)
class Carrier:
    """One carrier: `code` begins its numbers, `form` is json or ndjson, `every` is world seconds between two pushes."""

    name: str
    code: str
    form: str
    every: float

    @property
    def feed(self) -> str:
        """Return the feed it pushes to."""
        return f"{self.name}.events"


SUPPLIERS: tuple[Supplier, ...] = (
    Supplier("bodrog", "BB", "DES", 4500118200,
             (Goods("BB-6203-2RS", 0.065, 2400), Goods("BB-6204-2RS", 0.106, 1200), Goods("BB-6002-ZZ", 0.03, 1000)),
             {"bodrog.asn": ("bodrog-asn", "asn", 5.0), "bodrog.confirmation": ("confirmation-csv", "orc", 7.0)}),
    Supplier("danube", "DM", "LIE", 4500118300,
             (Goods("DM-N42-25", 0.021, 3000), Goods("DM-N48-32", 0.034, 1600)),
             {"danube.asn": ("danube-asn", "lieferschein", 6.0),
              "danube.confirmation": ("danube-confirmation", "auftrag", 7.0)}),
    Supplier("karpaty", "KA", "ASN", 4500118400,
             (Goods("KA-ALSI9", 1.0, 4000, "KGM"), Goods("KA-ALSI12", 1.0, 2500, "KGM")),
             {"karpaty.asn": ("asn-ndjson", "asn", 6.0), "karpaty.confirmation": ("confirmation-ndjson", "orc", 7.0)}),
    Supplier("moravia", "MS", "MOR", 4500118500,
             (Goods("MS-25X40X7", 0.012, 5000), Goods("MS-OR-32", 0.002, 12000)),
             {"moravia.asn": ("moravia-asn", "asn", 6.0), "moravia.stock": ("stock-csv", "stock", 5.0)}),
    Supplier("silesia", "SS", "SIL", 4500118600,
             (Goods("SS-C45-12", 1.0, 1800, "KGM"), Goods("SS-42CR-16", 1.0, 900, "KGM")),
             {"silesia.stock": ("stock-parquet", "stock", 5.0), "silesia.asn": ("asn-parquet", "asn", 6.0)}),
    Supplier("tisza", "TE", "TIS", 4500118700,
             (Goods("TE-VFD-07", 0.84, 120), Goods("TE-VFD-15", 1.12, 80)),
             {"tisza.asn": ("asn-ndjson", "asn", 6.0), "tisza.confirmation": ("confirmation-ndjson", "orc", 7.0)}),
)  # fmt: skip

CARRIERS: tuple[Carrier, ...] = (Carrier("dnister", "DNIS", "json", 2.0), Carrier("vereb", "VERB", "ndjson", 2.0))

STATUSES = ("PICKED_UP", "DEPARTED", "BORDER", "ARRIVED", "OUT_FOR_DELIVERY", "DELIVERED")

PLACES: tuple[tuple[str, float, float], ...] = (
    ("UALWO", 49.8397, 24.0297),
    ("UASTY", 49.2567, 23.8500),
    ("HUGYO", 47.6875, 17.6504),
    ("HUMCQ", 48.1035, 20.7784),
    ("SKKSC", 48.7164, 21.2611),
    ("PLKTW", 50.2649, 19.0238),
    ("ATLNZ", 48.3069, 14.2858),
    ("CZZLN", 49.2244, 17.6628),
)
"""UN/LOCODE, latitude, longitude of the terminals on the way."""


def carrier_of_feed(feed: str) -> Carrier:
    """Return the carrier that pushes to a feed."""
    return next(carrier for carrier in CARRIERS if carrier.feed == feed)
