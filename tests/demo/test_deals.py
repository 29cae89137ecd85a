"""The demo's deals, folded: every fact that was published, at the time it held, and nothing that was not said."""

from __future__ import annotations

from typing import Any

import pytest

from registry.domain.claims import ClaimState
from registry.domain.deal import Deal, MilestoneState, PledgeState, SiteState
from registry.events.values import Amount, Horizon, Qualifier, StatedAmount
from tests.demo.loader import deal, histories, seen
from tests.demo.test_announcements import BESIDE, TWELVE

KRW_7TN = Amount(value="7000000000000", currency="KRW", stated_as=(StatedAmount(value="5130000000", currency="USD"),))
USD_5_1BN = Amount(value="5100000000", currency="USD")


def pledge(state: Deal, name: str) -> PledgeState:
    return next(p for p in state.pledges if p.pledge == name)


def site(state: Deal, name: str) -> SiteState:
    return next(s for s in state.sites if s.site == name)


def milestone(state: Deal, name: str) -> MilestoneState:
    return next(m for m in state.milestones if m.milestone == name)


def claimed(claims: tuple[ClaimState, ...], field: str) -> dict[str | None, Any]:
    """What stands of a field: each claim's value by its name; what the deal's own event says under None."""
    return {c.claim: c.value for c in claims if c.field.endswith(f"/{field}") and c.status == "standing"}


def parties(state: Deal) -> set[tuple[str, str | None]]:
    return {(p.organization, p.role) for p in state.parties}


@pytest.mark.parametrize("slug", TWELVE + BESIDE)
def test_nothing_of_a_deal_is_left_unapplied_at_any_day_of_its_history(slug: str) -> None:
    events = histories()[slug].events
    days = {event.effective_on for event in events if event.effective_on} | {event.published_on for event in events}
    for day in sorted(days):
        assert seen(slug, effective_on=day.isoformat()).unapplied == []
        assert seen(slug, published_on=day.isoformat()).unapplied == []


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
def test_an_amount_is_as_it_was_stated(
    slug: str,
    name: str,
    currency: str,
    value: str,
    qualifier: Qualifier | None,
    basis: str | None,
    commitment: str | None,
) -> None:
    said = pledge(deal(slug), name)
    assert said.amount is not None
    assert (said.amount.currency, said.amount.value, said.amount.qualifier) == (currency, value, qualifier)
    assert (said.amount_basis, said.commitment) == (basis, commitment)


def test_no_deal_has_a_pledge_that_nobody_made() -> None:
    pledged = {(slug, p.pledge) for slug in TWELVE for p in deal(slug).pledges}
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


def test_power_and_gpus_are_known_of_ulsan_alone() -> None:
    measured = {(slug, s.site) for slug in TWELVE + BESIDE for s in deal(slug).sites if s.power_mw or s.gpus}
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
def test_a_site_lies_where_it_was_announced(slug: str, places: set[str]) -> None:
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
def test_where_no_site_was_stated_only_the_country_is_known(slug: str) -> None:
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
def test_the_parties_are_those_announced(slug: str, members: set[tuple[str, str]]) -> None:
    assert parties(deal(slug)) == members


def test_names_stand_in_both_scripts() -> None:
    named = {p.organization: p.name for slug in TWELVE for p in deal(slug).parties if p.name}
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


# --- Ulsan, four times ------------------------------------------------------------------------------------------------


def test_ulsan_on_17_june_has_the_citys_figures() -> None:
    state = deal("sk-aws-ulsan", "2025-06-17")
    assert [p.pledge for p in state.pledges] == ["total"]
    total = pledge(state, "total")
    assert total.amount == USD_5_1BN
    assert total.by == ("sk-group", "amazon-web-services")
    assert claimed(total.claims, "amount") == {
        None: USD_5_1BN,
        "insiders-amount": Amount(currency="KRW", wording="several trillion won"),
    }
    first, full = milestone(state, "first-phase"), milestone(state, "full-capacity")
    assert (first.planned, first.power_mw, first.status) == ("2027", "41", "planned")
    assert (full.planned, full.power_mw, full.status) == ("2029", "103", "planned")
    assert claimed(first.claims, "planned") == {None: "2027", "insiders-first-phase": "2027-11"}
    assert claimed(first.claims, "power_mw") == {None: "41", "insiders-first-phase-power": "40"}
    assert claimed(full.claims, "planned") == {None: "2029", "insiders-full-capacity": "2029-02"}
    assert milestone(state, "groundbreaking").status == "planned"
    assert site(state, "mipo").power_mw == "103"
    assert state.partnerships == ()
    assert state.relations == ()


