"""The tables `webhooks` and `webhook_deliveries`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from registry.infra.postgres import Pool
from registry.schemas.deal_query import DealQuery, loaded, stored

# Deliveries kept for each webhook; older ones are deleted.
MAX_DELIVERIES = 1_000

_COLUMNS = """id, url, format, secret, old_secret, rotation_ends_at, type, deal, organization, source, deals, position,
       failures, next_at, created_at, created_by, disabled_at, owner, confirmed_at"""

INSERT_WEBHOOK = """
INSERT INTO webhooks (id, url, format, secret, type, deal, organization, source, deals, position, created_at,
                      created_by, owner)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""

SELECT_WEBHOOKS = f"""
SELECT {_COLUMNS}
  FROM webhooks
 ORDER BY created_at, id
"""  # noqa: S608 - a constant

SELECT_WEBHOOK = f"SELECT {_COLUMNS} FROM webhooks WHERE id = $1"  # noqa: S608 - a constant

SELECT_OF_OWNER = f"""
SELECT {_COLUMNS}
  FROM webhooks
 WHERE owner = $1
 ORDER BY created_at, id
"""  # noqa: S608 - a constant

# The receiver of a watch gets nothing before it is confirmed.
SELECT_DUE = f"""
SELECT {_COLUMNS}
  FROM webhooks
 WHERE disabled_at IS NULL
   AND (next_at IS NULL OR next_at <= $1)
   AND (owner IS NULL OR confirmed_at IS NOT NULL)
"""  # noqa: S608 - a constant

ANY_WEBHOOK = "SELECT EXISTS (SELECT FROM webhooks)"

CONFIRM = "UPDATE webhooks SET confirmed_at = $2, position = $3 WHERE id = $1 AND confirmed_at IS NULL"

DELETE_UNCONFIRMED = "DELETE FROM webhooks WHERE owner IS NOT NULL AND confirmed_at IS NULL AND created_at < $1"

DELETE_WEBHOOK = "DELETE FROM webhooks WHERE id = $1"

UPDATE_WEBHOOK = """
UPDATE webhooks
   SET url = $2, type = $3, deal = $4, organization = $5, source = $6, disabled_at = $7, format = $8, deals = $9,
       next_at = NULL, failures = 0
 WHERE id = $1
"""

ROTATE = """
UPDATE webhooks
   SET old_secret = CASE WHEN $3::timestamptz IS NOT NULL THEN secret END, rotation_ends_at = $3, secret = $2
 WHERE id = $1
"""

# Only if nothing has rotated it meanwhile.
REPLACE_SECRETS = """
UPDATE webhooks
   SET secret = $2, old_secret = $3
 WHERE id = $1 AND secret = $4
"""

ENABLE = "UPDATE webhooks SET disabled_at = NULL, next_at = NULL, failures = 0 WHERE id = $1"

ADVANCE = "UPDATE webhooks SET position = $2, failures = 0, next_at = NULL WHERE id = $1 AND position < $2"

POSTPONE = "UPDATE webhooks SET failures = $2, next_at = $3, disabled_at = $4 WHERE id = $1"

INSERT_DELIVERY = """
INSERT INTO webhook_deliveries (webhook, at, message, position, attempt, status, error)
SELECT id, $2, $3, $4, $5, $6, $7
  FROM webhooks
 WHERE id = $1
"""

DELETE_OLD_DELIVERIES = """
DELETE FROM webhook_deliveries
 WHERE webhook = $1
   AND at <= (SELECT at FROM webhook_deliveries WHERE webhook = $1 ORDER BY at DESC OFFSET $2 LIMIT 1)
"""

SELECT_DELIVERIES = """
SELECT at, message, position, attempt, status, error
  FROM webhook_deliveries
 WHERE webhook = $1
 ORDER BY at DESC
 LIMIT $2
"""


Format: TypeAlias = Literal["standard", "cloudevents", "cloudevents-binary"]
"""How a message is written: as Standard Webhooks say, or as a CloudEvent in the structured or the binary mode."""


class Webhook(Struct, frozen=True, kw_only=True):
    """A receiver of events: its address, its filter, and the position of the last event that it accepted.

    After a rotation, messages have a signature of the old secret too until `rotation_ends_at`. `owner` is the principal
    whose watch it is; null for one that an administrator made. A watch's receiver gets nothing before `confirmed_at`.
    """

    id: str
    url: str
    format: Format
    type: list[str] | None
    deal: str | None
    organization: str | None
    source: str | None
    deals: DealQuery | None
    position: int
    failures: int
    next_at: datetime | None
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    rotation_ends_at: datetime | None
    owner: str | None = None
    confirmed_at: datetime | None = None


class EncryptedSecrets(Struct, frozen=True):
    """The secrets that sign a webhook's messages, as they are stored; `old` only after a rotation."""

    current: bytes
    old: bytes | None


