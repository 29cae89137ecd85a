"""The whole schema: the event store, the projections, API keys, webhooks, exchange rates, and what proves the log.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from registry.domain.quotes import group_rows
from registry.imports.rates import packaged_history

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# --- the event store --------------------------------------------------------------------------------------------------

# The log. Positions are gapless from 1. `entry` holds the canonical envelope, which is the Merkle leaf; the other
# columns repeat its fields for queries, and `registry verify` compares the two.
CREATE_EVENTS = """
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
    approved_by  text,
    entry        bytea       NOT NULL,
    leaf_hash    bytea       NOT NULL CHECK (octet_length(leaf_hash) = 32),
    UNIQUE (stream, version)
)
"""

CREATE_EVENTS_TYPE_INDEX = "CREATE INDEX events_type ON events (type, position)"

# The content of each event, apart from its envelope, which holds a salted digest of it. Only redact_event() may empty a
# row. There is no foreign key to `events`: the statement that inserts both would look every event up again.
CREATE_EVENT_CONTENTS = """
CREATE TABLE event_contents (
    position bigint PRIMARY KEY,
    content  bytea,
    salt     bytea,
    CHECK ((content IS NULL) = (salt IS NULL))
)
"""

# Full tiles of the Merkle tree (C2SP tlog-tiles): 256 hashes, and the root of the subtree over them. Partial tiles are
# computed from the leaves.
CREATE_TILES = """
CREATE TABLE tiles (
    level  smallint NOT NULL,
    number bigint   NOT NULL,
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, number)
)
"""

# The signed checkpoints. The signer's own state is a file; a signer that has the key and no file starts from here.
CREATE_CHECKPOINTS = """
CREATE TABLE checkpoints (
    size      bigint      NOT NULL CHECK (size >= 0),
    verifier  text        COLLATE "C" NOT NULL,
    note      text        NOT NULL,
    heads     text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (size, verifier)
)
"""

# The signature lines of witnesses on a checkpoint (C2SP tlog-cosignature), which arrive after it. `witness` is the
# witness's name and key id.
CREATE_COSIGNATURES = """
CREATE TABLE cosignatures (
    size     bigint NOT NULL,
    verifier text   COLLATE "C" NOT NULL,
    witness  text   COLLATE "C" NOT NULL,
    line     text   NOT NULL,
    PRIMARY KEY (size, verifier, witness)
)
"""

# What this service has cosigned last as the witness of a log: never less, and never another tree.
CREATE_WITNESSED = """
CREATE TABLE witnessed (
    origin text   COLLATE "C" PRIMARY KEY,
    size   bigint NOT NULL,
    note   text   NOT NULL
)
"""

# The signing keys of a cluster, sealed under a secret that the services share (registry/transparency/signing_keys.py).
CREATE_SIGNING_KEYS = """
CREATE TABLE signing_keys (
    number     bigint      PRIMARY KEY,
    origin     text        COLLATE "C" NOT NULL,
    verifier   text        COLLATE "C" NOT NULL UNIQUE,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL
)
"""

# Successful verifications of the whole log.
CREATE_VERIFICATIONS = """
CREATE TABLE verifications (
    verified_at timestamptz PRIMARY KEY,
    size        bigint      NOT NULL,
    root        bytea       NOT NULL,
    seconds     real        NOT NULL
)
"""

# The oldest version of the schema whose services work on this one (docs/upgrading.md). `registry migrate` sets it.
CREATE_SCHEMA_SUPPORT = "CREATE TABLE schema_support (compatible_since text NOT NULL)"

SET_SCHEMA_SUPPORT = "INSERT INTO schema_support (compatible_since) VALUES ('0001')"

# A log that ended before an event which a service had acknowledged or read (`seen`), or before a checkpoint that it had
# signed (`signed`). While one is not decided, no event can be appended. Only the owner can decide one (`registry log
# accept`).
CREATE_LOG_INCIDENTS = """
CREATE TABLE log_incidents (
    number       bigint      PRIMARY KEY,
    noticed_at   timestamptz NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('seen', 'signed')),
    position     bigint      NOT NULL,
    leaf_hash    text        NOT NULL,
    log_position bigint      NOT NULL,
    decided_at   timestamptz,
    decided_by   text,
    reason       text,
    CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
    CHECK ((decided_at IS NULL) = (reason IS NULL))
)
"""

# A database with this row is a mirror: it holds a verified copy of another registry's log (registry/mirror). Only the
# follower appends, and no service signs. `names_position` is the principal's event up to which names were read.
CREATE_MIRROR = """
CREATE TABLE mirror (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    url            text        NOT NULL,
    origin         text        COLLATE "C" NOT NULL,
    since          timestamptz NOT NULL,
    names_position bigint      NOT NULL DEFAULT 0
)
"""

# The verifier keys of the origin that this mirror trusts, oldest first. Only an operator adds one.
CREATE_MIRROR_KEYS = """
CREATE TABLE mirror_keys (
    number     bigint      PRIMARY KEY,
    verifier   text        COLLATE "C" NOT NULL UNIQUE,
    trusted_at timestamptz NOT NULL,
    trusted_by text        NOT NULL
)
"""

# What the origin contradicted: a fork, a changed entry, a smaller tree, a bad signature, an unknown key. `evidence` has
# what was received. While one is not decided, the mirror follows no further.
CREATE_MIRROR_INCIDENTS = """
CREATE TABLE mirror_incidents (
    number     bigint      PRIMARY KEY,
    noticed_at timestamptz NOT NULL,
    kind       text        NOT NULL,
    position   bigint      NOT NULL,
    detail     text        NOT NULL,
    evidence   jsonb       NOT NULL,
    decided_at timestamptz,
    decided_by text,
    reason     text,
    CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
    CHECK ((decided_at IS NULL) = (reason IS NULL))
)
"""

# The display names of the origin's principals, as it publishes them: their events' content is withheld from mirrors.
CREATE_MIRRORED_NAMES = """
CREATE TABLE mirrored_names (
    principal text   COLLATE "C" NOT NULL,
    position  bigint NOT NULL,
    name      text   NOT NULL,
    PRIMARY KEY (principal, position)
)
"""

# SQLSTATE RG001 stands for an open incident, RG002 for a mirror: they belong to no class of Postgres.
CREATE_REFUSE_APPEND = """
CREATE FUNCTION refuse_append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM log_incidents WHERE decided_at IS NULL) THEN
        RAISE EXCEPTION 'the log is rewound: an operator decides with registry log accept' USING ERRCODE = 'RG001';
    END IF;
    IF EXISTS (SELECT FROM mirror) AND current_setting('registry.following', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION 'this database is a mirror: only registry follow appends to it' USING ERRCODE = 'RG002';
    END IF;
    RETURN NULL;
END
$$
"""

PROTECT_APPENDS = """
CREATE TRIGGER events_are_appended_where_allowed
    BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_append()
"""

CREATE_REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the log is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

CREATE_REFUSE_CONTENT_CHANGE = """
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

# Erases the content of one event that an event_redacted of the same stream names (in `redacts` or `also`). Only the
# owner may call it.
CREATE_REDACT_EVENT = """
CREATE FUNCTION redact_event(redaction bigint, target bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM events AS r JOIN event_contents AS c USING (position) JOIN events AS t ON t.stream = r.stream
        WHERE r.position = redaction AND t.position = target AND r.type = 'event_redacted' AND t.position < r.position
          AND t.type <> 'event_redacted'
          AND (convert_from(c.content, 'UTF8')::jsonb -> 'event' ->> 'redacts' = t.id::text
               OR convert_from(c.content, 'UTF8')::jsonb -> 'event' -> 'also' ? t.id::text)
    ) THEN
        RAISE EXCEPTION 'event % is no redaction of event %', redaction, target USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('registry.redacting', 'yes', true);
    UPDATE event_contents SET content = NULL, salt = NULL WHERE position = target;
    PERFORM set_config('registry.redacting', '', true);
END
$$
"""

REVOKE_REDACT_EVENT = "REVOKE ALL ON FUNCTION redact_event(bigint, bigint) FROM PUBLIC"

PROTECT_EVENTS = """
CREATE TRIGGER events_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

PROTECT_CONTENTS = """
CREATE TRIGGER contents_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON event_contents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_content_change()
"""

PROTECT_TILES = """
CREATE TRIGGER tiles_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

PROTECT_CHECKPOINTS = """
CREATE TRIGGER checkpoints_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

# --- exchange rates ---------------------------------------------------------------------------------------------------

# Recorded data, to which rows are only added. `number` counts the imports; 0 is the packaged history, which counts as
# recorded before position 1 and has no time of recording. An import applies to positions after `position`. A row has
# all rates of one currency: 42 rows instead of 215,000. `quotes`: units of `currency` for one unit of `base`.
CREATE_EXCHANGE_RATES = """
CREATE TABLE exchange_rates (
    number      integer     NOT NULL,
    position    bigint      NOT NULL,
    recorded_at timestamptz,
    source      text        COLLATE "C" NOT NULL,
    base        text        COLLATE "C" NOT NULL,
    currency    text        COLLATE "C" NOT NULL,
    days        date[]      NOT NULL,
    quotes      numeric[]   NOT NULL,
    PRIMARY KEY (number, source, base, currency),
    CHECK (cardinality(days) = cardinality(quotes) AND cardinality(days) > 0)
)
"""

# A restore into an empty registry replaces the packaged history by the backup's rates.
CREATE_REFUSE_RATE_CHANGE = """
CREATE FUNCTION refuse_rate_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM events) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of % is refused: rates are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

