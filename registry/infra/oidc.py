"""Talk to an OpenID provider: start a sign-in, redeem its code, verify the access tokens that the provider issues.

The checks are those of OpenID Connect Core 1.0 §3.1.3.7 (ID tokens), RFC 9068 §4 (access tokens), RFC 9207 (the issuer
in the answer) and RFC 8725 (JWT best practice): one issuer, one audience, asymmetric signatures only, and each key with
its own algorithm. What an identity may do is not decided here (`append/identities.py`). All checks of a token are in
this file, so that they can be read beside those sections; hence its length.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import jwt
import msgspec
import structlog
from msgspec import Struct

from registry.errors import ProviderUnavailable, Unauthorized
from registry.infra import tasks
from registry.infra.oidc_setting import OidcSettings, is_secure

log = structlog.get_logger(__name__)

# No `none`, and no HMAC: with one, a public key that everyone can read would be the secret (RFC 8725 §2.1).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt", "jwt", "")
"""Values of `typ`. RFC 9068 demands the first, but Keycloak and Entra send `JWT`; the audience keeps ID tokens out."""

# Seconds for which the provider's documents count, for which its keys count while it cannot be reached, and after which
# an unknown key makes them be read again. The last bounds what forged key ids cost the provider.
DOCUMENT_SECONDS = 600.0
UNREACHABLE_SECONDS = 86_400.0
UNKNOWN_KEY_SECONDS = 5.0

# Seconds that a token of a known key waits for the keys to be read again, once they are older than DOCUMENT_SECONDS.
OLD_KEYS_SECONDS = 1.0

# Seconds that a verified access token counts without another look at the provider's keys.
VERIFIED_SECONDS = 300.0
MAX_VERIFIED = 10_000

LEEWAY_SECONDS = 30
REQUEST_SECONDS = 5.0
MAX_TOKEN_LENGTH = 16_384
MAX_DOCUMENT_BYTES = 1_000_000


class Identity(Struct, frozen=True):
    """Whom a token was issued to, as the provider says.

    Attributes:
        name: The display name; None if the provider gives none.
        is_person: False for a client that got a token for itself (RFC 9068 §2.2: its subject is its client id).
        values: The values of the claims that may give rights.
        issued_at: When the token was issued.
    """

    issuer: str
    subject: str
    name: str | None
    is_person: bool
    values: frozenset[str]
    issued_at: datetime


class SignedIn(Struct, frozen=True):
    """Who has signed in, and the ID token that says so."""

    identity: Identity
    id_token: str


class SignInAttempt(Struct, frozen=True):
    """A sign-in that was started: what its answer must match. Only the browser that started it holds it."""

    state: str
    nonce: str
    verifier: str
    then: str
    expires_at: float


def new_attempt(then: str, seconds: int) -> SignInAttempt:
    """An attempt with random values.

    Args:
        then: Where to go after signing in.
        seconds: How long the attempt may take.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return SignInAttempt(state, nonce, verifier, then, time.time() + seconds)


