"""Signing out ends the session at the OpenID provider too (RP-Initiated Logout)."""

from __future__ import annotations

import re
from html import unescape

import httpx
from msgspec.structs import replace

from registry.web.sign_in.provider_session import COOKIE
from tests.oidc.conftest import Federated, query_of
from tests.service import ADMIN_KEY, running


async def sign_out(browser: httpx.AsyncClient) -> httpx.Response:
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await browser.get("/sessions")).text)
    assert token is not None
    return await browser.post("/sign-out", data={"csrf": token[1]})


def provider_url(answer: httpx.Response) -> str:
    """Where the page that says so leads to."""
    found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


async def is_asked_to_sign_in(browser: httpx.AsyncClient, federated: Federated) -> bool:
    """Whether the provider asks for a password again; with a session there, it sends the browser straight back."""
    address = (await browser.get("/sign-in/provider")).headers["location"]
    while not address.startswith(federated.service.url):
        answer = await browser.get(httpx.URL(federated.provider.issuer).join(address))
        if answer.status_code == 200:
            return 'value="login"' in answer.text
        address = answer.headers["location"]
    return False


async def test_signing_out_ends_the_session_at_the_provider(federated: Federated) -> None:
    async with federated.browser() as browser:
        await federated.sign_in(browser, "ada")
        assert not await is_asked_to_sign_in(browser, federated)
        await federated.sign_in(browser, "ada")
        answer = await sign_out(browser)
        assert answer.status_code == 200
        assert "Example ID" in answer.text
        assert (await browser.get("/sessions")).status_code != 200
        # The provider knows whose session it is, asks once, and sends the browser back.
        asked = await browser.get(provider_url(answer))
        assert asked.status_code == 200, asked.text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text)) | {"logout": "yes"}
        action = re.search(r'action="([^"]+)"', asked.text)
        assert action is not None
        done = await browser.post(httpx.URL(federated.provider.issuer).join(action[1]), data=fields)
        assert (done.status_code, done.headers["location"]) == (303, f"{federated.service.url}/")
        assert await is_asked_to_sign_in(browser, federated)


async def test_language_is_kept_through_signing_in_and_out(federated: Federated) -> None:
    """The provider returns to registered addresses only: the language is not part of them."""
    async with federated.browser() as browser:
        answer = await federated.sign_in(browser, "ada", then="/watches?lang=ko")
        assert '<html lang="ko">' in answer.text
        assert 'content="0;url=/watches?lang=ko"' in answer.text
        page = await browser.get("/watches?lang=ko")
        [action] = re.findall(r'<form method="post" action="(/sign-out[^"]*)"', page.text)
        [token] = re.findall(r'action="/sign-out.*?name="csrf" value="([0-9a-f]{64})"', page.text)
        answer = await browser.post(action, data={"csrf": token})
        assert '<html lang="ko">' in answer.text
        asked = await browser.get(provider_url(answer))
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text)) | {"logout": "yes"}
        [action] = re.findall(r'action="([^"]+)"', asked.text)
        done = await browser.post(httpx.URL(federated.provider.issuer).join(action), data=fields)
        page = await browser.get(done.headers["location"], follow_redirects=True)
        assert page.url == f"{federated.service.url}/?lang=ko"
        # Whatever comes as the state, the overview is shown.
        assert (await browser.get("/?state=other", follow_redirects=True)).url == f"{federated.service.url}/"


async def test_language_is_kept_when_a_sign_in_is_refused(federated: Federated) -> None:
    async with federated.browser() as browser:
        start = await browser.get("/sign-in/provider", params={"then": "/watches?lang=ko"})
        assert query_of(start.headers["location"])["ui_locales"] == "ko"
        refused = await browser.get("/sign-in/callback?state=x&code=y")
        assert '<html lang="ko">' in refused.text


async def test_token_of_the_sign_in_is_readable_by_this_service_only(federated: Federated) -> None:
    async with federated.browser() as browser:
        signed_in = await federated.sign_in(browser, "ada")
        [cookie] = [one for one in signed_in.headers.get_list("set-cookie") if one.startswith(COOKIE)]
        assert "eyJ" not in cookie
        assert {"HttpOnly", "Path=/sign-out", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
        hint = query_of(provider_url(await sign_out(browser)))
        assert hint["client_id"] == "registry"
        assert hint["id_token_hint"].startswith("eyJ")
        # It is gone with the session.
        assert COOKIE not in browser.cookies


async def test_other_sign_outs_do_not_lead_to_the_provider(federated: Federated) -> None:
    async with federated.browser() as browser:
        # Signed in with a key, with the cookie of another person's sign-in at the provider.
        await federated.sign_in(browser, "ada")
        await browser.post("/sign-in", data={"key": ADMIN_KEY})
        answer = await sign_out(browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    async with federated.browser() as browser:
        await federated.sign_in(browser, "ada")
        browser.cookies.set(COOKIE, "forged", domain="127.0.0.1", path="/sign-out")
        answer = await sign_out(browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_sign_out_succeeds_while_the_provider_is_away(federated: Federated) -> None:
    settings = federated.service.settings
    async with federated.browser() as browser:
        await federated.sign_in(browser, "ada")
        async with running(replace(settings, oidc_issuer="http://127.0.0.1:9")) as alone:
            for cookie in browser.cookies.jar:
                cookie.domain = "127.0.0.1"
            browser.base_url = httpx.URL(alone.url)
            answer = await sign_out(browser)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert (await browser.get("/sessions")).status_code != 200
