"""Lists of words for several uses, with descriptions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew: what is long must stay its last column."""
    with op.batch_alter_table("vocabularies", recreate="always") as table:
        table.add_column(
            sa.Column("kind", sa.String(), nullable=False, server_default="hotwords"), insert_after="owner"
        )
        table.add_column(
            sa.Column("description", sa.String(), nullable=False, server_default=""), insert_after="name_key"
        )
        table.drop_index("ix_vocabularies_owner_name_key")
        table.create_index("ix_vocabularies_owner_kind_name_key", ["owner", "kind", "name_key"], unique=True)


def downgrade() -> None:
    """Keep the hotwords only, without their descriptions."""
    op.execute("DELETE FROM vocabularies WHERE kind <> 'hotwords'")
    with op.batch_alter_table("vocabularies", recreate="always") as table:
        table.drop_index("ix_vocabularies_owner_kind_name_key")
        table.drop_column("kind")
        table.drop_column("description")
        table.create_index("ix_vocabularies_owner_name_key", ["owner", "name_key"], unique=True)
