"""An oracle: a second implementation of the as-of rule and the fold, with plain lists and loops and no caches.

It is written from the text of the rule (which events are visible, their content after corrections, the order of the
fold) and shares no code with `registry.domain`, so both are unlikely to have the same error. It is slow by design.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET

from registry.events.types import Recorded
from registry.events.values import Source
from tests.properties.oracle_state import (
    Content,
    NotApplicable,
    State,
    apply_event,
    copy_state,
    registered_state,
    shown_state,
)

BOOKKEEPING = {
    "deal_registered",
    "event_corrected",
    "event_voided",
    "event_redacted",
    "claim_preferred",
    "deal_merged",
    "deal_unmerged",
}
CLAIM_TYPES = {"claim_reported", "claim_retracted"}


def is_voided(events: Sequence[Recorded], event_id: UUID) -> bool:
    """Whether a void in force names the event: a void is in force unless it is voided itself."""
    return any(
        e.type == "event_voided" and e.event is not None and e.event.voids == event_id and not is_voided(events, e.id)  # type: ignore[union-attr]
        for e in events
    )


def original_of(events: Sequence[Recorded], correction: Recorded) -> UUID:
    """The original event of a correction, over any number of corrections in between."""
    target: UUID = correction.event.corrects  # type: ignore[union-attr]
    for e in events:
        if e.id == target and e.type == "event_corrected" and e.event is not None:
            return original_of(events, e)
    return target


def effective_content(events: Sequence[Recorded], original: Recorded) -> Content:
    """An event's content: from its latest correction that is not voided, else its own; None if that was redacted."""
    content: Content = {
        "id": original.id,
        "type": original.type,
        "position": original.position,
        "version": original.version,
        "event": original.event,
        "effective_on": original.effective_on,
        "published_on": original.published_on,
        "sources": original.sources,
    }
    for e in events:
        if e.type == "event_corrected" and e.event is not None and not is_voided(events, e.id):
            if original_of(events, e) != original.id or (original.erased and not e.erased):
                continue
            new = e.event.replacement  # type: ignore[union-attr]
            if e.erased:
                content["event"] = None if new.event is UNSET else new.event
                content["effective_on"], content["published_on"], content["sources"] = (
                    original.effective_on,
                    original.published_on,
                    (),
                )
                continue
            content["event"] = original.event if new.event is UNSET else new.event
            content["effective_on"] = original.effective_on if new.effective_on is UNSET else new.effective_on
            content["sources"] = original.sources if new.sources is UNSET else new.sources
            content["published_on"] = publication_date(content["sources"], original.recorded_at)
    content["in_force"] = content["event"] is not None and not is_voided(events, original.id)
    return content


def publication_date(sources: Sequence[Source], recorded_at: datetime) -> date:
    days = [s.published_on for s in sources if s.published_on is not None]
    return min(days) if days else recorded_at.date()


def fold_key(contents: list[Content], content: Content) -> tuple[date, date, tuple[int, ...]]:
    """An event's place in the fold: its effective day, its publication day, and its position.

    Claims and retractions directly follow what they are about: they take its days, and their position comes after its.
    """
    own = (content["effective_on"] or content["published_on"], content["published_on"], (content["position"],))
    event = content["event"]
    target: Content | None = None
    if event is None:
        return own
    if content["type"] == "claim_reported":
        for other in contents:
            if other["id"] == event.about and (other["event"] is None or other["type"] not in CLAIM_TYPES):
                target = other
    if content["type"] == "claim_retracted":
        for other in reversed(contents):
            if other["type"] == "claim_reported" and other["in_force"] and other["event"].claim == event.claim:
                target = other
    if target is None:
        return own
    day, published, place = fold_key(contents, target)
    return day, published, (*place, content["position"])


