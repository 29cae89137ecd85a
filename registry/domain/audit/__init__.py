"""What explains a state: what each event changed, what set each field, and what lies between two points in time.

Three kinds of change are never blurred: the **world** changed, the **record** was wrong, the **source** took it back or
says otherwise; beside them stands what the record **learned late**. All of it is read off the same fold that gives the
state (`history.py`); nothing here reads a clock or a database, and nothing here decides what is so.

A field's path is a JSON Pointer (RFC 6901) in which an item of a list goes by its own name: `/title`,
`/pledges/{pledge}/amount`, `/parties/{organization}:{role}:{joined_on}/left_on`. An amount is one value, never parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import astuple, replace
from msgspec.structs import fields as struct_fields

from registry.domain.deal import (
    ORDER,
    ConditionState,
    Deal,
    MilestoneState,
    PartyState,
    PledgeState,
    RelationState,
    SiteState,
)
from registry.domain.history import (
    AsOf,
    EffectiveEvent,
    FoldedStream,
    OrderedEvent,
    Rules,
    StateAsOf,
    Timeline,
    state_as_of,
)
from registry.domain.organization import Organization
from registry.domain.refusal import Refusal
from registry.events.edtf import last_day
from registry.events.types import (
    BOOKKEEPING_TYPES,
    Amount,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Recorded,
    tag_of,
)

S = TypeVar("S", bound=Struct)

ChangeOf = Literal["world", "record", "source"]
Kind = Literal["world", "record", "source", "learned_late"]


class Change(Struct, frozen=True, gc=False):
    """A field's value before and after; None where there was or is nothing. In JSON the path is called `field`."""

    path: str = field(name="field")
    before: Any
    after: Any


# --- from one state to another ----------------------------------------------------------------------------------------


# The lists whose items have a name of their own: what an item is, and the fields that name it.
_ITEMS: dict[str, tuple[type[Struct], tuple[str, ...]]] = {
    "pledges": (PledgeState, ("pledge",)),
    "sites": (SiteState, ("site",)),
    "milestones": (MilestoneState, ("milestone",)),
    "conditions": (ConditionState, ("condition",)),
    "parties": (PartyState, ("organization", "role", "joined_on")),
    "relations": (RelationState, ("relation", "pledge", "deal", "other_pledge")),
}
_LISTS_OF_ITEMS = frozenset({"by", "claims", "disbursed"})
_STATES: dict[str, type[Struct]] = {"/deal": Deal, "/organization": Organization}


def diff(before: Struct | None, after: Struct | None) -> list[Change]:
    """Every field in which two states of a deal or an organization differ; None: nothing was known of it."""
    changes: list[Change] = []
    if before is after:
        return changes
    if before is None or after is None:
        known = before if before is not None else after
        for name in known.__struct_fields__:  # type: ignore[union-attr]
            value = getattr(known, name)
            if name in _ITEMS:
                old, new = (value, ()) if after is None else ((), value)
                _diff_items(name, old, new, changes)
            elif value is not None and value != ():
                changes.append(Change(f"/{name}", value, None) if after is None else Change(f"/{name}", None, value))
        return changes
    for name, was, is_ in zip(before.__struct_fields__, astuple(before), astuple(after), strict=True):
        if was is is_ or was == is_:
            continue
        if name in _ITEMS:
            _diff_items(name, was, is_, changes)
        else:
            changes.append(Change(f"/{name}", was, is_))
    return changes


def _diff_items(name: str, before: tuple[Struct, ...], after: tuple[Struct, ...], changes: list[Change]) -> None:
    # Both are in the same order, and most items are the very same objects: only what lies between is looked at.
    shared = min(len(before), len(after))
    start = 0
    while start < shared and before[start] is after[start]:
        start += 1
    end = 0
    while end < shared - start and before[-1 - end] is after[-1 - end]:
        end += 1
    named = _ITEMS[name][1]
    was = {_name(item, named): item for item in before[start : len(before) - end]}
    now = {_name(item, named): item for item in after[start : len(after) - end]}
    for key, item in was.items():
        if key not in now:
            changes += [
                Change(f"/{name}/{key}/{field}", value, None)
                for field, value in zip(item.__struct_fields__, astuple(item), strict=True)
                if value is not None and value != ()
            ]
    for key, item in now.items():
        old = was.get(key)
        if old is None:
            changes += [
                Change(f"/{name}/{key}/{field}", None, value)
                for field, value in zip(item.__struct_fields__, astuple(item), strict=True)
                if value is not None and value != ()
            ]
        elif old is not item:
            changes += [
                Change(f"/{name}/{key}/{field}", x, y)
                for field, x, y in zip(item.__struct_fields__, astuple(old), astuple(item), strict=True)
                if x is not y and x != y
            ]


