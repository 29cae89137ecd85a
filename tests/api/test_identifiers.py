"""Identifiers of deals, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.api.announcements import announced, registered, voided
from tests.api.test_vocabulary import post, record
from tests.service import Service


def identified(value: str, scheme: str = "gem") -> dict[str, Any]:
    """The deal has an identifier."""
    return announced("2025-06-16", "deal_identified", identifiers=[{"scheme": scheme, "value": value}])


async def test_deal_is_found_by_its_identifier(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(service.client, slug, registered("A plant"), identified(f"{slug}/1 2"))
    answer = await service.client.get("/v1/deals", params={"identifier": f"gem:{slug}/1 2"})
    assert [deal["deal"] for deal in answer.json()["deals"]] == [slug]
    assert answer.json()["deals"][0]["identifiers"] == [{"scheme": "gem", "value": f"{slug}/1 2"}]


async def test_identifier_of_another_deal_is_refused(service: Service, new_slug: Callable[[], str]) -> None:
    first, second = new_slug(), new_slug()
    await record(service.client, first, registered("A plant"), identified(first))
    answer = await post(service.client, second, registered("Another plant"), identified(first))
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["rule"] == "identifier-taken"
    assert problem["params"] == {"scheme": "gem", "value": first, "deal": first}
    assert (await service.client.get(f"/v1/deals/{second}")).status_code == 404
    # The same value of another register is another identifier.
    await record(service.client, second, registered("Another plant"), identified(first, "ocid"))


async def test_voided_identifier_can_be_given_to_another_deal(service: Service, new_slug: Callable[[], str]) -> None:
    first, second = new_slug(), new_slug()
    recorded = await record(service.client, first, registered("A plant"), identified(first))
    void = await record(service.client, first, voided(recorded["events"][1]["id"]))
    await record(service.client, second, registered("Another plant"), identified(first))
    # To void the void would give the identifier to two deals.
    answer = await post(service.client, first, voided(void["events"][0]["id"]))
    assert (answer.status_code, answer.json()["rule"]) == (409, "identifier-taken")


async def test_one_of_many_writers_gets_an_identifier(service: Service, new_slug: Callable[[], str]) -> None:
    value = new_slug()
    slugs = [new_slug() for _ in range(12)]
    answers = await asyncio.gather(
        *(post(service.client, slug, registered("A plant"), identified(value)) for slug in slugs)
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 11]
