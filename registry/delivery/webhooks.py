"""Webhooks: push events to receivers over HTTP, signed, in the order of the log (standardwebhooks.com, 1.0.0).

Each webhook has its own position in the log. An event is sent until the receiver answers with a success, at growing
intervals, and only then the next one: delivery is in order and at least once. `webhook-id` is the event's id, by which
a receiver detects repetitions. `webhook_delivery` sends; this module manages.

An administrator's webhooks send from their creation on. Those of a principal's watches, which have an `owner`, send
once the receiver has answered a challenge: an address that ignores it belongs to a stranger.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from registry.delivery import webhook_store
from registry.delivery.confirmation import CONFIRM_WITHIN, ConfirmationLimit
from registry.delivery.public_network import Network, PublicOnlyBackend, is_ip_address
from registry.delivery.webhook_delivery import WebhookDelivery
from registry.delivery.webhook_sender import (
    MAX_CONCURRENT_RECEIVERS,
    MAX_CONCURRENT_WATCHES,
    WebhookSender,
    format_secret,
)
from registry.delivery.webhook_store import Delivery, EncryptedSecrets, Format, Webhook
from registry.errors import FieldError, Invalid, NotFound, RegistryError, SecretUnreadable
from registry.events import store, write_batch
from registry.events.write_batch import Head
from registry.infra.postgres import Pool
from registry.infra.secret_box import SecretBox
from registry.queries.event_filter import EventFilter
from registry.queries.matching_events import MatchingEvents
from registry.queries.principals import Principals
from registry.schemas.deal_query import DealQuery, check

# Hours for which messages have a signature of the old secret too, unless a rotation says otherwise.
OVERLAP_HOURS = 24

WEBHOOK_PREFIX = "wh_"

# Receivers that the watches of a principal may have.
MAX_OWNED = 10


class WatchUnconfirmed(RegistryError):
    """The receiver of a watch did not answer with the challenge."""

    code = "watch_unconfirmed"


class Webhooks:
    """The webhooks, and their delivery unless another process delivers. One per process."""

    def __init__(
        self,
        pool: Pool,
        events: MatchingEvents,
        box: SecretBox,
        principals: Principals,
        allowed: Sequence[Network] = (),
        *,
        source: str = "",
    ) -> None:
        """`principals` says whether the owner of a watch has a right; `source` is the log's name, for CloudEvents."""
        self._pool = pool
        self._box = box
        self._allowed = tuple(allowed)
        self._network = PublicOnlyBackend(allowed)
        self._sender = WebhookSender(allowed, MAX_CONCURRENT_RECEIVERS)
        self._watch_sender = WebhookSender(allowed, MAX_CONCURRENT_WATCHES)
        self._delivery = WebhookDelivery(pool, events, self._sender, self._watch_sender, box, principals, source)
        self._confirmations = ConfirmationLimit()

    async def __aenter__(self) -> Webhooks:
        self._delivery.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._delivery.stop()
        await self._sender.close()
        await self._watch_sender.close()

    @property
    def outcomes(self) -> dict[str, int]:
        """The attempts of this process to deliver, by outcome."""
        return self._delivery.outcomes

    def on_commit(self, head: Head) -> None:
        """Commit listener: this process has recorded events."""
        self._delivery.on_commit()

    async def create(
        self,
        url: str,
        by: str,
        event_filter: EventFilter,
        deals: DealQuery | None,
        *,
        after: int | None = None,
        format: Format = "standard",
        owner: str | None = None,
    ) -> tuple[Webhook, str]:
        """Register a webhook.

        Args:
            url: The receiver.
            by: The principal that makes it.
            event_filter: The events.
            deals: Conditions that the events' deals meet.
            after: The position after which delivery begins. Default: the head of the log.
            format: How messages are written.
            owner: The principal whose watch it is.

        Returns:
            The webhook, and the secret that signs its messages.

        Raises:
            Invalid: Nothing can be sent to the address, a condition is incomplete, or the owner has too many watches.
            SecretUnreadable: The secret cannot be encrypted.
        """
        self._check_url(url)
        check(deals)
        if owner is not None:
            await webhook_store.delete_unconfirmed(self._pool, datetime.now(UTC) - CONFIRM_WITHIN)
            if len(await self.of_owner(owner)) >= MAX_OWNED:
                raise Invalid([FieldError("/url", "too_many_watches", limit=MAX_OWNED)])
        secret = secrets.token_bytes(32)
        webhook = Webhook(
            id=f"{WEBHOOK_PREFIX}{secrets.token_hex(8)}",
            url=url,
            format=format,
            type=list(event_filter.type) or None,
            deal=event_filter.deal,
            organization=event_filter.organization,
            source=event_filter.source,
            deals=deals,
            position=(await write_batch.head(self._pool)).position if after is None else after,
            failures=0,
            next_at=None,
            created_at=datetime.now(UTC),
            created_by=by,
            disabled_at=None,
            rotation_ends_at=None,
            owner=owner,
        )
        await webhook_store.insert(self._pool, webhook, self._box.encrypt(secret))
        self._delivery.wake()
        return await self.get(webhook.id), format_secret(secret)

    def _check_url(self, url: str) -> None:
        """Check that messages can be sent to an address. Raises Invalid."""
        try:
            parts = urlsplit(url)
            host, user, port, scheme = parts.hostname or "", parts.username, parts.port, parts.scheme
        except ValueError:
            host, user, port, scheme = "", None, None, ""
        # Plain HTTP only where the operator allows a network of its own.
        schemes = ("https", "http") if self._allowed else ("https",)
        # A host name beyond ASCII must be given in its ASCII form (IDNA): the HTTP library takes no other.
        usable = url.isascii() and bool(host) and user is None and port != 0 and scheme in schemes
        if not usable or (is_ip_address(host) and not self._network.is_allowed(host)):
            raise Invalid([FieldError("/url", "webhook_url")])

    async def update(self, id: str, enabled: bool | None = None, **changes: Any) -> Webhook:
        """Change a webhook's address or filter, or disable or enable it. The next attempt is made at once.

        Args:
            id: The webhook.
            enabled: Whether events are sent.
            changes: New values of `url`, `format`, `type`, `deal`, `organization`, `source` and `deals`.

        Raises:
            Invalid: Nothing can be sent to the address, or a condition is incomplete.
            NotFound: There is no such webhook.
        """
        webhook, _ = await self._load(id)
        changed = replace(webhook, **changes)
        self._check_url(changed.url)
        check(changed.deals)
        if enabled is not None:
            disabled_at = None if enabled else webhook.disabled_at or datetime.now(UTC)
            changed = replace(changed, disabled_at=disabled_at)
        await webhook_store.update(self._pool, changed)
        self._delivery.restart(id)
        return await self.get(id)

    async def rotate(self, id: str, overlap_hours: int = OVERLAP_HOURS) -> tuple[Webhook, str]:
        """Make a new secret. Until the overlap ends, messages have signatures of both secrets.

        There is no overlap if the present secret cannot be decrypted, as after the loss of the key file.

        Raises:
            NotFound: There is no such webhook.
            SecretUnreadable: The new secret cannot be encrypted.
        """
        _, present = await self._load(id)
        secret = secrets.token_bytes(32)
        encrypted, until = self._box.encrypt(secret), None
        with suppress(SecretUnreadable):
            self._box.decrypt_stored(present.current)
            until = datetime.now(UTC) + timedelta(hours=overlap_hours)
        await webhook_store.rotate(self._pool, id, encrypted, until)
        self._delivery.restart(id)
        return await self.get(id), format_secret(secret)

    async def all(self) -> list[Webhook]:
        """All webhooks, in the order of their creation."""
        return [webhook for webhook, _ in await webhook_store.load_all(self._pool)]

    async def get(self, id: str) -> Webhook:
        """Raises NotFound."""
        return (await self._load(id))[0]

    async def _load(self, id: str, owner: str | None = None) -> tuple[Webhook, EncryptedSecrets]:
        """A webhook; with `owner`, of that principal's watches. Raises NotFound."""
        # Postgres refuses NUL in a text.
        loaded = await webhook_store.load(self._pool, id) if "\0" not in id else None
        if loaded is None or owner not in (None, loaded[0].owner):
            raise NotFound("webhook", webhook=id[:80])
        return loaded

    async def delete(self, id: str, owner: str | None = None) -> None:
        """Delete a webhook; with `owner`, of that principal's watches. Raises NotFound."""
        await self._load(id, owner)
        await webhook_store.delete(self._pool, id)
        self._delivery.restart(id)

    # --- of watches ---------------------------------------------------------------------------------------------------

    async def of_owner(self, owner: str) -> list[Webhook]:
        """The webhooks of a principal's watches, oldest first."""
        return await webhook_store.load_of_owner(self._pool, owner)

    async def confirm(self, id: str, owner: str) -> Webhook:
        """Send the receiver a challenge. Once it has answered with it, later events are sent.

        Raises:
            NotFound: The principal has no such watch.
            RateLimited: The principal has sent too many challenges.
            WatchUnconfirmed: The receiver did not answer with the challenge.
            SecretUnreadable: The secret cannot be decrypted.
        """
        webhook, encrypted = await self._load(id, owner)
        if webhook.confirmed_at is not None:
            return webhook
        self._confirmations.take(owner)
        keys = self._delivery.signing_secrets(webhook, encrypted)
        problem = (await self._delivery.send_challenge(webhook, keys)).problem
        if problem is not None:
            raise WatchUnconfirmed(problem=problem)
        head = (await write_batch.head(self._pool)).position
        await webhook_store.confirm(self._pool, id, datetime.now(UTC), head)
        self._delivery.wake()
        return await self.get(id)

    # --- deliveries ---------------------------------------------------------------------------------------------------

    async def deliveries(self, id: str, limit: int, owner: str | None = None) -> list[Delivery]:
        """The latest attempts, newest first; with `owner`, of that principal's watches. Raises NotFound."""
        await self._load(id, owner)
        return await webhook_store.load_deliveries(self._pool, id, limit)

    async def test(self, id: str) -> Delivery:
        """Send a test message. Raises NotFound, SecretUnreadable."""
        webhook, encrypted = await self._load(id)
        keys = self._delivery.signing_secrets(webhook, encrypted)
        return await self._delivery.send_test(webhook, keys, f"test_{secrets.token_hex(8)}")

    async def resend(self, id: str, position: int) -> Delivery:
        """Send an event again. If the receiver accepts it, a disabled webhook is enabled.

        Raises:
            NotFound: There is no such webhook or position.
            SecretUnreadable: The secret cannot be decrypted.
        """
        webhook, encrypted = await self._load(id)
        events = await store.events_at(self._pool, [position])
        if not events:
            raise NotFound("position", position=position)
        keys = self._delivery.signing_secrets(webhook, encrypted)
        delivery = await self._delivery.send_event(webhook, keys, events[0], 1)
        if delivery.succeeded:
            await webhook_store.enable(self._pool, id)
            self._delivery.wake()
        return delivery
