"""A second reading of histories, as plain as the rule itself: lists and loops, nothing kept, nothing clever.

It is written from the words of the rule (which events are seen, how they read, in which order they are folded) and
shares no code with `registry.domain`, so that both being wrong in the same way is unlikely. It is slow, and that is its
virtue.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from registry.events.types import Recorded, Source

RECORDS_OWN = {
    "deal_registered",
    "event_corrected",
    "event_voided",
    "event_redacted",
    "claim_preferred",
    "deal_merged",
    "deal_unmerged",
}
CLAIMS_OWN = {"claim_reported", "claim_retracted"}
LADDER = ["intention", "signed", "committed", "construction", "operating"]

Words = dict[str, Any]
State = dict[str, Any]


class NotApplicable(Exception):
    """The state cannot carry the event."""


def is_voided(events: Sequence[Recorded], one: UUID) -> bool:
    """Whether a void that stands names the event: a void stands unless it is voided itself."""
    return any(
        e.type == "event_voided" and e.event is not None and e.event.voids == one and not is_voided(events, e.id)  # type: ignore[union-attr]
        for e in events
    )


def original_of(events: Sequence[Recorded], correction: Recorded) -> UUID:
    """The event that a correction comes down to, however many corrections lie between."""
    named: UUID = correction.event.corrects  # type: ignore[union-attr]
    for e in events:
        if e.id == named and e.type == "event_corrected" and e.event is not None:
            return original_of(events, e)
    return named


def as_it_reads(events: Sequence[Recorded], one: Recorded) -> Words:
    """An event's words: those of its latest correction that is not voided, else its own; none where they are erased."""
    words: Words = {
        "id": one.id,
        "type": one.type,
        "position": one.position,
        "version": one.version,
        "event": one.event,
        "effective_on": one.effective_on,
        "published_on": one.published_on,
        "sources": one.sources,
    }
    for e in events:
        if e.type == "event_corrected" and e.event is not None and not is_voided(events, e.id):
            if original_of(events, e) != one.id or (one.erased and not e.erased):
                continue
            new = e.event.replacement  # type: ignore[union-attr]
            if e.erased:
                words["event"] = None if new.event is UNSET else new.event
                words["effective_on"], words["published_on"], words["sources"] = one.effective_on, one.published_on, ()
                continue
            words["event"] = one.event if new.event is UNSET else new.event
            words["effective_on"] = one.effective_on if new.effective_on is UNSET else new.effective_on
            words["sources"] = one.sources if new.sources is UNSET else new.sources
            words["published_on"] = known_to_the_public(words["sources"], one.recorded_at)
    words["stands"] = words["event"] is not None and not is_voided(events, one.id)
    return words


def known_to_the_public(sources: Sequence[Source], recorded_at: datetime) -> date:
    days = [s.published_on for s in sources if s.published_on is not None]
    return min(days) if days else recorded_at.date()


def where(all_words: list[Words], words: Words) -> tuple[date, tuple[int, ...]]:
    """An event's day and place; a claim's and a retraction's are right behind what they speak of."""
    own = (words["effective_on"] or words["published_on"], (words["position"],))
    event = words["event"]
    spoken_of: Words | None = None
    if event is None:
        return own
    if words["type"] == "claim_reported":
        for other in all_words:
            if other["id"] == event.about and (other["event"] is None or other["type"] not in CLAIMS_OWN):
                spoken_of = other
    if words["type"] == "claim_retracted":
        for other in reversed(all_words):
            if other["type"] == "claim_reported" and other["stands"] and other["event"].claim == event.claim:
                spoken_of = other
    if spoken_of is None:
        return own
    day, place = where(all_words, spoken_of)
    return day, (*place, words["position"])


