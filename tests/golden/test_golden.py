"""Stored events of every version decode, fold and hash as when they were stored (property 19)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from registry.domain.fold.redaction import with_redacted_effects
from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.stream_kinds import RULES
from registry.errors import UnknownEventType
from registry.events import codec, types
from registry.events.codec import content_digest, decode_content, decode_entry, entry_columns, from_row
from registry.events.types import EVENT_TYPES, Recorded
from registry.events.values import Source
from registry.transparency.merkle import leaf_hash
from tests.golden.make import LATER

FILES = sorted(Path(__file__).parent.glob("*.json"))


def rows(document: dict[str, Any]) -> list[Recorded]:
    """The stored events, decoded like rows of the database."""
    found = []
    for stored in document["stored"]:
        columns = entry_columns(decode_entry(stored["entry"].encode()))
        content = stored["content"].encode() if stored["content"] is not None else None
        leaf = bytes.fromhex(stored["leaf_hash"])
        found.append(from_row({**columns, "position": stored["position"], "leaf_hash": leaf, "content": content}))
    return found


def fold(events: list[Recorded]) -> Any:
    """The current state of the stream, as JSON."""
    seen = state_as_of("golden", with_redacted_effects(events), UNBOUNDED, RULES[events[0].kind])
    return {
        "state": json.loads(msgspec.json.encode(seen.state)),
        "merged_into": seen.merged_into,
        "unapplied": [reading.recorded.type for reading, _ in seen.unapplied],
    }


def holds(then: Any, now: Any) -> bool:
    """Whether the present value has everything that the earlier value has. It may have fields that were added later."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and holds(value, now[name]) for name, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(then) == len(now) and all(map(holds, then, now))
    return bool(then == now)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_event_hashes_decodes_and_folds_as_when_it_was_stored(path: Path) -> None:
    document = json.loads(path.read_text())
    previous = None
    for stored in document["stored"]:
        entry = decode_entry(stored["entry"].encode())
        assert leaf_hash(stored["entry"].encode()).hex() == stored["leaf_hash"]
        assert codec.canonical(entry) == stored["entry"].encode()
        assert entry.previous == previous
        if stored["content"] is not None:
            assert content_digest(bytes.fromhex(stored["salt"]), stored["content"].encode()) == entry.content
        previous = stored["leaf_hash"]
    events = rows(document)
    assert (events[-1].type, events[-1].schema) == (document["type"], document["schema"])
    assert holds(document["reads"], json.loads(msgspec.json.encode(events[-1])))
    assert holds(document["state"], fold(events))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_events_folded_by_fact_give_the_fold_of_whole_states(path: Path) -> None:
    events = rows(json.loads(path.read_text()))
    rules = RULES[events[0].kind]
    timeline = state_as_of("golden", with_redacted_effects(events), UNBOUNDED, rules).timeline
    state = timeline.base
    for step in timeline.steps:
        if step.applied.id not in timeline.refusals:
            state = rules.evolve(state, step.applied)
    assert timeline.at(None) == state


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_event_encodes_to_the_same_bytes(path: Path) -> None:
    document = json.loads(path.read_text())
    if document["schema"] == EVENT_TYPES[document["type"]].schema:
        content = document["stored"][-1]["content"].encode()
        assert codec.canonical(decode_content(content, document["type"], document["schema"])) == content


def test_every_event_type_and_schema_version_has_a_golden_file() -> None:
    wanted = {f"{name}.v{version}" for name, event in EVENT_TYPES.items() for version in range(1, event.schema + 1)}
    assert {path.stem for path in FILES} == {*wanted, *LATER}


def test_golden_files_have_every_field_of_every_event() -> None:
    for name, event in EVENT_TYPES.items():
        stored_fields: set[str] = set()
        for path in Path(__file__).parent.glob(f"{name}.v{event.schema}.*"):
            stored_fields |= set(json.loads(json.loads(path.read_text())["stored"][-1]["content"])["event"])
        assert stored_fields == {*event.__struct_encode_fields__, "type"}, name


# --- a shape that changed ---------------------------------------------------------------------------------------------


class Renamed(types.Event, frozen=True, tag="condition_lifted"):
    """`condition_lifted` as its third version might be: a field renamed, then one wrapped."""

    schema = 3
    conditions: tuple[str, ...]


class RenamedContent(Struct, frozen=True, forbid_unknown_fields=True):
    event: Renamed
    sources: tuple[Source, ...] = ()
    note: str | None = None


def test_old_schema_version_is_upcast_one_version_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_TYPES, "condition_lifted", Renamed)
    monkeypatch.setattr(codec, "Content", RenamedContent)
    steps = []

    def to_2(event: dict[str, Any]) -> dict[str, Any]:
        steps.append(2)
        return {"type": event["type"], "name": event["condition"]}

    def to_3(event: dict[str, Any]) -> dict[str, Any]:
        steps.append(3)
        return {"type": event["type"], "conditions": [event["name"]]}

    monkeypatch.setitem(codec.UPCASTERS, ("condition_lifted", 1), to_2)
    monkeypatch.setitem(codec.UPCASTERS, ("condition_lifted", 2), to_3)
    first = b'{"event":{"condition":"data-stays","type":"condition_lifted"},"note":"n"}'
    read: Any = decode_content(first, "condition_lifted", 1)
    assert (read.event, read.note, steps) == (Renamed(conditions=("data-stays",)), "n", [2, 3])
    second = b'{"event":{"name":"data-stays","type":"condition_lifted"}}'
    read = decode_content(second, "condition_lifted", 2)
    assert (read.event, steps) == (Renamed(conditions=("data-stays",)), [2, 3, 3])


def test_schema_version_without_an_upcaster_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_TYPES, "condition_lifted", Renamed)
    with pytest.raises(UnknownEventType):
        decode_content(b'{"event":{"condition":"c","type":"condition_lifted"}}', "condition_lifted", 1)


@pytest.mark.parametrize(("type_", "schema"), [("pledge_dreamt", 1), ("pledge_announced", 2), ("", 1)])
def test_unknown_event_type_or_version_is_an_error(type_: str, schema: int) -> None:
    content = b'{"event":{"pledge":"total","type":"pledge_announced"}}'
    with pytest.raises(UnknownEventType, match=r"event 7"):
        decode_content(content, type_, schema, 7)


def test_reading_a_row_of_an_unknown_type_is_an_error() -> None:
    document = json.loads((Path(__file__).parent / "condition_set.v1.json").read_text())
    stored = document["stored"][-1]
    columns = entry_columns(decode_entry(stored["entry"].encode()))
    row = {**columns, "position": 9, "leaf_hash": b"", "content": stored["content"].encode(), "type": "pledge_dreamt"}
    with pytest.raises(UnknownEventType):
        from_row(row)
    assert isinstance(columns["effective_on"], date)
