"""Messages of the registry in the reader's language: errors, refusals, rules and warnings with their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from registry.domain.checks.plausibility import Flag, FlagText
from registry.events.values import Amount
from registry.formatting.language import N_
from registry.formatting.values import Names, ValueFormatter, shown
from registry.i18n import Message, render

# The parameters of warnings, by what they are.
_NUMBERS = frozenset({"factor", "high", "kw", "low"})
_DEALS = frozenset({"part", "whole"})
_DAYS = frozenset({"day", "other_day"})

# The errors whose parameters are scopes of an API key.
_SCOPE_ERRORS = frozenset({"forbidden", "forbidden/no_scope"})

# The figures of warnings, as the domain writes them: "about USD 5000000000", "KRW 1–2".
_AMOUNT = re.compile(r"(?:([a-z_]+) )?([A-Z]{3}) (\d+(?:\.\d+)?)(?:–(\d+(?:\.\d+)?))?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class MessageFormatter:
    """Messages in one language."""

    def __init__(self, here: ValueFormatter) -> None:
        self.here = here
        self.language = here.words.language

    def text(self, message: Message) -> str:
        """The text of a message."""
        names_scopes = message.context == "error" and message.code in _SCOPE_ERRORS
        return render(message, self.language, self._scope if names_scopes else self._parameter)

    def flag_text(self, flag: Flag, names: Names | None = None) -> str:
        """The explanation of a warning, with the names of the deals that it mentions."""
        params = {name: self._flag_parameter(name, text, names) for name, text in flag.params.items()}
        return render(FlagText(flag.rule, **params), self.language)

    def figures(self, figures: Mapping[str, str], names: Names | None = None) -> list[tuple[str, str]]:
        """The figures of a warning, each with its name or with the deal and pledge that it belongs to."""
        words = self.here.words
        return [
            (
                words.label("figure", n) if words.has_label("figure", n) else self._deal(n, names),
                self._rate(text, figures) if n.endswith(" rate") else self._figure(n, text),
            )
            for n, text in figures.items()
        ]

    def _rate(self, text: str, figures: Mapping[str, str]) -> str:
        """A rate between the currencies of the two amounts that a warning compares."""
        one, other = (_AMOUNT.fullmatch(figures.get(name, "")) for name in ("stated", "also stated"))
        if not _NUMBER.fullmatch(text):
            return text
        if one is None or other is None or not Decimal(text):
            return self.here.figures.number(rounded(text))
        return self.here.figures.exchange(one[2], other[2], Decimal(text))

    def _scope(self, value: Any) -> str:
        return self.here.words.label("scope", str(value))

    def _parameter(self, value: Any) -> str:
        match value:
            case date():
                return self.here.moment(value)
            case int() | Decimal():
                return self.here.figures.number(value)
            case _:
                return str(value)

    def _flag_parameter(self, name: str, text: str, names: Names | None) -> str:
        if name in _DEALS:
            return self._deal(text, names)
        if name == "until":
            return self.here.figures.edtf_date(text)
        if name in _DAYS:
            return self._day(text)
        return self.here.figures.number(text) if name in _NUMBERS and _NUMBER.fullmatch(text) else text

    def _deal(self, text: str, names: Names | None) -> str:
        """A deal, or one of its pledges (`DEAL/PLEDGE`), by name; of the page's own deal the pledge alone."""
        deal, _, pledge = text.partition("/")
        own = (names or {}).get(f"deal/{deal}") == self.here.words.gettext(N_("this deal"))
        if not own or not pledge:
            return self.here.value(text, "additional_to", names)
        return (names or {}).get(f"pledges/{pledge}", pledge) or self.here.words.gettext(N_("this deal"))

    def _figure(self, name: str, text: str) -> str:
        figures = self.here.figures
        if name == "source":
            return text
        if name == "until":
            return figures.edtf_date(text)
        if _DAY.fullmatch(text):
            return self._day(text)
        if name == "off by" and _NUMBER.fullmatch(text):
            return figures.percent(text)
        if _NUMBER.fullmatch(text):
            return figures.number(text)
        if amount := _AMOUNT.fullmatch(text):
            qualifier, currency, figure, high = amount.groups()
            bounds = {"low": figure, "high": high} if high else {"value": figure}
            return figures.money(Amount(currency=currency, qualifier=qualifier, **bounds))  # type: ignore[arg-type]
        return text

    def _day(self, text: str) -> str:
        try:
            return self.here.figures.day(date.fromisoformat(text))
        except ValueError:
            return text


def rounded(rate: str, digits: int = 5) -> Decimal:
    """A rate with as many significant digits as a reader compares."""
    exact = Decimal(rate)
    return exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1)) if exact else exact


@cache
def messages(language: str) -> MessageFormatter:
    """The formatter of messages in a language."""
    return MessageFormatter(shown(language))