def _name(item: Struct, named: tuple[str, ...]) -> str:
    if len(named) == 1:
        return str(getattr(item, named[0]))
    values = (getattr(item, field) for field in named)
    return ":".join("" if value is None else str(value) for value in values)


def apply(state: Struct | None, changes: Iterable[Change | AttributedChange]) -> Struct | None:
    """The state with changes made, one after the other: `apply(a, diff(a, b)) == b`."""
    fields: dict[str, Any] = {}
    lists: dict[str, dict[str, dict[str, Any]]] = {}
    kind: type[Struct] | None = type(state) if state is not None else None
    known = state is not None
    for change in changes:
        _, name, *rest = change.path.split("/", 3)
        if change.path in _STATES:
            kind, known = _STATES[change.path], change.after is not None
        if not rest:
            fields[name] = change.after
            continue
        if name not in lists:
            lists[name] = {_name(i, _ITEMS[name][1]): _as_dict(i) for i in getattr(state, name, ())}
        key, field = rest
        lists[name].setdefault(key, {})[field] = change.after
    if not known or kind is None:
        return None
    for name, items in lists.items():
        made = (_item(name, said) for said in items.values())
        fields[name] = tuple(sorted((item for item in made if item is not None), key=ORDER[name]))
    if state is not None:
        return replace(state, **fields)
    return kind(**{**{field.name: None for field in struct_fields(kind) if field.required}, **fields})


def _as_dict(item: Struct) -> dict[str, Any]:
    return dict(zip(item.__struct_fields__, astuple(item), strict=True))


def _item(name: str, said: dict[str, Any]) -> Struct | None:
    """An item with what is said of it; None where nothing names it any more."""
    kind, named = _ITEMS[name]
    if said.get(named[0]) is None:
        return None
    blank = {field: () if field in _LISTS_OF_ITEMS else None for field in kind.__struct_fields__}
    return kind(**{**blank, **{f: () if v is None and f in _LISTS_OF_ITEMS else v for f, v in said.items()}})


