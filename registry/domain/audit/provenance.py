"""Provenance: the event behind each field.

The fields of a state are listed page by page, and for those of a page only the histories of their own facts are read,
the last event first: the time does not grow with the other fields of the deal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.diff import diff
from registry.domain.fold.claims import LISTS
from registry.domain.fold.facts import HEADER, STAGE, FactKey, FactValue, key_of
from registry.domain.fold.items import item_id, item_types
from registry.domain.fold.order import END_OF_DAY, OrderedEvent
from registry.domain.history import StateAsOf
from registry.events.types import ClaimPreferred

S = TypeVar("S", bound=Struct)

FieldPlace: TypeAlias = tuple[int, int, int]
"""The place of a field in a state: the number of the field or list, of the item in the list, of the item's field."""

FIRST_FIELD: FieldPlace = (0, 0, 0)


class ShownField(Struct, frozen=True):
    """A field that has a value, its place in the state, and the fact that it is a part of."""

    place: FieldPlace
    path: str
    value: Any
    fact: FactKey


class FieldProvenance(Struct, frozen=True, kw_only=True):
    """A field of a state, the event that set the value shown, and the value before.

    Where a preferred claim is shown, `event` reported the claim and `preferred_by` selected it. Where none is shown,
    also after the claim was retracted or the preference withdrawn, `event` is the deal's own event that set the field.
    """

    path: str
    value: Any
    before: Any
    event: UUID
    preferred_by: UUID | None = None


FREED_AT_ONCE = 1_000


def shown_fields(state: Struct, start: FieldPlace = FIRST_FIELD) -> Iterator[ShownField]:
    """The fields of a state that have a value, in order, from a place on."""
    items = item_types(type(state))
    for number, name in islice(enumerate(state.__struct_fields__), start[0], None):
        value = getattr(state, name)
        if name not in items:
            if value is not None and value != ():
                yield ShownField((number, 0, 0), f"/{name}", value, _fact_of(name))
            continue
        for index, item in islice(enumerate(value), start[1] if number == start[0] else 0, None):
            path, fact = f"/{name}/{item_id(item)}", key_of(name, item)
            first = start[2] if (number, index) == start[:2] else 0
            for at, field in islice(enumerate(item.__struct_fields__), first, None):
                part = getattr(item, field)
                if part is not None and part != ():
                    yield ShownField((number, index, at), f"{path}/{field}", part, fact)


def _fact_of(name: str) -> FactKey:
    """The fact that a field which is no list of items is a part of."""
    if name == "stage":
        return STAGE
    return ("partnerships", "all") if name == "partnerships" else HEADER


def provenance(snapshot: StateAsOf[S]) -> list[FieldProvenance]:
    """The provenance of every field that has a value, in the order of the state's fields."""
    if snapshot.state is None:
        return []
    fields = list(shown_fields(snapshot.state))
    found = provenance_of(snapshot, fields)
    # No other thread runs while a list is freed: the fields of 10,000 pledges took 17 ms at once (load 12).
    while fields:
        del fields[-FREED_AT_ONCE:]
    return found


def provenance_page(
    snapshot: StateAsOf[S], start: FieldPlace, limit: int
) -> tuple[list[FieldProvenance], FieldPlace | None]:
    """The provenance of at most `limit` fields from a place on, and the place of the next field, if there is one."""
    if snapshot.state is None:
        return [], None
    fields = list(islice(shown_fields(snapshot.state, start), limit + 1))
    following = fields[limit].place if len(fields) > limit else None
    return provenance_of(snapshot, fields[:limit]), following


def provenance_of(snapshot: StateAsOf[S], fields: Sequence[ShownField]) -> list[FieldProvenance]:
    """The provenance of some fields of a state."""
    paths: dict[FactKey, set[str]] = {}
    for field in fields:
        # An organization is one fact, with its lists.
        fact = field.fact if field.fact == STAGE or snapshot.timeline.has_any(field.fact[0]) else HEADER
        paths.setdefault(fact, set()).add(field.path)
    last_change = _last_changes(snapshot, paths)
    preferred_by: dict[str, UUID] = {}
    if any(snapshot.preferred.values()):
        # A value that no preferred claim replaces was set by a step of the fold without preferences.
        recorded = _last_changes(replace(snapshot, preferred={}), paths)
        last_change |= {path: change for path, change in recorded.items() if not path.endswith("/claims")}
        preferences = _preferences(snapshot)
        for path, before, claim in _values_of_preferred_claims(snapshot.state):
            last_change[path] = (before, claim)
            preferred_by[path] = preferences[path]
    return [
        FieldProvenance(
            path=field.path,
            value=field.value,
            before=last_change[field.path][0],
            event=last_change[field.path][1],
            preferred_by=preferred_by.get(field.path),
        )
        for field in fields
    ]


