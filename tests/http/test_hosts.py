"""Under which names the service answers: no page of another site reads it under a name of its own (DNS rebinding)."""

from __future__ import annotations

import httpx
import pytest

from registry.http.hosts import HostNames
from registry.infra.settings import Settings

LOOPBACK, ANYWHERE = "127.0.0.1", "0.0.0.0"


@pytest.mark.parametrize("path", ["/v1/deals", "/", "/metrics", "/no/such/path", "/health/ready"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_service_on_a_loopback_address_refuses_other_names(
    visitor: httpx.AsyncClient, path: str, host: str
) -> None:
    answer = await visitor.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "REGISTRY_ALLOWED_HOSTS" in answer.json()["detail"]


async def test_page_says_which_setting_allows_a_name(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/", headers={"Host": "evil.example", "Accept": "text/html"})
    assert answer.status_code == 400
    assert "REGISTRY_ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize(
    ("listens_on", "site", "allowed", "host", "accepted"),
    [
        (LOOPBACK, None, "", "localhost:8000", True),
        (LOOPBACK, None, "", "a.localhost", True),
        (LOOPBACK, None, "", "192.0.2.1:80", True),
        (LOOPBACK, None, "", "[2001:db8::1]:80", True),
        (LOOPBACK, None, "", "registry.example", False),
        ("localhost", None, "", "registry.example", False),
        ("LOCALHOST", None, "", "registry.example", False),
        ("::1", None, "", "registry.example", False),
        (LOOPBACK, "https://Registry.example/", "", "registry.EXAMPLE.:443", True),
        (LOOPBACK, "https://registry.example", "", "other.example", False),
        (LOOPBACK, None, "a.example Registry.example", "registry.example", True),
        (LOOPBACK, None, "a.example", "b.a.example", False),
        (LOOPBACK, None, "*", "registry.example", True),
        (ANYWHERE, None, "", "registry.example", True),
        (ANYWHERE, None, "registry.example", "registry.example", True),
        (ANYWHERE, None, "registry.example", "evil.example", False),
        (ANYWHERE, None, "registry.example", "10.0.0.7:8000", True),
    ],
)
def test_names(listens_on: str, site: str | None, allowed: str, host: str, accepted: bool) -> None:
    given = {"REGISTRY_HOST": listens_on, "REGISTRY_SITE": site or "", "REGISTRY_ALLOWED_HOSTS": allowed}
    settings = Settings.read(given)
    names = HostNames(settings.host, settings.site, settings.allowed_hosts)
    assert names.accepts(host.encode()) is accepted
