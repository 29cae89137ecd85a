"""The errors for a deal that has no state at a point in time."""

from __future__ import annotations

from datetime import UTC, date, datetime

from msgspec import Struct
from msgspec.structs import asdict, replace

from registry.domain.deal import Deal
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream, StateAsOf
from registry.errors import MergedInto, NotFound, NotYetEffective
from registry.schemas import deal_link


def unknown_deal(slug: str) -> NotFound:
    """The error for a slug that no deal ever had."""
    return NotFound("deal", deal=slug)


def first_effective_day(stream: FoldedStream[Deal], as_of: AsOf) -> date | None:
    """The first day on which a deal is known as of a point but for its effective date; None if it never is."""
    point = replace(as_of, effective_on=None)
    later = stream.state_as_of(point)
    if later.state is None:
        return None
    days = [step.key[0] for step in later.steps[:1]]
    if later.registration is not None and point.is_registered(later.registration):
        days += [day for day in (later.registration.registered_on,) if day is not None]
    return min(days)


def require_state(stream: FoldedStream[Deal], snapshot: StateAsOf[Deal], as_of: AsOf) -> Deal:
    """Return the state of a deal at a point.

    Raises:
        MergedInto: The deal was merged into another one.
        NotYetEffective: It is known at that point, but nothing is in effect by then.
        NotFound: Nothing was known of it at that point.
    """
    if snapshot.merged_into is not None:
        raise MergedInto(deal=stream.slug, into=snapshot.merged_into)
    if snapshot.state is not None:
        return snapshot.state
    first = first_effective_day(stream, as_of)
    if first is None:
        raise not_known_yet(stream)
    link = deal_link(stream.slug, replace(as_of, effective_on=first))
    raise NotYetEffective(deal=stream.slug, effective_on=first, link=link)


class FirstKnown(Struct, frozen=True):
    """When a deal was known first on each axis, whichever event that is."""

    recorded_at: datetime
    published_on: date
    effective_on: date


def first_known(stream: FoldedStream[Deal]) -> FirstKnown:
    """The first point on each axis at which something is known of a deal; of its first event if all was voided."""
    first, latest = stream.events[0], stream.state_as_of(UNBOUNDED)
    published = [step.effective.published_on for step in latest.steps]
    days = [step.key[0] for step in latest.steps]
    if latest.registration is not None:
        published.append(latest.registration.published_on)
        days.append(latest.registration.registered_on or latest.registration.published_on)
    return FirstKnown(
        first.recorded_at.astimezone(UTC),
        min(published, default=first.published_on),
        min(days, default=first.effective_on or first.published_on),
    )


def not_known_yet(stream: FoldedStream[Deal]) -> NotFound:
    """The error for a point at which nothing was known of a deal."""
    return NotFound("deal_not_known_yet", deal=stream.slug, **asdict(first_known(stream)))
