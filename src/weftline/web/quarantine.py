"""Quarantine: groups of records that failed the same way, each with its reasons beside the source's own bytes."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from weftline.errors import InputError
from weftline.service.views import QuarantineRecord
from weftline.web.format import visible_lines
from weftline.web.render import Visit, page, segment
from weftline.web.visits import form_of, go

__all__ = ["Line", "Original", "group", "groups", "original_of", "replay"]

RECORDS = 20
LINES = 40
WIDTH = 400


class Line(NamedTuple):
    """One line of an original, split so that the marked part stands out; `part` is empty where nothing is marked."""

    number: int
    before: str
    part: str
    after: str


class Original(NamedTuple):
    """A record's bytes as a person reads them."""

    lines: list[Line]
    cut: int
    """Lines left out."""
    binary: bool
    marked: bool


class ReasonMissingError(InputError):
    """Ask for the reason of a replay."""

    code = "reason-missing"


def _hex_lines(data: bytes) -> list[str]:
    return [
        f"{start:06x}  {data[start : start + 16].hex(' '):<47}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[start : start + 16])
        for start in range(0, min(len(data), LINES * 16), 16)
    ]


def _needles(record: QuarantineRecord) -> list[re.Pattern[str]]:
    """Return what to look for: the value found, as a whole word; else the field's own name."""
    words: list[str] = []
    for violation in record.violations:
        found = violation.found.strip().strip("'\"")
        if found and found not in {"nothing", "null", "missing", "none"}:
            words.append(found)
    words += [violation.field.rpartition(".")[2] for violation in record.violations if violation.field]
    return [re.compile(rf"(?<![\w.]){re.escape(visible_lines(word))}(?![\w.])") for word in words if word]


def original_of(record: QuarantineRecord) -> Original | None:
    """Return the original with the first place that fits a complaint marked; None where policy held it back."""
    if record.original is None:
        return None
    binary = record.encoding == "base64"
    if binary:
        try:
            texts = _hex_lines(base64.b64decode(record.original))
        except binascii.Error:
            texts = [record.original[:WIDTH]]
    else:
        texts = visible_lines(record.original).split("\n")
        if texts and not texts[-1]:
            texts.pop()
    told = None if binary else _told(record, texts)
    if told is not None and texts:
        return _shown(texts, told[0], told[1], told[1] + 1)
    for pattern in [] if binary else _needles(record):
        for place, text in enumerate(texts):
            hit = pattern.search(text)
            if hit:
                return _shown(texts, place, hit.start(), hit.end())
    return Original([Line(n + 1, text[:WIDTH], "", "") for n, text in enumerate(texts[:LINES])],
                    max(len(texts) - LINES, 0), binary, marked=False)  # fmt: skip


def _flat(attributes: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return what the transport said as (dotted name, text) pairs."""
    pairs: list[tuple[str, str]] = []
    for name, value in attributes.items():
        pairs += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(before + name, str(value))]
    return pairs


def _told(record: QuarantineRecord, texts: list[str]) -> tuple[int, int] | None:
    """Return line and column (from 0) where a codec stopped, when its complaint says at which character."""
    for violation in record.violations:
        said = re.search(r"\bcharacter (\d+)", violation.found)
        if said and record.stage == "decode":
            left = max(int(said[1]) - 1, 0)
            for place, text in enumerate(texts):
                if left <= len(text):
                    return place, min(left, max(len(text) - 1, 0))
                left -= len(text) + 1
    return None


def _shown(texts: list[str], place: int, start: int, end: int) -> Original:
    """Return the lines around a hit, and of its own line the stretch around the marked part."""
    first = max(0, place - LINES // 2) if len(texts) > LINES else 0
    lines = []
    for number, text in enumerate(texts[first : first + LINES], first):
        if number == place:
            left = max(0, start - WIDTH // 2)
            before = ("…" if left else "") + text[left:start]
            lines.append(Line(number + 1, before, text[start:end][:WIDTH], text[end : end + WIDTH // 2]))
        else:
            lines.append(Line(number + 1, text[:WIDTH], "", ""))
    return Original(lines, max(len(texts) - LINES, 0), binary=False, marked=True)


async def groups(visit: Visit) -> Response:
    """Show the groups, the most recent first."""
    found = list(await visit.site.reading.quarantine_groups(visit.asker))
    text = visit.query("q").casefold()
    shown = [
        row
        for row in found
        if text in f"{row.contract} {row.rule} {row.field} {row.code} {' '.join(row.feeds[:20])}".casefold()
    ]
    shown.sort(key=lambda row: (-row.last_seen, row.id))
    held = sum(row.records for row in found)
    tower = visit.site.road.tower()
    return page(
        visit, "quarantine.html", rows=shown[:100], left_out=max(len(shown) - 100, 0), total=len(found), held=held,
        text=visit.query("q"), checked=tower.checked, feeds=tower.feeds, topics="ledger",
    )  # fmt: skip


async def group(visit: Visit, problem: str = "", reason: str = "", status: int = 200) -> Response:
    """Show one group: what is wrong, its records, and the way to replay it."""
    name = visit.request.path_params["group"]
    actor = visit.actor_session.actor
    found = await visit.site.reading.quarantine_group(visit.asker, name)
    after = int(visit.query("after")) if visit.query("after").isdigit() else 0
    records = list(await visit.site.reading.quarantine_records(visit.asker, name, after, RECORDS + 1))
    shown = records[:RECORDS]
    chosen = next((row for row in shown if str(row.id) == visit.query("record")), shown[0] if shown else None)
    outcome = {key: visit.query(key) for key in ("tried", "released", "failing", "job", "state")}
    return page(
        visit, "quarantine_group.html", status, group=found, records=shown, chosen=chosen, after=visit.query("after"),
        original=original_of(chosen) if chosen else None, next=shown[-1].id if len(records) > RECORDS else 0,
        problem=problem, reason=reason, attributes=_flat(chosen.attributes) if chosen else [],
        outcome=outcome if outcome["job"] else None, key=secrets.token_urlsafe(12),
        may_replay=actor.has("administrator", "engineer"), topics="",
    )  # fmt: skip


async def replay(visit: Visit) -> Response:
    """Replay a group's originals, once per form, with a reason."""
    name = visit.request.path_params["group"]
    fields = await form_of(visit)
    reason = fields.get("reason", "").strip()
    if len(reason) < 3:
        error = ReasonMissingError(place="reason", found="no reason", expected="why it is right to try again")
        return await group(visit, f"Found {error.complaint.found}, expected {error.complaint.expected}.", reason, 422)
    done = await visit.site.reading.replay(visit.asker, name, reason, fields.get("key", ""))
    told = {
        "job": done.job,
        "state": done.state,
        "tried": done.tried,
        "released": done.released,
        "failing": done.still_failing,
    }
    return go(f"/quarantine/{segment(name)}?{urlencode(told)}")
