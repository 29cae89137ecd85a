"""Differences between two states."""

from __future__ import annotations

import msgspec

from registry.domain.audit.diff import Change, apply, diff
from registry.domain.organizations.organization import register
from registry.events.types import (
    DealRevised,
    DealsRelated,
    OrganizationRegistered,
    PartiesJoined,
    PartyLeft,
    PledgeAnnounced,
    PledgeRevised,
    PledgeWithdrawn,
    SiteAnnounced,
)
from registry.events.values import Localized, Party
from tests.domain.builders import LogBuilder, day, usd
from tests.domain.comparisons import FIELD, pledged


def test_change_of_an_amount_is_one_change() -> None:
    log, _ = pledged()
    before = log.state()
    log.admit(PledgeRevised(pledge="total", amount=usd("7", qualifier="about")), "2024-06-16")
    assert diff(before, log.state()) == [Change(FIELD, usd("5"), usd("7", qualifier="about"))]


def test_equal_states_have_no_differences() -> None:
    log, _ = pledged()
    assert diff(log.state(), log.state()) == []
    assert diff(None, None) == []


def test_new_item_is_listed_by_its_known_fields() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(SiteAnnounced(site="mipo", place="KR-31"), "2024-06-16")
    assert {c.path: (c.before, c.after) for c in diff(before, log.state())} == {
        "/sites/mipo/site": (None, "mipo"),
        "/sites/mipo/place": (None, "KR-31"),
        "/sites/mipo/status": (None, "announced"),
        "/sites/mipo/announced_on": (None, day("2024-06-16")),
    }


def test_parties_and_relations_have_composite_ids() -> None:
    log, _ = pledged()
    log.admit(PartiesJoined(parties=(Party(organization="sk", role="investor"),)), "2024-06-16")
    before = log.state()
    log.admit(PartyLeft(organization="sk"), "2024-06-20")
    log.admit(DealsRelated(relation="separate_from", deal="aws-korea-2031", pledge="total"), "2024-06-20")
    paths = {c.path for c in diff(before, log.state())}
    assert "/parties/sk:investor:2024-06-16/left_on" in paths
    assert "/relations/separate_from:total:aws-korea-2031:/since" in paths


def test_list_of_items_without_ids_is_one_value() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(DealRevised(sectors=("cloud", "data-centers")), "2024-06-16")
    assert diff(before, log.state()) == [Change("/sectors", (), ("cloud", "data-centers"))]


def test_differences_can_be_applied_and_reverted() -> None:
    log, _ = pledged()
    one = log.state()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1"), by=("sk", "amazon")), "2024-06-01")
    log.admit(PledgeWithdrawn(pledge="total"), "2024-07-01")
    two = log.state()
    for a, b in ((one, two), (two, one), (None, two), (two, None)):
        assert apply(a, diff(a, b)) == b


def test_states_of_an_organization_have_differences() -> None:
    one = register("sk-group", OrganizationRegistered(name=Localized(en="SK")))
    two = msgspec.structs.replace(one, name=Localized(en="SK Group"))
    assert diff(one, two) == [Change("/name", one.name, two.name)]
    assert apply(None, diff(None, two)) == two
