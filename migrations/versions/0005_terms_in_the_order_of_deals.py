"""What filters look in first: the deals of each term in the order of lists, and titles apart from them.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Every title that a deal ever had: which deals a search can find at all. It changes less often than terms do, and each
# change writes the index of its trigrams anew.
DEAL_TITLES = """
CREATE TABLE deal_titles (
    deal   text COLLATE "C" PRIMARY KEY,
    titles text NOT NULL
)
"""

FILL_TITLES = "INSERT INTO deal_titles SELECT deal, titles FROM deal_terms"
DEAL_TITLES_BY_TITLE = "CREATE INDEX deal_titles_titles ON deal_titles USING gin (titles gin_trgm_ops)"

WITHOUT_ORDER = "DROP TABLE deal_terms"

# Every term that a deal ever had, and 'deal', which each has: the deals of a term lie beside each other in the order of
# lists, so that a page reads as many of them as it shows. With bounds, in the index itself, before which it is no use
# to look: the first day from which the deal had the term, the first position at which that was known, and the first day
# on which anything of the deal was public.
DEAL_TERMS = """
CREATE TABLE deal_terms (
    term           text   COLLATE "C" NOT NULL,
    deal           text   COLLATE "C" NOT NULL,
    effective_from date   NOT NULL,
    recorded_from  bigint NOT NULL,
    published_from bigint NOT NULL,
    PRIMARY KEY (term, deal) INCLUDE (effective_from, recorded_from, published_from)
)
"""

FILL_TERMS = """
INSERT INTO deal_terms (term, deal, effective_from, recorded_from, published_from)
SELECT term, deal, min(effective_from),
       coalesce(min(known_from) FILTER (WHERE clock = 'r'), 4611686018427387904),
       coalesce(min(min(known_from) FILTER (WHERE clock = 'p')) OVER (PARTITION BY deal), 3652059)
  FROM deal_versions
       JOIN deal_states USING (deal, state),
       unnest(terms || 'deal'::text) AS t (term)
 GROUP BY term, deal
 ORDER BY term, deal
"""


def upgrade() -> None:
    for statement in (
        DEAL_TITLES,
        FILL_TITLES,
        DEAL_TITLES_BY_TITLE,
        WITHOUT_ORDER,
        DEAL_TERMS,
        FILL_TERMS,
    ):
        op.execute(statement.replace(":", r"\:"))


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