class Delivery(Struct, frozen=True, kw_only=True):
    """One attempt to send a message. `status` is the receiver's HTTP status, `error` why the attempt failed."""

    at: datetime
    message: str
    position: int | None
    attempt: int
    status: int | None
    error: str | None

    @property
    def succeeded(self) -> bool:
        return self.error is None


async def insert(pool: Pool, webhook: Webhook, secret: bytes) -> None:
    """Store a new webhook with its encrypted secret."""
    w = webhook
    await pool.execute(
        INSERT_WEBHOOK,
        w.id,
        w.url,
        w.format,
        secret,
        w.type,
        w.deal,
        w.organization,
        w.source,
        stored(w.deals),
        w.position,
        w.created_at,
        w.created_by,
        w.owner,
    )


async def load_all(pool: Pool) -> list[tuple[Webhook, EncryptedSecrets]]:
    """All webhooks, in the order of their creation, each with its secrets."""
    return [_webhook(row) for row in await pool.fetch(SELECT_WEBHOOKS)]


async def load_of_owner(pool: Pool, owner: str) -> list[Webhook]:
    """The webhooks of a principal's watches, in the order of their creation."""
    return [_webhook(row)[0] for row in await pool.fetch(SELECT_OF_OWNER, owner)]


async def confirm(pool: Pool, id: str, at: datetime, position: int) -> None:
    """Confirm the receiver of a watch: events after a position are sent. Does nothing for a confirmed one."""
    await pool.execute(CONFIRM, id, at, position)


async def delete_unconfirmed(pool: Pool, before: datetime) -> None:
    """Delete the webhooks of watches whose receivers were not confirmed in time."""
    await pool.execute(DELETE_UNCONFIRMED, before)


async def load(pool: Pool, id: str) -> tuple[Webhook, EncryptedSecrets] | None:
    """A webhook and its secrets."""
    row = await pool.fetchrow(SELECT_WEBHOOK, id)
    return _webhook(row) if row is not None else None


async def load_due(pool: Pool, now: datetime) -> list[tuple[Webhook, EncryptedSecrets]]:
    """The webhooks that may be sent to now, each with its secrets."""
    return [_webhook(row) for row in await pool.fetch(SELECT_DUE, now)]


async def exists_any(pool: Pool) -> bool:
    """Whether there is a webhook."""
    return bool(await pool.fetchval(ANY_WEBHOOK))


async def delete(pool: Pool, id: str) -> None:
    """Delete a webhook."""
    await pool.execute(DELETE_WEBHOOK, id)


async def update(pool: Pool, webhook: Webhook) -> None:
    """Store a webhook's address, filter and whether it is disabled; its failures are forgotten."""
    w = webhook
    fields = (w.id, w.url, w.type, w.deal, w.organization, w.source, w.disabled_at, w.format)
    await pool.execute(UPDATE_WEBHOOK, *fields, stored(w.deals))


async def rotate(pool: Pool, id: str, secret: bytes, old_until: datetime | None) -> None:
    """Store a new encrypted secret; the present one becomes the old one until an instant, or is deleted."""
    await pool.execute(ROTATE, id, secret, old_until)


async def replace_secrets(pool: Pool, id: str, new: EncryptedSecrets, present: EncryptedSecrets) -> None:
    """Store the same secrets under another key, unless they were rotated since they were read."""
    await pool.execute(REPLACE_SECRETS, id, new.current, new.old, present.current)


async def enable(pool: Pool, id: str) -> None:
    """Resume a disabled or postponed webhook."""
    await pool.execute(ENABLE, id)


async def advance(pool: Pool, id: str, position: int) -> None:
    """Store that the receiver has accepted everything up to a position."""
    await pool.execute(ADVANCE, id, position)


async def postpone(pool: Pool, id: str, failures: int, next_at: datetime, disabled_at: datetime | None) -> None:
    """Store a failed delivery: when to try again, or since when the webhook is disabled."""
    await pool.execute(POSTPONE, id, failures, next_at, disabled_at)


async def insert_delivery(pool: Pool, webhook: str, delivery: Delivery) -> None:
    """Store an attempt, and delete the webhook's oldest ones beyond MAX_DELIVERIES."""
    d = delivery
    await pool.execute(INSERT_DELIVERY, webhook, d.at, d.message, d.position, d.attempt, d.status, d.error)
    await pool.execute(DELETE_OLD_DELIVERIES, webhook, MAX_DELIVERIES)


async def load_deliveries(pool: Pool, webhook: str, limit: int) -> list[Delivery]:
    """The latest attempts, newest first."""
    return [Delivery(**row) for row in await pool.fetch(SELECT_DELIVERIES, webhook, limit)]


def _webhook(row: Any) -> tuple[Webhook, EncryptedSecrets]:
    given = {name: row[name] for name in Webhook.__struct_fields__}
    webhook = Webhook(**{**given, "deals": loaded(row["deals"])})
    return webhook, EncryptedSecrets(row["secret"], row["old_secret"])
