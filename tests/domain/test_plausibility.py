"""Implausible announcements are recorded with flags that name the rule and the evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from registry.domain.assessment import flags_by_event, flags_raised
from registry.domain.checks.plausibility import Flag, FlagContext, event_flags, state_flags
from registry.domain.deal import Deal
from registry.events.types import (
    ClaimReported,
    DealRegistered,
    DealsRelated,
    Event,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    SiteAnnounced,
    SiteDropped,
    StageChanged,
)
from registry.events.values import Amount, Horizon, Localized, Source, StatedAmount
from registry.i18n import LANGUAGES, render
from tests.domain.builders import LogBuilder, day, usd
from tests.reference_rates import reference_rates


def krw(value: str, **more: Any) -> Amount:
    return Amount(value=value, currency="KRW", **more)


def raised(log: LogBuilder, neighbours: tuple[Deal, ...] = ()) -> tuple[Flag, ...]:
    """The flags that the log's last event raises."""
    steps, states = log.history().timeline.steps, log.history().timeline.states
    at = next(i for i, step in enumerate(steps) if step.effective.recorded.id == log.events[-1].id)
    before = states[at - 1] if at else log.history().record.base
    earlier = tuple(step.applied for step in steps if step.effective.recorded.position < log.events[-1].position)
    return event_flags(before, states[at], steps[at].applied, FlagContext(reference_rates(), earlier, neighbours))


def rules(flags: tuple[Flag, ...]) -> list[str]:
    return [flag.rule for flag in flags]


def recording_in_2026(slug: str = "sk-aws-ulsan") -> LogBuilder:
    """A log whose events are recorded after every publication date of these tests."""
    log = LogBuilder(slug)
    log.now = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
    return log


def announced(*events: Event, on: str = "2025-10-29") -> LogBuilder:
    log = recording_in_2026("amkor-songdo")
    for event in events:
        log.admit(event, on, published=on)  # type: ignore[arg-type]
    return log


def test_factor_of_ten_from_the_earlier_amount_is_flagged() -> None:
    """Hard case 8: 6.6억 달러 is not USD 6.6 billion."""
    log = announced(PledgeAnnounced(pledge="total", amount=usd("660000000")))
    log.admit(PledgeRevised(pledge="total", amount=usd("6600000000")), "2025-11-03", published="2025-11-03")
    (flag,) = raised(log)
    assert flag.rule == "tenfold-slip"
    assert flag.field == "/pledges/total/amount"
    assert flag.figures == {"amount": "USD 6600000000", "before": "USD 660000000", "ratio": "10"}
    assert flag.events == (str(log.events[2].id), str(log.events[1].id))


@pytest.mark.parametrize(
    ("value", "slip"),
    [
        ("700000000", True),
        ("70000000000000000", True),
        ("7000000000", True),
        ("35000000000", False),
        ("14000000000000", False),
    ],
)
def test_factor_of_ten_thousand_between_jo_and_eok_is_flagged(value: str, slip: bool) -> None:
    log = announced(PledgeAnnounced(pledge="total", amount=krw("7000000000000")))
    log.admit(PledgeRevised(pledge="total", amount=krw(value)), "2025-11-03", published="2025-11-03")
    assert rules(raised(log)) == (["tenfold-slip"] if slip else [])


def test_factor_of_ten_in_a_claim_in_another_currency_is_flagged() -> None:
    log = announced(PledgeAnnounced(pledge="total", amount=krw("7000000000000")))
    claim = ClaimReported(claim="paper", field="/pledges/total/amount", value=usd("51300000000"))
    log.admit(claim, published="2025-10-30")
    assert rules(raised(log)) == ["tenfold-slip"]


def test_factor_of_ten_between_two_stated_amounts_is_flagged() -> None:
    stated = (StatedAmount(value="700000000000", currency="KRW"),)
    log = announced(PledgeAnnounced(pledge="total", amount=usd("5000000000", stated_as=stated)))
    (flag,) = raised(log)
    assert flag.rule == "tenfold-slip"
    assert flag.figures["also stated"] == "KRW 700000000000"


def test_outdated_conversion_is_flagged_when_it_is_repeated() -> None:
    """Hard case 6: 2.4tn won were 1.8bn dollars in October 2024, not in October 2025."""
    amount = krw("2400000000000", stated_as=(StatedAmount(value="1800000000", currency="USD"),))
    log = recording_in_2026("microsoft-kt")
    log.admit(PledgeAnnounced(pledge="joint", amount=amount), "2024-10-10", published="2024-10-10")
    assert raised(log) == ()
    claim = ClaimReported(claim="repeated", field="/pledges/joint/amount", value=amount)
    log.admit(claim, published="2025-10-29")
    (flag,) = raised(log)
    assert flag.rule == "implied-rate"
    assert (flag.figures["reference day"], flag.figures["off by"]) == ("2025-10-29", "0.0672")
    # The flag also says what the rate was when the amount was announced.
    assert (flag.figures["earlier reference day"], flag.figures["earlier reference rate"][:8]) == (
        "2024-10-10",
        "0.000739",
    )
    assert flag.figures["implied rate"] == "0.00075"


