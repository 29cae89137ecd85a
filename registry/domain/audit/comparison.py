"""The comparison of a stream at two points in time: every change, its kind, and the events that caused it.

The comparison turns one fold into the other, one difference at a time: first errors of the record, then the events that
left the fold and those that entered it, by effective date. The state after each step is compared with the state before
it, so each change of a field has a kind and a cause. The steps are in `comparison_steps.py`, and what they change is
found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Generic, TypeAlias, TypeVar, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.comparison_steps import Act, Step, StepSequence
from registry.domain.audit.diff import Change, diff
from registry.domain.audit.labels import (
    Kind,
    Label,
)
from registry.domain.calendar import Calendar
from registry.domain.fold.facts import FactKey, item_of_field
from registry.domain.fold.order import OrderedEvent, Rules
from registry.domain.fold.timeline import Timeline
from registry.domain.history import AsOf, StateAsOf, state_as_of
from registry.events.types import Recorded
from registry.infra import freeing

S = TypeVar("S", bound=Struct)


class AttributedChange(Struct, frozen=True, kw_only=True):
    """A change of a field between two points, of one kind, with the events that caused it.

    `act` is set where an editor selected a claim or a source retracted one (kind `source`), and where nothing was
    corrected: an editor voided an event and recorded it again, or the deal was registered or identified (`record`).
    """

    path: str
    before: Any
    after: Any
    kind: Kind
    causes: tuple[UUID, ...]
    act: Act | None = None

    @property
    def label(self) -> Label:
        """The label of the change. That of a change of claims depends on each claim (`labels.claim_changes`)."""
        match self.kind:
            case "world" | "learned_late":
                return self.kind
            case "record":
                if self.act is None:
                    return "corrected"
                return "re_recorded" if self.act == "re_recording" else "record_keeping"
            case "source":
                if self.act is None:
                    return "observed" if self.path == "/stage" else "claimed"
                return "preferred" if self.act == "preference" else "retracted"
            case _:
                assert_never(self.kind)


class Comparison(Struct, Generic[S], frozen=True, kw_only=True):
    """The differences between two points in time.

    Attributes:
        changes: Made one after the other, they lead from `before` to `after`. A field appears once for each kind of
            change that it went through.
        differences: The fields that differ between `before` and `after`.
        merged_into: The change of the record that the stream is merged into, if it changed.
    """

    before: S | None
    after: S | None
    changes: list[AttributedChange]
    differences: list[Change]
    merged_into: Change | None = None


Interruptible: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]
"""Passes the items of long work on one by one, such as `infra.threads.until_cancelled`."""


def compare(
    events: Sequence[Recorded],
    start: AsOf,
    end: AsOf,
    rules: Rules[S],
    calendar: Calendar,
    interruptible: Interruptible = iter,
) -> Comparison[S]:
    """What changed in a stream from one point to another.

    - `world`: an event took effect or was published in between, or was recorded in between and belongs to that time.
    - `learned_late`: an event, or the stream itself, was recorded only after the earlier record, though it was in
      effect at that point and older than that record.
    - `record`: a correction or a void, what was recorded again after a void, and record keeping: the registration, and
      the identifiers of a deal.
    - `source`: a claim was reported or retracted, another claim is preferred, or a source observed the stage for the
      first time. A later observation of another stage is a change of the world.

    `calendar` decides on which day an event was recorded. `interruptible` passes the steps on, and may end the
    comparison.
    """
    slug = events[0].slug if events else ""
    a, b = state_as_of(slug, events, start, rules), state_as_of(slug, events, end, rules)
    return compare_states(events, (start, a), (end, b), rules, calendar, interruptible)


def compare_states(
    events: Sequence[Recorded],
    start: tuple[AsOf, StateAsOf[S]],
    end: tuple[AsOf, StateAsOf[S]],
    rules: Rules[S],
    calendar: Calendar,
    interruptible: Interruptible = iter,
) -> Comparison[S]:
    """Like `compare`, for a caller that has the stream as of the two points."""
    (_, a), (_, b) = start, end
    if a.version > b.version:
        reverse = compare_states(events, end, start, rules, calendar, interruptible)
        freeing.after_work(reverse)
        return _reverse(reverse)
    builder, sequence = _DiffBuilder(a, b, rules), StepSequence(events, start, end, calendar)
    steps: list[Step] = []
    freeing.after_work(builder, sequence, steps)
    for step in interruptible(sequence.in_order()):
        builder.take(step)
        steps.append(step)
    comparison = Comparison(
        before=a.state,
        after=b.state,
        changes=builder.attributed_changes(),
        differences=diff(a.state, b.state),
        merged_into=Change("/merged_into", a.merged_into, b.merged_into) if a.merged_into != b.merged_into else None,
    )
    freeing.after_work(comparison)
    return comparison


def appearance(
    events: Sequence[Recorded], start: tuple[AsOf, StateAsOf[S]], end: tuple[AsOf, StateAsOf[S]], calendar: Calendar
) -> tuple[Kind, tuple[UUID, ...]]:
    """Why a stream is known at only one of two points: the kind of that change, and its causes."""
    (_, a), (_, b) = start, end
    is_reversed = a.version > b.version
    step = StepSequence(events, *((end, start) if is_reversed else (start, end)), calendar).registration(
        known=(a.state is None) is not is_reversed
    )
    return step.kind, step.causes


def _reverse(comparison: Comparison[S]) -> Comparison[S]:
    """The comparison from the later record back to the earlier one."""
    merged_into = comparison.merged_into
    return Comparison(
        before=comparison.after,
        after=comparison.before,
        changes=[
            replace(c, before=c.after, after=c.before, act=None if c.act == "retraction" else c.act)
            for c in reversed(comparison.changes)
        ],
        differences=diff(comparison.after, comparison.before),
        merged_into=replace(merged_into, before=merged_into.after, after=merged_into.before) if merged_into else None,
    )


class _FieldChange(Struct):
    """A field's change of one kind, over all steps so far."""

    kind: Kind
    act: Act | None
    before: Any
    after: Any
    causes: dict[UUID, None] = {}


