"""The amounts of money in a sentence, as the press writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from registry.domain.money import AmountParseError, ParsedAmount, parse
from registry.domain.money.vocabulary import PREFIXES, SUFFIXES


class FoundAmount(Struct, frozen=True):
    """An amount in a sentence, with its place."""

    start: int
    end: int
    parsed: ParsedAmount


# Bounded, never given back in part (`++`) and read in one way only: a text of sixty characters would otherwise hold the
# interpreter, and so the service, for hours (tests/extraction/test_time.py).
_NUMBER = r"[0-9][0-9.,]{0,30}+"
_SCALE = rf"(?:[천백십]*+[조억만]++(?:\s?{_NUMBER})?|[천백십]++(?![조억만])(?:{_NUMBER})?+)"
# Not within a run of digits and commas, nor in a Korean numeral: "천35억" is no 35억.
_START = r"(?<![0-9천백십])(?<![0-9][.,])"
# Broadcasters write 천, 백 and 십 without a digit before them: "천35억 원", "백억 원". "수천억" is no amount.
_HANGUL_START = rf"(?<![0-9가-힣])[천백십]++(?:\s?{_NUMBER})?+(?=\s?[천백십]*+[조억])"
_KOREAN = rf"(?:{_START}{_NUMBER}|{_HANGUL_START})(?:\s?{_SCALE}){{0,12}}\s?여?\s?"
_FIGURE = re.compile(
    rf"""
    (?:US\$|U\.S\.\ ?\$|[A-Z]{{1,2}}\$|[$₩€£¥]|\b(?:USD|KRW|EUR|JPY|GBP|CNY)\ ?)\ ?{_NUMBER}
        (?:[\ -]?(?:thousand|million|billion|trillion|mln|bln|trn|mn|bn|tn|[kmbt]\b))?
    | {_START}{_NUMBER}[\ -]?(?:thousand|million|billion|trillion)[\ -]
        (?:South\ Korean\ won|Korean\ won|won|U\.?S\.?\ dollars|US\ dollars|dollars|euros?|yen|yuan|pounds\ sterling)
    | {_KOREAN}(?:미국\ 달러|미\ 달러|달러|유로|엔|위안|파운드|원)
    """,
    re.VERBOSE | re.IGNORECASE,
)
# The Korean press leaves out 원 before an act: "260억을 투자해".
_BARE_WON = re.compile(rf"{_KOREAN}(?<=[조억만여 ])(?=(?:을|를) (?:투자|투입|들여|출자))")
_PARENTHESES = re.compile(r" ?\([^()]{2,60}\)")


def find_amounts(sentence: str) -> Iterator[FoundAmount]:
    """The amounts of a sentence, each with its qualifier, its basis and the same amount in another currency."""
    behind = 0
    for match in _FIGURE.finditer(sentence):
        if match.start() < behind:
            continue
        found = _longest(sentence, match.start(), match.end(), behind)
        if found is not None:
            behind = found.end
            yield found
    for match in _BARE_WON.finditer(sentence):
        with suppress(AmountParseError):
            yield FoundAmount(match.start(), match.end(), parse(f"{match[0].strip()}원"))


def _longest(sentence: str, start: int, end: int, behind: int) -> FoundAmount | None:
    """The longest text around a figure that is one amount."""
    for first in _starts(sentence, start, behind):
        for last in _ends(sentence, end):
            try:
                return FoundAmount(first, last, parse(sentence[first:last]))
            except AmountParseError:
                continue
    return None


def _starts(sentence: str, start: int, behind: int) -> list[int]:
    """Where an amount may start, the words before the figure included: the longest text first."""
    starts = [start]
    while True:
        head = sentence[behind : starts[-1]].rstrip().casefold()
        word = next((w for w in PREFIXES if head.endswith(w) and not _is_inside_word(head, w)), None)
        if word is None:
            return starts[::-1]
        starts.append(behind + len(head) - len(word))


def _is_inside_word(head: str, word: str) -> bool:
    before = head[: -len(word)][-1:]
    return word[0].isalpha() and before.isalpha()


def _ends(sentence: str, end: int) -> list[int]:
    """Where an amount may end, the words and parentheses after the figure included: the longest text first."""
    ends = [end]
    if parentheses := _PARENTHESES.match(sentence, end):
        ends.append(parentheses.end())
    for stop in list(ends):
        rest = sentence[stop : stop + 20].casefold()
        for word in SUFFIXES:
            if rest.lstrip().startswith(word):
                ends.append(stop + len(rest) - len(rest.lstrip()) + len(word))
                break
    return sorted(set(ends), reverse=True)
