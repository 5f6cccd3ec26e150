"""Turns of owners, priorities, what jobs wait for, leases that came to nothing; terms and folders have their tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; jobs that are there have no priority, wait for nothing, and never came to nothing. Their terms stay
    where they are."""
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("waits_for", sa.String(), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("fruitless", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "job_turns",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "job_folder",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "job_terms",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job"),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("job_terms")
    op.drop_table("job_folder")
    op.drop_table("job_turns")
    for column in ("fruitless", "waits_for", "priority"):
        op.drop_column("jobs", column)
