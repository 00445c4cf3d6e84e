"""Uniqueness against history: integer hashes clustered by commit, true keys compared on a hit only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from weftline.store.duck import table
from weftline.store.lake import KeyCheck
from weftline.store.tables import quote, table_of

__all__ = ["known"]


def known(cursor: Any, check: KeyCheck, rows: pa.Table, ids: Mapping[str, int], now: int) -> pa.Array:
    """Return for each row of (hash, key columns) whether the lake holds its key; `now` is microseconds UTC.

    A hash that is found is followed to the stored row by (commit_seq, lane, frame, position, row), so that two keys
    with one hash are not taken for one.
    """
    cursor.register("probe_rows", rows)
    try:
        cursor.execute("CREATE OR REPLACE TEMP TABLE probe AS SELECT row_number() OVER () AS n, * FROM probe_rows")
    finally:
        cursor.unregister("probe_rows")
    since = ""
    if check.scope == "window":
        first = f"make_timestamptz({now - int(check.window * 1_000_000)})"
        since = (
            "AND k.commit_seq >= coalesce((SELECT min(commit_seq) FROM weftline.commit_log "
            f"WHERE record_time >= {first}), 9223372036854775807)"
        )
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE hit AS SELECT p.n, k.* FROM weftline.key_hash k JOIN probe p ON p.hash = k.hash "
        f'WHERE k.dataset = {ids[check.dataset]} AND k."rule" = {ids[check.rule]} {since}'
    )
    span = table(cursor, "SELECT min(commit_seq), max(commit_seq) FROM hit")
    low, high = (column[0].as_py() for column in span.columns)
    if low is None:
        return pa.repeat(pa.scalar(False), rows.num_rows)
    equal = " AND ".join(f"d.{quote(name)} IS NOT DISTINCT FROM p.{quote(name)}" for name in check.columns)
    found = table(
        cursor,
        f"WITH same AS (SELECT DISTINCT h.n FROM hit h JOIN probe p ON p.n = h.n "
        f"JOIN main.{quote(table_of(check.dataset))} d ON d.commit_seq = h.commit_seq AND d.lane = h.lane "
        f'AND d.frame = h.frame AND d.position = h.position AND d."row" = h."row" '
        f"WHERE d.commit_seq BETWEEN {low} AND {high} AND {equal}) "
        "SELECT same.n IS NOT NULL AS known FROM probe LEFT JOIN same ON same.n = probe.n ORDER BY probe.n",
    )
    answer: pa.Array = found.column(0).combine_chunks()
    return answer
