"""Finds the message codes in the source, and the texts of the catalogues, so that tests can compare the two."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path

from babel.messages.pofile import read_po
from msgspec import Struct

import registry

PARAMETER = re.compile(r"%\((\w+)\)")


class CodeUse(Struct, frozen=True):
    """A call of a message's constructor with a literal code."""

    code: str
    params: frozenset[str]
    where: str


def code_uses(constructor: str, argument: int = 0) -> list[CodeUse]:
    """Every call of `constructor` in the source whose argument at `argument` is a literal code."""
    return list(_calls(constructor, argument))


def _calls(constructor: str, argument: int) -> Iterator[CodeUse]:
    for where, name, node in all_calls():
        if name == constructor:
            match node.args[argument : argument + 1]:
                case [ast.Constant(value=str(code))]:
                    params = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                    yield CodeUse(code, params, where)


@cache
def all_calls() -> list[tuple[str, str, ast.Call]]:
    """Every call in the source: where it stands and whose constructor, function or method it names."""
    root = Path(registry.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                    found.append((f"{path.relative_to(root)}:{node.lineno}", name, node))
    return found


def catalogue_texts(language: str, context: str) -> dict[str, str]:
    """The texts of one context in a language's catalogues, by code; of a plural, all its forms together."""
    texts: dict[str, str] = {}
    folder = resources.files("registry.i18n") / "locale" / language
    for file in folder.iterdir():
        if file.name.endswith(".po"):
            for message in read_po(BytesIO(file.read_bytes()), locale=language):
                if message.context == context:
                    code = message.id if isinstance(message.id, str) else message.id[0]
                    texts[code] = message.string if isinstance(message.string, str) else "\n".join(message.string or ())
    return texts


def parameters_of(text: str) -> frozenset[str]:
    """The parameters that a text mentions."""
    return frozenset(PARAMETER.findall(text))
