"""The log, the views that lists are answered from, and the keys.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The log. Positions run from 1 without gaps; `entry` is the canonical envelope that is hashed, the other columns are
# its fields, for asking; `registry verify` compares them.
EVENTS = """
CREATE TABLE events (
    position     bigint      PRIMARY KEY CHECK (position > 0),
    stream       text        COLLATE "C" NOT NULL,
    version      integer     NOT NULL CHECK (version > 0),
    id           uuid        NOT NULL UNIQUE,
    type         text        COLLATE "C" NOT NULL,
    schema       smallint    NOT NULL,
    effective_on date,
    published_on date        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    recorded_by  text        NOT NULL,
    entry        bytea       NOT NULL,
    leaf_hash    bytea       NOT NULL CHECK (octet_length(leaf_hash) = 32),
    UNIQUE (stream, version)
)
"""

EVENTS_BY_TYPE = "CREATE INDEX events_type ON events (type, position)"

# What was said. Only redact_event() may empty a row: the entry keeps a salted digest of it. No reference to the event
# that the same statement writes: it would look each one up once more.
CONTENTS = """
CREATE TABLE event_contents (
    position bigint PRIMARY KEY,
    content  bytea,
    salt     bytea,
    CHECK ((content IS NULL) = (salt IS NULL))
)
"""

# Full tiles of the Merkle tree (C2SP tlog-tiles): 256 hashes, and the root over them. The partial tiles at the right
# edge are made from the leaves.
TILES = """
CREATE TABLE tiles (
    level  smallint NOT NULL,
    number bigint   NOT NULL,
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, number)
)
"""

REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the log is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

REFUSE_CONTENT = """
CREATE FUNCTION refuse_content_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('registry.redacting', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of % is refused: content is only ever erased by redact_event()', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

# Erases the content of the event that an event_redacted of the same stream names, and nothing else. The owner's to
# call.
REDACT = """
          CREATE FUNCTION redact_event(redaction bigint, target bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF
          NOT EXISTS ( SELECT FROM events AS r JOIN event_contents AS c USING (position) JOIN events AS t ON t.stream
          = r.stream WHERE r.position = redaction AND t.position = target AND r.type = 'event_redacted' AND t.position
          < r.position AND (convert_from(c.content, 'UTF8')::jsonb -> 'event' ->> 'redacts' = t.id::text OR t.type =
          'event_corrected') ) THEN RAISE EXCEPTION 'event % is no redaction of event %', redaction, target USING
          ERRCODE = 'restrict_violation'; END IF; PERFORM set_config('registry.redacting', 'yes', true); UPDATE
          event_contents SET content = NULL, salt = NULL WHERE position = target; PERFORM
          set_config('registry.redacting', '', true); END $$
"""

# Answers to requests that came with an Idempotency-Key, by the key's owner. A redaction deletes what it touches.
IDEMPOTENCY = """
CREATE TABLE idempotency (
    owner      text        NOT NULL,
    key        text        NOT NULL,
    request    bytea       NOT NULL,
    answer     bytea       NOT NULL,
    stream     text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (owner, key)
)
"""

IDEMPOTENCY_BY_AGE = "CREATE INDEX idempotency_created_at ON idempotency (created_at)"
IDEMPOTENCY_BY_STREAM = "CREATE INDEX idempotency_stream ON idempotency (stream)"

KEYS = """
CREATE TABLE keys (
    id         text        PRIMARY KEY,
    name       text        NOT NULL,
    digest     bytea       NOT NULL UNIQUE,
    scopes     text[]      NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
)
"""

# Every deal at every point in time: rectangles [effective) × [known). The known axis is the log's position for the
# recorded clock ('r'), and the day number (date - 0001-01-01 + 1) for the published one ('p'). Narrow: what is listed
# stands apart, once for the four or more rectangles in which a state holds; but the sum of a deal that adds up by
# itself (`kind` says of what) stands here, so that totals are one look through the rectangles.
DEAL_VERSIONS = """
CREATE TABLE deal_versions (
    clock          "char" NOT NULL,
    deal           text   COLLATE "C" NOT NULL,
    effective_from date   NOT NULL,
    effective_to   date   NOT NULL,
    known_from     bigint NOT NULL,
    known_to       bigint NOT NULL,
    state          bigint NOT NULL,
    kind           text   COLLATE "C",
    amount         numeric,
    pledges        integer,
    PRIMARY KEY (clock, deal, effective_from, known_from),
    CHECK (effective_from < effective_to),
    CHECK (known_from < known_to)
)
"""

# The deals that totals have to look at.
DEAL_VERSIONS_APART = "CREATE INDEX deal_versions_apart ON deal_versions (clock, deal) WHERE kind IS NULL"

# What lists and totals need of a deal's state.
DEAL_STATES = """
CREATE TABLE deal_states (
    deal   text   COLLATE "C" NOT NULL,
    state  bigint NOT NULL,
    terms  text[] NOT NULL,
    title  text   NOT NULL,
    row    bytea  NOT NULL,
    totals bytea  NOT NULL,
    PRIMARY KEY (deal, state)
)
"""

# Every term and title that a deal ever had: which deals a filter can find at all.
DEAL_TERMS = """
CREATE TABLE deal_terms (
    deal   text   COLLATE "C" PRIMARY KEY,
    terms  text[] NOT NULL,
    titles text   NOT NULL
)
"""

DEAL_TERMS_BY_TERM = "CREATE INDEX deal_terms_terms ON deal_terms USING gin (terms)"

# Which events name an organization or rest on a source.
MENTIONS = """
CREATE TABLE mentions (
    term     text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (term, position)
)
"""

MENTIONS_BY_POSITION = "CREATE INDEX mentions_position ON mentions (position)"

ORGANIZATIONS = """
CREATE TABLE organizations (
    organization text   COLLATE "C" PRIMARY KEY,
    version      int    NOT NULL,
    position     bigint NOT NULL,
    merged_into  text,
    names        text[] NOT NULL,
    state        bytea  NOT NULL
)
"""

TRIGGERS = [
    """CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON events
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    """CREATE TRIGGER contents_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON event_contents
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_content_change()""",
    "REVOKE ALL ON FUNCTION redact_event(bigint, bigint) FROM PUBLIC",
]


def upgrade() -> None:
    for statement in (
        EVENTS,
        EVENTS_BY_TYPE,
        CONTENTS,
        TILES,
        REFUSE,
        REFUSE_CONTENT,
        REDACT,
        IDEMPOTENCY,
        IDEMPOTENCY_BY_AGE,
        IDEMPOTENCY_BY_STREAM,
        KEYS,
        DEAL_VERSIONS,
        DEAL_VERSIONS_APART,
        DEAL_STATES,
        DEAL_TERMS,
        DEAL_TERMS_BY_TERM,
        MENTIONS,
        MENTIONS_BY_POSITION,
        ORGANIZATIONS,
        *TRIGGERS,
    ):
        op.execute(statement.replace(":", r"\:"))


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
