"""What alembic runs to migrate: always over a connection that is handed in, inside the transaction it has begun."""

from __future__ import annotations

from alembic import context

from app.service.jobs.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
