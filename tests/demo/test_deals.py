"""The demo's deals: each published fact on its effective date, and no fact that no source stated."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from registry.domain.deal import Deal, MilestoneState, PledgeState, SiteState
from registry.domain.fold.claims import ClaimState
from registry.events.values import Amount, Horizon, Qualifier, StatedAmount
from tests.demo.loader import deal, deal_as_of, histories
from tests.demo.test_announcements import MAIN_DEALS, RELATED_DEALS

KRW_7TN = Amount(value="7000000000000", currency="KRW", stated_as=(StatedAmount(value="5130000000", currency="USD"),))
USD_5_1BN = Amount(value="5100000000", currency="USD")


def pledge(state: Deal, name: str) -> PledgeState:
    return next(p for p in state.pledges if p.pledge == name)


def site(state: Deal, name: str) -> SiteState:
    return next(s for s in state.sites if s.site == name)


def milestone(state: Deal, name: str) -> MilestoneState:
    return next(m for m in state.milestones if m.milestone == name)


def claimed(claims: tuple[ClaimState, ...], field: str) -> dict[str | None, Any]:
    """The standing values of a field by claim; the value of the deal's own event under None."""
    return {c.claim: c.value for c in claims if c.field.endswith(f"/{field}") and c.status == "standing"}


def parties(state: Deal) -> set[tuple[str, str | None]]:
    return {(p.organization, p.role) for p in state.parties}


@pytest.mark.parametrize("slug", MAIN_DEALS + RELATED_DEALS)
def test_every_event_of_a_deal_applies_on_every_day_of_its_history(slug: str) -> None:
    events = histories()[slug].events
    days = {event.effective_on for event in events if event.effective_on} | {event.published_on for event in events}
    for day in sorted(days):
        assert deal_as_of(slug, effective_on=day.isoformat()).unapplied == []
        assert deal_as_of(slug, published_on=day.isoformat()).unapplied == []


@pytest.mark.parametrize(
    ("slug", "name", "currency", "value", "qualifier", "basis", "commitment"),
    [
        ("aws-korea-2031", "capital-region", "USD", "5000000000", "about", "additional", "pledge"),
        ("sk-aws-ulsan", "total", "KRW", "7000000000000", None, "total", "pledge"),
        ("sk-aws-ulsan", "aws-share", "USD", "4000000000", None, "additional", "pledge"),
        ("microsoft-kt", "joint", "KRW", "2400000000000", "about", "total", "pledge"),
        ("blackrock-asia-ai-hub", "hub", "KRW", "20000000000000", "about", None, "intention"),
        ("amkor-songdo", "packaging", "USD", "9000000000", "about", None, None),
        ("amkor-songdo", "fdi", "KRW", "266100000000", None, None, None),
        ("alibaba-gmarket", "ai-technology", "KRW", "100000000000", None, "annual", None),
        ("seven-firms-korea-2030", "total", "USD", "9000000000", None, "total", "pledge"),
        ("aws-apec-2028", "total", "USD", "40000000000", "more_than", "total", "pledge"),
        ("aws-korea-2027", "programme", "KRW", "7850000000000", None, "total", "pledge"),
    ],
)
def test_pledge_has_the_stated_amount_basis_and_commitment_level(
    slug: str,
    name: str,
    currency: str,
    value: str,
    qualifier: Qualifier | None,
    basis: str | None,
    commitment: str | None,
) -> None:
    stated = pledge(deal(slug), name)
    assert stated.amount is not None
    assert (stated.amount.currency, stated.amount.value, stated.amount.qualifier) == (currency, value, qualifier)
    assert (stated.amount_basis, stated.commitment) == (basis, commitment)


def test_deals_have_only_the_pledges_that_were_announced() -> None:
    pledged = {(slug, p.pledge) for slug in MAIN_DEALS for p in deal(slug).pledges}
    assert pledged == {
        ("aws-korea-2031", "capital-region"),
        ("sk-aws-ulsan", "total"),
        ("sk-aws-ulsan", "aws-share"),
        ("microsoft-kt", "joint"),
        ("blackrock-asia-ai-hub", "hub"),
        ("amkor-songdo", "packaging"),
        ("amkor-songdo", "fdi"),
        ("alibaba-gmarket", "ai-technology"),
    }


def test_only_ulsan_has_power_and_gpus() -> None:
    measured = {(slug, s.site) for slug in MAIN_DEALS + RELATED_DEALS for s in deal(slug).sites if s.power_mw or s.gpus}
    assert measured == {("sk-aws-ulsan", "mipo")}
    mipo = site(deal("sk-aws-ulsan"), "mipo")
    assert (mipo.place, mipo.power_mw, mipo.gpus, mipo.gpus_qualifier) == ("KR-31", "103", 60_000, "about")
    assert mipo.name is not None
    assert mipo.name["en"] == "Mipo National Industrial Complex, Ulsan"


