"""`registry proposals`, with the key of a reviewer who is not the proposer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from registry import cli
from registry.append.principals import IssuedKey
from registry.cli import proposals as module
from registry.cli.headings import HEADINGS
from registry.i18n import LANGUAGES, Label, render, translations
from tests.api.announcements import SOURCE, pledged, registered
from tests.cli.test_files import Ended, Run
from tests.databases import Server
from tests.service import Service, bearer, cloned, running


@pytest_asyncio.fixture(scope="module")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    async with cloned(server, admin, "cli_proposals") as settings, running(settings) as service:
        yield service


@pytest.fixture
async def author(service: Service) -> IssuedKey:
    return await service.issue("propose", name="Kim")


@pytest.fixture
async def reviewer(service: Service) -> IssuedKey:
    return await service.issue("record", name="Lee")


@pytest.fixture
def proposals(service: Service) -> Run:
    """Run the command with a key."""

    async def ran(key: IssuedKey, *words: str, language: str = "en") -> Ended:
        env = {"REGISTRY_URL": service.url, "REGISTRY_KEY": key.secret, "REGISTRY_LANG": language}
        command = cli.command("proposals")
        done = await asyncio.to_thread(CliRunner().invoke, command, ["proposals", *words], env=env)
        return Ended(done.exit_code, done.stdout, done.stderr)

    return ran


async def proposed(service: Service, key: IssuedKey, slug: str, *announcements: dict[str, Any]) -> dict[str, Any]:
    body = {"deal": slug, "announcements": list(announcements or (registered(),))}
    answer = await service.visitor.post("/v1/proposals", json=body, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_proposal_is_listed_shown_and_approved(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey
) -> None:
    made = await proposed(service, author, "approved-plant", registered(), pledged())
    [listed] = [
        one for one in (await proposals(reviewer, "list", "--status", "open")).json if one["deal"] == "approved-plant"
    ]
    assert listed["proposal"] == made["proposal"]
    shown = (await proposals(reviewer, "show", made["proposal"])).json
    assert [one["event"]["type"] for one in shown["announcements"]] == ["deal_registered", "pledge_announced"]
    assert "/title" in {change["field"] for change in shown["preview"]["changes"]}
    approved = await proposals(reviewer, "approve", made["proposal"], "--digest", shown["digest"])
    assert (approved.code, approved.json[0]["status"]) == (0, "approved"), approved.err
    events = (await service.visitor.get("/v1/deals/approved-plant/events")).json()["events"]
    assert {(one["recorded_by_name"], one["approved_by_name"]) for one in events} == {("Kim", "Lee")}
    again = await proposals(reviewer, "approve", made["proposal"], "--digest", shown["digest"])
    assert (again.code, again.err) == (4, "registry: The proposal was approved before.\n")


async def test_proposal_whose_content_has_changed_is_not_decided(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey
) -> None:
    made = await proposed(service, author, "changed-plant")
    await service.visitor.put(
        f"/v1/proposals/{made['proposal']}",
        json={"announcements": [registered("Another plant")]},
        headers={**bearer(author), "If-Match": f'"{made["digest"]}"'},
    )
    for word in ("approve", "reject"):
        refused = await proposals(reviewer, word, made["proposal"], "--digest", made["digest"])
        assert (refused.code, refused.out) == (4, "")
        assert refused.err == "registry: The proposal has changed. Read it again, then decide.\n"
        for wrong in ("", "no digest", "요약"):
            assert (await proposals(reviewer, word, made["proposal"], "--digest", wrong)).code == 2
        assert (await proposals(reviewer, word, made["proposal"])).code == 2
    assert (await proposals(author, "show", made["proposal"])).json["status"] == "open"


async def test_proposal_is_rejected_with_a_reason(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey
) -> None:
    made = await proposed(service, author, "rejected-plant")
    words = (made["proposal"], "--digest", made["digest"], "--reason", "no source")
    [rejected] = (await proposals(reviewer, "reject", *words)).json
    assert (rejected["status"], rejected["reason"], rejected["decided_by"]) == (
        "rejected",
        "no source",
        reviewer.principal,
    )
    assert (await service.visitor.get("/v1/deals/rejected-plant")).status_code == 404
    own = await proposed(service, author, "rejected-plant")
    withdrawn = await proposals(author, "reject", own["proposal"], "--digest", own["digest"], "--table")
    assert "Withdrawn" in withdrawn.out, withdrawn.err


async def test_key_without_the_scope_and_a_wrong_id_are_refused(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey
) -> None:
    made = await proposed(service, author, "forbidden-plant")
    forbidden = await proposals(author, "approve", made["proposal"], "--digest", made["digest"])
    assert forbidden.code == 1
    assert forbidden.err.startswith("registry: ")
    for id in ("nothing", "0198a7c2-0000-7000-8000-000000000001"):
        assert (await proposals(reviewer, "show", id)).code == 3
        assert (await proposals(reviewer, "approve", id, "--digest", made["digest"])).code == 3
        assert (await proposals(reviewer, "reject", id, "--digest", made["digest"])).code == 3
    assert (await proposals(reviewer, "list", "--status", "waiting")).code == 2


async def test_list_follows_pages_up_to_its_limit(
    proposals: Run, service: Service, author: IssuedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    made = [(await proposed(service, author, f"listed-{n}"))["proposal"] for n in range(5)]
    listed = [one["proposal"] for one in (await proposals(author, "list")).json]
    assert listed == made[::-1]
    assert [one["proposal"] for one in (await proposals(author, "list", "--limit", "3")).json] == listed[:3]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_tables_have_headings_and_labels_in_the_language(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey, language: str
) -> None:
    made = await proposed(service, author, "headed-plant", registered("A quoted plant"))
    pages = translations(language).gettext
    listed = (await proposals(author, "list", "--table", language=language)).out
    for column in ("id", "subject", "event", "proposed by", "proposed at", "status"):
        assert render(HEADINGS[column], language) in listed.splitlines()[0], column
    line = next(line for line in listed.splitlines() if made["proposal"] in line)
    for text in ("headed-plant", render(Label("event/deal_registered"), language), "Kim", pages("Open")):
        assert text in line, text
    shown = (await proposals(reviewer, "show", made["proposal"], "--table", language=language)).out
    joined = "".join(shown.split())
    for text in (made["digest"], pages("Proposed by"), "A quoted plant", "2025-06-16"):
        assert "".join(text.split()) in joined, (text, shown)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_shown_proposal_has_every_value_with_the_label_of_its_field(
    proposals: Run, service: Service, author: IssuedKey, reviewer: IssuedKey, language: str
) -> None:
    made = await proposed(service, author, "labelled-plant", registered(), pledged())
    shown = (await proposals(reviewer, "show", made["proposal"], "--table", language=language)).out
    for field, value in (("amount", "5000000000"), ("amount", "USD"), ("sources", SOURCE["url"])):
        name = render(Label(f"field/{field}"), language)
        assert any(line.strip().startswith(name) and line.rstrip().endswith(value) for line in shown.splitlines()), (
            name,
            shown,
        )
    assert "{" not in shown
