"""An index for searching titles: without it a search reads every deal's.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Comes with Postgres; whoever may create tables in a database's own schema and owns the database may install it.
TRIGRAMS = "CREATE EXTENSION IF NOT EXISTS pg_trgm"

DEAL_TERMS_BY_TITLE = "CREATE INDEX deal_terms_titles ON deal_terms USING gin (titles gin_trgm_ops)"


def upgrade() -> None:
    for statement in (TRIGRAMS, DEAL_TERMS_BY_TITLE):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
