"""Decides which pledges may be added to each other, from the relations that are declared between deals and pledges.

`Relations` applies the relations between deals (`deals_related`) to their pledges; `resolve_overlaps` decides which of
a set of pledges are in the lower bound of a total and which in the upper bound. Relations may contradict each other or
form cycles: every function here terminates, and excludes an amount rather than counting it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal

from msgspec import Struct

from registry.events.values import Relation

Key = tuple[str, str | None]
"""A pledge (deal, pledge), or a whole deal (deal, None)."""

Column = tuple[str, str, str]
"""Amounts of one column can be added: currency, nature (commitment, intention) and basis (once, annual)."""


def name_of(key: Key) -> str:
    """`DEAL/PLEDGE`, or `DEAL`."""
    return key[0] if key[1] is None else f"{key[0]}/{key[1]}"


class Relations:
    """The declared relations of all deals, applied to their pledges. `deals` are those that have any."""

    def __init__(self) -> None:
        self.deals: set[str] = set()
        self._part_of: dict[Key, set[Key]] = {}
        self._overlaps: set[tuple[Key, Key]] = set()
        self._separate: set[frozenset[Key]] = set()
        self._superseded_by: dict[Key, set[Key]] = {}
        self._events: dict[frozenset[Key], set[str]] = {}
        self._pledges: dict[str, tuple[Key, ...]] = {}
        self._containers: dict[Key, frozenset[Key]] = {}
        self._parts: dict[Key, list[Key]] | None = None
        self._overlapping: dict[Key, set[Key]] = {}

    def declare(self, relation: Relation, one: Key, other: Key, event: str) -> None:
        """Declare that `one` is `relation` to `other`. `event` is the id of the event that declares it, if one does."""
        match relation:
            case "part_of":
                self._part_of.setdefault(one, set()).add(other)
            case "includes":
                self._part_of.setdefault(other, set()).add(one)
            case "overlaps":
                self._overlaps.add((one, other))
            case "supersedes":
                self._superseded_by.setdefault(other, set()).add(one)
            case "additional_to" | "separate_from":
                self.declare_separate(one, other)
                return
        self.deals |= {one[0], other[0]}
        if event:
            self._events.setdefault(frozenset((one, other)), set()).add(event)

    def declare_separate(self, one: Key, other: Key) -> None:
        """Declare that the two amounts have nothing in common."""
        self._separate.add(frozenset((one, other)))

    def add_pledges(self, deal: str, pledges: Iterable[str]) -> None:
        """Set the deal's pledges: a relation of the deal applies to each of them."""
        self._pledges[deal] = tuple((deal, pledge) for pledge in pledges)

    def events(self, key: Key, others: Iterable[Key]) -> tuple[str, ...]:
        """The ids of the events that relate the pledge, or its deal, to any of the others, or their deals."""
        ids: set[str] = set()
        for other in others:
            for a in (key, (key[0], None)):
                for b in (other, (other[0], None)):
                    ids |= self._events.get(frozenset((a, b)), set())
        return tuple(sorted(ids))

    def direct_containers(self, key: Key) -> tuple[Key, ...]:
        """The pledges that `key`, or its deal, is declared to be part of; a deal stands for its pledges."""
        above = self._part_of.get(key, set()) | self._part_of.get((key[0], None), set())
        return tuple(sorted(self._stand_for(above) - {key}, key=name_of))

    def containers(self, key: Key) -> frozenset[Key]:
        """The pledges that `key` is part of, directly or indirectly. A deal stands for its pledges outside `key`."""
        cached = self._containers.get(key)
        if cached is None:
            cached = self._containers[key] = frozenset(self._stand_for(_ancestors(self._part_of, key)) - {key})
        return cached

    def _stand_for(self, wholes: Iterable[Key]) -> set[Key]:
        """These pledges, and the pledges of these deals, without those that are declared part of their own deal."""
        pledges: set[Key] = set()
        for whole in wholes:
            if whole[1] is not None:
                pledges.add(whole)
            else:
                pledges |= {p for p in self._pledges.get(whole[0], ()) if whole not in self._part_of.get(p, ())}
        return pledges

    def superseded_by(self, key: Key) -> tuple[Key, ...]:
        """The pledges and deals that supersede `key`, except those that `key` supersedes in turn."""
        newer = _ancestors(self._superseded_by, key) if self._superseded_by else set()
        own = {key, (key[0], None)}
        return tuple(sorted((n for n in newer if not own & (_ancestors(self._superseded_by, n) | {n})), key=name_of))

    def overlapping(self, tops: Set[Key]) -> dict[Key, set[Key]]:
        """For each of these pledges, the others it may overlap with.

        Two pledges may overlap where a relation says so of them or of a part of each, or where they share a part.
        """
        parts = self._descendants()
        overlapping: dict[Key, set[Key]] = {top: set() for top in tops}
        tops_of: dict[Key, set[Key]] = {}
        for top in tops:
            for key in (top, *parts.get(top, ())):
                tops_of.setdefault(key, set()).add(top)
        for key, above in tops_of.items():
            for a in above:
                overlapping[a] |= {b for b in above if a != b and not self._are_separate(a, b)}
                for other in self._overlapping.get(key, ()):
                    for b in tops_of.get(other, ()):
                        if a != b:
                            overlapping[a].add(b)
                            overlapping[b].add(a)
        return overlapping

    def _descendants(self) -> dict[Key, list[Key]]:
        """The parts of each pledge. Computed once, together with `_overlapping`, after all deals are added."""
        if self._parts is None:
            self._parts = {}
            keys = [(deal, None) for deal in self.deals] + [key for keys in self._pledges.values() for key in keys]
            for key in dict.fromkeys((*keys, *self._part_of)):
                for whole in self.containers(key):
                    self._parts.setdefault(whole, []).append(key)
            for one, other in self._overlaps:
                between_pledges = one[1] is not None and other[1] is not None
                for x in self._expand(one):
                    for y in self._expand(other):
                        if x != y and (between_pledges or not self._are_separate(x, y)):
                            self._overlapping.setdefault(x, set()).add(y)
                            self._overlapping.setdefault(y, set()).add(x)
        return self._parts

    def _expand(self, key: Key) -> tuple[Key, ...]:
        return (key,) if key[1] is not None else (*self._pledges.get(key[0], ()), key)

    def _are_separate(self, one: Key, other: Key) -> bool:
        return any(
            frozenset((a, b)) in self._separate
            for a in (one, (one[0], None))
            for b in (other, (other[0], None))
            if a != b
        )


