"""Forms made from the event types: each type has one, and what is typed is what is announced."""

from __future__ import annotations

import msgspec
import pytest

from registry.events import intake
from registry.events.types import EVENT_TYPES, Amount, Event, PledgeAnnounced
from registry.web import forms
from tests.demo.loader import announcements, histories

RECORDS = {"event_corrected", "event_voided", "event_redacted"}


def test_every_event_type_has_a_form() -> None:
    """All but those that are made from the audit: corrections, voids, and erasures by law."""
    offered = {t for group in (*forms.GROUPS.values(), *forms.ORGANIZATION_GROUPS.values()) for t in group}
    assert offered | {"deal_registered", "organization_registered"} | RECORDS == set(EVENT_TYPES)
    deal = histories()["sk-aws-ulsan"].state
    for tag in sorted(offered):
        kind = forms.known_type(tag)
        assert kind is EVENT_TYPES[tag]
        named = {f.name for s in forms.sections(kind, {}, forms.FormContext(deal), "ko") for f in s.fields}
        for _, encoded, _, required, _ in forms.event_fields(kind):
            if required:
                assert any(n == f"event/{encoded}" or n.startswith(f"event/{encoded}/") for n in named), (tag, encoded)


@pytest.mark.parametrize("line", announcements(), ids=lambda line: f"{line.deal}-{line.event.__struct_config__.tag}")
def test_what_was_announced_can_be_typed_and_reads_back_the_same(line: intake.ImportLine) -> None:
    """Each announcement of the demo, as it would be typed, gives the same event again: a correction loses nothing."""
    event: Event = line.event
    typed = forms.form_values(event, line.effective_on, line.sources)
    read = forms.read(type(event), typed, event)
    assert read.faults == []
    again = intake.announcements.decode_one(msgspec.json.encode(read.announcement))
    assert again.event == event
    assert again.effective_on == line.effective_on
    assert again.sources == line.sources


@pytest.mark.parametrize(
    "line",
    [a for a in announcements() if isinstance(a.event, PledgeAnnounced) and a.event.amount],
    ids=lambda line: line.deal,
)
def test_an_amount_typed_anew_is_read_like_the_press_writes_it(line: intake.ImportLine) -> None:
    typed = forms.form_values(line.event, line.effective_on, line.sources)
    read = forms.read(type(line.event), typed)
    assert read.faults == []
    amount = intake.announcements.decode_one(msgspec.json.encode(read.announcement)).event.amount  # type: ignore[union-attr]
    assert isinstance(amount, Amount)
    assert (amount.value, amount.currency) == (line.event.amount.value, line.event.amount.currency)  # type: ignore[union-attr]


def test_a_basis_in_the_words_of_the_amount_fills_the_field_that_was_left_empty() -> None:
    read = forms.read(PledgeAnnounced, {"event/pledge": "p", "event/amount": "연간 1천억 원"})
    assert read.announcement["event"]["amount_basis"] == "annual"
    assert read.announcement["event"]["amount"] == {"currency": "KRW", "value": "100000000000"}
    stated = forms.read(
        PledgeAnnounced, {"event/pledge": "p", "event/amount": "연간 1천억 원", "event/amount_basis": "total"}
    )
    assert stated.announcement["event"]["amount_basis"] == "total"


def test_an_amount_that_cannot_be_read_is_a_fault_of_its_field() -> None:
    read = forms.read(PledgeAnnounced, {"event/pledge": "p", "event/amount": "a lot"})
    assert [f.pointer for f in read.faults] == ["/event/amount"]
    deal = histories()["sk-aws-ulsan"].state
    fields = [f for s in forms.sections(PledgeAnnounced, {}, forms.FormContext(deal), "en") for f in s.fields]
    wrong = {f.name: forms.field_error(f, read.faults) for f in fields}
    assert [name for name, fault in wrong.items() if fault] == ["event/amount"]


def test_a_revision_can_unsay_a_field() -> None:
    kind = EVENT_TYPES["pledge_revised"]
    read = forms.read(kind, {"event/pledge": "total", "unsay:event/amount": "yes", "event/by": "a, b"})
    assert read.announcement["event"] == {"type": "pledge_revised", "pledge": "total", "amount": None, "by": ["a", "b"]}
