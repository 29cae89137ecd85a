"""Texts of the command, its environment and deliveries: every code has one in each language, with its parameters."""

from __future__ import annotations

import pytest

from registry.i18n import LANGUAGES
from tests.i18n.codes import catalogue_texts, code_uses, parameters_of

CONSTRUCTORS = {
    "Text": "cli",
    "SettingProblem": "setting",
    "PostgresProblem": "postgres",
    "DatabaseProblem": "database",
    "BackupProblem": "backup",
    "DeliveryProblem": "delivery",
}


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_command_text_exists_in_each_language_with_its_parameters(constructor: str, language: str) -> None:
    texts = catalogue_texts(language, CONSTRUCTORS[constructor])
    uses = code_uses(constructor)
    assert {use.code for use in uses} == texts.keys()
    for use in uses:
        assert parameters_of(texts[use.code]) == use.params, use.where
