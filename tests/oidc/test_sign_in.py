"""Signing in at an OpenID provider: sessions, principals and rights as events, and answers that do not belong here."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from registry.app import create_app
from registry.append.identities import principal_id
from registry.errors import BadSetting
from tests.api.announcements import registered
from tests.oidc.conftest import Federated, query_of
from tests.service import NO_TLS, running


async def is_signed_in(browser: httpx.AsyncClient) -> bool:
    return (await browser.get("/sessions")).status_code == 200


async def principal(federated: Federated, login: str) -> dict[str, Any]:
    answer = await federated.service.client.get(f"/v1/principals/{principal_id(federated.provider.issuer, login)}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def history(federated: Federated, login: str) -> list[dict[str, Any]]:
    id = principal_id(federated.provider.issuer, login)
    answer = await federated.service.client.get(f"/v1/principals/{id}/events")
    events: list[dict[str, Any]] = [event["event"] for event in answer.json()["events"]]
    return events


async def test_person_signs_in_and_records_under_a_principal_of_the_log(federated: Federated, slug: str) -> None:
    async with federated.browser() as browser:
        assert "Example ID" in (await browser.get("/sign-in")).text
        answer = await federated.sign_in(browser, "ada", then="/log")
        assert answer.status_code == 200
        assert 'content="0;url=/log"' in answer.text
        page = (await browser.get("/sessions")).text
        assert "Ada 김" in page
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert token is not None
    known = await principal(federated, "ada")
    assert (known["name"], known["kind"], known["subject"]) == ("Ada 김", "person", "ada")
    assert known["scopes"] == ["propose", "record"]
    assert [event["type"] for event in await history(federated, "ada")][:2] == [
        "principal_registered",
        "scopes_changed",
    ]


async def test_sign_in_page_speaks_both_languages(federated: Federated) -> None:
    async with federated.browser("ko") as browser:
        assert "Example ID 계정으로 로그인" in (await browser.get("/sign-in")).text
        refused = await browser.get("/sign-in/callback?state=x&code=y")
        assert "다시 시작하세요" in refused.text


async def test_second_sign_in_with_the_same_rights_records_nothing(federated: Federated) -> None:
    async with federated.browser() as browser, federated.browser() as again:
        await federated.sign_in(browser, "grace")
        size = await federated.service.size()
        await federated.sign_in(again, "grace")
        assert await is_signed_in(again)
        assert await federated.service.size() == size


async def test_change_of_groups_is_an_event_at_the_next_sign_in(federated: Federated) -> None:
    login = "mover"
    await federated.provider.set_accounts(mover={"name": "Mover", "groups": ["editors"]})
    async with federated.browser() as browser, federated.browser() as again:
        await federated.sign_in(browser, login)
        await federated.provider.set_accounts(mover={"name": "Moved", "groups": ["board"]})
        await federated.sign_in(again, login)
        assert (await principal(federated, login))["scopes"] == ["correct", "redact"]
        types = [event["type"] for event in await history(federated, login)]
        assert types == ["principal_registered", "scopes_changed", "scopes_changed", "principal_renamed"]


async def test_sign_in_without_rights_takes_back_those_of_the_last_one(federated: Federated) -> None:
    login = "leaver"
    await federated.provider.set_accounts(leaver={"name": "Leaver", "groups": ["editors"]})
    async with federated.browser() as browser, federated.browser() as again:
        await federated.sign_in(browser, login)
        assert await is_signed_in(browser)
        await federated.provider.set_accounts(leaver={"name": "Leaver", "groups": []})
        assert (await federated.sign_in(again, login)).status_code == 401
        assert (await principal(federated, login))["scopes"] == []
        assert not await is_signed_in(browser)
        assert not await is_signed_in(again)


async def test_account_without_rights_is_not_registered(federated: Federated) -> None:
    size = await federated.service.size()
    async with federated.browser() as browser:
        answer = await federated.sign_in(browser, "visitor")
        assert answer.status_code == 401
        assert not await is_signed_in(browser)
    assert await federated.service.size() == size


async def test_limits_that_an_administrator_set_stay_when_groups_change(federated: Federated) -> None:
    login = "limited"
    await federated.provider.set_accounts(limited={"name": "Limited", "groups": ["editors"]})
    async with federated.browser() as browser, federated.browser() as again:
        await federated.sign_in(browser, login)
        id = principal_id(federated.provider.issuer, login)
        limits = {"event": {"type": "scopes_changed", "scopes": ["record"], "deals": ["one"]}}
        assert (await federated.service.client.post(f"/v1/principals/{id}/events", json=limits)).status_code == 201
        await federated.sign_in(again, login)
        known = await principal(federated, login)
        assert (known["scopes"], known["deals"]) == (["propose", "record"], ["one"])


async def test_rights_taken_back_in_the_log_end_the_session_at_once(federated: Federated) -> None:
    login = "blocked"
    await federated.provider.set_accounts(blocked={"name": "Blocked", "groups": ["editors"]})
    async with federated.browser() as browser:
        await federated.sign_in(browser, login)
        id = principal_id(federated.provider.issuer, login)
        none = {"event": {"type": "scopes_changed", "scopes": []}}
        assert (await federated.service.client.post(f"/v1/principals/{id}/events", json=none)).status_code == 201
        assert not await is_signed_in(browser)


# --- answers that do not belong here ----------------------------------------------------------------------------------


async def test_answer_without_an_attempt_in_this_browser_is_refused(federated: Federated) -> None:
    """A link with the attacker's own code signs nobody in (login CSRF)."""
    async with federated.browser() as attacker, federated.browser() as victim:
        start = await attacker.get("/sign-in/provider")
        link = await federated.answer_of(attacker, start.headers["location"], "ada")
        assert (await victim.get(link)).status_code == 400
        assert not await is_signed_in(victim)
        # With an attempt of the victim's own, the state does not fit.
        await victim.get("/sign-in/provider")
        assert (await victim.get(link)).status_code == 400
        assert not await is_signed_in(victim)


