"""The lake on DuckDB: one object owns the file, one lock orders its writers, and any doubt ends in reopening.

Callers of `commit`, `change`, `dictionary`, `ensure` and `maintain` queue at the writer's lock; reads never take it.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
import pyarrow as pa

from weftline import failpoint
from weftline.clock import Clock, SystemClock
from weftline.errors import ConflictError, OutcomeUnknownError, WeftlineError
from weftline.model.dataset import DatasetSpec
from weftline.model.position import Position
from weftline.store import checkpoints, groups, keys
from weftline.store.duck import Instance, LakeSettings, LakeUnavailableError, fatal, of_store, table
from weftline.store.duck_reads import ReadGate
from weftline.store.lake import Committed, Group, KeyCheck, LakeHealth
from weftline.store.tables import Shape, columns_of, ensure

__all__ = ["DuckLake", "GroupOverlapError"]

Result = TypeVar("Result")

_ATTEMPTS = 3


def _pass(_name: str) -> None:
    """Hit no failpoint: those of the fault tests count groups only."""


class GroupOverlapError(ConflictError):
    """Refuse a group that is partly in the lake, or of an epoch that is over; read the position and cut again."""

    code = "group-overlap"


class _Place(NamedTuple):
    """A producer's position, and the epochs whose checkpoint row exists."""

    position: Position
    lane: int


