"""Webhooks: who is told of new events, and how that went.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# `position` is how far the log was delivered, or looked through; the next event wanted lies behind it. The secret signs
# messages, so it must be there to be read. `failures` counts the attempts at the present event.
WEBHOOKS = """
CREATE TABLE webhooks (
    id           text        PRIMARY KEY,
    url          text        NOT NULL,
    secret       bytea       NOT NULL,
    type         text,
    deal         text,
    organization text,
    source       text,
    position     bigint      NOT NULL CHECK (position >= 0),
    failures     integer     NOT NULL DEFAULT 0,
    next_at      timestamptz,
    created_at   timestamptz NOT NULL,
    created_by   text        NOT NULL,
    disabled_at  timestamptz
)
"""

# What was answered to each attempt. What was sent is not kept: the log has it, unless it was erased.
DELIVERIES = """
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


def upgrade() -> None:
    for statement in (WEBHOOKS, DELIVERIES):
        op.execute(statement.replace(":", r"\:"))


def downgrade() -> None:
    raise NotImplementedError("the log is only ever added to: restore a backup instead")
