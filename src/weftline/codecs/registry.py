"""Find codecs: built-in ones and those other packages register under the entry-point group `weftline.codecs`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import msgspec

from weftline.codecs.base import Codec
from weftline.errors import ConflictError, InputError, NotFoundError, nearest

__all__ = [
    "BUILT_IN",
    "CodecOptionsError",
    "DuplicateCodecError",
    "UnknownCodecError",
    "codec",
    "names",
    "options_of",
    "read_options",
]

GROUP = "weftline.codecs"
BUILT_IN: Mapping[str, str] = {
    "arrow": "weftline.codecs.arrow_codec:ArrowCodec",
    "csv": "weftline.codecs.csv_codec:CsvCodec",
    "json": "weftline.codecs.json_codec:JsonCodec",
    "ndjson": "weftline.codecs.json_codec:NdjsonCodec",
    "parquet": "weftline.codecs.parquet_codec:ParquetCodec",
    "plain": "weftline.codecs.plain:PlainCodec",
    "shdr": "weftline.codecs.shdr:ShdrCodec",
    "xlsx": "weftline.codecs.xlsx:XlsxCodec",
}


class UnknownCodecError(NotFoundError):
    """Name the codec that is not registered and the nearest one that is."""

    code = "unknown-codec"


class DuplicateCodecError(ConflictError):
    """Name two packages that register the same codec."""

    code = "duplicate-codec"


class CodecOptionsError(InputError):
    """Say which option of a codec cannot be used."""

    code = "codec-options"


@cache
def targets() -> Mapping[str, str]:
    """Return `module:class` of every codec by name; loads none of them."""
    found = dict(BUILT_IN)
    for entry in entry_points(group=GROUP):
        known = found.setdefault(entry.name, entry.value)
        if known != entry.value:
            raise DuplicateCodecError(
                place=f"entry point {GROUP}",
                found=f"the codec '{entry.name}' from {known} and from {entry.value}",
                expected="one codec of a name",
                next_step="Uninstall one of the packages or rename its codec.",
            )
    return found


def names() -> list[str]:
    """Return the names of all codecs, sorted."""
    return sorted(targets())


@cache
def codec(name: str) -> Codec:
    """Return the one instance of a codec; raises UnknownCodecError or MissingExtraError."""
    made: Codec = _class_of(name)()
    return made


def options_of(name: str) -> type[msgspec.Struct]:
    """Return a codec's options model, also where the extra it needs is not installed."""
    found: type[msgspec.Struct] = _class_of(name).options
    return found


def _class_of(name: str) -> Any:
    target = targets().get(name)
    if target is None:
        raise UnknownCodecError(
            place="format.codec",
            found=f"'{name}'",
            expected="a codec that is registered",
            next_step=nearest(name, names()),
        )
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def read_options(name: str, given: Mapping[str, Any], place: str = "format") -> Any:
    """Return the codec's options from the keys of a feed's `format` beside `codec`; raises CodecOptionsError."""
    try:
        return msgspec.convert(dict(given), codec(name).options)
    except msgspec.ValidationError as error:
        raise CodecOptionsError(place=place, found=str(error), expected=f"options of the codec '{name}'") from None
