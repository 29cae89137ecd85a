"""Facts of a state, and the order of the items of its lists."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from msgspec.structs import replace

from registry.domain.deal.state import Deal, PledgeState
from registry.domain.fold import facts
from registry.domain.fold.items import order_key
from registry.events.types import PledgeAnnounced
from registry.infra.threads import MANY_ITEMS
from tests.domain.builders import LogBuilder, usd


def test_long_list_has_the_order_of_its_items() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2025-01-01")
    state = log.history().state
    assert isinstance(state, Deal)
    [pledge] = state.pledges
    random = Random(1)
    days = [date(2020, 1, 1) + timedelta(random.randrange(50)) for _ in range(3 * MANY_ITEMS)]
    pledges: list[PledgeState] = [
        replace(pledge, pledge=f"p-{number}", announced_on=day) for number, day in enumerate(days)
    ]
    ordered = facts.in_order(pledges)
    assert list(ordered) == sorted(pledges, key=order_key)
    assert list(ordered) != pledges
