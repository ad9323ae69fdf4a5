"""The first tables.

A step never imports `tables.py`: it says what the tables were on its day, whatever they became.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None

TALLIES = (
    "fetched",
    "evaluated",
    "duplicates",
    "rejected",
    "alerts",
    "entries.delivered",
    "entries.dead",
    "entries.dropped",
    "entries.suppressed",
)


def upgrade() -> None:
    op.create_table(
        "store",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("probed_at", sa.BigInteger()),
        sa.CheckConstraint("id = 1", name=op.f("ck_store_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store")),
    )
    tallies = op.create_table(
        "tallies",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tallies")),
    )
    op.bulk_insert(tallies, [{"name": name, "total": 0} for name in TALLIES])
    _what_was_read()
    _what_was_found()
    _what_is_sent()


def _what_was_read() -> None:
    op.create_table(
        "rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rules")),
    )
    op.create_table(
        "users",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.LargeBinary(), nullable=False),
        sa.Column("watermark", sa.BigInteger()),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_users")),
    )
    op.create_table(
        "states",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("rule", "key", name=op.f("pk_states")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_states_expires_at"), "states", ["expires_at"])
    op.create_table(
        "timers",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("lists", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "key", name=op.f("pk_timers")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "closures",
        _serial(),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_closures")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_closures_at"), "closures", ["at"])
    op.create_table(
        "rejects",
        _serial(),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejects")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_rejects_at"), "rejects", ["at"])


def _what_was_found() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("firing", sa.LargeBinary(), nullable=False),
        sa.Column("resolved", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(op.f("ix_alerts_changed_at"), "alerts", ["changed_at"])
    op.create_index(op.f("ix_alerts_first_seen_at_id"), "alerts", ["first_seen_at", "id"])
    op.create_index(op.f("ix_alerts_status_first_seen_at_id"), "alerts", ["status", "first_seen_at", "id"])
    op.create_table(
        "tombstones",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstones")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mutes",
        _serial(),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mutes")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mutes_until"), "mutes", ["until"])


def _what_is_sent() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_created_at"), "notifications", ["created_at"])
    op.create_index(
        op.f("ix_notifications_receiver_state_due_at"), "notifications", ["receiver", "state", "due_at"]
    )
    op.create_table(
        "entries",
        _serial(),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("notification", sa.Text()),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_entries_alert_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["notification"], ["notifications.id"], name=op.f("fk_entries_notification")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entries")),
        sa.UniqueConstraint(
            "alert_id", "status", "receiver", name=op.f("uq_entries_alert_id_status_receiver")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_entries_notification"), "entries", ["notification"])
    op.create_index(
        op.f("ix_entries_state_receiver_notification_id"),
        "entries",
        ["state", "receiver", "notification", "id"],
    )
    op.create_table(
        "attempts",
        _serial(),
        sa.Column("notification", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["notification"], ["notifications.id"], name=op.f("fk_attempts_notification"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_attempts_notification"), "attempts", ["notification"])


def _serial() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def downgrade() -> None:
    raise NotImplementedError("A store is not taken back: restore the copy made before the upgrade.")