PROTECT_EXCHANGE_RATES = """
CREATE TRIGGER exchange_rates_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON exchange_rates
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rate_change()
"""

SEED_EXCHANGE_RATES = """
INSERT INTO exchange_rates (number, position, recorded_at, source, base, currency, days, quotes)
VALUES (0, 0, NULL, :source, :base, :currency, CAST(string_to_array(:days, ',') AS date[]),
        CAST(string_to_array(:quotes, ',') AS numeric[]))
"""

# --- requests, keys and webhooks --------------------------------------------------------------------------------------

# The stored response of each request with an Idempotency-Key, by the owner of the API key. A redaction removes what
# changed in the responses about its stream.
CREATE_IDEMPOTENCY = """
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

CREATE_IDEMPOTENCY_AGE_INDEX = "CREATE INDEX idempotency_created_at ON idempotency (created_at)"

CREATE_IDEMPOTENCY_STREAM_INDEX = "CREATE INDEX idempotency_stream ON idempotency (stream)"

# The digest of each key's secret. What a key may do is in the events of its principal: a row without such an event
# gives no right. A row is never changed, so the digest of an issued key cannot be exchanged.
CREATE_KEYS = """
CREATE TABLE keys (
    id        text  COLLATE "C" PRIMARY KEY,
    principal text  COLLATE "C" NOT NULL,
    digest    bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32)
)
"""

PROTECT_KEYS = """
CREATE TRIGGER keys_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

