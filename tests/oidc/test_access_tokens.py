"""Access tokens of the OpenID provider at the API: real ones, and every kind that must be refused."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from registry.append.identities import principal_id
from registry.errors import ProviderUnavailable
from registry.infra import oidc
from registry.infra.oidc import VERIFIED_SECONDS, Provider
from registry.infra.oidc_documents import DOCUMENT_SECONDS, UNKNOWN_KEY_SECONDS
from registry.infra.oidc_setting import OidcSettings
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.oidc.conftest import AUDIENCE, RIGHTS, Federated, free_port, new_keys, running_provider
from tests.service import NO_TLS, running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status_of(federated: Federated, slug: str, token: str) -> int:
    visitor = federated.service.visitor
    answer = await visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=bearer(token))
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer.status_code


def claims(federated: Federated, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {
        "iss": federated.provider.issuer,
        "sub": "forged",
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 300,
        "client_id": "crawler",
        "groups": ["editors"],
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def private_key(federated: Federated, kind: str = "RSA") -> Any:
    [key] = [key for key in federated.provider.keys if key["kty"] == kind]
    return key


def signed(federated: Federated, payload: dict[str, Any], **headers: Any) -> str:
    """A token signed with the provider's own key: a test of what is checked beside the signature."""
    key = private_key(federated)
    made = {"kid": key["kid"], "typ": "at+jwt", **headers}
    return jwt.encode(payload, jwt.PyJWK.from_dict(key).key, algorithm="RS256", headers=made)


async def test_client_records_with_a_token_of_the_provider(federated: Federated, slug: str) -> None:
    token = await federated.provider.client_token()
    visitor = federated.service.visitor
    answer = await visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=bearer(token))
    assert answer.status_code == 201, answer.text
    id = principal_id(federated.provider.issuer, "crawler")
    [event] = (await visitor.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert event["recorded_by"] == id
    known = (await federated.service.client.get(f"/v1/principals/{id}")).json()
    assert (known["kind"], known["scopes"]) == ("system", ["record"])
    # Its claims give no right to correct.
    refused = await visitor.post(f"/v1/principals/{id}/events", json={}, headers=bearer(token))
    assert refused.status_code == 403


async def test_token_signed_as_the_provider_signs_is_accepted(federated: Federated, slug: str) -> None:
    """The control: what the refused tokens below are changed from."""
    assert await status_of(federated, slug, signed(federated, claims(federated, sub="control"))) == 201
    named = signed(federated, claims(federated, sub="control", aud=["https://other.example", AUDIENCE]), typ="JWT")
    assert await status_of(federated, f"{slug}-again", named) == 201
    # An end that is no float.
    assert (
        await status_of(federated, f"{slug}-late", signed(federated, claims(federated, sub="control", exp=10**400)))
        == 201
    )


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"iss": "https://another.example"}, {}),
        ({"iss": None}, {}),
        ({"aud": "registry"}, {}),  # An ID token's audience.
        ({"aud": "https://other.example"}, {}),
        ({"aud": None}, {}),
        ({"exp": 1_700_000_000}, {}),
        ({"exp": None}, {}),
        ({"iat": 4_000_000_000}, {}),
        ({"iat": None}, {}),
        # JSON of Python reads and writes numbers that no time is.
        ({"exp": float("inf")}, {}),
        ({"iat": float("-inf")}, {}),
        ({"iat": -(10**18)}, {}),
        ({"nbf": float("nan")}, {}),
        ({"nbf": 4_000_000_000}, {}),
        ({"sub": None}, {}),
        ({"sub": "line\nbreak"}, {}),
        ({"sub": "x" * 300}, {}),
        ({"sub": ["list"]}, {}),
        ({}, {"typ": "logout+jwt"}),
        ({}, {"typ": "dpop+jwt"}),
        ({}, {"kid": "another"}),
        ({}, {"crit": ["exp"]}),
        ({"groups": ["unknown"]}, {}),
        ({"groups": {"editors": True}}, {}),
    ],
)
async def test_token_with_a_wrong_claim_is_refused(
    federated: Federated, slug: str, changes: dict[str, Any], headers: dict[str, Any]
) -> None:
    size = await federated.service.size()
    assert await status_of(federated, slug, signed(federated, claims(federated, **changes), **headers)) == 401
    assert await federated.service.size() == size


def base64url(part: bytes | dict[str, Any]) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(federated: Federated) -> str:
    return f"{base64url({'alg': 'none', 'typ': 'at+jwt'})}.{base64url(claims(federated))}."


def signed_with_the_public_key(federated: Federated) -> str:
    """HMAC with the public key as its secret, which everyone can read (algorithm confusion)."""
    key = private_key(federated)
    public = jwt.PyJWK.from_dict({name: key[name] for name in ("kty", "n", "e")}).key
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = base64url({"alg": "HS256", "kid": key["kid"], "typ": "at+jwt"})
    message = f"{head}.{base64url(claims(federated))}"
    return f"{message}.{base64url(hmac.digest(pem, message.encode(), 'sha256'))}"


