"""Every real file of a format we read, on the real road: taken in or refused with reasons, never a crash.

The outcomes are written to tests/results/corpus.md; docs/acceptance/corpus.md is the copy under version control.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weftline.errors import WeftlineError
from weftline.service.operations import Operations
from weftline.service.wiring import open_fabric

ROOT = Path(__file__).resolve().parents[2]
RESULTS, DOCS = ROOT / "tests/results/corpus.md", ROOT / "docs/acceptance/corpus.md"
FEED_OF = {
    ".json": "json", ".jsonld": "json", ".jsonl": "ndjson", ".ndjson": "ndjson", ".csv": "csv", ".txt": "shdr",
    ".parquet": "parquet", ".xlsx": "xlsx", ".csv.gz": "csv", ".jsonl.gz": "ndjson", ".csv.zip": "csv",
}  # fmt: skip
LINES_OF_JSON = {"fever_jsonparse_eve.json"}
"""Files whose name says JSON and whose content is one value a line, as their tool writes it."""
FORMATS = {
    "json": "{codec: json}",
    "ndjson": "{codec: ndjson}",
    "csv": "{codec: csv, delimiter: auto}",
    "shdr": "{codec: shdr}",
    "parquet": "{codec: parquet}",
    "xlsx": "{codec: xlsx}",
}
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: anything
version: 1.0.0
status: active
schema:
  - name: anything
    physicalName: anything
    properties:
      - name: id
        logicalType: string
"""
TERMS = ("received", "stored", "quarantined", "duplicate", "ignored", "expired")
TOLD = {"stored", "duplicate", "empty", "refused", "unreadable"}
HEAD = """# Outcomes over real files

Each file of the corpus in a format of this version, ingested through a contract that asks for nothing, so that what is
refused is refused for what it is. Written by `tests/corpus/test_every_file.py`. Licences and other plain texts are given
to the SHDR feed on purpose: their lines have no adapter's time stamp and are refused one by one.

"""


@dataclass(frozen=True)
class Outcome:
    place: str
    feed: str
    terms: dict[str, int]
    verdict: str
    reason: str

    @property
    def word(self) -> str:
        """Return what became of the file's records."""
        if self.verdict != "stored":
            return self.verdict
        if not self.terms["quarantined"]:
            return "accepted"
        return "in part" if self.terms["stored"] else "refused"

    def line(self) -> str:
        counts = " | ".join(str(self.terms[term]) for term in ("received", "stored", "quarantined", "duplicate"))
        return f"| {self.place} | {self.feed} | {counts} | {self.word} | {self.reason} |"


def suffix_of(path):
    pair = "".join(path.suffixes[-2:])
    return pair if pair in FEED_OF else path.suffix


def zeek_names(path):
    """Return the field names a Zeek log states in its own head, or nothing where it is no Zeek log."""
    for line in path.read_text("utf-8", "replace").splitlines()[:20]:
        if line.startswith("#fields\t"):
            return line.split("\t")[1:]
    return []


def zeek_feed(names):
    return f"zeek-{crc32(chr(9).join(names).encode()):x}"


class Road:
    """One fabric with a feed per format, and one per set of Zeek columns."""

    def __init__(self, folder, zeek=()):
        self.folder = folder
        self.put("fabric.yaml", "name: corpus\n")
        self.put("connections/drop.yaml", "name: drop\nkind: files\npath: data\n")
        self.put("contracts/anything.odcs.yaml", CONTRACT)
        for name, text in FORMATS.items():
            self.feed(name, text)
        for names in zeek:
            listed = ", ".join(f'"{name}"' for name in names)
            options = f'{{codec: csv, delimiter: tab, quote: "", comment: "#", header: false, nulls: ["-"], names: [{listed}]}}'
            self.feed(zeek_feed(names), options)
        self.fabric = open_fabric(folder)
        self.operations = Operations(self.fabric)

    def put(self, place, text):
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def feed(self, name, options):
        select = f'{{path: "{name}/*"}}'
        self.put(
            f"feeds/{name}.yaml",
            f"name: {name}\nconnection: drop\nselect: {select}\nformat: {options}\ncontract: anything@1.0.0\n",
        )

    def take(self, path, feed, place=""):
        result = self.operations.ingest(feed, str(path), history=True)
        terms = {term: int(result[term]) for term in TERMS}
        reason = result.get("reason", "").replace(str(path), path.name)
        if terms["quarantined"]:
            reason = self.first_reason()
        shown = "zeek" if feed.startswith("zeek-") else feed
        return Outcome(place or path.name, shown, terms, result["verdict"], tidy(reason))

    def first_reason(self):
        """Return code, rule and reason of the first record of the newest group that was quarantined."""
        newest = "(SELECT max(commit_seq) FROM weftline.quarantine)"
        rows = self.fabric.lake.scan(
            f"SELECT code, violations FROM weftline.quarantine WHERE commit_seq = {newest} ORDER BY id LIMIT 1"
        )
        (row,) = rows.to_pylist()
        said = row["violations"][0] if row["violations"] else {"found": "", "expected": ""}
        return f"{row['code']}: {said['found']}"


