"""The form of an article without scripts: one source, several deals, names, new records, preview, undo, proposals."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.api.announcements import pledged, registered
from tests.service import Service
from tests.web.forms import fields, of_first, opened_article, press
from tests.web.html import text_of
from tests.web.test_sessions import visit

SOURCE = {
    "effective_on": "2025-10-29",
    "sources/0/publisher": "A paper",
    "sources/0/url": "https://paper.example/one",
    "sources/0/published_on": "2025-10-29",
}

ARTICLE = """AWS will invest $5 billion in Ulsan by 2031.

Corning will invest about $500 million in a plant in Asan. The plant will create 300 jobs.
"""


def faults(page: str) -> dict[str, str]:
    """What is wrong with each field, by the id of the field."""
    return dict(re.findall(r'<p class="fault" id="f-([^"]*)-fault">([^<]*)</p>', page))


async def test_one_form_records_announcements_about_several_deals(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    other = f"{slug}-other"
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered(f"Plant of {slug}"))
    await pages.client.post(f"/v1/deals/{other}/events", json=registered(f"Port of {other}"))
    page = await opened_article(editor, deal=slug, type="pledge_announced")
    page = await press(editor, page, "Add this announcement", **{"deals/0/add": "stage_changed"})
    page = await press(editor, page, "Add another deal")
    typed = {
        **SOURCE,
        "deals/0/announcements/0/event/pledge": "total",
        "deals/0/announcements/0/event/amount": "약 2조4천억 원",
        "deals/0/announcements/1/event/stage": "signed",
        # The second deal by its name.
        "deals/1/deal": f"port of {other}",
        "deals/1/add": "stage_changed",
    }
    page = await editor.post("/record", data={**fields(page.text), **typed, "add": "1"})
    size = await pages.size()
    preview = await press(editor, page, "Preview changes", **{"deals/1/announcements/0/event/stage": "construction"})
    assert preview.status_code == 200, preview.text
    assert "about ₩2,400,000,000,000" in preview.text
    assert await pages.size() == size
    done = await press(editor, preview, "Record")
    assert done.status_code == 303, done.text
    # Sent twice, it is recorded once.
    again = await press(editor, preview, "Record")
    assert again.headers["location"] == done.headers["location"]
    assert await pages.size() == size + 3
    for deal, stages in ((slug, "signed"), (other, "construction")):
        state = (await pages.client.get(f"/v1/deals/{deal}?effective_on=2025-10-30")).json()
        assert state["stage"]["value"] == stages
        assert state["sources"][-1]["publisher"] == "A paper"


async def test_deal_without_announcements_is_an_error_at_the_deal(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered(f"Plant of {slug}"))
    page = await opened_article(editor, deal=slug)
    refused = await press(editor, page, "Preview changes", **SOURCE)
    assert refused.status_code == 422
    place, needed = refused.text.index("Add this announcement"), f"Plant of {slug} has no announcement yet"
    assert refused.text.index(needed) > place
    assert "One thing needs your attention." in refused.text


async def test_form_proposes_ids_that_the_deal_does_not_have(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged(pledge="pledge-2")])
    page = await opened_article(editor, deal=slug, type="pledge_announced")
    page = await press(editor, page, "Add this announcement", **{"deals/0/add": "pledge_announced"})
    page = await press(editor, page, "Add this announcement", **{"deals/0/add": "site_announced"})
    ids = [text for name, text in fields(page.text).items() if name.endswith(("/pledge", "/site"))]
    assert ids == ["pledge-3", "pledge-4", "site-1"]


async def test_preview_names_a_new_pledge_as_the_deal_will(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered(f"Plant of {slug}"))
    page = await opened_article(editor, deal=slug, type="pledge_announced")
    assert "Pledge id" in text_of(page.text)
    typed = {**SOURCE, **of_first(pledge="phase-2", amount="$5bn", by="SK Group")}
    preview = await press(editor, page, "Preview changes", **typed)
    assert preview.status_code == 200, preview.text
    assert "Pledge of SK Group" in text_of(preview.text)
    assert "phase" not in text_of(preview.text)


async def test_name_that_is_not_clear_is_an_error_at_its_field_with_what_it_may_mean(
    editor: httpx.AsyncClient,
) -> None:
    page = await opened_article(editor, deal="Ulsan", type="pledge_announced")
    typed = {
        **SOURCE,
        "deals/0/announcements/0/event/pledge": "more",
        "deals/0/announcements/0/event/amount": "50억 달러",
        "deals/0/announcements/0/event/by": "SK Group, Amazon Web",
    }
    refused = await press(editor, page, "Preview changes", **typed)
    assert refused.status_code == 422
    # The summary at the top leads to each field, which says what is wrong with it.
    summary = refused.text[refused.text.index('<ul class="faults">') :].partition("</ul>")[0]
    linked = re.findall(r'href="#f-([^"]*)"', summary)
    assert set(linked) == set(faults(refused.text))
    assert all(f'id="f-{id}"' in refused.text for id in linked)
    wrong = faults(refused.text)
    assert set(wrong) == {"deals-0-deal", "deals-0-announcements-0-event-by"}
    assert "Ulsan" in wrong["deals-0-deal"]
    assert all(f">{text}</a>" in summary for text in wrong.values())
    # All that was typed is still there, and the buttons put a name in its place.
    assert {name: fields(refused.text)[name] for name in typed} == typed
    page = await press(editor, refused, "amazon-web-services")
    assert fields(page.text)["deals/0/announcements/0/event/by"] == "SK Group, amazon-web-services"
    refused = await press(editor, page, "Preview changes")
    page = await press(editor, refused, "sk-aws-ulsan")
    assert fields(page.text)["deals/0/deal"] == "sk-aws-ulsan"
    preview = await press(editor, page, "Preview changes")
    assert preview.status_code == 200, preview.text


async def test_deal_and_organization_are_created_in_place_with_proposed_slugs(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    title, name = f"나주 {slug} 센터", f"Firma {slug}"
    page = await opened_article(editor, deal=title, type="pledge_announced")
    typed = {**SOURCE, "deals/0/announcements/0/event/pledge": "total", "deals/0/announcements/0/event/by": name}
    refused = await press(editor, page, "Preview changes", **typed)
    # Each name that is not known is one thing.
    assert "2 things need your attention." in refused.text
    page = await press(editor, refused, "It is a new deal")
    sent = fields(page.text)
    # The new organization has a row with its name and a slug; the deal has a title and a slug.
    assert sent["organizations/0/slug"] == f"firma-{slug}"
    assert sent["organizations/0/name/en"] == name
    assert sent["deals/0/announcements/1/event/title/ko"] == title
    assert sent["deals/0/deal"] == f"naju-{slug}-senteo"
    preview = await press(editor, page, "Preview changes", **{"organizations/0/name/ko": "피르마"})
    assert preview.status_code == 200, preview.text
    done = await press(editor, preview, "Record")
    assert done.status_code == 303, done.text
    state = (await pages.client.get(f"/v1/deals/naju-{slug}-senteo")).json()
    assert (state["title"]["ko"], state["pledges"][0]["by"]) == (title, [f"firma-{slug}"])
    organization = (await pages.client.get(f"/v1/organizations/firma-{slug}")).json()
    assert organization["name"] == {"en": name, "ko": "피르마"}


async def test_new_deal_comes_with_its_registration(editor: httpx.AsyncClient, pages: Service, slug: str) -> None:
    page = await press(editor, await opened_article(editor), "Add a new deal")
    typed = {**SOURCE, "deals/1/announcements/0/event/title/ko": f"나주 {slug}", "deals/1/add": "parties_joined"}
    page = await editor.post("/record", data={**fields(page.text), **typed, "add": "1"})
    party = {"deals/1/announcements/1/event/parties/0/organization": f"Firma {slug}"}
    refused = await press(editor, page, "Preview changes", **party)
    assert refused.status_code == 422
    assert set(faults(refused.text)) == {"deals-1-announcements-1-event-parties-0-organization"}
    preview = await press(editor, refused, "Preview changes")
    assert preview.status_code == 200, preview.text
    done = await press(editor, preview, "Record")
    assert done.status_code == 303, done.text
    state = (await pages.client.get(f"/v1/deals/naju-{slug}")).json()
    assert [one["organization"] for one in state["parties"]] == [f"firma-{slug}"]


async def test_refused_announcement_is_marked_and_nothing_is_recorded(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered("A plant"))
    page = await opened_article(editor, deal=slug, type="stage_changed")
    page = await press(editor, page, "Add this announcement", **{"deals/0/add": "pledge_withdrawn"})
    typed = {
        **SOURCE,
        "deals/0/announcements/0/event/stage": "signed",
        "deals/0/announcements/1/event/pledge": "no-such",
    }
    size = await pages.size()
    refused = await editor.post("/record", data={**fields(page.text), **typed, "step": "preview"})
    assert refused.status_code == 409
    at = refused.text.index('id="deals-0-announcements-1"')
    assert "no-such" in refused.text[at:]
    assert 'role="alert"' in refused.text[at:]
    left_out = {"deals/0/announcements/1/drop": "yes", "step": "preview"}
    preview = await editor.post("/record", data={**fields(refused.text), **left_out})
    assert preview.status_code == 200, preview.text
    assert await pages.size() == size


async def test_what_was_just_recorded_is_undone_in_one_step(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=[registered("A plant"), pledged()])
    page = await opened_article(editor, deal=slug, type="stage_changed")
    preview = await press(
        editor, page, "Preview changes", **SOURCE, **{"deals/0/announcements/0/event/stage": "operating"}
    )
    done = await press(editor, preview, "Record")
    shown = await editor.get(done.headers["location"])
    assert "Operating" in shown.text
    undone = await editor.post("/record/undo", data=fields(shown.text))
    assert undone.status_code == 303, undone.text
    state = (await pages.client.get(f"/v1/deals/{slug}")).json()
    assert state["stage"] is None
    after = await editor.get(undone.headers["location"])
    assert "Voided" in after.text
    assert "Undo" not in after.text
    # Another principal has recorded nothing there.
    lee = await pages.issue("record", "correct")
    async with visit(pages, lee) as other:
        assert (await other.get(done.headers["location"])).status_code == 404


async def test_deal_that_changed_since_the_preview_is_shown_again(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered("A plant"))
    page = await opened_article(editor, deal=slug, type="stage_changed")
    preview = await press(
        editor, page, "Preview changes", **SOURCE, **{"deals/0/announcements/0/event/stage": "signed"}
    )
    await pages.client.post(f"/v1/deals/{slug}/events", json=pledged())
    late = await press(editor, preview, "Record")
    assert late.status_code == 412
    assert fields(late.text)["deals/0/announcements/0/event/stage"] == "signed"
    preview = await press(editor, late, "Preview changes")
    assert (await press(editor, preview, "Record")).status_code == 303


# --- pasted articles --------------------------------------------------------------------------------------------------


async def pasted(client: httpx.AsyncClient, text: str = ARTICLE, **more: str) -> httpx.Response:
    page = await client.get("/record/article")
    typed = {"text": text, "sources/0/url": "https://paper.example/two", "sources/0/published_on": "2025-10-29", **more}
    return await client.post("/record/article", data={**fields(page.text), **typed})


async def test_pasted_article_is_proposed_with_the_sentences_that_it_rests_on(editor: httpx.AsyncClient) -> None:
    page = await pasted(editor)
    assert page.status_code == 200, page.text
    marked = re.findall(r'<mark id="s\d+">([^<]*)', page.text)
    assert marked == [
        "AWS will invest $5 billion in Ulsan by 2031.",
        "Corning will invest about $500 million in a plant in Asan.",
        "The plant will create 300 jobs.",
    ]
    sent = fields(page.text)
    amounts = [text for name, text in sent.items() if name.endswith("/event/amount")]
    assert amounts == ["US$5bn", "about US$500m"]
    # Names stand where slugs are recorded, and the registry's likely deals are offered.
    parties = [text for name, text in sent.items() if name.endswith("/event/parties/0/organization")]
    assert parties == ["Amazon Web Services", "Corning"]
    assert "SK and AWS: AI data centre in Ulsan" in page.text


async def test_proposals_are_changed_and_dropped_before_they_are_recorded(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    text = f"Firma{slug.replace('-', '')} Inc will invest $5 billion in Ulsan. The plant will create 300 jobs."
    page = await pasted(editor, text)
    sent = fields(page.text)
    [amount] = [name for name in sent if name.endswith("/event/amount")]
    [jobs] = [name for name in sent if sent[name] == "metric_reported"]
    typed = {amount: "$6bn", "deals/0/deal": slug, jobs.replace("/type", "/drop"): "yes"}
    preview = await press(editor, page, "Preview changes", **typed)
    assert preview.status_code == 200, preview.text
    done = await press(editor, preview, "Record")
    assert done.status_code == 303, done.text
    events = (await pages.client.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert [one["type"] for one in events] == [
        "deal_registered", "parties_joined", "pledge_announced", "site_announced",
    ]  # fmt: skip
    pledge = events[2]
    assert pledge["event"]["amount"] == {"value": "6000000000", "currency": "USD"}
    # The event quotes the sentence that it rests on.
    assert pledge["sources"][0]["quote"] == text.partition(" The plant")[0]
    [organization] = [one["organization"] for one in events[1]["event"]["parties"]]
    assert (await pages.client.get(f"/v1/organizations/{organization}")).status_code == 200


@pytest.mark.parametrize(
    ("typed", "wrong"), [({"text": ""}, "text"), ({"sources/0/url": "no address"}, "sources-0-url")]
)
async def test_article_that_cannot_be_read_is_shown_again(
    editor: httpx.AsyncClient, typed: dict[str, str], wrong: str
) -> None:
    page = await pasted(editor, **{"text": ARTICLE, **typed})
    assert page.status_code == 422
    assert f'id="p-{wrong}-fault"' in page.text
    assert fields(page.text)["text"].strip() == typed.get("text", ARTICLE).strip()


async def test_form_suggests_names_while_the_editor_types(editor: httpx.AsyncClient, reader: httpx.AsyncClient) -> None:
    deals = await editor.get("/record/names/deals", params={"deals/0/deal": "울산", "lang": "ko"})
    assert "SK·AWS 울산 AI 데이터센터" in deals.text
    several = {"deals/0/announcements/0/event/by": "SK Group, amazon w"}
    assert (
        'value="SK Group, Amazon Web Services"'
        in (await editor.get("/record/names/organizations", params=several)).text
    )
    assert (await reader.get("/record/names/deals", params={"q": "Ulsan"})).status_code == 303


async def test_form_of_another_session_is_refused(editor: httpx.AsyncClient) -> None:
    for path in ("/record", "/record/article", "/record/undo"):
        assert (await editor.post(path, data={"csrf": "0" * 64, "step": "record"})).status_code == 403
