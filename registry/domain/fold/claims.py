"""Claims: what further sources say about one field of a pledge, a site or a milestone.

A claim is about the event that set the field (`sets_field`) and is listed with the value until a later event sets the
field again. An editor may select a claim (`claim_preferred`); the state then shows the claimed value and lists the
recorded one as a claim. A claim that agrees with the value shown corroborates it (`agrees`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal as ExactDecimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.items import find_item, replace_item
from registry.domain.refusal import Refusal
from registry.errors import RuleBroken
from registry.events.edtf import first_day, last_day
from registry.events.types import (
    ClaimReported,
    ClaimRetracted,
    Event,
)
from registry.events.values import Amount, AmountBasis, Commitment, Decimal, Edtf, Place, Source

S = TypeVar("S", bound=Struct)

CLAIMABLE: dict[tuple[str, str], Any] = {
    ("pledges", "amount"): Amount,
    ("pledges", "amount_basis"): AmountBasis,
    ("pledges", "commitment"): Commitment,
    ("sites", "place"): Place,
    ("sites", "power_mw"): Decimal,
    ("sites", "gpus"): int,
    ("milestones", "planned"): Edtf,
    ("milestones", "reached"): Edtf,
    ("milestones", "power_mw"): Decimal,
    ("incentives", "amount"): Amount,
    ("metrics", "value"): Decimal,
}
"""The fields that claims can be about, by list and field, and the type of a claimed value."""

LISTS = ("pledges", "sites", "milestones", "incentives", "metrics")
"""The lists whose items have claims."""

# The status inside the fold of a retracted claim whose field was set again since. It is shown as retracted.
_RETRACTED_BEFORE = "retracted before"


class ClaimState(Struct, frozen=True, kw_only=True, gc=False):
    """One source's value for a field. `claim` is None for the recorded value, which is listed beside the claims.

    `status` is standing, superseded (a later event has set the field again) or retracted. `followed` tells whether the
    state shows this value, and `rule` why: `as_announced` (the recorded value is the default) or `preferred` (an editor
    selected the claim). `about` is the event that set the field, `event` the one that reported the claim.
    `corroborated` tells whether the value stands and agrees with the one that the state shows.
    """

    claim: str | None
    field: str
    value: Any
    about: UUID | None
    event: UUID | None
    published_on: date | None
    sources: tuple[Source, ...]
    status: str = "standing"
    followed: bool = False
    rule: str | None = None
    corroborated: bool = False


def sets_field(path: str, event: Event, before: Any, after: Any) -> bool:
    """Whether an event set a claimable field: it made the item, changed the value, or is a revision that repeats it.

    Args:
        path: The field, such as `/pledges/total/amount`.
        event: The event.
        before: The state before the event.
        after: The state after it.
    """
    _, name, key, field = path.split("/")
    id_field = _id_field(name)
    old: Any = find_item(getattr(before, name, ()), id_field, key)
    new: Any = find_item(getattr(after, name, ()), id_field, key)
    if new is None:
        return False
    if old is None or getattr(old, field, None) != getattr(new, field, None):
        return True
    return (
        isinstance(event, new.revised_by)
        and getattr(event, id_field, None) == key
        and getattr(event, field, UNSET) is not UNSET
    )


def agrees(path: str, claimed: Any, shown: Any) -> bool:
    """Whether a claimed value and the value shown can both be right.

    Amounts agree if they are the same in any currency that both state; "about" is no difference, another qualifier is.
    Dates agree if one contains the other ("2027" and "2027-11"). Other values agree if they are equal.
    """
    _, name, _, field = path.split("/")
    if claimed is None or shown is None:
        return False
    kind = CLAIMABLE.get((name, field))
    if kind is Amount:
        return not _figures(claimed).isdisjoint(_figures(shown))
    if kind is Edtf:
        claimed_days, shown_days = (first_day(claimed), last_day(claimed)), (first_day(shown), last_day(shown))
        earlier, later = min(claimed_days[0], shown_days[0]), max(claimed_days[1], shown_days[1])
        return (earlier, later) in (claimed_days, shown_days)
    if kind is Decimal:
        return ExactDecimal(claimed) == ExactDecimal(shown)
    return bool(claimed == shown)


def _figures(amount: Amount) -> set[tuple[Any, ...]]:
    """The amount in each currency that it is stated in."""
    figures: set[tuple[Any, ...]] = set()
    stated: tuple[Any, ...] = (amount, *amount.stated_as)
    for figure in stated:
        stated_numbers = (figure.value, getattr(figure, "low", None), getattr(figure, "high", None))
        numbers = tuple(None if number is None else ExactDecimal(number) for number in stated_numbers)
        if any(n is not None for n in numbers):
            qualifier = None if figure.qualifier in ("about", "exact") else figure.qualifier
            figures.add((figure.currency, *numbers, qualifier))
    return figures


def report_claim(deal: S, event: ClaimReported, applied: AppliedEvent) -> S:
    """The deal with a claim added to the item that it is about.

    Raises:
        RuleBroken: The item is unknown, the field takes no claims, the value has another type, or the id is used.
    """
    _, name, key, field = event.field.split("/")
    item: Any = find_item(getattr(deal, name), _id_field(name), key)
    if item is None:
        raise RuleBroken(_unknown_item(name, key))
    value = _claimed_value(event, name, field)
    if any(claim.claim == event.claim for _, other in _claimed_items(deal) for claim in other.claims):
        raise RuleBroken(Refusal("claim-id-used", claim=event.claim))
    claim = ClaimState(
        claim=event.claim,
        field=event.field,
        value=value,
        about=event.about,
        event=applied.id,
        published_on=applied.published_on,
        sources=applied.sources,
    )
    return replace_item(deal, name, item, replace(item, claims=(*item.claims, claim)))


def retract_claim(deal: S, event: ClaimRetracted) -> S:
    """The deal with a claim marked as retracted.

    Raises:
        RuleBroken: The claim is unknown or was retracted before.
    """
    for name, item in _claimed_items(deal):
        claim = find_item(item.claims, "claim", event.claim)
        if claim is None:
            continue
        if claim.status in ("retracted", _RETRACTED_BEFORE):
            raise RuleBroken(Refusal("claim-retracted", claim=event.claim))
        status = _RETRACTED_BEFORE if claim.status == "superseded" else "retracted"
        claims = tuple(replace(c, status=status) if c is claim else c for c in item.claims)
        return replace_item(deal, name, item, replace(item, claims=claims))
    raise RuleBroken(Refusal("claim-unknown", claim=event.claim))


def supersede_claims(claims: tuple[ClaimState, ...], changed: Mapping[str, Any]) -> tuple[ClaimState, ...]:
    """The claims, those about a field that an event has now set again marked as superseded."""
    if not claims:
        return claims
    again = {"standing": "superseded", "retracted": _RETRACTED_BEFORE}
    return tuple(
        replace(c, status=again.get(c.status, c.status)) if _field_name(c.field) in changed else c for c in claims
    )


def apply_preferred_claims(
    deal: S, preferred: Mapping[str, UUID | None], events: Mapping[UUID, AppliedEvent | EffectiveEvent]
) -> S:
    """The deal with the selected claims' values shown, and every claim marked as used or not.

    Args:
        deal: A state of the fold, which shows the recorded values.
        preferred: The event of the selected claim, by field.
        events: The events of the fold, by id: they give the recorded value's publication date and sources.
    """
    for name in LISTS:
        items = getattr(deal, name)
        if any(item.claims for item in items):
            deal = replace(deal, **{name: tuple(_apply_to_item(item, preferred, events) for item in items)})
    return deal


def _apply_to_item(
    item: Any, preferred: Mapping[str, UUID | None], events: Mapping[UUID, AppliedEvent | EffectiveEvent]
) -> Any:
    claims: list[ClaimState] = []
    values: dict[str, Any] = {}
    for path in dict.fromkeys(claim.field for claim in item.claims):
        of_field = [c for c in item.claims if c.field == path]
        field = _field_name(path)
        selected = next((c for c in of_field if c.event == preferred.get(path) and c.status == "standing"), None)
        current = next((c for c in of_field if c.status in ("standing", "retracted")), None)
        shown = getattr(item, field) if selected is None else selected.value
        if current is not None:
            setter = events.get(current.about) if current.about else None
            claims.append(
                ClaimState(
                    claim=None,
                    field=path,
                    value=getattr(item, field),
                    about=current.about,
                    event=current.about,
                    published_on=setter.published_on if setter else None,
                    sources=setter.sources if setter else (),
                    followed=selected is None,
                    rule="as_announced" if selected is None else None,
                    corroborated=agrees(path, getattr(item, field), shown),
                )
            )
        if selected is not None:
            values[field] = selected.value
        claims += [
            replace(
                c,
                status="retracted" if c.status == _RETRACTED_BEFORE else c.status,
                followed=c is selected,
                rule="preferred" if c is selected else None,
                corroborated=c.status == "standing" and agrees(path, c.value, shown),
            )
            for c in of_field
        ]
    return replace(item, claims=tuple(claims), **values)


def _claimed_items(deal: Struct) -> Iterator[tuple[str, Any]]:
    """Each item that may have claims, with the name of its list."""
    return ((name, item) for name in LISTS for item in getattr(deal, name))


def _claimed_value(event: ClaimReported, name: str, field: str) -> Any:
    kind = CLAIMABLE.get((name, field))
    if kind is None:
        claimable = tuple(f for n, f in CLAIMABLE if n == name)
        raise RuleBroken(Refusal("field-not-claimable", field=event.field, claimable=claimable))
    try:
        value = msgspec.convert(msgspec.to_builtins(event.value), kind)
        if kind is Edtf:
            last_day(value)
    except (msgspec.ValidationError, ValueError) as error:
        raise RuleBroken(Refusal("claim-of-wrong-type", field=event.field, reason=str(error))) from None
    return value


def _id_field(name: str) -> str:
    """The field that holds the id of a list's items."""
    return "metric_id" if name == "metrics" else name.removesuffix("s")


def _field_name(path: str) -> str:
    return path.rsplit("/", 1)[1]


def _unknown_item(name: str, key: str) -> Refusal:
    match name:
        case "pledges":
            return Refusal("pledge-unknown", pledge=key)
        case "sites":
            return Refusal("site-unknown", site=key)
        case "incentives":
            return Refusal("incentive-unknown", incentive=key)
        case "metrics":
            return Refusal("metric-unknown", metric=key)
        case _:
            return Refusal("milestone-unknown", milestone=key)
