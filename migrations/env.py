"""Alembic's entry: runs the revisions on the connection that cli/migrate.py hands over."""

from alembic import context

from campaigns.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