def fold_states(slug: str, events: Sequence[Recorded], **as_of: Any) -> tuple[list[State], list[UUID]] | None:
    """The shown state after each step of the fold, the registration first, and the ids of the unapplied events.

    None if the deal was not known by then.
    """
    folded = fold(slug, events, **as_of)
    return None if folded is None else folded[1:]


def fold(  # noqa: C901 - the rule in one piece
    slug: str,
    events: Sequence[Recorded],
    effective: date | None = None,
    published: date | None = None,
    position: int | None = None,
    preferences: bool = True,
) -> tuple[list[Content], list[State], list[UUID]] | None:
    """The visible events in the order of the fold, and what `fold_states` returns.

    Without `preferences` every field shows the value that the deal's own events set.
    """
    recorded = [e for e in events if position is None or e.position <= position]
    contents = [effective_content(recorded, e) for e in recorded]
    visible = []
    for content in contents:
        if not content["in_force"] or content["type"] in BOOKKEEPING:
            continue
        key = fold_key(contents, content)
        if published is not None and content["published_on"] > published:
            continue
        if effective is not None and key[0] > effective:
            continue
        visible.append({**content, "day": key[0], "key": key})
    registration = next((w for w in contents if w["version"] == 1), None)
    if not visible:
        if registration is None:
            return None
        if published is not None and registration["published_on"] > published:
            return None
        day = registration["effective_on"]
        if day is None and any(source.published_on for source in registration["sources"]):
            day = registration["published_on"]
        if effective is not None and day is not None and day > effective:
            return None
    visible.sort(key=lambda w: w["key"])
    state = registered_state(slug, registration["event"] if registration else None)
    preferred = preferred_claims(contents) if preferences else {}
    with_effect: dict[UUID, Content] = {}
    states = [shown_state(state, preferred, visible)]
    unapplied = []
    for content in visible:
        try:
            if content["type"] == "claim_reported" and content["event"].about is not None:
                about = with_effect.get(content["event"].about)
                if about is None or not sets_field(about, content["event"].field):
                    raise NotApplicable
            after = copy_state(state)
            apply_event(after, content)
            if after != state or content["type"] != "milestone_reached":
                with_effect[content["id"]] = content
            state = after
        except NotApplicable:
            unapplied.append(content["id"])
        states.append(shown_state(state, preferred, visible))
    return visible, states, unapplied


def sets_field(content: Content, path: str) -> bool:
    """Whether an event that had an effect set a field: it announced the item, or gave the field a value again."""
    _, items, key, field = path.split("/")
    event = content["event"]
    if getattr(event, "metric_id" if items == "metrics" else items[:-1], None) != key:
        return False
    match content["type"]:
        case "pledge_announced" | "site_announced" | "milestone_scheduled" | "incentive_granted" | "metric_reported":
            return bool(content["type"].split("_")[0] == items[:-1])
        case (
            "pledge_revised"
            | "pledge_confirmed"
            | "site_revised"
            | "milestone_rescheduled"
            | "incentive_revised"
            | "metric_revised"
        ):
            given: Any = getattr(event, field, UNSET)
            return bool(content["type"].split("_")[0] == items[:-1]) and given is not UNSET
        case "milestone_reached":
            return (items, field) == ("milestones", "reached")
        case _:
            return False


def state_of(slug: str, events: Sequence[Recorded], **as_of: Any) -> State | None:
    """The state as of a point, as plain JSON values."""
    states = fold_states(slug, events, **as_of)
    return None if states is None else states[0][-1]


def preferred_claims(contents: list[Content]) -> dict[str, UUID | None]:
    """The preferred claim of each field, by the latest preference."""
    preferred: dict[str, UUID | None] = {}
    for content in contents:
        if content["type"] != "claim_preferred" or not content["in_force"]:
            continue
        preferred[content["event"].field] = None
        for other in reversed(contents):
            if (
                other["type"] == "claim_reported"
                and other["in_force"]
                and other["event"].claim == content["event"].claim
            ):
                preferred[content["event"].field] = other["id"]
    return preferred
