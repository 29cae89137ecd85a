"""${message}."""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One statement at a time: asyncpg takes no more."""
    op.execute("")


def downgrade() -> None:
    """The log is never taken back: restore a backup instead."""
    raise NotImplementedError("migrations of the registry go forward only")