def seen(  # noqa: C901 - the rule in one piece
    slug: str,
    events: Sequence[Recorded],
    effective: date | None = None,
    published: date | None = None,
    position: int | None = None,
) -> tuple[list[State], list[UUID]] | None:
    """The state shown after each step of the fold, the registration first, and the events that could not be applied.

    None: the deal is not known there.
    """
    written = [e for e in events if position is None or e.position <= position]
    all_words = [as_it_reads(written, e) for e in written]
    facts = []
    for words in all_words:
        if not words["stands"] or words["type"] in RECORDS_OWN:
            continue
        day, place = where(all_words, words)
        if published is not None and words["published_on"] > published:
            continue
        if effective is not None and day > effective:
            continue
        facts.append({**words, "day": day, "place": place})
    registration = next((w for w in all_words if w["version"] == 1), None)
    if not facts:
        if registration is None:
            return None
        if published is not None and registration["published_on"] > published:
            return None
        if effective is not None and registration["effective_on"] and registration["effective_on"] > effective:
            return None
    facts.sort(key=lambda w: (w["day"], w["place"]))
    state = begun(slug, registration["event"] if registration else None)
    preferred = choices(all_words)
    can_be_spoken_of = {w["id"] for w in facts if w["type"] not in CLAIMS_OWN}
    states = [shown(state, preferred, facts)]
    unapplied = []
    for words in facts:
        try:
            if words["type"] == "claim_reported" and words["event"].about not in {None, *can_be_spoken_of}:
                raise NotApplicable
            after = copied(state)
            apply_event(after, words)
            state = after
        except NotApplicable:
            unapplied.append(words["id"])
        states.append(shown(state, preferred, facts))
    return states, unapplied


def state_of(slug: str, events: Sequence[Recorded], **clocks: Any) -> State | None:
    """The state shown at a point in time, as plain JSON values."""
    found = seen(slug, events, **clocks)
    return None if found is None else found[0][-1]


def choices(all_words: list[Words]) -> dict[str, UUID | None]:
    """The claim that is preferred of each field: the latest preference counts."""
    preferred: dict[str, UUID | None] = {}
    for words in all_words:
        if words["type"] != "claim_preferred" or not words["stands"]:
            continue
        preferred[words["event"].field] = None
        for other in reversed(all_words):
            if other["type"] == "claim_reported" and other["stands"] and other["event"].claim == words["event"].claim:
                preferred[words["event"].field] = other["id"]
    return preferred


# --- the state --------------------------------------------------------------------------------------------------------


def begun(slug: str, registered: Any) -> State:
    return {
        "deal": slug,
        "title": registered.title if registered else None,
        "kind": registered.kind if registered else None,
        "summary": registered.summary if registered else None,
        "sectors": registered.sectors if registered else (),
        "stage": None,
        "parties": [],
        "partnerships": [],
        "pledges": [],
        "sites": [],
        "milestones": [],
        "relations": [],
        "conditions": [],
    }


def copied(state: State) -> State:
    """A copy in which items and their claims can be changed."""
    return {
        name: [{k: [dict(c) for c in v] if k == "claims" else v for k, v in item.items()} for item in value]
        if isinstance(value, list)
        else value
        for name, value in state.items()
    }


def one_of(items: list[State], **names: Any) -> State | None:
    for item in items:
        if all(item[k] == v for k, v in names.items()):
            return item
    return None


def there(items: list[State], **names: Any) -> State:
    item = one_of(items, **names)
    if item is None:
        raise NotApplicable
    return item


def new(items: list[State], **names: Any) -> None:
    if one_of(items, **names) is not None:
        raise NotApplicable


def reach_stage(state: State, stage: str, rule: str, day: date) -> None:
    """An inferred stage only goes forward, and never out of one that stopped."""
    if state["stage"] is not None:
        now = state["stage"]["value"]
        if now not in LADDER or LADDER.index(now) >= LADDER.index(stage):
            return
    state["stage"] = {"value": stage, "basis": "inferred", "since": day, "rule": rule}


def commit(state: State, commitment: Any, day: date) -> None:
    if commitment == "intention":
        reach_stage(state, "intention", "intention-announced", day)
    elif commitment in ("pledge", "binding"):
        reach_stage(state, "committed", "amount-pledged", day)
    elif commitment == "budget":
        reach_stage(state, "committed", "amount-budgeted", day)


def revise(item: State, event: Any, fields: str) -> None:
    """What a revision says is so from now on, and claims about it speak of the past."""
    for field in fields.split():
        value = getattr(event, field)
        if value is UNSET:
            continue
        item[field] = () if value is None and field in ("by", "sectors") else value
        supersede_claims(item, field)


def supersede_claims(item: State, field: str) -> None:
    for claim in item.get("claims", []):
        if claim["field"].endswith("/" + field) and claim["status"] == "standing":
            claim["status"] = "superseded"


PLEDGE = "amount amount_basis commitment additional_to by horizon purpose"
SITE = "name place latitude longitude precision power_mw power_qualifier gpus gpus_qualifier"