@pytest.mark.parametrize(
    ("slug", "places"),
    [
        ("aws-korea-2031", {"KR-28", "KR-41"}),
        ("sk-aws-ulsan", {"KR-31"}),
        ("amkor-songdo", {"KR-28"}),
        ("siemens-healthineers-pohang", {"KR-47"}),
        ("umicore-korea", {"KR-45", "KR-31"}),
    ],
)
def test_site_is_in_its_announced_place(slug: str, places: set[str]) -> None:
    assert {s.place for s in deal(slug).sites} == places


@pytest.mark.parametrize(
    "slug",
    [
        "microsoft-kt",
        "blackrock-asia-ai-hub",
        "renault-korea-ai",
        "corning-korea",
        "air-liquide-korea",
        "alibaba-gmarket",
        "korea-ai-highway",
        "seven-firms-korea-2030",
        "aws-korea-2027",
    ],
)
def test_deal_without_a_stated_site_is_known_by_country_only(slug: str) -> None:
    assert [(s.place, s.precision) for s in deal(slug).sites] == [("KR", "country")]


@pytest.mark.parametrize(
    ("slug", "members"),
    [
        ("aws-korea-2031", {("amazon-web-services", "investor")}),
        ("sk-aws-ulsan", {("sk-group", "investor"), ("amazon-web-services", "investor")}),
        ("microsoft-kt", {("microsoft", "investor"), ("kt", "investor")}),
        (
            "blackrock-asia-ai-hub",
            {
                ("blackrock", "investor"),
                ("global-infrastructure-partners", "financier"),
                ("mgx", "financier"),
                ("government-of-korea", "counterparty"),
            },
        ),
        ("renault-korea-ai", {("renault", "investor")}),
        ("amkor-songdo", {("amkor-technology", "investor")}),
        ("corning-korea", {("corning", "investor")}),
        ("air-liquide-korea", {("air-liquide", "investor")}),
        ("siemens-healthineers-pohang", {("siemens-healthineers", "investor")}),
        ("umicore-korea", {("umicore", "investor")}),
        (
            "alibaba-gmarket",
            {
                ("alibaba", "investor"),
                ("gmarket", "joint_venture"),
                ("shinsegae", "partner"),
                ("korea-fair-trade-commission", "regulator"),
            },
        ),
        ("korea-ai-highway", {("ministry-of-science-and-ict", "host_government")}),
    ],
)
def test_parties_and_roles_are_those_announced(slug: str, members: set[tuple[str, str]]) -> None:
    assert parties(deal(slug)) == members


def test_party_names_are_in_korean_and_english() -> None:
    named = {p.organization: p.name for slug in MAIN_DEALS for p in deal(slug).parties if p.name}
    names = {organization: (name.get("ko"), name.get("en")) for organization, name in named.items()}
    assert names["amazon-web-services"] == ("아마존웹서비스", "Amazon Web Services")
    assert names["sk-group"] == ("SK그룹", "SK Group")
    assert names["microsoft"] == ("마이크로소프트", "Microsoft")
    assert names["blackrock"] == ("블랙록", "BlackRock")
    assert names["renault"] == ("르노", "Renault")
    assert names["amkor-technology"] == ("앰코테크놀로지", "Amkor Technology")
    assert names["corning"] == ("코닝", "Corning")
    assert names["air-liquide"] == ("에어리퀴드", "Air Liquide")
    assert names["siemens-healthineers"] == ("지멘스 헬시니어스", "Siemens Healthineers")
    assert names["umicore"] == ("유미코아", "Umicore")
    assert (names["alibaba"], names["gmarket"]) == (("알리바바", "Alibaba"), ("G마켓", "Gmarket"))
    assert names["ministry-of-science-and-ict"] == ("과학기술정보통신부", "Ministry of Science and ICT")


# --- conflicting sources ----------------------------------------------------------------------------------------------


def test_ulsan_total_has_three_conflicting_amounts() -> None:
    total = pledge(deal("sk-aws-ulsan"), "total")
    won = (StatedAmount(value="7000000000000", currency="KRW"),)
    assert claimed(total.claims, "amount") == {
        None: KRW_7TN,
        "joongang-dollars": Amount(value="5130000000", currency="USD", stated_as=won),
        "herald-dollars": Amount(value="5100000000", currency="USD", stated_as=won),
    }
    assert [(c.claim, c.rule) for c in total.claims if c.followed] == [(None, "as_announced")]


def test_aws_five_billion_has_different_qualifiers_in_two_sources() -> None:
    state = deal("aws-korea-2031")
    capital = pledge(state, "capital-region")
    assert capital.amount is not None
    assert capital.amount.stated_as == (StatedAmount(value="7000000000000", currency="KRW", qualifier="about"),)
    assert capital.horizon == Horizon(until="2031")
    assert capital.additional_to is None  # no source states what it is additional to
    assert claimed(capital.claims, "amount") == {
        None: capital.amount,
        "herald-amount": Amount(value="5000000000", currency="USD", qualifier="more_than"),
    }
    assert [(r.relation, r.deal, r.other_pledge) for r in state.relations] == [
        ("separate_from", "sk-aws-ulsan", "aws-share")
    ]


