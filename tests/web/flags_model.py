"""The flags of generated deals a second time, from the text of the rules: an oracle for what lists and histories say.

It shares no code with `registry.domain`. The states are those of `tests.properties.oracle`. The model knows one coarse
exchange rate of each currency, so a story states a conversion that is far from all rates of its currency, or none.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from registry.events.types import Recorded
from tests.properties import oracle
from tests.properties.oracle_state import State

DOUBTING = {"tenfold-slip", "member-not-below-aggregate"}
"""The rules that doubt an amount itself."""

_WON = {"KRW": 1, "USD": 1250, "EUR": 1350, "JPY": 10}
_AMOUNT_TYPES = ("pledge_announced", "pledge_revised")
_OF_PLEDGES = ("pledge_revised", "pledge_confirmed", "pledge_withdrawn")


def flags_of(slug: str, events: Sequence[Recorded], **as_of: Any) -> dict[str, list[str]]:
    """The rules of the flags on the amounts of a deal's pledges, as a list of deals has them."""
    folded = oracle.fold(slug, events, preferences=False, **as_of)
    if folded is None:
        return {}
    visible, states, _ = folded
    flags: dict[str, list[str]] = {pledge["pledge"]: [] for pledge in states[-1]["pledges"] if pledge["amount"]}
    for content, before in zip(visible, states, strict=False):
        amount = getattr(content["event"], "amount", None)
        if content["type"] in _AMOUNT_TYPES and hasattr(amount, "value"):
            flags[content["event"].pledge] = list(_of_amount(amount, content["event"].pledge, before))
    for member in _members_not_below(states[-1]):
        flags[member[0]].append("member-not-below-aggregate")
    return flags


def raised(
    slug: str, events: Sequence[Recorded], others: Mapping[str, Sequence[Recorded]], **as_of: Any
) -> dict[UUID, set[str]]:
    """The rules of the flags that the registration of a deal and each of its visible events raise.

    `others` are the events of the deals that it names in relations.
    """
    found: dict[UUID, set[str]] = {}
    recorded = [event for event in events if as_of.get("position") is None or event.position <= as_of["position"]]
    if recorded and (rules := set(_of_dates(oracle.effective_content(recorded, recorded[0])["sources"], recorded[0]))):
        found[recorded[0].id] = rules
    folded = oracle.fold(slug, events, preferences=False, **as_of)
    if folded is None:
        return found
    visible, states, unapplied = folded
    by_id = {event.id: event for event in events}
    known = {name: value for name, value in as_of.items() if name != "effective"}
    neighbours = {name: oracle.state_of(name, of_other, **known) for name, of_other in others.items()}
    earlier: list[dict[str, Any]] = []
    for number, content in enumerate(visible):
        if content["id"] in unapplied:
            continue
        before, after = states[number], states[number + 1]
        rules = {
            *_of_content(content, before),
            *_of_earlier(content, earlier),
            *_of_dates(content["sources"], by_id[content["id"]]),
            *_of_relations(after, before, neighbours),
            *("power-per-gpu" for site in _crowded(after) if site not in _crowded(before)),
            *(
                "member-not-below-aggregate"
                for one in _members_not_below(after)
                if one not in _members_not_below(before)
            ),
        }
        if rules:
            found[content["id"]] = rules
        earlier.append(content)
    return found


def _of_content(content: dict[str, Any], before: State) -> Iterator[str]:
    """Flags of amounts, and of periods and dates that were over when they were announced."""
    event, kind, day = content["event"], content["type"], content["day"]
    if kind in _AMOUNT_TYPES and hasattr(event.amount, "value"):
        yield from _of_amount(event.amount, event.pledge, before)
    if kind == "claim_reported" and event.field.endswith("/amount"):
        yield from _of_amount(event.value, event.field.split("/")[2], before)
    until = getattr(getattr(event, "horizon", None), "until", None) if kind in _AMOUNT_TYPES else None
    if until and _last_day(until) < day:
        yield "horizon-past"
    if kind in ("milestone_scheduled", "milestone_rescheduled") and _last_day(event.planned) < day:
        yield "planned-past"


