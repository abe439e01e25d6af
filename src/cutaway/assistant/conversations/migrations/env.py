"""Where Alembic starts: the connection is the store's own."""

from __future__ import annotations

from alembic import context

from cutaway.assistant.conversations.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
