"""Search: what has every word of a query, by spelling variants, in any script, at a point in time."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.api.announcements import announced
from tests.api.test_lists import record
from tests.service import Service

DAY = "2026-01-01"
NEWS = {"publisher": "수박일보", "url": "https://www.watermelon.example/quoll/1", "title": "Bilby builds in Ulsan"}


@pytest_asyncio.fixture(scope="module")
async def deals(service: Service) -> Service:
    """A service with two deals."""
    await record(
        service.client,
        "search-centre",
        titled("Quokka data centre", "쿼카 데이터센터"),
        announced(
            "2025-06-16",
            "parties_joined",
            parties=[
                {"organization": "wombat-power", "name": {"en": "Wombat Power", "ko": "웜뱃파워"}, "role": "investor"}
            ],
        ),
        announced(
            "2025-06-16",
            "site_announced",
            site="a",
            place="KR-31",
            name={"en": "Kelp National Complex", "ko": "켈프국가산업단지"},
            sources=[NEWS],
        ),
    )
    named = [
        announced("2025-06-16", "organization_registered", name={"en": "Wombat Power"}),
        announced("2025-06-16", "organization_named", name="Marsupial Energy", language="en", kind="former"),
    ]
    answer = await service.client.post("/v1/organizations/wombat-power/events", json=named)
    assert answer.status_code == 201, answer.text
    await record(service.client, "search-plant", titled("Quokka multi-fuel plants", "쿼카 복합 발전소"))
    return service


def titled(en: str, ko: str) -> dict[str, Any]:
    """Register a deal with a title in two languages."""
    return announced("2025-06-16", "deal_registered", title={"en": en, "ko": ko})


async def found(service: Service, q: str, **asked: Any) -> dict[str, Any]:
    """What a search finds: ids by kind, in order."""
    answer = await service.visitor.get("/v1/search", params={"q": q, "effective_on": DAY, **asked})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    kinds: dict[str, Any] = {}
    for hit in body["hits"]:
        kinds.setdefault(hit["kind"], []).append(hit["id"])
    return kinds


@pytest.mark.parametrize(
    "q",
    [
        "quokka data center",
        "DATA CENTERS quokka",
        "quokka datacenter",
        "쿼카 데이터 센터",
        "쿼카데이터센터",
        "wombat ulsan",
        "웜뱃 울산",
        "quokka Korea",
        "search-centre",
        "quocka centre",
        "쿼카 울산에서",
        "kelp",
        "켈프 국가 산업단지",
        "수박일보",
        "bilby ulsan",
        "watermelon quokka",
        "http://watermelon.example/quoll/1/",
        "marsupial energy",
    ],
)
async def test_a_deal_is_found_by_names_places_and_parties_however_they_are_written(deals: Service, q: str) -> None:
    assert (await found(deals, q))["deal"] == ["search-centre"]


async def test_every_word_must_match(deals: Service) -> None:
    assert (await found(deals, "quokka"))["deal"] == ["search-centre", "search-plant"]
    assert (await found(deals, "quokka multifuel"))["deal"] == ["search-plant"]
    assert await found(deals, "multifuel wombat") == {}


async def test_each_kind_is_found_with_the_words_marked(deals: Service) -> None:
    assert await found(deals, "marsupial") == {"organization": ["wombat-power"], "deal": ["search-centre"]}
    assert (await found(deals, "울산", kind="place")) == {"place": ["KR-31"]}
    answer = await deals.visitor.get("/v1/search", params={"q": "watermelon", "effective_on": DAY})
    hits = answer.json()["hits"]
    assert [(hit["kind"], hit["title"] and hit["title"].get("und")) for hit in hits] == [
        ("deal", None),
        ("source", NEWS["title"]),
    ]
    (source,) = (await deals.visitor.get(hits[1]["link"])).json()["citations"]
    assert source["deal"] == "search-centre"
    for hit in hits:  # the deal is found by its source, and says so
        (marked,) = hit["matches"]
        assert [marked["text"][start:end] for start, end in marked["marks"]] == ["watermelon"]
