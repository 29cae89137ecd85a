"""An OpenID provider that publishes one key, and the tokens that it or a forger signs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from msgspec import Struct

AUDIENCE = "https://registry.example/api"


class Issuer(Struct, frozen=True):
    """The provider's address, and its private key."""

    url: str
    key: rsa.RSAPrivateKey

    def token(self, subject: str, *groups: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A signed access token; `changes` are other values of claims."""
        claims = {**self._claims(subject, groups), **changes}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "1", "typ": "at+jwt", **(headers or {})})

    def refused(self, *groups: str) -> dict[str, str]:
        """Tokens that give no right, each with the reason."""
        now = int(time.time())
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        claims = self._claims("forger", groups)
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        unsigned = f"{_part({'alg': 'none', 'typ': 'at+jwt'})}.{_part(claims)}."
        confused = f"{_part({'alg': 'HS256', 'kid': '1', 'typ': 'at+jwt'})}.{_part(claims)}"
        return {
            "expired": self.token("forger", *groups, iat=now - 600, exp=now - 300),
            "not yet valid": self.token("forger", *groups, nbf=now + 3_600),
            "for another audience": self.token("forger", *groups, aud="https://other.example"),
            "of another issuer": self.token("forger", *groups, iss="https://other.example"),
            "of an unknown key": self.token("forger", *groups, headers={"kid": "2"}),
            "with a critical header": self.token("forger", *groups, headers={"crit": ["exp"]}),
            "with an ID token's type": self.token("forger", *groups, headers={"typ": "id_token"}),
            "over the longest": self.token("forger", *groups, padding="x" * 20_000),
            "signed by another": jwt.encode(claims, other, algorithm="RS256", headers={"kid": "1", "typ": "at+jwt"}),
            "unsigned": unsigned,
            "signed with the public key": f"{confused}.{_base64(hmac.digest(public, confused.encode(), 'sha256'))}",
        }

    def _claims(self, subject: str, groups: tuple[str, ...]) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.url,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 3_600,
            "client_id": "client",
            "groups": list(groups),
        }


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(content: dict[str, Any]) -> str:
    return _base64(json.dumps(content).encode())


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """Run a provider: its metadata and its keys."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "1", "alg": "RS256", "use": "sig"}
    public.pop("key_ops", None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        document = {"keys": [public]} if b" /keys " in head else metadata
        body = json.dumps(document).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        metadata = {"issuer": url, "jwks_uri": f"{url}/keys", "authorization_endpoint": f"{url}/authorize"}
        yield Issuer(url, key)
