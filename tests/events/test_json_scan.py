"""Repeated names in JSON are found as Python's decoder finds them, while other threads run."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.events import json_scan
from registry.events.json_scan import DuplicateKeyError, refuse_duplicates

# Few keys, so that objects repeat them; with what escapes, colons and braces in strings can be mistaken for.
STRINGS = st.sampled_from(
    ['"a"', '"\\u0061"', '"\\"a"', '"a\\\\"', '"{"', '"}"', '"a\\": {"', '"\\\\\\":"', '"한"', '""']
)
SPACES = st.sampled_from(["", " ", "\n\t"])
SCALARS = st.one_of(STRINGS, st.sampled_from(["1", "-2.5e3", "true", "null"]))


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(STRINGS, SPACES, values).map(lambda one: f"{one[0]}{one[1]}:{one[2]}")
    return st.lists(members, max_size=4).map(lambda some: "{" + ", ".join(some) + "}")


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda some: "[" + ",".join(some) + "]")


def has_repeated_key(text: str) -> bool:
    """Whether an object of a text has a key twice, as Python's decoder sees it."""
    found = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(dict(pairs)) < len(pairs))

    json.loads(text, object_pairs_hook=note)
    return any(found)


@given(
    st.recursive(SCALARS, lambda values: objects(values) | lists(values), max_leaves=12),
    st.sampled_from([json_scan.WINDOW_BYTES, 1, 2, 3, 7]),
)
def test_a_repeated_key_is_refused_and_no_other_text(text: str, window: int) -> None:
    try:
        with patch.object(json_scan, "WINDOW_BYTES", window):
            refuse_duplicates(text.encode())
    except DuplicateKeyError:
        assert has_repeated_key(text)
    else:
        assert not has_repeated_key(text)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": 1, "\\u0061": 2}', '[{"a": {"b": [], "b": 0}}]'])
def test_an_object_with_a_key_twice_is_refused(text: str) -> None:
    with pytest.raises(DuplicateKeyError):
        refuse_duplicates(text.encode())


@pytest.mark.parametrize("body", [b'{"a": 1', b'{"a": NaN}', b'{"a": 01}', b'{"a": "\xff"}', b'{"a": 1} x', b"}"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        refuse_duplicates(body)


@pytest.fixture
def turns() -> Iterator[list[int]]:
    """A list of one number, which another thread adds to as often as it runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    counted, ended, started = [0], threading.Event(), threading.Event()

    def count() -> None:
        while not ended.wait(0.00001):
            counted[0] += 1
            started.set()

    thread = threading.Thread(target=count)
    thread.start()
    started.wait()
    yield counted
    ended.set()
    thread.join()
    sys.setswitchinterval(before)


def test_other_threads_run_while_a_long_text_is_scanned(turns: list[int]) -> None:
    body = b'{"a":["b"' + b',"b"' * 300_000 + b"]}"
    before = turns[0]
    refuse_duplicates(body)
    assert turns[0] - before > 20
