"""Reads TOML from an untrusted file in bounded time."""

from __future__ import annotations

import tomllib
from typing import Any

from registry.errors import BadMapping
from registry.imports.messages import ImportText

MAX_DOTS = 200
"""Dots of a line. The library's time for a key of many parts grows with the square of their number."""


def loads(text: str, file: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        BadMapping: The text is not TOML, or is nested too deeply.
    """
    try:
        if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
            raise RecursionError
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    raise BadMapping(reason=ImportText("mapping-not-toml", file=file, reason=reason))
