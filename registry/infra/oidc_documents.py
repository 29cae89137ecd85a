"""Read an OpenID provider's documents: its metadata, and the keys that it signs with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
import msgspec
import structlog

from registry.errors import ProviderUnavailable, Unauthorized
from registry.infra import tasks
from registry.infra.oidc_setting import is_secure

log = structlog.get_logger(__name__)

# No `none`, and no HMAC: with one, a public key that everyone can read would be the secret (RFC 8725 §2.1).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

# Seconds for which the provider's documents count, for which its keys count while it cannot be reached, and after which
# an unknown key makes them be read again. The last bounds what forged key ids cost the provider.
DOCUMENT_SECONDS = 600.0
UNREACHABLE_SECONDS = 86_400.0
UNKNOWN_KEY_SECONDS = 5.0

# Seconds that a token of a known key waits for the keys to be read again, once they are older than DOCUMENT_SECONDS.
OLD_KEYS_SECONDS = 1.0

REQUEST_SECONDS = 5.0
MAX_DOCUMENT_BYTES = 1_000_000


class ProviderDocuments:
    """The metadata and the keys of one provider, read when they are first needed.

    Args:
        issuer: The provider's issuer identifier.
        client: Sends the requests to it.
        clock: Seconds that never decrease.
    """

    def __init__(self, issuer: str, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._metadata_at = float("-inf")
        self._keys: list[jwt.PyJWK] = []
        self._keys_at = self._keys_tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def metadata(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0 §4).

        Raises:
            ProviderUnavailable: The provider does not answer, or with another issuer's document.
        """
        if self._clock() - self._metadata_at > DOCUMENT_SECONDS:
            url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                metadata = await self._read(url)
            except ProviderUnavailable:
                if self._clock() - self._metadata_at > UNREACHABLE_SECONDS:
                    raise
                return self._metadata
            if metadata.get("issuer") != self._issuer:
                log.error("the provider has another issuer", issuer=str(metadata.get("issuer"))[:200])
                raise ProviderUnavailable
            self._metadata, self._metadata_at = metadata, self._clock()
        return self._metadata

    async def _read(self, url: str) -> dict[str, Any]:
        response = await self.request("GET", url, {"Accept": "application/json"})
        if response.status_code != 200:
            log.warning("the provider does not serve a document", url=url, status=response.status_code)
            raise ProviderUnavailable
        return object_of(response)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request to the provider.

        Raises:
            ProviderUnavailable: It does not answer in time, fails, or sends too much.
        """
        try:
            # The client's own timeout is for each part of an answer, of which a provider may send one byte at a time.
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._client.stream(method, url, headers=headers, data=form) as response,
            ):
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise ProviderUnavailable
                if response.status_code >= 500:
                    raise ProviderUnavailable
                return httpx.Response(response.status_code, content=body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            log.warning("the provider does not answer", url=url, error=type(error).__name__)
            raise ProviderUnavailable from None

    async def key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The provider's key that a token's header names.

        Raises:
            Unauthorized: The provider has none.
            ProviderUnavailable: The provider's keys cannot be read.
        """
        fitting = self._fitting(header)
        if not fitting and (self._is_reading or self._may_read(UNKNOWN_KEY_SECONDS if self._keys else 0.0)):
            # Shielded: the read serves all that wait for it, not only the one that is cancelled.
            await asyncio.shield(self._read_once())
        elif fitting and self._clock() - self._keys_at > DOCUMENT_SECONDS and self._may_read(UNKNOWN_KEY_SECONDS):
            # Not for long, because the old keys count if the provider does not answer.
            await asyncio.wait({self._read_once()}, timeout=OLD_KEYS_SECONDS)
        fitting = self._fitting(header)
        if len(fitting) != 1:
            raise Unauthorized("unknown_token")
        return fitting[0]

    @property
    def _is_reading(self) -> bool:
        return self._reading is not None and not self._reading.done()

    def _may_read(self, seconds: float) -> bool:
        """Whether the keys were not asked for in the last seconds."""
        return self._clock() - self._keys_tried_at > seconds

    def _read_once(self) -> asyncio.Task[None]:
        """The read of the keys that goes on, else a new one."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self.read_keys())
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())
        return self._reading

    async def close(self) -> None:
        """End the read of the keys, if one goes on."""
        await tasks.end(self._reading if self._is_reading else None)

    def _fitting(self, header: Mapping[str, Any]) -> list[jwt.PyJWK]:
        id, algorithm = header.get("kid"), header.get("alg")
        return [key for key in self._keys if key.algorithm_name == algorithm and id in (None, key.key_id)]

    async def read_keys(self) -> None:
        """Read the keys, or keep those that were read less than UNREACHABLE_SECONDS ago.

        Raises:
            ProviderUnavailable: The provider does not answer as a provider does.
        """
        self._keys_tried_at = self._clock()
        try:
            document = await self._read(endpoint_of(await self.metadata(), "jwks_uri"))
        except ProviderUnavailable:
            if self._clock() - self._keys_at > UNREACHABLE_SECONDS:
                raise
            log.warning("the provider's keys could not be read again", issuer=self._issuer)
            return
        keys = document.get("keys")
        self._keys = [key for item in keys if (key := _key_of(item))] if isinstance(keys, list) else []
        self._keys_at = self._clock()


def endpoint_of(metadata: Mapping[str, Any], name: str) -> str:
    """An address of the provider's metadata, which must lead over TLS or stay on this machine.

    Raises:
        ProviderUnavailable: There is none.
    """
    url = metadata.get(name)
    if not isinstance(url, str) or not is_secure(url):
        log.error("the provider's metadata has no usable address", name=name)
        raise ProviderUnavailable
    return url


def _key_of(item: Any) -> jwt.PyJWK | None:
    """A signing key of the provider's set; None for one that cannot be used, as a set may contain (RFC 7517 §5)."""
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK.from_dict(item)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if key.algorithm_name in ALGORITHMS else None


def object_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a response. Raises ProviderUnavailable if it has none."""
    try:
        document = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        raise ProviderUnavailable
    return document
