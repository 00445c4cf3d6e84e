"""Any bytes as a document give a value or complaints, never an exception."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weftline.contracts.identity import content_hash
from weftline.contracts.odcs import load
from weftline.document import read
from weftline.document_schema import DocumentSchema
from weftline.errors import Complaint
from weftline.fabric.kinds import Feed

SCHEMA = DocumentSchema.of(Feed)
PIECES = st.sampled_from([
    "a", "name", ": ", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ",", "&x ", "*x ", "!t ", "!!int ", "|", ">", "'",
    '"', "#", "%", "---\n", "...\n", "? ", "~", "no", "1:30", "0x", "1e999", ".inf", "\r", "\x85", "\u2028", "\x00",
    "apiVersion: v3.1.0\n", "schema:\n", "  - name: x\n", "logicalType: ", "quality: ", "é", "<<: ", "\\", "\ufeff",
])  # fmt: skip


def sound(complaints: tuple[Complaint, ...]) -> None:
    for item in complaints:
        assert item.code
        assert item.found
        assert item.expected
        assert item.line >= 0
        assert item.column >= 0
        assert "\n" not in item.sentence()


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_complained_about(data: bytes) -> None:
    for schema in (None, SCHEMA):
        reading = read(data, "f", schema)
        assert reading.document is not None or reading.complaints
        sound(reading.complaints)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_yaml_like_text_is_read_or_complained_about(text: str) -> None:
    reading = read(text.encode(), "f", SCHEMA)
    assert reading.document is not None or reading.complaints
    sound(reading.complaints)
    if reading.document is not None:
        content_hash(reading.document.data)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_contract_like_text_is_loaded_or_complained_about(text: str) -> None:
    for head in ("", "apiVersion: v3.0.2\n", "apiVersion: v3.2.0\nkind: DataContract\nid: a\nversion: 1\n"):
        reading = load((head + text).encode(), "f")
        assert (reading.value is None) == bool(reading.complaints)
        sound(reading.complaints)