def test_conversion_at_the_rate_of_the_day_is_not_flagged() -> None:
    stated = (StatedAmount(value="7000000000000", currency="KRW", qualifier="about"),)
    assert raised(announced(PledgeAnnounced(pledge="total", amount=usd("5000000000", stated_as=stated)))) == ()


def amkor() -> LogBuilder:
    return announced(PledgeAnnounced(pledge="packaging", amount=usd("9000000000", qualifier="about")))


def seven_firms() -> LogBuilder:
    log = recording_in_2026("seven-firms-korea")
    log.admit(PledgeAnnounced(pledge="total", amount=usd("9000000000")), "2025-10-29", published="2025-10-29")
    return log


def test_aggregate_attributed_to_one_member_is_flagged() -> None:
    """Hard case 2: the article gives the seven firms' USD 9bn to one of them."""
    member, aggregate = amkor(), seven_firms()
    assert raised(member, (aggregate.state(),)) == (), "no relation is declared yet"
    related = DealsRelated(relation="includes", deal="amkor-songdo", pledge="total")
    aggregate.admit(related, "2025-10-29", published="2025-10-29")

    (of_aggregate,) = raised(aggregate, (member.state(),))
    (of_member,) = state_flags(member.state(), FlagContext(reference_rates(), (), (aggregate.state(),)))

    assert of_aggregate.rule == of_member.rule == "member-not-below-aggregate"
    assert of_member.figures == {
        "amkor-songdo/packaging": "about USD 9000000000",
        "seven-firms-korea/total": "USD 9000000000",
    }
    assert of_member.events == (str(aggregate.events[-1].id),)
    assert (of_aggregate.field, of_member.field) == ("/pledges/total/amount", "/pledges/packaging/amount")


def test_member_smaller_than_its_aggregate_is_not_flagged() -> None:
    aggregate = seven_firms()
    part = DealsRelated(relation="part_of", deal="seven-firms-korea", pledge="fdi", other_pledge="total")
    small = announced(PledgeAnnounced(pledge="fdi", amount=krw("266100000000")), part)
    assert raised(small, (aggregate.state(),)) == ()
    large = announced(PledgeAnnounced(pledge="fdi", amount=krw("14000000000000")), part)
    assert rules(raised(large, (aggregate.state(),))) == ["member-not-below-aggregate"]


def test_state_flag_is_raised_by_its_cause_and_no_later_event() -> None:
    aggregate = seven_firms()
    aggregate.admit(DealsRelated(relation="includes", deal="amkor-songdo"), "2025-10-29", published="2025-10-29")
    aggregate.admit(StageChanged(stage="committed"), "2025-11-01", published="2025-11-01")
    assert raised(aggregate, (amkor().state(),)) == ()


def test_horizon_in_the_past_is_flagged() -> None:
    over = announced(PledgeAnnounced(pledge="total", horizon=Horizon(until="2024")))
    assert rules(raised(over)) == ["horizon-past"]
    over.admit(PledgeRevised(pledge="total", horizon=Horizon(until="2025-09")), "2025-11-03", published="2025-11-03")
    assert rules(raised(over)) == ["horizon-past"]
    within = announced(PledgeAnnounced(pledge="total", horizon=Horizon(until="2025")))
    assert raised(within) == (), "the year has not ended"
    without = announced(PledgeAnnounced(pledge="total", horizon=Horizon(from_="2020")))
    assert raised(without) == ()


def test_planned_date_in_the_past_is_flagged() -> None:
    log = announced(MilestoneScheduled(milestone="power", planned="2025-07/2025-09"))
    assert rules(raised(log)) == ["planned-past"]


def test_unusual_power_per_gpu_is_flagged() -> None:
    plausible = announced(SiteAnnounced(site="mipo", power_mw="103", gpus=60000))
    assert raised(plausible) == ()
    slipped = announced(SiteAnnounced(site="mipo", power_mw="103", gpus=600000))
    (flag,) = raised(slipped)
    assert (flag.rule, flag.figures["kw_per_gpu"]) == ("power-per-gpu", "0.171667")
    assert rules(raised(announced(SiteAnnounced(site="mipo", power_mw="1030", gpus=60000)))) == ["power-per-gpu"]
    slipped.admit(SiteDropped(site="mipo"), "2025-11-03")
    assert raised(slipped) == ()
    assert state_flags(slipped.state(), FlagContext()) == ()


