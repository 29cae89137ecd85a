"""What a group writes comes as arrays of rows, each of a type of its own.

Of rows, the driver looks at each once; of columns, at each value, to see whether it is an array itself. And Postgres
takes one array apart instead of one for each column.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Not the tables' own types: those belong to the tables, and views' tables are exchanged when the views are rebuilt.
TYPES = [
    """
CREATE TYPE new_event AS (
    position     bigint,
    stream       text,
    version      integer,
    id           uuid,
    type         text,
    schema       smallint,
    effective_on date,
    published_on date,
    recorded_at  timestamptz,
    recorded_by  text,
    entry        bytea,
    leaf_hash    bytea,
    content      bytea,
    salt         bytea
)
""",
    "CREATE TYPE new_tile AS (level smallint, number bigint, hashes bytea, root bytea)",
    """
CREATE TYPE new_answer AS (
    owner      text,
    key        text,
    request    bytea,
    answer     bytea,
    stream     text,
    created_at timestamptz
)
""",
    'CREATE TYPE closed_deal_version AS (clock "char", deal text, effective_from date, known bigint)',
    """
CREATE TYPE new_deal_version AS (
    clock          "char",
    deal           text,
    effective_from date,
    effective_to   date,
    known_from     bigint,
    known_to       bigint,
    state          bigint,
    kind           text,
    amount         text,
    pledges        integer
)
""",
    """
CREATE TYPE new_deal_state AS (
    deal   text,
    state  bigint,
    terms  text,
    title  text,
    row    bytea,
    totals bytea
)
""",
    """
CREATE TYPE new_deal_terms AS (
    deal           text,
    terms          text,
    effective_from date,
    recorded_from  bigint,
    published_from bigint
)
""",
    "CREATE TYPE new_deal_titles AS (deal text, titles text)",
    "CREATE TYPE new_mention AS (term text, position bigint)",
    """
CREATE TYPE new_organization AS (
    organization text,
    version      integer,
    position     bigint,
    merged_into  text,
    names        text[],
    state        bytea
)
""",
]


def upgrade() -> None:
    for statement in TYPES:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
