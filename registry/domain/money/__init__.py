"""Amounts of money as the press writes them, in Korean and in English.

`parse` reads one amount: its figure as an exact decimal, its qualifier, its range, the currency it was also stated in,
and whether it was called additional, annual or a total. It refuses rather than guesses, and says why. It never drops a
word that it does not understand, and never converts (`rates.py`) or adds (`totals.py`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NoReturn, get_args

from msgspec import Struct

from registry.errors import RegistryError
from registry.events.types import Amount, AmountBasis, Currency, Qualifier, StatedAmount


class AmountParseError(RegistryError, ValueError):
    """'{text}' cannot be read as one amount: {why}"""

    # `reason` is the refusal's stable name, such as `currency_missing`.

    def __init__(self, text: str, reason: str, why: str) -> None:
        super().__init__(text=text, reason=reason, why=why)
        self.reason = reason


class Parsed(Struct, frozen=True):
    """An amount as it was written, and whether it was called additional, annual or a total (None: not said)."""

    amount: Amount
    basis: AmountBasis | None = None


def format_decimal(value: Decimal) -> str:
    """An exact decimal as events and answers write it: no exponent, no zeros at the end of a fraction."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# Full-width forms, other spaces and other dashes are typography; what else Unicode calls compatible (10², ½) is not.
_TIDY = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_TIDY |= {ord(c): " " for c in "\t\n\r\u00a0\u2002\u2003\u2009\u200a\u202f\u3000"}
_TIDY |= {ord(c): "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212"} | {ord(c): "~" for c in "\u223c\u301c"}
_TIDY |= {0xFFE6: "₩", 0xFFE5: "¥", 0xFFE1: "£"}

_UNITS = {"조": Decimal(10) ** 12, "억": Decimal(10) ** 8, "만": Decimal(10) ** 4}
_SCALES = {
    "thousand": 3, "k": 3,
    "million": 6, "mln": 6, "mn": 6, "m": 6,
    "billion": 9, "bln": 9, "bn": 9, "b": 9,
    "trillion": 12, "trn": 12, "tn": 12, "t": 12,
}  # fmt: skip

_BEFORE: dict[str, Currency] = {
    "us$": "USD", "u.s.$": "USD", "$": "USD", "a$": "AUD", "au$": "AUD", "c$": "CAD", "ca$": "CAD", "hk$": "HKD",
    "nt$": "TWD", "nz$": "NZD", "r$": "BRL", "s$": "SGD", "₩": "KRW", "€": "EUR", "£": "GBP", "₹": "INR", "jp¥": "JPY",
    "cn¥": "CNY", "rmb": "CNY",
}  # fmt: skip
_AFTER: dict[str, Currency] = {
    "won": "KRW", "korean won": "KRW", "south korean won": "KRW", "us dollars": "USD", "u.s. dollars": "USD",
    "dollars": "USD", "euros": "EUR", "euro": "EUR", "yen": "JPY", "japanese yen": "JPY", "yuan": "CNY",
    "chinese yuan": "CNY", "pounds sterling": "GBP", "australian dollars": "AUD", "canadian dollars": "CAD",
    "hong kong dollars": "HKD", "new zealand dollars": "NZD", "singapore dollars": "SGD", "taiwan dollars": "TWD",
}  # fmt: skip
_AFTER_KO: dict[str, Currency] = {
    "원": "KRW", "달러": "USD", "미 달러": "USD", "미국 달러": "USD", "유로": "EUR", "엔": "JPY", "위안": "CNY",
    "파운드": "GBP", "호주 달러": "AUD", "캐나다 달러": "CAD", "홍콩 달러": "HKD", "뉴질랜드 달러": "NZD",
    "싱가포르 달러": "SGD", "대만 달러": "TWD",
}  # fmt: skip
_CODES: dict[str, Currency] = {code.lower(): code for code in get_args(Currency)}
_BEFORE |= _CODES
_AFTER |= _CODES
_AFTER_KO |= {name.replace(" ", ""): code for name, code in _AFTER_KO.items()}

