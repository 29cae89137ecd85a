"""Principals: their rights are the fold of their events (property 48), and a redaction erases names only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from registry.domain.admission import admit
from registry.domain.history import FoldedStream
from registry.domain.principal import AuthorNames, Credential, Principal, Rights, check_rights, given_name
from registry.domain.stream_kinds import PRINCIPALS
from registry.errors import Forbidden, RegistryError, RuleBroken, Unauthorized
from registry.events.types import (
    Announcement,
    DealRegistered,
    EventRedacted,
    KeyIssued,
    KeyRevoked,
    PrincipalAnnouncement,
    PrincipalEvent,
    PrincipalRegistered,
    PrincipalRenamed,
    Recorded,
    ScopesChanged,
    tag_of,
)
from registry.events.values import Localized, Source

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REGISTERED = PrincipalRegistered(name="Kim Min-ji", kind="person")
ISSUED = KeyIssued(key="k1", scopes=("record",))


def recorded(event: PrincipalEvent, number: int, at: datetime) -> Recorded:
    return Recorded(
        position=number,
        kind="principal",
        slug="kim",
        version=number,
        id=UUID(int=number),
        type=tag_of(event),
        schema=1,
        effective_on=None,
        published_on=at.date(),
        recorded_at=at,
        recorded_by="registry",
        event=event,
        sources=(),
        note=None,
        leaf_hash=bytes([number]) * 32,
    )


def principal(*events: PrincipalEvent) -> FoldedStream[Principal]:
    """The principal after events that are recorded an hour apart, the first at noon."""
    stream = FoldedStream("kim", PRINCIPALS)
    for number, event in enumerate(events, 1):
        stream = admit(stream, recorded(event, number, NOON + timedelta(hours=number - 1)))
    return stream


def refusal(*events: PrincipalEvent) -> str:
    with pytest.raises(RuleBroken) as refused:
        principal(*events)
    return refused.value.refusal.code


def scopes_at(stream: FoldedStream[Principal], hours: float, key: str | None = "k1") -> Sequence[str] | None:
    rights = stream.state.rights_of(key, NOON + timedelta(hours=hours))
    return rights.scopes if rights is not None else None


def test_key_has_its_scopes_until_it_is_revoked() -> None:
    stream = principal(REGISTERED, ISSUED, KeyRevoked(key="k1"))
    assert scopes_at(stream, 1.9) == ("record",)
    assert scopes_at(stream, 2) is None


def test_key_that_is_revoked_for_later_works_until_then() -> None:
    stream = principal(REGISTERED, ISSUED, KeyRevoked(key="k1", revoked_at=NOON + timedelta(hours=5)))
    assert (scopes_at(stream, 4.9), scopes_at(stream, 5)) == (("record",), None)
    sooner = principal(
        REGISTERED, ISSUED, KeyRevoked(key="k1", revoked_at=NOON + timedelta(hours=5)), KeyRevoked(key="k1")
    )
    assert scopes_at(sooner, 3) is None


def test_revoking_does_not_reach_into_the_past() -> None:
    stream = principal(REGISTERED, ISSUED, KeyRevoked(key="k1", revoked_at=NOON - timedelta(days=1)))
    assert stream.state.keys[0].revoked_at == NOON + timedelta(hours=2)


def test_key_expires() -> None:
    stream = principal(REGISTERED, KeyIssued(key="k1", scopes=("read",), expires_at=NOON + timedelta(hours=3)))
    assert (scopes_at(stream, 2.9), scopes_at(stream, 3)) == (("read",), None)


def test_scopes_of_a_key_and_of_its_principal_change_apart() -> None:
    stream = principal(
        REGISTERED, ISSUED, ScopesChanged(key="k1", scopes=("propose",)), ScopesChanged(scopes=("read",))
    )
    assert scopes_at(stream, 9) == ("propose",)
    assert scopes_at(stream, 9, None) == ("read",)


@pytest.mark.parametrize(
    ("code", "events"),
    [
        ("not-registered", [ISSUED]),
        ("already-registered", [REGISTERED, REGISTERED]),
        ("key-id-missing", [REGISTERED, KeyIssued(scopes=("read",))]),
        ("key-known", [REGISTERED, ISSUED, ISSUED]),
        ("key-expires-in-the-past", [REGISTERED, KeyIssued(key="k1", scopes=("read",), expires_at=NOON)]),
        ("key-unknown", [REGISTERED, KeyRevoked(key="k1")]),
        ("key-not-valid", [REGISTERED, ISSUED, KeyRevoked(key="k1"), KeyRevoked(key="k1")]),
        ("key-not-valid", [REGISTERED, ISSUED, KeyRevoked(key="k1"), ScopesChanged(key="k1", scopes=("admin",))]),
        ("key-unknown", [REGISTERED, ScopesChanged(key="k2", scopes=("admin",))]),
        ("right-redacted", [REGISTERED, ISSUED, EventRedacted(redacts=UUID(int=2), reason="by law")]),
        ("right-redacted", [REGISTERED, ISSUED, KeyRevoked(key="k1"), EventRedacted(redacts=UUID(int=3), reason="x")]),
    ],
)
def test_event_that_a_principal_cannot_take_is_refused(code: str, events: list[PrincipalEvent]) -> None:
    assert refusal(*events) == code


def test_redacted_name_is_gone_and_the_rights_stay() -> None:
    stream = principal(REGISTERED, ISSUED, EventRedacted(redacts=UUID(int=1), reason="by law"))
    assert (stream.state.name, stream.state.display_name) == (None, "kim")
    assert scopes_at(stream, 9) == ("record",)


def test_name_is_that_of_the_time_of_recording() -> None:
    stream = principal(REGISTERED, ISSUED, PrincipalRenamed(name="Kim"))
    names = AuthorNames(("kim", e.position, name) for e in stream.events if (name := given_name(e)))
    assert [names.at("kim", position) for position in (1, 2, 3, 9)] == ["Kim Min-ji", "Kim Min-ji", "Kim", "Kim"]
    assert names.at("k0123456789ab", 2) == "k0123456789ab"


# --- what a request needs ---------------------------------------------------------------------------------------------


def about_a_deal(publisher: str | None = None) -> Announcement:
    sources = (Source(publisher=publisher),) if publisher is not None else ()
    return Announcement(event=DealRegistered(title=Localized(en="A plant")), sources=sources)


def check(stream: FoldedStream[Principal], announcement: Announcement, slug: str = "plant") -> None:
    credential = Credential("kim", "Kim", Rights(scopes=("admin",)), "k1")
    check_rights(stream.state, credential, NOON + timedelta(hours=9), "deal", slug, [announcement])


@pytest.mark.parametrize(
    ("issued", "announcement", "error"),
    [
        (KeyIssued(key="k1", scopes=("record",)), about_a_deal(), None),
        (KeyIssued(key="k1", scopes=("admin",)), about_a_deal(), None),
        (KeyIssued(key="k1", scopes=("read", "propose", "correct", "redact")), about_a_deal(), Forbidden),
        (KeyIssued(key="k2", scopes=("record",)), about_a_deal(), Unauthorized),
        (KeyIssued(key="k1", scopes=("record",), deals=("plant",)), about_a_deal(), None),
        (KeyIssued(key="k1", scopes=("record",), deals=("other",)), about_a_deal(), Forbidden),
        (KeyIssued(key="k1", scopes=("record",), organizations=("kt",)), about_a_deal(), Forbidden),
        (KeyIssued(key="k1", scopes=("record",), sources=("Yonhap",)), about_a_deal("Yonhap"), None),
        (KeyIssued(key="k1", scopes=("record",), sources=("Yonhap",)), about_a_deal("Another"), Forbidden),
        (KeyIssued(key="k1", scopes=("record",), sources=("Yonhap",)), about_a_deal(), Forbidden),
    ],
)
def test_key_records_what_its_rights_include(
    issued: KeyIssued, announcement: Announcement, error: type[RegistryError] | None
) -> None:
    """The credential claims every scope; only the events of the principal count."""
    stream = principal(REGISTERED, issued)
    if error is None:
        check(stream, announcement)
    else:
        with pytest.raises(error):
            check(stream, announcement)


def test_principal_that_is_not_registered_has_no_rights() -> None:
    credential = Credential("kim", "Kim", Rights(scopes=("admin",)))
    with pytest.raises(Unauthorized):
        check_rights(None, credential, NOON, "deal", "plant", [about_a_deal()])


def test_events_of_a_principal_need_the_scope_admin() -> None:
    stream = principal(REGISTERED, KeyIssued(key="k1", scopes=("record", "correct", "redact")))
    credential = Credential("kim", "Kim", Rights(), "k1")
    at, change = NOON + timedelta(hours=9), PrincipalAnnouncement(event=ScopesChanged(scopes=("admin",)))
    with pytest.raises(Forbidden):
        check_rights(stream.state, credential, at, "principal", "kim", [change])


def test_fold_of_a_principal_depends_on_the_order_of_recording_only() -> None:
    events = [recorded(REGISTERED, 1, NOON), recorded(ISSUED, 2, NOON), recorded(KeyRevoked(key="k1"), 3, NOON)]
    assert date(2026, 3, 1) == events[0].published_on
    assert FoldedStream("kim", PRINCIPALS, events).state.rights_of("k1", NOON) is None
