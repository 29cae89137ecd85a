"""Walks pages and compares what they show with the API's answers to the same questions.

A page's figures are explained by the API's answer if each amount of money and each capacity in its text is one of the
answer's, as the language writes it. A figure that the answer does not have is a failure. Labels, stages, flags and
kinds of change are marked in the HTML (`data-label`, `data-stage`, `data-flag`, `data-what`), so they are compared one
by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

import msgspec

from registry.domain.money.rates import Rate
from registry.events.values import Amount, StatedAmount
from registry.formatting.numbers import NumberFormatter, figures
from tests.web.html import plain

MONEY = {
    "en": re.compile(r"(?:US\$|[₩€¥£]|\b(?:USD|KRW|EUR|JPY|GBP|CNY) )\s?\d[\d.,]*\w*"),
    "ko": re.compile(r"\d[\d.,]*(?:조|억|만)?(?: [\d,]+(?:조|억|만)?)* ?(?:달러|원|유로|엔)(?![가-힣])"),
}
CAPACITY = re.compile(r"\d[\d.,]* (?:MW|GPUs?)\b|\bGPU [^|·]*?\d[\d.,]*만?(?: [\d,]+)? ?개")
VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
CHART = "chart"
"""The class of drawings and their tables: tests/web/test_charts.py compares these with the totals of each day."""


class Marked(msgspec.Struct):
    """An element with data attributes: its name, attributes, and text."""

    attributes: dict[str, str]
    text: str = ""


class PageParser(HTMLParser):
    """The text of a page's main part outside of charts, and its marked elements in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.marked: list[Marked] = []
        self._texts: list[str] = []
        self._open: list[tuple[str, Marked | None, bool]] = []
        self.feed(html[html.index("<main") : html.index("</main>")])
        for one in self.marked:
            one.text = plain(one.text)

    @property
    def text(self) -> str:
        return plain("".join(self._texts))

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute, in the order of the page."""
        return [one.attributes[attribute] for one in self.marked if attribute in one.attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        attributes = {name: value or "" for name, value in attrs}
        is_hidden = self._is_hidden or bool(
            {CHART, "stepped", "moves", "legend", "unseen"} & set(attributes.get("class", "").split())
        )
        marked = Marked({name: v for name, v in attributes.items() if name.startswith("data-") or name == "id"})
        if any(name.startswith("data-") for name in marked.attributes) and not is_hidden:
            self.marked.append(marked)
        self._open.append((tag, marked, is_hidden or tag in ("svg", "script", "select", "title", "details")))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            opened, _, _ = self._open.pop()
            if opened == tag:
                break
        if tag in ("p", "li", "td", "th", "dd", "dt", "tr", "div", "h1", "h2", "h3"):
            self._texts.append(" | ")

    def handle_data(self, data: str) -> None:
        for _, marked, _ in self._open:
            if marked is not None:
                marked.text += data
        if not self._is_hidden:
            self._texts.append(data)

    @property
    def _is_hidden(self) -> bool:
        return bool(self._open) and self._open[-1][2]


@lru_cache(maxsize=4)
def parsed(html: str) -> PageParser:
    """A page, parsed once for all comparisons."""
    return PageParser(html)


def unexplained(html: str, language: str, *answers: Any, known: frozenset[str] = frozenset()) -> list[str]:
    """The amounts and capacities in a page's text that none of the API's answers has; `known` are figures of others."""
    text = parsed(html).text
    explained = (known | figures_of(language, answers)) - {""}
    for figure in sorted((one for one in explained if one in text), key=len, reverse=True):
        text = text.replace(figure, "□")
    return MONEY[language].findall(text) + CAPACITY.findall(text)


def figures_of(language: str, answer: Any) -> set[str]:
    """Every figure of an answer as a page writes it, with plain spaces."""
    return set(map(plain, _figures(figures(language), answer)))


def _figures(formatter: NumberFormatter, answer: Any) -> Iterator[str]:
    """Every figure of an answer as a page writes it."""
    if isinstance(answer, (list, tuple)):
        for item in answer:
            yield from _figures(formatter, item)
    elif isinstance(answer, dict):
        if isinstance(answer.get("currency"), str):
            yield from _of_money(formatter, answer)
        if "to_per_eur" in answer:
            rate = msgspec.convert(answer, Rate, strict=False)
            yield from (formatter.rate(rate), formatter.exact_rate(rate))
        if isinstance(answer.get("figures"), dict):
            yield from _compared(formatter, answer["figures"])
        yield from _capacities(formatter, answer)
        for value in answer.values():
            yield from _figures(formatter, value)


_STATED = re.compile(r"(?:(about|at_least|more_than|nearly|up_to) )?([A-Z]{3}) ([0-9.]+)")


def _compared(formatter: NumberFormatter, compared: dict[str, str]) -> Iterator[str]:
    """The amounts that a flag compares, such as "about USD 9000000000", and the rates between their currencies."""
    amounts = _STATED.findall(" ".join(compared.values()))
    for qualifier, currency, value in amounts:
        yield from _of_money(formatter, {"currency": currency, "value": value, "qualifier": qualifier or None})
    for name, value in compared.items():
        if name.endswith(" rate"):
            [(_, one, _), (_, other, _)] = amounts
            yield formatter.exchange(one, other, Decimal(value))


def _capacities(formatter: NumberFormatter, answer: dict[str, Any]) -> Iterator[str]:
    """The capacities of an item, of a claim or of a change, which has them by themselves."""
    for name in ("power_mw", "gpus", "value", "before", "after"):
        if re.fullmatch(r"[0-9.]+", str(answer.get(name))):
            yield f"{formatter.number(answer[name])} MW"
            gpus = formatter.measure(answer[name], None, "GPU")
            # Where Korean puts the qualifier, the number with its counter stands alone.
            yield from (gpus, gpus.replace("\u00a0", " ").removeprefix("GPU "))


def _of_money(formatter: NumberFormatter, amount: dict[str, Any]) -> Iterator[str]:
    if "nature" in amount and "low_open" in amount:
        yield formatter.interval(
            amount["low"], amount["high"], amount["currency"], amount["low_open"], amount["high_open"]
        )
        return
    if "rule" in amount or "operation" in amount:
        for bound in (amount.get("low"), amount.get("high")):
            if bound is not None:
                yield formatter.currency_amount(bound, amount["currency"], 4)
        if "low_open" not in amount and amount.get("low") is not None and amount.get("high") is not None:
            yield formatter.interval(amount["low"], amount["high"], amount["currency"])
        return
    if not ("value" in amount or "low" in amount or "high" in amount):
        return
    kind: type[Amount] | type[StatedAmount] = Amount if "stated_as" in amount or "low" in amount else StatedAmount
    given = {name: v for name, v in amount.items() if name in kind.__struct_fields__ and v is not None and v != []}
    stated: Amount | StatedAmount = msgspec.convert(given, kind)
    yield formatter.money(stated)
    for basis in ("additional", "annual"):
        yield formatter.money(stated, basis)


def expected_amount(language: str, amount: dict[str, Any] | None, basis: str | None) -> str:
    """An amount of the API as a page writes it."""
    if amount is None:
        return figures(language).money(None)
    given = {name: value for name, value in amount.items() if value is not None and value != []}
    return plain(figures(language).money(msgspec.convert(given, Amount), basis))
