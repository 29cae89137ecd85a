"""Proposals from articles: sentences, amounts, places, organizations, and the deals that they make.

The sentences are made up for the tests. `bench/extraction.py` measures real articles.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from registry.extraction import Article, KnownOrganization, ProposedDeal, extract
from registry.extraction.amounts import find_amounts
from registry.extraction.milestones import planned_milestones
from registry.extraction.places import find_places
from registry.extraction.text import MAX_SENTENCE, language_of, sentences

KNOWN = [
    KnownOrganization("amazon-web-services", ("AWS", "아마존웹서비스", "Amazon Web Services")),
    KnownOrganization("sk-group", ("SK그룹", "SK Group")),
    KnownOrganization("kt", ("KT",)),
]


def proposals(text: str) -> list[ProposedDeal]:
    """The deals of a text, published on 29 October 2025."""
    return extract(Article(text, {"publisher": "A paper"}, date(2025, 10, 29)), KNOWN)


def events(deal: ProposedDeal, type_: str) -> list[dict[str, Any]]:
    """The proposed events of a type."""
    return [one.announcement["event"] for one in deal.announcements if one.announcement["event"]["type"] == type_]


# --- the parts of a sentence ------------------------------------------------------------------------------------------


def test_sentences_keep_their_places_in_the_text() -> None:
    text = "삼송은 공장을 짓는다. 3.5조 원을 투자한다.\n\nIt costs $3.5 billion. Mr. Kim agreed."
    found = list(sentences(text))
    assert [text[s.start : s.end] for s in found] == [s.text for s in found]
    assert [s.text for s in found] == [
        "삼송은 공장을 짓는다.",
        "3.5조 원을 투자한다.",
        "It costs $3.5 billion.",
        "Mr. Kim agreed.",
    ]
    assert [s.paragraph for s in found] == [0, 0, 1, 1]


def test_language_follows_from_the_letters() -> None:
    assert (language_of("AWS는 울산에 투자한다."), language_of("AWS invests in Ulsan (울산).")) == ("ko", "en")


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("50억 달러(약 7조 원)를 추가 투입한다", [("USD", "5000000000", None, None)]),
        ("연간 1천억 원 규모의 투자", [("KRW", "100000000000", None, "annual")]),
        ("약 2조4천억 원을 투자한다", [("KRW", "2400000000000", "about", None)]),
        (
            "will invest up to $35 billion and €2bn",
            [("USD", "35000000000", "up_to", None), ("EUR", "2000000000", None, None)],
        ),
        ("천35억 원을 들여", [("KRW", "103500000000", None, None)]),
        ("백억 원과 6백80억 원", [("KRW", "10000000000", None, None), ("KRW", "68000000000", None, None)]),
        ("천억여 원을 투자한다", [("KRW", "100000000000", "more_than", None)]),
        ("수천억 원을 들여", []),
        ("260억을 투자해 26억을 받았다", [("KRW", "26000000000", None, None)]),
        ("around 7 trillion won", [("KRW", "7000000000000", "about", None)]),
        ("600개 기업과 30만㎡ 부지", []),
    ],
)
def test_amounts_of_a_sentence(sentence: str, found: list[Any]) -> None:
    amounts = [one.parsed for one in find_amounts(sentence)]
    assert [(a.amount.currency, a.amount.value, a.amount.qualifier, a.basis) for a in amounts] == found


@pytest.mark.parametrize(
    ("sentence", "codes"),
    [
        ("수도권(인천·경기) 지역에 짓는다", ["KR-28", "KR-41"]),
        ("전북 정읍과 울산에 공장을 짓는다", ["KR-45", "KR-45", "KR-31"]),
        ("경주 예술의전당에서 열린 행사", []),
        ("프랑스의 르노는 투자한다", []),
        ("경기 침체에도 투자한다", []),
        ("a plant in Dover, Ohio", ["US-OH"]),
        ("a plant in Fort Worth, TX", ["US-TX"]),
        ("CA is no place", []),
    ],
)
def test_places_of_a_sentence(sentence: str, codes: list[str]) -> None:
    assert [place.code for place in find_places(sentence)] == codes


@pytest.mark.parametrize(
    ("sentence", "planned"),
    [
        ("데이터센터는 2027년 11월 가동을 시작할 예정이다.", [("operations_started", "2027-11")]),
        (
            "2026년 하반기 착공해 2028년까지 완공할 계획이다.",
            [("construction_started", "2026-07/2026-12"), ("phase_completed", "2028")],
        ),
        ("2027년 3분기 상업 생산에 들어간다는 목표다.", [("operations_started", "2027-35")]),
        ("2028년 말 본격적인 가동에 들어간다.", [("operations_started", "2028")]),
        # What is past is no plan.
        ("2021년 준공한 공장을 증설하기로 했다.", []),
        ("2023년 가동에 들어간 1공장을 확장할 계획이다.", []),
        ("2025년 말 가동 중인 공장을 확장할 계획이다.", []),
        ("공장은 2024년 착공했다.", []),
        (
            "Construction is expected to begin in the second half of 2026, with production to start by March 2028.",
            [("construction_started", "2026-07/2026-12"), ("operations_started", "2028-03")],
        ),
        ("The plant, which opened in 2021, will be completed in late 2027.", [("phase_completed", "2027")]),
        ("It is scheduled to be operational by the fourth quarter of 2027.", [("operations_started", "2027-36")]),
        ("The plant, with production slated to start in summer 2026, is new.", [("operations_started", "2026")]),
        ("They will break ground in 2026.", [("groundbreaking", "2026")]),
        ("The company plans to invest $2 billion by 2030.", []),
    ],
)
def test_planned_milestones_of_a_sentence(sentence: str, planned: list[tuple[str, str]]) -> None:
    assert [(one.kind, one.planned) for one in planned_milestones(sentence)] == planned


# --- deals ------------------------------------------------------------------------------------------------------------


def test_deal_of_a_known_organization_has_its_amount_place_and_capacity() -> None:
    (deal,) = proposals("AWS는 SK그룹과 협력해 울산에 7조 원을 투자해 103MW 규모의 데이터센터를 건설 중이다.")
    assert deal.organizations == ("amazon-web-services", "sk-group")
    (pledge,) = events(deal, "pledge_announced")
    assert (pledge["amount"]["value"], pledge["by"]) == ("7000000000000", ["amazon-web-services"])
    (site,) = events(deal, "site_announced")
    assert (site["place"], site["power_mw"]) == ("KR-31", "103")
    assert [event["stage"] for event in events(deal, "stage_changed")] == ["construction"]


def test_place_that_follows_the_capacity_is_that_of_the_same_site() -> None:
    (deal,) = proposals(
        "SK그룹은 103MW 규모의 AI 데이터센터에 7조원을 투자한다. SK그룹은 울산에서 데이터센터를 착공했다."
    )
    (site,) = events(deal, "site_announced")
    assert (site["place"], site["power_mw"]) == ("KR-31", "103")


def test_next_sentence_belongs_to_the_deal_before_it() -> None:
    text = "AWS는 울산에 데이터센터를 짓는다. 이 시설은 약 6만 개의 GPU를 갖춘다."
    (deal,) = proposals(text)
    (revised,) = events(deal, "site_revised")
    assert (revised["gpus"], revised["gpus_qualifier"]) == (60000, "about")
    places = [text[one.start : one.end] for one in deal.announcements if one.announcement["event"] == revised]
    assert places == ["이 시설은 약 6만 개의 GPU를 갖춘다."]


def test_organization_with_another_partner_and_place_has_a_second_deal() -> None:
    deals = proposals("AWS는 인천에 50억 달러를 투자한다. AWS는 SK그룹과 협력해 울산에 데이터센터를 건설 중이다.")
    assert [(deal.deal, len(events(deal, "pledge_announced"))) for deal in deals] == [
        ("amazon-web-services-kr-28", 1),
        ("amazon-web-services-kr-31", 0),
    ]


def test_article_introduces_an_organization_in_both_scripts() -> None:
    (deal,) = proposals("코닝(Corning)은 아산에 1천억 원을 투자한다.")
    (joined,) = events(deal, "parties_joined")
    assert joined["parties"] == [
        {"organization": "corning", "name": {"ko": "코닝", "en": "Corning"}, "role": "investor"}
    ]


@pytest.mark.parametrize(
    ("text", "slug", "value"),
    [
        ("삼양식품은 밀양에 1300억원을 투자해 공장을 짓는다.", "samyangsikpum", "130000000000"),
        ("Tyson Foods, a maker of food, has opened a $300 million plant in Virginia.", "tyson-foods", "300000000"),
    ],
)
def test_unknown_subject_of_an_investment_is_an_organization(text: str, slug: str, value: str) -> None:
    (deal,) = proposals(text)
    assert deal.organizations[0] == slug
    assert [event["amount"]["value"] for event in events(deal, "pledge_announced")] == [value]


def test_period_in_another_sentence_revises_the_pledge() -> None:
    (deal,) = proposals("AWS는 50억 달러를 투자한다. AWS는 이번 투자를 통해 2031년까지 리전을 확장한다.")
    (revised,) = events(deal, "pledge_revised")
    assert revised["horizon"] == {"until": "2031"}


def test_intention_joint_and_annual_amounts_are_marked() -> None:
    (intention,) = proposals("AWS는 약 20조 원 규모의 투자의향을 밝혔다.")
    (joint,) = proposals("AWS는 KT와 협력해 향후 5년간 2조 원을 공동 투자한다.")
    (annual,) = proposals("AWS는 연간 1천억 원 규모의 투자를 한다.")
    assert events(intention, "pledge_announced")[0]["commitment"] == "intention"
    assert events(joint, "pledge_announced")[0]["by"] == ["amazon-web-services", "kt"]
    assert events(joint, "pledge_announced")[0]["horizon"] == {"from": "2025", "until": "2030~"}
    assert events(annual, "pledge_announced")[0]["amount_basis"] == "annual"


def test_planned_start_is_a_milestone_and_no_stage() -> None:
    (deal,) = proposals("AWS는 울산에 7조 원을 투자한다. 데이터센터는 2027년 11월 가동을 시작할 예정이다.")
    assert events(deal, "stage_changed") == []
    [milestone] = events(deal, "milestone_scheduled")
    assert (milestone["kind"], milestone["planned"]) == ("operations_started", "2027-11")
    (running,) = proposals("AWS는 울산에 7조 원을 투자했다. 데이터센터는 지난달 가동을 시작했다.")
    assert [event["stage"] for event in events(running, "stage_changed")] == ["operating"]


def test_company_that_acts_with_a_known_one_is_a_partner() -> None:
    (deal,) = proposals("바다통신과 AWS는 울산에 1조 원을 투자하기로 했다.")
    assert deal.organizations == ("amazon-web-services", "badatongsin")
    # KT is known, and KT바다 is another company.
    (other,) = proposals("KT바다와 AWS는 울산에 1조 원을 투자하기로 했다.")
    assert other.organizations == ("amazon-web-services", "ktbada")
    (alone,) = proposals("울산시와 AWS는 1조 원을 투자하기로 했다.")
    assert alone.organizations == ("amazon-web-services",)


def test_commentary_announces_nothing() -> None:
    assert proposals("업계에서는 AWS의 투자가 확대될 것으로 기대하고 있다. 증권가는 KT가 오를 것으로 예측했다.") == []


def test_text_without_sentences_is_read_in_short_ones() -> None:
    """A pattern that is searched in a long text without an end would hold all other requests."""
    for text in ("$" + "1," * 5_000, "가" * 5_000):
        found = list(sentences(text))
        assert "".join(one.text for one in found) == text
        assert max(len(one.text) for one in found) <= MAX_SENTENCE
        assert all(text[one.start : one.end] == one.text for one in found)


@pytest.mark.parametrize(
    ("text", "companies"),
    [
        # A public body signs with companies: it is no investor, and says how much before it says who.
        (
            "가평군에 1조 원을 들여 120MW 데이터센터를 짓는다.\n군은 7일 ㈜바다운용·㈜해솔과 업무협약을 체결했다.",
            {"바다운용": "1000000000000"},
        ),
        (
            "전북도와 군산시는 2일 XY그룹과 투자협약을 체결했다.\nXY그룹은 새만금에 3000억원을 투자해 공장을 짓는다.",
            {"XY그룹": "300000000000"},
        ),
        # One verb for several companies, each with its amount.
        (
            "바다이엔씨는 함양에 200억원을, 해솔은 창녕에 100억원을, 들판㈜는 창원에 50억원을 각각 투자한다.",
            {"바다이엔씨": "20000000000", "해솔": "10000000000", "들판": "5000000000"},
        ),
        # Names that end like common words, with what they do before or their head after them.
        ("주물 제조업체인 바다산업은 밀양에 280억원을 투자한다.", {"바다산업": "28000000000"}),
        ("바다전지(대표 김가나)는 의령에 공장을 신설한다. 1230억원을 투자한다.", {"바다전지": "123000000000"}),
        ("첨단산업은 성장한다. 반도체 공장은 3조원을 투자해 짓는다.", {}),
        # What the company is said to do stands in the next clause.
        (
            "장비 업체인 ㈜바다기계는 아산에 공장을 두기로 하고, 총 135억원을 투자한다.",
            {"바다기계": "13500000000"},
        ),
        # The amount of several companies together is of none of them.
        (
            "바다전지는 밀양에 70억원을 투자한다. 12개 기업은 도내에 2,674억 원을 투자한다.",
            {"바다전지": "7000000000"},
        ),
        # Each amount is of its company, and a province is no company.
        (
            "전라북도 완주에 바다코레스가 843억 원, 해솔코리아가 500억 원의 신규투자를 결정했다.",
            {"바다코레스": "84300000000", "해솔코리아": "50000000000"},
        ),
        (
            "바다전지가 조지아주에 43억달러를 투자한다. 의원은 공장이 들어서는 곳에 43억 달러를 투자한다고 했다.",
            {"바다전지": "4300000000"},
        ),
        ("Sea Motors is increasing its investment in Nevada, adding $3.6 billion.", {"Sea Motors": "3600000000"}),
        # Joint investors: the first one leads.
        ("바다화학과 해솔코발트는 2028년까지 1조원을 투자해 공장을 짓는다.", {"바다화학": "1000000000000"}),
        ("Sea Foods (SF) is reportedly planning a $750 million plant in Ohio.", {"Sea Foods": "750000000"}),
        ("South Korean company Sea Cells announced a $2 billion plant in Georgia.", {"Sea Cells": "2000000000"}),
        (
            "Governor Jane Doe announced today that Sea Motors, Inc., a maker of boats, will create 150 jobs.\n"
            "The company will invest $27 million to build a plant.",
            {"Sea Motors": "27000000"},
        ),
        (
            "Sea Link, a venture of A Corp, B Group, and C Energy, signed an MoU to build a $11 billion campus.",
            {"Sea Link": "11000000000"},
        ),
    ],
)
def test_who_invests_how_much_in_press_sentences(text: str, companies: dict[str, str]) -> None:
    found = {}
    for deal in proposals(text):
        [parties] = events(deal, "parties_joined")
        [pledge] = events(deal, "pledge_announced")
        found[next(iter(parties["parties"][0]["name"].values()))] = pledge["amount"]["value"]
    assert found == companies