# --- what each event changed ------------------------------------------------------------------------------------------


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An event as it reads, and what it changed.

    `change_of` says what kind of change it stands for. An event of the world, or of a source, has the changes it makes
    at its place in the history as that reads; an event of the record the difference it made when it was recorded.
    `public` is False where the dates asked for hide it; then, and where it was voided, it changes nothing. `concerns`
    is the original event that a correction, a void or an erasure is about. `superseded_by` is the later correction, or
    the later preference, whose words count instead.
    """

    reading: EffectiveEvent
    change_of: ChangeOf
    changes: list[Change]
    public: bool
    unapplied: Refusal | None = None
    concerns: UUID | None = None
    superseded_by: UUID | None = None


_RECORDS_OWN_TYPES = frozenset(tag_of(kind) for kind in BOOKKEEPING_TYPES)
_SOURCES_OWN_TYPES = frozenset({tag_of(ClaimReported), tag_of(ClaimRetracted)})


def change_of(recorded: Recorded) -> ChangeOf:
    """Which kind of change an event stands for, also when its content was erased."""
    if recorded.type in _RECORDS_OWN_TYPES:
        return "record"
    return "source" if recorded.type in _SOURCES_OWN_TYPES else "world"


def audit(events: Sequence[Recorded], clocks: AsOf, rules: Rules[S]) -> list[AuditEntry]:
    """Every event of a stream recorded by then, in the order of the log, with what it changed."""
    if not events:
        return []
    seen = state_as_of(events[0].slug, events, clocks, rules)
    changes = dict(_fold_steps(seen, rules))
    made = _differences(events, clocks, rules)
    unapplied = {reading.recorded.id: refusal for reading, refusal in seen.unapplied}
    shown = {placed.happened.id for placed in seen.steps}
    concerns = _concerns(events)
    superseded = _superseded(seen.readings)
    return [
        AuditEntry(
            reading=reading,
            change_of=change_of(reading.recorded),
            changes=changes.get(reading.recorded.id) or made.get(reading.recorded.id, []),
            public=reading.recorded.type in _RECORDS_OWN_TYPES or reading.recorded.id in shown,
            unapplied=unapplied.get(reading.recorded.id),
            concerns=concerns.get(reading.recorded.id),
            superseded_by=superseded.get(reading.recorded.id),
        )
        for reading in seen.readings
    ]


def _fold_steps(seen: StateAsOf[S], rules: Rules[S]) -> Iterator[tuple[UUID, list[Change]]]:
    """The shown state, step by step: each event that it rests on and what that changed, the registration first."""
    if seen.state is None or seen.registration is None:
        return
    own = seen.applied_event
    before = rules.follow(seen.base, seen.preferred, own)
    yield seen.registration.recorded.id, diff(None, before)
    raw = seen.base
    for placed, state in zip(seen.steps, seen.states, strict=True):
        if state is raw:
            yield placed.happened.id, []
            continue
        after = rules.follow(state, seen.preferred, own)
        yield placed.happened.id, diff(before, after)
        raw, before = state, after


def _differences(events: Sequence[Recorded], clocks: AsOf, rules: Rules[S]) -> dict[UUID, list[Change]]:
    """What each event of the record changed when it was recorded: the state after it against the one before."""
    made: dict[UUID, list[Change]] = {}
    growing: FoldedStream[S] = FoldedStream(events[0].slug, rules, (), clocks)
    for recorded in events:
        if not clocks.recorded(recorded):
            break
        own = recorded.version > 1 and recorded.type in _RECORDS_OWN_TYPES
        before, led = (_known(growing), growing.record.merged_into) if own else (None, None)
        growing.append(recorded)
        if own:
            made[recorded.id] = diff(before, _known(growing))
            if growing.record.merged_into != led:
                made[recorded.id].append(Change("/merged_into", led, growing.record.merged_into))
    return made


def _known(history: FoldedStream[S]) -> S | None:
    return history.state if history.timeline.steps or history.record.registered_by(history.clocks) else None


def _concerns(events: Sequence[Recorded]) -> dict[UUID, UUID]:
    """The original event that each correction, void and erasure comes down to."""
    concerns: dict[UUID, UUID] = {}
    for recorded in events:
        match recorded.event:
            case EventCorrected(corrects=named) | EventVoided(voids=named) | EventRedacted(redacts=named):
                concerns[recorded.id] = concerns.get(named, named)
            case _:
                pass
    return concerns


def _superseded(readings: Sequence[EffectiveEvent]) -> dict[UUID, UUID]:
    superseded: dict[UUID, UUID] = {}
    preferences: dict[str, UUID] = {}
    for reading in readings:
        for earlier in (reading.recorded, *reading.corrections):
            if earlier.position < reading.source_record.position:
                superseded[earlier.id] = reading.source_record.id
    for reading in reversed(readings):
        if reading.is_in_force and isinstance(reading.event, ClaimPreferred):
            later = preferences.get(reading.event.field)
            if later is not None:
                superseded.setdefault(reading.recorded.id, later)
            preferences[reading.event.field] = reading.recorded.id
    return superseded


class ChangePoint(Struct, frozen=True):
    """A position of the log at which a state changed, and when that was recorded (UTC)."""

    position: int
    recorded_at: datetime


def change_points(events: Sequence[Recorded], rules: Rules[S]) -> list[ChangePoint]:
    """Every position at which what is shown of a stream, with all public clocks open, became something else."""
    found: list[ChangePoint] = []
    if not events:
        return found
    growing: FoldedStream[S] = FoldedStream(events[0].slug, rules)
    before: tuple[S | None, str | None] = (None, None)
    for recorded in events:
        growing.append(recorded)
        after = (growing.state, growing.record.merged_into)
        if after != before:
            found.append(ChangePoint(recorded.position, recorded.recorded_at))
        before = after
    return found


# --- what sets each field ---------------------------------------------------------------------------------------------


class FieldProvenance(Struct, frozen=True, kw_only=True):
    """A field of a state, the event that set it, and the value before.

    Where a chosen claim is shown, `event` is the claim's and `preferred_by` the event by which it was chosen.
    """

    path: str
    value: Any
    before: Any
    event: UUID
    preferred_by: UUID | None = None


def provenance(seen: StateAsOf[S], rules: Rules[S]) -> list[FieldProvenance]:
    """Every field of the shown state that is not empty, in the state's order."""
    blamed: dict[str, tuple[Any, UUID]] = {}
    for event, changes in _fold_steps(seen, rules):
        for change in changes:
            blamed[change.path] = (change.before, event)
    chosen = {
        reading.event.field: reading.recorded.id
        for reading in seen.readings
        if reading.is_in_force and isinstance(reading.event, ClaimPreferred)
    }
    return [
        FieldProvenance(
            path=field.path,
            value=field.after,
            before=blamed[field.path][0],
            event=blamed[field.path][1],
            preferred_by=chosen[field.path] if seen.preferred.get(field.path) == blamed[field.path][1] else None,
        )
        for field in diff(None, seen.state)
    ]