def tidy(text):
    """Return a reason that fits a cell of the table."""
    flat = "".join(letter if letter.isprintable() else "·" for letter in text).replace("|", "¦").replace("`", "'")
    return flat if len(flat) <= 140 else f"{flat[:139]}…"


@pytest.fixture(scope="module")
def files(corpus):
    found = sorted(path for path in corpus.rglob("*") if path.is_file() and not path.name.startswith("README"))
    plain = [(path, "ndjson" if path.name in LINES_OF_JSON else FEED_OF[suffix_of(path)])
             for path in found if suffix_of(path) in FEED_OF]  # fmt: skip
    zeek = [(path, names) for path in found if path.suffix == ".log" and (names := zeek_names(path))]
    return plain, zeek


@pytest.fixture(scope="module")
def run(corpus, files, tmp_path_factory):
    plain, zeek = files
    road = Road(tmp_path_factory.mktemp("corpus") / "fabric", {tuple(names) for _, names in zeek})
    outcomes = [road.take(path, feed, str(path.relative_to(corpus))) for path, feed in plain]
    outcomes += [road.take(path, zeek_feed(names), str(path.relative_to(corpus))) for path, names in zeek]
    yield road, sorted(outcomes, key=lambda one: one.place)
    road.fabric.close()


def test_every_file_has_an_outcome_and_every_refusal_a_reason(run, files):
    _, outcomes = run
    assert len(outcomes) == len(files[0]) + len(files[1]) > 0
    wrong = []
    for one in outcomes:
        if one.verdict not in TOLD:
            wrong.append(f"{one.place}: {one.verdict}")
        if one.terms["received"] != sum(one.terms[term] for term in TERMS[1:]):
            wrong.append(f"{one.place}: {one.terms}")
        if not one.terms["received"] and one.verdict not in {"empty", "refused", "unreadable"}:
            wrong.append(f"{one.place}: no record, {one.verdict}")
        if (one.terms["quarantined"] or one.verdict in {"refused", "unreadable"}) and len(one.reason) < 10:
            wrong.append(f"{one.place}: no reason")
    assert not wrong, "\n".join(wrong)


def test_the_ledger_balances_over_all_files(run):
    road, outcomes = run
    assert road.operations.verify() == []
    rows = road.operations.ledger()
    assert all(row["balanced"] for row in rows)
    for term in TERMS:
        assert sum(row[term] for row in rows) == sum(one.terms[term] for one in outcomes), term


def test_what_is_known_to_be_broken_is_refused_and_what_is_known_to_be_sound_is_not(run):
    _, outcomes = run
    by_name = {Path(one.place).name: one for one in outcomes}
    broken = by_name["basyx-test_not_deserializable.json"]
    assert (broken.terms["stored"], broken.terms["quarantined"]) == (0, 1)
    assert by_name["basyx-test_demo_full_example.json"].terms["stored"] == 1, "a byte order mark is no fault"
    assert by_name["fever_jsonparse_eve.json"].terms["quarantined"] == 0
    assert by_name["lineitem.csv.gz"].terms["quarantined"] == 0
    assert by_name["Mazak01-20180802-20180803.txt"].terms["stored"] == 30_396
    zeek = [one for one in outcomes if one.feed == "zeek"]
    assert zeek
    assert not [one for one in zeek if one.terms["quarantined"] or not one.terms["received"]]


def test_the_table_of_outcomes_is_written_and_agrees_with_the_committed_one(run):
    _, outcomes = run
    totals = {term: sum(one.terms[term] for one in outcomes) for term in TERMS}
    told = ", ".join(f"{count:,} {term}" for term, count in totals.items() if count)
    head = "| file | format | received | stored | quarantined | duplicate | verdict | first reason |\n"
    rule = "|---|---|--:|--:|--:|--:|---|---|\n"
    text = f"{HEAD}{len(outcomes):,} files; records: {told}.\n\n{head}{rule}" + "".join(
        f"{one.line()}\n" for one in outcomes
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(text)
    if not DOCS.exists() or os.environ.get("WEFTLINE_WRITE_ACCEPTANCE"):
        shutil.copy(RESULTS, DOCS)
    committed = rows_of(DOCS.read_text())
    now = rows_of(text)
    moved = [
        f"{place}: {committed[place]} → {now[place]}"
        for place in committed.keys() & now
        if committed[place] != now[place]
    ]
    assert not moved, "\n".join([*sorted(moved), "If this is right: WEFTLINE_WRITE_ACCEPTANCE=1 pytest " + __file__])


def rows_of(text):
    """Return the cells of each file but its reason, whose words may change."""
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and not line.startswith("| file")]
    return {cells[0]: tuple(cells[1:7]) for cells in lines}