def _last_changes(snapshot: StateAsOf[S], paths: dict[FactKey, set[str]]) -> dict[str, tuple[Any, UUID]]:
    """The value of each field before its last change, and the event that changed it.

    What no event of the fold has changed comes from the registration.
    """
    assert snapshot.registration is not None
    found: dict[str, tuple[Any, UUID]] = {}
    for fact, wanted in paths.items():
        missing = set(wanted)
        for step, before, after in _changes_of_fact(snapshot, fact):
            if not missing:
                break
            for path, old in _changed_fields(fact, before, after, missing):
                found[path] = (old, step.applied.id)
                missing.discard(path)
        found |= dict.fromkeys(missing, (None, snapshot.registration.recorded.id))
    return found


def _changes_of_fact(snapshot: StateAsOf[S], fact: FactKey) -> Iterator[tuple[OrderedEvent, Any, Any]]:
    """The visible events that changed a fact, the last one first, with the fact before and after each."""
    timeline, last = snapshot.timeline, snapshot.timeline.key_at(snapshot.count)
    if last is None:
        return
    bound = (last[0], END_OF_DAY)
    if fact == STAGE:
        for key, stage in timeline.stages.changes.entries_before(bound):
            yield timeline.step(key), timeline.stages.before(key), stage
        return
    history = timeline.fact(fact)
    base: tuple[OrderedEvent | None, FactValue] = (None, history.base)
    for (step, after), (_, before) in pairwise(chain(history.values.values_before(bound), (base,))):
        if before is after or step is None:
            continue
        if snapshot.record.claims and fact != HEADER:
            before, after = (_with_preferred_claims(snapshot, fact, value) for value in (before, after))
        yield step, before, after


def _with_preferred_claims(snapshot: StateAsOf[S], fact: FactKey, value: FactValue) -> FactValue:
    return getattr(snapshot.with_preferred_claims(snapshot.timeline.slice({fact: value})), fact[0])


def _changed_fields(fact: FactKey, before: Any, after: Any, paths: set[str]) -> Iterator[tuple[str, Any]]:
    """The fields among some that differ between two values of a fact, each with its value in the first."""
    if fact == STAGE or fact[0] == "partnerships":
        if before != after:
            yield f"/{fact[0]}", before
        return
    if fact == HEADER:
        for change in diff(before, after):
            if change.path in paths:
                yield change.path, change.before
        return
    yield from _changed_fields_of_items(before, after, paths)


def _changed_fields_of_items(before: Any, after: Any, paths: set[str]) -> Iterator[tuple[str, Any]]:
    if len(before) == len(after) == 1 and not before[0].fact_fields:
        # The usual case: the fact is one item. A pledge may have thousands of revisions.
        for path in list(paths):
            name = path.rpartition("/")[2]
            old, new = getattr(before[0], name), getattr(after[0], name)
            if old is not new and old != new:
                yield path, old
        return
    old_items, new_items = ({item_id(item): item for item in items} for items in (before, after))
    for path in list(paths):
        _, _, key, field = path.split("/", 3)
        old, new = (getattr(items.get(key), field, None) for items in (old_items, new_items))
        if old is not new and old != new:
            yield path, old


def _preferences(snapshot: StateAsOf[S]) -> dict[str, UUID]:
    """The preference in force of each field."""
    return {
        effective.event.field: effective.recorded.id
        for effective in snapshot.effective_events
        if effective.is_in_force and isinstance(effective.event, ClaimPreferred)
    }


def _values_of_preferred_claims(state: Any) -> Iterator[tuple[str, Any, UUID]]:
    """Each field that shows a preferred claim's value, the recorded value that it replaces, and the claim's event."""
    for item in (item for name in LISTS for item in getattr(state, name, ())):
        recorded = {claim.field: claim.value for claim in item.claims if claim.claim is None}
        for claim in item.claims:
            if claim.followed and claim.claim is not None and claim.value != recorded[claim.field]:
                yield claim.field, recorded[claim.field], claim.event
