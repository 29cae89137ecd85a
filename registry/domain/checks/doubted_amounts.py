"""What the amounts of a deal's pledges are compared with, as events state them (`amount_checks.py`).

An amount is compared with what was reported for its pledge when it was stated: the amount that it replaced and the
claims that stood then. What a claim is compared with belongs to the claim, so it decides only where the state shows the
claim's value.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from uuid import UUID

from registry.domain.checks.amount_checks import AmountCheck, Figure, doubts, figure_of
from registry.domain.deal import Deal, PledgeState
from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.fold.items import find_item
from registry.domain.money.rates import Rates
from registry.events.types import ClaimReported, PledgeAnnounced, PledgeRevised
from registry.events.values import Amount

Checks = Mapping[str | UUID, AmountCheck]
"""What amounts are compared with: the recorded one of a pledge by its id, that of a claim by the claim's event."""


def reported_amounts(pledge: PledgeState | None) -> list[tuple[str, Amount]]:
    """The amounts already reported for a pledge, each with its name."""
    if pledge is None:
        return []
    current = [("before", pledge.amount)] if pledge.amount else []
    claims = [(c.claim or "as announced", c.value) for c in pledge.claims if c.status == "standing"]
    return current + [(name, value) for name, value in claims if isinstance(value, Amount)]


def checks_after(checks: Checks, before: Deal, applied: AppliedEvent) -> Checks:
    """The checks after an event that the deal took."""
    event = applied.event
    match event:
        case PledgeAnnounced() | PledgeRevised() if isinstance(event.amount, Amount):
            return {**checks, event.pledge: AmountCheck(applied.effective_on, _others(before, event.pledge))}
        case ClaimReported(value=Amount()) if event.field.startswith("/pledges/"):
            check = AmountCheck(applied.published_on, _others(before, event.field.split("/")[2]))
            return {**checks, applied.id: check}
        case _:
            return checks


def _others(before: Deal, pledge: str) -> tuple[Figure, ...]:
    found = (figure_of(amount) for _, amount in reported_amounts(find_item(before.pledges, "pledge", pledge)))
    return tuple(dict.fromkeys(figure for figure in found if figure is not None))


def check_of(pledge: PledgeState, checks: Checks) -> AmountCheck | None:
    """What the amount is compared with that a pledge shows: a preferred claim's, or the recorded one."""
    followed = (c for c in pledge.claims if c.followed and c.rule == "preferred" and c.field.endswith("/amount"))
    claim = next(followed, None)
    return checks.get(claim.event if claim is not None and claim.event is not None else pledge.pledge)


def checks_of(deal: Deal, steps: Iterable[tuple[Deal, AppliedEvent]], refused: Container[UUID] = ()) -> Checks:
    """The checks of all amounts of a deal.

    Args:
        deal: The registered deal.
        steps: Each event in the order of the fold, with the state after it.
        refused: The events that the fold left unapplied.
    """
    checks: Checks = {}
    for after, applied in steps:
        if applied.id not in refused:
            checks = checks_after(checks, deal, applied)
        deal = after
    return checks


def doubts_of(deal: Deal, checks: Checks, rates: Rates | None) -> dict[str, tuple[str, ...]]:
    """The rules of the flags on the amounts that the pledges of a deal show, by pledge."""
    return {
        pledge.pledge: found
        for pledge in deal.pledges
        if pledge.amount is not None and (found := tuple(doubts(pledge.amount, check_of(pledge, checks), rates)))
    }
