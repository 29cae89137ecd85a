"""Regular expressions that a mapping file gives: those whose search could hold the service are refused.

A search holds the interpreter until it ends. A repetition within another, as in `(a+)+$`, can take twice as long for
each further character; several beside each other take a power of the length of the text, which is bounded.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

# The only description of a pattern that the library has; it is not declared to type checkers.
_parser: Any = importlib.import_module("re._parser")

MAX_REPETITIONS = 3
MAX_TEXT = 1000
"""Characters of a cell that patterns are applied to."""


def is_bounded(pattern: str) -> bool:
    """Whether the search for a pattern ends soon in any text of `MAX_TEXT` characters.

    Raises:
        re.error: It is no pattern.
    """
    re.compile(pattern)
    depths = list(_repetitions(_parser.parse(pattern), 0))
    return len(depths) <= MAX_REPETITIONS and max(depths, default=1) == 1


def _repetitions(part: Any, depth: int) -> Iterator[int]:
    """The depth of each repetition in a part of a pattern whose number of times is not fixed."""
    if isinstance(part, _parser.SubPattern):
        for operator, argument in part:
            is_repetition = "REPEAT" in str(operator)
            if is_repetition and argument[0] != argument[1]:
                yield depth + 1
            yield from _repetitions(argument, depth + (is_repetition and argument[1] > 1))
    elif isinstance(part, (list, tuple)):
        for one in part:
            yield from _repetitions(one, depth)
