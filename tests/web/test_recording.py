"""Recording by form, without scripts: sign-in, previews, submission, correction, voiding and redaction."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from tests.api.announcements import pledged, registered
from tests.service import ADMIN_KEY, Service
from tests.web.forms import fields, of_first, opened_article, press

NAMED = {"event/name": "A Firm", "event/language": "en", "event/kind": "legal", "effective_on": "2025-01-01"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


def hidden(html: str) -> dict[str, str]:
    """The hidden fields of the page's last form."""
    main = html[html.index("<main") : html.index("</main>")]
    form = main[main.rindex("<form") :]
    return {unescape(name): unescape(value) for name, value in HIDDEN.findall(form)}


def as_typed(html: str) -> dict[str, str]:
    """The values of the form's fields and choices."""
    fields = re.findall(r'<input id="f-[^"]*" name="([^"]*)" type="[^"]*" value="([^"]*)"', html)
    for name, options in re.findall(r'<select id="f-[^"]*" name="([^"]*)"[^>]*>(.*?)</select>', html):
        fields += [(name, value) for value in re.findall(r'<option value="([^"]*)" selected', options)]
    return {unescape(name): unescape(value) for name, value in fields}


async def opened(editor: httpx.AsyncClient, path: str) -> dict[str, str]:
    page = await editor.get(path)
    assert page.status_code == 200, page.text
    return hidden(page.text)


async def record(editor: httpx.AsyncClient, path: str, typed: dict[str, str]) -> str:
    """Preview and submit a form; returns the address that follows."""
    preview = await editor.post(path.partition("?")[0], data={**await opened(editor, path), **typed, "step": "preview"})
    assert preview.status_code == 200, preview.text
    done = await editor.post(path.partition("?")[0], data={**hidden(preview.text), "step": "record"})
    assert done.status_code == 303, done.text
    return done.headers["location"]


