"""What alembic runs: every missing step on the connection, and in the transaction, it is given.

Loaded by alembic alone, never imported (``hanse.core.store.migrating``).
"""

from __future__ import annotations

from alembic import context

# SQLite rolls DDL back, although alembic is careful enough not to count on it.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
