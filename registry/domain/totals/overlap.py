"""How pledges stand to each other: which is part of which, and which may overlap, so that nothing is counted twice.

Relations are declared between pledges or whole deals (`deals_related`); here they are carried over to pledges, and
`settle` decides which of a set of pledges count in the low end of a total and which in the high end. Relations may
contradict each other or run in circles: every rule here ends, and counts less rather than twice. It adds up nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal

from msgspec import Struct

from registry.events.types import Relation

Key = tuple[str, str | None]
"""A pledge (deal, pledge), or a deal as a whole (deal, None)."""

Column = tuple[str, str, str]
"""What may be added: currency, nature (commitment, intention) and basis (once, annual)."""


def name_of(key: Key) -> str:
    """`DEAL/PLEDGE`, or `DEAL`."""
    return key[0] if key[1] is None else f"{key[0]}/{key[1]}"


class Relations:
    """The declared relations of all deals, carried over to pledges. `deals` are those that stand in any."""

    def __init__(self) -> None:
        self.deals: set[str] = set()
        self._up: dict[Key, set[Key]] = {}
        self._overlapping: set[tuple[Key, Key]] = set()
        self._apart: set[frozenset[Key]] = set()
        self._after: dict[Key, set[Key]] = {}
        self._events: dict[frozenset[Key], set[str]] = {}
        self._pledges: dict[str, tuple[Key, ...]] = {}
        self._wholes: dict[Key, frozenset[Key]] = {}
        self._parts: dict[Key, list[Key]] | None = None
        self._beside: dict[Key, set[Key]] = {}

    def declare(self, relation: Relation, one: Key, other: Key, event: str) -> None:
        """`one` is `relation` to `other`, as the event says."""
        match relation:
            case "part_of":
                self._up.setdefault(one, set()).add(other)
            case "includes":
                self._up.setdefault(other, set()).add(one)
            case "overlaps":
                self._overlapping.add((one, other))
            case "supersedes":
                self._after.setdefault(other, set()).add(one)
            case "additional_to" | "separate_from":
                self.declare_separate(one, other)
                return
        self.deals |= {one[0], other[0]}
        self._events.setdefault(frozenset((one, other)), set()).add(event)

    def declare_separate(self, one: Key, other: Key) -> None:
        """The one comes on top of the other: nothing is in both."""
        self._apart.add(frozenset((one, other)))

    def add_pledges(self, deal: str, pledges: Iterable[str]) -> None:
        """The pledges that a deal has: what is said of the deal is said of them."""
        self._pledges[deal] = tuple((deal, pledge) for pledge in pledges)

    def events(self, key: Key, others: Iterable[Key]) -> tuple[str, ...]:
        """The events that declared a relation between the pledge, or its deal, and any of the others, or theirs."""
        found: set[str] = set()
        for other in others:
            for a in (key, (key[0], None)):
                for b in (other, (other[0], None)):
                    found |= self._events.get(frozenset((a, b)), set())
        return tuple(sorted(found))

    def containers(self, key: Key) -> frozenset[Key]:
        """The pledges that `key` is part of, directly or through others. A whole deal is what its other pledges are."""
        known = self._wholes.get(key)
        if known is None:
            found: set[Key] = set()
            for above in _ancestors(self._up, key):
                if above[1] is not None:
                    found.add(above)
                else:
                    found |= {p for p in self._pledges.get(above[0], ()) if above not in self._up.get(p, ())}
            found.discard(key)
            known = self._wholes[key] = frozenset(found)
        return known

    def superseded_by(self, key: Key) -> tuple[Key, ...]:
        """What took the place of `key`, unless `key` in turn took its place."""
        newer = _ancestors(self._after, key) if self._after else set()
        deal = (key[0], None)
        return tuple(sorted((n for n in newer if not {key, deal} & (_ancestors(self._after, n) | {n})), key=name_of))

    def overlapping(self, tops: Set[Key]) -> dict[Key, set[Key]]:
        """Which of these may overlap: as declared of them or of a part of each, or by a part they have in common."""
        beneath = self._descendants()
        found: dict[Key, set[Key]] = {top: set() for top in tops}
        stands_in: dict[Key, set[Key]] = {}
        for top in tops:
            for key in (top, *beneath.get(top, ())):
                stands_in.setdefault(key, set()).add(top)
        for key, above in stands_in.items():
            for a in above:
                found[a] |= {b for b in above if a != b and not self._are_apart(a, b)}
                for beside in self._beside.get(key, ()):
                    for b in stands_in.get(beside, ()):
                        if a != b:
                            found[a].add(b)
                            found[b].add(a)
        return found

    def _descendants(self) -> dict[Key, list[Key]]:
        """The parts of each pledge; found once, together with what overlaps each, when every deal is held."""
        if self._parts is None:
            self._parts = {}
            every = [(deal, None) for deal in self.deals] + [key for keys in self._pledges.values() for key in keys]
            for key in dict.fromkeys((*every, *self._up)):
                for whole in self.containers(key):
                    self._parts.setdefault(whole, []).append(key)
            for one, other in self._overlapping:
                exact = one[1] is not None and other[1] is not None
                for x in self._expand(one):
                    for y in self._expand(other):
                        if x != y and (exact or not self._are_apart(x, y)):
                            self._beside.setdefault(x, set()).add(y)
                            self._beside.setdefault(y, set()).add(x)
        return self._parts

    def _expand(self, key: Key) -> tuple[Key, ...]:
        return (key,) if key[1] is not None else (*self._pledges.get(key[0], ()), key)

    def _are_apart(self, one: Key, other: Key) -> bool:
        return any(
            frozenset((a, b)) in self._apart for a in (one, (one[0], None)) for b in (other, (other[0], None)) if a != b
        )


def _ancestors(edges: Mapping[Key, Collection[Key]], start: Key) -> set[Key]:
    """Everything that edges lead up to; a pledge takes part in what its deal takes part in."""
    found: set[Key] = set()
    waiting = [start]
    while waiting:
        at = waiting.pop()
        for key in (at, (at[0], None)) if at[1] is not None else (at,):
            new = set(edges.get(key, ())) - found
            found |= new
            waiting += new
    return found


class Candidate(Struct, gc=False):
    """A pledge that may count: its figures in its column. `certain`: it belongs to the total made, and to no other."""

    key: Key
    column: Column
    low: Decimal
    high: Decimal
    stated_on: date
    certain: bool


class OverlapResult(Struct):
    """Which pledges count in which end, and for the others what keeps them out.

    `inside` names, for each end, the pledges that one is part of; `equals` those pairs where each is part of the other;
    `beside` the pledges that one may overlap with and that count in its stead.
    """

    low: set[Key]
    high: set[Key]
    inside_low: dict[Key, tuple[Key, ...]]
    inside_high: dict[Key, tuple[Key, ...]]
    equals: set[Key]
    beside: dict[Key, tuple[Key, ...]]


def resolve_overlaps(candidates: Mapping[Key, Candidate], relations: Relations, comparable: bool) -> OverlapResult:
    """Which of these pledges count in the low end, and which in the high end.

    Low: what is part of nothing that counts; of what may overlap, the larger (where currencies differ, unless
    `comparable`, the one that was stated first). High: all of them, except that an aggregate gives way to its members
    where they add up to more. Neither end holds a pledge together with one that it is part of.
    """
    certain = {key for key, c in candidates.items() if c.certain}
    inside_low, tops, equals = _contain(candidates, certain, relations)
    low, beside = _without_overlap(candidates, tops, relations, comparable)
    inside_high, tops, more_equals = _contain(candidates, candidates.keys(), relations)
    equals |= more_equals
    members: dict[Key, list[Key]] = {}  # of an aggregate, those whose next larger whole it alone is
    above = {key: set(wholes) for key, wholes in inside_high.items()}
    for key, wholes in inside_high.items():
        # The smallest whole is inside all the others; or there are several, and none of them gives way to this one.
        nearest = max(wholes, key=lambda w: len(above.get(w, ())))
        alone = above[key] - {nearest} <= above.get(nearest, set())
        if alone and candidates[nearest].column == candidates[key].column and key not in equals:
            members.setdefault(nearest, []).append(key)
    high: set[Key] = set()
    for key in tops:
        high |= _greater(key, candidates, members)[1]
    for column in {c.column for c in candidates.values()}:
        # Where groups share an aggregate, what is certain may outweigh it: an end is never below the other.
        of = {key for key, c in candidates.items() if c.column == column}
        if sum(candidates[k].high for k in of & high) < sum(candidates[k].low for k in of & low):
            high = (high - of) | (low & of)
    return OverlapResult(low, high, inside_low, inside_high, equals, beside)


def _contain(
    candidates: Mapping[Key, Candidate], among: Set[Key], relations: Relations
) -> tuple[dict[Key, tuple[Key, ...]], list[Key], set[Key]]:
    """Which others each of these pledges is inside; those inside none; and those equal to another that counts."""

    def counts(part: Candidate, whole: Candidate) -> bool:
        # A commitment is not swallowed by an intention; what may be another group's hides nothing of another column.
        weaker = whole.column[1] == "intention" and part.column[1] == "commitment"
        return not weaker and (whole.certain or whole.column == part.column)

    wholes = {
        key: {w for w in relations.containers(key) if w in among and counts(candidates[key], candidates[w])}
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
        # Each marked as part of the other: they are one amount, and the larger stands for it.
        same = [key, *(w for w in wholes[key] if w in outermost)]
        best = min(same, key=_largest(candidates))
        if best == key:
            tops.append(key)
        else:
            inside[key] = (best,)
            equals.add(key)
    return inside, tops, equals


def _largest(candidates: Mapping[Key, Candidate]) -> Callable[[Key], tuple[Decimal, date, str]]:
    return lambda key: (-candidates[key].high, candidates[key].stated_on, name_of(key))


def _without_overlap(
    candidates: Mapping[Key, Candidate], tops: Sequence[Key], relations: Relations, comparable: bool
) -> tuple[set[Key], dict[Key, tuple[Key, ...]]]:
    overlaps = relations.overlapping(set(tops))
    if comparable or len({candidates[key].column[0] for key in tops}) == 1:
        order = sorted(tops, key=lambda k: (-candidates[k].low, candidates[k].stated_on, name_of(k)))
    else:
        order = sorted(tops, key=lambda k: (candidates[k].stated_on, name_of(k)))
    low: set[Key] = set()
    beside: dict[Key, tuple[Key, ...]] = {}
    for key in order:
        taken = [o for o in overlaps[key] & low if candidates[o].column[1:] == candidates[key].column[1:]]
        if taken:
            beside[key] = tuple(sorted(taken, key=name_of))
        else:
            low.add(key)
    return low, beside


def _greater(
    key: Key, candidates: Mapping[Key, Candidate], members: Mapping[Key, list[Key]]
) -> tuple[Decimal, set[Key]]:
    """What counts of an aggregate in the high end: itself, or its members. Members form a tree, so this ends."""
    order = [key]
    for outer in order:
        order += members.get(outer, ())
    best: dict[Key, tuple[Decimal, set[Key]]] = {}
    for at in reversed(order):
        own = candidates[at].high
        within = [best[member] for member in members.get(at, ())]
        together = sum((value for value, _ in within), Decimal(0))
        best[at] = (together, set().union(*(keys for _, keys in within))) if together > own else (own, {at})
    return best[key]