# --- between two points in time ---------------------------------------------------------------------------------------


class AttributedChange(Struct, frozen=True, kw_only=True):
    """A change between two points, of one kind, with the events that brought it about."""

    path: str
    before: Any
    after: Any
    kind: Kind
    causes: tuple[UUID, ...]


class Comparison(Struct, Generic[S], frozen=True, kw_only=True):
    """What lies between two points in time.

    `changes` made one after the other lead from `before` to `after`; a field stands there once for each kind of change
    it went through. `differences` are the same without the way between. `merged_into` is None where that stayed.
    """

    before: S | None
    after: S | None
    changes: list[AttributedChange]
    differences: list[Change]
    merged_into: Change | None = None


def compare(events: Sequence[Recorded], at: AsOf, then: AsOf, rules: Rules[S]) -> Comparison[S]:
    """What changed from the point `at` to the point `then`, each change of one kind and with its causes.

    `world`: an event of the world took effect or was published between, or was recorded between and is of that time.
    `learned_late`: it was recorded only after the one point though it was in effect there and older than that point's
    record. `record`: a correction, a void or a preference. `source`: a claim was reported or taken back.
    """
    slug = events[0].slug if events else ""
    a, b = state_as_of(slug, events, at, rules), state_as_of(slug, events, then, rules)
    if len(a.readings) > len(b.readings):
        return _reverse(compare(events, then, at, rules))
    led = Change("/merged_into", a.merged_into, b.merged_into) if a.merged_into != b.merged_into else None
    way = _DiffBuilder(a, b, rules)
    for step in _ChangeSequence(events, (at, a), (then, b)).in_order():
        way.take(step)
    return Comparison(
        before=a.state, after=b.state, changes=way.changes(), differences=diff(a.state, b.state), merged_into=led
    )


def _reverse(made: Comparison[S]) -> Comparison[S]:
    """Back in the record: the same way, walked the other way round."""
    led = made.merged_into
    return Comparison(
        before=made.after,
        after=made.before,
        changes=[replace(c, before=c.after, after=c.before) for c in reversed(made.changes)],
        differences=diff(made.after, made.before),
        merged_into=Change(led.path, led.after, led.before) if led else None,
    )


class _Step(Struct, frozen=True, kw_only=True):
    """One thing in which two readings of a history differ: a registration, an event, or the choice of a claim."""

    kind: Kind
    causes: tuple[UUID, ...]
    known: bool | None = None
    base: bool = False
    event: UUID | None = None
    placed: OrderedEvent | None = None
    chosen: str | None = None


