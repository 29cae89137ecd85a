"""Labels: each token of the JSON that a page shows has a plain name in each language."""

from __future__ import annotations

import ast
import inspect
from typing import Any, get_args

import pytest
from msgspec import Struct

from registry.domain.checks import plausibility
from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.events import types, values
from registry.formatting.language import words
from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES
from registry.web.charts import maps
from registry.web.forms.structure import struct_fields
from tests.i18n.codes import catalogue_texts

OTHERS = [language for language in LANGUAGES if language != DEFAULT_LANGUAGE]


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("context", ["label", "format"])
def test_languages_have_the_same_labels_and_formats(language: str, context: str) -> None:
    assert catalogue_texts(language, context).keys() == catalogue_texts(DEFAULT_LANGUAGE, context).keys() != set()


@pytest.mark.parametrize("tag", types.EVENT_TYPES)
def test_event_type_and_its_fields_have_labels(tag: str) -> None:
    english = words(DEFAULT_LANGUAGE)
    assert english.has_label("event", tag)
    if tag not in ("event_corrected", "event_voided", "event_redacted"):
        for field in struct_fields(types.EVENT_TYPES[tag]):
            assert english.has_label("field", field.name.rstrip("_")), field.name


@pytest.mark.parametrize("state", [Deal, *item_types(Deal).values()], ids=lambda state: state.__name__)
def test_field_of_a_deal_has_a_label(state: type[Struct]) -> None:
    assert [name for name in state.__struct_fields__ if not words(DEFAULT_LANGUAGE).has_label("field", name)] == []


@pytest.mark.parametrize(
    ("kind", "choice"),
    [
        ("role", values.Role),
        ("stage", values.Stage),
        ("commitment", values.Commitment),
        ("qualifier", values.Qualifier),
        ("relation", values.Relation),
        ("instrument", values.Instrument),
        ("precision", values.Precision),
    ],
)
def test_choice_of_an_event_field_has_a_label(kind: str, choice: Any) -> None:
    missing = [token for token in get_args(choice) if not words(DEFAULT_LANGUAGE).has_label(kind, token)]
    assert missing == []


def test_province_has_its_everyday_name() -> None:
    provinces = [province.code for province in maps.korea().provinces]
    assert [code for code in provinces if not words(DEFAULT_LANGUAGE).has_label("place", code)] == []


def test_figure_of_a_flag_has_a_label() -> None:
    dicts = [n for n in ast.walk(ast.parse(inspect.getsource(plausibility))) if isinstance(n, ast.Dict)]
    names = {k.value for n in dicts for k in n.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)}
    assert {"ratio", "reference rate", "kw_per_gpu"} <= names
    assert [name for name in names if not words(DEFAULT_LANGUAGE).has_label("figure", name)] == []


def test_token_without_a_label_is_shown_as_words() -> None:
    assert words("ko").label("sector", "deep-sea_mining") == "deep sea mining"
