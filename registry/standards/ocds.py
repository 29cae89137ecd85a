"""Deals as Open Contracting Data Standard 1.1: one release for each event, and the record that they compile to.

A deal is a planning process. What fits no field of OCDS stays out; what extends it, as the standard allows, is listed
in `docs/integrations.md`. A release has what its event changed, as the log stood then, so it never changes afterwards:
compiling the releases by the standard's merge rules gives the compiled release (tests/standards/test_ocds.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.facts import HEADER, STAGE, FactKey
from registry.domain.history import FoldedStream
from registry.domain.sources.identity import source_id
from registry.domain.stream_kinds import DEALS
from registry.events.types import EventCorrected, EventVoided, Recorded
from registry.events.values import Source
from registry.infra import freeing
from registry.standards.ocds_objects import (
    LANGUAGE,
    Json,
    budget_item,
    document,
    location,
    milestone_of,
    ocid,
    parties_of,
    related_process,
    texts,
)

VERSION = "1.1"
ALWAYS = ("ocid", "id", "date", "tag", "language", "initiationType")
Path = tuple[str, ...]

BUDGET: Path = ("planning", "budget")
DOCUMENTS: Path = ("planning", "documents")
LISTS: dict[str, Path] = {
    "pledges": (*BUDGET, "budgetBreakdown"),
    "milestones": ("planning", "milestones"),
    "sites": ("planning", "locations"),
    "parties": ("parties",),
    "relations": ("relatedProcesses",),
}
"""Where the objects of each list of a deal stand."""


class Release(Struct, frozen=True):
    """A release: its event, and the fields that the event changed."""

    event: Recorded
    changed: Json


class History(Struct, frozen=True):
    """The releases of a deal, and what they compile to."""

    releases: tuple[Release, ...]
    compiled: Json


def history(prefix: str, deal: str, events: Iterable[Recorded]) -> History:
    """The releases of a deal's events, in the order of the log.

    Each release is made from the facts that its event changed, so a release costs what it states.

    Args:
        prefix: The publisher's prefix of identifiers.
        deal: The deal.
        events: Its events up to the point in time; the effective date is open.
    """
    parts, compiled = _Parts(prefix, deal), _Compiled()
    freeing.after_work(parts, compiled)
    releases = tuple(Release(event, compiled.change(parts.after(event, compiled.ids))) for event in events)
    return History(releases, compiled.document())


class _ChangedPart(Struct, frozen=True):
    """Part of a document, as it stands after an event.

    Attributes:
        fields: What is no list of objects, by its path; None for what the deal lacks.
        lists: The objects of each list by id; those that the deal has no more are None.
    """

    fields: dict[Path, Any]
    lists: dict[Path, dict[str, Json | None]]


class _Compiled:
    """What the releases so far compile to. A release cannot remove an object from a list, only its fields."""

    def __init__(self) -> None:
        self._fields: dict[Path, Any] = {}
        self._lists: dict[Path, dict[str, Json]] = {}

    def ids(self, path: Path) -> Iterable[str]:
        """The objects that a list has, or had."""
        return self._lists.get(path, ())

    def change(self, part: _ChangedPart) -> Json:
        """Take the part that an event changed. Returns what its release states: a field that is gone is null."""
        changed: Json = {}
        for path, value in part.fields.items():
            before, after = self._fields.get(path) or {}, _stated(value or {})
            if before != after:
                _put(changed, path, _difference(before, after))
                self._fields[path] = after
        for path, objects in part.lists.items():
            known, stated = self._lists.setdefault(path, {}), []
            for id, each in objects.items():
                if each is None and id not in known:
                    continue
                before = known.get(id, {})
                known[id] = _with_stubs(before, _stated(each) if each is not None else {"id": id})
                if known[id] != before:
                    stated.append({"id": id} | _difference(before, known[id]))
            if stated:
                _put(changed, path, stated)
        return changed

    def document(self) -> Json:
        """The compiled document."""
        document: Json = {}
        for path, value in self._fields.items():
            if value:
                _put(document, path, dict(value))
        for path, objects in self._lists.items():
            if objects:
                _put(document, path, list(objects.values()))
        return document


def _put(document: Json, path: Path, value: Any) -> None:
    *parents, last = path
    for name in parents:
        document = document.setdefault(name, {})
    document[last] = value


# --- what an event changed --------------------------------------------------------------------------------------------


class _Parts:
    """The part of a deal's document that each of its events may have changed."""

    def __init__(self, prefix: str, deal: str) -> None:
        self._prefix = prefix
        self._stream = FoldedStream(deal, DEALS)
        # The pledges whose object has the name of an organization, and the sources that each event cites.
        self._paid_by: defaultdict[str, set[str]] = defaultdict(set)
        self._cited: dict[UUID, tuple[Source, ...]] = {}
        # The events that cite a source, by their place in the log.
        self._citing: defaultdict[str, dict[int, Source]] = defaultdict(dict)

    def after(self, event: Recorded, ids: Callable[[Path], Iterable[str]]) -> _ChangedPart:
        """The part that the next event may have changed.

        Args:
            event: The event.
            ids: The objects that each list has so far.
        """
        if self._stream.events:
            self._stream.append(event)
        else:
            self._stream = FoldedStream(event.slug, DEALS, [event])
        last = self._stream.last_change
        everything = last is None
        if last is None:
            facts = frozenset(fact for fact, _ in self._stream.timeline.facts()) | {HEADER, STAGE}
        else:
            facts = last.facts
        facts |= {("pledges", pledge) for fact in facts if fact[0] == "parties" for pledge in self._paid_by[fact[1]]}
        lists = self._lists(facts)
        documents = self._documents(self._stream.record.by_id if everything else _named(event, self._stream))
        fields = self._fields(facts)
        lists[DOCUMENTS] = documents
        if everything:
            lists = {path: {**dict.fromkeys(ids(path)), **lists.get(path, {})} for path in (*LISTS.values(), DOCUMENTS)}
        return _ChangedPart(fields, lists)

    def _fields(self, facts: Iterable[FactKey]) -> dict[Path, Json | None]:
        fields: dict[Path, Json | None] = {}
        deal = self._stream.final([fact for fact in facts if fact in (HEADER, STAGE)])
        if HEADER in facts:
            described = {**texts("project", deal.title), **texts("description", deal.summary)}
            fields[BUDGET] = {"id": self._stream.slug, **described}
        if STAGE in facts:
            stage = deal.stage
            shown = {"value": stage.value, "basis": stage.basis, "since": stage.since} if stage else None
            fields[("planning", "stage")] = shown
        return fields

    def _lists(self, facts: frozenset[FactKey]) -> dict[Path, dict[str, Json | None]]:
        """The objects that facts are shown as; None for a fact that the deal has no more."""
        lists: dict[Path, dict[str, Json | None]] = {}
        for fact in sorted(facts):
            if fact[0] in LISTS:
                lists.setdefault(LISTS[fact[0]], {})[":".join(filter(None, fact[1:]))] = None
        deal = self._stream.final(fact for fact in facts if fact[0] in LISTS)
        payers = {pledge.by[0] for pledge in deal.pledges if len(pledge.by) == 1}
        named = self._stream.final(("parties", payer) for payer in payers)
        for pledge in deal.pledges:
            lists[LISTS["pledges"]][pledge.pledge] = budget_item(named, pledge)
            if len(pledge.by) == 1:
                self._paid_by[pledge.by[0]].add(pledge.pledge)
        for shown in (
            *((LISTS["milestones"], milestone_of(milestone)) for milestone in deal.milestones),
            *((LISTS["sites"], location(site)) for site in deal.sites),
            *((LISTS["parties"], party) for party in parties_of(deal)),
            *((LISTS["relations"], related_process(self._prefix, relation)) for relation in deal.relations),
        ):
            lists[shown[0]][shown[1]["id"]] = shown[1]
        return lists

    def _documents(self, events: Iterable[UUID]) -> dict[str, Json | None]:
        """The sources that events cite, or have cited: each as the last event that cites it states it."""
        touched: dict[str, None] = {}
        for event in events:
            effective = self._stream.record.by_id[event]
            place = effective.recorded.version
            for source in self._cited.get(event, ()):
                if (id := source_id(source)) is not None:
                    self._citing[id].pop(place, None)
                    touched[id] = None
            self._cited[event] = effective.sources
            for source in effective.sources:
                if (id := source_id(source)) is not None:
                    self._citing[id][place] = source
                    touched[id] = None
        return {id: document(id, citing[max(citing)]) if (citing := self._citing[id]) else None for id in touched}


