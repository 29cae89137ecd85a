"""Forms: generated from the event types, and parsed into the announcements that were typed."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from registry.events import intake
from registry.events.types import EVENT_TYPES, Event, PledgeAnnounced, PrincipalFact, tag_of
from registry.events.values import Amount, Source
from registry.formatting.language import words
from registry.web.forms.build import FormContext, InputField, field_error, sections
from registry.web.forms.event_types import DEAL_GROUPS, ORGANIZATION_GROUPS, REGISTRATIONS, form_event_type
from registry.web.forms.parse import form_values, parse
from registry.web.forms.structure import struct_fields
from tests.demo.loader import announcements, histories

ABOUT_EVENTS = {"event_corrected", "event_voided", "event_redacted"}


def form_fields(kind: type[Event], language: str = "en", typed: dict[str, str] | None = None) -> dict[str, InputField]:
    context = FormContext(histories()["sk-aws-ulsan"].state)
    return {field.name: field for section in sections(kind, typed or {}, context, language) for field in section.fields}


def test_event_type_has_a_form_unless_it_is_about_another_event() -> None:
    """Corrections, voids and redactions start from the event that they are about."""
    grouped = {tag for group in (*DEAL_GROUPS.values(), *ORGANIZATION_GROUPS.values()) for tag in group}
    of_principals = {tag_of(event) for event in get_args(PrincipalFact)}
    assert grouped | set(REGISTRATIONS.values()) | ABOUT_EVENTS | of_principals == set(EVENT_TYPES)
    assert all(form_event_type(tag) is EVENT_TYPES[tag] for tag in grouped)
    assert form_event_type("event_voided") is None
    tasks = [tag for group in ORGANIZATION_GROUPS.values() for tag in group]
    assert all(words("en").has_label("task", tag) for tag in (*tasks, REGISTRATIONS["organization"]))


@pytest.mark.parametrize("tag", [tag for tag in EVENT_TYPES if form_event_type(tag) is not None])
def test_form_has_every_field_of_its_event_type(tag: str) -> None:
    names = form_fields(EVENT_TYPES[tag], "ko")
    for field in struct_fields(EVENT_TYPES[tag]):
        pointer = f"event/{field.encoded_name}"
        assert field.name == "about" or any(n == pointer or n.startswith(f"{pointer}/") for n in names), field.name


def test_form_has_every_field_of_a_source() -> None:
    names = form_fields(PledgeAnnounced)
    assert {f"sources/0/{field.encoded_name}" for field in struct_fields(Source)} <= set(names)


def test_hint_of_a_value_is_of_its_event() -> None:
    hints = {tag: form_fields(EVENT_TYPES[tag])["event/value"].hint for tag in ("metric_reported", "claim_reported")}
    assert all(hints.values())
    assert len(set(hints.values())) == 2


def test_only_the_first_party_of_a_form_is_required() -> None:
    names = form_fields(EVENT_TYPES["parties_joined"])
    assert [n for n in names if n.endswith("/organization") and names[n].required] == ["event/parties/0/organization"]


@pytest.mark.parametrize("line", announcements(), ids=lambda line: f"{line.deal}-{line.event.__struct_config__.tag}")
def test_announcement_survives_a_round_trip_through_its_form(line: intake.ImportLine) -> None:
    """A correction that changes nothing in the form keeps every value of the event."""
    event: Event = line.event
    typed = form_values(event, line.effective_on, line.sources)
    form = parse(type(event), typed, event)
    assert form.field_errors == []
    again = intake.announcements.decode_one(msgspec.json.encode(form.announcement))
    assert again.event == event
    assert again.effective_on == line.effective_on
    assert again.sources == line.sources


@pytest.mark.parametrize(
    "line",
    [a for a in announcements() if isinstance(a.event, PledgeAnnounced) and a.event.amount],
    ids=lambda line: line.deal,
)
def test_typed_amount_is_parsed_as_the_press_writes_it(line: intake.ImportLine) -> None:
    typed = form_values(line.event, line.effective_on, line.sources)
    form = parse(type(line.event), typed)
    assert form.field_errors == []
    amount = intake.announcements.decode_one(msgspec.json.encode(form.announcement)).event.amount  # type: ignore[union-attr]
    assert isinstance(amount, Amount)
    assert (amount.value, amount.currency) == (line.event.amount.value, line.event.amount.currency)  # type: ignore[union-attr]


def test_amount_basis_in_the_text_of_an_amount_fills_an_empty_field() -> None:
    form = parse(PledgeAnnounced, {"event/pledge": "p", "event/amount": "연간 1천억 원"})
    assert form.announcement["event"]["amount_basis"] == "annual"
    assert form.announcement["event"]["amount"] == {"currency": "KRW", "value": "100000000000"}
    stated = parse(
        PledgeAnnounced, {"event/pledge": "p", "event/amount": "연간 1천억 원", "event/amount_basis": "total"}
    )
    assert stated.announcement["event"]["amount_basis"] == "total"


def test_unreadable_amount_is_an_error_of_its_field() -> None:
    form = parse(PledgeAnnounced, {"event/pledge": "p", "event/amount": "a lot"})
    assert [f.pointer for f in form.field_errors] == ["/event/amount"]
    fields = form_fields(PledgeAnnounced).values()
    assert [f.name for f in fields if field_error(f, form.field_errors)] == ["event/amount"]


def test_revision_can_clear_a_field() -> None:
    kind = EVENT_TYPES["pledge_revised"]
    form = parse(kind, {"event/pledge": "total", "clear:event/amount": "yes", "event/by": "a, b"})
    assert form.announcement["event"] == {"type": "pledge_revised", "pledge": "total", "amount": None, "by": ["a", "b"]}
