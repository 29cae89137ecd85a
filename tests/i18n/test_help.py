"""Help of the command and errors of usage: each catalogue has every text of it, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import typer
from babel.messages.pofile import read_po
from typer.core import TyperGroup

from registry.cli import command, usage_errors
from registry.cli.help import CONTEXT, FIXED, USAGE, fixed_texts, message_ids
from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES

ROOT = Path(__file__).parents[2]
OTHERS = [language for language in LANGUAGES if language != DEFAULT_LANGUAGE]


@cache
def help_texts() -> frozenset[str]:
    """Every text of the help, as a message id."""
    found = {USAGE, *fixed_texts().values(), *usage_errors.TEXTS, *shown(typer.main.get_command(command()))}
    return frozenset(identifier for text in found for identifier in message_ids(text))


def shown(one: Any) -> Iterator[str]:
    """The texts that the help of a command and of its subcommands shows."""
    yield one.options_metavar
    for described in (one, *one.get_params(typer.Context(one))):
        assert described.help, described
        yield described.help
    if isinstance(one, TyperGroup):
        yield one.subcommand_metavar
        for subcommand in one.commands.values():
            yield from shown(subcommand)


def catalogue(language: str) -> dict[str, str]:
    file = files("registry.i18n") / "locale" / language / "help.po"
    entries = [entry for entry in read_po(BytesIO(file.read_bytes()), locale=language) if entry.id]
    assert {entry.context for entry in entries} == {CONTEXT}
    return {str(entry.id): str(entry.string) for entry in entries}


@pytest.mark.parametrize("language", OTHERS)
def test_catalogue_has_every_help_text_and_no_other(language: str) -> None:
    assert len(help_texts()) > 200
    assert set(catalogue(language)) == help_texts()


def test_korean_help_has_the_glossary_s_word_for_a_pledge() -> None:
    rows = (line.split("|") for line in (ROOT / "docs/glossary.md").read_text("utf-8").splitlines())
    [term] = (cells[3].strip() for cells in rows if len(cells) > 3 and cells[1].strip() == "pledge")
    texts = {english: text for english, text in catalogue("ko").items() if re.search(r"\bpledge\b", english)}
    assert texts
    assert {english for english, text in texts.items() if term not in text} == set()


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_the_names_of_their_help_text(language: str) -> None:
    """Options, commands, variables, addresses, and what Typer fills in."""
    names = re.compile(r"--[a-z-]+|[A-Z]+_[A-Z_]+|`[^`]+`|https?://[\w./:-]+\w|\{\w*\}")
    for english, translation in catalogue(language).items():
        assert translation
        assert set(names.findall(english)) == set(names.findall(translation)), english


def test_typer_has_the_texts_that_the_help_replaces() -> None:
    assert fixed_texts().keys() == set(FIXED)
