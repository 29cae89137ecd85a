"""Facts of incentives and setbacks; more columns of sites, milestones and metrics; which tables a rebuild has to fill.

The index of event types becomes narrower.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The axes of every fact table (migration 0001).
FACT_AXES = """effective_from date     NOT NULL,
    effective_to   date     NOT NULL,
    published_from date     NOT NULL,
    published_to   date     NOT NULL,
    recorded_from  bigint   NOT NULL,
    recorded_to    bigint   NOT NULL,
    changed_at     bigint   NOT NULL,
    ordinal        smallint NOT NULL,
    deal           text     COLLATE "C" NOT NULL"""

# The amount is that of a pledge (`pledge_facts`). `text` is a JSON map by language.
CREATE_INCENTIVE_FACTS = f"""
CREATE TABLE incentive_facts (
    {FACT_AXES},
    incentive      text     COLLATE "C" NOT NULL,
    kind           text     COLLATE "C",
    status         text     COLLATE "C" NOT NULL,
    currency       text     COLLATE "C",
    value          numeric,
    low            numeric,
    high           numeric,
    qualifier      text     COLLATE "C",
    stated_as      text     COLLATE "C",
    wording        text     COLLATE "C",
    figure         text     COLLATE "C",
    price_year     integer,
    authority      text     COLLATE "C",
    text           text     COLLATE "C",
    granted_on     date     NOT NULL,
    PRIMARY KEY (deal, incentive, effective_from, recorded_from, ordinal)
)
"""

CREATE_SETBACK_FACTS = f"""
CREATE TABLE setback_facts (
    {FACT_AXES},
    setback        text     COLLATE "C" NOT NULL,
    kind           text     COLLATE "C",
    text           text     COLLATE "C",
    reported_on    date     NOT NULL,
    resolved_on    date,
    PRIMARY KEY (deal, setback, effective_from, recorded_from, ordinal)
)
"""

# The names that deals gave to an organization, the last one first.
CREATE_PARTY_NAMES_INDEX = """
CREATE INDEX party_facts_name ON party_facts (organization, joined_on DESC, deal) WHERE name IS NOT NULL
"""

# Tables of projections whose rows are those of an earlier schema until `registry rebuild` replaces them.
CREATE_OUTDATED_TABLES = 'CREATE TABLE outdated_tables (name text COLLATE "C" PRIMARY KEY)'

MARK_OUTDATED_TABLES = """
INSERT INTO outdated_tables (name)
SELECT unnest(ARRAY['incentive_facts', 'setback_facts', 'site_facts', 'milestone_facts', 'metric_facts'])
 WHERE EXISTS (SELECT FROM events)
"""

# --- the rows of a batch ----------------------------------------------------------------------------------------------

NEW_FACT_AXES = """deal           text,
    effective_from date,
    effective_to   date,
    recorded_from  bigint,
    recorded_to    bigint,
    ordinal        smallint,
    published_from date,
    published_to   date,
    changed_at     bigint"""

CREATE_NEW_INCENTIVE_FACTS = f"""
CREATE TYPE new_incentive_facts AS (
    {NEW_FACT_AXES},
    incentive      text,
    kind           text,
    currency       text,
    value          text,
    low            text,
    high           text,
    qualifier      text,
    stated_as      text,
    wording        text,
    figure         text,
    price_year     integer,
    authority      text,
    text           text,
    status         text,
    granted_on     date
)
"""

CREATE_NEW_SETBACK_FACTS = f"""
CREATE TYPE new_setback_facts AS (
    {NEW_FACT_AXES},
    setback        text,
    kind           text,
    text           text,
    reported_on    date,
    resolved_on    date
)
"""

# New types beside those of migration 0001, which services of the release before go on using.
CREATE_NEW_SITE_FACTS = f"""
CREATE TYPE new_site_facts_2 AS (
    {NEW_FACT_AXES},
    site            text,
    place           text,
    status          text,
    power_mw        text,
    power_qualifier text,
    gpus            bigint,
    gpus_qualifier  text,
    latitude        text,
    longitude       text,
    precision       text,
    announced_on    date,
    name            text,
    locality        text,
    address         text,
    district_code   text
)
"""

CREATE_NEW_MILESTONE_FACTS = f"""
CREATE TYPE new_milestone_facts_2 AS (
    {NEW_FACT_AXES},
    milestone      text,
    kind           text,
    site           text,
    name           text,
    planned        text,
    reached        text,
    power_mw       text,
    status         text,
    scheduled_on   date
)
"""

CREATE_NEW_METRIC_FACTS = f"""
CREATE TYPE new_metric_facts_2 AS (
    {NEW_FACT_AXES},
    metric_id      text,
    metric         text,
    basis          text,
    site           text,
    metric_date    text,
    horizon_from   text,
    horizon_until  text,
    value          text,
    unit           text,
    qualifier      text,
    stated_on      date,
    for_day        date
)
"""

# Last, because services that write to these tables wait for the lock.
ADD_DISTRICT_CODE = 'ALTER TABLE site_facts ADD COLUMN district_code text COLLATE "C"'

ADD_NAME = 'ALTER TABLE milestone_facts ADD COLUMN name text COLLATE "C"'

# The last day of the date or of the horizon, by which figures of several days are ordered.
ADD_FOR_DAY = "ALTER TABLE metric_facts ADD COLUMN for_day date"

# The first bytes of a digest stand for the type, so that an entry takes 32 bytes instead of 78: where positions grow
# within each type, Postgres fills the pages of an index to nine tenths if its key has at most 16 bytes, else to a half.
DROP_EVENTS_TYPE_INDEX = "DROP INDEX events_type"

CREATE_EVENTS_TYPE_INDEX = "CREATE INDEX events_type ON events (substr(sha256(type::bytea), 1, 7), position)"

STATEMENTS = (
    CREATE_INCENTIVE_FACTS,
    CREATE_SETBACK_FACTS,
    CREATE_OUTDATED_TABLES,
    MARK_OUTDATED_TABLES,
    CREATE_NEW_INCENTIVE_FACTS,
    CREATE_NEW_SETBACK_FACTS,
    CREATE_NEW_SITE_FACTS,
    CREATE_NEW_MILESTONE_FACTS,
    CREATE_NEW_METRIC_FACTS,
    CREATE_PARTY_NAMES_INDEX,
    ADD_DISTRICT_CODE,
    ADD_NAME,
    ADD_FOR_DAY,
    DROP_EVENTS_TYPE_INDEX,
    CREATE_EVENTS_TYPE_INDEX,
)


def upgrade() -> None:
    """Create the tables and the types, then add the columns and replace the index."""
    for statement in STATEMENTS:
        op.execute(text(statement))
