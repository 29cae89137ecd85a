"""Further announcements for some generated deals: corrections, claims, observations. Each says what pages call it.

The generated deals of `bench.workload` have announcements of the world only. A story adds to one deal what else can
happen. It states by itself the labels of its events in a history, and what a comparison of the record before the
stories with the record after them says. All deals are in effect before the day of recording, so that what happened in
a story is learned late there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from bench import workload

EVERY = 50
FIRST = 20
"""The deals FIRST, FIRST + 1, … of each EVERY deals have stories."""
AMOUNT = "/pledges/first/amount"

Announcements = list[dict[str, Any]]


class Story(Struct, frozen=True):
    """Announcements of a deal, their labels in its history, and what a comparison of the records says of the deal.

    Args:
        announcements: The announcements of a deal, by its number.
        labels: The label of each.
        compared: What changed, each with its kind.
        flags: The rules of the flags on the deal's pledge that the story leads to.
    """

    announcements: Callable[[int], Announcements]
    labels: tuple[str, ...]
    compared: frozenset[tuple[str, str]]
    flags: tuple[str, ...] = ()


def _day(deal: int, step: int) -> str:
    return (date(2020, 1, 1) + timedelta(days=deal % 700 + step * 120)).isoformat()


def _id(deal: int, step: int) -> str:
    """The id of an announcement of a generated deal; those of stories follow the ten of the workload."""
    return str(UUID(int=deal << 16 | step))


def _told(deal: int, *events: dict[str, Any]) -> Announcements:
    """Events that happened one after another after those of the workload."""
    sources = [{"publisher": "Other paper", "url": f"https://other.example/{deal}"}]
    return [
        {
            "effective_on": _day(deal, 10 + number),
            "sources": [{**source, "published_on": _day(deal, 10 + number)} for source in sources],
            "event": event,
        }
        for number, event in enumerate(events)
    ]


def _amount(deal: int, times: int = 1, more: int = 0) -> dict[str, Any]:
    """The latest amount of a deal, changed."""
    stated = workload.announcement(deal, 6)["event"]["amount"]
    return {**stated, "value": str(int(stated["value"]) * times + more)}


def _acts(*events: dict[str, Any]) -> Announcements:
    """Acts of the registry, which have no date of their own."""
    return [{"event": event} for event in events]


def _correct(deal: int) -> Announcements:
    replacement = {"event": {"type": "pledge_revised", "pledge": "first", "amount": _amount(deal, more=10_000_000)}}
    return _acts(
        {"type": "event_corrected", "corrects": _id(deal, 6), "replacement": replacement, "reason": "Misread."}
    )


def _void(deal: int, step: int = 8) -> Announcements:
    return _acts({"type": "event_voided", "voids": _id(deal, step), "reason": "Never announced."})


def _record_again(deal: int) -> Announcements:
    again = {**workload.announcement(deal, 6)}
    again["event"] = {**again["event"], "amount": _amount(deal, more=10_000_000)}
    return [*_void(deal, 6), again]


def _claim(value: Callable[[int], Any], *then: dict[str, Any]) -> Callable[[int], Announcements]:
    def announcements(deal: int) -> Announcements:
        claim = {"type": "claim_reported", "claim": "other", "field": AMOUNT, "value": value(deal)}
        sources = [{"publisher": "Other paper", "url": f"https://other.example/{deal}", "published_on": _day(deal, 10)}]
        retraction = [{"sources": sources, "event": event} for event in then]
        return [{"sources": sources, "event": claim}, *retraction]

    return announcements


def _tell(*events: dict[str, Any]) -> Callable[[int], Announcements]:
    return lambda deal: _told(deal, *events)


def _late(*whats: str) -> frozenset[tuple[str, str]]:
    return frozenset((what, "learned_late") for what in (*whats, "learned_late"))


def _of_source(*whats: str) -> frozenset[tuple[str, str]]:
    return frozenset((what, "source") for what in whats)


def _convert(deal: int) -> Announcements:
    """An amount with a conversion at three times the rate of its time."""
    amount = _amount(deal, more=10_000_000)
    won = {"USD": 1250, "EUR": 1350, "JPY": 10}.get(amount["currency"])
    value = int(amount["value"]) * 3 * won if won is not None else int(amount["value"]) * 3 // 1250
    amount["stated_as"] = [{"value": str(value), "currency": "KRW" if won is not None else "USD"}]
    return _told(deal, {"type": "pledge_revised", "pledge": "first", "amount": amount})


def _add_larger_part(deal: int) -> Announcements:
    part = {"type": "pledge_announced", "pledge": "part", "amount": _amount(deal, times=2)}
    relation = {"type": "deals_related", "relation": "part_of", "deal": workload.slug(deal)}
    return _told(deal, part, {**relation, "pledge": "part", "other_pledge": "first"})


def _withdraw_before_the_pledge(deal: int) -> Announcements:
    (withdrawn,) = _told(deal, {"type": "pledge_withdrawn", "pledge": "first"})
    withdrawn["sources"][0]["published_on"] = _day(deal, 1)
    return [withdrawn]


def _identify_in_future(deal: int) -> Announcements:
    (told,) = _told(deal, {"type": "deal_identified", "identifiers": [{"scheme": "future", "value": str(deal)}]})
    told["sources"][0]["published_on"] = "2100-01-01"
    return [told]


def _register_in_future(deal: int) -> Announcements:
    """The date of the registration's source is corrected to a day to come."""
    (source,) = workload.announcement(deal, 0)["sources"]
    replacement = {"sources": [{**source, "published_on": "2100-01-01"}]}
    correction = {"type": "event_corrected", "corrects": _id(deal, 0), "replacement": replacement}
    return _acts({**correction, "reason": "Misread."})


