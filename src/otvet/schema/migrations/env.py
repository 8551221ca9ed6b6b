"""Alembic's entry point: migrates on the caller's connection, inside its transaction."""

from alembic import context

from otvet.storage.engines import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