def _named(event: Recorded, stream: FoldedStream[Deal]) -> Iterator[UUID]:
    """An event, and those that it corrects or voids, directly or through another one."""
    named: Recorded | None = event
    while named is not None:
        yield named.id
        match named.event:
            case EventCorrected(corrects=target) | EventVoided(voids=target):
                known = stream.record.by_id.get(target)
                named = known.recorded if known is not None else None
            case _:
                named = None


# --- the rules of merging ---------------------------------------------------------------------------------------------


def _stated(value: Any) -> Any:
    """The value without fields that are None or empty, at any depth."""
    if isinstance(value, dict):
        shown = {name: _stated(each) for name, each in value.items()}
        return {name: each for name, each in shown.items() if each not in (None, [], {})}
    return [_stated(each) for each in value] if isinstance(value, list) else value


def _by_id(value: list[Any]) -> dict[str, Json] | None:
    """The objects of a list by id; None if the list is a value as a whole."""
    return {each["id"]: each for each in value} if value and isinstance(value[0], dict) and "id" in value[0] else None


def _with_stubs(before: Json, after: Json) -> Json:
    """Keep the id of every object that was removed: a release cannot remove an object from a list, only its fields."""
    kept = dict(after)
    for name, old in before.items():
        new = after.get(name)
        if isinstance(old, dict):
            nested = _with_stubs(old, new or {})
            if nested:
                kept[name] = nested
        elif isinstance(old, list) and (was := _by_id(old)) is not None:
            now = _by_id(new or []) or {}
            objects = {id: _with_stubs(was.get(id, {}), now.get(id, {"id": id})) for id in dict.fromkeys((*was, *now))}
            kept[name] = list(objects.values())
    return kept