# Who has signed in to the pages; `digest` is that of the cookie's value. What a session may do is not here: it follows
# from the events of its principal. `seal` is made with a key outside the database.
CREATE_SESSIONS = """
CREATE TABLE sessions (
    id         text        COLLATE "C" PRIMARY KEY,
    digest     bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    principal  text        COLLATE "C" NOT NULL,
    key        text        COLLATE "C",
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    agent      text        NOT NULL,
    seal       bytea       NOT NULL
)
"""

CREATE_SESSIONS_PRINCIPAL_INDEX = "CREATE INDEX sessions_principal ON sessions (principal)"

# Announcements that wait for a second principal. The content is deleted with the decision: what was approved is in the
# log. What was proposed together has one `submission`. `digest` binds a decision to the exact content, `seal` the
# author to it with a key outside the database.
CREATE_PROPOSALS = """
CREATE TABLE proposals (
    id            uuid        PRIMARY KEY,
    submission    uuid        NOT NULL,
    kind          text        COLLATE "C" NOT NULL CHECK (kind IN ('deal', 'organization')),
    slug          text        COLLATE "C" NOT NULL,
    announcements bytea,
    digest        bytea       NOT NULL CHECK (octet_length(digest) = 32),
    seal          bytea       NOT NULL,
    proposed_by   text        COLLATE "C" NOT NULL,
    proposed_at   timestamptz NOT NULL,
    changed_by    text[]      COLLATE "C" NOT NULL DEFAULT '{}',
    changed_at    timestamptz[] NOT NULL DEFAULT '{}',
    status        text        COLLATE "C" NOT NULL CHECK (status IN ('open', 'approved', 'rejected')),
    decided_by    text        COLLATE "C",
    decided_at    timestamptz,
    reason        text,
    position      bigint,
    CHECK ((announcements IS NULL) = (status <> 'open')),
    CHECK ((decided_by IS NULL) = (status = 'open'))
)
"""