def apply_event(state: State, words: Words) -> None:  # noqa: C901 - one case for each event type
    """Changes the state as the event says; raises CannotBe where the state cannot carry it."""
    event, day = words["event"], words["day"]
    match words["type"]:
        case "deal_revised":
            revise(state, event, "title summary kind sectors")
        case "stage_changed":
            state["stage"] = {"value": event.stage, "basis": "declared", "since": day, "rule": None}
        case "parties_joined":
            for party in event.parties:
                same = {"organization": party.organization, "role": party.role}
                if one_of(state["parties"], **same, left_on=None):
                    continue
                today = one_of(state["parties"], **same, joined_on=day)
                if today is not None:
                    today.update(left_on=None, name=party.name or today["name"])
                else:
                    state["parties"].append({**same, "name": party.name, "joined_on": day, "left_on": None})
        case "party_left":
            leaving = [
                p
                for p in state["parties"]
                if p["organization"] == event.organization and p["left_on"] is None and event.role in (None, p["role"])
            ]
            if not leaving:
                raise NotApplicable
            for party in leaving:
                party["left_on"] = day
        case "partnership_formed":
            state["partnerships"].append(
                {"members": event.members, "instrument": event.instrument, "name": event.name, "formed_on": day}
            )
            if event.instrument:
                reach_stage(state, "signed", "instrument-signed", day)
        case "condition_set":
            new(state["conditions"], condition=event.condition)
            state["conditions"].append(
                {
                    "condition": event.condition,
                    "text": event.text,
                    "authority": event.authority,
                    "set_on": day,
                    "lifted_on": None,
                }
            )
        case "condition_lifted":
            held = there(state["conditions"], condition=event.condition)
            if held["lifted_on"] is not None:
                raise NotApplicable
            held["lifted_on"] = day
        case "pledge_announced":
            new(state["pledges"], pledge=event.pledge)
            said = {field: getattr(event, field) for field in PLEDGE.split()}
            state["pledges"].append(
                {
                    "pledge": event.pledge,
                    **said,
                    "status": "announced",
                    "announced_on": day,
                    "stated_on": day,
                    "claims": [],
                    "disbursed": (),
                }
            )
            commit(state, event.commitment, day)
        case "pledge_revised" | "pledge_confirmed" | "pledge_withdrawn" | "disbursement_reported":
            pledge = there(state["pledges"], pledge=event.pledge)
            if words["type"] == "disbursement_reported":
                spent = {"amount": event.amount, "by": event.by, "period": event.period, "reported_on": day}
                pledge["disbursed"] = (*pledge["disbursed"], spent)
                return
            if pledge["status"] == "withdrawn":
                raise NotApplicable
            if words["type"] == "pledge_withdrawn":
                pledge["status"] = "withdrawn"
                return
            if words["type"] == "pledge_confirmed":
                pledge["status"] = "confirmed"
                revise(pledge, event, "commitment")
            else:
                revise(pledge, event, PLEDGE)
                if event.amount is not UNSET:
                    pledge["stated_on"] = day
            if event.commitment is not UNSET:
                commit(state, event.commitment, day)
        case "site_announced":
            new(state["sites"], site=event.site)
            said = {field: getattr(event, field) for field in SITE.split()}
            state["sites"].append(
                {"site": event.site, **said, "status": "announced", "announced_on": day, "claims": []}
            )
        case "site_revised" | "site_dropped":
            site = there(state["sites"], site=event.site)
            if site["status"] == "dropped":
                raise NotApplicable
            if words["type"] == "site_dropped":
                site["status"] = "dropped"
            else:
                revise(site, event, SITE)
        case "milestone_scheduled":
            new(state["milestones"], milestone=event.milestone)
            if event.site is not None:
                there(state["sites"], site=event.site)
            said = {field: getattr(event, field) for field in ("kind", "site", "name", "planned", "power_mw")}
            state["milestones"].append(
                {
                    "milestone": event.milestone,
                    **said,
                    "reached": None,
                    "status": "planned",
                    "scheduled_on": day,
                    "claims": [],
                }
            )
        case "milestone_rescheduled" | "milestone_cancelled" | "milestone_reached":
            step = there(state["milestones"], milestone=event.milestone)
            if words["type"] == "milestone_reached":
                reached = event.reached or day.isoformat()
                if step["status"] == "reached":
                    if step["reached"] != reached:
                        raise NotApplicable
                    return
                step.update(status="reached", reached=reached)
                supersede_claims(step, "reached")
                if step["kind"] == "construction_started":
                    reach_stage(state, "construction", "construction-reported", day)
                if step["kind"] == "operations_started":
                    reach_stage(state, "operating", "operations-reported", day)
                return
            if step["status"] == "reached":
                raise NotApplicable
            if words["type"] == "milestone_cancelled":
                step["status"] = "cancelled"
            else:
                step["status"] = "planned"
                revise(step, event, "planned power_mw")
        case "deals_related":
            if event.pledge is not None:
                there(state["pledges"], pledge=event.pledge)
            if event.deal == state["deal"]:
                if event.pledge == event.other_pledge:
                    raise NotApplicable
                if event.other_pledge is not None:
                    there(state["pledges"], pledge=event.other_pledge)
            related = {f: getattr(event, f) for f in ("relation", "deal", "pledge", "other_pledge")}
            if one_of(state["relations"], **related) is None:
                state["relations"].append({**related, "since": day, "source": words["id"]})
        case "deals_unrelated":
            related = {f: getattr(event, f) for f in ("relation", "deal", "pledge", "other_pledge")}
            there(state["relations"], **related)
            state["relations"] = [r for r in state["relations"] if any(r[k] != v for k, v in related.items())]
        case "claim_reported":
            claim(state, words)
        case "claim_retracted":
            for item in items_with_claims(state):
                for claimed in item["claims"]:
                    if claimed["claim"] == event.claim:
                        if claimed["status"] == "retracted":
                            raise NotApplicable
                        claimed["status"] = "retracted"
                        return
            raise NotApplicable
        case other:
            raise AssertionError(f"a type that this reading does not know: {other}")


