"""Findings of verification: every code in the source has a text in each language, with the call's parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import registry
from registry.i18n import LANGUAGES
from registry.transparency.findings import Finding

SOURCE = Path(registry.__file__).parent


def texts(language: str) -> dict[str, str]:
    file = files("registry.i18n") / "locale" / language / "proofs.po"
    messages = read_po(BytesIO(file.read_bytes()), locale=language)
    return {str(m.id): str(m.string) for m in messages if m.context == Finding.context}


def literals(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(code)):
            yield code
        case ast.IfExp(body=body, orelse=orelse):
            yield from literals(body)
            yield from literals(orelse)
        case _:
            raise AssertionError(f"line {node.lineno}: the code of a finding is not a literal")


def calls() -> Iterator[tuple[str, set[str]]]:
    """The code and the parameters of each finding in the source."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                for code in literals(node.args[0]):
                    yield code, {keyword.arg or "**" for keyword in node.keywords}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_finding_has_a_text_with_its_parameters(language: str) -> None:
    catalogue = texts(language)
    for code, parameters in calls():
        assert set(re.findall(r"%\((\w+)\)s", catalogue[code])) == parameters, code


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_has_no_text_without_a_finding(language: str) -> None:
    assert set(texts(language)) == {code for code, _ in calls()}
