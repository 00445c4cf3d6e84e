"""Make the control database: people and sign-in, keys, incidents, jobs, published documents, settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("closed IS NULL")


def upgrade() -> None:
    """Create every table of the first version."""
    people()
    sign_in()
    keys()
    incidents()
    jobs()
    documents()


def people() -> None:
    """Create people and their passwords."""
    op.create_table(
        "person",
        sa.Column("id", NUMBER),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_sign_in", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("email", name="uq_person_email"),
    )
    op.create_table(
        "password",
        sa.Column("person", NUMBER, sa.ForeignKey("person.id", name="fk_password_person", ondelete="CASCADE")),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_password"),
    )


def sign_in() -> None:
    """Create sessions and one-time links."""
    op.create_table(
        "session",
        sa.Column("id", NUMBER),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column(
            "person", NUMBER, sa.ForeignKey("person.id", name="fk_session_person", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("authenticated", sa.String(20), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("rotated", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", sa.String(64)),
        sa.Column("agent", sa.String(400), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("token_hash", name="uq_session_token_hash"),
    )
    op.create_index("ix_session_person", "session", ["person"])
    op.create_index("ix_session_previous_hash", "session", ["previous_hash"])
    op.create_table(
        "one_time_link",
        sa.Column("id", NUMBER),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("person", NUMBER, sa.ForeignKey("person.id", name="fk_one_time_link_person", ondelete="CASCADE")),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger()),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_one_time_link"),
        sa.UniqueConstraint("token_hash", name="uq_one_time_link_token_hash"),
    )


def keys() -> None:
    """Create API keys."""
    op.create_table(
        "api_key",
        sa.Column("id", NUMBER),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(300), nullable=False),
        sa.Column("person", NUMBER, sa.ForeignKey("person.id", name="fk_api_key_person", ondelete="CASCADE")),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("last_used", sa.BigInteger()),
        sa.Column("revoked", sa.BigInteger()),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("prefix", name="uq_api_key_prefix"),
    )
    op.create_index("ix_api_key_person", "api_key", ["person"])


def incidents() -> None:
    """Create the incident book."""
    op.create_table(
        "incident",
        sa.Column("id", NUMBER),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("key", sa.String(400), nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
    )
    op.create_index("ix_incident_opened", "incident", ["opened"])
    op.create_index("uq_incident_open_key", "incident", ["key"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN)


def jobs() -> None:
    """Create jobs."""
    op.create_table(
        "job",
        sa.Column("id", NUMBER),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("started", sa.BigInteger()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("result", sa.Text()),
        sa.Column("log", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )
    op.create_index("ix_job_state", "job", ["state"])
    op.create_index("uq_job_key", "job", ["kind", "idempotency_key"], unique=True)


def documents() -> None:
    """Create published documents and settings."""
    op.create_table(
        "published",
        sa.Column("kind", sa.String(60)),
        sa.Column("name", sa.String(300)),
        sa.Column("version", sa.String(60)),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("published_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "version", name="pk_published"),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.String(100)),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setting"),
    )
