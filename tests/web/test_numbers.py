"""Figures in each language: amounts as stated, dates with the precision of their source, rounded totals, rates."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import get_args

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import money
from registry.domain.deal import MetricState
from registry.domain.money.rates import Rate
from registry.events.currencies import KOREAN_NAMES, Currency
from registry.events.types import ClaimReported
from registry.events.values import Amount, ExternalIdentifier, Horizon, StatedAmount
from registry.formatting.numbers import NumberFormatter, figures
from registry.formatting.summaries import summarize_event
from registry.formatting.values import shown
from tests.reference_rates import reference_rates
from tests.web.html import plain

KO, EN = figures("ko"), figures("en")


@pytest.mark.parametrize(
    ("amount", "basis", "korean", "english"),
    [
        (Amount(value="18200000000000", currency="KRW"), None, "18조 2,000억 원", "₩18.2tn"),
        (Amount(value="5000000000", currency="USD"), None, "50억 달러", "US$5bn"),
        (
            Amount(value="5000000000", currency="USD", qualifier="about"),
            "additional",
            "약 50억 달러 추가",
            "about US$5bn more",
        ),
        (Amount(value="5130000000", currency="USD"), None, "51억 3,000만 달러", "US$5.13bn"),
        (Amount(value="100000000000", currency="KRW"), "annual", "연간 1,000억 원", "₩100bn a year"),
        (
            Amount(value="40000000000", currency="USD", qualifier="more_than"),
            None,
            "400억 달러 초과",
            "more than US$40bn",
        ),
        (Amount(value="7", currency="CHF", qualifier="up_to"), None, "최대 7 스위스 프랑", "up to CHF 7"),
        (Amount(value="51300000000", currency="TWD"), None, "513억 대만 달러", "NT$51.3bn"),
        (Amount(value="51300000000", currency="CLF"), None, "513억 CLF", "CLF 51.3bn"),
        (Amount(low="3000000", high="4500000", currency="EUR"), None, "300만 유로~450만 유로", "€3m – €4.5m"),
        (Amount(low="3000000", currency="EUR"), None, "300만 유로 이상", "at least €3m"),
        (
            Amount(currency="KRW", wording="several trillion won"),
            None,
            "“several trillion won”",
            "“several trillion won”",
        ),
        (Amount(value="1234567890123", currency="USD"), None, "1조 2,345억 6,789만 123달러", "US$1,234,567,890,123"),
        (None, None, "미공개", "Not disclosed"),
    ],
)
def test_amount_is_written_as_stated(amount: Amount | None, basis: str | None, korean: str, english: str) -> None:
    assert plain(KO.money(amount, basis)) == korean
    assert plain(EN.money(amount, basis)) == english


@pytest.mark.parametrize(
    ("value", "qualifier", "korean", "english"),
    [
        ("60000", "about", "GPU 약 6만 개", "about 60,000 GPUs"),
        ("12345", "at_least", "GPU 1만 2,345개 이상", "at least 12,345 GPUs"),
        ("1", None, "GPU 1개", "1 GPU"),
    ],
)
def test_gpus_are_counted_as_the_language_does(value: str, qualifier: str | None, korean: str, english: str) -> None:
    assert plain(KO.measure(value, qualifier, "GPU")) == korean
    assert plain(EN.measure(value, qualifier, "GPU")) == english


def test_quantity_of_a_metric_is_one_figure_with_its_counter_or_unit() -> None:
    metric = {"metric": "jobs", "basis": "planned", "value": "1200", "unit": None, "qualifier": "about"}
    assert plain(shown("ko").item("metrics", metric)) == "일자리 · 계획 · 약 1,200개"
    assert plain(shown("en").item("metrics", metric)) == "Jobs · planned · about 1,200"
    capacity = {"metric": "capacity_per_year", "basis": "target", "value": "30000", "unit": "wafers"}
    assert plain(shown("ko").item("metrics", capacity)) == "연간 생산능력 · 목표 · 30,000 wafers"
    assert shown("ko").change("/metrics/jobs--planned/value", "60000") == plain("6만 개").replace(" ", "\u00a0")
    for id in ("h100-equivalents--planned--2027", "construction-jobs--actual--at-a-b"):
        assert plain(shown("ko").change(f"/metrics/{id}/value", "1200")) == "1,200개", id
    claim = ClaimReported(claim="c", field="/metrics/jobs--planned/value", value="60000")
    assert plain(summarize_event(shown("ko"), claim)).endswith(": 6만 개")
    # An identifier has a value, too.
    assert shown("ko").value(ExternalIdentifier(scheme="gem", value="60000")) == "gem\u00a0· 60000"


def test_metric_of_a_deal_is_shown_as_one_quantity_without_its_id() -> None:
    metric = MetricState(
        metric_id="jobs--planned",
        metric="jobs",
        site=None,
        basis="planned",
        date=None,
        horizon=None,
        value="12345",
        unit=None,
        qualifier="about",
        stated_on=date(2025, 1, 2),
    )
    assert plain(shown("ko").value(metric, "metrics")) == "일자리 · 계획 · 약 1만 2,345개 · 2025년 1월 2일"
    assert plain(shown("en").value(metric, "metrics")) == "Jobs · planned · about 12,345 · 2 Jan 2025"


def test_every_currency_has_a_korean_name() -> None:
    names = {code: KO.currency(code) for code in get_args(Currency)}
    assert {code: name for code, name in names.items() if not re.search("[가-힣]", name)} == {}
    assert [code for code in get_args(Currency) if EN.currency(code) == code] == []


@pytest.mark.parametrize("formatter", [KO, EN], ids=["ko", "en"])
def test_no_line_breaks_within_an_amount_or_a_date(formatter: NumberFormatter) -> None:
    amount = Amount(value="18200000000000", currency="KRW", qualifier="about")
    moment = datetime(2025, 8, 29, 1, 2, tzinfo=UTC)
    for text in (
        formatter.money(amount),
        formatter.day(date(2025, 8, 29)),
        formatter.short_day(date(2025, 8, 29)),
        formatter.edtf_date("2027-11"),
        formatter.edtf_date("2025-33"),
        formatter.edtf_date("2025-07/2025-09").replace("– ", ""),
        formatter.measure("40", None, "MW"),
    ):
        assert " " not in text
    # The date and the time may stand on two lines.
    assert formatter.minute(moment).count(" ") == formatter.instant(moment).count(" ") == 1


def test_long_amounts_and_ranges_may_break_where_they_would_not_fit_a_line() -> None:
    assert " " in KO.money(Amount(value="1234567890123", currency="USD"))
    assert "~\u200b" in KO.interval("183620000000000", "193621234567891", "KRW")
    assert "\u200b" not in KO.interval("1000000000000", "2000000000000", "KRW")


sums = st.integers(min_value=1, max_value=10**11).map(lambda n: str(n * 10_000))


@given(sums)
def test_displayed_sum_parses_to_the_same_amount(value: str) -> None:
    texts = {code: [KO.currency_amount(value, code)] for code in get_args(Currency)}
    for code in ("KRW", "USD", "EUR"):
        texts[code].append(EN.currency_amount(value, code))
    for code, text in ((code, text) for code, of_code in texts.items() for text in of_code):
        parsed = money.parse(text)
        assert (Decimal(parsed.amount.value or 0), parsed.amount.currency) == (Decimal(value), code)


def test_korean_names_of_currencies_are_those_of_cldr() -> None:
    """In another spelling where Korean usage left that of CLDR behind; never the name of another currency."""
    cldr = Locale.parse("ko").currencies
    others = {code: name for code, name in KOREAN_NAMES.items() if cldr.get(code) != name}
    assert len(others) <= 25
    assert [name for name in others.values() if name in cldr.values()] == []
    assert len(set(KOREAN_NAMES.values())) == len(KOREAN_NAMES)


def test_amount_in_the_other_stated_currency_follows_in_brackets() -> None:
    amount = Amount(
        value="7000000000000", currency="KRW", stated_as=(StatedAmount(value="5130000000", currency="USD"),)
    )
    assert plain(shown("en").value(amount)) == "₩7tn (US$5.13bn)"
    assert plain(shown("ko").value(amount)) == "7조 원(51억 3,000만 달러)"


@pytest.mark.parametrize(
    ("edtf", "korean", "english"),
    [
        ("2031", "2031년", "2031"),
        ("2027-11", "2027년 11월", "Nov 2027"),
        ("2025-08-29", "2025년 8월 29일", "29 Aug 2025"),
        ("2025-07/2025-09", "2025년 7월~2025년 9월", "Jul 2025 – Sep 2025"),
        ("2029~", "2029년경", "about 2029"),
        ("2029?", "2029년?", "2029?"),
        ("2025/..", "2025년~계속", "2025 – open"),
        ("202X", "202X", "202X"),
        (None, "미공개", "Not disclosed"),
    ],
)
def test_date_keeps_the_precision_of_its_source(edtf: str | None, korean: str, english: str) -> None:
    assert (plain(KO.edtf_date(edtf)), plain(EN.edtf_date(edtf))) == (korean, english)


def test_total_is_rounded_and_marks_an_open_bound() -> None:
    assert (
        plain(EN.interval("41780112345.5", "66940000000", "USD", high_open=True)) == "US$41.78bn – US$66.94bn or more"
    )
    assert plain(KO.interval("20000000000000", "20000000000000", "KRW")) == "20조 원"
    assert EN.interval("5", "5", "USD", low_open=True) == "up to US$5"


def test_bounds_that_differ_late_are_rounded_outwards() -> None:
    assert plain(EN.interval("5123450001", "5123450002", "USD")) == "US$5.123bn – US$5.124bn"
    assert EN.bounds("5123450001", "5123450002", "USD") == ("US$5.123bn", "US$5.124bn")
    assert EN.bounds("5123450001", "5123450001", "USD") == ("US$5.123bn", "US$5.123bn")
    assert plain(EN.interval("5124000000", "5124000001", "USD")) == "US$5.124bn – US$5.125bn"
    assert plain(KO.interval("183620000000000", "183621234567891", "KRW")) == "183조 6,000억 원~183조 7,000억 원"


@given(sums, sums)
def test_rounded_bounds_differ_as_the_exact_ones_do(one: str, other: str) -> None:
    low, high = sorted((one, other), key=Decimal)
    text = plain(EN.interval(low, high, "USD"))
    assert (" – " in text) == (low != high)
    assert len(set(text.split(" – "))) == len({low, high})


def test_rate_is_quoted_for_one_unit_of_the_currency_of_greater_value() -> None:
    assert plain(EN.rate(rate("USD", "KRW"))) == plain(EN.rate(rate("KRW", "USD"))) == "US$1 = ₩1,422.95"
    assert plain(KO.rate(rate("KRW", "USD"))) == "1달러 = 1,422.95원"
    assert EN.exact_rate(rate("KRW", "USD")) == "1 KRW = 0.000702767342699 USD"
    assert plain(EN.rate(rate("USD", "EUR"))) == "€1 = US$1.1636"


def rate(one: Currency, other: Currency) -> Rate:
    found = reference_rates().rate(one, other, date(2025, 10, 29))
    assert isinstance(found, Rate)
    return found


def test_horizon_reads_as_the_end_of_a_sentence() -> None:
    assert EN.horizon(Horizon(until="2031")) == "by 2031"
    assert KO.horizon(Horizon(until="2031")) == "2031년까지"
    assert EN.horizon(Horizon(from_="2025")) == "from 2025"
    assert plain(EN.horizon(None)) == ""
