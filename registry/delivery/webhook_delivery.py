"""Send each webhook the events that it has not accepted yet.

Of all processes, the one that holds an advisory lock delivers. Each webhook is served by a task of its own, so that a
receiver that fails or is slow does not delay the others.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from registry.delivery import webhook_store
from registry.delivery.webhook_content import WebhookContent, challenge_content, test_content, webhook_content
from registry.delivery.webhook_sender import (
    MAX_CONCURRENT_RECEIVERS,
    MAX_CONCURRENT_WATCHES,
    DeliveryAttempt,
    WebhookSender,
)
from registry.delivery.webhook_store import Delivery, EncryptedSecrets, Webhook
from registry.errors import SecretUnreadable
from registry.events import write_batch
from registry.events.store import StoredEvent
from registry.infra import postgres, tasks
from registry.infra.postgres import Pool
from registry.infra.secret_box import SecretBox
from registry.queries.event_filter import EventFilter
from registry.queries.matching_events import MatchingEvents
from registry.queries.principals import Principals

log = structlog.get_logger(__name__)

# Seconds until each next attempt, plus up to 10 % at random. After the last one the webhook is disabled.
RETRY_DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)

# Seconds between two looks for due webhooks.
POLL_SECONDS = 2.0

# Events read at once for a webhook.
PAGE = 100

# Seconds after which a webhook with more events waits for its turn again.
TURN_SECONDS = 10.0

# A lock of a transaction, not of a session: it also works through a pooler in transaction mode. The transaction stays
# open and idle while this process delivers; it holds no snapshot.
KEEP_TRANSACTION_OPEN = "SET LOCAL idle_in_transaction_session_timeout = 0"
TRY_DELIVERY_LOCK = "SELECT pg_try_advisory_xact_lock(3380641975160211475)"

SigningSecrets = tuple[bytes, ...]


class WebhookDelivery:
    """Delivers in the background until it is stopped."""

    def __init__(
        self,
        pool: Pool,
        events: MatchingEvents,
        sender: WebhookSender,
        watch_sender: WebhookSender,
        box: SecretBox,
        principals: Principals,
        source: str,
    ) -> None:
        self._pool = pool
        self._principals = principals
        self._source = source
        # Any reader can make watches: their receivers wait only for each other.
        self._sender = sender
        self._watch_sender = watch_sender
        # Attempts since the start, by outcome.
        self.outcomes = {"succeeded": 0, "failed": 0}
        self._box = box
        self._events = events
        self._wake = asyncio.Event()
        self._has_webhooks = True
        self._limit = asyncio.Semaphore(MAX_CONCURRENT_RECEIVERS)
        self._watch_limit = asyncio.Semaphore(MAX_CONCURRENT_WATCHES)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Webhooks that became due again while their task was running.
        self._due_again: set[str] = set()
        self._loop_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to deliver."""
        self._loop_task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Stop to deliver."""
        await tasks.end(self._loop_task)

    def on_commit(self) -> None:
        """This process has recorded events."""
        if self._has_webhooks:
            self._wake.set()

    def wake(self) -> None:
        """Look for due webhooks now."""
        self._wake.set()

    def restart(self, id: str) -> None:
        """A webhook has changed: its delivery begins again with what is stored now."""
        if (task := self._tasks.get(id)) is not None:
            task.cancel()
        self._wake.set()

    def signing_secrets(self, webhook: Webhook, encrypted: EncryptedSecrets) -> SigningSecrets:
        """The secrets that sign a message now. Raises SecretUnreadable."""
        current = self._box.decrypt_stored(encrypted.current)
        until = webhook.rotation_ends_at
        if encrypted.old is None or until is None or until <= datetime.now(UTC):
            return (current,)
        return (current, self._box.decrypt_stored(encrypted.old))

    async def send_event(
        self, webhook: Webhook, signing_secrets: SigningSecrets, event: StoredEvent, attempt: int
    ) -> Delivery:
        """Send an event once and store the attempt."""
        recorded = event.recorded
        content = webhook_content(webhook.format, event, self._source)
        message = str(recorded.id)
        return (await self._send(webhook, signing_secrets, message, recorded.position, content, attempt)).delivery

    async def send_test(self, webhook: Webhook, signing_secrets: SigningSecrets, message: str) -> Delivery:
        """Send a test message once and store the attempt."""
        content = test_content(webhook, message, self._source)
        return (await self._send(webhook, signing_secrets, message, None, content, 1)).delivery

    async def send_challenge(self, webhook: Webhook, signing_secrets: SigningSecrets) -> DeliveryAttempt:
        """Ask the receiver of a watch for a random text, once, and store the attempt."""
        message, challenge = f"challenge_{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        content = challenge_content(webhook, message, self._source, challenge)
        return await self._send(webhook, signing_secrets, message, None, content, 1, challenge)

    async def _send(
        self,
        webhook: Webhook,
        signing_secrets: SigningSecrets,
        message: str,
        position: int | None,
        content: WebhookContent,
        attempt: int,
        challenge: str | None = None,
    ) -> DeliveryAttempt:
        """Send a message once and store the attempt."""
        sent = webhook.url, signing_secrets, message, position, content, attempt, challenge
        sender = self._sender if webhook.owner is None else self._watch_sender
        made = await sender.send(*sent)
        self.outcomes["succeeded" if made.problem is None else "failed"] += 1
        await webhook_store.insert_delivery(self._pool, webhook.id, made.delivery)
        return made

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                if await self._look_for_webhooks():
                    async with self._acquire_leadership() as is_leader:
                        if is_leader:
                            await self._renew_secrets()
                        while is_leader and await self._start_due():
                            await self._pause()
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("webhook delivery failed")
            await self._pause()

    async def _pause(self) -> None:
        await tasks.wait_for(self._wake, POLL_SECONDS)
        self._wake.clear()

    @asynccontextmanager
    async def _acquire_leadership(self) -> AsyncIterator[bool]:
        """Take the delivery lock. Yields whether this process has it; it lasts as long as the transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(KEEP_TRANSACTION_OPEN)
            try:
                yield bool(await connection.fetchval(TRY_DELIVERY_LOCK))
            finally:
                await self._stop_tasks()

    async def _stop_tasks(self) -> None:
        await tasks.end(*self._tasks.values())

    async def _look_for_webhooks(self) -> bool:
        """Whether there is a webhook. While there is none, commits do not wake the delivery."""
        self._has_webhooks = await webhook_store.exists_any(self._pool)
        return self._has_webhooks

    async def _renew_secrets(self) -> None:
        """Encrypt with the newest key what is encrypted with an older one."""
        for webhook, stored in await webhook_store.load_all(self._pool):
            try:
                current = self._box.renew(stored.current)
                old = self._box.renew(stored.old) if stored.old is not None else None
            except SecretUnreadable as error:
                log.error("webhook secret unreadable", webhook=webhook.id, error=str(error))
                continue
            if current is not None or old is not None:
                renewed = EncryptedSecrets(current or stored.current, old or stored.old)
                await webhook_store.replace_secrets(self._pool, webhook.id, renewed, stored)

    async def _start_due(self) -> bool:
        """Start a task for each due webhook that has none. Returns False if there are no webhooks."""
        # A task that ends while the webhooks are read stores its outcome after them: its webhook is read again.
        busy = set(self._tasks)
        for webhook, encrypted in await webhook_store.load_due(self._pool, datetime.now(UTC)):
            if webhook.id in self._tasks:
                self._due_again.add(webhook.id)
                continue
            if webhook.id in busy:
                self._wake.set()
                continue
            task = asyncio.create_task(self._serve(webhook, encrypted), name=f"webhook {webhook.id}")
            self._tasks[webhook.id] = task
            task.add_done_callback(partial(self._on_done, webhook.id))
        return await self._look_for_webhooks()

    def _on_done(self, id: str, _: object) -> None:
        del self._tasks[id]
        if id in self._due_again:
            self._due_again.discard(id)
            self._wake.set()

    async def _serve(self, webhook: Webhook, encrypted: EncryptedSecrets) -> None:
        """Send a webhook its next events."""
        async with self._limit if webhook.owner is None else self._watch_limit:
            try:
                await self._deliver_backlog(webhook, self.signing_secrets(webhook, encrypted))
            except SecretUnreadable as error:
                at, attempt = datetime.now(UTC), webhook.failures + 1
                failed = Delivery(at=at, message="", position=None, attempt=attempt, status=None, error=str(error))
                await webhook_store.insert_delivery(self._pool, webhook.id, failed)
                await self._postpone(webhook.id, failed)
            except Exception as error:
                # The position is stored after each event: the next task goes on where this one stopped.
                if not postgres.is_connection_lost(error):
                    log.exception("webhook delivery failed", webhook=webhook.id)

    async def _deliver_backlog(self, webhook: Webhook, signing_secrets: SigningSecrets) -> None:
        """Send events in order, until the receiver fails to accept one or the webhook's turn ends."""
        head = (await write_batch.head(self._pool)).position
        types = webhook.type or []
        asked = tuple(types) if len(types) == 1 else ()
        wanted = EventFilter(asked, webhook.deal, webhook.organization, webhook.source)
        events = await self._events.following(webhook.position, PAGE, wanted, webhook.deals)
        # After the events are read: an owner whose right ended before one of them was recorded does not get it.
        if webhook.owner is not None and not await self._principals.has_right(webhook.owner):
            now = datetime.now(UTC)
            await webhook_store.postpone(self._pool, webhook.id, webhook.failures, now, now)
            return
        turn_ends = asyncio.get_running_loop().time() + TURN_SECONDS
        attempt = webhook.failures + 1
        for event in events:
            if types and event.recorded.type not in types:
                continue
            if webhook.owner is not None and event.recorded.is_withheld:
                continue
            delivery = await self.send_event(webhook, signing_secrets, event, attempt)
            if not delivery.succeeded:
                await self._postpone(webhook.id, delivery)
                return
            attempt = 1
            await webhook_store.advance(self._pool, webhook.id, event.recorded.position)
            if asyncio.get_running_loop().time() > turn_ends:
                self._wake.set()
                return
        if len(events) == PAGE:
            await webhook_store.advance(self._pool, webhook.id, events[-1].recorded.position)
            self._wake.set()
        elif head > webhook.position:
            # No later event up to the head matches the filter.
            await webhook_store.advance(self._pool, webhook.id, head)

    async def _postpone(self, id: str, delivery: Delivery) -> None:
        gone = delivery.status == 410 or delivery.attempt > len(RETRY_DELAYS)
        delay = 0.0 if gone else RETRY_DELAYS[delivery.attempt - 1] * (1 + secrets.randbelow(100) / 1000)
        next_at = delivery.at + timedelta(seconds=delay)
        await webhook_store.postpone(self._pool, id, delivery.attempt, next_at, delivery.at if gone else None)
