"""What the events of a deal signal about its stage, by the publication days on which they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import accumulate

from msgspec import Struct

from registry.domain.fold import FoldKey
from registry.domain.sorted_map import SortedMap
from registry.domain.stages import StageSignal
from registry.projections.facts.sweep_line import Piece, TrackEntry

_NO_ENTRIES: SortedMap[FoldKey, TrackEntry] = SortedMap()


class StageSignals(Struct, frozen=True):
    """The signals of a deal's events, in the order of the fold.

    Attributes:
        pieces: The signal of each event that the deal has taken, and the publication days on which it has.
        withdrawals: The places of the events that withdraw a pledge.
        kinds: What the stage follows from, by the signal; those of an event with different signals under None. A
            withdrawal is among them only where no other pledge stands.
    """

    pieces: SortedMap[FoldKey, tuple[Piece, ...]] = SortedMap()
    withdrawals: SortedMap[FoldKey, None] = SortedMap()
    kinds: Mapping[StageSignal | None, SortedMap[FoldKey, TrackEntry]] = {}

    def updated(self, changed: Mapping[FoldKey, Sequence[Piece]]) -> tuple[StageSignals, dict[FoldKey, date]]:
        """The signals with those of some events changed.

        Returns:
            The signals; and the places where the stage follows from others, with the first publication day on which it
            does.
        """
        pieces, withdrawals, pledged = self.pieces, self.withdrawals, []
        for place, signals in changed.items():
            now = join_pieces(signals)
            if any(signal.pledges for _, _, signal in (*pieces.get(place, ()), *now)):
                pledged.append(place)
            is_withdrawal = any(signal.pledges < 0 for _, _, signal in now)
            withdrawals = withdrawals.set(place, None) if is_withdrawal else withdrawals.delete(place)
            pieces = pieces.set(place, now) if now else pieces.delete(place)
        places = dict.fromkeys(changed)
        if pledged and withdrawals:
            places |= dict.fromkeys(place for place, _ in withdrawals.entries(min(pledged)))
        kinds = dict(self.kinds)
        moved: dict[FoldKey, date] = {}
        for place in places:
            kind = _kind(self.pieces.get(place, ()))
            was = kinds.get(kind, _NO_ENTRIES).get(place)
            acting = pieces.get(place, ())
            if place in withdrawals:
                acting = _without(acting, _standing(pieces, place))
            new = _entry(place, acting) if acting else None
            if was == new:
                continue
            moved[place] = min(one.known_from for one in (was, new) if one is not None)
            if was is not None:
                kinds[kind] = kinds[kind].delete(place)
            if new is not None:
                kind = _kind(pieces[place])
                kinds[kind] = kinds.get(kind, _NO_ENTRIES).set(place, new)
        return StageSignals(pieces, withdrawals, kinds), moved


def known_from(entry: TrackEntry) -> date:
    """The first publication day on which an entry does anything."""
    return entry.known_from


def join_pieces(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces, those that follow each other with the same action as one."""
    joined: list[Piece] = []
    for start, end, action in pieces:
        if joined and joined[-1][1] == start and joined[-1][2] == action:
            joined[-1] = (joined[-1][0], end, action)
        else:
            joined.append((start, end, action))
    return tuple(joined)


def cut_pieces(pieces: Iterable[Piece], first: date, end: date) -> tuple[list[Piece], list[Piece]]:
    """The parts of pieces before a day, and those from another day on."""
    pieces = list(pieces)
    below = [(start, min(stop, first), does) for start, stop, does in pieces if start < first]
    above = [(max(start, end), stop, does) for start, stop, does in pieces if stop > end]
    return below, above


def _entry(place: FoldKey, pieces: Sequence[Piece]) -> TrackEntry:
    acting = tuple((start, end, (signal, place[0])) for start, end, signal in pieces)
    return TrackEntry(place, acting, min(start for start, _, _ in pieces))


def _kind(pieces: Sequence[Piece]) -> StageSignal | None:
    signals: set[StageSignal] = {signal for _, _, signal in pieces}
    return signals.pop() if len(signals) == 1 else None


def _standing(pieces: SortedMap[FoldKey, tuple[Piece, ...]], place: FoldKey) -> list[tuple[date, date]]:
    """The publication days on which a pledge stands after the events up to a place."""
    changes: dict[date, int] = defaultdict(int)
    for key, signals in pieces.entries():
        if key > place:
            break
        for start, end, signal in signals:
            changes[start] += signal.pledges
            changes[end] -= signal.pledges
    days = sorted(changes)
    counts = list(accumulate(changes[day] for day in days))
    return [(day, end) for day, end, count in zip(days, days[1:], counts, strict=False) if count > 0]


def _without(pieces: Iterable[Piece], days: Iterable[tuple[date, date]]) -> tuple[Piece, ...]:
    """The pieces without some publication days."""
    left = list(pieces)
    for first, end in days:
        below, above = cut_pieces(left, first, end)
        left = [*below, *above]
    return join_pieces(sorted(left))