def _of_amount(amount: Any, name: str, before: State) -> Iterator[str]:
    """Whether an amount is another one of its pledge restated by a power of ten, or is converted at a wrong rate."""
    old = next((pledge for pledge in before["pledges"] if pledge["pledge"] == name), None)
    others = [old["amount"]] if old is not None and old["amount"] else []
    others += [c["value"] for c in old["claims"] if c["status"] == "standing"] if old is not None else []
    if any(_is_power_of_ten(int(amount.value), int(other["value"])) for other in others):
        yield "tenfold-slip"
    for stated in amount.stated_as:
        won = [int(one.value) * _WON[one.currency] for one in (amount, stated)]
        assert not 0.5 < won[1] / won[0] < 2, "the coarse rates do not tell this conversion from a correct one"
        yield "tenfold-slip" if _is_power_of_ten(*won) else "implied-rate"


def _is_power_of_ten(one: int, other: int) -> bool:
    """Whether two amounts of one currency differ by about a factor of 10, 100, 1,000 or 10,000."""
    small, large = sorted((one, other))
    return any(abs(large / small / 10**power - 1) <= 0.25 for power in (1, 2, 3, 4))


def _of_earlier(content: dict[str, Any], earlier: list[dict[str, Any]]) -> Iterator[str]:
    """Flags of an event that repeats an earlier one from its source, or was published before the pledge it changes."""
    urls = {source.url for source in content["sources"]}
    for other in earlier:
        is_same = other["type"] == content["type"] and other["event"] == content["event"]
        if is_same and urls & {source.url for source in other["sources"]}:
            yield "recorded-twice"
        is_announcement = other["type"] == "pledge_announced" and content["type"] in _OF_PLEDGES
        is_of_pledge = is_announcement and other["event"].pledge == content["event"].pledge
        if is_of_pledge and content["published_on"] < other["published_on"]:
            yield "published-before-its-pledge"


def _of_dates(sources: Sequence[Any], recorded: Recorded) -> Iterator[str]:
    """A source can be dated a day ahead of UTC, at most 14 hours."""
    days = [source.published_on for source in sources if source.published_on is not None]
    if days and max(days) > (recorded.recorded_at + timedelta(hours=14)).date():
        yield "published-after-recorded"


def _of_relations(after: State, before: State, neighbours: Mapping[str, State | None]) -> Iterator[str]:
    """Flags of new relations that supersede a pledge which the other deal does not have, as known at the point."""
    for one in after["relations"]:
        other = neighbours.get(one["deal"])
        if one["relation"] != "supersedes" or not one["other_pledge"] or other is None or one in before["relations"]:
            continue
        if one["other_pledge"] not in [pledge["pledge"] for pledge in other["pledges"]]:
            yield "supersedes-no-pledge"


def _crowded(state: State) -> list[tuple[Any, ...]]:
    """The sites with less than 0.5 kW or more than 5 kW of power for each GPU."""
    return [
        (site["site"], site["power_mw"], site["gpus"])
        for site in state["sites"]
        if site["status"] != "dropped"
        and site["power_mw"] is not None
        and site["gpus"]
        and not Decimal("0.5") <= Decimal(site["power_mw"]) * 1000 / site["gpus"] <= 5
    ]


def _members_not_below(state: State) -> list[tuple[Any, ...]]:
    """The pledges that are part of another pledge of the deal and not smaller than it, in its currency."""
    pledges = {one["pledge"]: one["amount"] for one in state["pledges"] if one["status"] != "withdrawn"}
    return [
        (one["pledge"], part["value"], whole["value"])
        for one in state["relations"]
        if one["relation"] == "part_of" and one["deal"] == state["deal"]
        if (part := pledges.get(one["pledge"])) and (whole := pledges.get(one["other_pledge"]))
        if int(part["value"]) >= int(whole["value"])
    ]


def _last_day(edtf: str) -> date:
    """The last day of a year, of a month, or the day itself."""
    parts = [int(part) for part in edtf.split("-")]
    year, month = parts[0], parts[1] if len(parts) > 1 else 12
    return date(year, month, parts[2] if len(parts) > 2 else calendar.monthrange(year, month)[1])
