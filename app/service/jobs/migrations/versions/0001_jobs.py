"""Jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("started", sa.Float()),
        sa.Column("ended", sa.Float()),
        sa.Column("expires", sa.Float()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("token", sa.String()),
        sa.Column("runner", sa.String()),
        sa.Column("lease_until", sa.Float()),
        sa.Column("step", sa.String()),
        sa.Column("duration", sa.Float()),
        sa.Column("done", sa.Float(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("pieces_done", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("reported", sa.Float()),
        sa.Column("rate_since", sa.Float()),
        sa.Column("rate_done", sa.Float(), nullable=False),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("idempotency_digest", sa.String()),
        sa.Column("removing", sa.Boolean(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("failure", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_jobs_owner_created", "jobs", ["owner", "created", "id"])
    op.create_index("ix_jobs_owner_idempotency_key", "jobs", ["owner", "idempotency_key"], unique=True)
    op.create_index("ix_jobs_state_due", "jobs", ["state", "due"])
    op.create_index("ix_jobs_state_lease_until", "jobs", ["state", "lease_until"])
    op.create_index("ix_jobs_expires", "jobs", ["expires"])
    for table in ("job_requests", "job_voices", "job_transcripts"):
        _make_bodies(table)
    _make_bodies("job_plans", "channel")
    _make_bodies("job_pieces", "channel", "number")
    op.create_table(
        "job_notices",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String()),
        sa.Column("held_until", sa.Float()),
        sa.Column("settled", sa.Float()),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "number"),
    )
    op.create_index("ix_job_notices_id", "job_notices", ["id"], unique=True)
    op.create_index("ix_job_notices_settled_due", "job_notices", ["settled", "due"])


def _make_bodies(table: str, *numbers: str) -> None:
    op.create_table(
        table,
        sa.Column("job", sa.String(), nullable=False),
        *(sa.Column(number, sa.Integer(), autoincrement=False, nullable=False) for number in numbers),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", *numbers),
    )


def downgrade() -> None:
    """Remove the tables, and with them every job."""
    for table in (
        "job_notices",
        "job_pieces",
        "job_plans",
        "job_transcripts",
        "job_voices",
        "job_requests",
        "jobs",
    ):
        op.drop_table(table)
