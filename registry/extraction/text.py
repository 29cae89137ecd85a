"""The sentences of an article, with their places in its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from msgspec import Struct

ArticleLanguage = Literal["ko", "en"]

# A sentence ends at a full stop, question or exclamation mark with a space or a closing quotation mark after it. A full
# stop after a digit, a capital initial or an abbreviation does not end one.
# The mark is first: a search then passes over other characters in a fast loop. Otherwise no other thread runs for 40 ms
# in a text of 200,000.
_END = re.compile(
    r"""[.?!](?<![A-Z].)(?<!\bMr.)(?<!\bMs.)(?<!\bDr.)(?<!\bInc.)(?<!\bCo.)(?<!\bLtd.)(?<!\bCorp.)(?<!\bGov.)["”’']?(?=\s|$)"""
)


MAX_SENTENCE = 1000
"""Characters: no sentence of an article is longer. The patterns take time that grows with its square."""


def _longest(ends: set[int]) -> int:
    """The length of the longest sentence that ends at these places of a line."""
    return max(end - start for start, end in pairwise([0, *sorted(ends)]))


class Sentence(Struct, frozen=True):
    """A sentence: its text, where it starts and ends in the article, and the number of its paragraph."""

    text: str
    start: int
    end: int
    paragraph: int


def language_of(text: str) -> ArticleLanguage:
    """The language of an article: Korean if a fifth of its letters are Hangul."""
    letters = sum(c.isalpha() for c in text)
    hangul = sum("가" <= c <= "힣" for c in text)
    return "ko" if hangul * 5 >= letters else "en"


# A Korean sentence may tell of several companies, a clause each: "… 고용하고, 에이티테크는 …", "… 원을, 가온누리는 …",
# "한빛이 843억 원, 가온누리가 500억 원의 투자를 결정했다".
_CLAUSE_END = re.compile(
    r"(?<=[가-힣](?:고|며)),\s|(?<=원을),\s|(?<=원),\s(?=[가-힣A-Z][가-힣A-Za-z0-9&]{1,19}[은는이가] [^,]{0,40}원)"
)


def clauses(sentence: str) -> list[str]:
    """The clauses of a sentence."""
    return [part for part in _CLAUSE_END.split(sentence) if part.strip()]


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of an article in order. A line break ends a paragraph, and so a sentence."""
    paragraph = 0
    for line in re.finditer(r"[^\n]+", text):
        if not line[0].strip():
            continue
        start = line.start()
        ends = {match.end() for match in _END.finditer(line[0])} | {len(line[0])}
        ends |= set(range(MAX_SENTENCE, len(line[0]), MAX_SENTENCE)) if _longest(ends) > MAX_SENTENCE else set()
        for end in sorted(ends):
            stop = line.start() + end
            stripped = text[start:stop].strip()
            if stripped:
                first = text.index(stripped, start)
                yield Sentence(stripped, first, first + len(stripped), paragraph)
            start = stop
        paragraph += 1
