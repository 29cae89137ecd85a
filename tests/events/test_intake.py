"""Decoding bodies: what a refused one leaves behind."""

from __future__ import annotations

import traceback

import msgspec
import pytest

from registry.errors import Invalid
from registry.events import intake

RIGHT = {"effective_on": "2025-06-16", "event": {"type": "deal_registered", "title": {"en": "A plant"}}}
REPEATED = {**RIGHT, "id": "0198b5f0-0000-7000-8000-000000000001"}


@pytest.mark.parametrize("wrong", [[{"event": {}}], [REPEATED, REPEATED]])
def test_the_error_of_a_list_keeps_none_of_its_announcements(wrong: list[object]) -> None:
    body = msgspec.json.encode([RIGHT] * 5 + wrong)
    with pytest.raises(Invalid) as refused:
        intake.announcements.decode_many(body)
    kept = [
        value
        for frame, _ in traceback.walk_tb(refused.value.__traceback__)
        if frame.f_code.co_filename == intake.__file__
        for value in frame.f_locals.values()
        if isinstance(value, list)
    ]
    assert not [value for value in kept if len(value) > 2]
