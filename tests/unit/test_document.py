"""Reading documents: places, YAML's traps, bounds, and every complaint with its exact place."""

from __future__ import annotations

import pytest

from weftline.document import Limits, Spot, kind_of, parse, read
from weftline.document_schema import DocumentSchema
from weftline.errors import Complaint
from weftline.fabric.kinds import Site

SCHEMA = DocumentSchema({
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "flag": {"type": "boolean"},
        "whole": {"type": "integer"},
        "number": {"type": "number", "minimum": 0},
        "texts": {"type": "array", "items": {"type": "string"}, "maxItems": 9},
        "word": {"enum": ["alpha", "beta"]},
        "either": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
        "size": {"type": "string", "pattern": "^[0-9]+MB$", "x-expected": "a size such as 5MB"},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "part": {"$ref": "#/$defs/Part"},
        "any": {},
    },
    "required": ["text"],
    "additionalProperties": False,
    "$defs": {
        "Part": {
            "type": "object",
            "properties": {"inner": {"type": "integer"}, "part": {"$ref": "#/$defs/Part"}},
            "additionalProperties": False,
        }
    },
})  # fmt: skip


def only(data: bytes, limits: Limits | None = None) -> Complaint:
    """Return the one complaint about a text."""
    complaints = read(data, "f.yaml", SCHEMA, limits or Limits()).complaints
    assert len(complaints) == 1, [item.sentence() for item in complaints]
    return complaints[0]


@pytest.mark.parametrize(
    "written",
    ["no", "on", "Yes", "1:30", "2018-01-01", "007", "1e3", "0x1F", "true", "1.0", ".inf", "12345678901234567890"],
)
def test_a_plain_scalar_stays_text_where_the_schema_wants_text(written: str) -> None:
    reading = read(f"text: {written}\ntexts: [{written}]\n".encode(), "f.yaml", SCHEMA)
    assert reading.complaints == ()
    assert reading.document is not None
    assert reading.document.data == {"text": written, "texts": [written]}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2018-01-01", "2018-01-01"),
        ("true", True),
        ("False", False),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("~", None),
        ("", None),
        ("null", None),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("!!int '7'", 7),
        ("<<", "<<"),
    ],
)
def test_without_a_schema_the_core_rules_of_yaml_1_2_hold(written: str, value: object) -> None:
    reading = read(f"key: {written}\n".encode(), "f.yaml")
    assert reading.complaints == ()
    assert reading.document is not None
    found = reading.document.data["key"]
    assert (found, type(found)) == (value, type(value))


BAD = [
    (b"text: x\nflag: no\n", "document-type", (2, 7), "'no'", "true or false", "Write false"),
    (b"text: x\nflag: Yes\n", "document-type", (2, 7), "'Yes'", "true or false", "Write true"),
    (b"text:\n", "document-type", (1, 6), "nothing", "text", ""),
    (b"text: x\nwhole: 1.5\n", "document-type", (2, 8), "1.5", "a whole number", ""),
    (b"text: x\nwhole: '1'\n", "document-type", (2, 8), "'1'", "a whole number", ""),
    (b"text: x\nnumber: 1e999\n", "document-type", (2, 9), "'1e999'", "a number", ""),
    (b"text: x\nnumber: -1\n", "document-range", (2, 9), "-1", "at least 0", ""),
    (b"text: x\nword: alpa\n", "document-choice", (2, 7), "'alpa'", "'alpha' or 'beta'", "Did you mean 'alpha'?"),
    (
        b"text: x\npart:\n  innr: 1\n",
        "document-unknown-key",
        (3, 3),
        "key 'innr'",
        "a known key",
        "Did you mean 'inner'?",
    ),
    (
        b"text: x\npart: {part: {part: {q: 1}}}\n",
        "document-unknown-key",
        (2, 22),
        "key 'q'",
        "a known key",
        "Known: inner",
    ),
    (b"flag: true\n", "document-missing-key", (1, 1), "no key 'text'", "that key", ""),
    (b"text: x\nsize: 5\n", "document-pattern", (2, 7), "'5'", "a size such as 5MB", ""),
    (b"text: x\ncode: A\n", "document-pattern", (2, 7), "'A'", "text matching ^[a-z]+$", ""),
    (b"text: x\neither: {a: 1}\n", "document-type", (2, 9), "a mapping", "text or a list", ""),
    (b"text: x\neither: [1, x]\n", "document-type", (2, 13), "'x'", "a whole number", ""),
    (b"text: x\ntext: y\n", "document-duplicate-key", (2, 1), "key 'text' a second time", "each key once", "Remove"),
    (b"text: x\nany: {a: 1, 'a': 2}\n", "document-duplicate-key", (2, 13), "key 'a' a second", "each key once", ""),
    (b"text: x\nany: {[1]: 2}\n", "document-key", (2, 7), "a list or mapping as a key", "a key that is text", ""),
    (b"text: x\nany: !point 1\n", "document-tag", (2, 6), "tag '!point'", "no tag", ""),
    (b"text: x\n---\ntext: y\n", "document-multiple", (2, 1), "a second document", "one document a file", "Split"),
    (b"text: x\nany:\n\t- 1\n", "document-syntax", (3, 1), "a tab in the indentation", "spaces", "Indent"),
    (b"text: 'x\n", "document-syntax", (2, 1), "unexpected end of stream", "a YAML or JSON document", ""),
    (b"text: *gone\n", "document-syntax", (1, 7), "undefined alias", "a YAML or JSON document", ""),
    (b"text: \x00\n", "document-encoding", (1, 1), "a control character", "printable text", ""),
    (b"text: \xfc\n", "document-encoding", (1, 7), "byte 0xfc", "UTF-8 text", "Save the file as UTF-8."),
    ("text: x".encode("utf-16"), "document-encoding", (1, 1), "byte 0xff", "UTF-8 text", ""),
    (b"", "document-empty", (1, 1), "an empty document", "a mapping", ""),
    (b"# only words\n", "document-empty", (1, 1), "an empty document", "a mapping", ""),
    (b"[1, 2]", "document-type", (1, 1), "a list of 2", "a mapping", ""),
    (b"[" * 100_000, "document-depth", (1, 64), "a deeper nesting", "at most 64 levels", ""),
    (b"any: &a [*a, *a]\ntext: x\n", "document-alias", (1, 6), "aliases that repeat too much", "a document", ""),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: repr(case[0])[:40])
