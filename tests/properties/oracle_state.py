"""The oracle's fold: a deal as plain lists and dicts, changed in place by each event."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from registry.domain.deal import Deal
from registry.events.edtf import first_day, last_day
from registry.events.types import PledgeAnnounced, SiteAnnounced

LADDER = ["intention", "signed", "committed", "construction", "operating"]

Content = dict[str, Any]
State = dict[str, Any]


class NotApplicable(Exception):
    """The state cannot take the event."""


def registered_state(slug: str, registered: Any) -> State:
    blank: State = {field.name: [] if field.default == () else None for field in msgspec.structs.fields(Deal)}
    return {
        **blank,
        "deal": slug,
        "title": registered.title if registered else None,
        "kind": registered.kind if registered else None,
        "summary": registered.summary if registered else None,
        "sectors": registered.sectors if registered else (),
        "classifications": registered.classifications if registered else None,
    }


def copy_state(state: State) -> State:
    """A copy whose items and claims can be changed."""
    return {
        name: [{k: [dict(c) for c in v] if k == "claims" else v for k, v in item.items()} for item in value]
        if isinstance(value, list)
        else value
        for name, value in state.items()
    }


def find(items: list[State], **names: Any) -> State | None:
    for item in items:
        if all(item[k] == v for k, v in names.items()):
            return item
    return None


def require(items: list[State], **names: Any) -> State:
    item = find(items, **names)
    if item is None:
        raise NotApplicable
    return item


def new(items: list[State], **names: Any) -> None:
    if find(items, **names) is not None:
        raise NotApplicable


def reach_stage(state: State, stage: str, rule: str, day: date) -> None:
    """Infer a stage: only forward on the ladder, and never off a stage that stopped the deal."""
    if state["stage"] is not None:
        current = state["stage"]["value"]
        if current not in LADDER or LADDER.index(current) >= LADDER.index(stage):
            return
    state["stage"] = stage_of(stage, "inferred", day, rule)


def stage_of(value: str, basis: str, since: date | None, rule: str | None = None, **observed: Any) -> State:
    return {
        "value": value,
        "basis": basis,
        "since": since,
        "rule": rule,
        "observed_on": observed.get("on"),
        "certainty": observed.get("certainty"),
    }


def commit(state: State, commitment: Any, day: date) -> None:
    if commitment == "intention":
        reach_stage(state, "intention", "intention-announced", day)
    elif commitment in ("pledge", "binding"):
        reach_stage(state, "committed", "amount-pledged", day)
    elif commitment == "budget":
        reach_stage(state, "committed", "amount-budgeted", day)


def revise(item: State, event: Any, fields: list[str]) -> None:
    """Set the fields that a revision gives, and supersede the claims about them."""
    for field in fields:
        value = getattr(event, field)
        if value is UNSET:
            continue
        item[field] = () if value is None and field in ("by", "sectors") else value
        supersede_claims(item, field)


def supersede_claims(item: State, field: str) -> None:
    for claim in item.get("claims", []):
        if claim["field"].endswith("/" + field) and claim["status"] == "standing":
            claim["status"] = "superseded"
        if claim["field"].endswith("/" + field):
            claim["set_again"] = True


PLEDGE = [name for name in PledgeAnnounced.__struct_fields__ if name != "pledge"]
INCENTIVE = ["kind", "amount", "authority", "text"]
SITE = [name for name in SiteAnnounced.__struct_fields__ if name != "site"]


def apply_event(state: State, content: Content) -> None:  # noqa: C901 - one case for each event type
    """Apply an event to the state in place. Raises NotApplicable if the state cannot take it."""
    event, day = content["event"], content["day"]
    match content["type"]:
        case "deal_revised":
            revise(state, event, ["title", "summary", "kind", "sectors"])
            if event.classifications is None:
                state["classifications"] = None
            elif event.classifications is not UNSET:
                axes = dict(state["classifications"] or {})
                axes.update(event.classifications)
                state["classifications"] = {axis: axes[axis] for axis in sorted(axes) if axes[axis]} or None
        case "deal_identified":
            for one in event.identifiers:
                if find(state["identifiers"], scheme=one.scheme, value=one.value) is None:
                    state["identifiers"].append({"scheme": one.scheme, "value": one.value})
        case "status_observed":
            known = state["stage"]
            order = ["suspected", "reported", "confirmed"]
            if known is not None and known["value"] == event.stage:
                weight = [order.index(c or "reported") for c in (known["certainty"], event.certainty)]
                if known["basis"] != "observed" or weight[1] <= weight[0]:
                    return
            state["stage"] = stage_of(event.stage, "observed", None, on=day, certainty=event.certainty)
        case "setback_reported":
            new(state["setbacks"], setback=event.setback)
            given = {field: getattr(event, field) for field in ("setback", "kind", "text")}
            state["setbacks"].append({**given, "reported_on": day, "resolved_on": None})
        case "setback_resolved":
            setback = require(state["setbacks"], setback=event.setback)
            if setback["resolved_on"] is not None:
                raise NotApplicable
            setback["resolved_on"] = day
        case "incentive_granted":
            new(state["incentives"], incentive=event.incentive)
            given = {field: getattr(event, field) for field in ("incentive", *INCENTIVE)}
            state["incentives"].append({**given, "status": "granted", "granted_on": day, "claims": []})
        case "incentive_revised" | "incentive_ended":
            incentive = require(state["incentives"], incentive=event.incentive)
            if incentive["status"] == "ended":
                raise NotApplicable
            if content["type"] == "incentive_ended":
                incentive["status"] = "ended"
            else:
                revise(incentive, event, INCENTIVE)
        case "metric_reported" | "metric_revised":
            key = {field: getattr(event, field) for field in ("metric", "site", "basis", "date", "horizon")}
            if content["type"] == "metric_revised":
                metric = require(state["metrics"], **key)
                revise(metric, event, ["value", "unit", "qualifier"])
                if event.value is not UNSET:
                    metric["stated_on"] = day
                return
            new(state["metrics"], **key)
            if event.site is not None:
                require(state["sites"], site=event.site)
            given = {field: getattr(event, field) for field in ("value", "unit", "qualifier")}
            state["metrics"].append({"metric_id": event.metric_id, **key, **given, "stated_on": day, "claims": []})
        case "stage_changed":
            current = state["stage"]
            since = current["since"] if current and current["value"] == event.stage else day
            state["stage"] = stage_of(event.stage, "declared", since)
        case "parties_joined":
            for party in event.parties:
                same = {"organization": party.organization, "role": party.role}
                member = find(state["parties"], **same, left_on=None) or find(state["parties"], **same, joined_on=day)
                if member is not None:
                    restated = {f: getattr(party, f) or member[f] for f in ("name", "share", "certainty")}
                    member.update(left_on=None, **restated)
                else:
                    given = {f: getattr(party, f) for f in ("name", "share", "certainty")}
                    state["parties"].append({**same, **given, "joined_on": day, "left_on": None})
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
            condition = require(state["conditions"], condition=event.condition)
            if condition["lifted_on"] is not None:
                raise NotApplicable
            condition["lifted_on"] = day
        case "pledge_announced":
            new(state["pledges"], pledge=event.pledge)
            given = {field: getattr(event, field) for field in PLEDGE}
            state["pledges"].append(
                {
                    "pledge": event.pledge,
                    **given,
                    "status": "announced",
                    "announced_on": day,
                    "stated_on": day,
                    "claims": [],
                    "disbursed": (),
                }
            )
            if state["stage"] and state["stage"]["rule"] == "all-pledges-withdrawn":
                state["stage"] = None
            commit(state, event.commitment, day)
        case "pledge_revised" | "pledge_confirmed" | "pledge_withdrawn" | "disbursement_reported":
            pledge = require(state["pledges"], pledge=event.pledge)
            if content["type"] == "disbursement_reported":
                spent = {"amount": event.amount, "by": event.by, "period": event.period, "reported_on": day}
                pledge["disbursed"] = (*pledge["disbursed"], spent)
                return
            if pledge["status"] == "withdrawn":
                raise NotApplicable
            if content["type"] == "pledge_withdrawn":
                pledge["status"] = "withdrawn"
                standing = [p for p in state["pledges"] if p["status"] != "withdrawn"]
                stage = state["stage"] or {"basis": "inferred", "value": "intention"}
                if not standing and stage["basis"] != "declared" and stage["value"] in LADDER[:3]:
                    state["stage"] = stage_of("withdrawn", "inferred", day, "all-pledges-withdrawn")
                return
            if content["type"] == "pledge_confirmed":
                pledge["status"] = "confirmed"
                revise(pledge, event, ["commitment"])
            else:
                revise(pledge, event, PLEDGE)
                if event.amount is not UNSET:
                    pledge["stated_on"] = day
            if event.commitment is not UNSET:
                commit(state, event.commitment, day)
        case "site_announced":
            new(state["sites"], site=event.site)
            given = {field: getattr(event, field) for field in SITE}
            state["sites"].append(
                {"site": event.site, **given, "status": "announced", "announced_on": day, "claims": []}
            )
        case "site_revised" | "site_dropped":
            site = require(state["sites"], site=event.site)
            if site["status"] == "dropped":
                raise NotApplicable
            if content["type"] == "site_dropped":
                site["status"] = "dropped"
            else:
                revise(site, event, SITE)
        case "milestone_scheduled":
            new(state["milestones"], milestone=event.milestone)
            if event.site is not None:
                require(state["sites"], site=event.site)
            given = {field: getattr(event, field) for field in ("kind", "site", "name", "planned", "power_mw")}
            state["milestones"].append(
                {
                    "milestone": event.milestone,
                    **given,
                    "reached": None,
                    "status": "planned",
                    "scheduled_on": day,
                    "claims": [],
                }
            )
        case "milestone_rescheduled" | "milestone_cancelled" | "milestone_reached":
            step = require(state["milestones"], milestone=event.milestone)
            if content["type"] == "milestone_reached":
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
            if content["type"] == "milestone_cancelled":
                step["status"] = "cancelled"
            else:
                step["status"] = "planned"
                revise(step, event, ["planned", "power_mw"])
        case "deals_related":
            if event.pledge is not None:
                require(state["pledges"], pledge=event.pledge)
            if event.deal == state["deal"]:
                if event.pledge == event.other_pledge:
                    raise NotApplicable
                if event.other_pledge is not None:
                    require(state["pledges"], pledge=event.other_pledge)
            related = {f: getattr(event, f) for f in ("relation", "deal", "pledge", "other_pledge")}
            if find(state["relations"], **related) is None:
                state["relations"].append({**related, "since": day, "source": content["id"]})
        case "deals_unrelated":
            related = {f: getattr(event, f) for f in ("relation", "deal", "pledge", "other_pledge")}
            require(state["relations"], **related)
            state["relations"] = [r for r in state["relations"] if any(r[k] != v for k, v in related.items())]
        case "claim_reported":
            claim(state, content)
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
    "incentives": ("amount",),
    "metrics": ("value",),
}


def claim(state: State, content: Content) -> None:
    event = content["event"]
    _, name, key, field = event.field.split("/")
    item = require(state[name], **{"metric_id" if name == "metrics" else name[:-1]: key})
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
            "event": content["id"],
            "published_on": content["published_on"],
            "sources": content["sources"],
            "status": "standing",
            "followed": False,
            "rule": None,
            "corroborated": False,
            "set_again": False,
        }
    )


def agree(one: Any, two: Any) -> bool:
    """Whether two values of a field agree: one amount in any currency, a date that contains the other, or equality."""
    one, two = (msgspec.to_builtins(value) for value in (one, two))
    if one is None or two is None:
        return False
    if isinstance(one, dict):
        return any(a == b for a in stated(one) for b in stated(two))
    if is_loose_date(one) and is_loose_date(two):
        days = [(first_day(d), last_day(d)) for d in (one, two)]
        return any(a <= c and d <= b for (a, b), (c, d) in (days, reversed(days)))
    return bool(one == two)


def stated(amount: State) -> list[State]:
    """The amount in each of its currencies, without "about"."""
    names = ("currency", "value", "low", "high", "qualifier")
    figures = [{k: v for k, v in f.items() if k in names and v} for f in (amount, *(amount.get("stated_as") or ()))]
    return [
        {k: float(v) if k in ("value", "low", "high") else v for k, v in f.items() if v not in ("about", "exact")}
        for f in figures
        if not f.keys().isdisjoint({"value", "low", "high"})
    ]


def is_loose_date(value: Any) -> bool:
    return isinstance(value, str) and value[:4].isdigit() and len(value) >= 4


def items_with_claims(state: State) -> list[State]:
    return [item for name in CLAIMABLE for item in state[name]]


def shown_state(state: State, preferred: dict[str, UUID | None], visible: list[Content]) -> State:
    """The state with its lists in order and the preferred claims applied, as plain JSON values."""
    state = copy_state(state)
    for item in items_with_claims(state):
        fields = []
        for claimed in item["claims"]:
            if claimed["field"] not in fields:
                fields.append(claimed["field"])
        claims = []
        for path in fields:
            of_field = [c for c in item["claims"] if c["field"] == path]
            current = [c for c in of_field if not c["set_again"]]
            selected = [c for c in of_field if c["event"] == preferred.get(path) and c["status"] == "standing"]
            field = path.split("/")[3]
            recorded = item[field]
            if selected:
                item[field] = selected[0]["value"]
                selected[0].update(followed=True, rule="preferred")
            if current:
                setter = next((w for w in visible if w["id"] == current[0]["about"]), None)
                claims.append(
                    {
                        "claim": None,
                        "field": path,
                        "value": recorded,
                        "about": current[0]["about"],
                        "event": current[0]["about"],
                        "published_on": setter["published_on"] if setter else None,
                        "sources": setter["sources"] if setter else (),
                        "status": "standing",
                        "followed": not selected,
                        "rule": None if selected else "as_announced",
                        "corroborated": agree(recorded, item[field]),
                    }
                )
            for claimed in of_field:
                claimed["corroborated"] = claimed["status"] == "standing" and agree(claimed["value"], item[field])
                del claimed["set_again"]
            claims += of_field
        item["claims"] = claims
    by = {
        "parties": ("joined_on", "organization", "role"),
        "pledges": ("announced_on", "pledge"),
        "sites": ("announced_on", "site"),
        "milestones": ("scheduled_on", "milestone"),
        "relations": ("since", "relation", "deal", "pledge", "other_pledge"),
        "conditions": ("set_on", "condition"),
        "identifiers": ("scheme", "value"),
        "setbacks": ("reported_on", "setback"),
        "incentives": ("granted_on", "incentive"),
        "metrics": ("metric_id",),
    }
    for name, order in by.items():
        state[name] = sorted(state[name], key=lambda item: [item[k] or "" for k in order])
    plain: State = msgspec.json.decode(msgspec.json.encode(state))
    return plain
