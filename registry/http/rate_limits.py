"""Rate limits per API key and per address, in the memory of this process.

Litestar's rate limiting sends no Retry-After, counts by address only, and keeps a list of timestamps for each client
(docs/limits.md). Here each client is one number: the time at which its allowance is whole again (the generic cell rate
algorithm). The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

import structlog
from msgspec import Struct

from registry.domain.principal import Credential
from registry.errors import RateLimited, RegistryError
from registry.http.bodies import raw_header
from registry.infra import postgres
from registry.infra.rate_limit_setting import RateLimit

log = structlog.get_logger(__name__)

# Clients that are remembered for each limit.
MAX_CLIENTS = 50_000

# Seconds that a verified key counts without being looked up again.
VERIFIED_SECONDS = 30.0

# A load balancer must get an answer whatever else happens.
EXEMPT = "/health/"

SIGN_IN = "/sign-in"
CALLBACK = "/sign-in/callback"

Headers = tuple[tuple[bytes, bytes], ...]
FindKey = Callable[[str], Awaitable[Credential | None]]


class Bucket:
    """The allowances of the clients of one limit."""

    def __init__(self, name: str, limit: RateLimit) -> None:
        self._limit = limit
        self._interval = limit.seconds / limit.count
        self._whole_at: dict[str, float] = {}
        # A day is the longest period, so the seconds have a bound.
        self._policy = (b"ratelimit-policy", f'"{name}";q={limit.count};w={limit.seconds}'.encode())
        self._name = name

    def take(self, client: str, now: float) -> float:
        """Take one request from a client's allowance. Returns the seconds to wait if there is none left, else 0."""
        whole_at = max(self._whole_at.get(client, now), now) + self._interval
        if (wait := whole_at - now - self._limit.seconds) > 1e-9:
            return wait
        if len(self._whole_at) >= MAX_CLIENTS and client not in self._whole_at:
            self._forget(now)
        self._whole_at[client] = whole_at
        return 0.0

    def is_used_up(self, client: str, now: float) -> float:
        """The seconds until the client may do one more request; 0 if it may now."""
        return max(0.0, self._whole_at.get(client, now) + self._interval - now - self._limit.seconds)

    def headers(self, client: str, now: float) -> Headers:
        """The header fields that describe a client's allowance."""
        used = max(0.0, self._whole_at.get(client, now) - now)
        remaining = int((self._limit.seconds - used) / self._interval + 1e-6)
        value = b'"%b";r=%d;t=%d' % (self._name.encode(), remaining, math.ceil(used))
        return self._policy, (b"ratelimit", value)

    def _forget(self, now: float) -> None:
        """Forget the clients whose allowance is whole, or the oldest ones if there are too many others."""
        self._whole_at = {client: at for client, at in self._whole_at.items() if at > now}
        for client in list(self._whole_at)[: max(0, len(self._whole_at) - MAX_CLIENTS // 2)]:
            del self._whole_at[client]


class Admission(Struct, frozen=True):
    """What a request may do: the header fields of its answer, the verified key's id, and the error if it is refused."""

    headers: Headers = ()
    principal: str | None = None
    error: RateLimited | None = None


OPEN = Admission()


class RateLimiter:
    """Admits requests.

    A request with a valid key counts for the key, any other for its address. Wrong keys and failed sign-ins count for
    the address as well; when their allowance is used up, the address can try no other key, but a key that this process
    has verified before goes on working.

    Args:
        limits: The limits by class: `key`, `address`, `failure`. A class without one is not limited.
        find_key: Looks up a token.
        clock: Seconds that never decrease.
    """

    def __init__(
        self, limits: Mapping[str, RateLimit], find_key: FindKey, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys, self._addresses, self._failures = (
            Bucket(name, limits[name]) if name in limits else None for name in ("key", "address", "failure")
        )
        self._find_key = find_key
        self._clock = clock
        # Digests of tokens, with the key's id and the time until which it counts.
        self._verified: dict[bytes, tuple[str, float]] = {}

    async def admit(self, scope: Any) -> Admission:
        """Admit a request, or return why not."""
        if scope["path"].startswith(EXEMPT):
            return OPEN
        now = self._clock()
        address = client_network(scope)
        authorization = raw_header(scope, b"authorization")
        principal = None
        is_attempt = _is_attempt(scope)
        if authorization is not None:
            digest = hashlib.sha256(authorization).digest()
            known = self._verified.get(digest)
            if known is not None and now < known[1]:
                principal = known[0]
            elif known is None and (wait := self._failure_wait(address, now)):
                return Admission(error=_refusal("failure", wait))
            else:
                principal = await self._verify(authorization, digest, scope)
                # The look-up may have waited for the database.
                now = self._clock()
        elif is_attempt and (wait := self._failure_wait(address, now)):
            return Admission(error=_refusal("failure", wait))
        name, bucket, client = (
            ("key", self._keys, principal) if principal is not None else ("address", self._addresses, address)
        )
        if bucket is None:
            return OPEN if principal is None else Admission(principal=principal)
        wait = bucket.take(client, now)
        error = _refusal(name, wait) if wait else None
        return Admission(bucket.headers(client, now), principal, error)

    def on_answer(self, scope: Any, status: int) -> None:
        """Log a sign-in, and count a failed one."""
        if _is_attempt(scope):
            if status in (401, 403):
                self._count_failure(scope, "sign-in failed")
            elif status in (200, 303):
                log.info("signed in", address=client_address(scope), request_id=scope["state"]["request_id"])

    async def _verify(self, authorization: bytes, digest: bytes, scope: Any) -> str | None:
        """The id of the key of an Authorization header; None, and a failure of the address, if it is unknown."""
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        try:
            key = await self._find_key(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        except (*postgres.ERRORS, TimeoutError, RegistryError):
            # The handler, which needs the database or the OpenID provider too, answers.
            known = self._verified.get(digest)
            return known[0] if known is not None else None
        if key is None:
            self._verified.pop(digest, None)
            self._count_failure(scope, "invalid key")
            return None
        if len(self._verified) >= MAX_CLIENTS:
            self._verified.clear()
        self._verified[digest] = key.id, self._clock() + VERIFIED_SECONDS
        return key.id

    def _failure_wait(self, address: str, now: float) -> float:
        return self._failures.is_used_up(address, now) if self._failures is not None else 0.0

    def _count_failure(self, scope: Any, event: str) -> None:
        """Count and log a wrong key. Once the allowance is used up no more are tried, which bounds the log as well."""
        log.warning(event, address=client_address(scope), request_id=scope["state"]["request_id"])
        if self._failures is not None:
            self._failures.take(client_network(scope), self._clock())


def _is_attempt(scope: Any) -> bool:
    """Whether a request tries to sign in, with a key or with the answer of an OpenID provider."""
    path: str = scope["path"]
    return path == CALLBACK or (scope["method"] == "POST" and path.startswith(SIGN_IN))


def _refusal(name: str, wait: float) -> RateLimited:
    return RateLimited(name, seconds=max(1, math.ceil(wait)))


def client_address(scope: Any) -> str:
    """The client's address as the server or a trusted proxy gives it; empty for a Unix socket."""
    client = scope.get("client")
    return str(client[0])[:64] if client else ""


def client_network(scope: Any) -> str:
    """The client's address, of IPv6 the first 64 bits: one subscriber has at least so many addresses."""
    address = client_address(scope)
    return _network(address) if ":" in address else address


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    try:
        ip = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip, 64), strict=False))
