"""The lines of a total: one pledge each, with its rule."""

from __future__ import annotations

from registry.domain.money import format_decimal
from registry.domain.totals.columns import CountedPledge, nature_and_basis
from registry.domain.totals.overlap import Key, name_of
from registry.domain.totals.results import OriginalAmount, TotalsLine
from registry.domain.totals.rows import DealRow, PledgeRow
from registry.domain.totals.rules import Rule


def counted_line(
    item: CountedPledge,
    rule: Rule,
    in_low: bool,
    in_high: bool,
    because: tuple[Key, ...] = (),
    events: tuple[str, ...] = (),
    part_of: tuple[Key, ...] = (),
) -> TotalsLine:
    """The line of a pledge that has an amount."""
    return TotalsLine(
        deal=item.deal.deal,
        pledge=item.pledge.pledge,
        rule=rule,
        low=format_decimal(item.low) if in_low else "0",
        high=format_decimal(item.high) if in_high else "0",
        currency=item.column[0] if item.pledge.unit is None else None,
        unit=item.pledge.unit or None,
        nature=item.column[1],
        basis=item.column[2] or None,
        stated=_original_amount(item.pledge),
        rate=item.rate,
        because=tuple(map(name_of, because)),
        events=events,
        part_of=tuple(map(name_of, part_of)),
        flags=item.flags,
    )


def excluded_line(
    row: DealRow,
    pledge: PledgeRow,
    rule: Rule,
    because: tuple[Key, ...] = (),
    events: tuple[str, ...] = (),
    part_of: tuple[Key, ...] = (),
    flags: tuple[str, ...] = (),
    reason: str | None = None,
) -> TotalsLine:
    """The line of a pledge that counts in neither bound, independently of other pledges."""
    nature, basis = nature_and_basis(pledge)
    return TotalsLine(
        deal=row.deal,
        pledge=pledge.pledge,
        rule=rule,
        low="0",
        high="0",
        currency=pledge.currency,
        unit=pledge.unit or None,
        nature=nature,
        basis=basis or None,
        stated=_original_amount(pledge),
        because=tuple(map(name_of, because)),
        events=events,
        part_of=tuple(map(name_of, part_of)),
        flags=flags,
        reason=reason,
    )


def _original_amount(pledge: PledgeRow) -> OriginalAmount | None:
    if pledge.currency is None:
        return None
    value, low, high = (None if d is None else format_decimal(d) for d in (pledge.value, pledge.low, pledge.high))
    return OriginalAmount(pledge.currency, value, low, high, pledge.qualifier, pledge.basis, pledge.figure)
