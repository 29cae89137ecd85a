"""Proposals from articles over HTTP: what is proposed can be posted as it is."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from registry.api import extract
from tests.service import Service

SOURCE = {"publisher": "A paper", "url": "https://news.example/1", "language": "ko", "published_on": "2025-10-29"}
TEXT = (
    "가온테크(Gaon Tech)는 포항에 약 3천억 원을 추가 투자해 40MW 규모의 데이터센터를 건설 중이다. "
    "회사는 일자리 250개의 신규 일자리를 만든다.\n"
    "다온소재(Daon Materials)는 KT와 협력해 향후 5년간 2조 원을 공동 투자한다."
)


async def test_proposals_can_be_posted_as_they_are(service: Service, new_slug: Callable[[], str]) -> None:
    answer = await service.client.post("/v1/extract", json={"text": TEXT, "source": SOURCE})
    assert answer.status_code == 200, answer.text
    deals = answer.json()["deals"]
    assert [deal["deal"] for deal in deals] == ["gaon-tech-kr-47", "daon-materials-investment"]
    assert "gaon-tech" in deals[0]["new_organizations"]
    for deal in deals:
        for one in deal["announcements"]:
            assert TEXT[one["start"] : one["end"]].endswith("다.")
            assert one["announcement"]["sources"] == [SOURCE]
        posted = [one["announcement"] for one in deal["announcements"]]
        recorded = await service.client.post(f"/v1/deals/{new_slug()}/events", json=posted)
        assert recorded.status_code == 201, recorded.text


async def test_extraction_records_nothing_and_needs_a_key(service: Service) -> None:
    before = (await service.client.get("/v1/events")).json()["events"]
    assert (await service.visitor.post("/v1/extract", json={"text": TEXT})).status_code == 401
    assert (await service.client.post("/v1/extract", json={"text": TEXT})).status_code == 200
    assert (await service.client.get("/v1/events")).json()["events"] == before


async def test_wrong_article_is_refused_with_its_field(client: httpx.AsyncClient) -> None:
    for body, pointer in (
        ({}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": "x" * 200_001}, "/text"),
        ({"text": "x", "language": "ko"}, "/language"),
        ({"text": "x", "source": {"published_on": "yesterday"}}, "/source/published_on"),
    ):
        answer = await client.post("/v1/extract", json=body)
        assert answer.status_code == 422, body
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_text_that_takes_too_long_to_read_is_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "EXTRACT_SECONDS", 0.2)
    answer = await client.post("/v1/extract", json={"text": "$" + "1," * 20_000})
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/text", "text_takes_long")]
