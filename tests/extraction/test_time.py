"""No text makes a pattern search for long: while it searches, no other request is answered.

A search that takes exponential time never ends here: pytest stops it after faulthandler_timeout, and the run fails.
"""

from __future__ import annotations

import pytest

from registry.extraction import Article, extract
from registry.extraction.amounts import find_amounts
from registry.extraction.cues import cues_of
from registry.extraction.names import OrganizationFinder
from registry.extraction.places import find_places
from registry.extraction.text import MAX_SENTENCE
from tests.conftest import drill

PIECES = [
    "십조", "십", "천백", "조", "1조", "1십", "조 ", "1", "1,", "1,1", "1.", "$1", "1 ", "1 조 ", "A", "Aa ", "A.",
    "A&", "가", "가 ", "가나와 ", "가나의 ", "㈜", "(주)", "((", "(A", "-", "a-", '"', "“", " ", "MW ", "1MW", "년 ",
    "2025", "2025~", "by ", "from 2025 ", "over ", "1개 사", "원을, ", "하고, ", "of the ", "Inc", "1kkk",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("begin", ["", drill("1"), drill("$1"), drill("A")])
def test_longest_sentence_of_a_repeated_piece_is_read_to_its_end(piece: str, begin: str) -> None:
    for end in ("", "x", "원"):
        sentence = begin + (piece * MAX_SENTENCE)[: MAX_SENTENCE - len(begin) - 1] + end
        list(find_amounts(sentence))
        cues_of(sentence)
        find_places(sentence)
        OrganizationFinder([]).find(sentence)


def test_article_of_such_pieces_is_read_to_its_end() -> None:
    text = "\n".join("1" + piece * 40 + "x" for piece in PIECES)
    extract(Article(text), ())
