"""A response shows every field of a value, with null for what was not stated; stored events leave it out."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given

from registry.domain.audit.diff import Change
from registry.domain.audit.entries import audit_trail
from registry.domain.calendar import Calendar
from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.organizations.organization import Organization
from registry.domain.stream_kinds import DEALS
from registry.events.codec import canonical
from registry.events.values import AMOUNT_NOTES, Amount, Horizon, Localized, Source, StatedAmount
from registry.schemas import DealFields, changes_response, convert, convert_any, organization_fields
from tests.domain.builders import article, day, usd
from tests.properties.strategies import logs
from tests.properties.test_time import quick

STATED = StatedAmount(value="7", currency="KRW")


def as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def without_nulls(value: Any) -> Any:
    """A JSON value without its nulls and empty lists."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item not in (None, [])}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def amounts_in(value: Any) -> Any:
    """The amounts anywhere in a JSON value."""
    if isinstance(value, dict):
        if "currency" in value and "stated_as" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from amounts_in(item)


def test_amount_shows_what_was_not_stated_as_null() -> None:
    assert as_json(convert_any(usd("5", stated_as=(STATED,)))) == {
        "currency": "USD",
        "value": "5",
        "qualifier": None,
        "low": None,
        "high": None,
        "stated_as": [{"value": "7", "currency": "KRW", "qualifier": None}],
        "wording": None,
        **dict.fromkeys(AMOUNT_NOTES),
    }


def test_title_horizon_and_source_show_what_was_not_stated_as_null() -> None:
    assert as_json(convert_any((Localized(en="A"), Horizon(until="2031")))) == [
        {"ko": None, "en": "A"},
        {"from": None, "until": "2031"},
    ]
    source = as_json(convert_any(article(day("2025-06-16"))))
    assert set(source) == set(Source.__struct_encode_fields__)


def test_organization_name_shows_missing_languages_as_null() -> None:
    sk = Organization(organization="sk", name=Localized(en="SK"))
    assert as_json(organization_fields(sk))["name"] == {"ko": None, "en": "SK"}


def test_converting_an_amount_leaves_its_stored_bytes_unchanged() -> None:
    amount = usd("5")
    convert_any(amount)
    assert canonical(amount) == b'{"currency":"USD","value":"5"}'


def test_change_shows_plain_values_as_they_are_and_titles_in_full() -> None:
    changes = [Change("/pledges/total/status", None, "announced"), Change("/title", None, Localized(ko="가"))]
    assert as_json(changes_response(changes)) == [
        {"field": "/pledges/total/status", "before": None, "after": "announced"},
        {"field": "/title", "before": None, "after": {"ko": "가", "en": None}},
    ]


@quick
@given(logs(max_events=20))
def test_response_states_the_same_as_the_state_and_its_changes(log: Any) -> None:
    snapshot = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    changes = [change for entry in audit_trail(log.events, UNBOUNDED, DEALS, Calendar()) for change in entry.changes]
    shown = [as_json(changes_response(changes))]
    assert without_nulls(shown[0]) == without_nulls(as_json(changes))
    if snapshot.state is not None:
        shown.append(as_json(convert(snapshot.state, DealFields)))
        assert without_nulls(shown[1]) == without_nulls(as_json(snapshot.state))
    for amount in amounts_in(shown):
        assert set(amount) == set(Amount.__struct_encode_fields__)
