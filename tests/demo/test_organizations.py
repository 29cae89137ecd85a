"""The demo's organizations: their names in Korean and English, parents and identifiers."""

from __future__ import annotations

from datetime import date

import pytest

from registry.domain.organizations.organization import Organization
from tests.demo.loader import organization_histories, organizations


def organization(slug: str, on: str | None = None) -> Organization:
    return organization_histories()[slug].at(date.fromisoformat(on) if on else None)


def test_every_organization_announcement_is_valid_and_applies() -> None:
    assert sum(history.version for history in organization_histories().values()) == len(organizations())
    assert [slug for slug, history in organization_histories().items() if history.timeline.refusals] == []


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("amazon-web-services", "AWS"),
        ("amazon-web-services", "아마존웹서비스"),
        ("microsoft", "MS"),
        ("microsoft", "마이크로소프트"),
        ("global-infrastructure-partners", "GIP"),
        ("gmarket", "지마켓"),
        ("amkor-technology", "앰코"),
        ("ministry-of-science-and-ict", "과기정통부"),
        ("korea-fair-trade-commission", "공정위"),
    ],
)
def test_organization_has_the_names_that_the_press_uses(slug: str, name: str) -> None:
    assert name in set(organization(slug).all_names())


def test_name_belongs_to_one_organization() -> None:
    slugs_by_name: dict[str, set[str]] = {}
    for slug in organization_histories():
        for name in organization(slug).all_names():
            slugs_by_name.setdefault(name.casefold(), set()).add(slug)
    assert {name: slugs for name, slugs in slugs_by_name.items() if len(slugs) > 1} == {}


def test_parent_is_in_effect_from_its_date() -> None:
    owners = [(p.parent, p.control) for p in organization("amazon-web-services").parents]
    assert owners == [("amazon", "owns")]
    assert organization("global-infrastructure-partners", "2024-09-30").parents == ()
    owned = organization("global-infrastructure-partners", "2024-10-01").parents
    assert [(p.parent, p.control) for p in owned] == [("blackrock", "owns")]
    assert [p.parent for p in organization("ministry-of-science-and-ict").parents] == ["government-of-korea"]


def test_organizations_have_only_the_confirmed_identifiers() -> None:
    known = {
        (slug, i.scheme, i.identifier) for slug in organization_histories() for i in organization(slug).identifiers
    }
    assert known == {
        ("amazon", "lei", "ZXTILKJKG63JELOEG630"),
        ("amazon", "wikidata", "Q3884"),
        ("amazon-web-services", "wikidata", "Q456157"),
        ("microsoft", "lei", "INR2EJN1ERAN0W5ZP974"),
        ("microsoft", "wikidata", "Q2283"),
        ("alibaba", "wikidata", "Q1359568"),
        ("kt", "kr-brn", "1028142945"),
        ("gmarket", "kr-brn", "2208183676"),
    }