def _ancestors(edges: Mapping[Key, Collection[Key]], start: Key) -> set[Key]:
    """All keys reachable along the edges. A pledge also has the edges of its deal."""
    reached: set[Key] = set()
    pending = [start]
    while pending:
        at = pending.pop()
        for key in (at, (at[0], None)) if at[1] is not None else (at,):
            new = set(edges.get(key, ())) - reached
            reached |= new
            pending += new
    return reached


class OverlapCandidate(Struct, gc=False):
    """A pledge that may count, with its bounds in its column.

    `certain`: all of it belongs to this total. `flagged`: a flag doubts the amount, so it is not in the lower bound.
    """

    key: Key
    column: Column
    low: Decimal
    high: Decimal
    stated_on: date
    certain: bool
    flagged: bool


class OverlapResult(Struct):
    """Which pledges count in which bound, and for the others, which pledges exclude them.

    `inside_low` and `inside_high` name the pledges that one is part of, for each bound; `equals` are the pledges that
    are part of another which is also part of them; `overlapping` names the counted pledges that one may overlap with.
    """

    low: set[Key]
    high: set[Key]
    inside_low: dict[Key, tuple[Key, ...]]
    inside_high: dict[Key, tuple[Key, ...]]
    equals: set[Key]
    overlapping: dict[Key, tuple[Key, ...]]


def resolve_overlaps(
    candidates: Mapping[Key, OverlapCandidate], relations: Relations, comparable: bool
) -> OverlapResult:
    """Decide which of these pledges are in the lower bound and which in the upper bound.

    Lower bound: of the pledges that no flag doubts, those that are part of no other one; of pledges that may overlap,
    the largest. Upper bound: all of them, but an aggregate is replaced by its members where these add up to more.
    Neither bound holds a pledge together with one that it is part of.

    Args:
        comparable: Whether all amounts are in one currency. If not, the earliest of overlapping pledges counts.
    """
    certain = {key for key, c in candidates.items() if c.certain and not c.flagged}
    inside_low, tops, equals = _contain(candidates, certain, relations)
    low, overlapping = _without_overlap(candidates, tops, relations, comparable)
    inside_high, tops, more_equals = _contain(candidates, candidates.keys(), relations)
    equals |= more_equals
    members = _members_by_aggregate(candidates, inside_high, equals)
    high: set[Key] = set()
    for key in tops:
        high |= _larger_of_aggregate_and_members(key, candidates, members)
    for column in {c.column for c in candidates.values()}:
        # Groups may share an aggregate that is smaller than their certain amounts: raise the upper to the lower bound.
        keys = {key for key, c in candidates.items() if c.column == column}
        if sum(candidates[k].high for k in keys & high) < sum(candidates[k].low for k in keys & low):
            high = (high - keys) | (low & keys)
    return OverlapResult(low, high, inside_low, inside_high, equals, overlapping)