async def test_answer_works_once(federated: Federated) -> None:
    async with federated.browser() as browser, federated.browser() as thief:
        start = await browser.get("/sign-in/provider")
        thief.cookies.update(browser.cookies)
        link = await federated.answer_of(browser, start.headers["location"], "ada")
        assert (await browser.get(link)).status_code == 200
        # Even with the stolen cookie of the attempt: the provider takes a code once.
        assert (await thief.get(link)).status_code == 401
        assert not await is_signed_in(thief)


async def test_code_of_another_attempt_is_refused(federated: Federated) -> None:
    """A code that was caught elsewhere lacks this attempt's PKCE verifier and nonce."""
    async with federated.browser() as one, federated.browser() as other:
        first = await one.get("/sign-in/provider")
        caught = query_of(await federated.answer_of(one, first.headers["location"], "ada"))["code"]
        second = await other.get("/sign-in/provider")
        state = query_of(second.headers["location"])["state"]
        answer = await other.get(
            "/sign-in/callback", params={"code": caught, "state": state, "iss": federated.provider.issuer}
        )
        assert answer.status_code == 401
        assert not await is_signed_in(other)


@pytest.mark.parametrize("change", [{"iss": "https://another.example"}, {"iss": None}, {"code": None}])
async def test_answer_of_another_provider_or_without_a_code_is_refused(
    federated: Federated, change: dict[str, str | None]
) -> None:
    async with federated.browser() as browser:
        start = await browser.get("/sign-in/provider")
        query = query_of(await federated.answer_of(browser, start.headers["location"], "ada"))
        changed = {name: value for name, value in {**query, **change}.items() if value is not None}
        assert (await browser.get("/sign-in/callback", params=changed)).status_code == 401
        assert not await is_signed_in(browser)


async def test_attempt_that_this_service_did_not_make_is_refused(federated: Federated) -> None:
    async with federated.browser() as browser:
        for forged in ("x", "x" * 5000, "gAAAAABo"):
            browser.cookies.set("registry_sign_in", forged, path="/sign-in")
            assert (await browser.get("/sign-in/callback?state=x&code=y")).status_code == 400


