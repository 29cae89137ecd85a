"""Webhooks: push events to receivers over HTTP, signed, in the order of the log (standardwebhooks.com, 1.0.0).

Each webhook has its own position in the log. An event is sent until the receiver answers with a success, at growing
intervals, and only then the next one: delivery is in order and at least once. `webhook-id` is the event's id, by which
a receiver detects repetitions. Of all processes, the one that holds an advisory lock delivers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import structlog

from registry.delivery import webhook_store
from registry.delivery.public_network import Network, PublicOnlyBackend, is_ip_address
from registry.delivery.webhook_sender import MAX_CONCURRENT_RECEIVERS, WebhookSender, format_secret
from registry.delivery.webhook_store import Delivery, Webhook
from registry.errors import FieldError, Invalid, NotFound
from registry.events import store, write_batch
from registry.events.store import StoredEvent
from registry.events.write_batch import Head
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from registry.schemas import encode, logged_event

log = structlog.get_logger(__name__)

# Seconds until each next attempt, plus up to 10 % at random. After the last one the webhook is disabled.
RETRY_DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)

# Seconds between two looks for due webhooks.
POLL_SECONDS = 2.0

# Events read at once for a webhook.
PAGE = 100

# A lock of a transaction, not of a session: it also works through a pooler in transaction mode. The transaction stays
# open and idle while this process delivers; it holds no snapshot.
KEEP_TRANSACTION_OPEN = "SET LOCAL idle_in_transaction_session_timeout = 0"
TRY_DELIVERY_LOCK = "SELECT pg_try_advisory_xact_lock(3380641975160211475)"


class Webhooks:
    """The webhooks, and their delivery unless another process delivers. One per process."""

    def __init__(self, pool: Pool, allowed: Sequence[Network] = ()) -> None:
        self._pool = pool
        self._queries = LogQueries(StreamReader(pool))
        self._allowed = tuple(allowed)
        self._network = PublicOnlyBackend(allowed)
        self._sender = WebhookSender(self._network)
        self._wake = asyncio.Event()
        self._has_webhooks = True
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Webhooks:
        self._task = asyncio.create_task(self._run(), name="webhooks")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._sender.close()

    def on_commit(self, head: Head) -> None:
        """Commit listener: this process has recorded events."""
        if self._has_webhooks:
            self._wake.set()

    # --- management ---------------------------------------------------------------------------------------------------

    async def create(
        self, url: str, by: str, after: int | None = None, **event_filter: str | None
    ) -> tuple[Webhook, str]:
        """Register a webhook.

        Args:
            url: The receiver.
            by: The id of the API key.
            after: The position after which delivery begins. Default: the head of the log.
            event_filter: `type`, `deal`, `organization` and `source` that an event must match.

        Returns:
            The webhook, and the secret that signs its messages.

        Raises:
            Invalid: Nothing can be sent to the address.
        """
        self.check_url(url)
        secret = secrets.token_bytes(32)
        webhook = Webhook(
            id=f"wh_{secrets.token_hex(8)}",
            url=url,
            type=event_filter.get("type"),
            deal=event_filter.get("deal"),
            organization=event_filter.get("organization"),
            source=event_filter.get("source"),
            position=(await write_batch.head(self._pool)).position if after is None else after,
            failures=0,
            next_at=None,
            created_at=datetime.now(UTC),
            created_by=by,
            disabled_at=None,
        )
        await webhook_store.insert(self._pool, webhook, secret)
        self._wake.set()
        return await self.get(webhook.id), format_secret(secret)

    def check_url(self, url: str) -> None:
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

    async def all(self) -> list[Webhook]:
        """All webhooks, in the order of their creation."""
        return await webhook_store.load_all(self._pool)

    async def get(self, id: str) -> Webhook:
        """Raises NotFound."""
        return (await self._load(id))[0]

    async def _load(self, id: str) -> tuple[Webhook, bytes]:
        # Postgres refuses NUL in a text.
        loaded = await webhook_store.load(self._pool, id) if "\0" not in id else None
        if loaded is None:
            raise NotFound("webhook", webhook=id[:80])
        return loaded

    async def delete(self, id: str) -> None:
        """Raises NotFound."""
        await self._load(id)
        await webhook_store.delete(self._pool, id)

    async def deliveries(self, id: str, limit: int) -> list[Delivery]:
        """The latest attempts, newest first. Raises NotFound."""
        await self._load(id)
        return await webhook_store.load_deliveries(self._pool, id, limit)

    async def test(self, id: str) -> Delivery:
        """Send a test message. Raises NotFound."""
        webhook, secret = await self._load(id)
        body = encode({"type": "webhook.test", "timestamp": datetime.now(UTC), "data": {"webhook": id}})
        return await self._send(webhook, secret, f"test_{secrets.token_hex(8)}", None, body, 1)

    async def resend(self, id: str, position: int) -> Delivery:
        """Send an event again. If the receiver accepts it, a disabled webhook is enabled. Raises NotFound."""
        webhook, secret = await self._load(id)
        events = await store.events_at(self._pool, [position])
        if not events:
            raise NotFound("position", position=position)
        delivery = await self._send_event(webhook, secret, events[0], 1)
        if delivery.succeeded:
            await webhook_store.enable(self._pool, id)
            self._wake.set()
        return delivery

    # --- delivery -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                if await self._look_for_webhooks():
                    async with self._acquire_leadership() as is_leader:
                        while is_leader and await self._deliver():
                            await self._pause()
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("webhook delivery failed")
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        self._wake.clear()

    @asynccontextmanager
    async def _acquire_leadership(self) -> AsyncIterator[bool]:
        """Take the delivery lock. Yields whether this process has it; it lasts as long as the transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(KEEP_TRANSACTION_OPEN)
            yield bool(await connection.fetchval(TRY_DELIVERY_LOCK))

    async def _deliver(self) -> bool:
        """Send what is due to each webhook. Returns False if there are no webhooks."""
        due = await webhook_store.load_due(self._pool, datetime.now(UTC))
        limit = asyncio.Semaphore(MAX_CONCURRENT_RECEIVERS)

        async def deliver(webhook: Webhook, secret: bytes) -> None:
            async with limit:
                await self._deliver_backlog(webhook, secret)

        await asyncio.gather(*(deliver(webhook, secret) for webhook, secret in due))
        return await self._look_for_webhooks()

    async def _look_for_webhooks(self) -> bool:
        """Whether there is a webhook. While there is none, commits do not wake the delivery."""
        self._has_webhooks = await webhook_store.exists_any(self._pool)
        return self._has_webhooks

    async def _deliver_backlog(self, webhook: Webhook, secret: bytes) -> None:
        """Send a webhook its next page of events in order, until the receiver fails to accept one."""
        head = (await write_batch.head(self._pool)).position
        events = await self._queries.events(
            webhook.position,
            PAGE,
            type=webhook.type,
            deal=webhook.deal,
            organization=webhook.organization,
            source=webhook.source,
        )
        for event in events:
            attempt = webhook.failures + 1 if event is events[0] else 1
            delivery = await self._send_event(webhook, secret, event, attempt)
            if not delivery.succeeded:
                await self._postpone(webhook.id, delivery)
                return
            await webhook_store.advance(self._pool, webhook.id, event.recorded.position)
        if len(events) == PAGE:
            self._wake.set()
        elif head > webhook.position:
            # No later event up to the head matches the filter.
            await webhook_store.advance(self._pool, webhook.id, head)

    async def _postpone(self, id: str, delivery: Delivery) -> None:
        gone = delivery.status == 410 or delivery.attempt > len(RETRY_DELAYS)
        delay = 0.0 if gone else RETRY_DELAYS[delivery.attempt - 1] * (1 + secrets.randbelow(100) / 1000)
        next_at = delivery.at + timedelta(seconds=delay)
        await webhook_store.postpone(self._pool, id, delivery.attempt, next_at, delivery.at if gone else None)

    async def _send_event(self, webhook: Webhook, secret: bytes, event: StoredEvent, attempt: int) -> Delivery:
        recorded = event.recorded
        body = encode({"type": recorded.type, "timestamp": recorded.recorded_at, "data": logged_event(event)})
        return await self._send(webhook, secret, str(recorded.id), recorded.position, body, attempt)

    async def _send(
        self, webhook: Webhook, secret: bytes, message: str, position: int | None, body: bytes, attempt: int
    ) -> Delivery:
        """Send a message and store the attempt."""
        delivery = await self._sender.send(webhook.url, secret, message, position, body, attempt)
        await webhook_store.insert_delivery(self._pool, webhook.id, delivery)
        return delivery