class _ChangeSequence(Generic[S]):
    """Everything in which two readings differ, in the order of telling: our own mistakes, then the world day by day."""

    def __init__(self, events: Sequence[Recorded], a: tuple[AsOf, StateAsOf[S]], b: tuple[AsOf, StateAsOf[S]]) -> None:
        self.events = events
        self.a_clocks, self.a = a
        self.b_clocks, self.b = b
        self.a_steps = {placed.happened.id: placed for placed in self.a.steps}
        self.b_steps = {placed.happened.id: placed for placed in self.b.steps}
        self.a_written = {reading.recorded.id for reading in self.a.readings}
        self.b_written = {reading.recorded.id for reading in self.b.readings}
        self.between = [e for e in events if (e.id in self.a_written) != (e.id in self.b_written)]
        self.concerns = _concerns(events)
        self.seen_by = {clocks: _day_of_record(clocks, events) for clocks in (self.a_clocks, self.b_clocks)}

    def in_order(self) -> Iterator[_Step]:
        if self.a.state is None and self.b.state is None:
            return
        if self.a.state is None:
            yield self._registration(known=True)
        elif self.b.state is not None and self.a.base != self.b.base and self.a.registration is not None:
            yield _Step(kind="record", causes=self._own_causes({self.a.registration.recorded.id}), base=True)
        record, left, entered = self._events()
        yield from record
        choices = self._choices()
        here = set(self.a_steps)
        yield from (choice for path, choice in choices.items() if self._can_choose(path, here))
        yield from left
        yield from entered
        yield from (choice for path, choice in choices.items() if not self._can_choose(path, here))
        if self.b.state is None:
            yield self._registration(known=False)

    def _registration(self, known: bool) -> _Step:
        """A deal comes into sight, or leaves it, with its registration."""
        there, lacking, clocks = (self.b, self.a, self.a_clocks) if known else (self.a, self.b, self.b_clocks)
        reading = there.registration
        assert reading is not None
        day = reading.effective_on or reading.published_on
        new = lacking.registration is None
        kind: Kind = "learned_late" if new and self._is_late(day, clocks) else "world"
        return _Step(kind=kind, causes=(reading.recorded.id,), known=known)

    def _events(self) -> tuple[list[_Step], list[_Step], list[_Step]]:
        """What the record made of events in sight, and the events that leave and enter."""
        record: list[tuple[Any, _Step]] = []
        left: list[tuple[Any, _Step]] = []
        entered: list[tuple[Any, _Step]] = []
        for event in self.a_steps.keys() | self.b_steps.keys():
            was, now = self.a_steps.get(event), self.b_steps.get(event)
            if was is not None and now is not None and (was.key, was.happened) == (now.key, now.happened):
                continue
            here = now or was
            assert here is not None
            kind: Kind = "record"
            if was is None:
                kind = self._kind(here, self.a_clocks, self.a_written)
            elif now is None:
                kind = self._kind(here, self.b_clocks, self.b_written)
            causes = (event,) if kind != "record" else self._own_causes(self._dependencies(here.reading))
            step = _Step(kind=kind, causes=causes, event=event, placed=now)
            (record if kind == "record" else entered if was is None else left).append((here.key, step))
        left.sort(key=lambda s: s[0], reverse=True)
        return (
            [s for _, s in sorted(record, key=lambda s: s[0])],
            [s for _, s in left],
            [s for _, s in sorted(entered, key=lambda s: s[0])],
        )

    def _kind(self, placed: OrderedEvent, lacking: AsOf, written: set[UUID]) -> Kind:
        """The kind of an event that is in sight at one point and not at the other (`lacking`)."""
        recorded = placed.reading.recorded
        own: Kind = "source" if change_of(recorded) == "source" else "world"
        if recorded.id in written:
            return "record" if lacking.public(placed) else own
        if own == "world" and self._is_late(placed.key[0], lacking):
            return "learned_late"
        return own

    def _is_late(self, day: date, lacking: AsOf) -> bool:
        """Whether an event that a point's record lacked was in effect there, and older than that record."""
        if lacking.effective_on is not None and day > lacking.effective_on:
            return False
        seen = self.seen_by.get(lacking)
        return seen is None or day < seen

    def _own_causes(self, originals: set[UUID]) -> tuple[UUID, ...]:
        """The corrections and voids between the points that come down to these events."""
        return tuple(e.id for e in self.between if self.concerns.get(e.id) in originals)

    def _dependencies(self, reading: EffectiveEvent) -> set[UUID]:
        """The events on which an event's words and its place rest: a claim has its place by what it speaks of."""
        grounds = {reading.recorded.id}
        event = reading.event
        if not isinstance(event, (ClaimReported, ClaimRetracted)):
            return grounds
        for other in (*self.a.readings, *self.b.readings):
            if isinstance(other.event, ClaimReported) and other.event.claim == event.claim:
                grounds |= {other.recorded.id, other.event.about or other.recorded.id}
        return grounds

    def _choices(self) -> dict[str, _Step]:
        choices: dict[str, _Step] = {}
        for path in dict.fromkeys((*self.a.preferred, *self.b.preferred)):
            was, now = self.a.preferred.get(path), self.b.preferred.get(path)
            if was == now:
                continue
            about = {
                r.recorded.id
                for r in (*self.a.readings, *self.b.readings)
                if isinstance(r.event, ClaimPreferred) and r.event.field == path
            } | {claim for claim in (was, now) if claim is not None}
            causes = tuple(
                e.id for e in self.between if self.concerns.get(e.id, e.id) in about and e.type in _RECORDS_OWN_TYPES
            )
            choices[path] = _Step(kind="record", causes=causes, chosen=path)
        return choices

    def _can_choose(self, path: str, here: set[UUID]) -> bool:
        """Whether the claim chosen is in sight from the first point; else the choice is told after its claim."""
        claim = self.b.preferred.get(path)
        return claim is None or claim in here