CREATE_PROPOSALS_OPEN_INDEX = "CREATE INDEX proposals_open ON proposals (id) WHERE status = 'open'"
CREATE_PROPOSALS_SUBMISSION_INDEX = "CREATE INDEX proposals_submission ON proposals (submission)"

# `position` is the last event that was delivered or did not match the filter. The secrets sign messages and are
# encrypted with a key outside the database; the old one signs too until `rotation_ends_at`. `failures` counts the
# attempts to deliver the next event.
CREATE_WEBHOOKS = """
CREATE TABLE webhooks (
    id               text        PRIMARY KEY,
    owner            text        COLLATE "C",
    confirmed_at     timestamptz,
    url              text        NOT NULL,
    format           text        NOT NULL CHECK (format IN ('standard', 'cloudevents', 'cloudevents-binary')),
    secret           bytea       NOT NULL,
    old_secret       bytea,
    rotation_ends_at timestamptz,
    type             text[],
    deal             text,
    organization     text,
    source           text,
    deals            text,
    position         bigint      NOT NULL CHECK (position >= 0),
    failures         integer     NOT NULL DEFAULT 0,
    next_at          timestamptz,
    created_at       timestamptz NOT NULL,
    created_by       text        NOT NULL,
    disabled_at      timestamptz
)
"""

# The receiver's response to each attempt. The message itself is not stored: it follows from the log.
CREATE_WEBHOOK_DELIVERIES = """
CREATE TABLE webhook_deliveries (
    webhook  text        NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    at       timestamptz NOT NULL,
    message  text        NOT NULL,
    position bigint,
    attempt  integer     NOT NULL,
    status   integer,
    error    text,
    PRIMARY KEY (webhook, at)
)
"""

# A filter of events that a principal has saved; new events are sent to an address that its owner has confirmed. The
# address is personal: it is encrypted with a key outside the database, and deleted with the watch. `position` is the
# last event that was sent or did not match; `next_at` is also the lease of the process that sends.
CREATE_WATCHES = """
CREATE TABLE watches (
    id           text        COLLATE "C" PRIMARY KEY,
    principal    text        COLLATE "C" NOT NULL,
    email        bytea       NOT NULL,
    language     text        NOT NULL,
    digest       text        NOT NULL CHECK (digest IN ('at_once', 'daily')),
    type         text[],
    deal         text,
    organization text,
    source       text,
    deals        text,
    position     bigint      NOT NULL CHECK (position >= 0),
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    failures     integer     NOT NULL DEFAULT 0,
    next_at      timestamptz,
    disabled_at  timestamptz
)
"""

CREATE_WATCHES_PRINCIPAL_INDEX = "CREATE INDEX watches_principal ON watches (principal)"

# --- projections ------------------------------------------------------------------------------------------------------

# The fact tables: every fact of a deal at every point in time. A row is one version of one fact, and holds on three
# axes, each a half-open interval: the world's days [effective), the positions of the log [recorded), and the days of
# publication [published) for the log as it is now. An interval that is empty (from = to) means that the row does not
# hold on that axis; a row that is empty on both is no version any more, and stays so that a copy of the table learns
# of it. A fact whose events were recorded and published in the same order, as most are, has rows that serve both axes.
# `recorded_from` is the event that opened the row, `changed_at` the last one that wrote it, and `ordinal` tells apart
# what one event opened for one day. Columns of fixed width come first, because Postgres pads them after others.
FACT_AXES = """effective_from date     NOT NULL,
    effective_to   date     NOT NULL,
    published_from date     NOT NULL,
    published_to   date     NOT NULL,
    recorded_from  bigint   NOT NULL,
    recorded_to    bigint   NOT NULL,
    changed_at     bigint   NOT NULL,
    ordinal        smallint NOT NULL,
    deal           text     COLLATE "C" NOT NULL"""

