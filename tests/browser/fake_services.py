# ruff: noqa: E501 - the story reads as a table: one feed, one rule, one group a line
"""A seeded service behind the website: one story, no road. Times run from the moment it is made."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pyarrow as pa

from weftline.batch import TIMESTAMP
from weftline.errors import NotFoundError, RefusedError
from weftline.service.actor import Actor
from weftline.service.people import Invitation, SessionView, SignedIn, WrongPasswordError
from weftline.service.views import (
    Attention,
    ConnectionView,
    ContractView,
    DatasetColumn,
    DatasetRow,
    FeedDetail,
    FeedRow,
    Gap,
    Latency,
    LedgerDetail,
    LedgerRow,
    NotRunRule,
    QuarantineGroup,
    QuarantineRecord,
    RatePoint,
    ReplayView,
    RuleView,
    SenderSide,
    SetRuleResult,
    Tower,
    ViolationView,
)
from weftline.web.ports import About, RowsPage, Step

SECOND = 1_000_000
MINUTE = 60 * SECOND
PASSWORD = "a long enough sentence"
EMAIL = "oksana.hnatiuk@carpathia.example"

HOSTILE = (
    "<script>alert('x')</script>",
    "\u202egnp.exe\u202c reversed",
    "خط الإنتاج رقم ١",
    "🏭🧵 mixed 🪡",
    "null\x00bell\x07tab\tname",
    "n" * 300,
    "a/b?c=d&e=f#g%20h",
    "\"quoted\" 'name' {{ 7*7 }}",
)


def _spec(name, partner, site, kind, state, cadence, age, quarantined=0, critical=False, reason="", received=0):
    return {
        "name": name, "partner": partner, "site": site, "kind": kind, "state": state, "cadence": cadence, "age": age,
        "quarantined": quarantined, "critical": critical, "reason": reason, "received": received,
    }  # fmt: skip


STORY = [
    _spec("bodrog.desadv", "Bodrog Bearings", "", "files", "rejecting", 86400, 1080, 12, True,
          "12 of the last 31 records broke line.uom is C62: CT instead of pieces.", 3184),
    _spec("bodrog.ordrsp", "Bodrog Bearings", "", "files", "live", 86400, 1080, 0, received=911),
    _spec("danube.events", "Danube Magnetics", "", "http", "live", 3600, 1560, received=44_120),
    _spec("danube.confirm", "Danube Magnetics", "", "files", "live", 86400, 2460, received=702),
    _spec("karpaty.desadv", "Karpaty Alloys", "", "files", "live", 86400, 3600, received=1210),
    _spec("moravia.stock", "Moravia Seals", "", "files", "silent", 86400, 117_000, received=412,
          reason="Expected every 24 h, nothing for 1 d 8 h; stock of 6203 at Győr is unknown."),
    _spec("silesia.desadv", "Silesia Steel Bar", "", "files", "live", 86400, 2880, received=1633),
    _spec("tisza.asn856", "Tisza Electronics", "", "files", "rejecting", 86400, 540, 4,
          reason="4 of 22 notices arrived after departure.", received=2204),
    _spec("dnister.events", "Dnister Cargo", "", "http", "never", 900, None, reason="Nothing has arrived since the feed was set up."),
    _spec("vereb.status", "Vereb Logistics", "", "http", "silent", 900, 2820,
          reason="Expected every 15 min, silent for 47 min; arrival times of 9 shipments are unknown.", received=18_204),
    _spec("vereb.epcis", "Vereb Logistics", "", "http", "live", 900, 180, received=90_233),
    _spec("lviv.lv1.mtconnect", "", "Lviv", "mqtt", "live", 10, 0.9, received=3_284_120),
    _spec("lviv.lv2.mtconnect", "", "Lviv", "mqtt", "failing", 10, 0.3, 61, reason="Rule completeness over the hour: 99.2 % where 99.5 % is expected.", received=1_284_906),
    _spec("lviv.lv3.shdr", "", "Lviv", "files", "live", 10, 0.4, received=2_984_533),
    _spec("lviv.mes", "", "Lviv", "http", "live", 120, 38, received=182_340),
    _spec("lviv.energy", "", "Lviv", "mqtt", "live", 30, 10, received=641_200),
    _spec("gyor.gy1.umh", "", "Győr", "mqtt", "live", 1, 0.3, received=4_021_884),
    _spec("gyor.gy2.umh", "", "Győr", "mqtt", "live", 1, 0.3, received=3_998_210),
    _spec("gyor.gy3.oven", "", "Győr", "mqtt", "rejecting", 1, 0.4, 4212, reason="4,212 records out of range since 14:08: values fit °F, the contract says °C.", received=1_882_403),
    _spec("gyor.gy4.umh", "", "Győr", "mqtt", "quiet", 1, 1.6, received=2_118_440),
    _spec("gyor.wms", "", "Győr", "http", "live", 60, 9, received=220_410),
    _spec("gyor.ot", "", "Győr", "mqtt", "unknown", None, 75, reason="No cadence is stated, so silence says nothing.", received=12_401),
]  # fmt: skip


class FakeSite:
    """Implements weftline.web.ports.Site: road, reading and people in one object."""

    def __init__(self, *, feeds: str = "story", seed: int = 7, signed_up: bool = True) -> None:
        self.random = random.Random(seed)
        self.started = self.now()
        self.road = self.reading = self.people = self
        self.sessions_by_token: dict[str, SignedIn] = {}
        self.links = {"first-link": Invitation("", ("administrator",), self.now() + 30 * MINUTE, True)}
        self.accounts = {EMAIL: (PASSWORD, "Oksana Hnatiuk", frozenset({"administrator"}))} if signed_up else {}
        self.replays: list[tuple[str, str, str]] = []
        self.bump = 0
        self.broken = ""
        self.kind = feeds
        self.specs = self._specs(feeds)

    def _specs(self, feeds: str) -> list[dict]:
        if feeds == "empty":
            return []
        if feeds == "hostile":
            return [
                _spec(name, HOSTILE[(place + 1) % 8] if place % 2 else "", "" if place % 2 else name, "mqtt",
                      ["rejecting", "silent", "live", "failing"][place % 4], 10, 4.0, 3, reason=name, received=10)
                for place, name in enumerate(HOSTILE)
            ]  # fmt: skip
        if feeds == "many":
            states = ["live"] * 96 + ["silent", "rejecting", "failing", "never"]
            return [
                _spec(f"plant{n % 20:02d}.line{n:05d}.signals", f"Supplier {n % 300:03d}" if n % 3 == 0 else "",
                      f"Plant {n % 20:02d}", "mqtt", states[n * 7 % 100], 10, 0.5 + n % 9, n % 5 if n % 100 > 96 else 0,
                      received=n * 17)
                for n in range(10_000)
            ]  # fmt: skip
        return STORY

    # Site
    def now(self) -> int:
        return time.time_ns() // 1000

    def about(self) -> About:
        steps = (
            Step("Fabric created", "lviv, sites/lviv.yaml, 1 plant, times in EET", True),
            Step("Administrator signed in", "with the one-time link; the link is void now", True),
            Step("First feed", "nothing has arrived; nothing is configured", False),
            Step("First contract", "inferred from your data, then yours to tighten", False),
        )
        return About(
            name="carpathia", zone="Europe/Kyiv", sites={"Győr": "Europe/Budapest"}, started=self.started,
            version="0.1.0", demo=True, folder="~/carpathia", steps=steps,
        )  # fmt: skip

    # Road
    def _row(self, spec: dict) -> FeedRow:
        received = spec["received"] + (self.bump if spec["state"] == "live" else 0)
        stored = max(received - spec["quarantined"] - 5, 0) if received else 0
        now = self.now()
        age = spec["age"]
        live = spec["state"] in {"live", "failing", "rejecting", "quiet"}
        fast = spec["cadence"] and spec["cadence"] <= 60
        return FeedRow(
            name=spec["name"], connection="mosquitto-gyor" if spec["kind"] == "mqtt" else spec["kind"],
            kind=spec["kind"], contract="machine_state" if spec["site"] else "shipment_line", version="2.1.0",
            partner=spec["partner"], site=spec["site"], critical=spec["critical"], state=spec["state"],
            since=now - int((age or 3600) * SECOND), reason=spec["reason"],
            last_record=None if age is None else now - int(age * SECOND), age=age, cadence=spec["cadence"],
            rate_per_minute=(60 / spec["cadence"] * 24.9 if spec["cadence"] else None) if live else None,
            latency_ours=Latency(p50=84, p99=341) if fast else Latency(),
            latency_theirs=Latency(p50=1200, p99=9100.4) if live else Latency(),
            completeness=0.9998 if spec["name"] == "lviv.lv2.mtconnect" else 1.0 if fast else None,
            received=received, stored=stored, quarantined=spec["quarantined"], duplicate=received - stored - spec["quarantined"],
            ignored=0, expired=0, waiting=None if spec["kind"] == "files" and not received else 0,
            connection_state="connected" if spec["state"] != "never" else "connecting",
        )  # fmt: skip

    def feeds(self) -> list[FeedRow]:
        if self.broken:
            raise RuntimeError(self.broken)
        return [self._row(spec) for spec in self.specs]

    def _ledger(self, row: FeedRow) -> LedgerRow:
        numbered = row.name == "lviv.lv2.mtconnect"
        return LedgerRow(
            feed=row.name, received=row.received, stored=row.stored, quarantined=row.quarantined, duplicate=row.duplicate,
            ignored=0, expired=0, waiting=row.waiting, rows=row.stored * 2, frames=row.received // 100,
            sent=row.received + 318 if numbered else None, missing=318 if numbered else None,
            balanced=None if row.waiting is None else True,
        )  # fmt: skip

    def ledger(self) -> list[LedgerRow]:
        return [self._ledger(row) for row in self.feeds()]

    def tower(self) -> Tower:
        rows = self.feeds()
        now = self.now()
        states: dict[str, int] = {}
        for row in rows:
            states[row.state] = states.get(row.state, 0) + 1
        order = {"critical": 0, "warning": 1, "unknown": 2}
        needs = []
        for row in rows:
            if row.state in {"live", "quiet", "unknown"} or len(needs) >= 40:
                continue
            severity = "critical" if row.critical else "unknown" if row.state in {"silent", "never"} else "warning"
            steps = {
                "rejecting": "Open quarantine",
                "silent": "Show gaps",
                "never": "Ask partner",
                "failing": "Show rules",
            }
            needs.append(
                Attention(
                    id=row.name, severity=severity, title=f"{row.name} {_WORDS.get(row.state, row.state)}",
                    detail=row.reason or "no record yet", subject_kind="feed", subject=row.name, since=row.since,
                    deadline=now + (28 + 9 * len(needs)) * MINUTE if severity != "unknown" or len(needs) % 2 else None,
                    next_step=steps.get(row.state, "Look at the feed"),
                    href=f"/quarantine?q={row.name}" if row.state == "rejecting" else "/feeds/" + _quoted(row.name),
                    owner=row.partner or row.site,
                )
            )  # fmt: skip
        needs.sort(key=lambda item: (order[item.severity], item.deadline or 2**62))
        return Tower(
            time=now, commit_seq=self.bump, attention=needs, feeds=len(rows), states=states, checked=now - SECOND
        )

    def rates(self) -> list[RatePoint]:
        minute = self.now() // MINUTE * MINUTE
        noise = random.Random(3)
        return [
            RatePoint(time=minute - (180 - n) * MINUTE, received=None if 70 < n < 76 else int(21_000 + 1_800 * math.sin(n / 17) + noise.randint(-900, 900)))
            for n in range(180)
        ] if self.specs else []  # fmt: skip

    def feed(self, name: str) -> FeedDetail:
        spec = next((spec for spec in self.specs if spec["name"] == name), None)
        if spec is None:
            raise NotFoundError(
                place=f"feed '{name}'", found="no feed of this name", expected="a feed of this fabric",
                next_step="did you mean 'lviv.lv2.mtconnect'?",
            )  # fmt: skip
        row = self._row(spec)
        minute = self.now() // MINUTE * MINUTE
        noise = random.Random(5)
        points = [
            RatePoint(time=minute - (180 - n) * MINUTE, received=None if 60 < n < 66 else int(1490 + 120 * math.sin(n / 20) + noise.randint(-140, 140)))
            for n in range(180)
        ]  # fmt: skip
        numbered = name == "lviv.lv2.mtconnect"
        gaps = [
            Gap(start=minute - 120 * MINUTE, end=minute - 114 * MINUTE, seconds=343, kind="sequence", missing=234),
            Gap(start=minute - 40 * MINUTE, end=minute - 34 * MINUTE, seconds=336, kind="sequence", missing=84),
        ] if numbered else []  # fmt: skip
        contract = ContractView(
            id="machine_state", version="2.1.0", name="Machine state and signals", hash="9f2c1ab77e21d0",
            datasets=["signal", "equipment_state"],
            rules=[
                RuleView(id="execution.required", field="execution", kind="required", expected="a value", mode="enforce", failed=0),
                RuleView(id="Srpm.range", field="Srpm", kind="minimum", expected="0 to 12,000 rev/min", mode="enforce", failed=61),
                RuleView(id="line.pattern", field="line", kind="pattern", expected="N followed by digits", mode="warn", failed=None),
            ],
            set_rules=[
                SetRuleResult(id="rows.hourly", field="", metric="rowCount", expected="at least 80,000", hour=minute, rows=88_211, failing=0, value=88_211.0, passed=True),
                SetRuleResult(id="Xload.nulls", field="Xload", metric="nullValues", expected="below 0.5 %", hour=minute, rows=88_211, failing=706, value=0.8, passed=False),
            ],
            not_run=[NotRunRule(id="spindle.freshness", field="Srpm", reason="written for Great Expectations, which Weftline does not run")],
        )  # fmt: skip
        return FeedDetail(
            row=row, mode="enforce", description="LV-2 machining, MTConnect agent" if numbered else "", template="line.yaml:12",
            params={"line": "LV-2", "unit": "°C", "offset": 1.5, "spare": None}, contract=contract,
            connection=ConnectionView(name=row.connection, kind=row.kind, state=row.connection_state, detail="session weftline-1, QoS 1", since=self.started - 40 * MINUTE, next_try=None, feeds=9),
            per_second=[], per_minute=points if row.received else [], gaps=gaps,
            sender=SenderSide(known=True, how="by sequence number", sent=row.received + 318, missing=318) if numbered else SenderSide(known=False, how="this sender does not number"),
            ledger=LedgerDetail(total=self._ledger(row), hours=[]), datasets=["signal"], probe_possible=True,
        )  # fmt: skip

    def datasets(self) -> list[DatasetRow]:
        if self.kind == "empty":
            return []
        columns = [
            DatasetColumn(name="equipment", type="VARCHAR", description="Path in the ISA-95 hierarchy", term="isa95:equipment"),
            DatasetColumn(name="term", type="VARCHAR", description="What was measured"),
            DatasetColumn(name="value", type="DOUBLE", description="The reading in the dataset's unit"),
            DatasetColumn(name="unit", type="VARCHAR", unit="", description="UN/ECE Rec 20 code", classification="internal"),
            DatasetColumn(name="note", type="VARCHAR", description=HOSTILE[0] if self.kind == "hostile" else "free text"),
        ]  # fmt: skip
        return [
            DatasetRow(name="signal", description="Every reading of every signal", columns=columns, contracts=["machine_state@2.1.0"], builtin=True, rows=18_391_274),
            DatasetRow(name="shipment_line", description="One line of a despatch advice, as the supplier sent it", columns=columns, contracts=["shipment_line@2.3.0"], rows=6_412),
            DatasetRow(name="equipment_state", description="States of equipment as closed intervals", columns=columns, contracts=["machine_state@2.1.0"], builtin=True, rows=None),
        ]  # fmt: skip

    # Reading
    def _table(self, feed: str, limit: int) -> pa.Table:
        now = self.now()
        noise = random.Random(11)
        hostile = self.kind == "hostile"
        event = [now - n * 300_000 - noise.randint(40_000, 210_000) for n in range(limit)]
        names = [
            HOSTILE[n % 8] if hostile else ("execution", "Srpm", "Xload", "path_feedrate", "part_count")[n % 5]
            for n in range(limit)
        ]
        return pa.table(
            {
                "event_time": pa.array(event, TIMESTAMP),
                "record_time": pa.array([now - n * 300_000 for n in range(limit)], TIMESTAMP),
                "feed": [feed] * limit, "contract": ["machine_state@2.1.0"] * limit, "lane": ["mqtt"] * limit,
                "frame": pa.array([49_485_966 - n for n in range(limit)], pa.uint64()),
                "position": pa.array([0] * limit, pa.uint32()), "row": pa.array([0] * limit, pa.uint32()),
                "mark": pa.array([4 if n == 4 else 0 for n in range(limit)], pa.uint8()), "dataset": ["signal"] * limit,
                "equipment": [f"lviv.lv2.mazak-0{n % 4 + 1}" for n in range(limit)], "term": names,
                "value": [None if n % 5 == 0 else round(noise.uniform(3, 12_000), 1) for n in range(limit)],
                "unit": [("", "RPM", "P1", "H87", "C62")[n % 5] for n in range(limit)],
                "note": [HOSTILE[(n + 3) % 8] if hostile else None for n in range(limit)],
            }
        )  # fmt: skip

    async def last_records(self, asker, feed: str, limit: int) -> pa.Table:
        if "refused" in feed:
            raise RefusedError(place=feed, found="no agreement", expected="an agreement that covers these rows")
        return self._table(feed, 40).slice(0, limit)

    async def rows(self, asker, dataset: str, where, after: str, limit: int) -> RowsPage:
        table = self._table("lviv.lv2.mtconnect", 50).drop_columns(["dataset"])
        if ("term", "nothing") in list(where):
            table = table.slice(0, 0)
        return RowsPage(
            table if not where else table.slice(0, 3), next="more" if not where and not after else "", hidden=()
        )

    def _group(
        self, place: int, feed: str, rule: str, fieldname: str, found: str, expected: str, records: int
    ) -> QuarantineGroup:
        now = self.now()
        trend = [0] * 15 + [max(0, records // 9 - n * place) for n in range(9)]
        return QuarantineGroup(
            id=f"q{place}", stage="decode" if rule == "" else "contract", code="json-broken" if rule == "" else "rule",
            contract="machine_state@2.1.0", rule=rule, field=fieldname, expected=expected, example=found, feeds=[feed],
            records=records, first_seen=now - (place + 1) * 3 * 3600 * SECOND, last_seen=now - place * 7 * MINUTE, trend=trend,
        )  # fmt: skip

    async def quarantine_groups(self, asker) -> list[QuarantineGroup]:
        if self.kind == "empty":
            return []
        if self.kind == "hostile":
            return [self._group(n, name, name, name, name, name, 3) for n, name in enumerate(HOSTILE)]
        return [
            self._group(0, "gyor.gy3.oven", "temperature.range", "value", "392.4", "0 to 260 °C", 4212),
            self._group(1, "lviv.lv2.mtconnect", "event_time.future", "event_time", "2026-11-19T14:41:50Z", "at most 5 min ahead of receipt", 61),
            self._group(2, "bodrog.desadv", "line.uom", "uom", "CT", "C62, one piece", 12),
            self._group(3, "tisza.asn856", "asn.before_departure", "issued", "10:42", "30 min before departure", 4),
            self._group(4, "gyor.gy4.umh", "", "", "", "a JSON document", 2),
        ]  # fmt: skip

    async def quarantine_group(self, asker, group: str) -> QuarantineGroup:
        for found in await self.quarantine_groups(asker):
            if found.id == group:
                return found
        raise NotFoundError(
            place=f"quarantine group '{group}'",
            found="no group of this name",
            expected="a group that holds records",
            next_step="Its records may have been replayed; see /quarantine.",
        )

    async def quarantine_records(self, asker, group: str, after: int, limit: int) -> list[QuarantineRecord]:
        head = await self.quarantine_group(asker, group)
        found = []
        for n in range(min(head.records, limit, 12)):
            number = 9000 - n
            if head.stage == "decode":
                original, encoding = "AAH/gH8A/v7+/kJST0tFTgA=", "base64"
            elif group == "q2":
                original = "UNH+77120+DESADV:D:96A:UN'\nBGM+351+DES-77120+9'\nDTM+137:202611171422:203'\nRFF+ON:4500118204'\nNAD+SU+5991234500013::9'\nCPS+1'\nPAC+72++CT'\nLIN+1++6203-2RS:VP'\nQTY+12:72:CT'\nGIN+BX+BB-K2304'\nUNT+17+77120'\n"
                encoding = "utf-8"
            else:
                original, encoding = (
                    f'{{"timestamp_ms": 1795098{number}, "{head.field}": {head.example}, "zone": 3, "order": "MO-7730"}}',
                    "utf-8",
                )
            found.append(
                QuarantineRecord(
                    id=number, group=group, feed=head.feeds[0], contract=head.contract, stage=head.stage, code=head.code,
                    received=head.last_seen - n * 9 * SECOND, lane="mqtt", frame=8841 - n, position=0,
                    violations=[ViolationView(rule=head.rule, field=head.field, found=head.example, expected=head.expected)] if head.rule else [],
                    attributes={"captures": {"topic": "umh/v1/gyor/gy3/oven"}, "qos": 1}, size=len(original), original=original, encoding=encoding,
                )
            )  # fmt: skip
        return [row for row in found if not after or row.id < after]

    async def replay(self, asker, group: str, reason: str, key: str) -> ReplayView:
        if key not in {known for _, _, known in self.replays}:
            self.replays.append((group, reason, key))
        head = await self.quarantine_group(asker, group)
        return ReplayView(
            job="replay-1",
            group=group,
            state="done",
            tried=head.records,
            released=head.records - 1,
            still_failing=1,
            reason=reason,
        )

    # People
    async def session(self, token: str, *, rotate: bool) -> SignedIn | None:
        return self.sessions_by_token.get(token)

    def open(self, email: str) -> str:
        token = f"t{len(self.sessions_by_token)}-{self.random.getrandbits(64):x}"
        _, name, roles = self.accounts[email]
        actor = Actor("person:1", name, roles, "password", credential="session:1")
        self.sessions_by_token[token] = SignedIn(actor, email, f"csrf-{token}", token, self.now() + 3600 * SECOND)
        return token

    async def sign_in(self, email: str, password: str, client) -> str:
        if self.accounts.get(email, ("",))[0] != password:
            raise WrongPasswordError(
                place="sign-in",
                found="a wrong e-mail address or password",
                expected="an account and its password",
                next_step="Try again, or ask an administrator for a one-time link.",
            )
        return self.open(email)

    async def sign_out(self, token: str) -> None:
        self.sessions_by_token.pop(token, None)

    async def invitation(self, token: str) -> Invitation | None:
        return self.links.get(token)

    async def accept(self, token: str, *, name: str, email: str, password: str, client) -> str:
        self.links.pop(token)
        self.accounts[email] = (password, name, frozenset({"administrator"}))
        return self.open(email)

    async def change_password(self, session: SignedIn, old: str, new: str) -> None:
        known, name, roles = self.accounts[session.email]
        if old != known:
            raise RefusedError(
                place="old", found="Not the present password", expected="the present password", next_step="Try again."
            )
        self.accounts[session.email] = (new, name, roles)

    async def sessions(self, session: SignedIn) -> list[SessionView]:
        now = self.now()
        return [
            SessionView(one.id, self.started, now - SECOND, "127.0.0.1", "Firefox on Linux", one.id == session.id)
            for one in self.sessions_by_token.values()
        ]

    async def end_session(self, session: SignedIn, session_id: str) -> None:
        self.sessions_by_token.pop(session_id, None)

    def forget(self, token: str) -> None:
        """End a session behind the browser's back."""
        self.sessions_by_token.pop(token, None)

    def renamed(self, name: str) -> None:
        """Give the signed-in people another name."""
        for token, one in self.sessions_by_token.items():
            self.sessions_by_token[token] = replace(one, actor=replace(one.actor, name=name))


_WORDS = {
    "rejecting": "sends records that break its contract",
    "silent": "is silent",
    "never": "has never sent a record",
    "failing": "fails a rule over the hour",
}


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
