"""Example announcements of the OpenAPI document: at least one of every event type.

A type without an example here gets one that is made from the types of its fields.

Posted to a new deal or organization in this order, each is recorded, once `EVENT` is replaced by the id of the event
before it, and `another-deal` and `another-organization` by existing ones (tests/api/test_openapi.py).
"""

from __future__ import annotations

from typing import Any, get_args

from registry.events.sample import sample_event
from registry.events.types import DealEvent, OrganizationFact, PrincipalFact, tag_of

SOURCE = {
    "publisher": "The Korea Herald",
    "url": "https://www.koreaherald.com/article/10604137",
    "language": "en",
    "published_on": "2025-10-29",
}

# Stands for the id of an event.
EVENT = "01a22396-62a1-7c3e-8a54-5d0f6b3f9c10"


def _announcement(type: str, on: str | None = None, sources: Any = None, note: str | None = None, **fields: Any) -> Any:
    """Return an announcement; what is None is left out."""
    parts = {"effective_on": on, "sources": sources, "note": note}
    return {name: part for name, part in parts.items() if part is not None} | {"event": {"type": type, **fields}}


ANNOUNCEMENTS: dict[str, Any] = {
    "A deal begins": _announcement(
        "deal_registered",
        sources=[SOURCE],
        title={"en": "AWS AI region in the capital area", "ko": "AWS 수도권 AI 리전"},
        kind="investment",
        sectors=["data-centres"],
    ),
    "Several at once, all or none": [
        _announcement(
            "parties_joined",
            on="2025-10-29",
            sources=[SOURCE],
            parties=[
                {
                    "organization": "amazon-web-services",
                    "name": {"en": "Amazon Web Services", "ko": "아마존웹서비스"},
                    "role": "investor",
                }
            ],
        ),
        _announcement(
            "site_announced", on="2025-10-29", sources=[SOURCE], site="incheon", place="KR-28", precision="region"
        ),
    ],
    "An amount is pledged": _announcement(
        "pledge_announced",
        on="2025-10-29",
        sources=[SOURCE],
        note="The article says 'by 2031'.",
        pledge="capital-region",
        amount={
            "value": "5000000000",
            "currency": "USD",
            "qualifier": "about",
            "stated_as": [{"value": "7000000000000", "currency": "KRW", "qualifier": "about"}],
        },
        amount_basis="additional",
        commitment="pledge",
        by=["amazon-web-services"],
        horizon={"until": "2031"},
    ),
    "A milestone is scheduled": _announcement(
        "milestone_scheduled",
        on="2025-10-29",
        sources=[SOURCE],
        milestone="first-power",
        kind="power_on",
        site="incheon",
        planned="2027-11",
    ),
    "Another source states a different amount": _announcement(
        "claim_reported",
        sources=[SOURCE],
        claim="herald",
        field="/pledges/capital-region/amount",
        value={"value": "5000000000", "currency": "USD", "qualifier": "more_than"},
    ),
    "An editor prefers a claim": _announcement(
        "claim_preferred", field="/pledges/capital-region/amount", claim="herald"
    ),
    "A source retracts its claim": _announcement(
        "claim_retracted", claim="herald", reason="The newspaper printed a correction."
    ),
    "Organizations sign a memorandum": _announcement(
        "partnership_formed", on="2025-10-29", members=["amazon-web-services"], instrument="mou"
    ),
    "An approval is required": _announcement(
        "condition_set", on="2025-10-29", condition="grid-permit", text={"en": "Grid connection permit"}
    ),
    "The approval is given": _announcement("condition_lifted", on="2025-11-01", condition="grid-permit"),
    "A stage is declared": _announcement("stage_changed", on="2025-11-01", stage="committed"),
    "The plan changes": _announcement(
        "milestone_rescheduled", on="2025-11-01", milestone="first-power", planned="2028"
    ),
    "The site grows": _announcement("site_revised", on="2025-11-01", site="incheon", power_mw="120"),
    "The pledge grows": _announcement(
        "pledge_revised", on="2025-11-02", pledge="capital-region", amount={"value": "6000000000", "currency": "USD"}
    ),
    "The pledge becomes binding": _announcement(
        "pledge_confirmed", on="2025-11-03", pledge="capital-region", commitment="binding"
    ),
    "Money is spent": _announcement(
        "disbursement_reported",
        on="2026-01-31",
        pledge="capital-region",
        amount={"value": "100000000", "currency": "USD"},
    ),
    "The deal is separate from another": _announcement(
        "deals_related", on="2025-11-03", relation="separate_from", deal="another-deal"
    ),
    "The relation ends": _announcement(
        "deals_unrelated", on="2025-11-04", relation="separate_from", deal="another-deal"
    ),
    "The milestone is reached": _announcement("milestone_reached", on="2028-02-01", milestone="first-power"),
    "A recording error is corrected": _announcement(
        "event_corrected", corrects=EVENT, replacement={"effective_on": "2028-02-03"}, reason="Wrong day."
    ),
    "A correction is voided": _announcement("event_voided", voids=EVENT, reason="The first date was right."),
    "The title changes": _announcement("deal_revised", on="2025-11-05", title={"en": "AWS AI region in Korea"}),
    "Content is erased by law": _announcement("event_redacted", redacts=EVENT, reason="Court order."),
    "Another register's identifier is recorded": _announcement(
        "deal_identified", on="2025-11-05", identifiers=[{"scheme": "ocid", "value": "ocds-213czf-000-00001"}]
    ),
    "A source finds the site under construction": _announcement(
        "status_observed", on="2026-01-15", stage="construction", certainty="reported"
    ),
    "Jobs are announced": _announcement(
        "metric_reported",
        on="2025-11-05",
        metric="jobs",
        basis="planned",
        value="250",
        site="incheon",
        qualifier="about",
        date="2027",
    ),
    "More jobs are announced": _announcement(
        "metric_revised", on="2025-12-01", metric="jobs", basis="planned", site="incheon", date="2027", value="300"
    ),
    "An authority grants a tax credit": _announcement(
        "incentive_granted",
        on="2025-11-05",
        incentive="tax-credit",
        kind="tax_credit",
        amount={"value": "100000000", "currency": "USD", "figure": "estimated"},
        authority="ministry-of-economy-and-finance",
    ),
    "The tax credit grows": _announcement(
        "incentive_revised",
        on="2025-12-01",
        incentive="tax-credit",
        amount={"value": "120000000", "currency": "USD", "figure": "estimated"},
    ),
    "The tax credit ends": _announcement("incentive_ended", on="2026-12-31", incentive="tax-credit"),
    "Residents object": _announcement(
        "setback_reported",
        on="2026-01-20",
        setback="noise",
        kind="opposition",
        text={"en": "Residents object to the noise of the cooling plant.", "ko": "냉각 설비 소음에 주민이 반대합니다."},
    ),
    "The objection is settled": _announcement("setback_resolved", on="2026-02-20", setback="noise"),
    "A second milestone is scheduled": _announcement(
        "milestone_scheduled", on="2025-11-05", milestone="second-hall", planned="2029"
    ),
    "A milestone is cancelled": _announcement("milestone_cancelled", on="2026-03-01", milestone="second-hall"),
    "A party leaves": _announcement("party_left", on="2026-03-01", organization="amazon-web-services"),
    "A site is given up": _announcement("site_dropped", on="2026-04-01", site="incheon"),
    "A pledge is withdrawn": _announcement(
        "pledge_withdrawn", on="2026-04-01", pledge="capital-region", reason="The company left the project."
    ),
    "The deal is a duplicate": _announcement("deal_merged", into="another-deal"),
    "The merge is undone": _announcement("deal_unmerged"),
}