def signed_by_another(federated: Federated) -> str:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kid = private_key(federated)["kid"]
    return jwt.encode(claims(federated), other, algorithm="RS256", headers={"kid": kid, "typ": "at+jwt"})


def signed_with_an_embedded_key(federated: Federated) -> str:
    """The header brings its own key (`jwk`), and the address of others (`jku`)."""
    [other, _] = new_keys()
    public = {name: other[name] for name in ("kty", "n", "e", "kid")}
    headers = {"kid": other["kid"], "typ": "at+jwt", "jwk": public, "jku": "http://127.0.0.1:9/keys"}
    return jwt.encode(claims(federated), jwt.PyJWK.from_dict(other).key, algorithm="RS256", headers=headers)


def with_another_algorithm(federated: Federated) -> str:
    """The key is for RS256; a token with PS256 is refused although its signature is right."""
    key = private_key(federated)
    headers = {"kid": key["kid"], "typ": "at+jwt"}
    return jwt.encode(claims(federated), jwt.PyJWK.from_dict(key).key, algorithm="PS256", headers=headers)


def tampered(federated: Federated) -> str:
    head, _, signature = signed(federated, claims(federated)).split(".")
    return f"{head}.{base64url(claims(federated, groups=['board']))}.{signature}"


def nested(federated: Federated) -> str:
    return "eyJ" + "." * 2 + "A" * 20_000


def with_certificates_of_its_own(federated: Federated) -> str:
    """The header names certificates that the service must not read (`x5u`), and brings one (`x5c`)."""
    headers = {"typ": "at+jwt", "x5u": "http://127.0.0.1:9/key.pem", "x5c": ["MIIB"]}
    return jwt.encode(claims(federated), jwt.PyJWK.from_dict(new_keys()[0]).key, algorithm="RS256", headers=headers)


def with_repeated_claims(federated: Federated) -> str:
    """A signed token whose payload is replaced by one that also has the signed claims."""
    head, payload, signature = signed(federated, claims(federated)).split(".")
    own = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    both = own.removesuffix(b"}") + b', "groups": ["board"]}'
    return f"{head}.{base64url(both)}.{signature}"


def headed(head: bytes) -> Callable[[Federated], str]:
    return lambda federated: f"{base64url(head)}.{base64url(claims(federated))}.AAAA"


HEADS = [
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b"[" * 10_000,
    b'{"alg": ["RS256"], "typ": "at+jwt"}',
    b'{"alg": "RS256", "typ": {"at": "jwt"}}',
    b'{"alg": "RS256", "typ": "at+jwt", "kid": "\\ud800"}',
    b'{"alg": "RS256", "typ": "at+jwt", "kid": 1e999}',
    b'{"alg": "RS256", "typ": "at+jwt", "kid": null, "b64": false}',
    b'{"alg": "RS256", "typ": "at+jwt", "n": ' + b"9" * 9_000 + b"}",
    b"\xff\xfe",
]


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with_the_public_key,
        signed_by_another,
        signed_with_an_embedded_key,
        with_another_algorithm,
        tampered,
        nested,
        with_certificates_of_its_own,
        with_repeated_claims,
        *map(headed, HEADS),
    ],
)
async def test_forged_token_is_refused(federated: Federated, slug: str, forge: Callable[[Federated], str]) -> None:
    size = await federated.service.size()
    assert await status_of(federated, slug, forge(federated)) == 401
    assert await federated.service.size() == size


async def test_token_for_another_audience_is_refused(federated: Federated, slug: str) -> None:
    token = await federated.provider.client_token(audience="https://other.example/api")
    assert await status_of(federated, slug, token) == 401


async def test_old_token_gives_no_right_back(federated: Federated, slug: str) -> None:
    """A token that was issued before rights were taken back can still narrow them, never widen them."""
    now = int(time.time())
    old = signed(federated, claims(federated, sub="leaver-token", iat=now - 100, groups=["editors", "board"]))
    assert await status_of(federated, slug, old) == 201
    id = principal_id(federated.provider.issuer, "leaver-token")
    fewer = {"event": {"type": "scopes_changed", "scopes": ["propose"]}}
    assert (await federated.service.client.post(f"/v1/principals/{id}/events", json=fewer)).status_code == 201
    size = await federated.service.size()
    assert await status_of(federated, f"{slug}-again", old) == 403
    assert await federated.service.size() == size
    assert await status_of(federated, slug, old.replace("eyJ", "eyK", 1)) == 401