def _members_by_aggregate(
    candidates: Mapping[Key, OverlapCandidate], inside: Mapping[Key, tuple[Key, ...]], equals: Set[Key]
) -> dict[Key, list[Key]]:
    """The members of each aggregate: the pledges for which it is the only smallest container, in the same column."""
    members: dict[Key, list[Key]] = {}
    above = {key: set(wholes) for key, wholes in inside.items()}
    for key, wholes in inside.items():
        # The smallest container is inside all others. If several are smallest, `key` replaces none of them.
        nearest = max(wholes, key=lambda w: len(above.get(w, ())))
        is_only = above[key] - {nearest} <= above.get(nearest, set())
        if is_only and candidates[nearest].column == candidates[key].column and key not in equals:
            members.setdefault(nearest, []).append(key)
    return members


def _contain(
    candidates: Mapping[Key, OverlapCandidate], among: Set[Key], relations: Relations
) -> tuple[dict[Key, tuple[Key, ...]], list[Key], set[Key]]:
    """For each pledge of `among` its containers; the pledges without any; and those equal to another that counts."""

    def excludes(whole: OverlapCandidate, part: OverlapCandidate) -> bool:
        # An intention does not exclude a commitment. A shared amount excludes nothing of another column.
        weaker = whole.column[1] == "intention" and part.column[1] == "commitment"
        return not weaker and (whole.certain or whole.column == part.column)

    wholes = {
        key: {w for w in relations.containers(key) if w in among and excludes(candidates[w], candidates[key])}
        for key in candidates
        if key in among
    }
    inside = {
        key: tuple(sorted(strict, key=name_of))
        for key, above in wholes.items()
        if (strict := {w for w in above if key not in wholes[w]})
    }
    outermost = dict.fromkeys(key for key in wholes if key not in inside)
    tops: list[Key] = []
    equals: set[Key] = set()
    for key in outermost:
        # Pledges that are part of each other are one amount: the largest of them counts.
        same = [key, *(w for w in wholes[key] if w in outermost)]
        best = min(same, key=_largest_first(candidates))
        if best == key:
            tops.append(key)
        else:
            inside[key] = (best,)
            equals.add(key)
    return inside, tops, equals


def _largest_first(candidates: Mapping[Key, OverlapCandidate]) -> Callable[[Key], tuple[Decimal, date, str]]:
    return lambda key: (-candidates[key].high, candidates[key].stated_on, name_of(key))


def _without_overlap(
    candidates: Mapping[Key, OverlapCandidate], tops: Sequence[Key], relations: Relations, comparable: bool
) -> tuple[set[Key], dict[Key, tuple[Key, ...]]]:
    """The pledges of the lower bound, and for each of the others the counted pledges that it may overlap with."""
    overlaps = relations.overlapping(set(tops))
    if comparable or len({candidates[key].column[0] for key in tops}) == 1:
        order = sorted(tops, key=lambda k: (-candidates[k].low, candidates[k].stated_on, name_of(k)))
    else:
        order = sorted(tops, key=lambda k: (candidates[k].stated_on, name_of(k)))
    low: set[Key] = set()
    overlapping: dict[Key, tuple[Key, ...]] = {}
    for key in order:
        counted = [o for o in overlaps[key] & low if candidates[o].column[1:] == candidates[key].column[1:]]
        if counted:
            overlapping[key] = tuple(sorted(counted, key=name_of))
        else:
            low.add(key)
    return low, overlapping


def _larger_of_aggregate_and_members(
    aggregate: Key, candidates: Mapping[Key, OverlapCandidate], members: Mapping[Key, list[Key]]
) -> set[Key]:
    """The pledges of the upper bound for one aggregate: itself or its members. Members form a tree, so this ends."""
    order = [aggregate]
    for outer in order:
        order += members.get(outer, ())
    best: dict[Key, tuple[Decimal, set[Key]]] = {}
    for key in reversed(order):
        own = candidates[key].high
        of_members = [best[member] for member in members.get(key, ())]
        total = sum((value for value, _ in of_members), Decimal(0))
        best[key] = (total, set().union(*(keys for _, keys in of_members))) if total > own else (own, {key})
    return best[aggregate][1]