def test_a_bad_document_is_told_with_its_place(case: tuple[bytes, str, tuple[int, int], str, str, str]) -> None:
    data, code, spot, found, expected, step = case
    complaint = only(data)
    assert (complaint.code, complaint.place, (complaint.line, complaint.column)) == (code, "f.yaml", spot)
    assert complaint.found.startswith(found)
    assert complaint.expected.startswith(expected)
    assert complaint.next_step.startswith(step)


def test_all_problems_are_told_at_once_in_the_order_of_the_text() -> None:
    reading = read(b"flag: off\nwhle: 1\nword: gamma\nflag: true\n", "f.yaml", SCHEMA)
    places = [(item.line, item.code) for item in reading.complaints]
    assert places == [
        (1, "document-missing-key"),
        (1, "document-type"),
        (2, "document-unknown-key"),
        (3, "document-choice"),
        (4, "document-duplicate-key"),
    ]


def test_lines_and_columns_hold_with_a_bom_and_any_line_end() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = f"text: ä{end}part:{end}  inner: 1{end}texts: [a, b]{end}"
        reading = read(b"\xef\xbb\xbf" + text.encode(), "f.yaml", SCHEMA)
        assert reading.complaints == ()
        assert reading.document is not None
        assert reading.document.spot(("part", "inner")) == Spot(3, 10)
        assert reading.document.spot(("part", "inner"), key=True) == Spot(3, 3)
        assert reading.document.spot(("texts", 1)) == Spot(4, 12)
        assert reading.document.spot(("texts", 7, "no")) == Spot(4, 8), "the nearest node above"


def test_json_is_read_too() -> None:
    reading = read(b'{\n\t"text": "a\\u00e4",\n\t"texts": ["x"]\n}', "f.json", SCHEMA)
    assert reading.complaints == ()
    assert reading.document is not None
    assert reading.document.data == {"text": "aä", "texts": ["x"]}
    assert reading.document.spot(("texts", 0)) == Spot(3, 12)


def test_an_alias_bomb_is_stopped_and_an_honest_alias_is_not() -> None:
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [b"%c: &%c [%s]" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(9)]
    assert [item.code for item in read(b"\n".join(lines), "f.yaml").complaints] == ["document-alias"]
    honest = read(b"any: &base {a: 1}\ntext: x\npart: {inner: 1}\n", "f.yaml", SCHEMA)
    assert honest.complaints == ()
    reading = read(b"a: &base [1, 2]\nb: *base\n", "f.yaml")
    assert reading.document is not None
    assert reading.document.data == {"a": [1, 2], "b": [1, 2]}


def test_size_and_nodes_are_bounded() -> None:
    assert only(b"text: " + b"x" * 100, Limits(size=50)).code == "document-size"
    assert only(b"texts: [" + b"a," * 100 + b"]", Limits(nodes=50)).code == "document-size"


def test_a_text_can_be_looked_at_before_its_schema_is_known() -> None:
    tree = parse(b"kind: 007\nlist: [{name: on}]\n", "f.yaml")
    assert not isinstance(tree, Complaint)
    assert tree.text("kind") == "007"
    assert tree.text("list", 0, "name") == "on"
    assert tree.text("list", 1, "name") is None
    assert tree.text("none") is None
    assert tree.count_items("list") == 1


def test_a_kind_of_a_model_gives_the_model() -> None:
    kind = kind_of("site", ("sites/*.yaml",), Site, "one plant")
    reading = kind.load(b"name: north\nareas: [{name: a1}]\n", "sites/north.yaml")
    assert isinstance(reading.value, Site)
    assert reading.value.areas[0].name == "a1"
    assert kind.load(b"nam: north\n", "s").value is None
    assert "properties" in kind.schema()["$defs"]["Site"]