def test_ulsan_on_21_june_has_the_chairmans_seven_trillion() -> None:
    state = deal("sk-aws-ulsan", "2025-06-21")
    assert [p.pledge for p in state.pledges] == ["total"]
    assert pledge(state, "total").amount == KRW_7TN
    assert pledge(state, "total").by == ("sk-group", "amazon-web-services")
    assert state.partnerships == ()
    assert state.relations == ()
    assert milestone(state, "groundbreaking").status == "planned"


def test_ulsan_on_23_june_has_the_part_of_aws_inside_the_whole() -> None:
    state = deal("sk-aws-ulsan", "2025-06-23")
    assert pledge(state, "total").amount == KRW_7TN
    share = pledge(state, "aws-share")
    assert share.amount == Amount(value="4000000000", currency="USD")
    assert (share.amount_basis, share.additional_to) == ("additional", "aws-korea-2027/programme")
    assert share.by == ("amazon-web-services",)
    assert {(r.relation, r.pledge, r.deal, r.other_pledge) for r in state.relations} == {
        ("part_of", "aws-share", "sk-aws-ulsan", "total"),
        ("additional_to", "aws-share", "aws-korea-2027", "programme"),
    }
    assert [p.members for p in state.partnerships] == [("sk-group", "amazon-web-services")]
    assert milestone(state, "groundbreaking").status == "planned"
    assert milestone(state, "groundbreaking").planned == "2025-08/2025-09"


def test_ulsan_on_1_september_has_broken_ground_which_is_not_construction() -> None:
    state = deal("sk-aws-ulsan", "2025-09-01")
    broken = milestone(state, "groundbreaking")
    assert (broken.status, broken.reached) == ("reached", "2025-08-29")
    assert {p.pledge for p in state.pledges} == {"total", "aws-share"}
    assert milestone(state, "first-phase").status == "planned"
    assert state.stage is not None
    assert state.stage.value != "construction"
    later = deal("sk-aws-ulsan", "2025-10-29").stage
    assert later is not None
    assert (later.value, later.basis) == ("construction", "declared")


def test_ulsan_is_four_states_and_unknown_before_the_first() -> None:
    days = ["2025-06-17", "2025-06-21", "2025-06-23", "2025-09-01"]
    states = [deal("sk-aws-ulsan", day) for day in days]
    assert all(a != b for i, a in enumerate(states) for b in states[i + 1 :])
    assert seen("sk-aws-ulsan", effective_on="2025-06-15").state is None
    assert seen("sk-aws-ulsan", published_on="2025-06-15").state is None


def test_ulsan_as_published_by_21_june_does_not_know_the_herald_yet() -> None:
    total = pledge(deal("sk-aws-ulsan", published_on="2025-06-21"), "total")
    assert claimed(total.claims, "amount").keys() == {None, "joongang-dollars"}


# --- values that sources disagree about -------------------------------------------------------------------------------


def test_three_figures_of_ulsan_stand_side_by_side() -> None:
    total = pledge(deal("sk-aws-ulsan"), "total")
    won = (StatedAmount(value="7000000000000", currency="KRW"),)
    assert claimed(total.claims, "amount") == {
        None: KRW_7TN,
        "joongang-dollars": Amount(value="5130000000", currency="USD", stated_as=won),
        "herald-dollars": Amount(value="5100000000", currency="USD", stated_as=won),
    }
    assert [(c.claim, c.rule) for c in total.claims if c.followed] == [(None, "as_announced")]