# A deal has a row in deal_facts at exactly the points at which it is in lists. `title` is a JSON map by language.
CREATE_DEAL_FACTS = f"""
CREATE TABLE deal_facts (
    {FACT_AXES},
    title          text     COLLATE "C",
    kind           text     COLLATE "C",
    sectors        text[]   NOT NULL,
    classifications text[]  NOT NULL,
    identifiers    text[]   NOT NULL,
    PRIMARY KEY (deal, effective_from, recorded_from, ordinal)
)
"""

CREATE_STAGE_FACTS = f"""
CREATE TABLE stage_facts (
    {FACT_AXES},
    stage          text     COLLATE "C" NOT NULL,
    basis          text     COLLATE "C" NOT NULL,
    since          date,
    rule           text     COLLATE "C",
    observed_on    date,
    certainty      text     COLLATE "C",
    PRIMARY KEY (deal, effective_from, recorded_from, ordinal)
)
"""

# `currency` is null without an amount; `stated_as` (JSON) and `wording` are the amount in other words.
CREATE_PLEDGE_FACTS = f"""
CREATE TABLE pledge_facts (
    {FACT_AXES},
    pledge         text     COLLATE "C" NOT NULL,
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
    amount_basis   text     COLLATE "C",
    commitment     text     COLLATE "C",
    organizations  text[]   NOT NULL,
    additional_to  text     COLLATE "C",
    until          text     COLLATE "C",
    announced_on   date     NOT NULL,
    stated_on      date     NOT NULL,
    compared_on    date,
    compared_with  text     COLLATE "C",
    PRIMARY KEY (deal, pledge, effective_from, recorded_from, ordinal)
)
"""

# A row for each membership. Here and below, an id that is not stated is empty. `name` is a JSON map by language.
CREATE_PARTY_FACTS = f"""
CREATE TABLE party_facts (
    {FACT_AXES},
    organization   text     COLLATE "C" NOT NULL,
    role           text     COLLATE "C" NOT NULL,
    joined_on      date     NOT NULL,
    name           text     COLLATE "C",
    left_on        date,
    share          numeric,
    certainty      text     COLLATE "C",
    PRIMARY KEY (deal, organization, role, joined_on, effective_from, recorded_from, ordinal)
)
"""

CREATE_PARTY_FACTS_INDEX = "CREATE INDEX party_facts_organization ON party_facts (organization, deal)"

CREATE_SITE_FACTS = f"""
CREATE TABLE site_facts (
    {FACT_AXES},
    site            text     COLLATE "C" NOT NULL,
    place           text     COLLATE "C",
    status          text     COLLATE "C" NOT NULL,
    power_mw        numeric,
    power_qualifier text     COLLATE "C",
    gpus            bigint,
    gpus_qualifier  text     COLLATE "C",
    latitude        numeric,
    longitude       numeric,
    precision       text     COLLATE "C",
    announced_on    date     NOT NULL,
    name            text     COLLATE "C",
    locality        text     COLLATE "C",
    address         text     COLLATE "C",
    PRIMARY KEY (deal, site, effective_from, recorded_from, ordinal)
)
"""

CREATE_MILESTONE_FACTS = f"""
CREATE TABLE milestone_facts (
    {FACT_AXES},
    milestone      text     COLLATE "C" NOT NULL,
    kind           text     COLLATE "C",
    site           text     COLLATE "C",
    planned        text     COLLATE "C",
    reached        text     COLLATE "C",
    status         text     COLLATE "C" NOT NULL,
    power_mw       numeric,
    scheduled_on   date     NOT NULL,
    PRIMARY KEY (deal, milestone, effective_from, recorded_from, ordinal)
)
"""

# `metric_id` names the metric, its basis, its site and its date or horizon; `basis` is planned, actual or target.
CREATE_METRIC_FACTS = f"""
CREATE TABLE metric_facts (
    {FACT_AXES},
    metric_id      text     COLLATE "C" NOT NULL,
    metric         text     COLLATE "C" NOT NULL,
    basis          text     COLLATE "C" NOT NULL,
    site           text     COLLATE "C",
    metric_date    text     COLLATE "C",
    horizon_from   text     COLLATE "C",
    horizon_until  text     COLLATE "C",
    value          numeric,
    unit           text     COLLATE "C",
    qualifier      text     COLLATE "C",
    stated_on      date     NOT NULL,
    PRIMARY KEY (deal, metric_id, effective_from, recorded_from, ordinal)
)
"""

