"""Locate errors and duplicate keys in a JSON text.

msgspec decodes bodies. This slower scanner runs on bodies that msgspec refuses, and on those that may have duplicate
keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

# Errors after the first MiB get no pointer, so that scanning a large body does not block the event loop.
MAX_SCANNED_BYTES = 2**20

# No announcement is nested this deeply.
MAX_DEPTH = 50

_syntax = msgspec.json.Decoder(msgspec.Raw)
_key = msgspec.json.Decoder(str)

# A string without escapes; or a brace; or the `"` that begins a string with escapes.
_PIECE = re.compile(rb'"([^"\\]*)"|[{}"]')
_SPACE = re.compile(rb"[ \t\r\n]*")

# Bytes of one search. No other thread runs during a search, which takes 70 ms in 8 MiB of digits.
WINDOW_BYTES = 2**16

_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*"?)|([^ \t\r\n{}\[\],:"]+))', re.DOTALL)


class DuplicateKeyError(ValueError):
    """An object has a key twice."""


class _Level(Struct):
    """An open object or list: the scanner's place in it, and the keys so far."""

    is_object: bool
    at: str | int | None
    awaits_key: bool
    keys: set[str]
    repeated: bool = False


def refuse_duplicates(body: bytes) -> None:
    """Check that no object of a JSON text has a key twice.

    Python's decoder could check this, but no other thread runs during it, for 150 ms if 1.4 million names are repeated.
    msgspec checks the syntax in a tenth of that time. The loop then finds the first repeated name, and lets other
    threads run.

    Raises:
        DuplicateKeyError: An object has a key twice.
        ValueError: The text is not JSON.
        RecursionError: The text is nested too deeply.
    """
    body.decode()
    _syntax.decode(body)
    # The keys so far of each open object.
    objects: list[set[str]] = []
    end: int | None = 0
    while end is not None:
        end = _follow(body, end, objects)


def _follow(body: bytes, start: int, objects: list[set[str]]) -> int | None:
    """Follow the objects of a text up to the end of the next string that has escapes or does not end in its window.

    Returns:
        The end of that string; None at the end of the text.
    """
    for window in range(start, len(body), WINDOW_BYTES):
        for piece in _PIECE.finditer(body, window, window + WINDOW_BYTES):
            text, end = piece[1], piece.end()
            if text is not None:
                if _is_key(body, end):
                    _add_key(objects[-1], text.decode())
                continue
            match piece[0]:
                case b"{":
                    objects.append(set())
                case b"}":
                    objects.pop()
                case _:
                    end = _end_of_text(body, piece.start())
                    if _is_key(body, end):
                        _add_key(objects[-1], _key.decode(body[piece.start() : end]))
                    return end
    return None


def _is_key(body: bytes, end: int) -> bool:
    """Whether a colon follows the string that ends here."""
    following = body[end : end + 1]
    while following and following in b" \t\r\n":
        space = _SPACE.match(body, end, end + WINDOW_BYTES)
        assert space is not None
        end = space.end()
        following = body[end : end + 1]
    return following == b":"


def _add_key(keys: set[str], key: str) -> None:
    if key in keys:
        raise DuplicateKeyError
    keys.add(key)


def _end_of_text(body: bytes, start: int) -> int:
    """The end of the string that begins here: after the next quotation mark that no backslash escapes."""
    after = start + 1
    while True:
        end = body.index(b'"', after)
        part = body[after:end]
        after = end + 1
        if (len(part) - len(part.rstrip(b"\\"))) % 2 == 0:
            return after


def pointer_at(body: bytes, offset: int) -> str:
    """The JSON pointer (RFC 6901) of the value that contains a byte."""
    open_levels: list[_Level] = []
    for end, levels in _walk(body):
        open_levels = levels
        if end > offset:
            break
    return _pointer(open_levels)


def duplicate_key_pointer(body: bytes) -> str:
    """The JSON pointer of the first key that its object has twice."""
    for _, levels in _walk(body):
        if levels and levels[-1].repeated:
            return _pointer(levels)
    return ""


def deepest_pointer(body: bytes) -> str:
    """The JSON pointer of the field that is nested too deeply."""
    for _, levels in _walk(body):
        if len(levels) > MAX_DEPTH:
            depth = next((i for i, level in enumerate(levels) if not level.is_object and i > 1), 4)
            return _pointer(levels[: min(depth, 4)])
    return ""


def _walk(body: bytes) -> Iterator[tuple[int, list[_Level]]]:
    """The end of each token, with the objects and lists that are open there."""
    levels: list[_Level] = []
    for token in _TOKEN.finditer(body[:MAX_SCANNED_BYTES]):
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
            level.repeated = key in level.keys
            level.keys.add(key)
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
    """Escape a key for a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