def _difference(before: Json, after: Json) -> Json:
    """The fields to state so that merging them into `before` gives `after`. A field that is gone is null."""
    changed: Json = {}
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict):
            changed[name] = _difference(old, new or {})
        elif isinstance(new, list) and (now := _by_id(new)) is not None:
            was = _by_id(old or []) or {}
            changed[name] = [
                {"id": id} | _difference(was.get(id, {}), each) for id, each in now.items() if was.get(id) != each
            ]
        else:
            changed[name] = new
    return changed


# --- packages ---------------------------------------------------------------------------------------------------------


def release(prefix: str, deal: str, one: Release, *, is_first: bool) -> Json:
    """A release."""
    return {
        **_head(prefix, deal, str(one.event.id), one.event.recorded_at),
        "tag": ["planning" if is_first else "planningUpdate"],
        **one.changed,
    }


def compiled_release(prefix: str, deal: str, found: History) -> Json:
    """What the releases compile to."""
    last = found.releases[-1].event
    id = f"{ocid(prefix, deal)}-{last.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    return {**_head(prefix, deal, id, last.recorded_at), "tag": ["compiled"], **found.compiled}


def _head(prefix: str, deal: str, id: str, at: datetime) -> Json:
    return {
        "ocid": ocid(prefix, deal),
        "id": id,
        "date": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "language": LANGUAGE,
        "initiationType": "tender",
    }


def package(uri: str, publisher: str, licence: str | None, at: datetime, content: Mapping[str, Any]) -> Json:
    """A release package or a record package; `licence` is the address of the data's licence."""
    return {
        "uri": uri,
        "version": VERSION,
        "publishedDate": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "publisher": {"name": publisher},
        **({"license": licence} if licence is not None else {}),
        **content,
    }


ITEMS_PER_CALL = 500

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(document: Json) -> bytes:
    """JSON. Amounts are numbers, as the standard wants them, with all their digits."""
    return b"".join(_pieces(document))


def _pieces(value: Any) -> Iterator[bytes]:
    """The JSON of a value; long lists in parts, because no other thread runs during a call of the encoder."""
    match value:
        case dict():
            yield b"{"
            for number, (name, inner) in enumerate(value.items()):
                yield (b"," if number else b"") + _encode(name) + b":"
                yield from _pieces(inner)
            yield b"}"
        case list() if len(value) > ITEMS_PER_CALL:
            for first in range(0, len(value), ITEMS_PER_CALL):
                yield (b"," if first else b"[") + _encode(value[first : first + ITEMS_PER_CALL])[1:-1]
            yield b"]"
        case list():
            for number, inner in enumerate(value):
                yield b"," if number else b"["
                yield from _pieces(inner)
            yield b"]" if value else b"[]"
        case _:
            yield _encode(value)
