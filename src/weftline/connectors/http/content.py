"""What a push may be: content types, encodings and sizes. Everything is checked before anything is kept."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from weftline.connectors.http.options import HttpOptions
from weftline.errors import InputError
from weftline.model.feed import FeedSpec

__all__ = [
    "CONTENT_TYPES",
    "BodyBrokenError",
    "BodyTooLargeError",
    "ContentEncodingError",
    "ContentTypeError",
    "NotAcceptableError",
    "accepted_types",
    "check_headers",
    "expand",
]

CONTENT_TYPES: Mapping[str, tuple[str, ...]] = {
    "json": ("application/json",),
    "ndjson": ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"),
    "csv": ("text/csv", "application/csv"),
    "arrow": ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"),
    "parquet": ("application/vnd.apache.parquet",),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    "shdr": ("text/plain",),
    "plain": ("text/plain",),
}
"""Codec → content types, the customary one first."""
ENCODINGS = ("identity", "gzip")
ANSWERS = frozenset({"*/*", "application/*", "application/json", "application/problem+json"})


class ContentTypeError(InputError):
    """Name the content types the feed takes."""

    code = "http-content-type"
    status = 415


class ContentEncodingError(InputError):
    """Name the content encodings the server undoes."""

    code = "http-content-encoding"
    status = 415


class NotAcceptableError(InputError):
    """Say which types an answer can have."""

    code = "http-not-acceptable"
    status = 406


class BodyTooLargeError(InputError):
    """Say how large a body may be."""

    code = "http-body-too-large"
    status = 413


class BodyBrokenError(InputError):
    """Say why a body's encoding cannot be undone."""

    code = "http-body-broken"
    status = 400


def accepted_types(feed: FeedSpec) -> tuple[str, ...]:
    """Return the content types of the feed's codec and those its selector adds."""
    return (*CONTENT_TYPES.get(feed.codec, ()), *feed.selector.content_types)


def check_headers(feed: FeedSpec, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return content type and encoding of a push; `headers` has lower-case names. Raises with the accepted ones."""
    place = f"feed {feed.name}"
    accept = [part.split(";")[0].strip().lower() for part in headers.get("accept", "*/*").split(",")]
    if not ANSWERS & set(accept):
        raise NotAcceptableError(
            place=place, found=f"Accept: {headers['accept']}", expected="application/json among what you accept"
        )
    given = headers.get("content-type", "")
    kind = given.split(";")[0].strip().lower()
    accepted = accepted_types(feed)
    if kind not in accepted:
        raise ContentTypeError(
            place=place,
            found=f"Content-Type: {given}" if given else "no Content-Type",
            expected=_listed(accepted),
            next_step=f"The feed's codec is '{feed.codec}'; push another format to a feed of its own.",
        )
    encoding = headers.get("content-encoding", "identity").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise ContentEncodingError(
            place=place, found=f"Content-Encoding: {encoding}", expected=_listed(ENCODINGS), next_step="Send it plain."
        )
    return kind, encoding


def _listed(words: Sequence[str]) -> str:
    return " or ".join(words) if words else "no content type at all: this codec cannot be pushed"


def expand(feed: FeedSpec, body: bytes, encoding: str, options: HttpOptions) -> bytes:
    """Return the body as the source made it, within its bounds."""
    place = f"feed {feed.name}"
    if len(body) > options.max_body_bytes:
        raise _too_large(place, f"a body of {len(body):,} bytes", options.max_body_bytes)
    if encoding == "identity":
        return body
    expanded = bytearray()
    rest = body
    try:
        while rest:
            # A gzip body may hold several members one after the other (RFC 1952, 2.2).
            member = zlib.decompressobj(wbits=31)
            expanded += member.decompress(rest, options.max_expanded_bytes + 1 - len(expanded))
            if len(expanded) > options.max_expanded_bytes:
                raise _too_large(place, "a body that expands to more", options.max_expanded_bytes)
            if not member.eof:
                raise BodyBrokenError(place=place, found="a gzip body that ends too early", expected="a whole one")
            rest = member.unused_data
    except zlib.error as error:
        raise BodyBrokenError(place=place, found=f"a body that is no gzip: {error}", expected="gzip") from error
    return bytes(expanded)


def _too_large(place: str, found: str, limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        place=place, found=found, expected=f"at most {limit:,} bytes", next_step="Send it in several pushes."
    )