async def test_older_token_with_fewer_groups_has_fewer_rights(federated: Federated, slug: str) -> None:
    now = int(time.time())
    assert await status_of(federated, slug, signed(federated, claims(federated, sub="narrow"))) == 201
    narrow = signed(federated, claims(federated, sub="narrow", iat=now - 100, groups=["board"]))
    size = await federated.service.size()
    assert await status_of(federated, f"{slug}-again", narrow) == 401
    assert await federated.service.size() == size


async def test_requests_at_once_register_a_principal_once(federated: Federated, slug: str) -> None:
    token = signed(federated, claims(federated, sub="busy"))
    statuses = await asyncio.gather(*(status_of(federated, f"{slug}-{n}", token) for n in range(12)))
    assert statuses == [201] * 12
    id = principal_id(federated.provider.issuer, "busy")
    events = (await federated.service.client.get(f"/v1/principals/{id}/events")).json()["events"]
    assert [event["event"]["type"] for event in events] == ["principal_registered", "scopes_changed"]


async def test_api_without_an_audience_takes_no_token(federated: Federated, slug: str) -> None:
    token = await federated.provider.client_token()
    async with running(replace(federated.service.settings, oidc_audience=None)) as closed:
        answer = await closed.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_token_cannot_be_checked_while_the_provider_is_away(federated: Federated, slug: str) -> None:
    token = await federated.provider.client_token()
    async with running(replace(federated.service.settings, oidc_issuer="http://127.0.0.1:9")) as alone:
        answer = await alone.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
        assert answer.headers["retry-after"]
        # Reading is public: it needs no token to be checked.
        assert (await alone.visitor.get("/v1/deals", headers=bearer(token))).status_code == 200


class Clock:
    """Seconds that a test moves forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def silent_server(port: int, part: bytes = b"", seconds: float = 0) -> AsyncIterator[None]:
    """A server that answers nothing, or the same bytes again and again."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" if part else b"")
        while True:
            await asyncio.sleep(seconds or PATIENCE)
            writer.write(part)

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def test_provider_that_answers_byte_by_byte_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "REQUEST_SECONDS", 0.3)
    port = free_port()
    async with httpx.AsyncClient(verify=NO_TLS) as client, silent_server(port, b" ", 0.02), asyncio.timeout(PATIENCE):
        provider = Provider(OidcSettings(issuer=f"http://127.0.0.1:{port}", client_id="registry"), client)
        with pytest.raises(ProviderUnavailable):
            await provider.check()


async def test_keys_of_the_provider_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token under a new key makes the keys be read again; one under a removed key is refused after that."""
    port, clock = free_port(), Clock()
    monkeypatch.setattr(oidc, "REQUEST_SECONDS", 10 * PATIENCE)
    settings = OidcSettings(issuer=f"http://127.0.0.1:{port}", client_id="registry", rights=RIGHTS, audience=AUDIENCE)
    callback = "http://127.0.0.1:9/sign-in/callback"
    async with httpx.AsyncClient(verify=NO_TLS, timeout=None) as client:
        provider = Provider(settings, client, clock)
        with running_provider(port, callback, new_keys()) as there:
            first, second, third = [await there.client_token() for _ in range(3)]
            identity = await provider.verify(first)
            assert identity is not None
            assert identity.values == {"crawlers"}
        # While the provider is away or does not answer, the keys that were read go on counting.
        clock.now += DOCUMENT_SECONDS + 1
        assert await provider.verify(second) is not None
        async with silent_server(port), asyncio.timeout(PATIENCE):
            clock.now += VERIFIED_SECONDS + 1
            assert await provider.verify(second) is not None
            await provider.close()
        with running_provider(port, callback, new_keys()) as there:
            clock.now += UNKNOWN_KEY_SECONDS + 1
            # No token waits for the keys in vain because another one has asked for them.
            tokens = [await there.client_token() for _ in range(3)]
            assert None not in await asyncio.gather(*map(provider.verify, tokens))
            assert await provider.verify(third) is None
            # A token that was verified is checked again after a while.
            clock.now += VERIFIED_SECONDS + 1
            assert await provider.verify(first) is None


async def test_forged_key_ids_do_not_make_the_service_ask_the_provider_each_time(federated: Federated) -> None:
    clock, asked = Clock(), []

    async def count(request: httpx.Request) -> None:
        asked.append(request.url.path)

    settings = replace(OidcSettings(issuer=federated.provider.issuer, client_id="registry"), audience=AUDIENCE)
    async with httpx.AsyncClient(verify=NO_TLS, event_hooks={"request": [count]}) as client:
        provider = Provider(settings, client, clock)
        for n in range(50):
            assert await provider.verify(signed(federated, claims(federated), kid=f"forged-{n}")) is None
        assert len(asked) == 2
        clock.now += UNKNOWN_KEY_SECONDS + 1
        assert await provider.verify(signed(federated, claims(federated), kid="forged")) is None
        assert len(asked) == 3