# What may stand before or after the figure. `q`: qualifier, `b`: basis, `c`: the currency spelled out, `r`: a range.
_PREFIXES: dict[str, tuple[str, str]] = {
    "약": ("q", "about"), "대략": ("q", "about"), "최대": ("q", "up_to"), "최소": ("q", "at_least"),
    "적어도": ("q", "at_least"), "거의": ("q", "nearly"), "근": ("q", "nearly"), "정확히": ("q", "exact"),
    "연간": ("b", "annual"), "매년": ("b", "annual"), "연": ("b", "annual"), "추가로": ("b", "additional"),
    "추가": ("b", "additional"), "총": ("b", "total"), "총액": ("b", "total"), "미화": ("c", "USD"),
    "한화": ("c", "KRW"),
    "about": ("q", "about"), "around": ("q", "about"), "approximately": ("q", "about"), "approx.": ("q", "about"),
    "roughly": ("q", "about"), "some": ("q", "about"), "an estimated": ("q", "about"), "~": ("q", "about"),
    "more than": ("q", "more_than"), "over": ("q", "more_than"), "in excess of": ("q", "more_than"),
    "at least": ("q", "at_least"), "no less than": ("q", "at_least"), "a minimum of": ("q", "at_least"),
    "up to": ("q", "up_to"), "as much as": ("q", "up_to"), "at most": ("q", "up_to"), "a maximum of": ("q", "up_to"),
    "nearly": ("q", "nearly"), "almost": ("q", "nearly"), "close to": ("q", "nearly"), "just under": ("q", "nearly"),
    "exactly": ("q", "exact"), "an additional": ("b", "additional"), "additional": ("b", "additional"),
    "another": ("b", "additional"), "a further": ("b", "additional"), "an extra": ("b", "additional"),
    "annual": ("b", "annual"), "an annual": ("b", "annual"), "a total of": ("b", "total"), "total": ("b", "total"),
    "between": ("r", " and "), "from": ("r", " to "),
}  # fmt: skip
_SUFFIXES: dict[str, tuple[str, str]] = {
    "이상": ("q", "at_least"), "초과": ("q", "more_than"), "넘게": ("q", "more_than"), "남짓": ("q", "more_than"),
    "이하": ("q", "up_to"), "안팎": ("q", "about"), "내외": ("q", "about"), "가량": ("q", "about"),
    "정도": ("q", "about"), "쯤": ("q", "about"), "가까이": ("q", "nearly"), "규모의": ("", ""), "규모": ("", ""),
    "추가": ("b", "additional"),
    "or more": ("q", "at_least"), "+": ("q", "at_least"), "a year": ("b", "annual"), "per year": ("b", "annual"),
    "each year": ("b", "annual"), "every year": ("b", "annual"), "annually": ("b", "annual"),
    "per annum": ("b", "annual"),
    "in total": ("b", "total"), "more": ("b", "additional"),
}  # fmt: skip
# Words that say that there is no figure, or one that no qualifier can carry: named in the refusal.
_VAGUE = re.compile(r"수\s?[십백천만억조]|몇|여러|several|dozens|hundreds of|tens of|a few|billions|trillions|millions")
_BELOW = re.compile(r"미만|못 미치|less than|under|below|fewer than")

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|0|[1-9][0-9]*)(?:\.[0-9]+)?"
_SMALL_KO = re.compile(r"(?:([1-9]?)천 ?)?(?:([1-9]?)백 ?)?(?:([1-9]?)십 ?)?([1-9][0-9]{0,2})?")
_GROUP_KO = re.compile(r"([0-9.,천백십 ]+?) ?(조|억|만) ?")


