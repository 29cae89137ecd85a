"""Flags, rules, amount problems, rate problems and imports have a text for each code, in every language."""

from __future__ import annotations

import pytest

from registry.domain.totals import Rule
from registry.i18n import LANGUAGES
from tests.i18n.codes import catalogue_texts, code_uses, parameters_of

CONTEXTS = {
    "flag": "FlagText",
    "amount": "AmountProblem",
    "rate": "RateProblem",
    "import": "ImportText",
    "wait": "Wait",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("context", CONTEXTS)
def test_each_message_has_a_text_with_its_parameters_and_no_text_is_unused(language: str, context: str) -> None:
    texts = catalogue_texts(language, context)
    uses = code_uses(CONTEXTS[context])
    assert uses
    assert {use.code for use in uses} == texts.keys()
    wrong = {use.where: use.code for use in uses if parameters_of(texts[use.code]) != use.params}
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_has_a_text(language: str) -> None:
    assert set(catalogue_texts(language, "rule")) == {rule.value for rule in Rule}
