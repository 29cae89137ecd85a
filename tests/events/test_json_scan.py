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


AT_THE_BORDER = (
    (b'{"a":1,"a":2}', True),
    (b'{"a":1,"b":2}', False),
    (b'{"a" \t:1,"\\u0061"\n :2}', True),
    (b'{"a\\"":1,"a\\\\":2}', False),
    (b'{"\\\\":{"}":1},"\\u005c":0}', True),
    (b'{"a":{"a":"{\\"a\\":1"}}', False),
    ('{"한":[{"b":"}"}],"한":1}'.encode(), True),
)


@pytest.mark.parametrize(("value", "is_repeated"), AT_THE_BORDER)
def test_value_that_crosses_the_border_of_a_window_is_read_as_elsewhere(value: bytes, is_repeated: bool) -> None:
    """Each byte of the value is once the first of a window, as is the byte after it."""
    for before in range(len(value) + 1):
        # The list begins with a text, with numbers, or with space.
        size = json_scan.WINDOW_BYTES - before
        for start in (b'["' + b"x" * (size - 4) + b'",', b"[" + b"1," * ((size - 1) // 2), b"[" + b" " * (size - 1)):
            body = start.ljust(size) + value + b"]"
            assert body.index(value) == size
            if is_repeated:
                with pytest.raises(DuplicateKeyError):
                    refuse_duplicates(body)
            else:
                refuse_duplicates(body)


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


@pytest.mark.parametrize("filling", [b"1," * 2_000_000 + b"1", b'{"a"' + b" " * 4_000_000 + b":1}"])
def test_other_threads_run_while_no_string_is_found(turns: list[int], filling: bytes) -> None:
    """A search ends with its window: without windows, one search would go through the whole text."""
    body = b"[" + filling + b"]"
    before = turns[0]
    refuse_duplicates(body)
    assert turns[0] - before > 20
