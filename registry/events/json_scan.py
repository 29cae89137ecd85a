"""Where something stands in a JSON text, and what lenient readers of JSON let pass.

Decoding is msgspec's work; this only looks at what it refused, or may have swallowed: duplicate keys, of which decoders
keep the last. Slow, therefore bounded, and never asked about what is in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

# Beyond it no place is named: a text of this size is not written by hand, and looking must not keep others waiting.
SEARCHED = 2**20

# Deeper than any announcement.
DEEP = 50

_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*"?)|([^ \t\r\n{}\[\],:"]+))', re.DOTALL)


class DuplicateKeyError(ValueError):
    """A key stands twice in one object."""


class _Level(Struct):
    """An object or a list that is open: where in it the reader is, and which keys it has met."""

    is_object: bool
    at: str | int | None
    awaits_key: bool
    met: set[str]
    repeated: bool = False


def refuse_duplicates(body: bytes) -> None:
    """Raises TwiceError for duplicate keys, ValueError for what is no JSON, and RecursionError for endless nesting."""
    # Numbers stay text: how long they are is no concern of this.
    json.loads(
        body.decode(), object_pairs_hook=_reject_duplicate, parse_constant=_no_constant, parse_int=str, parse_float=str
    )


def _reject_duplicate(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise DuplicateKeyError


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def pointer_at(body: bytes, offset: int) -> str:
    """The JSON Pointer (RFC 6901) of the value in which a byte stands."""
    there: list[_Level] = []
    for end, levels in _walk(body):
        there = levels
        if end > offset:
            break
    return _pointer(there)


def duplicate_key_pointer(body: bytes) -> str:
    """The JSON Pointer of the first key that stands twice in its object."""
    for _, levels in _walk(body):
        if levels and levels[-1].repeated:
            return _pointer(levels)
    return ""


def deepest_pointer(body: bytes) -> str:
    """The JSON Pointer of the field in which nesting goes on and on."""
    for _, levels in _walk(body):
        if len(levels) > DEEP:
            named = next((i for i, level in enumerate(levels) if not level.is_object and i > 1), 4)
            return _pointer(levels[: min(named, 4)])
    return ""


def _walk(body: bytes) -> Iterator[tuple[int, list[_Level]]]:
    """Each token's end, with what is open there."""
    levels: list[_Level] = []
    for token in _TOKEN.finditer(body[:SEARCHED]):
        sign, text, _ = token.groups()
        level = levels[-1] if levels else None
        if sign in (b"{", b"["):
            levels.append(_Level(sign == b"{", None if sign == b"{" else 0, sign == b"{", set()))
        elif sign in (b"}", b"]") and levels:
            levels.pop()
        elif sign == b"," and level is not None:
            level.awaits_key = level.is_object
            level.at = level.at + 1 if isinstance(level.at, int) else None
        elif sign == b":" and level is not None:
            level.awaits_key = False
        elif text is not None and level is not None and level.awaits_key:
            key = _text(text)
            level.repeated = key in level.met
            level.met.add(key)
            level.at = key
        yield token.end(), levels


def _text(token: bytes) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token.strip(b' \t\r\n"').decode(errors="replace")[:100]


def _pointer(levels: list[_Level]) -> str:
    return "".join(f"/{escape(str(level.at))}" for level in levels if level.at is not None)


def escape(key: str) -> str:
    """A key as a part of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")
