"""The one composer: a checked folder becomes a running fabric. Nothing else in Weftline knows all the parts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import msgspec
import structlog

from weftline.clock import Clock, clock_of
from weftline.codecs import registry as codecs
from weftline.codecs.base import Codec
from weftline.codecs.decode_process import DecodeProcess
from weftline.contracts.plan import ObjectPlan
from weftline.fabric import FabricSpec
from weftline.fabric.kinds import seconds
from weftline.incidents.book import IncidentBook
from weftline.ingest.feeds import FeedBook, PlanSet, plan_set
from weftline.ingest.prepare import Preparer
from weftline.ingest.road import SHARED_LANE, Road
from weftline.ingest.set_rules import SetCounts
from weftline.model.feed import ConnectionSpec, FeedSpec
from weftline.service.decisions import DecisionLog
from weftline.service.keys import Keys
from weftline.service.people import People
from weftline.service.plugins import Checked, FolderInvalidError, check_folder
from weftline.service.quarantine import Quarantine
from weftline.service.reading import Door, LakeRows
from weftline.service.replays import Replays
from weftline.service.road_view import Catalogue, ContractInForce, RoadAnswers
from weftline.spool.spool_set import LANE_NAME, SpoolSet
from weftline.store.control.database import Control
from weftline.store.control.incidents import IncidentTable
from weftline.store.control.jobs import JobTable
from weftline.store.control.keys import KeyTable
from weftline.store.control.people import PeopleTable
from weftline.store.control.published import PublishedRow, PublishedTable
from weftline.store.duck import LakeSettings
from weftline.store.duck_lake import DuckLake
from weftline.store.guard import guard
from weftline.store.lock import FolderLock, state_folder
from weftline.store.plan_runner import PlanRunner

__all__ = ["STATE", "Fabric", "open_fabric"]

log = structlog.get_logger()
STATE = ".weftline"
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?")
_POWERS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_POWERS |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


Part = FolderLock | DuckLake | Control | SpoolSet | DecisionLog | DecodeProcess


@dataclass
class Fabric:
    """An open fabric. Whoever opened it closes it; `road` may be started or not."""

    folder: Path
    spec: FabricSpec
    checked: Checked
    clock: Clock
    lock: FolderLock
    lake: DuckLake
    control: Control
    spool: SpoolSet
    decoder: DecodeProcess
    road: Road
    answers: RoadAnswers
    decisions: DecisionLog
    door: Door
    quarantine: Quarantine
    people: People
    keys: Keys
    replays: Replays
    incidents: IncidentBook
    retention: dict[str, float]
    """Seconds per kind: quarantine, archive, decisions."""

    @property
    def state(self) -> Path:
        """Return the state folder."""
        return self.folder / STATE

    def feed(self, name: str) -> FeedSpec | None:
        """Return a feed in force by name."""
        return self.road.book().by_name.get(name)

    def close(self) -> None:
        """Stop the road and close every store, last the lock."""
        self.road.stop()
        self.decoder.close()
        self.decisions.close()
        self.spool.close()
        self.lake.close()
        self.control.close()
        self.lock.release()


def open_fabric(
    path: Path, *, url: str = "", wait: float = 10.0, clock: Clock | None = None, start: bool = True
) -> Fabric:
    """Open a folder for one process: lock, check, stores, road.

    Raises FolderInvalidError with every complaint, LockedError naming the holder, or StoreError.
    """
    clock = clock or clock_of(os.environ)
    checked = check_folder(path)
    spec = checked.folder.spec
    if checked.complaints or spec is None:
        raise FolderInvalidError(path, checked.complaints)
    spec = replace(spec, connections=tuple(_archived(item, spec) for item in spec.connections))
    state = state_folder(path / STATE)
    lock = FolderLock(state, url=url, wait=wait, clock=clock).acquire()
    opened: list[Part] = [lock]
    try:
        return _compose(path, state, checked, spec, lock, clock, opened, start=start)
    except BaseException:
        for part in reversed(opened):
            if isinstance(part, FolderLock):
                part.release()
            else:
                part.close()
        raise


def _compose(
    path: Path,
    state: Path,
    checked: Checked,
    spec: FabricSpec,
    lock: FolderLock,
    clock: Clock,
    opened: list[Part],
    *,
    start: bool,
) -> Fabric:
    control = Control.open(spec.settings.control.url or state / "control.db")
    opened.append(control)
    control.migrate()
    _publish(control, spec, clock)
    lake = DuckLake(
        path / spec.settings.lake.path if spec.settings.lake.path else state / "lake", _settings(spec), clock
    )
    opened.append(lake)
    lake.ensure(checked.datasets)
    spool = SpoolSet(state / "spool", clock=clock)
    opened.append(spool)
    decoder = DecodeProcess()
    opened.append(decoder)
    book = _book(spec, checked.plans, lake, decoder)
    road = _road(lake, spool, book, clock, state, spec)
    counts = SetCounts()
    since = clock.now() - 25 * 3_600_000_000
    counts.add(lake.scan("SELECT * FROM weftline.set_count WHERE epoch_us(hour) > $since", {"since": since}))
    answers = RoadAnswers(road, lake, counts, _catalogue(spec, checked), clock)
    decisions = DecisionLog(state / "decisions", clock)
    opened.append(decisions)
    door = Door(LakeRows(lake), guard, decisions, clock)
    people = People(PeopleTable(control), clock)
    preparer = Preparer(road.book, _runner(), road.keys)
    replays = Replays(road, lake, preparer, JobTable(control), clock)
    fabric = Fabric(
        folder=path,
        spec=spec,
        checked=checked,
        clock=clock,
        lock=lock,
        lake=lake,
        control=control,
        spool=spool,
        decoder=decoder,
        road=road,
        answers=answers,
        decisions=decisions,
        door=door,
        quarantine=Quarantine(door),
        people=people,
        keys=Keys(KeyTable(control), people, clock),
        replays=replays,
        incidents=IncidentBook(IncidentTable(control), clock),
        retention=_retention(spec),
    )
    if start:
        road.start()
    return fabric


def _archived(connection: ConnectionSpec, spec: FabricSpec) -> ConnectionSpec:
    """Give a drop folder that states no archive time the fabric's."""
    if getattr(connection.options, "archive_days", 0) is not None:
        return connection
    days = max(1, round(seconds(spec.settings.retention.archive) / 86_400))
    return replace(connection, options=msgspec.structs.replace(connection.options, archive_days=days))