def _choice(words: dict[str, Currency]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_FIGURE = re.compile(
    rf"""
    (?:(?P<before>{_choice(_BEFORE)})\ ?)?
    (?:
        (?P<number>{_DIGITS})
        (?:(?P<letter>[kmbt])|[\ -]?(?P<word>thousand|million|billion|trillion|mln|mn|bln|bn|trn|tn))?
        (?P<plus>\+)?
        (?:[\ -](?P<after>{_choice(_AFTER)})|\ ?(?P<after_ko>{_choice(_AFTER_KO)}))?
    |
        (?P<korean>[0-9.,천백십조억만\ ]*[천백십조억만](?:\ ?[1-9][0-9]{{0,3}})?)
        (?P<odd>여)?
        (?:\ (?P<after_code>{_choice(_CODES)})|\ ?(?P<after_korean>{_choice(_AFTER_KO)}))?
    )""",
    re.VERBOSE,
)


class _Figure(Struct, frozen=True):
    """One figure: `unit` is the one unit it was written in (None: several), `scaled` whether it had any."""

    value: Decimal
    unit: Decimal | None
    scaled: bool
    currency: Currency | None
    qualifier: Qualifier | None = None


class _AmountParser:
    """One attempt at one text; every refusal names the text and the reason."""

    def __init__(self, text: str) -> None:
        self.text = text

    def refuse(self, reason: str, why: str) -> NoReturn:
        raise AmountParseError(self.text, reason, why)

    def parse(self) -> Parsed:
        words = " ".join(self.text.translate(_TIDY).casefold().split())
        if len(words) > 200:
            self.refuse("too_long", "it is longer than an amount is")
        stated: tuple[StatedAmount, ...] = ()
        if match := re.search(r" ?\(([^()]+)\)", words):
            stated = (self.stated(match[1]),)
            words = (words[: match.start()] + " " + words[match.end() :]).strip()
        core, said = self._strip_modifiers(words)
        qualifier, basis = said.get("q"), said.get("b")
        low, high = self.figures(core, said.get("r"))
        currency = self.currency(said.get("c"), low, high)
        for figure in (low, high):
            if figure is not None and figure.qualifier is not None:
                qualifier = self.one("qualifier", qualifier, figure.qualifier)
        if any(other.currency == currency for other in stated):
            self.refuse("currency_repeated", "the amount in brackets is in the same currency")
        if high is None:
            amount = Amount(currency=currency, value=self.value(low), qualifier=_qualifier(qualifier), stated_as=stated)
            return Parsed(amount, _basis(basis))
        if low.value >= high.value:
            self.refuse("range_backwards", "the range does not go from a lower to a higher figure")
        amount = Amount(
            currency=currency,
            qualifier=_qualifier(qualifier),
            low=self.value(low),
            high=self.value(high),
            stated_as=stated,
        )
        return Parsed(amount, _basis(basis))

    def stated(self, words: str) -> StatedAmount:
        inner = _AmountParser(self.text)
        core, said = inner._strip_modifiers(words.strip())
        figure, high = inner.figures(core, None)
        if high is not None or "b" in said or "r" in said:
            self.refuse("brackets", "the brackets hold more than the same amount in another currency")
        qualifier = said.get("q")
        if figure.qualifier is not None:
            qualifier = self.one("qualifier", qualifier, figure.qualifier)
        currency = inner.currency(said.get("c"), figure, None)
        return StatedAmount(value=inner.value(figure), currency=currency, qualifier=_qualifier(qualifier))

    def _strip_modifiers(self, words: str) -> tuple[str, dict[str, str]]:
        """The figures without what was said around them."""
        said: dict[str, str] = {}
        core = words
        while True:
            found = _prefix(core) or _suffix(core)
            if found is None:
                return core, said
            core, (kind, meaning) = found
            if kind:
                said[kind] = self.one({"q": "qualifier", "b": "basis"}.get(kind, "word"), said.get(kind), meaning)

    def one(self, what: str, before: str | None, now: str) -> str:
        if before is not None and before != now:
            self.refuse(
                "two_bases" if what == "basis" else f"two_{what}s",
                f"it says both '{before}' and '{now}', and an amount has one {what}",
            )
        return now

    def figures(self, core: str, joined_by: str | None) -> tuple[_Figure, _Figure | None]:
        """One figure, or the two ends of a range; a low end without its unit ("3~5조") takes the high end's."""
        figure = None if joined_by else self.figure(core)
        if figure is not None:
            if not figure.scaled and figure.value < 10_000:
                self.refuse("unit_missing", "so small a figure has lost its unit (million, billion, 억, 조)")
            return figure, None
        separators = (joined_by,) if joined_by else ("~", " to ", "에서", "-")
        refused: AmountParseError | None = None
        for at in (match for s in separators for match in re.finditer(re.escape(s), core)):
            try:
                ends = self.ends(core[: at.start()].strip(), core[at.end() :].strip())
            except AmountParseError as error:
                # A hyphen may stand inside of an end, too ("1.125-billion-2 billion").
                refused = refused or error
                continue
            if ends is not None:
                return ends
        if refused is not None:
            raise refused
        return self.explain(core)

    def ends(self, from_: str, to: str) -> tuple[_Figure, _Figure] | None:
        """The two ends of a range, if that is what both are."""
        low, high = self.figure(from_), self.figure(to)
        if low is None or high is None:
            return None
        if high.scaled and not low.scaled:
            if high.unit is None:
                self.refuse("range_unit", "the low end of the range has no unit, and the high end has several")
            low = _Figure(low.value * high.unit, high.unit, True, low.currency, low.qualifier)
        if low.scaled and not high.scaled:
            self.refuse("range_unit", "the high end of the range has no unit")
        if not high.scaled and low.value < 10_000:
            self.refuse("unit_missing", "so small a figure has lost its unit (million, billion, 억, 조)")
        return low, high

    def explain(self, core: str) -> NoReturn:
        if _VAGUE.search(core):
            self.refuse("vague", "it gives no figure: keep its words in `wording` and leave `value` out")
        if _BELOW.search(core):
            self.refuse("below", "no qualifier says 'less than': say 'up to', or give the range")
        if "¥" in core or "元" in core:
            self.refuse("currency_ambiguous", "'¥' is yen or yuan: write JPY or CNY")
        if not re.search(r"[0-9천백십]", core):
            self.refuse("no_figure", "it has no figure")
        if re.search(r"(?:^|[^0-9.,])[-+] ?[^0-9]*[0-9]", core):
            self.refuse("signed", "an amount has no sign")
        if re.search(r"[0-9],[0-9]", core) and not re.search(rf"(?<![0-9.,]){_DIGITS}(?![0-9,])", core):
            self.refuse("digits", "its digits are not grouped by three, so the comma may be a decimal one")
        self.refuse("not_understood", f"'{core}' is not how one amount is written, and nothing is left out of one")

    def figure(self, text: str) -> _Figure | None:
        match = _FIGURE.fullmatch(text)
        if match is None:
            return None
        before, number = match["before"], match["number"]
        after = match["after"] or match["after_ko"] or match["after_korean"] or match["after_code"]
        if before and after:
            return None
        named = (before and _BEFORE[before]) or (after and (_AFTER.get(after) or _AFTER_KO[after])) or None
        odd: Qualifier | None = "more_than" if match["odd"] else None
        if number is None:
            read = _korean(match["korean"])
            return None if read is None else _Figure(read[0], read[1], read[2], named, odd)
        value = Decimal(number.replace(",", ""))
        scale = match["letter"] or match["word"]
        if scale is None:
            if "." in number and len(number.rpartition(".")[2]) == 3:
                self.refuse("digits", "without a unit, a point before three digits may group thousands")
            return _Figure(value, None, False, named, "at_least" if match["plus"] else None)
        unit = Decimal(10) ** _SCALES[scale]
        return _Figure(value * unit, unit, True, named, "at_least" if match["plus"] else None)

    def currency(self, spelled: str | None, low: _Figure, high: _Figure | None) -> Currency:
        named = {c for c in (spelled, low.currency, high and high.currency) if c}
        if not named:
            self.refuse("currency_missing", "it names no currency")
        if len(named) > 1:
            self.refuse("two_currencies", f"it names several currencies ({', '.join(sorted(named))})")
        return _CODES[named.pop().lower()]

    def value(self, figure: _Figure) -> str:
        text = format_decimal(figure.value)
        whole, _, fraction = text.partition(".")
        if figure.value == 0:
            self.refuse("zero", "an amount that is not stated is absent, not zero")
        if len(whole) > 18 or len(fraction) > 6:
            self.refuse("out_of_range", "an amount has at most 18 digits before the point and 6 after it")
        return text


def parse(text: str) -> Parsed:
    """The one amount that `text` writes, in Korean or English.

    Reads qualifiers (약, 최대, 이상, more than, nearly …), Korean units (조 10^12, 억 10^8, 만 10^4, 천 within them),
    English ones (short scale), ranges, annual and additional amounts, and the same amount in another currency in
    brackets. A bare "$" or "달러" is the US dollar. Raises AmountUnreadable, with the reason, for everything that
    could be read in two ways.
    """
    return _AmountParser(text).parse()


def _korean(text: str) -> tuple[Decimal, Decimal | None, bool] | None:
    """Value, the one unit (None: several), and whether there is any 조, 억 or 만; None when it is no Korean numeral."""
    total, position, groups = Decimal(0), 0, 0
    last: Decimal | None = None
    while match := _GROUP_KO.match(text, position):
        unit = _UNITS[match[2]]
        coefficient = _small(match[1].strip())
        if coefficient is None or (last is not None and (unit >= last or coefficient * unit >= last)):
            return None
        total += coefficient * unit
        position, last, groups = match.end(), unit, groups + 1
        if coefficient != int(coefficient) and position < len(text):
            return None
    tail = text[position:].strip()
    if not tail:
        return (total, last if groups == 1 else None, True) if groups else None
    rest = _small(tail)
    if rest is None or rest != int(rest) or (last is not None and rest >= last):
        return None
    return total + rest, None, groups > 0


def _small(text: str) -> Decimal | None:
    """A figure before 조, 억 or 만: digits, or digits with 천, 백 and 십 ("2천661"); a decimal only by itself."""
    if re.fullmatch(_DIGITS, text):
        return Decimal(text.replace(",", ""))
    match = _SMALL_KO.fullmatch(text)
    if match is None or not re.search("[천백십]", text):
        return None
    total, lowest = 0, 10_000
    for named, power, word in zip(match.groups()[:3], (1000, 100, 10), "천백십", strict=True):
        if word in text:
            total += int(named or 1) * power
            lowest = power
    rest = int(match[4] or 0)
    return Decimal(total + rest) if rest < lowest else None


def _prefix(core: str) -> tuple[str, tuple[str, str]] | None:
    for word in _LONGEST_PREFIXES:
        if core.startswith(word):
            rest = core[len(word) :]
            # An English word ends where a letter does not follow; a Korean one may stand against the figure.
            if word[-1].isascii() and word[-1].isalpha() and rest[:1].isalnum():
                continue
            return rest.lstrip(), _PREFIXES[word]
    return None


def _suffix(core: str) -> tuple[str, tuple[str, str]] | None:
    for word in _LONGEST_SUFFIXES:
        if core.endswith(word):
            rest = core[: -len(word)]
            if word[0].isascii() and word[0].isalpha() and rest[-1:] not in (" ", "-"):
                continue
            return rest.rstrip(), _SUFFIXES[word]
    return None


_LONGEST_PREFIXES = sorted(_PREFIXES, key=len, reverse=True)
_LONGEST_SUFFIXES = sorted(_SUFFIXES, key=len, reverse=True)
_QUALIFIERS: dict[str, Qualifier] = {q: q for q in get_args(Qualifier)}
_BASES: dict[str, AmountBasis] = {b: b for b in get_args(AmountBasis)}


def _qualifier(said: str | None) -> Qualifier | None:
    return _QUALIFIERS[said] if said else None


def _basis(said: str | None) -> AmountBasis | None:
    return _BASES[said] if said else None
