"""What the changes of a deal mean for a reader of a portfolio."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.comparison import AttributedChange, Comparison, Interruptible, appearance, compare_states
from registry.domain.audit.diff import STATES
from registry.domain.audit.labels import Kind, claim_changes
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.domain.stages import StageState
from registry.domain.stream_kinds import DEALS
from registry.events.edtf import last_day
from registry.events.values import Amount, Stage

S = TypeVar("S", bound=Struct)

What = Literal[
    "appeared",
    "vanished",
    "grew",
    "shrank",
    "stated",
    "unstated",
    "restated",
    "slipped",
    "brought_forward",
    "stage_moved",
    "corrected",
    "learned_late",
    "re_recorded",
    "claimed",
    "corroborated",
    "retracted",
    "preferred",
    "observed",
]


class PortfolioChange(Struct, frozen=True):
    """The meaning of a change. `field`, `before` and `after` are None where the whole deal appeared or vanished."""

    what: What
    kind: Kind
    causes: tuple[UUID, ...]
    field: str | None = None
    before: Any = None
    after: Any = None


def portfolio_changes(comparison: Comparison[S]) -> list[PortfolioChange]:
    """What happened to a deal between two points. Only a change of the world makes an amount grow or shrink.

    - A change that was learned late has its own meaning and is also `learned_late`.
    - A further pledge makes a deal grow that had a disclosed amount before.
    - `stated`: an amount was disclosed for the first time. Unknown is not 0, so the deal did not grow. `unstated`: the
      amount is no longer disclosed.
    - `restated`: the new amount cannot be compared with the old one (another currency, a range), or the pledge states
      another `amount_basis`: 50 in total is not ten times 5 a year.
    - `re_recorded`: an event was voided and recorded again. Like a correction, it is a change of the record only.
    - `corroborated`: a source gives the value that is shown; `claimed`: another one; `retracted`: it takes a value
      back; `preferred`: an editor selected another claim. None of them is a correction.
    - `observed`: a source observed the stage for the first time. Nothing says that it changed in between.
    """
    if comparison.before is None or comparison.after is None:
        known = next((c for c in comparison.changes if c.path in STATES), None)
        if known is None:
            return []
        return [PortfolioChange("appeared" if comparison.after is not None else "vanished", known.kind, known.causes)]
    sides = _Sides(comparison)
    changes: list[PortfolioChange] = []
    for change in comparison.changes:
        meant = change.kind, change.causes, change.path, change.before, change.after
        changes += [PortfolioChange(what, *meant) for what in _meanings(change, sides)]
    return changes


class _Side:
    """What the meanings of changes depend on in the state at one of two points, looked up once for all changes."""

    def __init__(self, state: Any, of_record: set[str]) -> None:
        self.pledges = {pledge.pledge for pledge in getattr(state, "pledges", ())}
        # A pledge that the record had by mistake, or lacked, is no amount that the deal had.
        self.has_amount = any(
            pledge.amount
            for pledge in getattr(state, "pledges", ())
            if pledge.status != "withdrawn" and f"/pledges/{pledge.pledge}/pledge" not in of_record
        )
        # Pledges that are declared as parts of others: they add nothing to the whole.
        deal = getattr(state, "deal", None)
        relations = getattr(state, "relations", ())
        self.parts = {r.pledge for r in relations if r.relation == "part_of"}
        self.parts |= {r.other_pledge for r in relations if r.relation == "includes" and r.deal == deal}


class _Sides:
    """The two points of a comparison, and the pledges whose basis changed in the world."""

    def __init__(self, comparison: Comparison[Any]) -> None:
        of_record = {change.path for change in comparison.changes if change.kind == "record"}
        self.before, self.after = (_Side(state, of_record) for state in (comparison.before, comparison.after))
        self.new_bases = {
            change.path
            for change in comparison.changes
            if change.path.endswith("/amount_basis") and change.kind != "record"
        }


def changes_of_deal(
    stream: FoldedStream[Deal], start: AsOf, end: AsOf, calendar: Calendar, interruptible: Interruptible = iter
) -> tuple[list[PortfolioChange], Deal]:
    """What happened to a deal between two points, and its state, which has its title.

    Where the deal is known at one of the points only, no other change is looked for. `interruptible` may end the
    comparison.
    """
    a, b = stream.state_as_of(start), stream.state_as_of(end)
    shown = b.state or a.state or stream.state
    if a.state is None and b.state is None:
        return [], shown
    if a.state is None or b.state is None:
        kind, causes = appearance(stream.events, (start, a), (end, b), calendar)
        return [PortfolioChange("appeared" if a.state is None else "vanished", kind, causes)], shown
    compared = compare_states(stream.events, (start, a), (end, b), DEALS, calendar, interruptible)
    return portfolio_changes(compared), shown


def _meanings(change: AttributedChange, sides: _Sides) -> list[What]:
    if change.label in ("corrected", "re_recorded"):
        return [change.label]
    if change.label == "record_keeping":
        return []
    if change.kind == "source":
        return _source_meanings(change)
    what = _movement(change, sides)
    meanings: list[What] = [] if what is None else [what]
    return [*meanings, "learned_late"] if change.kind == "learned_late" else meanings


def _source_meanings(change: AttributedChange) -> list[What]:
    """What a source or an editor did: of a list of claims, to each claim."""
    meanings: list[What] = []
    if change.path.endswith("/claims") and change.act != "preference":
        meanings = list(dict.fromkeys(label for label, _ in claim_changes(change.before, change.after)))
    if not meanings and change.label in ("preferred", "retracted", "observed"):
        meanings.append(change.label)
    return meanings or ["claimed"]


def _movement(change: AttributedChange, sides: _Sides) -> What | None:
    if change.path == "/stage":
        return "stage_moved" if _stage(change.before) != _stage(change.after) else None
    _, name, *rest = change.path.split("/", 3)
    if name == "pledges" and rest[1] == "amount":
        return _amount_movement(change, rest[0], sides)
    if name == "pledges" and rest[1] == "amount_basis":
        is_kept = rest[0] in sides.before.pledges and rest[0] in sides.after.pledges
        return "restated" if is_kept else None
    if name == "pledges" and rest[1] == "status" and "withdrawn" in (change.before, change.after) and change.before:
        return "shrank" if change.after == "withdrawn" else "grew"
    if name == "milestones" and rest[1] == "planned" and change.before and change.after:
        old, new = last_day(change.before), last_day(change.after)
        return "slipped" if new > old else "brought_forward" if new < old else None
    return None


def _stage(stage: StageState | None) -> Stage | None:
    return stage.value if stage else None


def _amount_movement(change: AttributedChange, pledge: str, sides: _Sides) -> What | None:
    old, new = change.before, change.after
    if old is None or new is None:
        with_amount, without = (sides.after, sides.before) if old is None else (sides.before, sides.after)
        known = pledge in without.pledges
        if not known and pledge in with_amount.parts:
            return None
        if not known and without.has_amount:
            return "grew" if old is None else "shrank"
        return "stated" if old is None else "unstated"
    if f"/pledges/{pledge}/amount_basis" in sides.new_bases:
        return "restated"
    directions = _bound_directions(old, new)
    if directions in ({1}, {0, 1}):
        return "grew"
    return "shrank" if directions in ({-1}, {0, -1}) else "restated"


def _bound_directions(old: Amount, new: Amount) -> set[int]:
    """The direction (-1, 0, 1) of each comparable bound of an amount; empty if the amounts cannot be compared."""
    if old.currency != new.currency:
        return set()
    if old.value is not None and new.value is not None:
        pairs = [(old.value, new.value)]
    elif None not in (old.low, old.high, new.low, new.high):
        pairs = [(str(old.low), str(new.low)), (str(old.high), str(new.high))]
    else:
        return set()
    return {(Decimal(y) > Decimal(x)) - (Decimal(y) < Decimal(x)) for x, y in pairs}