def test_five_billion_of_aws_is_about_in_one_source_and_more_than_in_another() -> None:
    state = deal("aws-korea-2031")
    capital = pledge(state, "capital-region")
    assert capital.amount is not None
    assert capital.amount.stated_as == (StatedAmount(value="7000000000000", currency="KRW", qualifier="about"),)
    assert capital.horizon == Horizon(until="2031")
    assert capital.additional_to is None  # additional to what, nobody said
    assert claimed(capital.claims, "amount") == {
        None: capital.amount,
        "herald-amount": Amount(value="5000000000", currency="USD", qualifier="more_than"),
    }
    assert [(r.relation, r.deal, r.other_pledge) for r in state.relations] == [
        ("separate_from", "sk-aws-ulsan", "aws-share")
    ]


def test_the_registry_prefers_the_source_that_calls_the_round_figure_of_kt_approximate() -> None:
    joint = pledge(deal("microsoft-kt"), "joint")
    assert joint.by == ("microsoft", "kt")  # joint: how they share it was not said
    dollars = joint.amount.stated_as if joint.amount else ()
    assert dollars == (StatedAmount(value="1800000000", currency="USD", qualifier="about"),)
    assert [(c.claim, c.rule) for c in joint.claims if c.followed] == [("rounded", "preferred")]
    assert joint.horizon == Horizon(from_="2024", until="2029~")
    before = pledge(deal("microsoft-kt", published_on="2025-10-28"), "joint")
    assert before.amount == Amount(
        value="2400000000000", currency="KRW", stated_as=(StatedAmount(value="1800000000", currency="USD"),)
    )


def test_kt_signed_before_the_amount_was_said() -> None:
    state = deal("microsoft-kt", "2024-10-09")
    assert state.pledges == ()
    assert state.stage is not None
    assert (state.stage.value, state.stage.basis, state.stage.since.isoformat()) == ("signed", "declared", "2024-09-27")
    assert seen("microsoft-kt", published_on="2024-09-29").state is None


# --- wholes, parts and neighbours -------------------------------------------------------------------------------------


def test_the_nine_billion_of_seven_firms_include_the_deal_of_each() -> None:
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


def test_amkor_breaks_ground_after_the_article_has_it_being_built() -> None:
    before = deal("amkor-songdo", "2025-11-18")
    assert before.milestones == ()
    assert before.stage is not None
    assert (before.stage.value, before.stage.basis) == ("construction", "declared")
    after = deal("amkor-songdo", "2025-11-19")
    assert milestone(after, "groundbreaking").reached == "2025-11-19"
    assert milestone(after, "operations").planned == "2027"
    assert milestone(after, "operations").status == "planned"
    assert [(r.relation, r.pledge, r.other_pledge) for r in after.relations] == [("overlaps", "fdi", "packaging")]


def test_blackrock_signs_a_memorandum_first_and_names_an_intention_later() -> None:
    signed = deal("blackrock-asia-ai-hub", "2025-10-28")
    assert [p.instrument for p in signed.partnerships] == ["mou"]
    assert signed.pledges == ()
    assert parties(signed) == {("blackrock", "investor"), ("government-of-korea", "counterparty")}
    now = deal("blackrock-asia-ai-hub")
    assert pledge(now, "hub").commitment == "intention"
    assert now.stage is not None
    assert now.stage.value == "signed"


def test_alibaba_and_shinsegae_are_approved_under_conditions() -> None:
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


def test_the_ai_highway_is_a_programme_of_the_ministry_by_2030_without_a_budget() -> None:
    state = deal("korea-ai-highway")
    assert state.kind == "programme"
    assert milestone(state, "national-network").planned == "2030"
    assert state.pledges == ()
    assert state.stage is None


def test_the_programmes_of_aws_beside_the_twelve_have_their_years() -> None:
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
def test_a_deal_of_which_no_figure_was_stated_has_none(slug: str) -> None:
    state = deal(slug)
    assert (state.pledges, state.milestones, state.stage) == ((), (), None)
