"""What alembic runs for a migration, over the connection it is handed; there is no other way to run it."""

from alembic import context

from mien_server.history.revisions import VERSION_TABLE
from mien_server.history.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=True,  # SQLite's too: the caller's transaction began with BEGIN IMMEDIATE
)
with context.begin_transaction():
    context.run_migrations()
