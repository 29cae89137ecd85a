"""Send one signed message to a receiver (standardwebhooks.com, 1.0.0)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache

import httpcore
from msgspec import Struct

from registry.delivery.problems import DeliveryProblem, connection_problem
from registry.delivery.public_network import Network, PublicOnlyBackend
from registry.delivery.webhook_content import WebhookContent
from registry.delivery.webhook_store import Delivery

# Seconds that the receiver has to answer.
REQUEST_TIMEOUT_SECONDS = 15.0

# Receivers that are sent to at the same time.
MAX_CONCURRENT_RECEIVERS = 50

# The same for receivers of watches, which wait for each other only.
MAX_CONCURRENT_WATCHES = 20

# Bytes of an answer that are read. A challenge, with the spaces around it, is shorter.
MAX_ANSWER_BYTES = 4096


class DeliveryAttempt(Struct, frozen=True):
    """An attempt to send a message, as it is stored, and why it failed."""

    delivery: Delivery
    problem: DeliveryProblem | None


def sign(secret: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The signature of a message: HMAC-SHA256 over `id.timestamp.body`, in base64, after the version `v1`."""
    signed = hmac.digest(secret, b"%b.%d.%b" % (message.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def format_secret(secret: bytes) -> str:
    """A secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secret).decode()}"


@cache
def _trusted_authorities() -> ssl.SSLContext:
    # Reading the certificates takes 27 ms of processor time, a sixth of what starting a service takes in the tests.
    return ssl.create_default_context()


class WebhookSender:
    """Sends messages over connections that it keeps open, to a limited number of receivers at the same time."""

    def __init__(self, allowed: Iterable[Network], receivers: int) -> None:
        self._client = httpcore.AsyncConnectionPool(
            ssl_context=_trusted_authorities(),
            network_backend=PublicOnlyBackend(allowed, lookups=receivers),
            max_connections=receivers,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(
        self,
        url: str,
        secrets: tuple[bytes, ...],
        message: str,
        position: int | None,
        content: WebhookContent,
        attempt: int,
        challenge: str | None = None,
    ) -> DeliveryAttempt:
        """Send a message once.

        Args:
            url: The receiver.
            secrets: Each signs the message; two while a rotation overlaps.
            message: The message's id, the same for each attempt, so that the receiver can detect a repetition.
            position: The event's position, or None for a test message.
            content: The body, and the headers that belong to it.
            attempt: Counts the attempts from 1.
            challenge: What the answer's body must be.
        """
        now = datetime.now(UTC)
        timestamp = int(now.timestamp())
        body = content.body
        headers = {
            **content.headers,
            "User-Agent": "investment-registry",
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(secret, message, timestamp, body) for secret in secrets),
        }
        status: int | None = None
        problem: DeliveryProblem | None = None
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                request = self._client.stream("POST", url, headers=[*headers.items()], content=body)
                async with request as response:
                    status = response.status
                    answered = await _beginning(response) if challenge is not None else None
            # Redirects are not followed: events are sent to the registered address only.
            if not 200 <= status < 300:
                problem = DeliveryProblem("status", status=status)
            elif answered != challenge:
                problem = DeliveryProblem("challenge")
        except httpcore.ProtocolError:
            # Its text quotes the answer, which may be another service's in an allowed network.
            problem = DeliveryProblem("not_http")
        except (TimeoutError, httpcore.TimeoutException):
            problem = DeliveryProblem("no_answer", seconds=f"{REQUEST_TIMEOUT_SECONDS:g}")
        except (OSError, httpcore.NetworkError, ValueError) as failure:
            problem = connection_problem(failure)
        error = None if problem is None else str(problem)
        stored = Delivery(at=now, message=message, position=position, attempt=attempt, status=status, error=error)
        return DeliveryAttempt(stored, problem)


async def _beginning(response: httpcore.Response) -> str:
    """A body, or the beginning of one that is too long, without spaces around it."""
    body = b""
    async for chunk in response.aiter_stream():
        body += chunk[: MAX_ANSWER_BYTES - len(body)]
        if len(body) == MAX_ANSWER_BYTES:
            break
    return body.strip().decode("ascii", "replace")
