"""Findings of verification: every code in the source has a text in each language, with the call's parameters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.i18n import LANGUAGES
from registry.transparency.findings import Finding
from tests.i18n.codes import calls_of, catalogue_texts, literals, parameters_of


def findings() -> Iterator[tuple[str, set[str]]]:
    """The code and the parameters of each finding in the source."""
    for where, _, node in calls_of("Finding"):
        codes = list(literals(node.args[0]))
        assert codes, f"{where}: the code of a finding is not a literal"
        for code in codes:
            yield code, {keyword.arg or "**" for keyword in node.keywords}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_finding_has_a_text_with_its_parameters(language: str) -> None:
    texts = catalogue_texts(language, Finding.context)
    for code, parameters in findings():
        assert parameters_of(texts[code]) == parameters, code


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_has_no_text_without_a_finding(language: str) -> None:
    assert set(catalogue_texts(language, Finding.context)) == {code for code, _ in findings()}