CREATE_RELATION_FACTS = f"""
CREATE TABLE relation_facts (
    {FACT_AXES},
    relation       text     COLLATE "C" NOT NULL,
    pledge         text     COLLATE "C" NOT NULL,
    other_deal     text     COLLATE "C" NOT NULL,
    other_pledge   text     COLLATE "C" NOT NULL,
    since          date     NOT NULL,
    source         uuid     NOT NULL,
    PRIMARY KEY (deal, relation, pledge, other_deal, other_pledge, effective_from, recorded_from, ordinal)
)
"""

CREATE_RELATION_FACTS_INDEX = "CREATE INDEX relation_facts_other_deal ON relation_facts (other_deal, deal)"

# The deals whose rows were deleted and written again (a redaction, a repair by a rebuild): a copy of the fact tables
# reloads them.
CREATE_FACT_RESETS = """
CREATE TABLE fact_resets (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deal text   COLLATE "C" NOT NULL
)
"""

# Which deal has an identifier in another register or list, as now.
CREATE_DEAL_IDENTIFIERS = """
CREATE TABLE deal_identifiers (
    scheme text COLLATE "C" NOT NULL,
    value  text COLLATE "C" NOT NULL,
    deal   text COLLATE "C" NOT NULL,
    PRIMARY KEY (scheme, value)
)
"""

CREATE_DEAL_IDENTIFIERS_DEAL_INDEX = "CREATE INDEX deal_identifiers_deal ON deal_identifiers (deal)"

# The events that name an organization or cite a source.
CREATE_MENTIONS = """
CREATE TABLE mentions (
    term     text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (term, position)
)
"""

CREATE_MENTIONS_POSITION_INDEX = "CREATE INDEX mentions_position ON mentions (position)"

# Sources that events cite, and names and identifiers that they give to organizations: what search looks at beside
# facts.
CREATE_EVENT_TEXTS = """
CREATE TABLE event_texts (
    stream         text     COLLATE "C" NOT NULL,
    position       bigint   NOT NULL,
    recorded_from  bigint   NOT NULL,
    ordinal        smallint NOT NULL,
    recorded_to    bigint   NOT NULL,
    effective_from date     NOT NULL,
    published_from date     NOT NULL,
    changed_at     bigint   NOT NULL,
    source         text     COLLATE "C",
    publisher      text     COLLATE "C",
    title          text     COLLATE "C",
    url            text     COLLATE "C",
    name           text     COLLATE "C",
    PRIMARY KEY (position, recorded_from, ordinal)
)
"""

CREATE_EVENT_TEXTS_CHANGED_INDEX = "CREATE INDEX event_texts_changed ON event_texts (changed_at)"

# Every organization's current state.
CREATE_ORGANIZATIONS = """
CREATE TABLE organizations (
    organization text   COLLATE "C" PRIMARY KEY,
    version      int    NOT NULL,
    position     bigint NOT NULL,
    merged_into  text,
    names        text[] NOT NULL,
    state        bytea  NOT NULL
)
"""

# Every principal's current state, for lists. Rights are checked against the fold of its events, not against this table.
CREATE_PRINCIPALS = """
CREATE TABLE principals (
    principal text   COLLATE "C" PRIMARY KEY,
    version   int    NOT NULL,
    position  bigint NOT NULL,
    state     bytea  NOT NULL
)
"""

# --- the rows of a batch ----------------------------------------------------------------------------------------------

# A batch is written as arrays of rows, each of one of these types: the driver then encodes one array for each table,
# and Postgres reads one array instead of one for each column. They are not the tables' own row types, because a rebuild
# replaces the projections' tables.
CREATE_NEW_EVENT = """
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
    approved_by  text,
    entry        bytea,
    leaf_hash    bytea,
    content      bytea,
    salt         bytea
)
"""

CREATE_NEW_TILE = "CREATE TYPE new_tile AS (level smallint, number bigint, hashes bytea, root bytea)"

CREATE_NEW_ANSWER = """
CREATE TYPE new_answer AS (
    owner      text,
    key        text,
    request    bytea,
    answer     bytea,
    stream     text,
    created_at timestamptz
)
"""

