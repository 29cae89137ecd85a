"""Whole states of a stream, assembled from the histories of its facts (`timeline.py`).

The state after all events is cached, with the earlier values of the facts that have changed since. The next such state
then costs what changed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.fold.fact_history import FactHistory
from registry.domain.fold.facts import HEADER, FactKey, FactValue, in_order
from registry.domain.fold.items import order_key
from registry.domain.fold.order import FoldKey
from registry.domain.fold.sorted_map import SortedMap
from registry.domain.fold.stage_history import StageHistory

S = TypeVar("S", bound=Struct)

FactHistories: TypeAlias = Mapping[str, SortedMap[FactKey, FactHistory]]
"""The histories of facts, by list and key; that of the header under its own name."""

# With more changed facts than this, a whole state is assembled from all facts.
_MAX_OUTDATED = 64


class CachedStates(Struct, Generic[S], frozen=True, gc=False):
    """States that were assembled.

    Attributes:
        last: The last one, and the place of the event that it follows.
        latest: The last one after all events.
        outdated: The values that facts have in `latest` and that have changed since.
    """

    last: tuple[FoldKey, S] | None = None
    latest: S | None = None
    outdated: Mapping[FactKey, FactValue] = {}

    def after_update(self, outdated: Mapping[FactKey, FactValue]) -> CachedStates[S]:
        """The cache after events were inserted or removed."""
        return CachedStates() if len(outdated) > _MAX_OUTDATED else CachedStates(None, self.latest, outdated)


def assemble(facts: FactHistories, stages: StageHistory, key: FoldKey | None) -> Any:
    """The state after the event at a place; None: after all events."""
    fields: dict[str, Any] = {}
    for name, of_list in facts.items():
        if name == HEADER[0]:
            continue
        histories = list(of_list.first_values())
        if name == "partnerships":  # They have no order but that of their events.
            histories = sorted(histories, key=lambda history: history.values.last() or ())
        values = [history.last() if key is None else history.after(key) for history in histories]
        fields[name] = in_order(item for items in values for item in items)
    if stages.changes:
        fields["stage"] = stages.last() if key is None else stages.at(key)
    header = facts[HEADER[0]][HEADER]
    return replace(header.last() if key is None else header.after(key), **fields)


def assemble_latest(facts: FactHistories, stages: StageHistory, cached: CachedStates[S]) -> S:
    """The state after all events: in the cached one, only the items of changed facts are looked up and placed."""
    if cached.latest is None:
        state: S = assemble(facts, stages, None)
        return state
    lists = {name: list(getattr(cached.latest, name)) for name in facts if name != HEADER[0]}
    for fact, old in cached.outdated.items():
        if fact == HEADER:
            continue
        history = facts[fact[0]].get(fact)
        items, now = lists[fact[0]], history.last() if history is not None else ()
        if fact[0] == "partnerships":
            items[:] = now
            continue
        for item in old:
            del items[bisect_left(items, order_key(item), key=order_key)]
        for item in now:
            insort(items, item, key=order_key)
    fields: dict[str, Any] = {name: tuple(items) for name, items in lists.items()}
    if stages.changes:
        fields["stage"] = stages.last()
    header: S = facts[HEADER[0]][HEADER].last()
    return replace(header, **fields)
