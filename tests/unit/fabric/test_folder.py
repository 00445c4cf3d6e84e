"""A fabric folder: everything wrong with it is told at once, each at its place; what is right becomes what runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from weftline.document import kind_of
from weftline.document_schema import DocumentSchema
from weftline.errors import Complaint, ConflictError, NotFoundError
from weftline.fabric import ConnectorModel, Folder, Plugins, discover, load
from weftline.fabric.registry import unique
from weftline.fabric.scaffold import TEMPLATES, init
from weftline.fabric.schema import CORE, schema
from weftline.model.feed import ConnectionSpec, FeedSpec, Mode


class DropOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    path: str
    poll_seconds: float = 2.0


class DropSelector(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    path: str


class Tls(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Shares its class name with the listener's TLS settings on purpose."""

    ca: str


class BrokerOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    tls: Tls | None = None


class TopicSelector(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    topic: str
    qos: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1


class CsvOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    delimiter: str = ","


class JsonOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


def same_topic(connection: ConnectionSpec, feeds: Sequence[FeedSpec]) -> list[tuple[FeedSpec, Complaint]]:
    seen: dict[str, str] = {}
    return [
        (feed, Complaint("topic-tie", connection.name, f"'{feed.selector.topic}' as '{other}'", "one feed a topic"))
        for feed in feeds
        if (other := seen.setdefault(feed.selector.topic, feed.name)) != feed.name
    ]


PLUGINS = Plugins(
    connectors={
        "files": ConnectorModel(DropOptions, DropSelector),
        "mqtt": ConnectorModel(BrokerOptions, TopicSelector, same_topic),
    },
    codecs={"csv": CsvOptions, "json": JsonOptions},
)

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: readings
version: 1.0.0
status: active
schema: [{name: reading, properties: [{name: value, logicalType: number}]}]
"""
FILES = {
    "fabric.yaml": "name: works\n",
    "contracts/readings.odcs.yaml": CONTRACT,
    "connections/broker.yaml": "name: broker\nkind: mqtt\nhost: localhost\n",
    "connections/drop.yaml": "name: drop\nkind: files\npath: data/drop\n",
    "sites/north.yaml": "name: north\ntimezone: Europe/Berlin\n",
    "partners/acme.yaml": "name: acme\ngln: '4012345000009'\n",
    "feeds/a.yaml": (
        "name: a\nconnection: broker\nselect: {topic: a/1}\nformat: {codec: json}\ncontract: readings@1.0.0\n"
        "cadence: 15s\nsite: north\npartner: acme\nmode: warn\nseverity: {value-required: enforce}\n"
        "params: {limit: 3}\n"
    ),
}


def write(root: Path, **changes: str) -> Path:
    added = {key.replace("__", "/"): value for key, value in changes.items()}
    for name, text in {**FILES, **added}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def folder(root: Path, files: dict[str, str]) -> Folder:
    write(root)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load(root, PLUGINS)


def test_a_good_folder_becomes_connections_and_feeds(tmp_path: Path) -> None:
    found = load(write(tmp_path), PLUGINS)
    assert found.complaints == ()
    spec = found.spec
    assert spec is not None
    assert {item.name: item.options for item in spec.connections}["broker"] == BrokerOptions(host="localhost")
    (feed,) = spec.feeds
    assert feed == FeedSpec(
        name="a",
        connection="broker",
        kind="mqtt",
        selector=TopicSelector(topic="a/1"),
        codec="json",
        codec_options=JsonOptions(),
        contract="readings",
        version="1.0.0",
        mode=Mode.WARN,
        severity={"value-required": Mode.ENFORCE},
        cadence=15.0,
        partner="acme",
        site="north",
        params={"limit": 3},
    )
    assert spec.contract("readings", "1.0.0").schema[0].name == "reading"
    assert spec.settings.retention.quarantine == "90d"
    assert set(found.documents) >= {"fabric", "connection", "feed", "contract", "site", "partner"}


FEED = FILES["feeds/a.yaml"]
BAD = [
    ("feeds/a.yaml", FEED.replace("broker", "brokr"), "feed-connection", (2, 13), "Did you mean 'broker'?"),
    ("feeds/a.yaml", FEED.replace("@1.0.0", "@1.0.1"), "feed-contract", (5, 11), "Did you mean '1.0.0'?"),
    ("feeds/a.yaml", FEED.replace("readings@", "reading@"), "feed-contract", (5, 11), "Did you mean 'readings'?"),
    ("feeds/a.yaml", FEED.replace("readings@1.0.0", "readings"), "document-pattern", (5, 11), ""),
    ("feeds/a.yaml", FEED.replace("north", "nroth"), "feed-site", (7, 7), "Did you mean 'north'?"),
    ("feeds/a.yaml", FEED.replace("acme", "acne"), "feed-partner", (8, 10), "Did you mean 'acme'?"),
    ("feeds/a.yaml", FEED.replace(": enforce}", ": observe}"), "feed-severity", (10, 28), ""),
    ("feeds/a.yaml", FEED.replace("15s", "15"), "document-pattern", (6, 10), ""),
    ("feeds/a.yaml", FEED.replace("15s", "0s"), "document-pattern", (6, 10), ""),
    ("feeds/a.yaml", FEED.replace("mode: warn", "mode: wran"), "document-choice", (9, 7), "Did you mean 'warn'?"),
    ("feeds/a.yaml", FEED.replace("a/1", "a/1, qs: 1"), "document-unknown-key", (3, 22), "Did you mean 'qos'?"),
    ("feeds/a.yaml", FEED.replace("a/1", "a/1, qos: 2"), "document-range", (3, 27), ""),
    ("feeds/a.yaml", FEED.replace("codec: json", "codec: jsn"), "document-choice", (4, 17), "Did you mean 'json'?"),
    (
        "feeds/a.yaml",
        FEED.replace("codec: json", "codec: csv, delimter: x"),
        "document-unknown-key",
        (4, 22),
        "Did you",
    ),
    ("feeds/b.yaml", FEED.replace("a/1", "b/1"), "feed-duplicate", (1, 7), ""),
    ("feeds/b.yaml", FEED.replace("name: a", "name: b"), "topic-tie", (3, 9), ""),
    ("feeds/b.yaml", FEED.replace("name: a", "name: a b"), "document-pattern", (1, 7), ""),
    ("feeds/b.yaml", "\xff", "document-type", (1, 1), ""),
    ("feeds/b.yml", FEED, "fabric-unknown-file", (0, 0), ""),
    ("feed/b.yaml", FEED, "fabric-unknown-kind", (0, 0), "Did you mean 'feeds'?"),
    ("notes.txt", "x", "fabric-unknown-file", (0, 0), ""),
    (
        "connections/broker.yaml",
        FILES["connections/broker.yaml"] + "prot: 1\n",
        "document-unknown-key",
        (4, 1),
        "Did you",
    ),
    ("connections/broker.yaml", FILES["connections/broker.yaml"] + "port: 0\n", "document-range", (4, 7), ""),
    ("connections/broker.yaml", "name: broker\nkind: mqt\n", "document-choice", (2, 7), "Did you mean 'mqtt'?"),
    ("connections/e.yaml", FILES["connections/drop.yaml"], "fabric-duplicate", (1, 7), ""),
    ("sites/north.yaml", "name: north\ntimezone: Europe/Berln\n", "fabric-timezone", (2, 11), "Did you mean"),
    ("sites/south.yaml", "name: north\n", "fabric-duplicate", (1, 7), ""),
    ("sites/north.yaml", "name: north\nareas: [{name: a, line: []}]\n", "document-unknown-key", (2, 19), "Did you"),
    ("partners/acme.yaml", "name: acme\ngln: '4012345000008'\n", "fabric-gln", (2, 6), ""),
    ("partners/acme.yaml", "name: acme\ngln: 12\n", "fabric-gln", (2, 6), ""),
    ("partners/acme.yaml", "name: acme\nrole: suplier\n", "document-choice", (2, 7), "Did you mean 'supplier'?"),
    ("fabric.yaml", "name: works\ncontrol: {url: 'postgresql://a:b@c/d'}\n", "fabric-secret", (2, 16), ""),
    ("fabric.yaml", "name: works\ncontrol: {url: 'x://[::1'}\n", "fabric-url", (2, 16), ""),
    ("fabric.yaml", "name: works\ntimezone: ../etc\n", "fabric-timezone", (2, 11), ""),
    ("fabric.yaml", "name: works\nretention: {quarantine: 90}\n", "document-pattern", (2, 25), ""),
    ("fabric.yaml", "name: works\nlsten: {}\n", "document-unknown-key", (2, 1), "Did you mean 'listen'?"),
    ("contracts/b.odcs.yaml", CONTRACT, "contract-duplicate-version", (4, 10), ""),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[2]} {case[0]} {case[4]}")
def test_a_bad_folder_is_told_with_its_place(tmp_path: Path, case: tuple[str, str, str, tuple[int, int], str]) -> None:
    place, text, code, spot, step = case
    found = folder(tmp_path, {place: text})
    assert found.spec is None
    assert len(found.complaints) == 1, [item.sentence() for item in found.complaints]
    (complaint,) = found.complaints
    late = {"contract-duplicate-version": "contracts/readings.odcs.yaml", "topic-tie": "feeds/b.yaml"}
    assert (complaint.code, complaint.place, complaint.line, complaint.column) == (code, late.get(code, place), *spot)
    assert complaint.next_step.startswith(step), complaint.sentence()


def test_everything_is_told_at_once_and_a_broken_document_is_not_missed_twice(tmp_path: Path) -> None:
    found = folder(
        tmp_path,
        {
            "connections/broker.yaml": "name: broker\nkind: mqtt\n",
            "contracts/readings.odcs.yaml": CONTRACT.replace("logicalType", "logicType"),
            "feeds/b.yaml": FEED.replace("name: a", "nme: b").replace("acme", "acne"),
            "feeds/c.yaml": "a: [",
        },
    )
    told = [(item.place, item.code) for item in found.complaints]
    assert told == [
        ("connections/broker.yaml", "document-missing-key"),
        ("contracts/readings.odcs.yaml", "document-unknown-key"),
        ("feeds/b.yaml", "document-missing-key"),
        ("feeds/b.yaml", "document-unknown-key"),
        ("feeds/b.yaml", "feed-partner"),
        ("feeds/c.yaml", "document-syntax"),
    ]


def test_hidden_files_data_docs_and_read_me_are_nobodys(tmp_path: Path) -> None:
    names = [".weftline/lake", ".git/x", "data/drop/a.csv", "docs/a.txt", "README.md", "LICENSE", "feeds/.swp"]
    assert folder(tmp_path, dict.fromkeys(names, "x")).complaints == ()


def test_a_folder_without_a_fabric_says_what_to_do(tmp_path: Path) -> None:
    (complaint,) = load(tmp_path / "none", PLUGINS).complaints
    assert complaint.code == "fabric-missing"
    assert "weftline init" in complaint.next_step


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "feeds" / "loop.yaml").symlink_to("loop.yaml")
    found = load(tmp_path, PLUGINS)
    assert [item.code for item in found.complaints] == ["fabric-unknown-file"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_folder_is_clean_and_holds_what_a_beginner_needs(tmp_path: Path, template: str) -> None:
    files = init(tmp_path / "new", template)
    found = load(tmp_path / "new", PLUGINS)
    assert found.complaints == (), [item.sentence() for item in found.complaints]
    assert found.spec is not None
    assert found.spec.feeds
    assert found.spec.contracts
    assert ".weftline/" in (tmp_path / "new" / ".gitignore").read_text()
    assert all("#" in path.read_text() or path.suffix == ".csv" for path in files)
    with pytest.raises(ConflictError) as refused:
        init(tmp_path / "new", template)
    assert refused.value.code == "fabric-exists"


def test_an_unknown_scaffold_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'plant'"):
        init(tmp_path, "plnt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [*CORE, "contract"])
def test_every_kind_has_a_schema_for_editors(tmp_path: Path, kind: str) -> None:
    found = load(write(tmp_path), PLUGINS)
    editor = DocumentSchema(schema(kind, PLUGINS))
    for reading in found.documents.get(kind, ()):
        assert reading.document is not None
        assert editor.accepts(reading.document.data), editor.violations(reading.document.data)
        assert not editor.accepts({"unheardOf": 1})
    assert "description" in str(schema(kind, PLUGINS))


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'feed'"):
        schema("fed", PLUGINS)


def test_a_kind_is_declared_by_one_package() -> None:
    first = kind_of("rule", ("rules/*.yaml",), JsonOptions, "a rule")
    for second in (
        kind_of("rule", ("other/*.yaml",), JsonOptions, "another"),
        kind_of("other", ("rules/*.yaml",), JsonOptions, "another"),
    ):
        with pytest.raises(ConflictError) as refused:
            unique([first, second])
        assert refused.value.code == "fabric-duplicate-kind"
    assert "contract" in {kind.name for kind in discover()}


def test_a_registered_kind_is_loaded_and_kept(tmp_path: Path) -> None:
    kind = kind_of("rule", ("rules/*.yaml",), DropSelector, "a rule")
    plugins = Plugins(PLUGINS.connectors, PLUGINS.codecs, (*PLUGINS.kinds, kind))
    write(tmp_path, **{"rules__a.yaml": "path: no\n"})
    found = load(tmp_path, plugins)
    assert found.spec is not None
    assert found.spec.others == {"rule": (DropSelector(path="no"),)}
    (tmp_path / "rules" / "a.yaml").write_text("pth: no\n")
    assert {item.code for item in load(tmp_path, plugins).complaints} == {
        "document-unknown-key",
        "document-missing-key",
    }
