"""A proxy at another address, in a network namespace of its own: its headers count only where it is trusted.

`make drills` runs it as root, with caddy or haproxy, curl and iproute2. A visitor reaches the service through the proxy
or directly, and sends forged headers in both ways.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from tests.cli.test_service import Running, started
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.missing import NO_NETWORK
from tests.service import ADMIN_KEY, cloned

pytestmark = pytest.mark.drill

NETWORK = f"10.231.{os.getpid() % 200}"
SERVICE, PROXY, STRANGER = f"{NETWORK}.1", f"{NETWORK}.2", f"{NETWORK}.3"
VISITORS = [f"{NETWORK}.{n}" for n in range(10, 30)]
NAMESPACE, LINK = f"rgp{os.getpid()}", f"rgp{os.getpid()}"
HTTP, HTTPS = 8080, 8443
FORGED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}

CADDY = """{
	admin off
	auto_https off
}
https://PROXY:8443 {
	tls CERTIFICATE CERTIFICATE
	reverse_proxy SERVICE
}
http://PROXY:8080 {
	reverse_proxy SERVICE
}
"""

HAPROXY = """defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	option forwardfor
frontend tls
	bind PROXY:8443 ssl crt CERTIFICATE
	http-request set-header X-Forwarded-Proto https
	default_backend registry
frontend plain
	bind PROXY:8080
	http-request set-header X-Forwarded-Proto http
	default_backend registry
backend registry
	server registry SERVICE
"""


def program(name: str) -> str:
    """The path of a program. Skips the test without it."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(NO_NETWORK)
    return path


