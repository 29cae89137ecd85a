"""Mark the words in which two texts differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

Marked = tuple[tuple[bool, str], ...]
"""A text in pieces, each with whether the other text lacks it."""

# A parenthesis begins a word: Korean texts have no space before it.
_WORDS = re.compile(r"\s+|\(?[^\s(]+|\(")
MAX_WORD_PAIRS = 250_000
"""Longer texts are marked as a whole: the comparison is quadratic."""


@lru_cache(1_000)
def word_diff(before: str | None, after: str | None) -> tuple[Marked, Marked]:
    """Two texts in pieces. Without a common word each text is one marked piece; None has no pieces."""
    old, new = _WORDS.findall(before or ""), _WORDS.findall(after or "")
    sides: tuple[list[tuple[bool, str]], list[tuple[bool, str]]] = ([], [])
    if 0 < len(old) * len(new) <= MAX_WORD_PAIRS:
        for tag, i, j, k, m in SequenceMatcher(str.isspace, old, new, autojunk=False).get_opcodes():
            # White space between two different words belongs to the piece that differs.
            differs = tag != "equal" or (all(map(str.isspace, old[i:j])) and 0 < i < j < len(old))
            for side, text in zip(sides, ("".join(old[i:j]), "".join(new[k:m])), strict=True):
                if text and side and side[-1][0] == differs:
                    side[-1] = (differs, side[-1][1] + text)
                elif text:
                    side.append((differs, text))
    if all(differs or text.isspace() for side in sides for differs, text in side):
        return (((True, before),) if before else ()), (((True, after),) if after else ())
    return tuple(sides[0]), tuple(sides[1])
