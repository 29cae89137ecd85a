"""Problem documents: every error code has a title and a meaning in each language."""

from __future__ import annotations

import pytest

from registry.http.problems import PROBLEMS
from registry.i18n import LANGUAGES
from tests.i18n.codes import catalogue_texts, parameters_of


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_has_a_title_and_a_meaning_without_parameters(language: str) -> None:
    texts = catalogue_texts(language, "problem")
    assert parameters_of(texts.pop("import_line")) == {"line", "problem"}
    assert texts.keys() == {f"{code}/{part}" for code in PROBLEMS for part in ("title", "meaning")}
    assert all(texts.values())
    assert not any(parameters_of(text) for text in texts.values())