@pytest.mark.parametrize("then", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_sign_in_leads_to_this_site_only(federated: Federated, then: str) -> None:
    async with federated.browser() as browser:
        answer = await federated.sign_in(browser, "ada", then=then)
        assert 'content="0;url=/"' in answer.text
        assert "evil" not in answer.text


async def test_request_to_the_provider_has_pkce_state_and_nonce(federated: Federated) -> None:
    async with federated.browser() as browser:
        asked = [query_of((await browser.get("/sign-in/provider")).headers["location"]) for _ in range(2)]
    for query in asked:
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["redirect_uri"] == f"{federated.service.url}/sign-in/callback"
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name]) >= 43


async def test_cookies_are_closed_to_scripts_and_other_sites(federated: Federated) -> None:
    async with federated.browser() as browser:
        start = await browser.get("/sign-in/provider")
        assert "HttpOnly" in start.headers["set-cookie"]
        assert "SameSite=lax" in start.headers["set-cookie"]
        answer = await federated.sign_in(browser, "ada")
        [session] = [line for line in answer.headers.get_list("set-cookie") if line.startswith("registry_session=")]
        assert "HttpOnly" in session
        assert "SameSite=Strict" in session
        assert answer.headers["cache-control"] == "no-store"


async def test_site_beside_this_one_plants_no_attempt(federated: Federated) -> None:
    over_tls = {"X-Forwarded-Proto": "https"}
    async with federated.browser() as browser:
        cookie = (await browser.get("/sign-in/provider", headers=over_tls)).headers["set-cookie"]
        name, _, value = cookie.partition(";")[0].partition("=")
        # What browsers demand of this prefix, so that no other host can set it (RFC 6265bis §4.1.3.2).
        assert name.startswith("__Host-")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"path=/", "secure"} <= attributes
        assert not any(attribute.startswith("domain") for attribute in attributes)
        # An attempt that this service has made, under the name that any host of the domain can set.
        planted = {**over_tls, "Cookie": f"registry_sign_in={value}"}
        answer = await browser.get("/sign-in/callback?state=x&code=y", headers=planted)
        assert answer.status_code == 400


async def test_service_without_a_provider_offers_none(federated: Federated) -> None:
    settings = replace(federated.service.settings, oidc_issuer=None)
    async with running(settings) as plain, httpx.AsyncClient(base_url=plain.url, verify=NO_TLS) as browser:
        assert (await browser.get("/sign-in/provider")).status_code == 404
        assert (await browser.get("/sign-in/callback?state=x&code=y")).status_code == 404
        assert "Example ID" not in (await browser.get("/sign-in")).text


async def test_right_that_does_not_exist_stops_the_start(federated: Federated) -> None:
    with pytest.raises(BadSetting, match="OIDC_RIGHTS"):
        create_app(replace(federated.service.settings, oidc_rights={"editors": ("write",)}))


async def test_provider_that_does_not_answer_is_unavailable_and_keys_go_on_working(
    federated: Federated, slug: str
) -> None:
    settings = replace(federated.service.settings, oidc_issuer="http://127.0.0.1:9")
    async with running(settings) as alone, httpx.AsyncClient(base_url=alone.url, verify=NO_TLS) as browser:
        answer = await browser.get("/sign-in/provider")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert (await alone.client.post(f"/v1/deals/{slug}/events", json=registered())).status_code == 201


async def test_provider_with_another_issuer_is_not_trusted(federated: Federated) -> None:
    """The same server under another name: its discovery document does not belong to the configured issuer."""
    issuer = federated.provider.issuer.replace("127.0.0.1", "localhost")
    settings = replace(federated.service.settings, oidc_issuer=issuer)
    async with running(settings) as other, httpx.AsyncClient(base_url=other.url, verify=NO_TLS) as browser:
        assert (await browser.get("/sign-in/provider")).status_code == 503
