"""The two plants as data: seven lines, what their gateways measure, and what is usual. Nothing moves here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CNC", "CNC_FEED", "CNC_FOLDER", "LINES", "SHARED_FEEDS", "Line", "Tag", "feed_of", "tags"]


@dataclass(frozen=True, slots=True)
class Tag:
    """One measured value of a line. Values are in `unit` (UN/ECE Rec 20) as the gateway sends them."""

    name: str
    unit: str
    usual: float
    """Set point while the line runs."""
    noise: float
    """Standard deviation around it."""
    idle: float
    """Where it goes while the line waits or stands."""
    low: float
    high: float
    """What the contract admits; it holds `usual`, `idle` and five times `noise` on both sides."""
    every: int = 1
    """World seconds between two values."""
    contract: str = "line-signal"
    plain: bool = False
    """The device sends the bare number instead of JSON."""
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `cycle` is the ideal time of a piece in seconds, `scrap` the share of pieces that fail."""

    site: str
    name: str
    title: str
    cycle: float
    scrap: float
    order: str
    tags: tuple[Tag, ...]

    @property
    def equipment(self) -> str:
        """Return the id facts carry."""
        return f"{self.site}/{self.name}"


CNC = "LV-2-M2"
"""A machining centre of LV-2 whose adapter writes an SHDR log."""
CNC_FEED = "lviv.cnc-log"
CNC_FOLDER = "cnc"
SHARED_FEEDS = ("lviv.states", "gyor.states", "lviv.counters", "gyor.counters", CNC_FEED)

_POWER = "energy_power"