class DuckLake:
    """Implement `Lake` on one DuckDB file below `folder` (the fabric's `.weftline`, which the caller has locked)."""

    def __init__(self, folder: Path, settings: LakeSettings | None = None, clock: Clock | None = None) -> None:
        self._folder = folder
        self._settings = settings or LakeSettings()
        self._clock = clock or SystemClock()
        self._writing = threading.RLock()
        self._instance: Instance | None = None
        self._broken = ""
        self._suspect = False
        self._reopened = 0
        self._seq = 0
        self._last_commit = 0
        self._last_steady = self._clock.steady()
        self._next_quarantine = 1
        self._unfolded = 0
        self._shapes: dict[str, Shape] = {}
        self._ids: dict[str, dict[str, int]] = {}
        self._dirty: set[tuple[str, int]] = set()
        self._places: dict[str, _Place] = {}
        self._minder = checkpoints.Minder(self._settings, self._clock)
        self._gate = ReadGate(
            readers=self._settings.readers,
            system=self._settings.system_readers,
            snapshot_limit=self._settings.snapshot_limit,
            on_fatal=self._distrust,
        )
        try:
            self._open()
        except BaseException:
            self._gate.end()
            raise

    # -- opening and reopening -------------------------------------------------------------------------------------

    def _open(self) -> None:
        instance = Instance(self._folder, self._settings)
        writer = instance.writer
        last = table(
            writer,
            "SELECT commit_seq, epoch_us(record_time), next_quarantine FROM weftline.commit_log "
            "ORDER BY commit_seq DESC LIMIT 1",
        )
        self._seq, self._last_commit, self._next_quarantine = (
            tuple(column[0].as_py() for column in last.columns) if last.num_rows else (0, 0, 1)
        )
        self._load_shapes(writer)
        self._ids = {}
        entries = table(writer, "SELECT kind, name, id FROM weftline.dictionary")
        for kind, name, number in zip(*(column.to_pylist() for column in entries.columns), strict=True):
            self._ids.setdefault(kind, {})[name] = number
        self._unfolded = (
            table(
                writer,
                "SELECT count(*) FROM weftline.ledger WHERE commit_seq > "
                "(SELECT value FROM weftline.meta WHERE key = 'totals_through')",
            )
            .column(0)[0]
            .as_py()
        )
        self._places.clear()
        self._instance = instance
        self._broken = ""
        self._suspect = False
        self._gate.attach(instance)

    def _load_shapes(self, writer: Any) -> None:
        self._shapes = columns_of(
            table(
                writer,
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' "
                "AND database_name = 'lake' ORDER BY table_name, column_index",
            )
        )
        marked = table(writer, "SELECT DISTINCT dataset, epoch_us(hour) FROM weftline.dirty_bucket")
        self._dirty = set(zip(*(column.to_pylist() for column in marked.columns), strict=True))

    def _reopen(self) -> None:
        """Close every cursor and open the file anew; where that fails, the next writer tries again."""
        self._gate.detach()
        if self._instance is not None:
            self._instance.close(broken=True)
            self._instance = None
        self._reopened += 1
        try:
            self._open()
        except (WeftlineError, duckdb.Error, OSError) as error:
            self._broken = str(error).splitlines()[0]

    def _distrust(self) -> None:
        """Remember that a read met a dead instance; the next writer reopens it."""
        self._suspect = True

    def _revive(self) -> Instance:
        if self._instance is None or self._suspect:
            self._reopen()
        if self._instance is None:
            raise LakeUnavailableError(place="the lake", found=self._broken, expected="a file that opens")
        return self._instance

    # -- writing ---------------------------------------------------------------------------------------------------

    def _transact(self, work: Callable[[Any], Result], hit: Callable[[str], None] = _pass) -> Result:
        """Run `work` in one transaction. Any error from COMMIT is outcome unknown: the instance is reopened."""
        writer = self._revive().writer
        try:
            writer.execute("BEGIN")
            result = work(writer)
            hit("store.commit.inside")
        except BaseException as error:
            self._roll_back(writer, error)
            raise
        try:
            writer.execute("COMMIT")
            hit("store.commit.after")
        except BaseException as error:
            self._reopen()
            if not isinstance(error, Exception):
                raise
            raise OutcomeUnknownError(
                place="the lake",
                found=f"COMMIT that ended with: {str(error).splitlines()[0]}",
                expected="a plain end",
                next_step="The lake was reopened; commit the same group again, it is stored once.",
            ) from error
        self._last_steady = self._clock.steady()
        return result

    def _roll_back(self, writer: Any, error: BaseException | None) -> None:
        try:
            if error is not None and fatal(error):
                raise duckdb.FatalException(str(error))
            writer.execute("ROLLBACK")
        except duckdb.Error:
            self._reopen()

    def _stamp(self, lane: int) -> groups.Stamp:
        return groups.Stamp(self._seq + 1, self._clock.now(), lane, self._next_quarantine)

    def commit(self, group: Group) -> Committed:
        """Make a group visible at once, or say that it is already there.

        Raises GroupRefusedError where the group itself cannot be stored, GroupOverlapError where its offsets contradict
        the checkpoint, OutcomeUnknownError after an error from COMMIT (the lake is reopened: commit it again), and
        LakeUnavailableError where the store fails before COMMIT (nothing was stored).
        """
        with self._writing:
            self._minder.between(self._revive(), self._fold_if_due, self._reopen)
            self._revive()
            place = self._place(group.producer)
            if self._repeated(group, place):
                return Committed(0, self._last_commit, repeated=True)
            failpoint.hit("store.commit.before")
            lane, ids = self._numbers(group, place)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return self._commit(group, place, lane, ids)
                except duckdb.OutOfMemoryException as error:
                    if attempt == _ATTEMPTS:
                        raise self._named(error, group) from error
                    self._gate.interrupt_heaviest()
                except (duckdb.Error, OSError, pa.ArrowException) as error:
                    raise self._named(error, group) from error
            raise AssertionError(_ATTEMPTS)

    def trial(self, group: Group) -> None:
        """Write a group and roll it back: raises what `commit` would, stores nothing."""
        with self._writing:
            lane, ids = self._numbers(group, self._place(group.producer))
            writer = self._revive().writer
            try:
                writer.execute("BEGIN")
                groups.write(writer, group, self._shapes, self._stamp(lane), fresh=set(), ids=ids)
            except (duckdb.Error, OSError, pa.ArrowException) as error:
                raise self._named(error, group) from error
            finally:
                self._roll_back(writer, None)

    def _numbers(self, group: Group, place: _Place | None) -> tuple[int, dict[str, int]]:
        """Return the lane's id and those of the datasets and rules of the group's keys.

        Offsets start again with each epoch, so a later epoch is a lane of its own: permalinks stay unique.
        """
        names = sorted({name for check, _ in group.keys for name in (check.dataset, check.rule)})
        ids = self.dictionary("key", names) if names else {}
        if place is not None and place.position.epoch == group.epoch:
            return place.lane, ids
        name = group.producer if place is None else f"{group.producer}@{group.epoch}"
        return self.dictionary("lane", [name])[name], ids

    def _commit(self, group: Group, place: _Place | None, lane: int, ids: dict[str, int]) -> Committed:
        stamp = self._stamp(lane)
        fresh = groups.dirty_hours(group) - self._dirty
        same = place is not None and place.position.epoch == group.epoch
        before = place.position if place is not None and same else None
        records = group.records + (before.records if before else 0)
        complete = group.complete or bool(before and before.complete)

        def work(writer: Any) -> None:
            groups.write(writer, group, self._shapes, stamp, fresh=fresh, ids=ids)
            groups.write_checkpoint(writer, group, stamp, known=same, records=records, complete=complete)

        self._transact(work, failpoint.hit)
        self._seq, self._last_commit = stamp.commit_seq, stamp.record_time
        self._next_quarantine += group.quarantine.num_rows if group.quarantine is not None else 0
        self._unfolded += group.ledger.num_rows if group.ledger is not None else 0
        self._dirty |= fresh
        if len(self._places) >= 8192:
            self._places.clear()
        position = Position(group.producer, group.epoch, group.last, complete, records)
        self._places[group.producer] = _Place(position, lane)
        return Committed(stamp.commit_seq, stamp.record_time)

    def _named(self, error: BaseException, group: Group) -> WeftlineError:
        text = str(error).splitlines()[0]
        if of_store(error):
            return LakeUnavailableError(place="the lake", found=text, expected="a group that is stored")
        return groups.GroupRefusedError(
            place=f"group {group.producer} {group.first}–{group.last}", found=text, expected="rows the tables can hold"
        )

    def _repeated(self, group: Group, place: _Place | None) -> bool:
        if place is None or place.position.epoch < group.epoch:
            return False
        position = place.position
        if position.epoch > group.epoch:
            older = self._checkpoint(group.producer, f"AND epoch = {group.epoch}")
            if older is not None and older.position.offset >= group.last:
                return True
        elif position.offset >= group.last and (position.complete or not group.complete):
            return True
        elif position.offset < group.first:
            return False
        raise GroupOverlapError(
            place=f"producer {group.producer}",
            found=f"offsets {group.first}–{group.last} of epoch {group.epoch}",
            expected=f"offsets after {position.offset} of epoch {position.epoch}",
            next_step="Read the position and cut the group from there.",
        )

    def change(self, name: str, action: Callable[..., Any], *args: Any) -> Any:
        """Run `action(cursor, *args)` in one transaction of the writer's queue, under its own commit_seq.

        Errors of the action leave nothing behind and are raised as they are; one from COMMIT is OutcomeUnknownError.
        """
        with self._writing:
            self._revive()
            stamp = self._stamp(0)

            def work(writer: Any) -> Any:
                result = action(writer, *args)
                groups.log(writer, stamp, f"change:{name}", (0, 0, 0))
                return result

            result = self._transact(work)
            self._seq, self._last_commit = stamp.commit_seq, stamp.record_time
            self._load_shapes(self._revive().writer)
            return result

    def ensure(self, datasets: Sequence[DatasetSpec]) -> None:
        """Create tables and add nullable columns; a changed type is refused with DatasetChangedError."""
        with self._writing:
            statements = ensure(datasets, self._shapes)
            if statements:
                self.change("ensure", lambda cursor: [cursor.execute(statement) for statement in statements] and None)

    def dictionary(self, kind: str, names: Sequence[str]) -> dict[str, int]:
        """Return stable ids of names of one kind, making new ones from 1 on."""
        known = self._ids.get(kind, {})
        if all(name in known for name in names):
            return {name: known[name] for name in names}
        with self._writing:
            self._revive()
            known = self._ids.get(kind, {})
            start = max(known.values(), default=0) + 1
            missing = [name for name in dict.fromkeys(names) if name not in known]
            fresh = dict(zip(missing, range(start, start + len(missing)), strict=True))
            rows = pa.table({"name": list(fresh), "id": pa.array(fresh.values(), pa.int32())})
            if fresh:
                self._transact(lambda writer: groups.write_names(writer, kind, rows))
            self._ids[kind] = {**known, **fresh}
            return {name: self._ids[kind][name] for name in names}

    def names(self, kind: str) -> dict[int, str]:
        """Return the dictionary of one kind the other way round: id → name."""
        return {number: name for name, number in self._ids.get(kind, {}).items()}

    def maintain(self) -> None:
        """Fold totals and checkpoint if due; the writer's loop calls it whenever it has nothing to do."""
        with self._writing:
            if self._instance is None or self._suspect:
                self._reopen()
            if self._instance is not None:
                self._minder.between(
                    self._instance, self._fold_if_due, self._reopen, quiet=self._clock.steady() - self._last_steady
                )

    def _fold_if_due(self) -> None:
        if self._unfolded >= self._settings.fold_rows:
            self._transact(lambda writer: groups.fold_totals(writer, self._seq))
            self._unfolded = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def _checkpoint(self, producer: str, more: str = "") -> _Place | None:
        found = table(
            self._revive().writer,
            'SELECT epoch, "offset", complete, records, lane FROM weftline.checkpoint '
            f"WHERE producer = $producer {more} ORDER BY epoch DESC LIMIT 1",
            {"producer": producer},
        )
        if not found.num_rows:
            return None
        *place, lane = (column[0].as_py() for column in found.columns)
        return _Place(Position(producer, *place), lane)

    def _place(self, producer: str) -> _Place | None:
        place = self._places.get(producer)
        if place is None:
            place = self._checkpoint(producer)
            if place is not None:
                self._places[producer] = place
        return place

    def position(self, producer: str) -> Position | None:
        """Return how far the lake holds this producer, or None."""
        place = self._places.get(producer)
        if place is not None:
            return place.position
        found = [place for place in self.positions(producer) if place.producer == producer]
        return found[0] if found else None

    def positions(self, prefix: str) -> list[Position]:
        """Return the newest epoch's position of every producer whose name starts with `prefix`."""
        found = self.scan(
            'SELECT producer, epoch, "offset", complete, records FROM weftline.checkpoint '
            "WHERE starts_with(producer, $prefix) "
            "QUALIFY row_number() OVER (PARTITION BY producer ORDER BY epoch DESC) = 1 ORDER BY producer",
            {"prefix": prefix},
        )
        return [Position(*row) for row in zip(*(column.to_pylist() for column in found.columns), strict=True)]

    def known_keys(self, check: KeyCheck, rows: pa.Table) -> pa.Array:
        """Return for each row of (hash, key columns) whether the lake holds the key: bool array in row order."""
        with self._writing:
            ids = self.dictionary("key", [check.dataset, check.rule])
            cursor = self._revive().writer
            try:
                return keys.known(cursor, check, rows, ids, self._clock.now())
            except (duckdb.Error, OSError) as error:
                self._suspect = self._suspect or fatal(error)
                if not of_store(error):
                    raise
                found = str(error).splitlines()[0]
                raise LakeUnavailableError(place="the lake", found=found, expected="an answer about keys") from error

    def scan(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """Read as the system, on cursors of its own. Allowed only in packages the import test lists."""
        return self._gate.read(sql, params, timeout=self._settings.snapshot_limit, system=True)

    def select(self, sql: str, params: Mapping[str, Any] | None, *, timeout: float, heavy: bool = False) -> pa.Table:
        """Read behind the one door: one SELECT, through the admission gate, interrupted after `timeout` seconds."""
        return self._gate.read(sql, params, timeout=timeout, heavy=heavy)

    def totals(self) -> pa.Table:
        """Return the ledger per feed: LEDGER_TERMS, with `quarantined` as the current count."""
        return self.scan(groups.TOTALS)

    def health(self) -> LakeHealth:
        """Return the gauges; never waits for the writer."""
        instance = self._instance
        file = self._folder / "lake" / "lake.duckdb"
        wal = instance.wal_bytes() if instance else 0
        free = shutil.disk_usage(self._folder).free
        return LakeHealth(
            file_bytes=file.stat().st_size if file.exists() else 0,
            wal_bytes=wal,
            free_bytes=free,
            commit_seq=self._seq,
            last_commit=self._last_commit,
            oldest_snapshot_age=self._gate.oldest(),
            checkpoints=self._minder.done,
            last_checkpoint_seconds=self._minder.seconds,
            reopened=self._reopened,
            holding=self._minder.holding(free, wal, self._broken),
        )

    def close(self) -> None:
        """End reads, checkpoint and close the file."""
        with self._writing:
            self._gate.end()
            if self._instance is not None:
                self._instance.close()
                self._instance = None
                self._broken = "the lake is closed"
