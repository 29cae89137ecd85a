"""An OpenID provider, which runs in Node, and a service whose people sign in there."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from msgspec import Struct
from msgspec.structs import replace

from tests.conftest import PATIENCE
from tests.databases import Server
from tests.missing import NO_PROVIDER
from tests.service import NO_TLS, Service, cloned, numbers, running

HERE = Path(__file__).parent

CLIENT_SECRET = "a secret with signs: %+&=/"
AUDIENCE = "https://registry.example/api"

ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": {"name": "Ada 김", "groups": ["editors"]},
    "grace": {"name": "Grace", "groups": ["editors", "board"]},
    "visitor": {"name": "Visitor", "groups": ["canteen"]},
    "crawler": {"groups": ["crawlers"]},
}
RIGHTS = {"editors": ("propose", "record"), "board": ("correct", "redact"), "crawlers": ("record",)}


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_keys() -> list[dict[str, Any]]:
    """Private keys to sign ID tokens (RSA) and access tokens (EC), as JSON Web Keys."""
    made = [
        RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True),
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True),
    ]
    for key in made:
        # It says that the key only signs, but the provider also verifies its ID tokens, which come back at a sign-out.
        key.pop("key_ops", None)
    return [
        {**key, "alg": algorithm, "use": "sig", "kid": secrets.token_hex(4)}
        for key, algorithm in zip(made, ("RS256", "ES256"), strict=True)
    ]


class RunningProvider(Struct):
    """A provider that runs, and the private keys that it signs with."""

    issuer: str
    keys: list[dict[str, Any]]

    async def set_accounts(self, **changes: dict[str, Any]) -> None:
        """Change what the provider says about accounts."""
        async with httpx.AsyncClient(base_url=self.issuer, verify=NO_TLS) as client:
            answer = await client.put("/test/accounts", json=ACCOUNTS | changes)
            assert answer.status_code == 204

    async def client_token(self, audience: str = AUDIENCE) -> str:
        """An access token of the client `crawler`, which it gets for itself."""
        async with httpx.AsyncClient(base_url=self.issuer, verify=NO_TLS) as client:
            answer = await client.post(
                "/token",
                data={"grant_type": "client_credentials", "resource": audience, "scope": "api"},
                auth=("crawler", "secret%20of%20the%20crawler"),
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@contextmanager
def running_provider(port: int, redirect_uri: str, keys: list[dict[str, Any]]) -> Iterator[RunningProvider]:
    """Run a provider."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules/oidc-provider").is_dir():
        pytest.skip(NO_PROVIDER)
    configuration = {"port": port, "keys": keys, "accounts": ACCOUNTS, "redirectUri": redirect_uri}
    with subprocess.Popen(
        [node, str(HERE / "provider.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(configuration) + "\n")
        process.stdin.flush()
        issuer = process.stdout.readline().strip()
        assert issuer == f"http://127.0.0.1:{port}"
        try:
            yield RunningProvider(issuer, keys)
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


class Federated(Struct):
    """A service with a provider."""

    service: Service
    provider: RunningProvider

    @asynccontextmanager
    async def browser(self, language: str = "en") -> AsyncIterator[httpx.AsyncClient]:
        """A browser without scripts."""
        headers = {"Accept-Language": language}
        async with httpx.AsyncClient(verify=NO_TLS, timeout=PATIENCE, headers=headers) as client:
            client.base_url = httpx.URL(self.service.url)
            yield client

    async def sign_in(self, browser: httpx.AsyncClient, login: str, then: str = "/") -> httpx.Response:
        """Sign in as an account, up to the registry's answer."""
        start = await browser.get("/sign-in/provider", params={"then": then})
        assert start.status_code == 303, start.text
        return await browser.get(await self.answer_of(browser, start.headers["location"], login))

    async def answer_of(self, browser: httpx.AsyncClient, address: str, login: str) -> str:
        """Sign in at the provider; return the address to which it sends the browser back."""
        for _ in range(12):
            if address.startswith(self.service.url):
                return address
            answer = await browser.get(httpx.URL(self.provider.issuer).join(address))
            if answer.status_code == 200:
                # A page of the provider with one form: to sign in, or to consent.
                place = answer.url
                prompt = "login" if 'value="login"' in answer.text else "consent"
                answer = await browser.post(place, data={"prompt": prompt, "login": login, "password": "any"})
            assert answer.status_code in (302, 303), answer.text
            address = answer.headers["location"]
        raise AssertionError("the provider goes round in circles")


def query_of(address: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(address).query))


@pytest_asyncio.fixture(scope="session")
async def federated(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Federated]:
    """A service whose people sign in at a provider."""
    provider_port, port = free_port(), free_port()
    with running_provider(provider_port, f"http://127.0.0.1:{port}/sign-in/callback", new_keys()) as provider:
        async with cloned(server, admin, "oidc") as settings:
            settings = replace(
                settings,
                oidc_issuer=provider.issuer,
                oidc_client_id="registry",
                oidc_client_secret=CLIENT_SECRET,
                oidc_rights=RIGHTS,
                oidc_audience=AUDIENCE,
                oidc_name="Example ID",
            )
            async with running(settings, port=port) as service:
                yield Federated(service, provider)


@pytest_asyncio.fixture(autouse=True)
async def accounts(request: pytest.FixtureRequest) -> None:
    """Give each test the accounts as they were."""
    if "federated" in request.fixturenames:
        await request.getfixturevalue("federated").provider.set_accounts()
        await asyncio.sleep(0)


@pytest.fixture
def slug() -> str:
    """The slug of a new deal."""
    return f"deal-{next(numbers)}"
