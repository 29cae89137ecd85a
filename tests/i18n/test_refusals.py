"""Every refusal in the source has a text in every language, and no text mentions a parameter that is not passed."""

from __future__ import annotations

import pytest

from registry.domain.refusal import Refusal
from registry.i18n import LANGUAGES, render
from tests.i18n.codes import catalogue_texts, code_uses, parameters_of

USES = code_uses("Refusal")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_refusal_has_a_text_in_each_language(language: str) -> None:
    assert {use.code for use in USES} == set(catalogue_texts(language, "refusal"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_of_a_refusal_mentions_only_parameters_that_are_passed(language: str) -> None:
    texts = catalogue_texts(language, "refusal")
    missing = {use.where: unknown for use in USES if (unknown := parameters_of(texts[use.code]) - use.params)}
    assert missing == {}


def test_every_parameter_of_a_refusal_is_mentioned_in_english() -> None:
    texts = catalogue_texts("en", "refusal")
    unused = {use.where: extra for use in USES if (extra := use.params - parameters_of(texts[use.code]))}
    assert unused == {}


def test_a_refusal_renders_in_each_language() -> None:
    refusal = Refusal("pledge-withdrawn", pledge="total")
    assert str(refusal) == "The pledge 'total' was withdrawn. Announce a new pledge with a new id."
    assert render(refusal, "ko").startswith("‘total’ 투자 약속은 철회되었습니다.")
