"""The event types as the database has them."""

from __future__ import annotations

from registry.events.store import type_key
from registry.events.types import EVENT_TYPES


def test_no_two_event_types_have_the_same_key_in_the_index() -> None:
    assert len(set(map(type_key, EVENT_TYPES))) == len(EVENT_TYPES)