def test_kt_preferred_claim_calls_the_rounded_amount_approximate() -> None:
    joint = pledge(deal("microsoft-kt"), "joint")
    assert joint.by == ("microsoft", "kt")  # no source states their shares
    dollars = joint.amount.stated_as if joint.amount else ()
    assert dollars == (StatedAmount(value="1800000000", currency="USD", qualifier="about"),)
    assert [(c.claim, c.rule) for c in joint.claims if c.followed] == [("rounded", "preferred")]
    assert joint.horizon == Horizon(from_="2024", until="2029~")
    before = pledge(deal("microsoft-kt", published_on="2025-10-28"), "joint")
    assert before.amount == Amount(
        value="2400000000000", currency="KRW", stated_as=(StatedAmount(value="1800000000", currency="USD"),)
    )


def test_kt_was_signed_before_its_amount_was_published() -> None:
    state = deal("microsoft-kt", "2024-10-09")
    assert state.pledges == ()
    assert state.stage is not None
    assert (state.stage.value, state.stage.basis, state.stage.since) == ("signed", "declared", date(2024, 9, 27))
    assert deal_as_of("microsoft-kt", published_on="2024-09-29").state is None


# --- relations between deals ------------------------------------------------------------------------------------------


def test_total_of_seven_firms_includes_the_deal_of_each() -> None:
    state = deal("seven-firms-korea-2030")
    total = pledge(state, "total")
    assert len(total.by) == 7
    assert total.horizon == Horizon(from_="2025", until="2030~")
    assert {(r.relation, r.pledge, r.deal) for r in state.relations} == {
        ("includes", "total", slug)
        for slug in [
            "aws-korea-2031",
            "renault-korea-ai",
            "amkor-songdo",
            "corning-korea",
            "air-liquide-korea",
            "siemens-healthineers-pohang",
            "umicore-korea",
        ]
    }


def test_amkor_groundbreaking_follows_its_declared_construction() -> None:
    before = deal("amkor-songdo", "2025-11-18")
    assert before.milestones == ()
    assert before.stage is not None
    assert (before.stage.value, before.stage.basis) == ("construction", "declared")
    after = deal("amkor-songdo", "2025-11-19")
    assert milestone(after, "groundbreaking").reached == "2025-11-19"
    assert milestone(after, "operations").planned == "2027"
    assert milestone(after, "operations").status == "planned"
    assert [(r.relation, r.pledge, r.other_pledge) for r in after.relations] == [("overlaps", "fdi", "packaging")]


def test_blackrock_signs_a_memorandum_before_it_states_an_intention() -> None:
    signed = deal("blackrock-asia-ai-hub", "2025-10-28")
    assert [p.instrument for p in signed.partnerships] == ["mou"]
    assert signed.pledges == ()
    assert parties(signed) == {("blackrock", "investor"), ("government-of-korea", "counterparty")}
    now = deal("blackrock-asia-ai-hub")
    assert pledge(now, "hub").commitment == "intention"
    assert now.stage is not None
    assert now.stage.value == "signed"


def test_alibaba_and_shinsegae_are_approved_with_conditions() -> None:
    announced = deal("alibaba-gmarket", "2025-09-17")
    assert [(p.members, p.instrument) for p in announced.partnerships] == [(("alibaba", "shinsegae"), "joint_venture")]
    assert announced.conditions == ()
    assert announced.pledges == ()
    now = deal("alibaba-gmarket")
    assert milestone(now, "merger-approval").reached == "2025-09-18"
    assert {(c.condition, c.authority) for c in now.conditions} == {
        ("platforms-and-data-apart", "korea-fair-trade-commission"),
        ("data-in-korea", None),
    }
    assert pledge(now, "ai-technology").horizon is None  # annual, and no end was stated


def test_ai_highway_is_a_programme_until_2030_without_a_budget() -> None:
    state = deal("korea-ai-highway")
    assert state.kind == "programme"
    assert milestone(state, "national-network").planned == "2030"
    assert state.pledges == ()
    assert state.stage is None


def test_related_programmes_of_aws_have_their_years_and_overlaps() -> None:
    programme = pledge(deal("aws-korea-2027"), "programme")
    assert programme.horizon == Horizon(from_="2023", until="2027")
    assert programme.amount is not None
    assert programme.amount.stated_as == (StatedAmount(value="5880000000", currency="USD"),)
    apec = deal("aws-apec-2028")
    assert pledge(apec, "total").horizon == Horizon(from_="2025", until="2028")
    assert apec.sites == ()
    assert {(r.relation, r.deal, r.other_pledge) for r in apec.relations} == {
        ("overlaps", "aws-korea-2027", "programme"),
        ("overlaps", "sk-aws-ulsan", "aws-share"),
        ("overlaps", "aws-korea-2031", "capital-region"),
    }


@pytest.mark.parametrize(
    "slug",
    ["renault-korea-ai", "corning-korea", "air-liquide-korea", "siemens-healthineers-pohang", "umicore-korea"],
)
def test_deal_without_stated_figures_has_no_pledge_milestone_or_stage(slug: str) -> None:
    state = deal(slug)
    assert (state.pledges, state.milestones, state.stage) == ((), (), None)
