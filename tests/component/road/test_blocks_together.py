"""Blocks that wait share a group, and a large group is decoded ahead of its plan: neither changes any outcome."""

from __future__ import annotations

import threading

import pytest

from weftline.batch import Draft
from weftline.codecs.json_codec import NdjsonCodec
from weftline.ingest import prepare


def line(number: int, temperature: float = 20.0) -> str:
    return f'{{"id": "r{number:03}", "at": "2026-11-22T10:00:00Z", "temperature": {temperature}, "unit": "CEL"}}\n'


def drafts(feed: int, blocks: int) -> list[Draft]:
    """Three lines a block: good, too hot, broken."""
    found, offset = [], 0
    for block in range(blocks):
        payload = (line(3 * block) + line(3 * block + 1, 500) + '{"id": \n').encode()
        found.append(Draft(feed, b"i%d" % block, payload, b"", 0, 0, offset))
        offset += len(payload)
    return found


def groups(operations) -> int:
    return operations._fabric.lake.scan(
        "SELECT count(*) AS n FROM weftline.commit_log WHERE producer = 'file:together'"
    ).to_pylist()[0]["n"]


def outcome(operations) -> tuple[list[str], list[tuple[int, int, str]], dict[str, int]]:
    stored = operations.query("SELECT id FROM reading ORDER BY frame, position")["id"].to_pylist()
    held = operations._fabric.lake.scan(
        'SELECT frame, "position", code FROM weftline.quarantine ORDER BY frame, "position", code'
    ).to_pylist()
    ledger = operations.ledger("oven")[0]
    terms = {name: ledger[name] for name in ("received", "stored", "quarantined", "rows", "waiting")}
    return stored, [tuple(row.values()) for row in held], terms


def run(shop, blocks: int, *, piled: bool):
    """Submit blocks, one by one or while the writer is busy; return the outcome and how many groups it took."""
    shop.feed()
    operations = shop.open()
    road = shop.fabric.road
    gate = threading.Event()
    busy = road.writer.run(gate.wait) if piled else None
    feed = shop.fabric.feed("oven").id
    futures = []
    for number, draft in enumerate(drafts(feed, blocks)):
        futures.append(road.submit("file:together", [draft], last=number == blocks - 1))
        if not piled:
            futures[-1].result(20)
    gate.set()
    if busy is not None:
        busy.result(20)
    positions = [future.result(20) for future in futures]
    assert positions[-1].complete
    return outcome(operations), groups(operations)


def test_blocks_that_wait_share_groups_and_nothing_else_changes(shop, tmp_path):
    alone, many = run(shop, 12, piled=False)
    shop.close()
    other = type(shop)(tmp_path / "other")
    try:
        together, few = run(other, 12, piled=True)
    finally:
        other.close()
    assert together == alone
    assert many == 12
    assert few < many
    assert alone[2] == {"received": 36, "stored": 12, "quarantined": 24, "rows": 12, "waiting": 0}


def test_decoding_ahead_in_pieces_changes_no_outcome(shop, tmp_path, monkeypatch):
    whole, _ = run(shop, 9, piled=True)
    shop.close()
    monkeypatch.setattr(prepare, "PIECE_BYTES", 1)
    other = type(shop)(tmp_path / "other")
    try:
        pieces, _ = run(other, 9, piled=True)
    finally:
        other.close()
    assert pieces == whole


def test_a_codec_that_raises_on_one_piece_costs_that_piece_only(shop, monkeypatch):
    monkeypatch.setattr(prepare, "PIECE_BYTES", 1)
    decode = NdjsonCodec.decode

    def broken(self, frames, *rest):
        if any(b"r006" in frame.payload for frame in frames):
            raise ValueError("a codec that breaks its promise")
        return decode(self, frames, *rest)

    monkeypatch.setattr(NdjsonCodec, "decode", broken)
    (stored, held, _), _ = run(shop, 5, piled=True)
    assert stored == ["r000", "r003", "r009", "r012"]
    assert [code for _, _, code in held].count("decode-failed") == 1


@pytest.mark.parametrize(("sizes", "cut"), [([1], [1]), ([5, 5, 5], [1, 1, 1]), ([2, 2, 2, 9], [2, 1, 1]), ([9], [1])])
def test_pieces_hold_every_frame_once_in_order(sizes, cut, monkeypatch):
    monkeypatch.setattr(prepare, "PIECE_BYTES", 5)
    frames = [prepare.Frame(at, 1, 0, b"", b"", b"x" * size) for at, size in enumerate(sizes)]
    found = prepare._pieces(frames)
    assert [len(piece) for piece in found] == cut
    assert [frame for piece in found for frame in piece] == frames
