"""The one spawned process that decodes what a parser could die of; a frame that kills it twice is refused.

The parent owns the process, the child owns nothing: what comes back is JSON and Arrow, never pickled objects, because
the child has read foreign bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import pyarrow as pa
from pyarrow import ipc

from weftline.batch import Decoded, Frame, Undecodable
from weftline.codecs.base import Codec, FileBlock, Limits
from weftline.codecs.records import columns, concat

__all__ = ["DecodeProcess"]

FAULT = 70
"""Exit status of a child whose codec raised, out of memory included (EX_SOFTWARE)."""
PLACES = ("feed", "frame", "position", "row", "received")


class _Answer(msgspec.Struct):
    """What the child says of one frame; the tables follow it."""

    records: dict[str, int]
    undecodable: list[tuple[int, int, str, str, bytes]]
    ignored: dict[str, dict[str, int]]
    attributes: dict[str, bytes]


class _Job(NamedTuple):
    codec: str
    frame: Frame
    options: Any
    expected: dict[str, pa.DataType]
    limits: Limits


class DecodeProcess:
    """Decode frames of isolated codecs one by one, each within `seconds` of wall time and `memory_bytes` more memory.

    Safe for threads; calls wait for one another. The process starts at the first call and again after a kill.
    """

    def __init__(self, *, seconds: float = 60.0, memory_bytes: int = 1 << 30) -> None:
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self.kills = 0
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def decode(
        self, codec: Codec, frames: Sequence[Frame], options: Any, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode as `codec.decode` would; the second kill over a frame gives it back with code `decode-killed`."""
        target = f"{type(codec).__module__}:{type(codec).__qualname__}"
        with self._lock:
            parts = [self._frame(_Job(target, frame, options, dict(expected), limits)) for frame in frames]
        return _together(parts, expected)

    def isolate(self, codec: Codec) -> Codec:
        """Return the codec itself, or one that decodes in this process where the codec asks for it."""
        return _Isolated(codec, self) if codec.isolated else codec

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _frame(self, job: _Job) -> tuple[_Answer, list[pa.Table]]:
        reason = ""
        for _ in range(2):
            pipe = self._started()
            try:
                pipe.send(job)
                if pipe.poll(self.seconds):
                    return _received(pipe)
                reason = f"found no answer after {self.seconds:g} s"
            except (EOFError, OSError, msgspec.MsgspecError, pa.ArrowException, ValueError, TypeError):
                reason = self._death()
            self.kills += 1
            self._end()
        frame = job.frame
        refused = (frame.offset, 0, "decode-killed", f"record 1: {reason}, expected a readable frame.", frame.payload)
        return _Answer({str(frame.feed): 1}, [refused], {}, {}), []

    def _death(self) -> str:
        assert self._process is not None
        self._process.join(1.0)
        code = self._process.exitcode
        return f"found bytes that end the decode process (exit {code})"

    def _started(self) -> Connection:
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            return self._pipe
        self._end()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.memory_bytes), name="weftline-decode", daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        return ours

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