def mutants(raw, rng):
    """Yield ways in which a file arrives broken."""
    for share in (0.2, 0.7, 0.99):
        yield "cut", raw[: max(1, int(len(raw) * share))]
    holes = bytearray(raw)
    for _ in range(5):
        holes[rng.randrange(len(holes))] = rng.randrange(256)
    yield "bytes", bytes(holes)
    middle = len(raw) // 2
    yield "zeros", raw[:middle] + bytes(64) + raw[middle:]
    yield "rubbish", raw + rng.randbytes(200)
    yield "ends", raw.replace(b"\n", b"\r\n", 3)
    yield "twice", raw + raw
    yield "nothing", b"\n"


def samples(corpus, folder):
    """Return one sound file of each format: real ones, and our own where the corpus has none."""
    table = pa.table({"id": [str(number) for number in range(500)], "value": [float(number) for number in range(500)]})
    pq.write_table(table, folder / "own.parquet")
    from openpyxl import Workbook

    book = Workbook()
    for row in [("id", "value"), *((number, number / 2) for number in range(50))]:
        book.active.append(row)
    book.save(folder / "own.xlsx")
    with zipfile.ZipFile(folder / "own.csv.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(corpus / "partners/codes/levels.csv", "levels.csv")
    (folder / "own.jsonl.gz").write_bytes(
        gzip.compress((corpus / "governance/rfc6962/proof_vectors.jsonl").read_bytes())
    )
    real = [
        "iiot/nist-smstestbed/mtc_adapter010.txt",
        "partners/codes/levels.csv",
        "governance/rfc6962/proof_vectors.jsonl",
        "governance/sql/tpc-h/nation.csv.gz",
        "partners/epcis/2.0-JSON-Capture-Documents-ObjectEvent.json",
        "governance/authzen/decisions-authorization-api-1_0-01.json",
    ]
    own = ["own.parquet", "own.xlsx", "own.csv.zip", "own.jsonl.gz"]
    return [corpus / place for place in real] + [folder / name for name in own]


def test_a_broken_file_of_each_format_has_an_outcome_and_nothing_is_lost(corpus, tmp_path):
    road = Road(tmp_path / "fabric")
    try:
        rng = random.Random(20)
        outcomes = []
        for sample in samples(corpus, tmp_path):
            suffix = suffix_of(sample)
            for number, (kind, raw) in enumerate(mutants(sample.read_bytes(), rng)):
                path = tmp_path / f"{sample.name.removesuffix(suffix)}-{number}-{kind}{suffix}"
                path.write_bytes(raw)
                one = road.take(path, FEED_OF[suffix])
                assert one.verdict in TOLD, one
                assert one.terms["received"] == sum(one.terms[term] for term in TERMS[1:]), one
                if one.verdict != "duplicate" and not one.terms["stored"] and kind != "nothing":
                    assert len(one.reason) >= 10, one
                outcomes.append(one)
        assert road.operations.verify() == []
        ledger = road.operations.ledger()
        assert sum(row["received"] for row in ledger) == sum(one.terms["received"] for one in outcomes)
        assert {one.feed for one in outcomes if one.reason} == set(FORMATS), "a mutant of each format is refused"
    finally:
        road.fabric.close()


def test_the_whole_lines_before_a_cut_are_stored(corpus, tmp_path):
    road = Road(tmp_path / "fabric")
    try:
        raw = (corpus / "governance/cedar/corpus_sample.jsonl").read_bytes()
        cut = raw[: len(raw) * 2 // 3]
        path = tmp_path / "cut.jsonl"
        path.write_bytes(cut)
        one = road.take(path, "ndjson")
        assert one.terms["stored"] == cut.count(b"\n")
        assert one.terms["quarantined"] == 1
    finally:
        road.fabric.close()


def test_an_unsound_folder_is_refused_in_words(tmp_path):
    road = Road(tmp_path / "fabric")
    road.fabric.close()
    (tmp_path / "fabric/feeds/json.yaml").write_bytes(b"\xff\xfe\x00rubbish")
    with pytest.raises(WeftlineError):
        open_fabric(tmp_path / "fabric")
