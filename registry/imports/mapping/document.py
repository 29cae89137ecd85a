"""Writes a mapping as TOML: the file that a form in the browser saves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(data: Mapping[str, Any]) -> str:
    """The TOML text of a mapping's tables: a section for each table and each block, inline tables inside them."""
    plain = {name: value for name, value in data.items() if not _is_table(value)}
    sections = ["".join(f"{_key(name)} = {_value(value)}\n" for name, value in plain.items())] if plain else []
    for name, value in data.items():
        if isinstance(value, Mapping):
            sections.append(f"[{_key(name)}]\n{''.join(_lines(value))}")
        elif _is_table(value):
            sections += [f"[[{_key(name)}]]\n{''.join(_lines(table))}" for table in value]
    return "\n".join(sections)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_key(name)} = {_value(value)}\n" for name, value in table.items())


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case date():
            return value.isoformat()
        case Mapping():
            return f"{{ {', '.join(f'{_key(name)} = {_value(item)}' for name, item in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return str(value)


def _string(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, which also escapes DEL (TOML 1.0, String)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