class Provider:
    """One OpenID provider. Its discovery document and keys are read when they are first needed.

    Args:
        settings: The provider.
        client: Sends the requests to it.
        clock: Seconds that never decrease.
    """

    def __init__(
        self, settings: OidcSettings, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._client = client
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._metadata_at = float("-inf")
        self._keys: list[jwt.PyJWK] = []
        self._keys_at = self._keys_tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        # Verified access tokens by their digest, with the time until which they count.
        self._verified: dict[bytes, tuple[Identity, float]] = {}

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def authorization_url(self, attempt: SignInAttempt, redirect_uri: str, language: str | None = None) -> str:
        """Where the browser goes to sign in (authorization code with PKCE, RFC 7636), in the reader's language.

        Raises:
            ProviderUnavailable: The provider does not answer.
        """
        metadata = await self._discover()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if language is not None:
            query["ui_locales"] = language
        endpoint = _endpoint(metadata, "authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def redeem(self, attempt: SignInAttempt, answer: Mapping[str, str], redirect_uri: str) -> SignedIn:
        """Exchange the code of the provider's answer for the identity of who signed in.

        Raises:
            Unauthorized: The answer belongs to no attempt, the provider refuses the code, or its token is not valid.
            ProviderUnavailable: The provider does not answer.
        """
        metadata = await self._discover()
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise Unauthorized("sign_in_state")
        # Another provider's answer (mix-up, RFC 9207 §2.4).
        must_name = metadata.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", None if must_name else self.settings.issuer) != self.settings.issuer:
            raise Unauthorized("sign_in_refused")
        if "code" not in answer:
            log.warning("sign-in refused by the provider", error=answer.get("error", "")[:100])
            raise Unauthorized("sign_in_refused")
        tokens = await self._request_tokens(metadata, answer["code"], attempt.verifier, redirect_uri)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise Unauthorized("sign_in_refused")
        claims = await self._decode(id_token, self.settings.client_id)
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not secrets.compare_digest(nonce.encode(), attempt.nonce.encode()):
            raise Unauthorized("sign_in_refused")
        if claims.get("azp", self.settings.client_id) != self.settings.client_id:
            raise Unauthorized("sign_in_refused")
        info = await self._read_user_info(metadata, tokens, claims["sub"])
        return SignedIn(self._identity({**info, **claims}), id_token)

    async def sign_out_url(self, id_token: str, then: str, language: str | None = None) -> str | None:
        """Where the browser ends its session at the provider (OpenID Connect RP-Initiated Logout 1.0 §2).

        Args:
            id_token: The token of the sign-in; without it the provider asks who signs out.
            then: Where the browser goes afterwards; it must be registered at the provider.
            language: The reader's language. The browser comes back with it as `state`.

        Returns:
            None if the provider has no such address.

        Raises:
            ProviderUnavailable: The provider does not answer.
        """
        metadata = await self._discover()
        if "end_session_endpoint" not in metadata:
            return None
        query = {"client_id": self.settings.client_id, "post_logout_redirect_uri": then}
        if id_token:
            query["id_token_hint"] = id_token
        if language is not None:
            query |= {"ui_locales": language, "state": language}
        endpoint = _endpoint(metadata, "end_session_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def _request_tokens(
        self, metadata: Mapping[str, Any], code: str, verifier: str, redirect_uri: str
    ) -> dict[str, Any]:
        client, secret = self.settings.client_id, self.settings.client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        # The default of OpenID Connect Discovery §3.
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret is None:
            form["client_id"] = client
        elif "client_secret_basic" in methods:
            # RFC 6749 §2.3.1: both are form-encoded first.
            credentials = f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
        else:
            form |= {"client_id": client, "client_secret": secret}
        response = await self._request("POST", _endpoint(metadata, "token_endpoint"), headers, form)
        if response.status_code != 200:
            error = _object(response).get("error", response.status_code)
            log.warning("the provider refused a code", error=str(error)[:100])
            raise Unauthorized("sign_in_refused")
        return _object(response)

    async def _read_user_info(
        self, metadata: Mapping[str, Any], tokens: Mapping[str, Any], subject: str
    ) -> dict[str, Any]:
        """The claims that the provider gives only at its UserInfo endpoint; none if it has no such endpoint."""
        token = tokens.get("access_token")
        if "userinfo_endpoint" not in metadata or not isinstance(token, str):
            return {}
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        response = await self._request("GET", _endpoint(metadata, "userinfo_endpoint"), headers)
        info = _object(response) if response.status_code == 200 else {}
        if info.get("sub", subject) != subject:
            # OpenID Connect Core §5.3.2: these are another user's claims.
            raise Unauthorized("sign_in_refused")
        return info

    # --- access tokens ------------------------------------------------------------------------------------------------

    async def verify(self, token: str) -> Identity | None:
        """Whom an access token was issued to; None if it is not valid here.

        Raises:
            ProviderUnavailable: The provider's keys cannot be read.
        """
        if self.settings.audience is None or len(token) > MAX_TOKEN_LENGTH:
            return None
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock()
        known = self._verified.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        self._verified.pop(digest, None)
        try:
            claims = await self._decode(token, self.settings.audience, types=ACCESS_TOKEN_TYPES)
            identity = self._identity(claims)
        except Unauthorized:
            return None
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        # Whole seconds: JSON may state a number that is no float.
        self._verified[digest] = identity, now + min(int(claims["exp"]) - int(time.time()), VERIFIED_SECONDS)
        return identity

    # --- tokens and keys ----------------------------------------------------------------------------------------------

    async def _decode(self, token: str, audience: str, types: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The claims of a token that this provider signed for an audience.

        Raises:
            Unauthorized: It did not, or the token is not valid now.
            ProviderUnavailable: The provider's keys cannot be read.
        """
        try:
            header = jwt.get_unverified_header(token)
            if types is not None and str(header.get("typ", "")).lower() not in types:
                raise Unauthorized("unknown_token")
            key = await self._key(header)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                # The key's own algorithm, if it is one that the registry accepts.
                algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
                audience=audience,
                issuer=self.settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            log.info("token refused", reason=type(error).__name__)
            raise Unauthorized("unknown_token") from None
        return claims

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
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
            self._reading = asyncio.create_task(self._read_keys())
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())
        return self._reading

    async def close(self) -> None:
        """End the read of the keys, if one goes on."""
        await tasks.end(self._reading if self._is_reading else None)

    def _fitting(self, header: Mapping[str, Any]) -> list[jwt.PyJWK]:
        id, algorithm = header.get("kid"), header.get("alg")
        return [key for key in self._keys if key.algorithm_name == algorithm and id in (None, key.key_id)]

    async def check(self) -> None:
        """Read the provider's metadata and keys.

        Raises:
            ProviderUnavailable: It does not answer as a provider does.
        """
        await self._read_keys()

    async def _read_keys(self) -> None:
        self._keys_tried_at = self._clock()
        try:
            document = await self._read(_endpoint(await self._discover(), "jwks_uri"))
        except ProviderUnavailable:
            if self._clock() - self._keys_at > UNREACHABLE_SECONDS:
                raise
            log.warning("the provider's keys could not be read again", issuer=self.settings.issuer)
            return
        keys = document.get("keys")
        self._keys = [key for item in keys if (key := _key_of(item))] if isinstance(keys, list) else []
        self._keys_at = self._clock()

    # --- the provider's documents -------------------------------------------------------------------------------------

    async def _discover(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0 §4).

        Raises:
            ProviderUnavailable: The provider does not answer, or with another issuer's document.
        """
        if self._clock() - self._metadata_at > DOCUMENT_SECONDS:
            url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                metadata = await self._read(url)
            except ProviderUnavailable:
                if self._clock() - self._metadata_at > UNREACHABLE_SECONDS:
                    raise
                return self._metadata
            if metadata.get("issuer") != self.settings.issuer:
                log.error("the provider has another issuer", issuer=str(metadata.get("issuer"))[:200])
                raise ProviderUnavailable
            self._metadata, self._metadata_at = metadata, self._clock()
        return self._metadata

    async def _read(self, url: str) -> dict[str, Any]:
        response = await self._request("GET", url, {"Accept": "application/json"})
        if response.status_code != 200:
            log.warning("the provider does not serve a document", url=url, status=response.status_code)
            raise ProviderUnavailable
        return _object(response)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> httpx.Response:
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

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject = claims["sub"]
        # OpenID Connect Core §2, "sub".
        if not (subject.isascii() and subject.isprintable() and 0 < len(subject.strip()) <= len(subject) <= 255):
            log.warning("the provider names a subject that is not up to 255 visible ASCII characters")
            raise Unauthorized("unknown_token")
        try:
            issued_at = datetime.fromtimestamp(int(claims["iat"]), UTC)
        except (ValueError, OverflowError, OSError):
            log.warning("the provider names a time of issue that is none")
            raise Unauthorized("unknown_token") from None
        names = (_line(claims.get(name)) for name in ("name", "preferred_username"))
        return Identity(
            issuer=self.settings.issuer,
            subject=subject,
            name=next(filter(None, names), None),
            is_person=claims["sub"] != claims.get("client_id"),
            values=frozenset(value for path in self.settings.claims for value in _values(claims, path)),
            issued_at=issued_at,
        )


@asynccontextmanager
async def provider(settings: OidcSettings) -> AsyncIterator[Provider]:
    """Connect to a provider; nothing is read from it yet."""
    async with httpx.AsyncClient(timeout=REQUEST_SECONDS, follow_redirects=False) as client:
        made = Provider(settings, client)
        try:
            yield made
        finally:
            await made.close()


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
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


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        raise ProviderUnavailable
    return document


def _line(value: Any) -> str | None:
    """A text as one line of visible characters; None for anything else."""
    if not isinstance(value, str):
        return None
    return " ".join("".join(letter if letter.isprintable() else " " for letter in value).split()) or None


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    """The values of a claim: a list of texts, or a text with spaces between them, as `scope` has it."""
    value = claims.get(path)
    if value is None and "." in path:
        value = claims
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