def test_same_announcement_recorded_twice_is_flagged() -> None:
    same = (Source(url="https://example.org/a", published_on=None),)
    log = recording_in_2026()
    first = log.admit(PledgeAnnounced(pledge="total", amount=usd("5000000000")), "2025-10-29", sources=same)
    second = log.admit(PledgeAnnounced(pledge="capital", amount=usd("5000000000")), "2025-10-29", sources=same)
    (flag,) = raised(log)
    assert (flag.rule, flag.events) == ("recorded-twice", (str(second.id), str(first.id)))
    log.admit(PledgeAnnounced(pledge="other", amount=usd("5000000000")), "2025-10-29", published="2025-10-29")
    assert raised(log) == (), "another source that reports the same is not a duplicate"
    log.admit(PledgeAnnounced(pledge="more", amount=usd("6000000000")), "2025-10-29", sources=same)
    assert raised(log) == (), "the same source with other content is not a duplicate"


def test_revision_published_before_its_pledge_is_flagged() -> None:
    log = recording_in_2026()
    pledge = log.admit(PledgeAnnounced(pledge="total"), "2025-06-16", published="2025-06-16")
    log.admit(PledgeConfirmed(pledge="total"), "2025-06-20", published="2025-06-10")
    (flag,) = raised(log)
    assert flag.rule == "published-before-its-pledge"
    assert flag.events == (str(log.events[-1].id), str(pledge.id))


def test_amounts_that_cannot_be_compared_raise_no_flag() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=Amount(currency="KRW", wording="several trillion won")))
    assert raised(log) == ()
    log.admit(PledgeRevised(pledge="total", amount=Amount(currency="TWD", value="5")), "2026-01-01")
    assert raised(log) == ()
    ranged = Amount(currency="TWD", low="40", high="60")
    log.admit(PledgeRevised(pledge="total", amount=ranged), "2026-01-02")
    assert rules(raised(log)) == ["tenfold-slip"], "a range is compared by its midpoint"


def test_without_rates_conversions_are_not_checked() -> None:
    stated = (StatedAmount(value="1", currency="KRW"),)
    log = announced(PledgeAnnounced(pledge="total", amount=usd("5000000000", stated_as=stated)))
    history = log.history()
    happened = history.timeline.steps[-1].applied
    assert event_flags(None, history.state, happened, FlagContext()) == ()


def test_source_dated_after_the_recording_is_flagged() -> None:
    log = recording_in_2026()
    log.admit(StageChanged(stage="signed"), "2026-01-01", published="2026-01-03")
    (flag,) = raised(log)
    assert (flag.rule, flag.events) == ("published-after-recorded", (str(log.events[-1].id),))
    assert flag.figures == {"published": "2026-01-03", "recorded": "2026-01-01"}
    log.now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)  # already the next day in the easternmost time zone
    log.admit(StageChanged(stage="committed"), "2026-01-02", published="2026-01-02")
    assert raised(log) == ()


def test_registrations_source_dated_after_recording_is_flagged() -> None:
    log = LogBuilder(registered=False)
    registered = log.admit(DealRegistered(title=Localized(en="A deal")), "2024-12-01", published="2025-01-03")
    signed = log.admit(StageChanged(stage="signed"), "2025-01-02", published="2025-01-02")
    history = log.history()
    (flag,) = flags_raised(history, [registered.id, signed.id], reference_rates(), ())
    assert (flag.rule, flag.events) == ("published-after-recorded", (str(registered.id),))
    assert flags_by_event(history.state_as_of(log.at()), reference_rates()) == {registered.id: (flag,)}
    log.correct(registered, sources=(Source(publisher="The Korea Herald", published_on=day("2024-12-31")),))
    assert flags_by_event(log.history().state_as_of(log.at()), reference_rates()) == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_flag_is_explained_in_every_language_after_a_json_round_trip(language: str) -> None:
    over = announced(PledgeAnnounced(pledge="total", horizon=Horizon(until="2024")))
    (flag,) = raised(over)
    assert flag.detail == render(flag.text, "en")
    decoded = msgspec.json.decode(msgspec.json.encode(flag), type=Flag)
    assert decoded == flag
    for value in ("2024", "2025-10-29"):
        assert value in render(decoded.text, language)


def test_superseding_a_pledge_that_the_other_deal_lacks_is_flagged() -> None:
    other = LogBuilder("other")
    other.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2025-06-16")
    log = LogBuilder("newer")
    relation = DealsRelated(relation="supersedes", deal="other", other_pledge="total")
    log.admit(relation, "2025-06-16")
    assert raised(log, (other.state(),)) == ()
    log.admit(msgspec.structs.replace(relation, other_pledge="old"), "2025-06-16")
    (flag,) = raised(log, (other.state(),))
    assert (flag.rule, flag.events) == ("supersedes-no-pledge", (str(log.events[-1].id),))
    assert raised(log) == ()
