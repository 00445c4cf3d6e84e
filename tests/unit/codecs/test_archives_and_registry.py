"""Archives within bounds, and how codecs are found."""

from __future__ import annotations

import gzip
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from weftline.codecs import registry
from weftline.codecs.archive import ArchiveError, compression_of, members
from weftline.codecs.base import Limits
from weftline.errors import MissingExtraError


def zipped(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def outcomes(path: Path, limits: Limits | None = None) -> list[tuple[str, bytes | str]]:
    found: list[tuple[str, bytes | str]] = []
    for member in members(path, limits or Limits()):
        try:
            if member.refusal is not None:
                raise member.refusal
            assert member.stream is not None
            found.append((member.name, member.stream.read()))
        except ArchiveError as error:
            found.append((member.name, error.kind))
    return found


def test_members_come_out_as_they_went_in(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x.csv": b"a\n1\n", "sub/y.csv": b""})
    assert outcomes(path) == [("x.csv", b"a\n1\n"), ("sub/y.csv", b"")]
    packed = tmp_path / "z.csv.gz"
    packed.write_bytes(gzip.compress(b"a") + gzip.compress(b"b"))
    assert outcomes(packed) == [("z.csv", b"ab")]
    plain = tmp_path / "p.csv"
    plain.write_bytes(b"PK\x03\x04 not an archive by name")
    assert (compression_of(plain), outcomes(plain)) == ("none", [("p.csv", b"PK\x03\x04 not an archive by name")])


def test_names_that_lead_out_and_archives_inside_are_refused_and_their_neighbours_are_not(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip",
        {
            "../up.csv": b"1",
            "/abs.csv": b"1",
            "c:x.csv": b"1",
            "w\\x.csv": b"1",
            "in.zip": b"1",
            "in.csv.gz": b"1",
            "ok": b"2",
        },
    )
    found = dict(outcomes(path))
    assert found.pop("ok") == b"2"
    assert {found.pop("in.zip"), found.pop("in.csv.gz")} == {"archive-nested"}
    assert set(found.values()) == {"archive-name"}
    assert len(found) == 4


def test_bombs_stop_at_the_bounds(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {"zeros": b"\0" * (40 << 20), "ok": b"1"})
    assert outcomes(bomb) == [("zeros", "limit-expansion"), ("ok", b"1")]
    packed = tmp_path / "bomb.gz"
    packed.write_bytes(gzip.compress(b"\0" * (40 << 20)))
    assert outcomes(packed) == [("bomb", "limit-expansion")]
    many = zipped(tmp_path / "many.zip", {str(n): b"" for n in range(5)})
    with pytest.raises(ArchiveError, match="at most 4"):
        outcomes(many, Limits(members=4))
    both = zipped(tmp_path / "both.zip", {"a": b"x" * 600, "b": b"y" * 600})
    assert outcomes(both, Limits(expanded_bytes=1000))[1] == ("b", "limit-expanded-bytes")


def test_cut_off_and_damaged_archives_have_a_clear_outcome(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(256)) * 400)
    for name, data in {
        "cut.gz": whole[:-9],
        "crc.gz": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "no.gz": b"\x1f\x8bxx",
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert [kind for _, kind in outcomes(path)] == ["archive-broken"], name
    path = zipped(tmp_path / "a.zip", {"x": b"hello world" * 50, "y": b"fine"})
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    assert outcomes(path) == [("x", "archive-broken"), ("y", b"fine")]
    path.write_bytes(data[:60])
    with pytest.raises(ArchiveError, match="no readable ZIP directory"):
        outcomes(path)
    path.write_bytes(bytes(data[:6]) + b"\x01" + bytes(data[7:]))


def test_encrypted_members_are_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"hello"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert outcomes(path) == [("x", "archive-encrypted")]


def test_an_unknown_codec_names_the_nearest_one() -> None:
    with pytest.raises(registry.UnknownCodecError, match="did you mean 'ndjson'"):
        registry.codec("nd-json")


def test_two_packages_with_one_codec_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.targets.cache_clear()
    stranger = EntryPoint("json", "stranger.codecs:Json", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [stranger])
    with pytest.raises(registry.DuplicateCodecError, match="'json' from weftline"):
        registry.names()
    registry.targets.cache_clear()


def test_a_missing_reader_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from weftline.codecs import xlsx

    monkeypatch.setattr(xlsx.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'weftline\[xlsx\]'"):
        xlsx.XlsxCodec()
