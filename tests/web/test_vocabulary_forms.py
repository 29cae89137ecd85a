"""Forms of events with classifications, metrics, incentives and texts in several languages, without scripts."""

from __future__ import annotations

import re

import httpx
import pytest

from registry.web.forms.parse import canonical_case
from tests.api.announcements import registered
from tests.service import Service
from tests.web.forms import fields, of_first, opened_article, press

NEW_FIELDS = {
    "languages": ("deal_revised", {"title/en": "A works", "title/de": "Ein Werk"}, "title/de", "Ein Werk"),
    "a further language": (
        "deal_revised",
        {"title/en": "A works", "title/+language": "ZH-hant", "title/+text": "工廠"},
        "title/zh-Hant",
        "工廠",
    ),
    "identifiers": (
        "deal_identified",
        {"identifiers/0/scheme": "gem", "identifiers/0/value": "{slug}"},
        "identifiers/0/value",
        "{slug}",
    ),
    "classifications": (
        "deal_revised",
        {"classifications": "technology: solar, wind\nmode: expansion"},
        "classifications/technology",
        ["solar", "wind"],
    ),
    "metrics": (
        "metric_reported",
        {"metric": "jobs", "basis": "planned", "value": "300", "date": "2031"},
        "metrics/0/value",
        "300",
    ),
    "observed status": (
        "status_observed",
        {"stage": "construction", "certainty": "reported"},
        "stage/certainty",
        "reported",
    ),
    "estimates": (
        "pledge_announced",
        {"pledge": "total", "amount": "$5bn", "amount/figure": "estimated", "amount/price_year": "2020"},
        "pledges/0/amount/figure",
        "estimated",
    ),
    "price year": (
        "pledge_announced",
        {"pledge": "total", "amount": "$5bn", "amount/price_year": "2020"},
        "pledges/0/amount/price_year",
        2020,
    ),
    "roles, shares and certainty": (
        "parties_joined",
        {
            "parties/0/organization": "kt",
            "parties/0/role": "tenant",
            "parties/0/share": "49.5",
            "parties/0/certainty": "suspected",
        },
        "parties/0/share",
        "49.5",
    ),
    "addresses": (
        "site_announced",
        {"site": "a", "place": "KR-31", "address": "1 Road", "locality": "Ulsan", "district_code": "31140"},
        "sites/0/district_code",
        "31140",
    ),
    "incentives": (
        "incentive_granted",
        {"incentive": "land", "kind": "land", "amount": "$5m"},
        "incentives/0/kind",
        "land",
    ),
    "setbacks": (
        "setback_reported",
        {"setback": "suit", "kind": "litigation", "text/en": "A suit."},
        "setbacks/0/kind",
        "litigation",
    ),
}


@pytest.mark.parametrize(("tag", "typed", "place", "value"), NEW_FIELDS.values(), ids=NEW_FIELDS)
async def test_vocabulary_is_recorded_by_forms_without_scripts(
    editor: httpx.AsyncClient, pages: Service, slug: str, tag: str, typed: dict[str, str], place: str, value: object
) -> None:
    """With a quotation and a loose date, which every announcement may have."""
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered(f"Plant of {slug}"))
    page = await opened_article(editor, deal=slug, type=tag)
    source = {"publisher": "A paper", "language": "en", "locator": "p. 3", "quote": "A plant."}
    frame = {"date": "2026-Q1", **{f"sources/0/{name}": text for name, text in source.items()}}
    event = of_first(**{name: text.format(slug=slug) for name, text in typed.items()})
    # The form has the fields; a language beyond those of the pages is shown once the deal has it.
    assert {*event, *frame} - set(fields(page.text)) == (
        {of_first(**{place: ""}).popitem()[0]} if "/de" in place else set()
    )
    preview = await press(editor, page, "Preview changes", **event, **frame)
    assert preview.status_code == 200, re.findall(r'class="fault[^>]*>(.*?)</', preview.text)
    done = await press(editor, preview, "Record")
    assert done.status_code == 303, done.text
    state = (await pages.client.get(f"/v1/deals/{slug}?effective_on=2026-12-31")).json()
    found = state
    for part in place.split("/"):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == (value.format(slug=slug) if isinstance(value, str) else value)
    assert state["sources"][-1]["quote"] == "A plant."
    recorded = (await pages.client.get(f"/v1/deals/{slug}/events")).json()["events"][-1]
    assert (recorded["effective_on"], recorded["effective_precision"]) == ("2026-03-31", "quarter")


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"title/+language": "Japanese!", "title/+text": "工場"}, "is not a language tag"),
        ({"title/+text": "工場"}, "is not a language tag"),
        ({"title/+language": "ja"}, "is required with a further language"),
        ({"title/en": "A works", "title/+language": "EN", "title/+text": "Works"}, "already has this text"),
    ],
    ids=str,
)
async def test_text_in_a_further_language_is_refused_beside_its_field_and_kept(
    editor: httpx.AsyncClient, pages: Service, slug: str, typed: dict[str, str], problem: str
) -> None:
    await pages.client.post(f"/v1/deals/{slug}/events", json=registered(f"Plant of {slug}"))
    page = await opened_article(editor, deal=slug, type="deal_revised")
    event = of_first(**typed)
    refused = await press(editor, page, "Preview changes", **event, date="2026")
    assert refused.status_code == 422
    assert problem in refused.text
    assert {name: fields(refused.text)[name] for name in event} == event


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("ZH-hant-tw", "zh-Hant-TW"),
        ("de_ch", "de-CH"),
        ("sl-ROZAJ", "sl-rozaj"),
        ("en-X-AB", "en-x-ab"),
        ("es-419", "es-419"),
    ],
)
def test_language_tag_gets_its_canonical_case(written: str, tag: str) -> None:
    assert canonical_case(written) == tag