ORGANIZATION_ANNOUNCEMENTS: dict[str, Any] = {
    "An organization begins": _announcement(
        "organization_registered", name={"en": "Amazon Web Services", "ko": "아마존웹서비스"}, country="US"
    ),
    "It has another name": _announcement(
        "organization_named", on="2006-03-14", name="AWS", language="en", kind="short"
    ),
    "It has an identifier": _announcement(
        "organization_identified", on="2006-03-14", scheme="lei", identifier="529900T8BM49AURSDO55"
    ),
    "It has a parent": _announcement(
        "parent_set", on="2006-03-14", parent="another-organization", control="owns", share="100"
    ),
    "The parent sells it": _announcement("parent_ended", on="2026-01-01", parent="another-organization"),
    "It is a duplicate": _announcement("organization_merged", into="another-organization"),
    "The merge is undone": _announcement("organization_unmerged"),
}


PRINCIPAL_ANNOUNCEMENTS: dict[str, Any] = {
    "A person, and a key for a year": [
        _announcement("principal_registered", name="Kim Min-ji", kind="person"),
        _announcement("key_issued", key="k1", scopes=["read", "record"], expires_at="2099-12-31T00:00:00Z"),
    ],
    "The person has another name": _announcement("principal_renamed", name="Kim Min-ji (Investment Office)"),
    "The key may propose only, about one deal": _announcement(
        "scopes_changed", key="k1", scopes=["propose"], deals=["aws-korea-2031"]
    ),
    "The key ends": _announcement("key_revoked", key="k1"),
}


def _add_missing(announcements: dict[str, Any], events: Any) -> None:
    """Add an example of each event type that has none; its title is the first line of the type's docstring."""
    listed = [
        one for example in announcements.values() for one in (example if isinstance(example, list) else [example])
    ]
    covered = {one["event"]["type"] for one in listed}
    for event in get_args(events):
        if tag_of(event) not in covered:
            title = event.__doc__.partition("\n")[0].rstrip(".")
            announcements[title] = {"effective_on": "2025-11-06", "event": sample_event(event)}


_add_missing(ANNOUNCEMENTS, DealEvent)
_add_missing(ORGANIZATION_ANNOUNCEMENTS, OrganizationFact)
_add_missing(PRINCIPAL_ANNOUNCEMENTS, PrincipalFact)
