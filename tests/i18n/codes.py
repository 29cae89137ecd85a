"""Finds the message codes in the source, and the texts of the catalogues, so that tests can compare the two."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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
    root = Path(registry.__file__).parent
    return [use for path in sorted(root.rglob("*.py")) for use in _calls(path, root, constructor, argument)]


def _calls(path: Path, root: Path, constructor: str, argument: int) -> Iterator[CodeUse]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name == constructor:
                match node.args[argument : argument + 1]:
                    case [ast.Constant(value=str(code))]:
                        params = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                        yield CodeUse(code, params, f"{path.relative_to(root)}:{node.lineno}")


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
