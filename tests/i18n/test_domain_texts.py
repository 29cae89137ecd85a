"""Flags, rules, amount problems, rate problems and imports have a text for each code, in every language."""

from __future__ import annotations

import pytest

from registry.domain.totals import Rule
from registry.i18n import LANGUAGES
from tests.i18n.codes import CodeUse, catalogue_texts, code_uses, parameters_of

CONTEXTS = {"flag": "FlagText", "amount": "AmountProblem", "rate": "RateProblem", "import": "ImportText"}
USES = [(context, use) for context, constructor in CONTEXTS.items() for use in code_uses(constructor)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("context", "use"), USES, ids=[f"{context}-{use.where}" for context, use in USES])
def test_message_has_a_text_with_its_parameters(language: str, context: str, use: CodeUse) -> None:
    texts = catalogue_texts(language, context)
    assert use.code in texts
    assert parameters_of(texts[use.code]) == use.params


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("context", CONTEXTS)
def test_catalogue_has_no_unused_texts(language: str, context: str) -> None:
    assert set(catalogue_texts(language, context)) == {use.code for of, use in USES if of == context}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_has_a_text(language: str) -> None:
    assert set(catalogue_texts(language, "rule")) == {rule.value for rule in Rule}