# A change of a row of a fact table. It finds the row that is open on the recorded axis if `known` is null, otherwise
# the one that is known on that day of publication.
CREATE_FACT_CHANGE = """
CREATE TYPE fact_change AS (
    deal           text,
    ids            text[],
    effective_from date,
    changed_at     bigint,
    recorded_to    bigint,
    known          date,
    published_from date,
    published_to   date
)
"""

# The row types of the fact tables. They differ from the tables' own: a batch passes exact numbers as text, because
# asyncpg takes no text for a numeric.
NEW_FACT_AXES = """deal           text,
    effective_from date,
    effective_to   date,
    recorded_from  bigint,
    recorded_to    bigint,
    ordinal        smallint,
    published_from date,
    published_to   date,
    changed_at     bigint"""

CREATE_NEW_DEAL_FACTS = f"""
CREATE TYPE new_deal_facts AS (
    {NEW_FACT_AXES},
    title          text,
    kind           text,
    sectors        text[],
    classifications text[],
    identifiers    text[]
)
"""

CREATE_NEW_STAGE_FACTS = f"""
CREATE TYPE new_stage_facts AS (
    {NEW_FACT_AXES},
    stage          text,
    basis          text,
    since          date,
    rule           text,
    observed_on    date,
    certainty      text
)
"""

CREATE_NEW_PLEDGE_FACTS = f"""
CREATE TYPE new_pledge_facts AS (
    {NEW_FACT_AXES},
    pledge         text,
    status         text,
    currency       text,
    value          text,
    low            text,
    high           text,
    qualifier      text,
    stated_as      text,
    wording        text,
    figure         text,
    price_year     integer,
    amount_basis   text,
    commitment     text,
    organizations  text[],
    additional_to  text,
    until          text,
    announced_on   date,
    stated_on      date,
    compared_on    date,
    compared_with  text
)
"""

CREATE_NEW_PARTY_FACTS = f"""
CREATE TYPE new_party_facts AS (
    {NEW_FACT_AXES},
    organization   text,
    role           text,
    joined_on      text,
    name           text,
    left_on        date,
    share          text,
    certainty      text
)
"""

CREATE_NEW_SITE_FACTS = f"""
CREATE TYPE new_site_facts AS (
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
    address         text
)
"""

CREATE_NEW_MILESTONE_FACTS = f"""
CREATE TYPE new_milestone_facts AS (
    {NEW_FACT_AXES},
    milestone      text,
    kind           text,
    site           text,
    planned        text,
    reached        text,
    status         text,
    power_mw       text,
    scheduled_on   date
)
"""

CREATE_NEW_METRIC_FACTS = f"""
CREATE TYPE new_metric_facts AS (
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
    stated_on      date
)
"""

CREATE_NEW_RELATION_FACTS = f"""
CREATE TYPE new_relation_facts AS (
    {NEW_FACT_AXES},
    relation       text,
    pledge         text,
    other_deal     text,
    other_pledge   text,
    since          date,
    source         uuid
)
"""

CREATE_NEW_DEAL_IDENTIFIER = "CREATE TYPE new_deal_identifier AS (scheme text, value text, deal text)"

CREATE_NEW_MENTION = "CREATE TYPE new_mention AS (term text, position bigint)"

CREATE_NEW_EVENT_TEXT = """
CREATE TYPE new_event_text AS (
    stream         text,
    position       bigint,
    recorded_from  bigint,
    ordinal        smallint,
    recorded_to    bigint,
    effective_from date,
    published_from date,
    changed_at     bigint,
    source         text,
    publisher      text,
    title          text,
    url            text,
    name           text
)
"""

CREATE_NEW_ORGANIZATION = """
CREATE TYPE new_organization AS (
    organization text,
    version      integer,
    position     bigint,
    merged_into  text,
    names        text[],
    state        bytea
)
"""

CREATE_NEW_PRINCIPAL = "CREATE TYPE new_principal AS (principal text, version integer, position bigint, state bytea)"

