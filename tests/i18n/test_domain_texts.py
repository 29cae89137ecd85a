"""Every code of flags, amounts, rates and imports has a text in every language, with the parameters that are passed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry
from registry.i18n import LANGUAGES, translations

SOURCE = Path(registry.__file__).parent
CONSTRUCTORS = {
    "FlagText": "flag",
    "AmountProblem": "amount",
    "RateProblem": "rate",
}


def literal_messages() -> Iterator[tuple[str, str, frozenset[str]]]:
    """The context, code and parameter names of each message that the source constructs with a literal code."""
    for file in (*SOURCE.glob("domain/**/*.py"), *SOURCE.glob("imports/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code))], keywords=keywords):
                    if name in CONSTRUCTORS:
                        yield CONSTRUCTORS[name], code, frozenset(k.arg for k in keywords if k.arg)


MESSAGES = sorted({*literal_messages()}, key=lambda message: (message[0], message[1], sorted(message[2])))


def test_source_scan_finds_messages_of_every_context() -> None:
    assert {context for context, _, _ in MESSAGES} == set(CONSTRUCTORS.values())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("context", "code", "params"), MESSAGES)
def test_message_has_a_text_with_its_parameters(language: str, context: str, code: str, params: frozenset[str]) -> None:
    text = translations(language).pgettext(context, code)
    if "count" in params:
        text = translations(language).npgettext(context, code, code, 2)
    assert text != code
    assert set(re.findall(r"%\((\w+)\)s", text)) == params
