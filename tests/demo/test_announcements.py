"""The demo's files: announcements as a client posts them, each with its sources, in order of recording."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any
from uuid import RFC_4122

import pytest

from registry.events.types import (
    BOOKKEEPING_TYPES,
    ClaimReported,
    ConditionSet,
    DealRegistered,
    DealsRelated,
    OrganizationRegistered,
    ParentSet,
    PartiesJoined,
    PartnershipFormed,
    PledgeAnnounced,
)
from registry.events.values import Source
from tests.demo.loader import announcements, organizations, raw

MAIN_DEALS = [
    "aws-korea-2031",
    "sk-aws-ulsan",
    "microsoft-kt",
    "blackrock-asia-ai-hub",
    "renault-korea-ai",
    "amkor-songdo",
    "corning-korea",
    "air-liquide-korea",
    "siemens-healthineers-pohang",
    "umicore-korea",
    "alibaba-gmarket",
    "korea-ai-highway",
]
RELATED_DEALS = ["aws-korea-2027", "aws-apec-2028", "seven-firms-korea-2030"]


def test_demo_has_its_twelve_deals_and_three_related_ones() -> None:
    assert sorted({line.deal for line in announcements()}) == sorted(MAIN_DEALS + RELATED_DEALS)


def test_deal_has_one_registration_and_it_is_the_first_event() -> None:
    for slug in MAIN_DEALS + RELATED_DEALS:
        kinds = [isinstance(line.event, DealRegistered) for line in announcements() if line.deal == slug]
        assert kinds[0]
        assert not any(kinds[1:])


def test_deal_registration_has_an_effective_date_and_a_dated_source() -> None:
    for line in announcements():
        if isinstance(line.event, DealRegistered):
            assert any(source.published_on for source in line.sources), line.deal
            assert line.effective_on is not None


def test_announcement_ids_are_unique_uuids_of_version_7() -> None:
    ids = [line.id for line in announcements()] + [line.id for line in organizations()]
    assert len(set(ids)) == len(ids)
    for announcement_id in ids:
        assert announcement_id is not None
        assert (announcement_id.version, announcement_id.variant) == (7, RFC_4122)


def test_announcement_of_a_fact_has_a_source() -> None:
    for line in announcements():
        assert line.sources or (
            isinstance(line.event, BOOKKEEPING_TYPES) and not isinstance(line.event, DealRegistered)
        ), line


def test_source_is_published_within_three_days_of_the_effective_date() -> None:
    """A longer gap between the two would be a mistyped date."""
    for line in announcements():
        published = [s.published_on for s in line.sources if s.published_on]
        if line.effective_on and published:
            assert 0 <= (min(published) - line.effective_on).days <= 3, line


def test_same_article_is_cited_with_the_same_fields() -> None:
    by_name: dict[str, set[Source]] = {}
    named = [line.sources for line in announcements()] + [line.sources for line in organizations()]
    for sources in named:
        for source in sources:
            name = source.url or source.locator
            assert name is not None
            by_name.setdefault(name, set()).add(source)
    assert [name for name, cited in by_name.items() if len(cited) > 1] == []
    url = "https://zdnet.co.kr/view/?no=20251029152450"
    assert by_name[url] == {
        Source(publisher="지디넷코리아", url=url, language="ko", published_on=date(2025, 10, 29)),
    }


def test_localized_texts_are_in_korean_and_english() -> None:
    hangul = re.compile("[가-힣]")

    def localized(value: Any, path: str) -> None:
        if isinstance(value, dict):
            if {"ko", "en"} & value.keys():
                assert value.keys() == {"ko", "en"}, path
                assert not hangul.search(value["en"]), path
                assert hangul.search(value["ko"]) or value["ko"] == value["en"], path
            for key, item in value.items():
                localized(item, f"{path}/{key}")
        elif isinstance(value, list):
            for item in value:
                localized(item, path)

    for line in raw("announcements.ndjson"):
        announcement = json.loads(line)
        localized(announcement["event"], announcement["id"])


@pytest.mark.parametrize("name", ["announcements.ndjson", "organizations.ndjson"])
def test_unknown_value_is_omitted_not_zero_empty_or_null(name: str) -> None:
    def known(value: Any, path: str) -> None:
        assert value not in (None, "", "0", 0, [], {}), path
        if isinstance(value, dict):
            for key, item in value.items():
                known(item, f"{path}/{key}")
        elif isinstance(value, list):
            for item in value:
                known(item, path)

    for line in raw(name):
        announcement = json.loads(line)
        known(announcement, announcement["id"])


def test_claim_refers_to_an_event_of_its_deal() -> None:
    events = {(line.deal, line.id) for line in announcements()}
    for line in announcements():
        if isinstance(line.event, ClaimReported):
            assert (line.deal, line.event.about) in events, line


def test_relation_refers_to_a_deal_and_pledge_earlier_in_the_file() -> None:
    deals: set[str] = set()
    pledges: set[tuple[str, str]] = set()
    for line in announcements():
        deals.add(line.deal)
        if isinstance(line.event, PledgeAnnounced):
            pledges.add((line.deal, line.event.pledge))
            if line.event.additional_to:
                deal, _, pledge = line.event.additional_to.partition("/")
                assert (deal, pledge) in pledges
        if isinstance(line.event, DealsRelated):
            assert line.event.deal in deals
            if line.event.other_pledge:
                assert (line.event.deal, line.event.other_pledge) in pledges


def test_organizations_in_deals_are_registered_after_their_parents() -> None:
    registered: set[str] = set()
    for line in organizations():
        if isinstance(line.event, OrganizationRegistered):
            assert line.organization not in registered
            registered.add(line.organization)
        assert line.organization in registered
        if isinstance(line.event, ParentSet):
            assert line.event.parent in registered
    named: set[str] = set()
    for announced in announcements():
        match announced.event:
            case PartiesJoined(parties=parties):
                named |= {party.organization for party in parties}
            case PartnershipFormed(members=members):
                named |= set(members)
            case PledgeAnnounced(by=by):
                named |= set(by)
            case ConditionSet(authority=str() as authority):
                named.add(authority)
            case _:
                pass
    assert named <= registered
    assert registered - named == {"amazon"}  # only a parent of another organization


def test_party_has_the_registered_name_of_its_organization() -> None:
    names = {
        line.organization: line.event.name for line in organizations() if isinstance(line.event, OrganizationRegistered)
    }
    for line in announcements():
        if isinstance(line.event, PartiesJoined):
            for party in line.event.parties:
                assert party.name == names[party.organization]


def test_documentation_lists_every_deal_and_source() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "demo-deals.md").read_text(encoding="utf-8")
    named = [line.sources for line in announcements()] + [line.sources for line in organizations()]
    expected = {line.deal for line in announcements()} | {
        name for sources in named for s in sources if (name := s.url or s.locator)
    }
    assert sorted(name for name in expected if name not in page) == []
