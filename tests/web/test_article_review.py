"""The review of an article: a second person decides on its deals."""

from __future__ import annotations

import httpx

from tests.service import Service
from tests.web.forms import fields, press
from tests.web.test_articles import pasted
from tests.web.test_sessions import visit


async def test_article_waits_for_a_second_person_who_decides_on_its_deals_together(pages: Service, slug: str) -> None:
    kim, lee = await pages.issue("propose", name="Kim"), await pages.issue("record", name="Lee")
    text = "Corning will invest $500 million in Asan. Umicore will invest $300 million in Ulsan."
    async with visit(pages, kim) as proposer, visit(pages, lee) as reviewer:
        page = await pasted(proposer, text)
        named = {"deals/0/deal": f"{slug}-a", "deals/1/deal": f"{slug}-b"}
        preview = await press(proposer, page, "Preview changes", **named)
        assert preview.status_code == 200, preview.text
        assert 'value="record"' not in preview.text
        sent = await press(proposer, preview, "Send to review")
        assert sent.status_code == 303, sent.text
        where = sent.headers["location"]
        listed = (await reviewer.get("/proposals")).text
        assert listed.count(where) == 1
        shown = await reviewer.get(where)
        assert "Corning will invest $500 million in Asan." in shown.text
        keys = [name for name in fields(shown.text) if name.startswith("digest/")]
        assert len(keys) == 2
        done = await reviewer.post(where, data={**fields(shown.text), "decision": "approve"})
        assert done.status_code == 303, done.text
        for deal in (f"{slug}-a", f"{slug}-b"):
            events = (await pages.client.get(f"/v1/deals/{deal}/events")).json()["events"]
            assert {(one["recorded_by_name"], one["approved_by_name"]) for one in events} == {("Kim", "Lee")}


async def test_reviewer_decides_on_single_deals_of_an_article(pages: Service, slug: str) -> None:
    kim, lee = await pages.issue("propose"), await pages.issue("record")
    text = "Corning will invest $500 million in Asan. Umicore will invest $300 million in Ulsan."
    async with visit(pages, kim) as proposer, visit(pages, lee) as reviewer:
        named = {"deals/0/deal": f"{slug}-a", "deals/1/deal": f"{slug}-b"}
        preview = await press(proposer, await pasted(proposer, text), "Preview changes", **named)
        where = (await press(proposer, preview, "Send to review")).headers["location"]
        sent = fields((await reviewer.get(where)).text)
        [_, second] = [name for name in sent if name.startswith("digest/")]
        first_only = {name: value for name, value in sent.items() if name != second}
        await reviewer.post(where, data={**first_only, "decision": "reject", "reason": "No source."})
        await reviewer.post(where, data={**fields((await reviewer.get(where)).text), "decision": "approve"})
        assert (await pages.client.get(f"/v1/deals/{slug}-a")).status_code == 404
        assert (await pages.client.get(f"/v1/deals/{slug}-b")).status_code == 200
        assert "No source." in (await reviewer.get(where)).text


async def test_reviewer_changes_an_article_and_another_person_approves_it(pages: Service, slug: str) -> None:
    kim, lee, park = [await pages.issue(*scopes) for scopes in (("propose",), ("propose",), ("record",))]
    text = "Corning will invest $500 million in Asan. Umicore will invest $300 million in Ulsan."
    async with visit(pages, kim) as proposer, visit(pages, park) as reviewer:
        named = {"deals/0/deal": f"{slug}-a", "deals/1/deal": f"{slug}-b"}
        preview = await press(proposer, await pasted(proposer, text), "Preview changes", **named)
        where = (await press(proposer, preview, "Send to review")).headers["location"]
        stale = fields((await reviewer.get(where)).text)
        assert f'href="{where}/change"' in (await reviewer.get(where)).text
        page = await reviewer.get(f"{where}/change")
        sent = fields(page.text)
        amounts = {name: text for name, text in sent.items() if name.endswith("/event/amount")}
        assert list(amounts.values()) == ["US$500m", "US$300m"]
        # Nothing is changed by saving it as it is.
        unchanged = await press(reviewer, page, "Preview changes")
        await press(reviewer, unchanged, "Save the proposal")
        digests = {n: t for n, t in fields((await reviewer.get(where)).text).items() if n.startswith("digest/")}
        assert digests == {n: t for n, t in stale.items() if n.startswith("digest/")}
        # The amount of the first deal is changed, the second deal is left out.
        second = list(amounts)[1].partition("/announcements/")[0]
        dropped = {
            name.replace("/type", "/drop"): "yes" for name in sent if name.startswith(second) and name.endswith("/type")
        }
        preview = await press(reviewer, page, "Preview changes", **{next(iter(amounts)): "$550 million"}, **dropped)
        assert preview.status_code == 200, preview.text
        saved = await press(reviewer, preview, "Save the proposal")
        assert saved.headers["location"].partition("?")[0] == where
        # What the other reviewers saw is no longer what they would approve.
        assert (await reviewer.post(where, data={**stale, "decision": "approve"})).status_code == 409
        # A form made before the change saves nothing either.
        late = await press(reviewer, unchanged, "Save the proposal")
        assert late.status_code == 409
        await reviewer.post(where, data={**fields((await reviewer.get(where)).text), "decision": "approve"})
        events = (await pages.client.get(f"/v1/deals/{slug}-a/events")).json()["events"]
        assert [one["event"]["amount"]["value"] for one in events if one["type"] == "pledge_announced"] == ["550000000"]
        assert (await pages.client.get(f"/v1/deals/{slug}-b")).status_code == 404
    async with visit(pages, lee) as other:
        assert (await other.get(f"{where}/change")).status_code == 404


async def test_proposal_that_was_recorded_since_can_be_rejected(
    editor: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    named = {"deals/0/deal": slug}
    page = await pasted(editor, "Corning will invest $500 million in Asan.")
    preview = await press(editor, page, "Preview changes", **named)
    where = (await press(editor, preview, "Send to review")).headers["location"]
    # The editor goes back, and records it after all, as another deal.
    again = await press(editor, preview, "Record", **{"deals/0/deal": f"{slug}-again"})
    assert again.status_code == 303, again.text
    shown = await editor.get(where)
    assert shown.status_code == 200
    assert "Not applied" in shown.text
    rejected = await editor.post(where, data={**fields(shown.text), "decision": "reject"})
    assert rejected.status_code == 303
