"""What is remembered of a watched list beyond its place: how busy it is, what was read, who found it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("activity", sa.LargeBinary()))
    op.add_column("users", sa.Column("looked_at", sa.BigInteger()))
    op.add_column("users", sa.Column("cohort", sa.Text()))
    op.add_column("users", sa.Column("found_at", sa.BigInteger()))
    op.add_column("users", sa.Column("left_at", sa.BigInteger()))
    op.add_column("store", sa.Column("source", sa.Text()))
    op.create_table(
        "recent",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["uid"], ["users.uid"], name=op.f("fk_recent_uid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_recent")),
    )


def downgrade() -> None:
    raise NotImplementedError("A store is not taken back: restore the copy made before the upgrade.")
