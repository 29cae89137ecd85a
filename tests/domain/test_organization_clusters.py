"""Clusters of organizations by their names: what collides, what does not, and which organization is kept."""

from __future__ import annotations

import pytest

from registry.domain.organizations.clusters import (
    NamedOrganization,
    find_clusters,
    fingerprint,
    ngram_fingerprint,
)
from registry.domain.organizations.organization import IdentifierState


def named(*names: str, **known: object) -> NamedOrganization:
    slug = "".join(sign if sign.isalnum() else "-" for sign in names[0].lower())
    return NamedOrganization(organization=slug, names=names, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        # The examples of OpenRefine's documentation and tests.
        ("  Tom  Cruise ", "cruise tom"),
        ("Cruise, Tom", "cruise tom"),
        ("Björk Guðmundsdóttir", "bjork guðmundsdottir"),
        ("A. B. (b) a", "a b"),
        ("삼성전자, (주)", "삼성전자 주"),
    ],
)
def test_fingerprint_is_the_one_of_openrefine(name: str, key: str) -> None:
    assert fingerprint(name) == key


def test_ngram_fingerprint_is_the_one_of_openrefine() -> None:
    assert ngram_fingerprint("Paris") == "arispari"
    assert ngram_fingerprint("P a r i s !") == ngram_fingerprint("paris")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alpha Energy", "Energy, Alpha"),
        ("Alpha Energy Inc.", "Alpha Energy"),
        ("AlphaEnergy", "Alpha Energy"),
        ("Société Générale", "Societe Generale"),
        ("삼성 전자", "삼성전자"),
        ("주식회사 에코프로비엠", "에코프로비엠"),
        ("앰코테크놀로지", "Amkor Technology"),
    ],
)
def test_spellings_of_one_name_are_a_cluster(one: str, other: str) -> None:
    [cluster] = find_clusters([named(one), named(other), named("Another Company")])
    assert {member.names[0] for member in cluster.members} == {one, other}


@pytest.mark.parametrize(
    ("one", "other"), [("Alpha Energy", "Beta Energy"), ("LG", "GL"), ("SK", "KT"), ("A1", "1A"), ("X Inc.", "X Co.")]
)
def test_different_names_are_no_cluster(one: str, other: str) -> None:
    assert find_clusters([named(one), named(other)]) == []


def test_registered_organization_is_the_one_to_keep_then_the_one_with_most_deals() -> None:
    few, many = named("Alpha Inc", deals=2), named("ALPHA", deals=9)
    registered = named("Alpha Ltd", is_registered=True)
    [cluster] = find_clusters([few, registered, many])
    assert cluster.members == (registered, many, few)
    [cluster] = find_clusters([few, many])
    assert cluster.members == (many, few)


def test_different_identifiers_of_one_register_prove_two_organizations() -> None:
    one = named("Alpha", identifiers=(IdentifierState("lei", "1"),))
    other = named("Alpha Inc", identifiers=(IdentifierState("lei", "2"),))
    unknown = named("Alpha Co")
    assert find_clusters([one, other]) == []
    [cluster] = find_clusters([one, other, unknown])
    assert other not in cluster.members


def test_clusters_of_many_names_are_the_planted_ones() -> None:
    names = [named(f"Company {i}x of {i % 97}", deals=1) for i in range(6_000)]
    planted = [named(f"{i % 97} of company, {i}X (Inc.)", deals=2) for i in range(0, 6_000, 20)]
    clusters = find_clusters([*names, *planted])
    assert len(clusters) == len(planted)
    assert {cluster.members[0] for cluster in clusters} == set(planted)