class _DiffBuilder(Generic[S]):
    """Takes the steps from one state to the other and collects what each of them changed.

    A step is compared in the facts that it changes only, so that its cost does not grow with the stream.
    """

    def __init__(self, a: StateAsOf[S], b: StateAsOf[S], rules: Rules[S]) -> None:
        self.rules = rules
        self.b = b
        self.known = a.state is not None
        self.preferred = dict(a.preferred)
        if self.known and a.timeline.count(None) == a.count:
            self.timeline = a.timeline.copy()
        else:
            self.timeline = Timeline(rules, a.base if self.known else b.base).extend(a.steps)
        self.steps = {step.applied.id: step for step in a.steps}
        self.effective = {event: step.effective for event, step in self.steps.items()}
        self.changes: dict[str, list[_FieldChange]] = {}

    def take(self, step: Step) -> None:
        """Take a step and note what it changes."""
        if step.event is not None:
            before, after = self._move_event(step.event, step.ordered)
        elif step.preference is not None:
            facts = (item_of_field(step.preference),)
            before = self._slice(self.timeline, facts)
            self.preferred[step.preference] = self.b.preferred.get(step.preference)
            after = self._slice(self.timeline, facts)
        else:
            before = self._whole()
            if step.known is not None:
                self.known = step.known
            elif step.base:
                self.timeline = Timeline(self.rules, self.b.base).extend(self.timeline.steps)
            after = self._whole()
        for change in diff(before, after):
            self._note(change, step)

    def _move_event(self, event: UUID, ordered: OrderedEvent | None) -> tuple[S | None, S | None]:
        """Move an event in the fold. Returns the facts that this changes, before and after it."""
        present, earlier = self.steps.pop(event, None), self.timeline.copy()
        removed = () if present is None else (present,)
        added = () if ordered is None else (ordered,)
        # The sources of the event that set a field are listed with the claims about it.
        facts = set(chain.from_iterable(earlier.touched(step).writes for step in removed))
        facts |= self.timeline.update(removed, added)
        facts.update(*(self.timeline.touched(step).writes for step in (*removed, *added)))
        before = self._slice(earlier, facts)
        self.effective.pop(event, None)
        if ordered is not None:
            self.steps[event], self.effective[event] = ordered, ordered.effective
        return before, self._slice(self.timeline, facts)

    def _slice(self, timeline: Timeline[S], facts: Iterable[FactKey]) -> S | None:
        """Some facts of the state; None while the stream is not known."""
        return self._with_preferred_claims(timeline.final(facts)) if self.known else None

    def _whole(self) -> S | None:
        return self._with_preferred_claims(self.timeline.at(None)) if self.known else None

    def _with_preferred_claims(self, state: S) -> S:
        return self.rules.apply_preferred_claims(state, self.preferred, self.effective)

    def _note(self, change: Change, step: Step) -> None:
        """Add a change to the field's last one if both are of one kind and act; a change that is undone disappears."""
        changes = self.changes.setdefault(change.path, [])
        if not changes or (changes[-1].kind, changes[-1].act) != (step.kind, step.act):
            changes.append(_FieldChange(kind=step.kind, act=step.act, before=change.before, after=change.after))
        last = changes[-1]
        last.after = change.after
        last.causes.update(dict.fromkeys(step.causes))
        if last.before == last.after:
            changes.pop()

    def attributed_changes(self) -> list[AttributedChange]:
        """The changes, by field in the order of their first steps."""
        return [
            AttributedChange(path=path, before=c.before, after=c.after, kind=c.kind, causes=tuple(c.causes), act=c.act)
            for path, changes in self.changes.items()
            for c in changes
        ]
