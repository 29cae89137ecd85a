"""The demo's files: announcements that anybody could post, each with its sources, in the order of their publication."""

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

TWELVE = [
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
BESIDE = ["aws-korea-2027", "aws-apec-2028", "seven-firms-korea-2030"]


def test_the_twelve_deals_and_the_three_they_lean_on_are_there() -> None:
    assert sorted({line.deal for line in announcements()}) == sorted(TWELVE + BESIDE)


def test_a_deal_begins_with_its_registration_and_has_no_second_one() -> None:
    for slug in TWELVE + BESIDE:
        kinds = [isinstance(line.event, DealRegistered) for line in announcements() if line.deal == slug]
        assert kinds[0]
        assert not any(kinds[1:])


def test_a_registration_carries_a_dated_source_so_that_it_counts_as_published_then() -> None:
    for line in announcements():
        if isinstance(line.event, DealRegistered):
            assert any(source.published_on for source in line.sources), line.deal
            assert line.effective_on is not None


def test_ids_are_unique_and_of_version_seven() -> None:
    ids = [line.id for line in announcements()] + [line.id for line in organizations()]
    assert len(set(ids)) == len(ids)
    for given in ids:
        assert given is not None
        assert (given.version, given.variant) == (7, RFC_4122)


def test_every_announcement_of_the_world_names_its_sources() -> None:
    for line in announcements():
        assert line.sources or (
            isinstance(line.event, BOOKKEEPING_TYPES) and not isinstance(line.event, DealRegistered)
        ), line


def test_the_file_is_in_the_order_of_publication() -> None:
    days = [
        min(dates) for line in announcements() if (dates := [s.published_on for s in line.sources if s.published_on])
    ]
    assert days == sorted(days)


def test_what_holds_was_published_on_the_day_or_within_three() -> None:
    """A source reports what is so: a gap of more than some days between the two would be a slip of a date."""
    for line in announcements():
        published = [s.published_on for s in line.sources if s.published_on]
        if line.effective_on and published:
            assert 0 <= (min(published) - line.effective_on).days <= 3, line


def test_the_same_article_is_the_same_source_everywhere() -> None:
    by_name: dict[str, set[Source]] = {}
    named = [line.sources for line in announcements()] + [line.sources for line in organizations()]
    for sources in named:
        for source in sources:
            name = source.url or source.locator
            assert name is not None
            by_name.setdefault(name, set()).add(source)
    assert [name for name, said in by_name.items() if len(said) > 1] == []
    article = Source(language="ko", published_on=date(2025, 10, 29), locator="seed article 000_c404f59d5c1664e3")
    assert by_name["seed article 000_c404f59d5c1664e3"] == {article}


def test_titles_summaries_names_and_purposes_are_in_both_languages() -> None:
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
        said = json.loads(line)
        localized(said["event"], said["id"])


@pytest.mark.parametrize("name", ["announcements.ndjson", "organizations.ndjson"])
def test_what_is_not_known_is_left_out_never_zero_empty_or_null(name: str) -> None:
    def known(value: Any, path: str) -> None:
        assert value not in (None, "", "0", 0, [], {}), path
        if isinstance(value, dict):
            for key, item in value.items():
                known(item, f"{path}/{key}")
        elif isinstance(value, list):
            for item in value:
                known(item, path)

    for line in raw(name):
        said = json.loads(line)
        known(said, said["id"])


def test_every_claim_says_which_event_it_speaks_of() -> None:
    spoken_of = {(line.deal, line.id) for line in announcements()}
    for line in announcements():
        if isinstance(line.event, ClaimReported):
            assert (line.deal, line.event.about) in spoken_of, line


def test_relations_lead_to_deals_and_pledges_that_stand_earlier_in_the_file() -> None:
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


def test_every_organization_that_is_named_is_registered_parents_first() -> None:
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
    assert registered - named == {"amazon"}  # the one that is only somebody's parent


def test_a_party_is_announced_under_the_name_its_organization_is_registered_with() -> None:
    names = {
        line.organization: line.event.name for line in organizations() if isinstance(line.event, OrganizationRegistered)
    }
    for line in announcements():
        if isinstance(line.event, PartiesJoined):
            for party in line.event.parties:
                assert party.name == names[party.organization]


def test_the_documentation_names_every_deal_and_every_source() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "demo-deals.md").read_text(encoding="utf-8")
    named = [line.sources for line in announcements()] + [line.sources for line in organizations()]
    said = {line.deal for line in announcements()} | {
        name for sources in named for s in sources if (name := s.url or s.locator)
    }
    assert sorted(name for name in said if name not in page) == []
