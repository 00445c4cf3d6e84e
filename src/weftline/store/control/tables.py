"""The control database's tables as they stand after the last migration. Times are microseconds UTC, JSON is text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, text

__all__ = [
    "api_key",
    "incident",
    "job",
    "metadata",
    "one_time_link",
    "password",
    "person",
    "published",
    "session",
    "setting",
]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
NUMBER = BigInteger().with_variant(Integer(), "sqlite")
OPEN = text("closed IS NULL")

person = Table(
    "person",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("email", String(320), nullable=False, unique=True),
    Column("roles", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("last_sign_in", BigInteger),
)
"""`email` is the sign-in name in lower case; `roles` is a JSON array of words."""

password = Table(
    "password",
    metadata,
    Column("person", NUMBER, ForeignKey("person.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("person", NUMBER, ForeignKey("person.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("authenticated", String(20), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("rotated", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("previous_hash", String(64), index=True),
    Column("agent", String(400), nullable=False),
    Column("address", String(64), nullable=False),
)
"""`previous_hash` is the token before the last rotation; it stays good for a few seconds for requests under way."""

one_time_link = Table(
    "one_time_link",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("person", NUMBER, ForeignKey("person.id", ondelete="CASCADE")),
    Column("purpose", String(20), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
    Column("created_by", String(100), nullable=False),
)
"""`purpose` is first (no person yet: makes the first administrator), invite or reset."""

api_key = Table(
    "api_key",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("prefix", String(16), nullable=False, unique=True),
    Column("secret_hash", String(64), nullable=False),
    Column("scope", String(300), nullable=False),
    Column("person", NUMBER, ForeignKey("person.id", ondelete="CASCADE"), index=True),
    Column("created", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("last_used", BigInteger),
    Column("revoked", BigInteger),
    Column("note", Text, nullable=False),
)
"""`person` is set where the scope is `actor:<person>`."""

incident = Table(
    "incident",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("key", String(400), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("closed", BigInteger),
    Column("detail", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("note", Text, nullable=False),
    Index("uq_incident_open_key", "key", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
    Index("ix_incident_opened", "opened"),
)

job = Table(
    "job",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("state", String(20), nullable=False),
    Column("progress", Text, nullable=False),
    Column("idempotency_key", String(200), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("result", Text),
    Column("log", Text, nullable=False),
    Index("uq_job_key", "kind", "idempotency_key", unique=True),
    Index("ix_job_state", "state"),
)

published = Table(
    "published",
    metadata,
    Column("kind", String(60), primary_key=True),
    Column("name", String(300), primary_key=True),
    Column("version", String(60), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("published_by", String(100), nullable=False),
)

setting = Table(
    "setting",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)
