"""Webhooks: telling others of new events, signed, in order, until they have been taken (standardwebhooks.com, 1.0.0).

Each webhook has its own place in the log. An event is sent until it is answered with a success, longer and longer
after one another, and the next one only then: what is received is in order and at least once; `webhook-id` is the
event's own id, by which a repeated one is known. Of all processes one delivers at a time. Nothing is ever sent to an
address inside the operator's networks that the operator has not allowed: names are resolved here, each address is
looked at, and the connection goes to the very one that was.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import secrets
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpcore
import structlog
from msgspec import Struct

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

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# After so many seconds an event is sent again, and a little more by chance; after the last the webhook is disabled.
RETRIES = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)

# Seconds that the receiver has to answer.
REQUEST_TIMEOUT_SECONDS = 15.0

# Seconds between two looks at what is due.
POLL = 2.0

PAGE = 100
DELIVERIES_KEPT = 1_000
MAX_CONCURRENT_RECEIVERS = 20

TRY_DELIVERY_LOCK = "SELECT pg_try_advisory_lock(3380641975160211475)"
RELEASE_DELIVERY_LOCK = "SELECT pg_advisory_unlock(3380641975160211475)"

CREATE = """
INSERT INTO webhooks (id, url, secret, type, deal, organization, source, position, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

_COLUMNS = """
SELECT id, url, secret, type, deal, organization, source, position, failures, next_at, created_at, created_by,
       disabled_at
  FROM webhooks
"""

ALL = f"{_COLUMNS} ORDER BY created_at, id"
ONE = f"{_COLUMNS} WHERE id = $1"
SELECT_DUE = f"{_COLUMNS} WHERE disabled_at IS NULL AND (next_at IS NULL OR next_at <= $1)"

DELETE = "DELETE FROM webhooks WHERE id = $1 RETURNING id"
ENABLE = "UPDATE webhooks SET disabled_at = NULL, next_at = NULL, failures = 0 WHERE id = $1"

ADVANCE = "UPDATE webhooks SET position = $2, failures = 0, next_at = NULL WHERE id = $1 AND position < $2"
POSTPONE = "UPDATE webhooks SET failures = $2, next_at = $3, disabled_at = $4 WHERE id = $1"

DELIVERED = """
INSERT INTO webhook_deliveries (webhook, at, message, position, attempt, status, error)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

TRIM = """
DELETE FROM webhook_deliveries
 WHERE webhook = $1
   AND at <= (SELECT at FROM webhook_deliveries WHERE webhook = $1 ORDER BY at DESC OFFSET $2 LIMIT 1)
"""

DELIVERIES = """
SELECT at, message, position, attempt, status, error
  FROM webhook_deliveries
 WHERE webhook = $1
 ORDER BY at DESC
 LIMIT $2
"""


class Webhook(Struct, frozen=True, kw_only=True):
    """Who is told of which events. The secret is shown once, when it is made."""

    id: str
    url: str
    type: str | None
    deal: str | None
    organization: str | None
    source: str | None
    position: int
    failures: int
    next_at: datetime | None
    created_at: datetime
    created_by: str
    disabled_at: datetime | None


class Delivery(Struct, frozen=True, kw_only=True):
    """One attempt. `status` is the receiver's answer, `error` why there was none or what was wrong with it."""

    at: datetime
    message: str
    position: int | None
    attempt: int
    status: int | None
    error: str | None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class PrivateAddress(OSError):
    """The address of a receiver is one that nothing may be sent to."""


class PublicOnlyBackend(httpcore.AnyIOBackend):
    """Connections to public addresses, and to those that the operator allows, and to no others."""

    def __init__(self, allowed: Iterable[Network]) -> None:
        self._allowed = tuple(allowed)

    def is_allowed(self, address: str) -> bool:
        """Whether something may be sent there."""
        known = ipaddress.ip_address(address)
        if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
            known = known.ipv4_mapped
        public = known.is_global and not known.is_multicast
        return public or any(known.version == network.version and known in network for network in self._allowed)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore calls it
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        # Every one: a name that leads inside as well as outside is not to be trusted.
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise PrivateAddress(f"'{host}' is no public address")
        return await super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def sign(secret: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The signature of a message: HMAC-SHA256 over `id.timestamp.body`, in Base64, under its version."""
    signed = hmac.digest(secret, b"%b.%d.%b" % (message.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def format_secret(secret: bytes) -> str:
    """A secret as Standard Webhooks writes it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


class Webhooks:
    """One per process: the list of webhooks, and their delivery where no other process sees to it."""

    def __init__(self, pool: Pool, allowed: Sequence[Network] = ()) -> None:
        self._pool = pool
        self._reader = LogQueries(StreamReader(pool))
        self._allowed = tuple(allowed)
        self._guarded = PublicOnlyBackend(allowed)
        self._wake = asyncio.Event()
        self._wanted = True
        self._task: asyncio.Task[None] | None = None
        self._client = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            network_backend=self._guarded,
            max_connections=MAX_CONCURRENT_RECEIVERS,
        )

    async def __aenter__(self) -> Webhooks:
        self._task = asyncio.create_task(self._run(), name="webhooks")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    def on_commit(self, head: Head) -> None:
        """This process has recorded something."""
        if self._wanted:
            self._wake.set()

    # --- the list -----------------------------------------------------------------------------------------------------

    async def create(self, url: str, by: str, after: int | None = None, **wanted: str | None) -> tuple[Webhook, str]:
        """A new webhook for what is recorded from now on, or behind a position, and its secret. Raises Invalid."""
        self.check(url)
        secret = secrets.token_bytes(32)
        id = f"wh_{secrets.token_hex(8)}"
        position = (await write_batch.head(self._pool)).position if after is None else after
        names = [wanted.get(name) for name in ("type", "deal", "organization", "source")]
        await self._pool.execute(CREATE, id, url, secret, *names, position, datetime.now(UTC), by)
        self._wake.set()
        return await self.get(id), format_secret(secret)

    def check(self, url: str) -> None:
        """Raises Invalid for an address that nothing could ever be sent to."""
        try:
            parts = urlsplit(url)
            host, named, port, scheme = parts.hostname or "", parts.username is not None, parts.port, parts.scheme
        except ValueError:
            host, named, port, scheme = "", False, None, ""
        # Without TLS only where the operator says whose network it is.
        schemes = ("https", "http") if self._allowed else ("https",)
        there = bool(host) and not named and port != 0 and scheme in schemes
        if not there or (_is_address(host) and not self._guarded.is_allowed(host)):
            raise Invalid([FieldError("/url", "webhook_url")])

    async def all(self) -> list[Webhook]:
        """Every webhook, in the order in which they were made."""
        return [_webhook(row) for row in await self._pool.fetch(ALL)]

    async def get(self, id: str) -> Webhook:
        """Raises NotFound."""
        return _webhook(await self._row(id))

    async def _row(self, id: str) -> Any:
        row = await self._pool.fetchrow(ONE, id)
        if row is None:
            raise NotFound("webhook", webhook=id[:80])
        return row

    async def delete(self, id: str) -> None:
        """Raises NotFound."""
        if await self._pool.fetchval(DELETE, id) is None:
            raise NotFound("webhook", webhook=id[:80])

    async def deliveries(self, id: str, limit: int) -> list[Delivery]:
        """The latest attempts, the last one first. Raises NotFound."""
        await self._row(id)
        return [Delivery(**row) for row in await self._pool.fetch(DELIVERIES, id, limit)]

    async def test(self, id: str) -> Delivery:
        """Sends a message that says nothing but that it came. Raises NotFound."""
        row = await self._row(id)
        now = datetime.now(UTC)
        body = encode({"type": "webhook.test", "timestamp": now, "data": {"webhook": id}})
        return await self._send(row, f"test_{secrets.token_hex(8)}", None, body, 1)

    async def resend(self, id: str, position: int) -> Delivery:
        """Sends an event again, whatever became of it. One that is taken ends a webhook's being disabled.

        Raises NotFound.
        """
        row = await self._row(id)
        found = await store.events_at(self._pool, [position])
        if not found:
            raise NotFound("position", position=position)
        delivery = await self._send(row, str(found[0].recorded.id), position, message(found[0]), 1)
        if delivery.succeeded:
            await self._pool.execute(ENABLE, id)
            self._wake.set()
        return delivery

    # --- delivery -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                if await self._has_webhooks():
                    async with self._acquire_leadership() as mine:
                        while mine and await self._deliver():
                            await self._pause()
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("webhooks failed")
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._wake.wait()
        self._wake.clear()

    @asynccontextmanager
    async def _acquire_leadership(self) -> AsyncIterator[bool]:
        """Whether it is this process that delivers; it stays so as long as its connection stands."""
        async with self._pool.acquire() as connection:
            mine = bool(await connection.fetchval(TRY_DELIVERY_LOCK))
            try:
                yield mine
            finally:
                with suppress(*postgres.ERRORS):
                    if mine:
                        await connection.execute(RELEASE_DELIVERY_LOCK)

    async def _deliver(self) -> bool:
        """One round over all that is due; False when there is no webhook at all."""
        rows = await self._pool.fetch(SELECT_DUE, datetime.now(UTC))
        at_once = asyncio.Semaphore(MAX_CONCURRENT_RECEIVERS)

        async def one(row: Any) -> None:
            async with at_once:
                await self._deliver_backlog(row)

        await asyncio.gather(*(one(row) for row in rows))
        return await self._has_webhooks()

    async def _has_webhooks(self) -> bool:
        """Whether there is a webhook at all; while there is none, what is recorded wakes nobody."""
        self._wanted = bool(await self._pool.fetchval("SELECT EXISTS (SELECT FROM webhooks)"))
        return self._wanted

    async def _deliver_backlog(self, row: Any) -> None:
        """Sends a webhook the next page of events, in order, until one is not taken."""
        head = (await write_batch.head(self._pool)).position
        events = await self._reader.events(
            row["position"],
            PAGE,
            type=row["type"],
            deal=row["deal"],
            organization=row["organization"],
            source=row["source"],
        )
        for event in events:
            position = event.recorded.position
            attempt = row["failures"] + 1 if event is events[0] else 1
            delivery = await self._send(row, str(event.recorded.id), position, message(event), attempt)
            if not delivery.succeeded:
                await self._postpone(row["id"], delivery)
                return
            await self._pool.execute(ADVANCE, row["id"], position)
        if len(events) == PAGE:
            self._wake.set()
        elif head > row["position"]:
            # Nothing else up to there was wanted.
            await self._pool.execute(ADVANCE, row["id"], head)

    async def _postpone(self, id: str, delivery: Delivery) -> None:
        gone = delivery.status == 410 or delivery.attempt > len(RETRIES)
        wait = 0.0 if gone else RETRIES[delivery.attempt - 1] * (1 + secrets.randbelow(100) / 1000)
        disabled = delivery.at if gone else None
        await self._pool.execute(POSTPONE, id, delivery.attempt, delivery.at + timedelta(seconds=wait), disabled)

    async def _send(self, row: Any, message: str, position: int | None, body: bytes, attempt: int) -> Delivery:
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "investment-registry",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": sign(row["secret"], message, int(now.timestamp()), body),
        }
        status, error = None, None
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                sent = self._client.stream("POST", row["url"], headers=[*headers.items()], content=body)
                async with sent as answer:
                    status = answer.status
            # A redirect is not followed: who is told is who was named.
            error = None if 200 <= status < 300 else f"answered {status}"
        except (
            OSError,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            ValueError,
        ) as failed:
            error = str(failed) or type(failed).__name__
        delivery = Delivery(at=now, message=message, position=position, attempt=attempt, status=status, error=error)
        await self._pool.execute(DELIVERED, row["id"], now, message, position, attempt, status, error)
        await self._pool.execute(TRIM, row["id"], DELIVERIES_KEPT)
        return delivery


def message(event: StoredEvent) -> bytes:
    """An event as it is sent: its type, when it was recorded, and what the log shows of it."""
    recorded = event.recorded
    return encode({"type": recorded.type, "timestamp": recorded.recorded_at, "data": logged_event(event)})


def _webhook(row: Any) -> Webhook:
    return Webhook(**{name: row[name] for name in Webhook.__struct_fields__})


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