def _retention(spec: FabricSpec) -> dict[str, float]:
    kept = spec.settings.retention
    named = {"quarantine": kept.quarantine, "archive": kept.archive, "decisions": kept.decisions}
    return {kind: seconds(text) for kind, text in named.items()}


def _runner() -> PlanRunner:
    return PlanRunner(threads=max(1, (os.cpu_count() or 2) // 2))


def _settings(spec: FabricSpec) -> LakeSettings:
    limit = spec.settings.lake.memory_limit
    settings = replace(LakeSettings(), min_free=_least_free(spec))
    return replace(settings, memory_limit=_size(str(limit))) if limit else settings


def _least_free(spec: FabricSpec) -> int:
    given = spec.settings.lake.min_free
    return _size(str(given)) if given else LakeSettings().min_free


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    assert match is not None, "the folder's check admits sizes only"
    return int(match[1]) * _POWERS[match[2] or ""]


def _road(lake: DuckLake, spool: SpoolSet, book: FeedBook, clock: Clock, state: Path, spec: FabricSpec) -> Road:
    own = {item.name: _lane_name(item.name) for item in spec.connections if getattr(item.options, "own_lane", False)}
    return Road(
        lake=lake,
        spool=spool,
        book=book,
        runners=_runner,
        clock=clock,
        folder=state,
        lane_of=lambda connection: own.get(connection, SHARED_LANE),
        least_free=_least_free(spec),
    )


def _lane_name(connection: str) -> str:
    """Return the connection's own lane; connections may have names that lanes may not."""
    if LANE_NAME.fullmatch(connection) and len(connection) <= 64 and connection != SHARED_LANE:
        return connection
    return f"connection-{blake2b(connection.encode(), digest_size=8).hexdigest()}"


def _book(
    spec: FabricSpec, plans: dict[tuple[str, str], tuple[ObjectPlan, ...]], lake: DuckLake, decoder: DecodeProcess
) -> FeedBook:
    ids = lake.dictionary("feed", [feed.name for feed in spec.feeds])
    feeds = [replace(feed, id=ids[feed.name]) for feed in spec.feeds]
    used = sorted({(feed.contract, feed.version) for feed in feeds})
    contract_ids = lake.dictionary("contract", [f"{name}@{version}" for name, version in used])
    sets: dict[tuple[str, str], PlanSet] = {}
    for key in used:
        reference = f"{key[0]}@{key[1]}"
        mine = [feed for feed in feeds if (feed.contract, feed.version) == key]
        sets[key] = plan_set(reference, contract_ids[reference], plans[key], mine)
    made: dict[str, Codec] = {name: decoder.isolate(codecs.codec(name)) for name in {feed.codec for feed in feeds}}
    return FeedBook(feeds, made, sets)


def _catalogue(spec: FabricSpec, checked: Checked) -> Catalogue:
    return Catalogue(
        connections={item.name: item for item in spec.connections},
        contracts={
            item.reference: ContractInForce(item.id, item.version, item.name or item.id, item.hash)
            for item in spec.contracts
        },
        datasets=checked.datasets,
        probes=frozenset(item.kind for item in spec.connections),
    )


def _publish(control: Control, spec: FabricSpec, clock: Clock) -> None:
    """Publish every contract of the folder; a changed document under a published version is refused."""
    rows: Sequence[PublishedRow] = [
        PublishedRow("contract", item.id, item.version, item.hash, _text(spec.root / item.place), clock.now(), "up")
        for item in spec.contracts
    ]
    new = PublishedTable(control).publish(rows)
    if new:
        log.info("contracts published", new=new)


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""
