"""JSON records to columns: a bulk road through pyarrow and a strict road record by record that give the same answer.

The bulk road is taken only where it cannot change meaning: pyarrow accepts NaN, rounds integers beyond 2^53, guesses
times and ends the process on deep nesting (stack overflow at 400,000 levels in 26.0.1), so each is excluded first.
RFC 8259; duplicate names are refused as I-JSON (RFC 7493 §2.3) does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from weftline.codecs.base import Limits
from weftline.codecs.records import EXACT, Failure, Refusal, columns, concat_raw, exact, json_text

__all__ = ["Columns", "Real", "bulk", "column_of", "depth_over", "parse", "strict"]

Columns = dict[str, pa.Array | pa.ChunkedArray]
CHUNK, SMALL = 4096, 256
CELLS = 1 << 26
"""Cells one call may hold; a feed that invents a field name per record is refused before it fills the memory."""
KEEP_BRACKETS: Final = bytes(code for code in range(256) if code not in b"{}[]")
KEEP_BRACES: Final = bytes(code for code in range(256) if code not in b"{}\n")
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
NO_NUMBERS = re.compile(rb"[:\[,]\s*-?(?:NaN|Inf)")
SCALAR = "value"
BULK_TYPES = {pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string()}


class Real(str):
    """A number with a fraction or exponent, as it was written."""

    __slots__ = ()


class Wide(str):
    """An integer beyond 64 bits, as it was written."""

    __slots__ = ()


class Nested(str):
    """An object or array, as it was written."""

    __slots__ = ()


def _integer(text: str) -> int | Wide:
    if len(text) < 19:
        return int(text)
    if len(text) > 20:
        return Wide(text)
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else Wide(text)


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        seen: set[str] = set()
        double = next(name for name, _ in items if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Refusal("json-duplicate-key", f"found the key {double[:60]!r} twice in one object, expected it once")
    return found


def _no_number(word: str) -> NoReturn:
    raise Refusal("json-number", f"found {word}, expected a number JSON has a word for")


DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=Real, parse_int=_integer, parse_constant=_no_number, strict=True
)


def depth_over(data: bytes, limit: int) -> bool:
    """Tell whether brackets nest deeper than `limit`; brackets inside strings do not count."""
    brackets = data.translate(None, KEEP_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        before = len(brackets)
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if before - len(brackets) < before >> 10:
            break  # one deep or unbalanced run: the exact walk ends sooner
    if not brackets:
        return False
    depth = 0
    for token in TOKENS.finditer(data):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def strict(record: bytes, limits: Limits) -> dict[str, Any]:
    """Return the fields of one record, numbers and nested values as they were written, or raise Refusal."""
    record = record.strip(b" \t\r\n")
    if len(record) > limits.record_bytes:
        raise Refusal(
            "limit-record-bytes", f"found a record of {len(record)} bytes, expected at most {limits.record_bytes}"
        )
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise Refusal("encoding", f"found bytes that are not UTF-8 at byte {error.start + 1}, expected UTF-8") from None
    if depth_over(record, limits.depth):
        raise Refusal(
            "limit-depth", f"found nesting deeper than {limits.depth} levels, expected at most {limits.depth}"
        )
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refusal(
            "json-syntax", f"found no valid JSON at character {error.pos + 1}, expected one JSON value: {error.msg}"
        ) from None
    except RecursionError:
        raise Refusal("limit-depth", "found nesting deeper than this machine can follow") from None
    if "\\u" in text:
        _no_lone_surrogate(value)
    if not isinstance(value, dict):
        return {SCALAR: Nested(text.strip()) if isinstance(value, list) else value}
    if len(value) > limits.fields:
        raise Refusal("limit-fields", f"found {len(value)} fields, expected at most {limits.fields}")
    if any(type(part) in {dict, list} for part in value.values()):
        raw = _raw_fields(record)
        for name, part in value.items():
            if type(part) in {dict, list}:
                value[name] = Nested(raw[name]) if name in raw else Nested(json_text(part))
    return value


def _no_lone_surrogate(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refusal("json-surrogate", "found half of a surrogate pair, expected whole characters") from None


def _raw_fields(record: bytes) -> dict[str, str]:
    try:
        return {name: str(bytes(raw), "utf-8") for name, raw in RAW_FIELDS.decode(record).items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}  # the strict decoder accepted it; the nested text is then written anew


def bulk(blob: bytes, count: int, expected: Mapping[str, pa.DataType], limits: Limits) -> Columns | None:
    """Return the columns of `count` lines holding one object each, or None where only the strict road is sure."""
    if not _plain(blob, count, limits):
        return None
    first = blob[: blob.find(b"\n")] if count > 1 else blob
    try:
        texts = {name for name, value in strict(first, limits).items() if type(value) is str}
    except Refusal:
        return None
    for _ in range(4):
        table = _read(blob, texts)
        if table is None or table.num_rows != count or table.num_columns > limits.fields:
            return None
        times = {part.name for part in table.schema if pa.types.is_timestamp(part.type)}
        if not times:
            return _checked(_unnested(table, blob), expected)
        texts |= times  # pyarrow took text for a time: read it again as the text it is
    return None


def _plain(blob: bytes, count: int, limits: Limits) -> bool:
    """Tell whether each line is one object of bounded length and depth in UTF-8, as far as bytes can tell.

    Flat: each line has one brace that opens and then one that closes. If the reader then finds as many objects as lines,
    every brace is an object's own, so every line is one object. Else: a line that ends in `}` before one that starts
    with `{` ends every value, since no valid document holds the two with only a line end between them; again as many
    objects as lines means one object a line.
    """
    if not blob.startswith(b"{") or not blob.endswith(b"}") or b"\r" in blob:
        return False
    if len(blob) > limits.record_bytes and not _short_lines(blob, limits.record_bytes):
        return False
    flat = blob.translate(None, KEEP_BRACES) == b"{}\n" * (count - 1) + b"{}"
    if not flat and (blob.count(b"\n") != count - 1 or blob.count(b"}\n{") != count - 1):
        return False
    if (not flat or b"[" in blob) and depth_over(blob, min(32, limits.depth)):
        return False
    if blob.isascii():
        return True
    try:
        blob.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short_lines(blob: bytes, limit: int) -> bool:
    start, end = 0, len(blob)
    while end - start > limit:
        cut = blob.rfind(b"\n", start, start + limit + 1)
        if cut < 0:
            return False
        start = cut + 1
    return True


def _read(blob: bytes, texts: set[str]) -> pa.Table | None:
    large = len(blob) > 1 << 20
    try:
        return pj.read_json(
            pa.BufferReader(blob),
            read_options=pj.ReadOptions(use_threads=large, block_size=1 << 20 if large else len(blob) + 1),
            parse_options=pj.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in sorted(texts)])),
        )
    except (pa.ArrowException, OSError, UnicodeError):
        return None


def _unnested(table: pa.Table, blob: bytes) -> pa.Table | None:
    """Return the table with nested values as the JSON text they were sent as; pyarrow has checked that text."""
    nested = [part.name for part in table.schema if pa.types.is_nested(part.type)]
    if not nested:
        return table
    if (b"NaN" in blob or b"Inf" in blob) and NO_NUMBERS.search(blob):
        return None  # pyarrow takes them for numbers inside a nested value, where no column shows them
    try:
        raw = [RAW_FIELDS.decode(line) for line in blob.split(b"\n")]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    for name in nested:
        texts = pa.array([None if (found := row.get(name)) is None else bytes(found) for row in raw], pa.binary())
        column = texts.cast(pa.string())
        column = pc.if_else(pc.equal(column, "null"), pa.scalar(None, pa.string()), column)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _checked(table: pa.Table | None, expected: Mapping[str, pa.DataType]) -> Columns | None:
    if table is None:
        return None
    for part, column in zip(table.schema, table.columns, strict=True):
        if part.type not in BULK_TYPES:
            return None
        if pa.types.is_float64(part.type):
            if pa.types.is_string(expected.get(part.name, pa.null())):
                return None  # text was asked for: only the strict road has the digits as written
            top = pc.max(pc.abs(column)).as_py()
            if top is not None and not (top < EXACT and pc.all(pc.is_finite(column)).as_py()):
                return None
    return dict(zip(table.column_names, table.columns, strict=True))


def parse(
    records: Sequence[bytes], where: Callable[[int], str], expected: Mapping[str, pa.DataType], limits: Limits
) -> tuple[pa.Table, list[Failure]]:
    """Return the table of the readable records and the failures of the others, by their index in `records`."""
    parts: list[tuple[Columns, int]] = []
    failures: list[Failure] = []
    for start, chunk, in_bulk in _chunks(records, expected, limits):
        if in_bulk is not None:
            parts.append((in_bulk, len(chunk)))
            continue
        found, rows, broken = strict_columns(chunk, start, where, expected, limits)
        failures += broken
        parts.append((found, rows))
    merged = parts[0] if len(parts) == 1 else _merged(parts, expected, limits)
    if merged is None:
        found, rows, failures = strict_columns(records, 0, where, expected, limits)
        merged = (found, rows)
    return columns(merged[0], merged[1], expected), failures


def _chunks(
    records: Sequence[bytes], expected: Mapping[str, pa.DataType], limits: Limits
) -> Iterator[tuple[int, Sequence[bytes], Columns | None]]:
    """Give runs of records with their bulk columns, or None where they have to be read strictly.

    A run that fails is tried in small ones until two in a row fail too: then it is not one record that is odd.
    """
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        found = bulk(b"\n".join(chunk), len(chunk), expected, limits)
        if found is not None or len(chunk) <= SMALL:
            yield start, chunk, found
            continue
        failed = 0
        for inner in range(0, len(chunk), SMALL):
            if failed == 2:
                yield start + inner, chunk[inner:], None
                break
            part = chunk[inner : inner + SMALL]
            found = bulk(b"\n".join(part), len(part), expected, limits)
            failed = failed + 1 if found is None else 0
            yield start + inner, part, found


def _merged(
    parts: Sequence[tuple[Columns, int]], expected: Mapping[str, pa.DataType], limits: Limits
) -> tuple[Columns, int] | None:
    """Put the chunks one below the other, or return None where a column needs its digits as written."""
    kinds: dict[str, set[pa.DataType]] = {}
    for found, _ in parts:
        for name, column in found.items():
            kinds.setdefault(name, set()).add(column.type)
    rows = sum(count for _, count in parts)
    if len(kinds) > _allowed(rows, limits):
        return None
    common: dict[str, pa.DataType] = {}
    for name, types in kinds.items():
        types.discard(pa.null())
        if types == {pa.int64(), pa.float64()}:
            whole = [found[name] for found, _ in parts if name in found and found[name].type == pa.int64()]
            if not all(exact(column) for column in whole) or pa.types.is_string(expected.get(name, pa.null())):
                return None
            common[name] = pa.float64()
        elif len(types) > 1:
            if pa.float64() in types:
                return None
            common[name] = pa.string()
        else:
            common[name] = next(iter(types), pa.null())
    return concat_raw(parts, common), rows


def _allowed(rows: int, limits: Limits) -> int:
    return min(limits.fields, max(64, CELLS // max(rows, 1)))


def strict_columns(
    records: Sequence[bytes],
    start: int,
    where: Callable[[int], str],
    expected: Mapping[str, pa.DataType],
    limits: Limits,
) -> tuple[Columns, int, list[Failure]]:
    """Read record by record; one broken record never takes its neighbours."""
    cells: dict[str, list[Any]] = {}
    failures: list[Failure] = []
    allowed = _allowed(len(records), limits)
    rows = 0
    for index, record in enumerate(records, start):
        try:
            fields = strict(record, limits)
            fresh = [name for name in fields if name not in cells]
            if len(cells) + len(fresh) > allowed:
                raise Refusal("limit-fields", f"found more than {allowed} field names in one batch, expected fewer")
        except Refusal as refusal:
            failures.append(Failure(index, refusal.code, f"{where(index)}: {refusal.reason}."))
            continue
        for name in fresh:
            cells[name] = [None] * len(records)
        for name, value in fields.items():
            cells[name][rows] = value
        rows += 1
    return {name: column_of(values[:rows], expected.get(name)) for name, values in cells.items()}, rows, failures


def column_of(values: list[Any], wanted: pa.DataType | None) -> pa.Array:
    """Return a column in the narrowest type that keeps every value as it was written."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds <= {str, Nested, Wide}:
        return pa.array(values, pa.string())
    if kinds <= {int, Real} and not (wanted is not None and pa.types.is_string(wanted)):
        doubles = [None if value is None else float(value) for value in values]
        large = any(type(value) is int and abs(value) > EXACT for value in values)
        if not large and all(value is None or abs(value) != float("inf") for value in doubles):
            return pa.array(doubles, pa.float64())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