def _day_of_record(clocks: AsOf, events: Sequence[Recorded]) -> date | None:
    """The day of the record asked for; by position, as far as this stream shows it: that of its last event by then."""
    instants = [] if clocks.recorded_at is None else [clocks.recorded_at]
    if clocks.position is not None:
        instants += [e.recorded_at for e in events if e.position <= clocks.position][-1:]
    return min(instants).date() if instants else None


class _FieldChange(Struct):
    """A field's change as far as it was walked."""

    kind: Kind
    before: Any
    after: Any
    causes: dict[UUID, None] = {}


class _DiffBuilder(Generic[S]):
    """The walk from one state to the other, and what each step of it changed."""

    def __init__(self, a: StateAsOf[S], b: StateAsOf[S], rules: Rules[S]) -> None:
        self.rules = rules
        self.b = b
        self.known = a.state is not None
        self.preferred = dict(a.preferred)
        self.own = a.applied_event
        self.timeline = Timeline(rules, a.base if self.known else b.base).extend(a.steps)
        self.shown = a.state
        self.told: dict[str, list[_FieldChange]] = {}

    def take(self, step: _Step) -> None:
        if step.known is not None:
            self.known = step.known
        elif step.base:
            self.timeline = Timeline(self.rules, self.b.base).extend(self.timeline.steps)
        elif step.event is not None:
            self._put(step.event, step.placed)
        elif step.chosen is not None:
            self.preferred[step.chosen] = self.b.preferred.get(step.chosen)
        shown = self.rules.follow(self.timeline.at(None), self.preferred, self.own) if self.known else None
        for change in diff(self.shown, shown):
            self._tell(change, step)
        self.shown = shown

    def _put(self, event: UUID, placed: OrderedEvent | None) -> None:
        if event in self.own:
            self.timeline.remove(event)
            del self.own[event]
        if placed is not None:
            self.timeline.insert(placed)
            self.own[event] = placed.happened

    def _tell(self, change: Change, step: _Step) -> None:
        told = self.told.setdefault(change.path, [])
        if not told or told[-1].kind != step.kind:
            told.append(_FieldChange(kind=step.kind, before=change.before, after=change.after))
        last = told[-1]
        last.after = change.after
        last.causes.update(dict.fromkeys(step.causes))
        if last.before == last.after:
            told.pop()

    def changes(self) -> list[AttributedChange]:
        return [
            AttributedChange(path=path, before=t.before, after=t.after, kind=t.kind, causes=tuple(t.causes))
            for path, told in self.told.items()
            for t in told
        ]


