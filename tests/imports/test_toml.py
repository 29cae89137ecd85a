"""TOML of someone else: what would take long, or too much of the stack, is refused."""

from __future__ import annotations

import pytest

from registry.errors import BadMapping
from registry.imports import toml


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = " + "[" * 100_000, id="lists"),
        pytest.param("a = " + "{a = " * 50_000, id="inline tables"),
        pytest.param("a" + ".a" * 100_000 + " = 1", id="a key of many parts"),
        pytest.param("[" + "a." * 100_000 + "a]", id="a table of many parts"),
        pytest.param('"a"' + '."a"' * 50_000 + " = 1", id="quoted parts"),
        pytest.param("a = 1\na = 2", id="a key twice"),
    ],
)
def test_text_that_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(BadMapping):
        toml.loads(text, "mapping.toml")


def test_long_sentence_is_no_nesting() -> None:
    assert toml.loads(f'note = "{"A sentence. " * 150}"', "mapping.toml")["note"].startswith("A sentence.")