async def test_session_cookie_is_unavailable_to_scripts_and_other_sites(reader: httpx.AsyncClient) -> None:
    answer = await reader.post("/sign-in", data={"key": ADMIN_KEY, "then": "/record"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/record")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    out = await reader.get("/record")
    token = hidden_of_sign_out(out.text)
    gone = await reader.post("/sign-out", data={"csrf": token})
    assert "Max-Age=0" in gone.headers["set-cookie"]


async def test_session_cookie_is_secure_behind_a_tls_proxy(reader: httpx.AsyncClient) -> None:
    for scheme, secure in (("https", True), ("http", False)):
        answer = await reader.post("/sign-in", data={"key": ADMIN_KEY}, headers={"X-Forwarded-Proto": scheme})
        assert answer.headers["set-cookie"].endswith("; Secure") is secure


def hidden_of_sign_out(html: str) -> str:
    found = re.search(r'action="/sign-out"><input type="hidden" name="csrf" value="([0-9a-f]{64})"', html)
    assert found is not None
    return found[1]


async def test_invalid_key_is_refused_and_sets_no_cookie(reader: httpx.AsyncClient) -> None:
    answer = await reader.post("/sign-in", data={"key": "nonsense", "then": "/record"})
    assert answer.status_code == 401
    assert "Invalid or revoked API key" in answer.text
    assert "set-cookie" not in answer.headers
    assert "nonsense" not in answer.text


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_sign_in_redirects_within_the_site_only(reader: httpx.AsyncClient, target: str) -> None:
    answer = await reader.post("/sign-in", data={"key": ADMIN_KEY, "then": target})
    assert answer.headers["location"] == "/"


async def test_form_without_a_session_redirects_to_sign_in(reader: httpx.AsyncClient) -> None:
    for path in ("/record", "/organizations/sk-group/record?type=organization_named"):
        answer = await reader.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?then=")
    refused = await reader.post("/record", data={"deals/0/deal": "sk-aws-ulsan", "step": "record"})
    assert refused.status_code == 401
    assert "Your input is not lost" in refused.text


async def test_form_of_another_site_or_session_is_refused(editor: httpx.AsyncClient, pages: Service) -> None:
    path = "/organizations/sk-group/record"
    size = await pages.size()
    fields = await opened(editor, f"{path}?type=organization_named")
    typed = {**fields, **NAMED, "step": "record"}
    for forged, headers in (
        ({**typed, "csrf": "0" * 64}, {}),
        ({**typed, "csrf": ""}, {}),
        ({**typed, "csrf": "위조"}, {}),
        (typed, {"Origin": "https://evil.example"}),
        (typed, {"Sec-Fetch-Site": "cross-site"}),
        (typed, {"Origin": "null"}),
    ):
        answer = await editor.post(path, data=forged, headers=headers)
        assert answer.status_code == 403, answer.text
        assert "This form was not accepted" in answer.text
    assert await pages.size() == size


@pytest.mark.parametrize(
    ("proxy", "scheme", "status"),
    [
        # An attacker between the browser and the service can write a page without TLS.
        ("https", "http", 403),
        ("https", "https", 303),
        ("http", "http", 303),
        # A proxy that ends TLS may not say so.
        (None, "https", 303),
        (None, "ftp", 403),
    ],
)
async def test_page_without_tls_is_another_site_for_one_with_tls(
    reader: httpx.AsyncClient, proxy: str | None, scheme: str, status: int
) -> None:
    headers = {"Origin": f"{scheme}://{reader.base_url.netloc.decode()}"}
    if proxy is not None:
        headers["X-Forwarded-Proto"] = proxy
    answer = await reader.post("/sign-in", data={"key": ADMIN_KEY, "then": "/"}, headers=headers)
    assert answer.status_code == status


async def test_form_needs_the_scope_of_its_event(pages: Service, reader: httpx.AsyncClient) -> None:
    token = (await pages.key("record"))["Authorization"].removeprefix("Bearer ")
    await reader.post("/sign-in", data={"key": token, "then": "/"})
    made = await pages.client.post("/v1/deals/scoped/events", json=registered("Scoped"))
    event = made.json()["events"][0]["id"]
    fields = await opened(reader, f"/deals/scoped/record?corrects={event}")
    typed = {**fields, "event/title/en": "Corrected", "reason": "because", "step": "record"}
    refused = await reader.post("/deals/scoped/record", data=typed)
    assert refused.status_code == 403
    assert "correct" in refused.text


async def test_preview_records_nothing_and_resubmission_records_once(editor: httpx.AsyncClient, pages: Service) -> None:
    size = await pages.size()
    path = "/organizations/once/record"
    fields = {**await opened(editor, path), "event/name/ko": "한 번만", "effective_on": "2025-01-01"}
    preview = await editor.post(path, data={**fields, "step": "preview"})
    assert "Organization registered: 한 번만" in preview.text
    assert await pages.size() == size
    again = await editor.post(path, data={**hidden(preview.text), "step": "edit"})
    assert 'value="한 번만"' in again.text
    for _ in range(2):
        done = await editor.post(path, data={**hidden(preview.text), "step": "record"})
        assert done.status_code == 303, done.text
    assert await pages.size() == size + 1


async def test_form_of_an_outdated_version_is_shown_again(editor: httpx.AsyncClient) -> None:
    path = "/organizations/overtaken/record"
    await record(editor, path, {"event/name/en": "Overtaken"})
    fields = await opened(editor, f"{path}?type=organization_named")
    await record(editor, f"{path}?type=organization_named", NAMED)
    late = {**fields, **NAMED, "event/name": "Overtaken Ltd", "step": "record"}
    answer = await editor.post(path, data=late)
    assert answer.status_code == 412
    assert hidden(answer.text)["version"] == "2"
    assert "Read it again" in answer.text


async def test_factor_of_ten_error_is_flagged_in_the_preview(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=[registered("Slipped"), pledged()])
    page = await opened_article(editor, deal=slug, type="pledge_revised")
    typed = of_first(pledge="total", amount="500억 달러") | {"effective_on": "2025-12-01"}
    preview = await press(editor, page, "Preview changes", **typed)
    assert "Possible factor-of-ten error" in preview.text
    assert "US$5bn" in preview.text
    assert "US$50bn" in preview.text


async def test_likely_duplicate_is_shown_with_the_earlier_event(editor: httpx.AsyncClient, pages: Service) -> None:
    audit = (await pages.client.get("/v1/deals/sk-aws-ulsan/events")).json()["events"]
    before = next(e for e in audit if e["type"] == "pledge_announced" and e["event"]["pledge"] == "aws-share")
    typed = {
        **of_first(pledge="aws-share-again", amount="US$4bn", amount_basis="additional", by="amazon-web-services"),
        "effective_on": before["effective_on"],
        "sources/0/publisher": "The Korea Herald",
        "sources/0/url": before["sources"][0]["url"],
        "sources/0/published_on": before["sources"][0]["published_on"],
    }
    page = await opened_article(editor, deal="sk-aws-ulsan", type="pledge_announced")
    preview = (await press(editor, page, "Preview changes", **typed)).text
    flags = preview[preview.index('class="flags"') : preview.index("</section>", preview.index('class="flags"'))]
    assert "Possible duplicate announcement" in flags
    assert f'href="/events/{before["id"]}"' in flags
    # The previewed event has no page yet.
    assert f"/events/{fields(page.text)['deals/0/announcements/0/id']}" not in flags
    # The source of the value is shown beside it.
    assert "The Korea Herald" in preview[preview.index('class="facts') : preview.index('class="flags"')]


async def test_event_is_corrected_with_a_reason_from_the_page_of_its_deal(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    made = await pages.client.post(f"/v1/deals/{slug}/events", json=[registered("Corrected"), pledged()])
    event = made.json()["events"][1]["id"]
    way = f"/deals/{slug}/record?corrects={event}"
    assert f'href="{way}"' in (await editor.get(f"/deals/{slug}")).text
    form = as_typed((await editor.get(way)).text)
    await record(editor, way, {**form, "event/amount": "US$7bn", "reason": "A digit was misread."})
    [pledge] = (await editor.get(f"/v1/deals/{slug}")).json()["pledges"]
    assert pledge["amount"]["value"] == "7000000000"


async def test_correction_names_organizations_and_items_instead_of_ids(editor: httpx.AsyncClient) -> None:
    events = (await editor.get("/v1/deals/sk-aws-ulsan/events")).json()["events"]
    announced, revised, claim = (
        next(e for e in events if e["type"] == type)["id"]
        for type in ("pledge_announced", "pledge_revised", "claim_reported")
    )
    way = "/deals/sk-aws-ulsan/record?corrects="
    form = (await editor.get(way + announced)).text
    typed = {**fields(form), **as_typed(form)}
    assert typed["event/by"] == "SK Group, Amazon Web Services"
    # The names are read back as the same organizations.
    same = await editor.post("/deals/sk-aws-ulsan/record", data={**typed, "reason": "None.", "step": "preview"})
    assert "The correction changes nothing." in same.text
    # Korean forms have Korean amounts, which are read back as well.
    form = (await editor.get(f"{way}{announced}&lang=ko")).text
    typed = {**fields(form), **as_typed(form)}
    assert (typed["event/amount"], typed["event/by"]) == ("51억 달러", "SK그룹, 아마존웹서비스")
    same = await editor.post("/deals/sk-aws-ulsan/record", data={**typed, "reason": "없음", "step": "preview"})
    assert "The correction changes nothing." in same.text
    page = (await editor.get(way + revised)).text
    assert re.search(r'<option value="total" selected>Pledge of SK Group and Amazon Web Services\u00a0· ₩7tn<', page)
    page = (await editor.get(way + claim)).text
    assert re.search(
        r'<option value="/pledges/total/amount"[^>]*>Pledge of SK Group and Amazon Web Services\u00a0· Amount<', page
    )


async def test_form_of_a_deal_adds_no_events(editor: httpx.AsyncClient, pages: Service) -> None:
    """The form of an article does; the deal's page opens it for the deal."""
    page = (await editor.get("/deals/sk-aws-ulsan?lang=ko")).text
    [way] = re.findall(r'href="(/record\?[^"]*)"', page[page.index("<main") :])
    assert fields((await editor.get(unescape(way))).text)["deals/0/deal"] == "sk-aws-ulsan"
    path, size = "/deals/sk-aws-ulsan/record", await pages.size()
    assert (await editor.get(f"{path}?type=stage_changed")).status_code == 404
    event = (await editor.get("/v1/deals/sk-aws-ulsan/events")).json()["events"][1]["id"]
    token = (await opened(editor, f"{path}?voids={event}"))["csrf"]
    typed = {"csrf": token, "type": "stage_changed", "event/stage": "operating", "effective_on": "2026-01-01"}
    assert (await editor.post(path, data={**typed, "step": "record"})).status_code == 404
    assert await pages.size() == size


async def test_event_that_later_ones_depend_on_is_not_voided_and_they_are_named(
    editor: httpx.AsyncClient, pages: Service
) -> None:
    revised = {"type": "pledge_revised", "pledge": "total", "amount": {"value": "6000000000", "currency": "USD"}}
    events = [registered("Stranded"), pledged(), {"effective_on": "2025-07-01", "event": revised}]
    made = (await pages.client.post("/v1/deals/stranded/events", json=events)).json()["events"]
    way = f"/deals/stranded/record?voids={made[1]['id']}"
    typed = {**await opened(editor, way), "reason": "It was another deal.", "step": "preview"}
    refused = await editor.post("/deals/stranded/record", data=typed)
    assert refused.status_code == 409
    [named] = re.findall(rf'<a href="/events/{made[2]["id"]}[^"]*">([^<]*)</a>: ([^<]*)<', refused.text)
    assert named[0] == "Pledge revised"
    assert "US$6bn" in named[1]
    assert "pledge-unknown" not in refused.text


async def test_event_is_voided_with_a_reason(editor: httpx.AsyncClient, pages: Service) -> None:
    stage = {"effective_on": "2025-01-01", "event": {"type": "stage_changed", "stage": "operating"}}
    made = await pages.client.post("/v1/deals/voided/events", json=[registered("Voided"), stage])
    event = made.json()["events"][1]["id"]
    await record(editor, f"/deals/voided/record?voids={event}", {"reason": "It was another deal."})
    state = (await editor.get("/v1/deals/voided")).json()
    assert state["stage"] is None
    page = (await editor.get(f"/events/{event}")).text
    assert "This event was voided:" in page
    assert "It was another deal." in page


async def test_error_in_the_reason_is_shown_at_its_field(editor: httpx.AsyncClient) -> None:
    event = (await editor.get("/v1/deals/sk-aws-ulsan/events")).json()["events"][1]["id"]
    for way in ("corrects", "voids", "redacts"):
        fields = await opened(editor, f"/deals/sk-aws-ulsan/record?{way}={event}")
        page = await editor.get(f"/deals/sk-aws-ulsan/record?{way}={event}")
        typed = {**as_typed(page.text), **fields, "reason": "x" * 4001, "step": "preview"}
        answer = await editor.post("/deals/sk-aws-ulsan/record", data=typed)
        assert answer.status_code == 422, answer.text
        assert re.findall(r'id="f-([a-z0-9-]+)-fault"', answer.text) == ["reason"]


async def test_organization_is_registered_by_form(editor: httpx.AsyncClient) -> None:
    path = "/organizations/a-new-firm/record"
    await record(editor, path, {"event/name/ko": "새 회사", "event/name/en": "A New Firm", "event/country": "KR"})
    await record(editor, f"{path}?type=organization_named", {**NAMED, "event/name": "New Firm Inc."})
    page = (await editor.get("/organizations/a-new-firm")).text
    assert "New Firm Inc." in page
    assert "새 회사" in page


def announced(tag: str, **event: str) -> dict[str, str]:
    """The fields of the form of an article with one announcement about a deal."""
    return {"deals/0/deal": "sk-aws-ulsan", "deals/0/announcements/0/type": tag, **of_first(**event)}


async def test_invalid_form_is_answered_with_its_errors(editor: httpx.AsyncClient, pages: Service) -> None:
    size = await pages.size()
    named = "/organizations/sk-group/record"
    token = (await opened(editor, f"{named}?type=organization_named"))["csrf"]
    for path, typed, status in (
        (named, {"type": "nonsense"}, 422),
        (named, {"type": "event_redacted"}, 422),
        (named, {"type": "organization_named"}, 422),
        (named, {"type": "organization_named", **NAMED, "event/name": "\u0000"}, 422),
        (named, {"type": "organization_named", **NAMED, "effective_on": "0000-01-01"}, 422),
        (named, {"type": "organization_named", **NAMED, "event/kind": "secret"}, 422),
        (named, {"corrects": "nothing"}, 404),
        ("/deals/sk-aws-ulsan/record", {"voids": "01977609-0000-7000-8000-000000000000"}, 404),
        ("/record", announced("nonsense"), 422),
        ("/record", announced("event_redacted"), 422),
        ("/record", announced("pledge_announced"), 422),
        ("/record", announced("pledge_announced", pledge="\u0000"), 422),
        ("/record", announced("pledge_announced", pledge="p") | {"effective_on": "0000-01-01"}, 422),
        ("/record", announced("parties_joined", **{"parties/x/organization": "a"}), 422),
        ("/record", announced("stage_changed", stage="dreaming") | {"effective_on": "2025-01-01"}, 422),
    ):
        answer = await editor.post(path, data={"csrf": token, **typed, "step": "record"})
        assert answer.status_code == status, (typed, answer.status_code)
        assert "<h1>" in answer.text
    json_body = await editor.post("/record", json={"csrf": token})
    assert json_body.status_code == 415
    large = await editor.post(named, data={"csrf": token, "note": "x" * 300_000})
    assert large.status_code == 413
    assert await pages.size() == size


async def test_amount_field_shows_how_its_text_is_parsed(reader: httpx.AsyncClient) -> None:
    read = await reader.get("/record/amount", params={"event/amount": "약 2조4천억 원"})
    assert "about ₩2,400,000,000,000" in read.text
    unread = await reader.get("/record/amount", params={"event/amount": "<b>a lot</b>"})
    assert "cannot be read" in unread.text
    assert "<b>" not in unread.text


"""What the vocabulary has: the type of the form, what is typed, and what the deal then has where."""