def ip(*words: str) -> None:
    subprocess.run([program("ip"), *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """A namespace that only a pair of interfaces connects with this one."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip(NO_NETWORK)
    try:
        ip("netns", "add", NAMESPACE)
        ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        ip("addr", "add", f"{SERVICE}/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        for address in (PROXY, STRANGER, *VISITORS):
            ip("-n", NAMESPACE, "addr", "add", f"{address}/24", "dev", "eth0")
        for name in ("eth0", "lo"):
            ip("-n", NAMESPACE, "link", "set", name, "up")
        yield
    finally:
        # The namespace's interface ends with it, and with that its peer.
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", NAMESPACE)


class Services(Struct):
    """One service that trusts the proxy, and one that trusts another address."""

    trusting: Running
    other: Running


@pytest_asyncio.fixture(scope="module")
async def services(network: None, server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Services]:
    async with cloned(server, admin, "proxied") as settings:
        environment = {
            "REGISTRY_DATABASE_URL": settings.database_url or "",
            "REGISTRY_OWNER_URL": settings.owner_url or "",
            "REGISTRY_DATA_DIR": str(settings.data_dir),
            "REGISTRY_ADMIN_KEY": ADMIN_KEY,
            "REGISTRY_HOST": SERVICE,
            "REGISTRY_PORT": "0",
            "REGISTRY_RATE_LIMITS": "address=4/h",
        }
        with (
            started("serve", **environment, REGISTRY_TRUSTED_PROXIES=f"127.0.0.1 {PROXY}") as trusting,
            started("serve", **environment, REGISTRY_TRUSTED_PROXIES=f"127.0.0.1 {STRANGER}") as other,
        ):
            trusting.url()
            other.url()
            yield Services(trusting, other)


@contextmanager
def proxy(name: str, service: Running, folder: Path) -> Iterator[None]:
    """Run a proxy of the service in the namespace."""
    certificate, config = folder / "certificate.pem", folder / f"{name}.cfg"
    certificate.write_bytes(self_signed())
    words = {"PROXY": PROXY, "CERTIFICATE": str(certificate), "SERVICE": urlsplit(service.url()).netloc}
    text = {"caddy": CADDY, "haproxy": HAPROXY}[name]
    for word, value in words.items():
        text = text.replace(word, value)
    config.write_text(text)
    command = {
        "caddy": ["run", "--adapter", "caddyfile", "--config", str(config)],
        "haproxy": ["-db", "-f", str(config)],
    }[name]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (
        (folder / "proxy.log").open("wb") as log,
        subprocess.Popen(
            [program("ip"), "netns", "exec", NAMESPACE, program(name), *command],
            stdout=log,
            stderr=log,
            env=environment,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while subprocess.run(curl(VISITORS[-1], HTTP, "/health/live"), capture_output=True, check=False).returncode:
                assert process.poll() is None, (folder / "proxy.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def self_signed() -> bytes:
    """A private key and its certificate."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, PROXY)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(PROXY))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1), [])
    certificate = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM)


def curl(visitor: str, at: int | str, path: str, *more: str) -> list[str]:
    """The command of a request with forged headers by a visitor, to a port of the proxy or to the service itself."""
    base = at if isinstance(at, str) else f"{'https' if at == HTTPS else 'http'}://{PROXY}:{at}"
    headers = [word for name, value in FORGED.items() for word in ("-H", f"{name}: {value}")]
    command = [program("curl"), "--silent", "--fail-with-body", "--insecure", "--include", "--noproxy", "*"]
    inside = [program("ip"), "netns", "exec", NAMESPACE]
    return [*inside, *command, "--interface", visitor, *headers, *more, f"{base}{path}"]


def answer(visitor: str, at: int | str, path: str, *more: str) -> tuple[int, dict[str, str]]:
    """The status and the header fields of an answer."""
    done = subprocess.run(curl(visitor, at, path, *more), capture_output=True, check=False)
    head, *fields = done.stdout.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    named = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return int(head.split()[1]), named


def logged(service: Running, path: str) -> str:
    """The address in the access log of the request for a path."""
    service.wait_for(f'"path":"{path}"')
    entries = [json.loads(line) for line in service.err if line.startswith("{")]
    return str(next(entry["address"] for entry in entries if entry.get("path") == path))


def sign_in(visitor: str, at: int | str) -> str:
    """The cookie of a new session."""
    status, fields = answer(visitor, at, "/sign-in", "--data", f"key={ADMIN_KEY}", "--data", "then=/")
    assert status == 303
    return fields["set-cookie"]


@pytest.mark.parametrize("name", ["caddy", "haproxy"])
def test_headers_of_a_proxy_count_where_it_is_trusted(services: Services, tmp_path: Path, name: str) -> None:
    one, other, third = VISITORS[:3] if name == "caddy" else VISITORS[3:6]
    with proxy(name, services.trusting, tmp_path):
        status, fields = answer(one, HTTPS, f"/v1/deals/tls-{name}")
        assert (status, "strict-transport-security" in fields) == (404, True)
        assert logged(services.trusting, f"/v1/deals/tls-{name}") == one
        _, fields = answer(one, HTTP, f"/v1/deals/plain-{name}")
        assert "strict-transport-security" not in fields
        assert logged(services.trusting, f"/v1/deals/plain-{name}") == one
        statuses = [answer(one, HTTPS, "/v1/deals")[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert answer(other, HTTPS, "/v1/deals")[0] == 200
        secure = sign_in(third, HTTPS)
        assert secure.startswith("__Host-")
        assert "; Secure" in secure
        assert "; Secure" not in sign_in(third, HTTP)


@pytest.mark.parametrize("name", ["caddy", "haproxy"])
def test_headers_of_another_proxy_do_not_count(services: Services, tmp_path: Path, name: str) -> None:
    with proxy(name, services.other, tmp_path):
        _, fields = answer(VISITORS[7], HTTPS, f"/v1/deals/untrusted-{name}")
        assert "strict-transport-security" not in fields
        assert logged(services.other, f"/v1/deals/untrusted-{name}") == PROXY
        statuses = {answer(visitor, HTTPS, "/v1/deals")[0] for visitor in VISITORS[7:14]}
        assert 429 in statuses


def test_visitor_without_a_proxy_is_known_by_its_own_address(services: Services) -> None:
    for service, visitor in ((services.trusting, VISITORS[15]), (services.other, VISITORS[16])):
        _, fields = answer(visitor, service.url(), "/v1/deals/direct")
        assert "strict-transport-security" not in fields
        assert logged(service, "/v1/deals/direct") == visitor
        assert "; Secure" not in sign_in(visitor, service.url())
        statuses = [answer(visitor, service.url(), "/v1/deals")[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
