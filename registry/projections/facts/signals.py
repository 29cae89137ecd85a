"""What the events of a deal signal about its stage, by the publication days on which they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import accumulate

from msgspec import Struct

from registry.domain.fold.order import FoldKey
from registry.domain.fold.sorted_map import SortedMap
from registry.domain.stages import StageSignal
from registry.projections.facts.sweep_line import SweepEntry, TimedAction

_NO_ENTRIES: SortedMap[FoldKey, SweepEntry] = SortedMap()


class StageSignals(Struct, frozen=True):
    """The signals of a deal's events, in the order of the fold.

    Attributes:
        actions: The signal of each event that the deal has taken, and the publication days on which it has.
        withdrawals: The places of the events that withdraw a pledge.
        kinds: What the stage follows from, by the signal; those of an event with different signals under None. A
            withdrawal is among them only where no other pledge stands.
    """

    actions: SortedMap[FoldKey, tuple[TimedAction, ...]] = SortedMap()
    withdrawals: SortedMap[FoldKey, None] = SortedMap()
    kinds: Mapping[StageSignal | None, SortedMap[FoldKey, SweepEntry]] = {}

    def updated(self, changed: Mapping[FoldKey, Sequence[TimedAction]]) -> tuple[StageSignals, dict[FoldKey, date]]:
        """The signals with those of some events changed.

        Returns:
            The signals; and the places where the stage follows from others, with the first publication day on which it
            does.
        """
        actions, withdrawals, pledged = self.actions, self.withdrawals, []
        for place, signals in changed.items():
            now = coalesce(signals)
            if any(signal.pledges for _, _, signal in (*actions.get(place, ()), *now)):
                pledged.append(place)
            is_withdrawal = any(signal.pledges < 0 for _, _, signal in now)
            withdrawals = withdrawals.set(place, None) if is_withdrawal else withdrawals.delete(place)
            actions = actions.set(place, now) if now else actions.delete(place)
        places = dict.fromkeys(changed)
        if pledged and withdrawals:
            places |= dict.fromkeys(place for place, _ in withdrawals.entries(min(pledged)))
        kinds = dict(self.kinds)
        moved: dict[FoldKey, date] = {}
        for place in places:
            kind = _kind(self.actions.get(place, ()))
            was = kinds.get(kind, _NO_ENTRIES).get(place)
            acting = actions.get(place, ())
            if place in withdrawals:
                acting = _without(acting, _standing(actions, place))
            new = _entry(place, acting) if acting else None
            if was == new:
                continue
            moved[place] = min(one.published_from for one in (was, new) if one is not None)
            if was is not None:
                kinds[kind] = kinds[kind].delete(place)
            if new is not None:
                kind = _kind(actions[place])
                kinds[kind] = kinds.get(kind, _NO_ENTRIES).set(place, new)
        return StageSignals(actions, withdrawals, kinds), moved


def published_from(entry: SweepEntry) -> date:
    """The first publication day on which an entry does anything."""
    return entry.published_from


def coalesce(actions: Iterable[TimedAction]) -> tuple[TimedAction, ...]:
    """The actions; equal ones whose days touch become one."""
    joined: list[TimedAction] = []
    for start, end, action in actions:
        if joined and joined[-1][1] == start and joined[-1][2] == action:
            joined[-1] = (joined[-1][0], end, action)
        else:
            joined.append((start, end, action))
    return tuple(joined)


def split_around(actions: Iterable[TimedAction], first: date, end: date) -> tuple[list[TimedAction], list[TimedAction]]:
    """The parts of actions before a day, and those from another day on."""
    actions = list(actions)
    below = [(start, min(stop, first), does) for start, stop, does in actions if start < first]
    above = [(max(start, end), stop, does) for start, stop, does in actions if stop > end]
    return below, above


def _entry(place: FoldKey, actions: Sequence[TimedAction]) -> SweepEntry:
    acting = tuple((start, end, (signal, place[0])) for start, end, signal in actions)
    return SweepEntry(place, acting, min(start for start, _, _ in actions))


def _kind(actions: Sequence[TimedAction]) -> StageSignal | None:
    signals: set[StageSignal] = {signal for _, _, signal in actions}
    return signals.pop() if len(signals) == 1 else None


def _standing(actions: SortedMap[FoldKey, tuple[TimedAction, ...]], place: FoldKey) -> list[tuple[date, date]]:
    """The publication days on which a pledge stands after the events up to a place."""
    changes: dict[date, int] = defaultdict(int)
    for key, signals in actions.entries():
        if key > place:
            break
        for start, end, signal in signals:
            changes[start] += signal.pledges
            changes[end] -= signal.pledges
    days = sorted(changes)
    counts = list(accumulate(changes[day] for day in days))
    return [(day, end) for day, end, count in zip(days, days[1:], counts, strict=False) if count > 0]


def _without(actions: Iterable[TimedAction], days: Iterable[tuple[date, date]]) -> tuple[TimedAction, ...]:
    """The actions without some publication days."""
    left = list(actions)
    for first, end in days:
        below, above = split_around(left, first, end)
        left = [*below, *above]
    return coalesce(sorted(left))