def _supersede_no_pledge(deal: int) -> Announcements:
    other = workload.slug(deal - 1)
    return _told(deal, {"type": "deals_related", "relation": "supersedes", "deal": other, "other_pledge": "nowhere"})


SHELVED = {"type": "status_observed", "stage": "shelved"}
RESUMED = {"type": "status_observed", "stage": "construction"}
_OTHER: Callable[[int], Any] = lambda deal: _amount(deal, more=20_000_000)  # noqa: E731
CORRECTED = frozenset({("corrected", "record")})

STORIES: dict[str, Story] = {
    "corrected": Story(_correct, ("corrected",), CORRECTED),
    "voided": Story(_void, ("voided",), CORRECTED),
    "recorded again": Story(_record_again, ("voided", "re_recorded"), frozenset({("re_recorded", "record")})),
    "claimed": Story(_claim(_OTHER), ("claimed",), _of_source("claimed")),
    "corroborated": Story(_claim(_amount), ("corroborated",), _of_source("corroborated")),
    "preferred": Story(
        _claim(_OTHER, {"type": "claim_preferred", "field": AMOUNT, "claim": "other", "reason": "Official."}),
        ("claimed", "preferred"),
        _of_source("claimed", "preferred"),
    ),
    "retracted": Story(
        _claim(_OTHER, {"type": "claim_retracted", "claim": "other"}),
        ("claimed", "retracted"),
        _of_source("claimed", "retracted"),
    ),
    "observed": Story(_tell(SHELVED), ("observed",), _of_source("observed")),
    "observed again": Story(
        _tell(SHELVED, RESUMED), ("observed", "world"), _of_source("observed") | _late("stage_moved")
    ),
    "withdrawn": Story(_tell({"type": "pledge_withdrawn", "pledge": "first"}), ("world",), _late("shrank")),
    "cancelled": Story(_tell({"type": "milestone_cancelled", "milestone": "first"}), ("world",), _late()),
    "identified": Story(
        lambda deal: _told(deal, {"type": "deal_identified", "identifiers": [{"scheme": "walk", "value": str(deal)}]}),
        ("record_keeping",),
        frozenset(),
    ),
    "tenfold": Story(
        lambda deal: _told(deal, {"type": "pledge_revised", "pledge": "first", "amount": _amount(deal, times=10)}),
        ("world",),
        _late("grew"),
        ("tenfold-slip",),
    ),
    "dropped": Story(_tell({"type": "site_dropped", "site": "first"}), ("world",), _late()),
    # These deals are in operation before their milestone is reached, so that it moves no stage.
    "reached": Story(_tell({"type": "milestone_reached", "milestone": "first"}), ("world",), _late()),
    "horizon past": Story(
        _tell({"type": "pledge_revised", "pledge": "first", "horizon": {"until": "2019"}}), ("world",), _late()
    ),
    "planned past": Story(
        _tell({"type": "milestone_rescheduled", "milestone": "first", "planned": "2019"}),
        ("world",),
        _late("brought_forward"),
    ),
    "power per GPU": Story(_tell({"type": "site_revised", "site": "first", "gpus": 10}), ("world",), _late()),
    "recorded twice": Story(lambda deal: [workload.announcement(deal, 9)], ("world",), _late()),
    "published before": Story(_withdraw_before_the_pledge, ("world",), _late("shrank")),
    "published in future": Story(_identify_in_future, ("record_keeping",), frozenset()),
    "converted": Story(_convert, ("world",), _late("grew"), ("implied-rate",)),
    "registered in future": Story(_register_in_future, ("corrected",), frozenset()),
    "supersedes no pledge": Story(_supersede_no_pledge, ("world",), _late()),
    "larger part": Story(_add_larger_part, ("world", "world"), _late(), ("member-not-below-aggregate",)),
}


def story_of(deal: int) -> Story | None:
    """The story of a generated deal."""
    number = deal % EVERY - FIRST
    return list(STORIES.values())[number] if 0 <= number < len(STORIES) else None


def lines(deals: int) -> Iterator[bytes]:
    """The stories of generated deals as lines of an import, each with an id."""
    for deal in range(deals):
        story = story_of(deal)
        for number, announcement in enumerate(story.announcements(deal) if story is not None else ()):
            step = workload.ROUNDS + number
            yield workload.encode({"deal": workload.slug(deal), "id": _id(deal, step), **announcement})
