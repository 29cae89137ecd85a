"""The review queue as pages: a form of a key that may only propose, and the decision of another person."""

from __future__ import annotations

import re
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from registry.formatting.language import words
from registry.web.proposals import MAX_SHOWN
from tests.api.announcements import pledged, registered
from tests.databases import Server
from tests.service import Service, bearer, cloned, running
from tests.web.forms import fields, of_first, opened_article
from tests.web.test_sessions import visit


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the last form of a page."""
    form = page[page.rindex('<form class="form"') :]
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_form_of_a_proposer_waits_for_another_person(service: Service, slug: str, language: str) -> None:
    await service.client.post(f"/v1/deals/{slug}/events", json=registered("A plant"))
    kim, lee = await service.issue("propose", name="Kim"), await service.issue("record", name="Lee")
    lang = {"lang": language}
    async with visit(service, kim) as proposer, visit(service, lee) as reviewer:
        form = await opened_article(proposer, deal=slug, type="stage_changed", **lang)
        typed = {**fields(form.text), **of_first(stage="signed"), "effective_on": "2025-06-16"}
        preview = await proposer.post("/record", data={**typed, "step": "preview"}, params=lang)
        assert preview.status_code == 200
        sent = await proposer.post("/record", data={**fields(preview.text), "step": "record"}, params=lang)
        assert (sent.status_code, sent.headers["location"].partition("?")[0][:11]) == (303, "/proposals/")
        where = sent.headers["location"]
        own = await proposer.get(where)
        assert 'value="approve"' not in own.text
        assert len((await service.client.get(f"/v1/deals/{slug}/events")).json()["events"]) == 1
        assert where.partition("?")[0] in (await reviewer.get("/proposals", params=lang)).text
        page = await reviewer.get(where)
        assert "Kim" in page.text
        done = await reviewer.post(where, data={**hidden(page.text), "decision": "approve"})
        assert (done.status_code, done.headers["location"].partition("?")[0]) == (303, f"/deals/{slug}")
        [_, event] = (await service.client.get(f"/v1/deals/{slug}/events")).json()["events"]
        assert (event["recorded_by_name"], event["approved_by_name"]) == ("Kim", "Lee")
        history = (await reviewer.get(f"/deals/{slug}", params=lang)).text
        assert "Kim" in history
        assert "Lee" in history


async def test_reviewer_rejects_a_proposal(service: Service, slug: str) -> None:
    kim, lee = await service.issue("propose"), await service.issue("record")
    body = {"deal": slug, "announcements": [registered()]}
    headers = {"Authorization": f"Bearer {kim.secret}"}
    id = (await service.visitor.post("/v1/proposals", json=body, headers=headers)).json()["proposal"]
    async with visit(service, lee) as reviewer:
        page = await reviewer.get(f"/proposals/{id}")
        assert ">Reject</button>" in page.text
        decided = {**hidden(page.text), "decision": "reject", "reason": "No source."}
        assert (await reviewer.post(f"/proposals/{id}", data=decided)).status_code == 303
        shown = (await reviewer.get(f"/proposals/{id}")).text
        assert "No source." in shown
        assert re.search(r'class="quiet">(<span[^>]*>)*Rejected', shown)
        listed = (await reviewer.get("/proposals?status=rejected")).text
        [row] = [one for one in re.findall("<tr>.*?</tr>", listed, re.DOTALL) if f"/proposals/{id}" in one]
        assert ">Rejected<" in row
        assert "The proposed content was deleted with this decision." in shown
        assert (await reviewer.post(f"/proposals/{id}", data=decided)).status_code == 409


async def test_proposer_withdraws_a_proposal(service: Service, slug: str) -> None:
    kim = await service.issue("propose")
    body = {"deal": slug, "announcements": [registered()]}
    id = (await service.visitor.post("/v1/proposals", json=body, headers=bearer(kim))).json()["proposal"]
    async with visit(service, kim) as proposer:
        page = (await proposer.get(f"/proposals/{id}")).text
        assert ">Withdraw</button>" in page
        assert ">Reject</button>" not in page
        await proposer.post(f"/proposals/{id}", data={**hidden(page), "decision": "reject"})
        shown = (await proposer.get(f"/proposals/{id}")).text
        assert re.search(r'class="quiet">(<span[^>]*>)*Withdrawn', shown)
        listed = (await proposer.get("/proposals?status=rejected")).text
        [row] = [one for one in re.findall("<tr>.*?</tr>", listed, re.DOTALL) if f"/proposals/{id}" in one]
        assert ">Withdrawn<" in row


async def test_page_that_shows_old_content_approves_nothing(service: Service, slug: str) -> None:
    kim, lee = await service.issue("propose"), await service.issue("record")
    headers = {"Authorization": f"Bearer {kim.secret}"}
    body = {"deal": slug, "announcements": [registered()]}
    proposal = await service.visitor.post("/v1/proposals", json=body, headers=headers)
    path = f"/proposals/{proposal.json()['proposal']}"
    async with visit(service, lee) as reviewer:
        fields = {**hidden((await reviewer.get(path)).text), "decision": "approve"}
        changed = await service.visitor.put(
            f"/v1{path}",
            json={"announcements": [registered("Another"), pledged()]},
            headers={**headers, "If-Match": proposal.headers["etag"]},
        )
        assert changed.status_code == 200
        assert (await reviewer.post(path, data=fields)).status_code == 409
        assert (await service.client.get(f"/v1/deals/{slug}")).status_code == 404


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_author_sees_who_may_approve_where_a_second_person_is_demanded(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], slug: str, language: str
) -> None:
    lang = {"lang": language}
    async with (
        cloned(server, admin, "strict_pages") as settings,
        running(replace(settings, four_eyes=("pledge_announced",))) as service,
    ):
        kim, lee = [await service.issue("record", name=name) for name in ("Kim", "Lee")]
        lines = [{"deal": f"{slug}-{n}", **line} for n in range(2) for line in ([registered(), pledged()][: n + 1])]
        sent = await service.visitor.post(
            "/v1/import?propose=true",
            content=b"\n".join(msgspec.json.encode(line) for line in lines),
            headers={**bearer(kim), "Content-Type": "application/x-ndjson"},
        )
        ids = [
            one["proposal"]
            for one in (await service.visitor.get("/v1/proposals", headers=bearer(kim))).json()["proposals"]
        ]
        assert len(ids) == 2, sent.text
        async with visit(service, kim) as author, visit(service, lee) as reviewer:
            path = f"/proposals/{ids[0]}"
            own, others = [(await reader.get(path, params=lang)).text for reader in (author, reviewer)]
            scope = words(language).label("scope", "record")
            demand = rf'<p class="quiet">[^<]*“{scope}”[^<]*Kim|<p class="quiet">[^<]*Kim[^<]*“{scope}”'
            assert len(re.findall(demand, own)) == 1
            assert not re.findall(demand, others)
            # The deal without an amount needs no second person, and is the only one selected.
            assert own.count(" checked>") == 1
            assert (await author.post(path, data=fields(own) | {"decision": "approve"})).status_code == 303
            own = (await author.get(path, params=lang)).text
            assert 'value="approve"' not in own
            assert 'value="reject"' in own
            assert (await reviewer.post(path, data=fields(others) | {"decision": "approve"})).status_code == 409
            again = (await reviewer.get(path)).text
            assert (await reviewer.post(path, data=fields(again) | {"decision": "approve"})).status_code == 303
        events = (await service.client.get(f"/v1/deals/{slug}-1/events")).json()["events"]
        assert [event["approved_by_name"] for event in events] == ["Lee", "Lee"]


async def test_queue_needs_a_sign_in(service: Service) -> None:
    async with visit(service) as visitor:
        answer = await visitor.get("/proposals")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?then=%2Fproposals")


async def test_submission_of_many_deals_is_reviewed_in_pages_and_decided_on_as_a_whole(
    service: Service, slug: str
) -> None:
    kim, lee = await service.issue("propose"), await service.issue("record")
    count = MAX_SHOWN + 2
    lines = [{"deal": f"{slug}-{n}", "id": str(uuid4()), **registered(f"Plant {slug} {n}")} for n in range(count)]
    sent = await service.visitor.post(
        "/v1/import?propose=true",
        content=b"\n".join(msgspec.json.encode(line) for line in lines),
        headers={**bearer(kim), "Content-Type": "application/x-ndjson"},
    )
    assert sent.status_code == 200, sent.text
    async with visit(service, lee) as reviewer:
        queue = (await reviewer.get("/proposals")).text
        [where] = set(re.findall(r'href="(/proposals/[^"?]+)"[^>]*>Plant ' + slug, queue))
        first = await reviewer.get(where)
        last = await reviewer.get(where, params={"start": MAX_SHOWN})
        assert (first.text.count('class="proposal"'), last.text.count('class="proposal"')) == (MAX_SHOWN, 2)
        assert f"start={MAX_SHOWN}" in first.text
        # One of the second page is rejected, so the others are no longer what the first page showed.
        one = {name: text for name, text in fields(last.text).items() if not name.startswith("digest/")}
        chosen = next(iter(re.findall(r'name="(digest/[^"]+)" value="([^"]+)"', last.text)))
        rejected = await reviewer.post(where, data={**one, chosen[0]: chosen[1], "decision": "reject"})
        assert f"start={MAX_SHOWN}" in rejected.headers["location"]
        late = await reviewer.post(where, data={**fields(first.text), "decision": "approve-all"})
        assert late.status_code == 409
        again = await reviewer.get(where)
        done = await reviewer.post(where, data={**fields(again.text), "decision": "approve-all"})
        assert done.status_code == 303, done.text
    deals = [await service.visitor.get(f"/v1/deals/{slug}-{n}") for n in range(count)]
    assert sorted(deal.status_code for deal in deals) == [*[200] * (count - 1), 404]
