"""Alerts that are brought up to date, why each was raised, what is told as a sum, waits for every list."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("timers", _flag("every"))
    op.add_column("alerts", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("entries", _flag("summed"))
    op.drop_index(op.f("ix_entries_state_receiver_notification_id"), "entries")
    op.create_index(
        op.f("ix_entries_state_receiver_notification_summed_id"),
        "entries",
        ["state", "receiver", "notification", "summed", "id"],
    )
    op.create_table(
        "reasons",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("list", sa.Text()),
        sa.Column("brought_by", sa.LargeBinary()),
        sa.Column("because", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_reasons_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert_id", "status", "revision", name=op.f("pk_reasons")),
    )


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def downgrade() -> None:
    raise NotImplementedError("A store is not taken back: restore the copy made before the upgrade.")
