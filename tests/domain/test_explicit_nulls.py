"""What was not said is null in an answer, and left out of what is stored; the words of an event are never filled up."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given

from registry.domain.audit.diff import Change
from registry.domain.audit.entries import audit_trail
from registry.domain.explicit_nulls import with_explicit_nulls
from registry.domain.fold import DEALS
from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.organization import Organization
from registry.events.codec import canonical
from registry.events.types import Amount, Horizon, Localized, PledgeRevised, Source, StatedAmount
from tests.domain.builders import article, day, usd
from tests.properties.strategies import logs
from tests.properties.test_time import quick

STATED = StatedAmount(value="7", currency="KRW")


def plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def said(value: Any) -> Any:
    """A JSON value without its nulls and empty lists."""
    if isinstance(value, dict):
        return {name: said(held) for name, held in value.items() if held not in (None, [])}
    return [said(held) for held in value] if isinstance(value, list) else value


def test_each_field_that_could_have_been_stated_is_there() -> None:
    assert plain(with_explicit_nulls(usd("5", stated_as=(STATED,)))) == {
        "currency": "USD",
        "value": "5",
        "qualifier": None,
        "low": None,
        "high": None,
        "stated_as": [{"value": "7", "currency": "KRW", "qualifier": None}],
        "wording": None,
    }
    assert plain(with_explicit_nulls((Localized(en="A"), Horizon(until="2031")))) == [
        {"ko": None, "en": "A"},
        {"from": None, "until": "2031"},
    ]
    shown = plain(with_explicit_nulls({"sources": [article(day("2025-06-16"))]}))["sources"][0]
    assert set(shown) == set(Source.__struct_encode_fields__)


def test_what_is_stored_leaves_out_what_was_not_said() -> None:
    amount = usd("5")
    with_explicit_nulls(amount)
    assert canonical(amount) == b'{"currency":"USD","value":"5"}'


def test_the_words_of_an_event_stay_as_they_were_said() -> None:
    event = PledgeRevised(pledge="total", amount=usd("5"), purpose=None)
    kept = with_explicit_nulls({"event": event, "before": Localized(en="A")})
    assert kept["event"] is event
    assert plain(kept)["before"] == {"ko": None, "en": "A"}


def test_a_change_of_what_has_nothing_left_out_is_the_same_object() -> None:
    change = Change("/pledges/total/status", None, "announced")
    assert with_explicit_nulls(change) is change
    assert plain(with_explicit_nulls(Change("/title", None, Localized(ko="가"))))["after"] == {"ko": "가", "en": None}


@quick
@given(logs(max_events=20))
def test_a_state_and_its_changes_say_the_same_and_leave_nothing_out(log: Any) -> None:
    seen = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    changes = [change for entry in audit_trail(log.events, UNBOUNDED, DEALS) for change in entry.changes]
    for value in (seen.state, changes):
        shown = plain(with_explicit_nulls(value))
        assert said(shown) == said(plain(value))
        for amount in _amounts(shown):
            assert set(amount) == set(Amount.__struct_encode_fields__)


def _amounts(value: Any) -> Any:
    if isinstance(value, dict):
        if "currency" in value and "stated_as" in value:
            yield value
        for held in value.values():
            yield from _amounts(held)
    if isinstance(value, list):
        for held in value:
            yield from _amounts(held)


def test_an_organization_s_name_is_whole_too() -> None:
    sk = Organization(organization="sk", name=Localized(en="SK"))
    assert plain(with_explicit_nulls(sk))["name"] == {"ko": None, "en": "SK"}
