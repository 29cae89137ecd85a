"""Which amounts are doubted because of the relations of their pledges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from msgspec import Struct

from registry.domain.checks.amount_checks import Figure, ratio
from registry.domain.money.rates import Rates
from registry.domain.totals.overlap import Key, Relations, name_of

DOUBTING_FLAGS = frozenset({"tenfold-slip", "member-not-below-aggregate"})
"""The flags that doubt the amount itself. `implied-rate` doubts its source's conversion."""


class CheckedFigure(Struct, frozen=True, gc=False):
    """The amount of a pledge that was not withdrawn, and the day at whose rates it is compared with others."""

    figure: Figure
    on: date


def members_not_below_aggregates(
    pledges: Mapping[Key, CheckedFigure], relations: Relations, rates: Rates | None
) -> Iterator[tuple[Key, Key]]:
    """Each member that is not smaller than an aggregate it is part of: a source may have mixed up the two.

    Two pledges that are part of each other are one amount, so neither is doubted.
    """
    for key, member in pledges.items():
        for whole in sorted(relations.containers(key), key=name_of):
            aggregate = pledges.get(whole)
            if aggregate is None or key in relations.containers(whole):
                continue
            found = ratio(member.figure, aggregate.figure, member.on, rates)
            if found is not None and found >= 1:
                yield key, whole