LINES: tuple[Line, ...] = (
    Line("lviv", "LV-1", "Die casting", 48.0, 0.02, "MO-7744", (
        Tag("melt_temperature", "CEL", 690, 2.5, 655, 600, 760),
        Tag("die_temperature", "CEL", 221, 3, 150, 60, 280),
        Tag("injection_pressure", "BAR", 820, 12, 0, 0, 1000),
        Tag("clamp_force", "B47", 4200, 30, 0, 0, 5000),
        Tag("shot_velocity", "MTS", 3.2, 0.08, 0, 0, 6),
        Tag("coolant_flow", "L2", 42, 0.8, 30, 10, 60, 2),
        Tag("coolant_temperature", "CEL", 31, 0.4, 24, 5, 60, 2),
        Tag("cycle_time", "SEC", 48, 0.9, 48, 30, 90, 2),
        Tag(_POWER, "KWT", 185, 8, 40, 0, 300, 2),
    )),
    Line("lviv", "LV-2", "Machining", 88.0, 0.012, "MO-7740", (
        Tag("spindle_speed", "RPM", 9000, 40, 0, 0, 12000),
        Tag("spindle_load", "P1", 46, 5, 2, 0, 120),
        Tag("feed_rate", "H81", 2400, 35, 0, 0, 5000),
        Tag("vibration", "C16", 2.1, 0.2, 0.3, 0, 9, digits=3),
        Tag("coolant_temperature", "CEL", 24, 0.4, 21, 5, 60, 2),
        Tag("coolant_pressure", "BAR", 38, 0.7, 0, 0, 80, 2, plain=True),
        Tag("cycle_time", "SEC", 88, 1.4, 88, 60, 160, 2),
        Tag(_POWER, "KWT", 34, 3, 9, 0, 90, 2),
    )),
    Line("lviv", "LV-3", "Shaft grinding", 39.0, 0.015, "MO-7738", (
        Tag("wheel_speed", "RPM", 1800, 9, 0, 0, 2500),
        Tag("wheel_load", "P1", 38, 4, 1, 0, 120),
        Tag("vibration", "C16", 1.2, 0.12, 0.2, 0, 9, digits=3),
        Tag("coolant_temperature", "CEL", 22, 0.4, 20, 5, 60, 2),
        Tag("coolant_flow", "L2", 65, 1.2, 20, 5, 90, 2, plain=True),
        Tag("shaft_diameter", "MMT", 12.0, 0.002, 12.0, 11.95, 12.05, 2, digits=4),
        Tag("cycle_time", "SEC", 39, 0.6, 39, 25, 80, 2),
        Tag(_POWER, "KWT", 21, 1.5, 6, 0, 60, 2),
    )),
    Line("gyor", "GY-1", "Pump assembly A", 57.0, 0.008, "MO-7729", (
        Tag("press_force", "B47", 18, 0.3, 0, 0, 30),
        Tag("torque", "NU", 24, 0.4, 0, 0, 40),
        Tag("leak_rate", "41", 0.8, 0.1, 0.2, 0, 5, digits=3),
        Tag("air_pressure", "BAR", 6.2, 0.06, 6.3, 3, 9, 2),
        Tag("hall_temperature", "CEL", 21.4, 0.1, 21, -10, 45, 2, "ambient-temperature"),
        Tag("hall_humidity", "P1", 43, 0.5, 43, 5, 95, 2, plain=True),
        Tag("cycle_time", "SEC", 57, 1.0, 57, 30, 120, 2),
        Tag(_POWER, "KWT", 12, 0.8, 4, 0, 40, 2),
    )),
    Line("gyor", "GY-2", "Pump assembly B", 62.0, 0.009, "MO-7731", (
        Tag("press_force", "B47", 19, 0.3, 0, 0, 30),
        Tag("torque", "NU", 31, 0.5, 0, 0, 60),
        Tag("leak_rate", "41", 0.9, 0.1, 0.2, 0, 5, digits=3),
        Tag("air_pressure", "BAR", 6.1, 0.06, 6.3, 3, 9, 2),
        Tag("hall_temperature", "CEL", 21.9, 0.1, 21, -10, 45, 2, "ambient-temperature"),
        Tag("hall_humidity", "P1", 45, 0.5, 45, 5, 95, 2, plain=True),
        Tag("cycle_time", "SEC", 62, 1.1, 62, 30, 120, 2),
        Tag(_POWER, "KWT", 13, 0.9, 4, 0, 40, 2),
    )),
    Line("gyor", "GY-3", "Paint and cure", 70.0, 0.02, "MO-7730", (
        Tag("oven_zone_1", "CEL", 178, 0.8, 160, 20, 230, 1, "cure-temperature"),
        Tag("oven_zone_2", "CEL", 182, 0.8, 162, 20, 230, 1, "cure-temperature"),
        Tag("oven_zone_3", "CEL", 180, 0.8, 161, 20, 230, 1, "cure-temperature"),
        # An American booth controller: it says °F and means it, so the contract converts.
        Tag("booth_temperature", "FAH", 73.4, 0.4, 72, 14, 113, 2, "ambient-temperature"),
        Tag("booth_humidity", "P1", 55, 1.0, 52, 5, 95, 2, plain=True),
        Tag("conveyor_speed", "2X", 1.8, 0.02, 0, 0, 4, digits=3),
        Tag("paint_flow", "41", 320, 5, 0, 0, 600),
        Tag("bath_ph", "Q30", 8.4, 0.05, 8.4, 4, 12, 2, plain=True),
        Tag("bath_conductivity", "G42", 1250, 12, 1250, 200, 3000, 2, plain=True),
        Tag("gas_flow", "MQH", 38, 0.8, 12, 0, 80, 2),
        Tag(_POWER, "KWT", 96, 4, 60, 0, 200, 2),
    )),
    Line("gyor", "GY-4", "End-of-line test", 82.0, 0.011, "MO-7726", (
        Tag("test_pressure", "BAR", 10, 0.04, 0, 0, 16, digits=3),
        Tag("flow", "L2", 80, 0.7, 0, 0, 140),
        Tag("leak_rate", "41", 0.5, 0.07, 0.1, 0, 5, digits=3),
        Tag("motor_current", "AMP", 6.4, 0.15, 0, 0, 16),
        Tag("vibration", "C16", 1.6, 0.15, 0.1, 0, 9, digits=3),
        Tag("noise", "2N", 68, 0.8, 45, 20, 110, 2, plain=True),
        Tag("cycle_time", "SEC", 82, 1.2, 82, 50, 160, 2),
        Tag(_POWER, "KWT", 8, 0.6, 3, 0, 30, 2),
    )),
)  # fmt: skip
"""All lines; their tags make the rows of the two instance tables of signal feeds."""


def feed_of(line: Line, tag: Tag) -> str:
    """Return the name of the feed of one tag."""
    return f"{line.site}.{line.name}.{tag.name}"


def tags() -> list[tuple[Line, Tag]]:
    """Return every line and tag, in order."""
    return [(line, tag) for line in LINES for tag in line.tags]