class _Isolated:
    """A codec whose frames are decoded in the spawned process and whose files are cut here."""

    name: ClassVar[str] = "isolated"
    summary: ClassVar[str] = "decodes in the decode process"
    options: ClassVar[type[msgspec.Struct]] = msgspec.Struct
    isolated: ClassVar[bool] = True

    def __init__(self, codec: Codec, process: DecodeProcess) -> None:
        self.codec, self.process = codec, process
        self.name, self.summary, self.options = codec.name, codec.summary, codec.options  # type: ignore[misc]

    def decode(
        self, frames: Sequence[Frame], options: Any, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        return self.process.decode(self.codec, frames, options, expected, limits)

    def blocks(self, path: Path, options: Any, start: int, limits: Limits) -> Iterator[FileBlock]:
        return self.codec.blocks(path, options, start, limits)


def _serve(pipe: Connection, memory_bytes: int) -> None:
    """Answer jobs until the parent goes away."""
    _bound_memory(memory_bytes)
    codecs: dict[str, Codec] = {}
    while True:
        try:
            job: _Job = pipe.recv()
        except EOFError:
            return
        if job.codec not in codecs:
            module, _, name = job.codec.partition(":")
            codecs[job.codec] = getattr(import_module(module), name)()
        try:
            decoded = codecs[job.codec].decode([job.frame], job.options, job.expected, job.limits)
        except BaseException:  # noqa: BLE001 - a codec must not raise; the parent counts the exit against the frame
            os._exit(FAULT)
        _answer(pipe, decoded)


def _bound_memory(memory_bytes: int) -> None:
    """Allow this process so much more private memory than it holds now, and no core dump."""
    try:
        import resource
    except ImportError:
        return  # no such limit on this system; the wall time still holds
    status = Path("/proc/self/status")
    held = next(
        (int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmData")), 0
    )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + memory_bytes if hard == resource.RLIM_INFINITY else min(held + memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(pipe: Connection, decoded: Decoded) -> None:
    rows = len(decoded.feed)
    originals = [] if decoded.original is None else [decoded.original(pa.arange(0, rows))]
    said = _Answer(
        {str(feed): count for feed, count in decoded.records.items()},
        [(*record,) for record in decoded.undecodable],
        {str(feed): dict(rules) for feed, rules in decoded.ignored.items()},
        {str(offset): said for offset, said in decoded.attributes.items()},
    )
    places = pa.table(
        [getattr(decoded, name) for name in PLACES] + originals, names=[*PLACES, "original"][: 5 + len(originals)]
    )
    pipe.send_bytes(msgspec.json.encode(said))
    for table in (places, decoded.fields):
        sink = pa.BufferOutputStream()
        with ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        pipe.send_bytes(sink.getvalue())


def _received(pipe: Connection) -> tuple[_Answer, list[pa.Table]]:
    said = msgspec.json.decode(pipe.recv_bytes(), type=_Answer)
    tables = [ipc.open_stream(pipe.recv_bytes()).read_all() for _ in range(2)]
    for table in tables:
        table.validate(full=True)
    return said, tables


def _together(parts: Sequence[tuple[_Answer, list[pa.Table]]], expected: Mapping[str, pa.DataType]) -> Decoded:
    places = [tables[0] for _, tables in parts if tables and tables[0].num_rows]
    fields = [tables[1] for _, tables in parts if tables and tables[0].num_rows]
    table = concat(fields, expected) if fields else columns({}, 0, expected)
    records: dict[int, int] = {}
    ignored: dict[int, dict[str, int]] = {}
    for said, _ in parts:
        for feed, count in said.records.items():
            records[int(feed)] = records.get(int(feed), 0) + count
        for feed, rules in said.ignored.items():
            named = ignored.setdefault(int(feed), {})
            for rule, count in rules.items():
                named[rule] = named.get(rule, 0) + count
    kinds = (pa.int32(), pa.uint64(), pa.uint32(), pa.uint32(), pa.int64())
    at = {
        name: pa.concat_arrays([chunk for place in places for chunk in place.column(name).chunks])
        if places
        else pa.nulls(0, kind)
        for name, kind in zip(PLACES, kinds, strict=True)
    }
    kept = bool(places) and all("original" in place.column_names for place in places)
    bytes_of = pa.chunked_array([c for p in places for c in p.column("original").chunks]) if kept else None
    return Decoded(
        fields=table,
        feed=at["feed"],
        frame=at["frame"],
        position=at["position"],
        row=at["row"],
        received=at["received"],
        records=records,
        undecodable=tuple(Undecodable(*record) for said, _ in parts for record in said.undecodable),
        ignored=ignored,
        attributes={int(offset): kept for said, _ in parts for offset, kept in said.attributes.items()},
        original=None if bytes_of is None else lambda rows: bytes_of.take(rows).combine_chunks(),
    )
