"""Strings of the pages: each catalogue has every one of them, with the same parameters, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_python
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes
from jinja2.ext import babel_extract

from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES

OTHERS = [language for language in LANGUAGES if language != DEFAULT_LANGUAGE]
OPTIONS = {"extensions": "jinja2.ext.i18n,jinja2.ext.do"}


@cache
def page_strings() -> frozenset[str]:
    """Every message id of the templates and modules of the pages and of formatting; of a plural the singular."""
    web: Any = files("registry.web")
    formatting: Any = files("registry.formatting")
    functions: Any = ("_", "N_", "gettext", "ngettext", "translate")
    extracted: list[Any] = []
    for file in web.joinpath("templates").iterdir():
        extracted += [m[2] for m in babel_extract(BytesIO(file.read_bytes()), functions, [], OPTIONS)]
    for file in (*web.rglob("*.py"), *formatting.glob("*.py")):
        extracted += [m[2] for m in extract_python(BytesIO(file.read_bytes()), functions, [], {})]
    singulars = (message[0] if isinstance(message, tuple) else message for message in extracted)
    return frozenset(str(message) for message in singulars if message)


def catalogue(language: str) -> dict[str, Message]:
    """The entries of a language's pages.po, by their message id; of a plural by the singular."""
    file = files("registry.i18n") / "locale" / language / "pages.po"
    entries = [message for message in read_po(BytesIO(file.read_bytes()), locale=language) if message.id]
    return {m.id[0] if isinstance(m.id, (list, tuple)) else str(m.id): m for m in entries}


def texts(message: Message) -> Iterator[str]:
    string: Any = message.string
    yield from (string,) if isinstance(string, str) else string


def parameters(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))


@pytest.mark.parametrize("language", OTHERS)
def test_catalogue_has_every_page_string_and_no_other(language: str) -> None:
    assert len(page_strings()) > 300
    assert set(catalogue(language)) == page_strings()


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_the_parameters_of_their_page_string(language: str) -> None:
    for singular, message in catalogue(language).items():
        plural = message.id[1] if isinstance(message.id, (list, tuple)) else singular
        for text in texts(message):
            assert parameters(singular) <= parameters(text) | {"num"}, singular
            assert parameters(text) <= parameters(plural) | {"num"}, singular


@pytest.mark.parametrize("language", OTHERS)
def test_page_strings_are_plain_text(language: str) -> None:
    """Templates mark page strings as safe and escape only their parameters (jinja2.ext.i18n, newstyle)."""
    for singular, message in catalogue(language).items():
        for text in (singular, *texts(message)):
            assert not set(text) & set('<>&"'), text
            assert "%" not in re.sub(r"%\(\w+\)s", "", text), text


# Commands, and notations that are the same in every language.
LITERALS = {
    "MW",
    *("BibTeX", "CSL", "JSON", "SVG", "PNG"),
    *("curl", "event", "inclusion", "json", "key", "keys", "log", "position", "proof", "registry", "verify"),
}


def literal_words(template: Any) -> set[str]:
    """The words of a template outside of markup, comments and message calls."""
    environment = Environment(extensions=["jinja2.ext.i18n", "jinja2.ext.do"], autoescape=True)
    source = environment.parse(template.read_text("utf-8"))
    html = "".join(node.data for node in source.find_all(nodes.TemplateData))
    text = re.sub(r"<[^<>]*>?|^[^<>]*>", " ", html)
    return set(re.findall(r"[A-Za-z]{2,}", re.sub(r"&\w+;", " ", text)))


TEMPLATES: Any = files("registry.web") / "templates"


@pytest.mark.parametrize("name", sorted(file.name for file in TEMPLATES.iterdir()))
def test_template_has_no_text_outside_the_catalogue(name: str) -> None:
    assert literal_words(TEMPLATES / name) - LITERALS == set()
