"""Alembic's entry point: runs the migrations on the connection of `migrate`, in its transaction."""

from alembic import context

from migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, version_table_schema="public"
)
context.run_migrations()
