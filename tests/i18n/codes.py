"""Finds the message codes in the source, and the texts of the catalogues, so that tests can compare the two."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from msgspec import Struct

import registry
from registry.i18n import catalogue_files

PARAMETER = re.compile(r"%\((\w+)\)")


class CodeUse(Struct, frozen=True):
    """A call of a message's constructor with a literal code."""

    code: str
    params: frozenset[str]
    where: str


def code_uses(constructor: str, argument: int = 0) -> list[CodeUse]:
    """Every call of `constructor` in the source whose argument at `argument` is a literal code."""
    return list(_uses(constructor, argument))


def _uses(constructor: str, argument: int) -> Iterator[CodeUse]:
    for where, _, node in calls_of(constructor):
        match node.args[argument : argument + 1]:
            case [ast.Constant(value=str(code))]:
                params = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                yield CodeUse(code, params, where)


def calls_of(*names: str) -> list[tuple[str, str, ast.Call]]:
    """Each call in the source of a constructor, function or method of these names, with its place and name."""
    # Only files with one of the names are parsed: parsing all of them takes two seconds.
    named = re.compile(rf"\b(?:{'|'.join(names)})\(")
    root = Path(registry.__file__).parent
    return [
        (f"{path.relative_to(root)}:{node.lineno}", name, node)
        for path in sorted(root.rglob("*.py"))
        if named.search(path.read_text("utf-8"))
        for name, node in _calls(path)
        if name in names
    ]


@cache
def _calls(path: Path) -> list[tuple[str, ast.Call]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found.append((name, node))
    return found


def literals(node: ast.expr) -> Iterator[str]:
    """The texts that an argument can have, if it is a literal or chooses between literals."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from literals(one)
            yield from literals(other)


def catalogue_texts(language: str, context: str) -> dict[str, str]:
    """The texts of one context in a language's catalogues, by code; of a plural, all its forms together."""
    return {
        message.id if isinstance(message.id, str) else message.id[0]: (
            message.string if isinstance(message.string, str) else "\n".join(message.string or ())
        )
        for message in _messages(language)
        if message.context == context
    }


@cache
def _messages(language: str) -> list[Message]:
    files = catalogue_files(language)
    return [message for file in files for message in read_po(BytesIO(file.read_bytes()), locale=language)]


def parameters_of(text: str) -> frozenset[str]:
    """The parameters that a text mentions."""
    return frozenset(PARAMETER.findall(text))
