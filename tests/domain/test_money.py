"""Amounts are parsed as the press writes them, or refused with a reason."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from registry.domain.money import AmountParseError, AmountProblem, ParsedAmount, format_decimal, parse
from registry.events.currencies import Currency
from registry.events.values import Amount, StatedAmount
from registry.i18n import LANGUAGES, render


def amount(currency: Currency, value: str | None = None, **more: Any) -> Amount:
    return Amount(currency=currency, value=value, **more)


# --- parsing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("약 2조4천억 원", ParsedAmount(amount("KRW", "2400000000000", qualifier="about"))),
        ("50억 달러", ParsedAmount(amount("USD", "5000000000"))),
        ("6.6억 달러", ParsedAmount(amount("USD", "660000000"))),
        ("$5bn", ParsedAmount(amount("USD", "5000000000"))),
        ("US$5bn", ParsedAmount(amount("USD", "5000000000"))),
        ("more than $5 billion", ParsedAmount(amount("USD", "5000000000", qualifier="more_than"))),
        ("₩7 trillion", ParsedAmount(amount("KRW", "7000000000000"))),
        ("연간 1천억 원", ParsedAmount(amount("KRW", "100000000000"), "annual")),
        ("약 20조 원 규모", ParsedAmount(amount("KRW", "20000000000000", qualifier="about"))),
        ("18조 2,000억원", ParsedAmount(amount("KRW", "18200000000000"))),
        ("최대 5조원", ParsedAmount(amount("KRW", "5000000000000", qualifier="up_to"))),
        ("5조 원 이상", ParsedAmount(amount("KRW", "5000000000000", qualifier="at_least"))),
        ("20조여 원", ParsedAmount(amount("KRW", "20000000000000", qualifier="more_than"))),
        ("2천661억 원", ParsedAmount(amount("KRW", "266100000000"))),
        ("1억 2345만 6789원", ParsedAmount(amount("KRW", "123456789"))),
        ("５０억　달러", ParsedAmount(amount("USD", "5000000000"))),
        ("nearly $5bn", ParsedAmount(amount("USD", "5000000000", qualifier="nearly"))),
        ("up to 7 trillion won", ParsedAmount(amount("KRW", "7000000000000", qualifier="up_to"))),
        ("at least EUR 1.5bn", ParsedAmount(amount("EUR", "1500000000", qualifier="at_least"))),
        ("US$5bn+", ParsedAmount(amount("USD", "5000000000", qualifier="at_least"))),
        ("an additional $5bn", ParsedAmount(amount("USD", "5000000000"), "additional")),
        ("추가로 50억 달러", ParsedAmount(amount("USD", "5000000000"), "additional")),
        ("$5 billion a year", ParsedAmount(amount("USD", "5000000000"), "annual")),
        ("a total of 500,000 euros", ParsedAmount(amount("EUR", "500000"), "total")),
        ("3~5조 원", ParsedAmount(amount("KRW", low="3000000000000", high="5000000000000"))),
        ("약 1천~2천억 원", ParsedAmount(amount("KRW", low="100000000000", high="200000000000", qualifier="about"))),
        ("3조에서 5조 원", ParsedAmount(amount("KRW", low="3000000000000", high="5000000000000"))),
        ("between $3bn and $5bn", ParsedAmount(amount("USD", low="3000000000", high="5000000000"))),
        ("from $3bn to $5bn", ParsedAmount(amount("USD", low="3000000000", high="5000000000"))),
        ("$3-5bn", ParsedAmount(amount("USD", low="3000000000", high="5000000000"))),
        (
            "50억 달러(약 7조 원) 추가",
            ParsedAmount(
                amount(
                    "USD",
                    "5000000000",
                    stated_as=(StatedAmount(value="7000000000000", currency="KRW", qualifier="about"),),
                ),
                "additional",
            ),
        ),
        (
            "약 2조4천억 원(미화 약 18억 달러)",
            ParsedAmount(
                amount(
                    "KRW",
                    "2400000000000",
                    qualifier="about",
                    stated_as=(StatedAmount(value="1800000000", currency="USD", qualifier="about"),),
                )
            ),
        ),
    ],
)
def test_parse_reads_amounts_as_the_press_writes_them(text: str, meant: ParsedAmount) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("several trillion won", "vague"),
        ("수조 원", "vague"),
        ("몇 천억 원", "vague"),
        ("billions of dollars", "vague"),
        ("$5", "unit_missing"),
        ("9,000원", "unit_missing"),
        ("3~5 달러", "unit_missing"),
        ("5b", "currency_missing"),
        ("5조", "currency_missing"),
        ("$1.234", "digits_point"),
        ("1,5 billion won", "digits_grouping"),
        ("€1.234.567", "not_understood"),
        ("¥5bn", "currency_ambiguous"),
        ("-$5bn", "signed"),
        ("−5조 원", "signed"),
        ("$900-1bn", "range_backwards"),
        ("$5bn-$5bn", "range_backwards"),
        ("5~1조 5천억 원", "range_low_unit"),
        ("$3bn-5", "range_high_unit"),
        ("between $3bn to $5bn", "not_understood"),
        ("under $5bn", "below"),
        ("5조 원 미만", "below"),
        ("약 5조 원 이상", "two_qualifiers"),
        ("연간 추가 5조 원", "two_bases"),
        ("미화 5조 원", "two_currencies"),
        ("미화 한화 5조", "two_currencies"),
        ("between from $3bn to $5bn", "two_ranges"),
        ("$3bn-€5bn", "two_currencies"),
        ("US$5bn (US$6bn)", "currency_repeated"),
        ("US$5bn (3~5조 원)", "brackets"),
        ("US$5bn (in Korea)", "no_figure"),
        ("$5bn over five years", "not_understood"),
        ("2.4조 5천억 원", "not_understood"),
        ("2조 40000억 원", "not_understood"),
        ("5억 3조 원", "not_understood"),
        ("007bn won", "not_understood"),
        ("10²억 원", "not_understood"),
        ("½bn won", "no_figure"),
        ("5 apples", "not_understood"),
        ("won $5bn", "not_understood"),
        ("0억 원", "zero"),
        ("9,999,999 trillion won", "out_of_range"),
        ("", "no_figure"),
        ("won", "no_figure"),
        ("$5bn" + " " * 3 + "x" * 300, "too_long"),
    ],
)
def test_parse_refuses_ambiguous_and_unreadable_texts(text: str, reason: str) -> None:
    with pytest.raises(AmountParseError) as refused:
        parse(text)
    assert refused.value.reason == reason
    problem = refused.value.message.params["problem"]
    assert isinstance(problem, AmountProblem)
    for language in LANGUAGES:
        assert render(problem, language) in render(refused.value.message, language)


EOK, MAN, MILLION = Decimal(10) ** 8, Decimal(10) ** 4, Decimal(10) ** 6


@pytest.mark.parametrize("rest", ["5,000", "5000", "5천"])
def test_last_part_without_a_unit_has_that_of_its_column_if_it_is_the_next_lower_one(rest: str) -> None:
    for gap in ("", " "):
        assert parse(f"3조{gap}{rest}", "KRW", EOK).amount == amount("KRW", "3500000000000")
        assert parse(f"2억{gap}{rest}", "KRW", MAN).amount == amount("KRW", "250000000")
        assert parse(f"1만{gap}{rest}", "KRW").amount == amount("KRW", "15000")
    between = parse(f"약 3조~3조 {rest}", "KRW", EOK).amount
    assert between == amount("KRW", low="3000000000000", high="3500000000000", qualifier="about")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("3조 5,000", None),
        ("3조 5천", None),
        ("3조 5000", MILLION),
        ("3조 5,000", MAN),
        ("2억 5,000", EOK),
        ("1만 5,000", EOK),
        ("3조 5000원", EOK),
        ("3조 5,000~4조", MILLION),
    ],
)
def test_last_part_without_a_unit_is_refused_if_its_unit_is_not_known(text: str, unit: Decimal | None) -> None:
    with pytest.raises(AmountParseError) as refused:
        parse(text, "KRW", unit)
    assert refused.value.reason == "rest_unit"
    assert "5000" in render(refused.value.message, "ko")


def test_last_part_in_ones_may_name_its_currency() -> None:
    assert parse("1억 2,345만 6,789원", "KRW", EOK).amount == amount("KRW", "123456789")


def test_6_6_eok_dollars_are_660_million() -> None:
    assert parse("6.6억 달러").amount.value == "660000000"
    assert parse("$6.6 billion").amount.value == "6600000000"


def test_one_jo_is_ten_thousand_eok() -> None:
    assert parse("1조 원").amount == parse("10,000억 원").amount
    assert parse("1억 원").amount == parse("10,000만 원").amount
    assert parse("1천억 원").amount == parse("0.1조 원").amount


# --- a grammar that generates amounts ---------------------------------------------------------------------------------

_SIGNS: dict[Currency, tuple[list[str], list[str], list[str]]] = {
    # before the figure, after an English one, after a Korean one
    "USD": (["$", "US$", "USD "], [" dollars", " US dollars", " USD"], [" 달러", "달러", " 미국 달러"]),
    "KRW": (["₩", "KRW "], [" won", "-won", " Korean won", " KRW"], [" 원", "원"]),
    "EUR": (["€", "EUR "], [" euros", " EUR"], [" 유로", "유로"]),
    "JPY": (["JPY ", "JP¥"], [" yen"], [" 엔", "엔"]),
}
_QUALIFIED = {
    "about": (["about ", "around ", "approximately ", "~"], [], ["약 ", "약", "대략 "], [" 안팎", " 가량"]),
    "more_than": (["more than ", "over ", "in excess of "], [], [], [" 초과"]),
    "at_least": (["at least ", "no less than "], [" or more"], ["최소 "], [" 이상"]),
    "up_to": (["up to ", "as much as "], [], ["최대 "], [" 이하"]),
    "nearly": (["nearly ", "almost ", "close to "], [], ["거의 "], [" 가까이"]),
    None: ([""], [], [""], []),
}
_BASED = {
    "annual": (["annual "], [" a year", " per year", " annually"], ["연간 ", "매년 "], []),
    "additional": (["an additional ", "another "], [" more"], ["추가로 ", "추가 "], [" 추가"]),
    "total": (["a total of "], [" in total"], ["총 "], []),
    None: ([""], [], [""], []),
}


@st.composite
def english_figures(draw: st.DrawFn) -> tuple[str, Decimal, str]:
    """A figure without its unit, its value in that unit, and the unit as it is written."""
    whole = draw(st.integers(1, 99_999))
    digits = f"{whole:,}" if draw(st.booleans()) else str(whole)
    fraction = draw(st.sampled_from(["", ".5", ".25", ".8", ".125"]))
    unit = draw(
        st.sampled_from([" million", "m", " mn", " billion", "bn", "-billion", "b", " trillion", "tn", " tn", "t"])
    )
    return digits + fraction, Decimal(str(whole) + fraction), unit


def worth(unit: str) -> Decimal:
    return Decimal(10) ** {"m": 6, "b": 9, "t": 12}[unit.strip(" -")[0]]


@st.composite
def korean_figures(draw: st.DrawFn) -> tuple[str, Decimal]:
    """A figure in 조, 억 and 만, with commas or 천, and its value."""
    space = draw(st.sampled_from(["", " "]))
    if draw(st.booleans()):
        unit = draw(st.sampled_from(["조", "억", "만"]))
        tenths = draw(st.integers(1, 99_999))
        return f"{tenths // 10}.{tenths % 10}{unit}", Decimal(tenths) / 10 * _KOREAN[unit]
    text, value = "", Decimal(0)
    for unit in draw(st.sampled_from(["조", "억", "만", "조억", "억만", "조만", "조억만"])):
        count = draw(st.integers(1, 9_999))
        text += (space if text else "") + draw(st.sampled_from(_written(count))) + unit
        value += count * _KOREAN[unit]
    return text, value


_KOREAN = {"조": Decimal(10) ** 12, "억": Decimal(10) ** 8, "만": Decimal(10) ** 4}


def _written(count: int) -> list[str]:
    ways = [str(count), f"{count:,}"]
    if count >= 1000:
        rest = str(count % 1000) if count % 1000 else ""
        ways.append(f"{count // 1000}천{rest}")
        named = "".join(
            f"{digit}{word}" for digit, word in zip(str(count), ("천", "백", "십", ""), strict=True) if digit != "0"
        )
        ways.append(named)
    return ways


@st.composite
def written_amounts(draw: st.DrawFn) -> tuple[str, ParsedAmount]:
    currency = draw(st.sampled_from(sorted(_SIGNS)))
    before, after, after_ko = _SIGNS[currency]
    qualifier: Any = draw(st.sampled_from(list(_QUALIFIED)))
    basis: Any = draw(st.sampled_from(list(_BASED)))
    korean = draw(st.booleans())
    if korean:
        text, value = draw(korean_figures())
        sign = draw(st.sampled_from(after_ko))
        figure, worth_of = text + sign, value
        low = draw(st.none() | korean_figures())
        if low is not None and low[1] < value:
            figure = f"{low[0]}{draw(st.sampled_from(['', sign]))}~{figure}"
    else:
        digits, count, unit = draw(english_figures())
        worth_of = count * worth(unit)
        low_figure = draw(st.none() | english_figures())
        low = None if low_figure is None else (low_figure[0], low_figure[1] * worth(low_figure[2]))
        lead = draw(st.sampled_from([*before, None]))
        tail = draw(st.sampled_from(after)) if lead is None else ""
        figure = f"{lead or ''}{digits}{unit}{tail}"
        if low is not None and low_figure is not None and low[1] < worth_of:
            joint = draw(st.sampled_from(["-", " to ", " – "]))
            figure = f"{lead or ''}{low_figure[0]}{low_figure[2]}{joint}{digits}{unit}{tail}"
    in_range = low is not None and low[1] < worth_of
    place = 2 if korean else 0
    text = _around(draw, figure, _QUALIFIED[qualifier], _BASED[basis], place)
    meant = (
        Amount(currency=currency, low=format_decimal(low[1]), high=format_decimal(worth_of), qualifier=qualifier)
        if in_range and low is not None
        else Amount(currency=currency, value=format_decimal(worth_of), qualifier=qualifier)
    )
    return text, ParsedAmount(meant, basis)


def _around(
    draw: st.DrawFn,
    figure: str,
    qualified: tuple[list[str], list[str], list[str], list[str]],
    based: tuple[list[str], list[str], list[str], list[str]],
    place: int,
) -> str:
    for words in (qualified, based):
        leads, tails = words[place], words[place + 1]
        chosen = draw(st.sampled_from([*(("lead", w) for w in leads), *(("tail", w) for w in tails)]))
        figure = chosen[1] + figure if chosen[0] == "lead" else figure + chosen[1]
    return figure


@given(written_amounts())
@example(
    (
        "annual about €1.125-billion-1125.5 million",
        ParsedAmount(Amount(currency="EUR", low="1125000000", high="1125500000", qualifier="about"), "annual"),
    )
)
def test_parse_reads_back_every_generated_amount(written: tuple[str, ParsedAmount]) -> None:
    text, meant = written
    assert parse(text) == meant


@given(written_amounts(), st.text(alphabet="가나다xyz#/=", min_size=1, max_size=4), st.integers(0, 40))
def test_parse_refuses_an_amount_with_an_unknown_word(written: tuple[str, ParsedAmount], junk: str, place: int) -> None:
    text = written[0]
    at = min(place, len(text))
    with pytest.raises(AmountParseError):
        parse(text[:at] + junk + text[at:])


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        ("약 2,500", "2500000000", None, None),
        ("up to 1,500,000", "1500000000000", None, None),
        ("1,000~1,500", None, "1000000000", "1500000000"),
        ("1.5+", "1500000", None, None),
        ("약 3조", "3000000000000", None, None),
        ("3~5조", None, "3000000000000", "5000000000000"),
        ("$2 million", "2000000", None, None),
    ],
)
def test_unit_of_a_column_applies_to_figures_without_unit_and_currency(
    text: str, value: str | None, low: str | None, high: str | None
) -> None:
    amount = parse(text, otherwise="KRW", unit=Decimal(1_000_000)).amount
    assert (amount.value, amount.low, amount.high) == (value, low, high)


@pytest.mark.parametrize("text", ["$12,000", "12,000원", "KRW 1,500,000", "$500-700", "1,500 ($12,000)"])
def test_figure_that_may_be_in_the_unit_of_its_column_or_not_is_refused(text: str) -> None:
    with pytest.raises(AmountParseError):
        parse(text, otherwise="KRW", unit=Decimal(1_000_000))


@given(written_amounts())
def test_parse_refuses_an_amount_without_currency(written: tuple[str, ParsedAmount]) -> None:
    text, meant = written
    every = sorted((s for signs in _SIGNS[meant.amount.currency] for s in signs), key=len, reverse=True)
    bare = text
    for sign in every:
        bare = bare.replace(sign.strip(" -"), "")
    assume(bare != text)
    with pytest.raises(AmountParseError):
        parse(bare)


_PIECES = [
    "조",
    "억",
    "만",
    "천",
    "5",
    "3",
    "12",
    "1,000",
    ".",
    ",",
    " ",
    "원",
    "달러",
    "$",
    "bn",
    " billion",
    "-",
    "~",
]
_PIECES += [" to ", "약", "최대", "between ", " and ", "(", ")", "USD", "won", "이상", "여", "+", "연간", "0"]


@given(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join))
def test_every_parsed_amount_can_be_recorded_and_is_positive(text: str) -> None:
    try:
        read = parse(text).amount
    except AmountParseError:
        return
    figures = [Decimal(f) for f in (read.value, read.low, read.high) if f is not None]
    assert figures
    assert all(0 < f < Decimal(10) ** 18 for f in figures)
    assert (read.value is None) == (read.low is not None and read.high is not None)
    # Spaces around the text do not matter.
    assert parse(f"  {text}\u00a0").amount == read


@given(st.text(max_size=40))
def test_parse_raises_nothing_but_amount_parse_errors(text: str) -> None:
    with suppress(AmountParseError):
        assert parse(text).amount.currency
