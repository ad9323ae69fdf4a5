"""Groups, silences by matchers in place of mutes, acknowledgements, escalation, and what receivers show."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("entries", sa.Column("grouped", sa.Text()))
    op.add_column("entries", sa.Column("note", sa.Text()))
    op.add_column("entries", sa.Column("silence", sa.BigInteger()))
    op.create_index(op.f("ix_entries_silence"), "entries", ["silence"])
    op.create_index(op.f("ix_entries_grouped_receiver_state"), "entries", ["grouped", "receiver", "state"])
    _widen_alerts()
    _widen_notifications()
    _create_groups()
    _create_shown()
    _create_silences()
    _create_acks()
    _create_escalations()
    _turn_mutes_into_silences()


def _widen_alerts() -> None:
    """What a version before this one found is an event: it did not say what lasts."""
    op.add_column("alerts", sa.Column("severity", sa.Text(), nullable=False, server_default="warning"))
    op.add_column("alerts", sa.Column("lasts", sa.Boolean(), nullable=False, server_default=sa.false()))
    # In SQLite's words: a store of an older version is kept by nothing else.
    op.execute("UPDATE alerts SET severity = json_extract(CAST(firing AS TEXT), '$.severity')")


def _widen_notifications() -> None:
    op.add_column("notifications", sa.Column("subject", sa.Text()))
    op.add_column("notifications", sa.Column("tried_at", sa.BigInteger()))
    op.create_index(
        op.f("ix_notifications_receiver_subject_state"), "notifications", ["receiver", "subject", "state"]
    )
    op.create_index(
        op.f("ix_notifications_receiver_kind_created_at"),
        "notifications",
        ["receiver", "kind", "created_at"],
    )


def _create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=False),
        sa.Column("timing", sa.LargeBinary(), nullable=False),
        sa.Column("anchor_at", sa.BigInteger(), nullable=False),
        sa.Column("flushed_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("closed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("receiver", "subject", name=op.f("pk_groups")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_groups_receiver_key_closed_at"), "groups", ["receiver", "key", "closed_at"])
    op.create_index(op.f("ix_groups_receiver_due_at"), "groups", ["receiver", "due_at"])


def _create_shown() -> None:
    op.create_table(
        "shown",
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("alert", sa.Text()),
        sa.Column("grouped", sa.Text()),
        sa.Column("receipt", sa.Text()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("shown_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("follows", sa.Boolean(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name=op.f("fk_shown_alert"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("receiver", "subject", name=op.f("pk_shown")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_shown_alert"), "shown", ["alert"])
    op.create_index(op.f("ix_shown_receiver_due_at"), "shown", ["receiver", "due_at"])


def _create_silences() -> None:
    op.create_table(
        "silences",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("matchers", sa.LargeBinary(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"])


def _create_acks() -> None:
    op.create_table(
        "acks",
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name=op.f("fk_acks_alert"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("alert", name=op.f("pk_acks")),
    )


def _create_escalations() -> None:
    op.create_table(
        "escalations",
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("after", sa.LargeBinary(), nullable=False),
        sa.Column("receivers", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert"], ["alerts.id"], name=op.f("fk_escalations_alert"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert", "step", name=op.f("pk_escalations")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_escalations_due_at"), "escalations", ["due_at"])


def _turn_mutes_into_silences() -> None:
    """Under their numbers, by which reasons and people name them. What ended needs no telling."""
    store = op.get_bind()
    add = sa.text(
        "INSERT INTO silences (id, matchers, starts_at, ends_at, author, comment, created_at, closed_at) "
        "VALUES (:id, :matchers, :created_at, :until, '', :reason, :created_at, :closed_at)"
    )
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    for mute in store.execute(sa.text("SELECT * FROM mutes ORDER BY id")).mappings().all():
        matchers = json.dumps([{"label": "rule", "operator": "=", "value": mute["rule"]}]).encode()
        ended = mute["until"] if mute["until"] <= now else None
        store.execute(add, {**mute, "matchers": matchers, "closed_at": ended})
    # Numbers go on where those of mutes were, also of those that are gone: none is given twice.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'silences'")
    op.execute("INSERT INTO sqlite_sequence SELECT 'silences', seq FROM sqlite_sequence WHERE name = 'mutes'")
    op.drop_table("mutes")


def downgrade() -> None:
    raise NotImplementedError("A store is not taken back: restore the copy made before the upgrade.")