CLAIMABLE = {
    "pledges": ("amount", "amount_basis", "commitment"),
    "sites": ("place", "power_mw", "gpus"),
    "milestones": ("planned", "reached", "power_mw"),
}


def claim(state: State, words: Words) -> None:
    event = words["event"]
    _, name, key, field = event.field.split("/")
    item = there(state[name], **{name[:-1]: key})
    if field not in CLAIMABLE[name]:
        raise NotApplicable
    if any(c["claim"] == event.claim for i in items_with_claims(state) for c in i["claims"]):
        raise NotApplicable
    item["claims"].append(
        {
            "claim": event.claim,
            "field": event.field,
            "value": event.value,
            "about": event.about,
            "event": words["id"],
            "published_on": words["published_on"],
            "sources": words["sources"],
            "status": "standing",
            "followed": False,
            "rule": None,
        }
    )


def items_with_claims(state: State) -> list[State]:
    return [item for name in CLAIMABLE for item in state[name]]


def shown(state: State, preferred: dict[str, UUID | None], facts: list[Words]) -> State:
    """The state in the order and with the claims in which it is shown, as plain JSON values."""
    state = copied(state)
    for item in items_with_claims(state):
        fields = []
        for claimed in item["claims"]:
            if claimed["field"] not in fields:
                fields.append(claimed["field"])
        listed = []
        for path in fields:
            of_field = [c for c in item["claims"] if c["field"] == path]
            current = [c for c in of_field if c["status"] != "superseded"]
            chosen = [c for c in of_field if c["event"] == preferred.get(path) and c["status"] == "standing"]
            field = path.split("/")[3]
            if current:
                setter = next((w for w in facts if w["id"] == current[0]["about"]), None)
                listed.append(
                    {
                        "claim": None,
                        "field": path,
                        "value": item[field],
                        "about": current[0]["about"],
                        "event": current[0]["about"],
                        "published_on": setter["published_on"] if setter else None,
                        "sources": setter["sources"] if setter else (),
                        "status": "standing",
                        "followed": not chosen,
                        "rule": None if chosen else "as_announced",
                    }
                )
            if chosen:
                item[field] = chosen[0]["value"]
                chosen[0].update(followed=True, rule="preferred")
            listed += of_field
        item["claims"] = listed
    by = {
        "parties": ("joined_on", "organization", "role"),
        "pledges": ("announced_on", "pledge"),
        "sites": ("announced_on", "site"),
        "milestones": ("scheduled_on", "milestone"),
        "relations": ("since", "relation", "deal", "pledge", "other_pledge"),
        "conditions": ("set_on", "condition"),
    }
    for name, order in by.items():
        state[name] = sorted(state[name], key=lambda item: [item[k] or "" for k in order])
    plain: State = msgspec.json.decode(msgspec.json.encode(state))
    return plain
