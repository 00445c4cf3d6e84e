"""Templates: one document and one table make many feeds; a wrong cell is told at its line and column."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest

from weftline.fabric import Folder, load

_spec = importlib.util.spec_from_file_location("fabric_folder_tests", Path(__file__).with_name("test_folder.py"))
assert _spec
assert _spec.loader
_base = importlib.util.module_from_spec(_spec)
sys.modules["fabric_folder_tests"] = _base
_spec.loader.exec_module(_base)

TEMPLATE = """\
name: machines
parameters:
  - {name: machine}
  - {name: area, type: enum, values: [press, paint]}
  - {name: limit, type: number}
  - {name: qos, type: integer, required: false}
  - {name: critical, type: boolean, default: false}
instances:
  table: machines.csv
feeds:
  - name: "{area}-{machine}"
    connection: broker
    select: {topic: "works/{area}/{machine}/{tag}", qos: "{qos}"}
    format: {codec: json}
    contract: readings@1.0.0
    critical: "{critical}"
    description: "Machine {machine}, at most {limit}"
"""
TABLE = "machine,area,limit,qos,critical\n007,press,180,0,true\nm2,paint,9.5,,\n"


def folder(root: Path, template: str = TEMPLATE, table: str | bytes | None = TABLE) -> Folder:
    _base.write(root)
    (root / "templates").mkdir(exist_ok=True)
    (root / "templates" / "machines.yaml").write_text(template)
    if table is not None:
        (root / "templates" / "machines.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    return load(root, _base.PLUGINS)


def test_each_row_makes_the_feeds_with_typed_values(tmp_path: Path) -> None:
    found = folder(tmp_path)
    assert found.complaints == (), [item.sentence() for item in found.complaints]
    assert found.spec is not None
    first, second = found.spec.feeds[1:]
    assert first.name == "press-007"
    assert first.selector == _base.TopicSelector(topic="works/press/007/{tag}", qos=0)
    assert first.params == {"machine": "007", "area": "press", "limit": 180.0, "qos": 0, "critical": True}
    assert first.critical is True
    assert first.description == "Machine 007, at most 180.0"
    assert first.template == "templates/machines.yaml:2"
    assert second.selector == _base.TopicSelector(topic="works/paint/m2/{tag}"), "an absent value leaves the default"
    assert second.params["qos"] is None
    assert second.critical is False
    assert first.codec_options is second.codec_options


def test_rows_may_stand_in_the_template(tmp_path: Path) -> None:
    rows = "rows:\n    - {machine: 007, area: press, limit: 1}\n    - {machine: no, area: paint, limit: 2}\n"
    found = folder(tmp_path, TEMPLATE.replace("table: machines.csv\n", rows), None)
    assert found.complaints == (), [item.sentence() for item in found.complaints]
    assert found.spec is not None
    assert [feed.name for feed in found.spec.feeds[1:]] == ["press-007", "paint-no"]


CSV = "templates/machines.csv"
YAML = "templates/machines.yaml"
TABLES = [
    (TABLE.replace("180", "much"), "template-cell", CSV, (2, 11), "'much' for 'limit'", "a number", ""),
    (TABLE.replace("180", "1e999"), "template-cell", CSV, (2, 11), "'1e999' for 'limit'", "a number", ""),
    (TABLE.replace("180", ""), "template-cell", CSV, (2, 11), "'' for 'limit'", "a number", ""),
    (TABLE.replace(",0,", ",0.5,"), "template-cell", CSV, (2, 15), "'0.5' for 'qos'", "a whole number", ""),
    (TABLE.replace("true", "yes"), "template-cell", CSV, (2, 17), "'yes' for 'critical'", "true or false", ""),
    (TABLE.replace("press", "prss"), "template-cell", CSV, (2, 5), "'prss'", "one of press", "Did you mean 'press'?"),
    (TABLE.replace('007', '"a,\nb"').replace("press", "x"), "template-cell", CSV, (2, 1), "'x'", "one of", ""),
    (TABLE.replace(",0,", ",2,"), "document-range", CSV, (2, 15), "2", "at most 1", ""),
    (TABLE.replace("007", "a b"), "document-pattern", CSV, (2, 5), "'press-a b'", "a name of letters", ""),
    (TABLE.replace("m2,paint", "007,press"), "feed-duplicate", CSV, (3, 5), "feed 'press-007', also at", "each", ""),
    (TABLE.replace("machine,", "machin,"), "template-column", CSV, (1, 1), "column 'machin'", "a parameter", "Did"),
    ("machine,area\nm1,press\n", "template-column", CSV, (1, 1), "no column 'limit'", "every required", ""),
    (TABLE.replace("qos,", "gos,"), "template-column", CSV, (1, 20), "column 'gos'", "a", "Did you mean 'qos'?"),
    (TABLE.replace("qos,", "area,"), "template-column", CSV, (1, 20), "column 'area' a second", "a parameter", ""),
    (TABLE + "m3,press\n", "template-table", CSV, (4, 1), "2 values", "5, as the header", ""),
    (TABLE.encode() + b"\xff\n", "template-table", CSV, (4, 1), "byte 0xff", "UTF-8 text", "Save"),
    (TABLE + '"x', "template-table", CSV, (0, 0), "unexpected end of data", "a CSV table", ""),
    (None, "template-table", YAML, (9, 10), "table 'machines.csv'", "a CSV file beside", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLES, ids=lambda case: f"{case[1]} {case[4]}")
def test_a_bad_table_is_told_with_its_place(tmp_path: Path, case: tuple) -> None:  # type: ignore[type-arg]
    table, code, place, spot, found, expected, step = case
    complaint = folder(tmp_path, TEMPLATE, table).complaints[0]
    assert (complaint.code, complaint.place, complaint.line, complaint.column) == (code, place, *spot), (
        complaint.sentence()
    )
    assert complaint.found.startswith(found), complaint.sentence()
    assert complaint.expected.startswith(expected), complaint.sentence()
    assert complaint.next_step.startswith(step), complaint.sentence()


TEXTS = [
    ("type: number}", "type: numbr}", "document-choice", (5, 25), "Did you mean 'number'?"),
    ("values: [press, paint]", "description: x", "template-parameter", (4, 5), ""),
    ("default: false", "default: 3", "template-parameter", (7, 46), ""),
    ("name: qos,", "name: area,", "template-parameter", (6, 12), ""),
    ("name: qos,", "name: q os,", "document-pattern", (6, 12), ""),
    ("  table: machines.csv\n", "  table: ''\n", "template-instances", (9, 3), ""),
    ("table: machines.csv", "table: ../../machines.csv", "template-table", (9, 10), ""),
    ("table: machines.csv", "table: /etc/passwd", "template-table", (9, 10), ""),
    ("at most {limit}", "at most {limi}", "template-placeholder", (17, 18), "Did you mean 'limit'?"),
    ('"{critical}"', "{critical}", "template-placeholder", (16, 15), "Quote it: '{critical}'."),
    ("readings@1.0.0", "readings@2.0.0", "feed-contract", (15, 15), "Did you mean '1.0.0'?"),
    ("connection: broker", "connection: brokr", "feed-connection", (12, 17), "Did you mean 'broker'?"),
    ("codec: json", "codec: jsn", "document-choice", (14, 21), "Did you mean 'json'?"),
    ("select: {topic:", "select: {tpic: x, topic:", "document-unknown-key", (13, 20), "Did you mean 'topic'?"),
]


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: f"{case[2]} {case[1]}")
def test_a_bad_template_is_told_once_with_its_place(tmp_path: Path, case: tuple) -> None:  # type: ignore[type-arg]
    old, new, code, spot, step = case
    assert old in TEMPLATE
    found = folder(tmp_path, TEMPLATE.replace(old, new))
    assert len(found.complaints) == 1, [item.sentence() for item in found.complaints]
    (complaint,) = found.complaints
    assert (complaint.code, complaint.place, complaint.line, complaint.column) == (code, YAML, *spot), (
        complaint.sentence()
    )
    assert complaint.next_step.startswith(step), complaint.sentence()


def test_inline_rows_are_checked_as_a_table_is(tmp_path: Path) -> None:
    rows = "rows:\n    - {machine: a, area: prss, limit: x}\n    - {machine: b, area: paint}\n    - {machin: c}\n"
    found = folder(tmp_path, TEMPLATE.replace("table: machines.csv\n", rows), None)
    told = [(item.line, item.code) for item in found.complaints]
    assert told == [(10, "document-type"), (12, "document-unknown-key")]
    rows = "rows:\n    - {machine: a, area: prss, limit: 1}\n    - {machine: b, area: paint}\n"
    found = folder(tmp_path, TEMPLATE.replace("table: machines.csv\n", rows), None)
    assert [(item.line, item.column, item.code) for item in found.complaints] == [
        (10, 26, "template-cell"),
        (11, 7, "template-cell"),
    ]


def test_a_wrong_table_of_thousands_is_cut_short(tmp_path: Path) -> None:
    table = TABLE.splitlines()[0] + "\n" + "".join(f"m{number},prss,1,,\n" for number in range(500))
    found = folder(tmp_path, TEMPLATE, table)
    codes = [item.code for item in found.complaints]
    assert codes.count("template-cell") <= 101
    assert codes.count("template-complaints") == 1


def test_ten_thousand_feeds_of_one_template_take_less_than_a_second_and_a_half(tmp_path: Path) -> None:
    rows = "".join(f"m{number},{('press', 'paint')[number % 2]},{number / 2},,\n" for number in range(10_000))
    table = TABLE.splitlines()[0] + "\n" + rows
    folder(tmp_path, TEMPLATE, table)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = load(tmp_path, _base.PLUGINS)
        times.append(time.perf_counter() - start)
    assert found.spec is not None
    assert len(found.spec.feeds) == 10_001
    # The best of three, since other work may share the machine; measured alone it is a fifth of the limit.
    assert min(times) < 1.5
