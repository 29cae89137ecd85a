"""Parses one amount as it is written in the press, in Korean or English.

The parser accepts a text only if it has one meaning, and uses every word of it. It neither converts (`rates.py`) nor
adds (`totals/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn, assert_never, get_args

from msgspec import Struct

from registry.domain.money.formatting import format_decimal
from registry.domain.money.korean_numerals import KoreanNumeral, parse_korean_numeral
from registry.domain.money.vocabulary import (
    BELOW,
    CURRENCIES_AFTER,
    CURRENCIES_BEFORE,
    CURRENCY_CODES,
    DIGITS,
    KOREAN_CURRENCIES,
    PREFIXES,
    SCALES,
    SUFFIXES,
    TYPOGRAPHY,
    VAGUE,
    Modifier,
    ModifierKind,
)
from registry.events.currencies import Currency
from registry.events.values import Amount, AmountBasis, Qualifier, StatedAmount
from registry.i18n import Message

MAX_LENGTH = 200
SMALLEST_WITHOUT_UNIT = 10_000


class AmountProblem(Message):
    """Why a text is not one amount."""

    context = "amount"


class AmountParseError(ValueError):
    """A text cannot be read as one amount. `message` is a text for readers; `reason` is the code of its problem."""

    def __init__(self, text: str, problem: AmountProblem) -> None:
        self.message = AmountProblem("unreadable", text=text, problem=problem)
        self.reason = problem.code
        super().__init__(str(self.message))


class ParsedAmount(Struct, frozen=True):
    """An amount, and whether the text calls it additional, annual or a total (None: none of them).

    `names_currency` is false where the text names none.
    """

    amount: Amount
    basis: AmountBasis | None = None
    names_currency: bool = True


def parse(text: str, otherwise: Currency | None = None, unit: Decimal | None = None) -> ParsedAmount:
    """Parse the one amount that `text` states.

    Supported are qualifiers (약, 최대, 이상, more than, nearly …), Korean units (조 10^12, 억 10^8, 만 10^4, 천 within
    them), English units (short scale), ranges, annual and additional amounts, and the same amount in another currency
    in parentheses. A bare "$" or "달러" is the US dollar.

    Args:
        text: The text.
        otherwise: The currency of a text that names none; None: such a text is refused.
        unit: The unit of figures that have neither a unit nor a currency, such as those of a column of millions. A
            figure that has only a currency ("$12,000") is then refused, because it may be in that unit or not. It is
            also the unit of the last part of "3조 5,000" if it is the unit below 조.

    Raises:
        AmountParseError: The text has no amount, several, or more than one possible meaning.
    """
    return _AmountParser(text, unit).parse(otherwise)


def _alternatives(words: Mapping[str, Currency]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_FIGURE = re.compile(
    rf"""
    (?:(?P<before>{_alternatives(CURRENCIES_BEFORE)})\ ?)?
    (?:
        (?P<number>{DIGITS})
        (?:(?P<letter>[kmbt])|[\ -]?(?P<word>thousand|million|billion|trillion|mln|mn|bln|bn|trn|tn))?
        (?P<plus>\+)?
        (?:[\ -](?P<after>{_alternatives(CURRENCIES_AFTER)})|\ ?(?P<after_ko>{_alternatives(KOREAN_CURRENCIES)}))?
    |
        (?P<korean>[0-9.,천백십조억만\ ]*[천백십조억만](?:\ ?[1-9](?:[0-9]{{0,3}}|,[0-9]{{3}}))?)
        (?P<odd>여)?
        (?:\ (?P<after_code>{_alternatives(CURRENCY_CODES)})|\ ?(?P<after_korean>{_alternatives(KOREAN_CURRENCIES)}))?
    )""",
    re.VERBOSE,
)


class _ParsedFigure(Struct, frozen=True):
    """One figure. `unit` is its only unit (None: none or several), `scaled` whether it has any."""

    value: Decimal
    unit: Decimal | None
    scaled: bool
    currency: Currency | None
    qualifier: Qualifier | None = None


class _AmountParser:
    """Parses one text. `text` is the whole input, which errors quote; `unit` is the unit of figures without one."""

    def __init__(self, text: str, unit: Decimal | None) -> None:
        self.text = text
        self.unit = unit

    def refuse(self, problem: AmountProblem) -> NoReturn:
        raise AmountParseError(self.text, problem)

    def parse(self, otherwise: Currency | None) -> ParsedAmount:
        words = " ".join(self.text.translate(TYPOGRAPHY).casefold().split())
        if len(words) > MAX_LENGTH:
            self.refuse(AmountProblem("too_long"))
        stated_as: tuple[StatedAmount, ...] = ()
        if match := re.search(r" ?\(([^()]+)\)", words):
            stated_as = (self.parse_parentheses(match[1]),)
            words = (words[: match.start()] + " " + words[match.end() :]).strip()
        core, modifiers = self.strip_modifiers(words)
        low, high = self.parse_figures(core, modifiers.get("range"))
        named = self.resolve_currency(modifiers.get("currency"), low, high)
        low, high = self.in_unit(low, named), high and self.in_unit(high, named)
        currency = named or otherwise
        if currency is None:
            self.refuse(AmountProblem("currency_missing"))
        for figure in (low, high):
            if figure is not None and figure.qualifier is not None:
                self.set_modifier(modifiers, "qualifier", figure.qualifier)
        if any(other.currency == named for other in stated_as):
            self.refuse(AmountProblem("currency_repeated"))
        qualifier, basis = _qualifier(modifiers), _basis(modifiers)
        if high is None:
            value = self.format_value(low)
            amount = Amount(currency=currency, value=value, qualifier=qualifier, stated_as=stated_as)
            return ParsedAmount(amount, basis, named is not None)
        if low.value >= high.value:
            self.refuse(AmountProblem("range_backwards"))
        bounds = self.format_value(low), self.format_value(high)
        amount = Amount(currency=currency, qualifier=qualifier, low=bounds[0], high=bounds[1], stated_as=stated_as)
        return ParsedAmount(amount, basis, named is not None)

    def parse_parentheses(self, words: str) -> StatedAmount:
        """The amount in parentheses: one figure with its currency, and at most a qualifier."""
        core, modifiers = self.strip_modifiers(words.strip())
        figure, high = self.parse_figures(core, None)
        if high is not None or "basis" in modifiers or "range" in modifiers:
            self.refuse(AmountProblem("brackets"))
        if self.unit is not None and not figure.scaled:
            self.refuse(AmountProblem("unit_missing"))
        if figure.qualifier is not None:
            self.set_modifier(modifiers, "qualifier", figure.qualifier)
        currency = self.resolve_currency(modifiers.get("currency"), figure, None)
        if currency is None:
            self.refuse(AmountProblem("currency_missing"))
        return StatedAmount(value=self.format_value(figure), currency=currency, qualifier=_qualifier(modifiers))

    # --- modifiers ----------------------------------------------------------------------------------------------------

    def strip_modifiers(self, words: str) -> tuple[str, dict[ModifierKind, str]]:
        """The text without the words around its figures, and the meaning of those words."""
        modifiers: dict[ModifierKind, str] = {}
        core = words
        while stripped := _strip_prefix(core) or _strip_suffix(core):
            core, (kind, meaning) = stripped
            if kind != "ignored":
                self.set_modifier(modifiers, kind, meaning)
        return core, modifiers

    def set_modifier(self, modifiers: dict[ModifierKind, str], kind: ModifierKind, meaning: str) -> None:
        one, two = modifiers.setdefault(kind, meaning), meaning
        if one == two:
            return
        match kind:
            case "qualifier":
                self.refuse(AmountProblem("two_qualifiers", one=one, two=two))
            case "basis":
                self.refuse(AmountProblem("two_bases", one=one, two=two))
            case "currency":
                self.refuse(AmountProblem("two_currencies", currencies=", ".join(sorted((one, two)))))
            case "range":
                self.refuse(AmountProblem("two_ranges", one=one.strip(), two=two.strip()))
            case "ignored":
                return
            case _:
                assert_never(kind)

    # --- figures ------------------------------------------------------------------------------------------------------

    def parse_figures(self, core: str, separator: str | None) -> tuple[_ParsedFigure, _ParsedFigure | None]:
        """One figure, or the two of a range. A lower figure without a unit ("3~5조") has that of the higher one."""
        figure = None if separator else self.parse_figure(core)
        if figure is not None:
            if self.is_too_small(figure):
                self.refuse(AmountProblem("unit_missing"))
            return figure, None
        separators = (separator,) if separator else ("~", " to ", "에서", "-")
        first_error: AmountParseError | None = None
        for match in (match for s in separators for match in re.finditer(re.escape(s), core)):
            try:
                bounds = self.parse_bounds(core[: match.start()].strip(), core[match.end() :].strip())
            except AmountParseError as error:
                # A hyphen may also be part of a figure ("1.125-billion-2 billion"): try the next one.
                first_error = first_error or error
                continue
            if bounds is not None:
                return bounds
        if first_error is not None:
            raise first_error
        return self.refuse_unreadable(core)

    def parse_bounds(self, lower: str, higher: str) -> tuple[_ParsedFigure, _ParsedFigure] | None:
        """The two figures of a range; None if one of them is not a figure."""
        low, high = self.parse_figure(lower), self.parse_figure(higher)
        if low is None or high is None:
            return None
        if high.scaled and not low.scaled:
            if high.unit is None:
                self.refuse(AmountProblem("range_low_unit"))
            low = _ParsedFigure(low.value * high.unit, high.unit, True, low.currency, low.qualifier)
        if low.scaled and not high.scaled:
            self.refuse(AmountProblem("range_high_unit"))
        if self.is_too_small(low):
            self.refuse(AmountProblem("unit_missing"))
        return low, high

    def in_unit(self, figure: _ParsedFigure, named: Currency | None) -> _ParsedFigure:
        """A figure in the unit of figures without one."""
        if self.unit is None or figure.scaled:
            return figure
        if named is not None:
            self.refuse(AmountProblem("unit_missing"))
        return _ParsedFigure(figure.value * self.unit, self.unit, True, None, figure.qualifier)

    def is_too_small(self, figure: _ParsedFigure) -> bool:
        """Whether a figure is so small that its unit must have been left out, if the text has no other."""
        return self.unit is None and not figure.scaled and figure.value < SMALLEST_WITHOUT_UNIT

    def refuse_unreadable(self, core: str) -> NoReturn:
        """Refuse a text that is neither a figure nor a range, with the most specific reason."""
        if VAGUE.search(core):
            self.refuse(AmountProblem("vague"))
        if BELOW.search(core):
            self.refuse(AmountProblem("below"))
        if "¥" in core or "元" in core:
            self.refuse(AmountProblem("currency_ambiguous"))
        if not re.search(r"[0-9천백십]", core):
            self.refuse(AmountProblem("no_figure"))
        if re.search(r"(?:^|[^0-9.,])[-+] ?[^0-9]*[0-9]", core):
            self.refuse(AmountProblem("signed"))
        if re.search(r"[0-9],[0-9]", core) and not re.search(rf"(?<![0-9.,]){DIGITS}(?![0-9,])", core):
            self.refuse(AmountProblem("digits_grouping"))
        self.refuse(AmountProblem("not_understood", core=core))

    def parse_figure(self, text: str) -> _ParsedFigure | None:
        """One figure with its unit and currency; None if the text is not one."""
        match = _FIGURE.fullmatch(text)
        if match is None:
            return None
        before, number = match["before"], match["number"]
        after = match["after"] or match["after_ko"] or match["after_korean"] or match["after_code"]
        if before and after:
            return None
        currency = (
            (before and CURRENCIES_BEFORE[before])
            or (after and (CURRENCIES_AFTER.get(after) or KOREAN_CURRENCIES[after]))
            or None
        )
        if number is None:
            numeral = parse_korean_numeral(match["korean"])
            qualifier: Qualifier | None = "more_than" if match["odd"] else None
            if numeral is None:
                return None
            return _ParsedFigure(self.value_of(numeral, currency), numeral.unit, numeral.scaled, currency, qualifier)
        qualifier = "at_least" if match["plus"] else None
        value = Decimal(number.replace(",", ""))
        scale = match["letter"] or match["word"]
        if scale is None:
            if "." in number and len(number.rpartition(".")[2]) == 3:
                self.refuse(AmountProblem("digits_point"))
            return _ParsedFigure(value, None, False, currency, qualifier)
        unit = Decimal(10) ** SCALES[scale]
        return _ParsedFigure(value * unit, unit, True, currency, qualifier)

    def value_of(self, numeral: KoreanNumeral, currency: Currency | None) -> Decimal:
        """The value of a Korean numeral. Its last part without a unit must have one meaning.

        "3조 5,000" is 3조 5,000억 in a column of 억; elsewhere it may be that or 3조 and 5,000.
        """
        rest, unit = numeral.rest, numeral.next_unit
        if rest is None:
            return numeral.value
        if currency is None and unit == (self.unit or 1):
            return numeral.value - rest + rest * unit
        if currency is not None and (self.unit is None or unit == 1):
            return numeral.value
        return self.refuse(AmountProblem("rest_unit", rest=format_decimal(rest)))

    def resolve_currency(
        self, spelled_out: str | None, low: _ParsedFigure, high: _ParsedFigure | None
    ) -> Currency | None:
        currencies = {c for c in (spelled_out, low.currency, high and high.currency) if c}
        if not currencies:
            return None
        if len(currencies) > 1:
            self.refuse(AmountProblem("two_currencies", currencies=", ".join(sorted(currencies))))
        return CURRENCY_CODES[currencies.pop().lower()]

    def format_value(self, figure: _ParsedFigure) -> str:
        text = format_decimal(figure.value)
        whole, _, fraction = text.partition(".")
        if figure.value == 0:
            self.refuse(AmountProblem("zero"))
        if len(whole) > 18 or len(fraction) > 6:
            self.refuse(AmountProblem("out_of_range"))
        return text


def _strip_prefix(core: str) -> tuple[str, Modifier] | None:
    for word, modifier in PREFIXES.items():
        if core.startswith(word):
            rest = core[len(word) :]
            # An English word must end before the next letter; a Korean one may directly precede the figure.
            if word[-1].isascii() and word[-1].isalpha() and rest[:1].isalnum():
                continue
            return rest.lstrip(), modifier
    return None


def _strip_suffix(core: str) -> tuple[str, Modifier] | None:
    for word, modifier in SUFFIXES.items():
        if core.endswith(word):
            rest = core[: -len(word)]
            if word[0].isascii() and word[0].isalpha() and rest[-1:] not in (" ", "-"):
                continue
            return rest.rstrip(), modifier
    return None


_QUALIFIERS: dict[str, Qualifier] = {q: q for q in get_args(Qualifier)}
_BASES: dict[str, AmountBasis] = {b: b for b in get_args(AmountBasis)}


def _qualifier(modifiers: Mapping[ModifierKind, str]) -> Qualifier | None:
    return _QUALIFIERS[modifiers["qualifier"]] if "qualifier" in modifiers else None


def _basis(modifiers: Mapping[ModifierKind, str]) -> AmountBasis | None:
    return _BASES[modifiers["basis"]] if "basis" in modifiers else None
