"""Talk to an OpenID provider: start a sign-in, redeem its code, verify the access tokens that the provider issues.

The checks are those of OpenID Connect Core 1.0 §3.1.3.7 (ID tokens), RFC 9068 §4 (access tokens), RFC 9207 (the issuer
in the answer) and RFC 8725 (JWT best practice): one issuer, one audience, asymmetric signatures only, and each key with
its own algorithm. What an identity may do is not decided here (`append/identities.py`). `oidc_documents.py` reads the
provider's metadata and keys.
"""

from __future__ import annotations

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
import structlog
from msgspec import Struct

from registry.errors import Unauthorized
from registry.infra.oidc_documents import ALGORITHMS, REQUEST_SECONDS, ProviderDocuments, endpoint_of, object_of
from registry.infra.oidc_setting import OidcSettings

log = structlog.get_logger(__name__)

ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt", "jwt", "")
"""Values of `typ`. RFC 9068 demands the first, but Keycloak and Entra send `JWT`; the audience keeps ID tokens out."""

# Seconds that a verified access token counts without another look at the provider's keys.
VERIFIED_SECONDS = 300.0
MAX_VERIFIED = 10_000

LEEWAY_SECONDS = 30
MAX_TOKEN_LENGTH = 16_384


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
    """One OpenID provider.

    Args:
        settings: The provider.
        client: Sends the requests to it.
        clock: Seconds that never decrease.
    """

    def __init__(
        self, settings: OidcSettings, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._documents = ProviderDocuments(settings.issuer, client, clock)
        # Verified access tokens by their digest, with the time until which they count.
        self._verified: dict[bytes, tuple[Identity, float]] = {}

    async def check(self) -> None:
        """Read the provider's metadata and keys.

        Raises:
            ProviderUnavailable: It does not answer as a provider does.
        """
        await self._documents.read_keys()

    async def close(self) -> None:
        """End the read of the keys, if one goes on."""
        await self._documents.close()

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def authorization_url(self, attempt: SignInAttempt, redirect_uri: str, language: str | None = None) -> str:
        """Where the browser goes to sign in (authorization code with PKCE, RFC 7636), in the reader's language.

        Raises:
            ProviderUnavailable: The provider does not answer.
        """
        metadata = await self._documents.metadata()
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
        endpoint = endpoint_of(metadata, "authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def redeem(self, attempt: SignInAttempt, answer: Mapping[str, str], redirect_uri: str) -> SignedIn:
        """Exchange the code of the provider's answer for the identity of who signed in.

        Raises:
            Unauthorized: The answer belongs to no attempt, the provider refuses the code, or its token is not valid.
            ProviderUnavailable: The provider does not answer.
        """
        metadata = await self._documents.metadata()
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
        metadata = await self._documents.metadata()
        if "end_session_endpoint" not in metadata:
            return None
        query = {"client_id": self.settings.client_id, "post_logout_redirect_uri": then}
        if id_token:
            query["id_token_hint"] = id_token
        if language is not None:
            query |= {"ui_locales": language, "state": language}
        endpoint = endpoint_of(metadata, "end_session_endpoint")
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
        response = await self._documents.request("POST", endpoint_of(metadata, "token_endpoint"), headers, form)
        if response.status_code != 200:
            error = object_of(response).get("error", response.status_code)
            log.warning("the provider refused a code", error=str(error)[:100])
            raise Unauthorized("sign_in_refused")
        return object_of(response)

    async def _read_user_info(
        self, metadata: Mapping[str, Any], tokens: Mapping[str, Any], subject: str
    ) -> dict[str, Any]:
        """The claims that the provider gives only at its UserInfo endpoint; none if it has no such endpoint."""
        token = tokens.get("access_token")
        if "userinfo_endpoint" not in metadata or not isinstance(token, str):
            return {}
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        response = await self._documents.request("GET", endpoint_of(metadata, "userinfo_endpoint"), headers)
        info = object_of(response) if response.status_code == 200 else {}
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

    # --- tokens -------------------------------------------------------------------------------------------------------

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
            key = await self._documents.key(header)
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
