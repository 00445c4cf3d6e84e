"""Keys of an http connection and of a feed's `select`; the manual is generated from these docs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["HttpOptions", "HttpSelector"]


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Pushes to this server's own address: POST /api/v1/feeds/{feed}/records with an API key."""

    max_body_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="Largest body as sent, in bytes; a larger one is refused with 413.")
    ] = 16 << 20
    max_expanded_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="Largest body after its Content-Encoding is undone, in bytes.")
    ] = 64 << 20
    idempotency_hours: Annotated[
        float,
        Meta(gt=0, le=168, description="Hours for which an Idempotency-Key is remembered, also over a restart."),
    ] = 24.0
    idempotency_keys: Annotated[
        int, Meta(ge=1, le=5_000_000, description="Most keys remembered; the oldest are forgotten first.")
    ] = 200_000
    own_lane: Annotated[
        bool, Meta(description="Give this connection a lane of its own; advised above 1,000 pushes a second.")
    ] = False


class HttpSelector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which pushes belong to the feed: those to its own address."""

    content_types: Annotated[
        tuple[str, ...],
        Meta(
            description="Content types to accept beside those of the feed's codec, for senders that cannot name theirs "
            "rightly, as text/plain."
        ),
    ] = ()