STATEMENTS = (
    CREATE_EVENTS,
    CREATE_EVENTS_TYPE_INDEX,
    CREATE_EVENT_CONTENTS,
    CREATE_TILES,
    CREATE_CHECKPOINTS,
    CREATE_COSIGNATURES,
    CREATE_WITNESSED,
    CREATE_SIGNING_KEYS,
    CREATE_VERIFICATIONS,
    CREATE_SCHEMA_SUPPORT,
    SET_SCHEMA_SUPPORT,
    CREATE_LOG_INCIDENTS,
    CREATE_MIRROR,
    CREATE_MIRROR_KEYS,
    CREATE_MIRROR_INCIDENTS,
    CREATE_MIRRORED_NAMES,
    CREATE_REFUSE_APPEND,
    PROTECT_APPENDS,
    CREATE_REFUSE_CHANGE,
    CREATE_REFUSE_CONTENT_CHANGE,
    CREATE_REDACT_EVENT,
    REVOKE_REDACT_EVENT,
    PROTECT_EVENTS,
    PROTECT_CONTENTS,
    PROTECT_TILES,
    PROTECT_CHECKPOINTS,
    CREATE_EXCHANGE_RATES,
    CREATE_REFUSE_RATE_CHANGE,
    PROTECT_EXCHANGE_RATES,
    CREATE_IDEMPOTENCY,
    CREATE_IDEMPOTENCY_AGE_INDEX,
    CREATE_IDEMPOTENCY_STREAM_INDEX,
    CREATE_KEYS,
    PROTECT_KEYS,
    CREATE_SESSIONS,
    CREATE_SESSIONS_PRINCIPAL_INDEX,
    CREATE_PROPOSALS,
    CREATE_PROPOSALS_OPEN_INDEX,
    CREATE_PROPOSALS_SUBMISSION_INDEX,
    CREATE_WEBHOOKS,
    CREATE_WEBHOOK_DELIVERIES,
    CREATE_WATCHES,
    CREATE_WATCHES_PRINCIPAL_INDEX,
    CREATE_DEAL_FACTS,
    CREATE_STAGE_FACTS,
    CREATE_PLEDGE_FACTS,
    CREATE_PARTY_FACTS,
    CREATE_PARTY_FACTS_INDEX,
    CREATE_SITE_FACTS,
    CREATE_MILESTONE_FACTS,
    CREATE_METRIC_FACTS,
    CREATE_RELATION_FACTS,
    CREATE_RELATION_FACTS_INDEX,
    CREATE_FACT_RESETS,
    CREATE_DEAL_IDENTIFIERS,
    CREATE_DEAL_IDENTIFIERS_DEAL_INDEX,
    CREATE_MENTIONS,
    CREATE_MENTIONS_POSITION_INDEX,
    CREATE_EVENT_TEXTS,
    CREATE_EVENT_TEXTS_CHANGED_INDEX,
    CREATE_ORGANIZATIONS,
    CREATE_PRINCIPALS,
    CREATE_NEW_EVENT,
    CREATE_NEW_TILE,
    CREATE_NEW_ANSWER,
    CREATE_FACT_CHANGE,
    CREATE_NEW_DEAL_FACTS,
    CREATE_NEW_STAGE_FACTS,
    CREATE_NEW_PLEDGE_FACTS,
    CREATE_NEW_PARTY_FACTS,
    CREATE_NEW_SITE_FACTS,
    CREATE_NEW_MILESTONE_FACTS,
    CREATE_NEW_METRIC_FACTS,
    CREATE_NEW_RELATION_FACTS,
    CREATE_NEW_DEAL_IDENTIFIER,
    CREATE_NEW_MENTION,
    CREATE_NEW_EVENT_TEXT,
    CREATE_NEW_ORGANIZATION,
    CREATE_NEW_PRINCIPAL,
)


def upgrade() -> None:
    """Create the schema."""
    for statement in STATEMENTS:
        # SQLAlchemy reads `:name` as a parameter.
        op.execute(statement.replace(":", r"\:"))
    seed_exchange_rates()


def seed_exchange_rates() -> None:
    """Record the packaged history, once: later answers read the table, whatever the package then contains."""
    for quotes in group_rows(packaged_history()):
        series = {"source": quotes.source, "base": quotes.base, "currency": quotes.currency}
        op.get_bind().execute(text(SEED_EXCHANGE_RATES), {**series, "days": quotes.days, "quotes": quotes.values})


def downgrade() -> None:
    """The log is append-only; a downgrade would delete it."""
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
