"""The checkpoints that were signed, and a redaction that says all it erases.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A copy of what the signer signed. Its own memory is a file; whoever has the key without the file asks here first.
CHECKPOINTS = """
CREATE TABLE checkpoints (
    size      bigint      NOT NULL CHECK (size >= 0),
    verifier  text        COLLATE "C" NOT NULL,
    note      text        NOT NULL,
    heads     text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (size, verifier)
)
"""

# When somebody last recomputed the whole log, and what came of it.
VERIFICATIONS = """
CREATE TABLE verifications (
    verified_at timestamptz PRIMARY KEY,
    size        bigint      NOT NULL,
    root        bytea       NOT NULL,
    seconds     real        NOT NULL
)
"""

# Erases the content of an event that an event_redacted of the same stream names, and nothing else. The owner's to call.
REDACT = """
CREATE OR REPLACE FUNCTION redact_event(redaction bigint, target bigint) RETURNS void LANGUAGE plpgsql AS $$
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

TRIGGERS = [
    """CREATE TRIGGER checkpoints_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    """CREATE TRIGGER tiles_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON tiles
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
]


def upgrade() -> None:
    for statement in (CHECKPOINTS, VERIFICATIONS, REDACT, *TRIGGERS):
        op.execute(statement.replace(":", r"\:"))


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