# --- what it means ----------------------------------------------------------------------------------------------------


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
    "claimed",
]


class PortfolioChange(Struct, frozen=True):
    """What a change means for a reader of a portfolio; `change` is None where the whole deal appeared or vanished."""

    what: What
    kind: Kind
    causes: tuple[UUID, ...]
    change: AttributedChange | None = None


def portfolio_changes(comparison: Comparison[S]) -> list[PortfolioChange]:
    """What happened to a deal between two points. Only the world makes an amount grow: a correction never does.

    A change learned late counts as what it is, and as learned late. A further pledge makes a deal grow whose amount
    was stated before. `stated`: an amount where none was, of the pledge or of the deal: unknown is not 0, and did not
    grow. `unstated`: it is stated no longer. `restated`: an amount is another one that cannot be measured against the
    one before (another currency, a range).
    """
    if comparison.before is None or comparison.after is None:
        sight = next((c for c in comparison.changes if c.path in _STATES), None)
        if sight is None:
            return []
        return [PortfolioChange("appeared" if comparison.after is not None else "vanished", sight.kind, sight.causes)]
    found: list[PortfolioChange] = []
    for change in comparison.changes:
        if change.kind == "record":
            found.append(PortfolioChange("corrected", change.kind, change.causes, change))
            continue
        if change.kind == "source":
            found.append(PortfolioChange("claimed", change.kind, change.causes, change))
            continue
        what = _moved(change, comparison.before, comparison.after)
        if what is not None:
            found.append(PortfolioChange(what, change.kind, change.causes, change))
        if change.kind == "learned_late":
            found.append(PortfolioChange("learned_late", change.kind, change.causes, change))
    return found


def _moved(change: AttributedChange, before: Struct, after: Struct) -> What | None:
    if change.path == "/stage":
        return "stage_moved"
    _, name, *rest = change.path.split("/", 3)
    if name == "pledges" and rest[1] == "amount":
        return _has_grown(change, rest[0], before, after)
    if name == "pledges" and rest[1] == "status" and "withdrawn" in (change.before, change.after) and change.before:
        return "shrank" if change.after == "withdrawn" else "grew"
    if name == "milestones" and rest[1] == "planned" and change.before and change.after:
        was, now = last_day(change.before), last_day(change.after)
        return "slipped" if now > was else "brought_forward" if now < was else None
    return None


def _has_grown(change: AttributedChange, pledge: str, before: Struct, after: Struct) -> What | None:
    was, now = change.before, change.after
    if was is None or now is None:
        with_it, without = (after, before) if was is None else (before, after)
        known = any(p.pledge == pledge for p in getattr(without, "pledges", ()))
        if not known and _is_part(pledge, with_it):
            return None
        if not known and any(p.amount for p in getattr(without, "pledges", ()) if p.status != "withdrawn"):
            return "grew" if was is None else "shrank"
        return "stated" if was is None else "unstated"
    signs = _bound_directions(was, now)
    if signs == {1} or signs == {0, 1}:
        return "grew"
    return "shrank" if signs in ({-1}, {0, -1}) else "restated"


def _is_part(pledge: str, state: Struct) -> bool:
    """Whether a pledge is said to be a part of another: what is inside a whole adds nothing to it."""
    return any(
        (r.relation == "part_of" and r.pledge == pledge)
        or (r.relation == "includes" and r.deal == getattr(state, "deal", None) and r.other_pledge == pledge)
        for r in getattr(state, "relations", ())
    )


def _bound_directions(was: Amount, now: Amount) -> set[int]:
    """Which way each comparable bound of an amount went; empty where they cannot be compared."""
    if was.currency != now.currency:
        return set()
    if was.value is not None and now.value is not None:
        pairs = [(was.value, now.value)]
    elif None not in (was.low, was.high, now.low, now.high):
        pairs = [(str(was.low), str(now.low)), (str(was.high), str(now.high))]
    else:
        return set()
    return {(Decimal(y) > Decimal(x)) - (Decimal(y) < Decimal(x)) for x, y in pairs}
