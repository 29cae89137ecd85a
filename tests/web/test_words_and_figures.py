"""Words and figures: catalogues without gaps, amounts as stated in both languages, dates as loosely as given."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files
from io import BytesIO
from typing import Any

import pytest
from babel.messages.extract import extract_python
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import babel_extract

from registry.domain import money
from registry.events.types import EVENT_TYPES, Amount, Horizon, Localized, StatedAmount
from registry.web.figures import figures
from registry.web.shown import shown
from registry.web.words import LABELS, LANGUAGES, preferred, words

KO, EN = figures("ko"), figures("en")


EXTENSIONS = {"extensions": "jinja2.ext.i18n,jinja2.ext.do"}


def messages() -> set[str]:
    """Every message of the templates and the modules, by its singular."""
    found: list[object] = []
    web = files("registry.web")
    for file in web.joinpath("templates").iterdir():
        template: Any = BytesIO(file.read_bytes())
        found += [m[2] for m in babel_extract(template, ("_", "gettext", "ngettext"), [], EXTENSIONS)]
    words_of: Any = ("N_", "gettext", "ngettext")
    for file in web.iterdir():
        if file.name.endswith(".py"):
            found += [m[2] for m in extract_python(BytesIO(file.read_bytes()), words_of, [], {})]
    return {first for message in found if (first := first_of(message))}


def first_of(message: object) -> str:
    if isinstance(message, (tuple, list)):
        return str(message[0] or "") if message else ""
    return str(message or "")


def test_every_message_has_its_korean_words() -> None:
    spoken = words("ko")
    missing = {m for m in messages() if m not in spoken._messages}
    assert len(messages()) > 400
    assert missing == set()


def test_translations_keep_their_placeholders() -> None:
    for message, text in words("ko")._messages.items():
        wanted = set(re.findall(r"%\((\w+)\)s", message))
        said = text if isinstance(text, str) else text[0]
        found = set(re.findall(r"%\((\w+)\)s", said))
        assert wanted <= found | {"num"}, message
        assert found <= wanted | {"num", "n"}, message


def test_every_event_type_has_a_plain_name() -> None:
    assert set(LABELS["event"]) == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("amount", "basis", "korean", "english"),
    [
        (Amount(value="18200000000000", currency="KRW"), None, "18조 2,000억 원", "₩18.2tn"),
        (Amount(value="5000000000", currency="USD"), None, "50억 달러", "US$5bn"),
        (
            Amount(value="5000000000", currency="USD", qualifier="about"),
            "additional",
            "+ 약 50억 달러",
            "+ about US$5bn",
        ),
        (Amount(value="5130000000", currency="USD"), None, "51억 3,000만 달러", "US$5.13bn"),
        (Amount(value="100000000000", currency="KRW"), "annual", "연간 1,000억 원", "₩100bn a year"),
        (
            Amount(value="40000000000", currency="USD", qualifier="more_than"),
            None,
            "400억 달러 초과",
            "more than US$40bn",
        ),
        (Amount(value="7", currency="CHF", qualifier="up_to"), None, "최대 7 CHF", "up to CHF 7"),
        (Amount(low="3000000", high="4500000", currency="EUR"), None, "300만 유로 – 450만 유로", "€3m – €4.5m"),
        (Amount(low="3000000", currency="EUR"), None, "300만 유로 이상", "at least €3m"),
        (
            Amount(currency="KRW", wording="several trillion won"),
            None,
            "“several trillion won”",
            "“several trillion won”",
        ),
        (Amount(value="1234567890123", currency="USD"), None, "1조 2,345억 6,789만 123 달러", "US$1,234,567,890,123"),
        (None, None, "밝히지 않음", "not stated"),
    ],
)
def test_amounts_are_written_as_stated(amount: Amount | None, basis: str | None, korean: str, english: str) -> None:
    assert KO.money(amount, basis) == korean
    assert EN.money(amount, basis) == english


sums = st.integers(min_value=1, max_value=10**11).map(lambda n: str(n * 10_000))


@given(sums, st.sampled_from(["KRW", "USD", "EUR"]))
def test_a_sum_that_is_shown_reads_back_as_the_same(value: str, currency: str) -> None:
    for figured in (KO, EN):
        parsed = money.parse(figured.sum(value, currency))
        assert (Decimal(parsed.amount.value or 0), parsed.amount.currency) == (Decimal(value), currency)


def test_the_other_stated_currency_comes_second() -> None:
    amount = Amount(
        value="7000000000000", currency="KRW", stated_as=(StatedAmount(value="5130000000", currency="USD"),)
    )
    assert shown("en").value(amount) == "₩7tn (US$5.13bn)"
    assert shown("ko").value(amount) == "7조 원 (51억 3,000만 달러)"


@pytest.mark.parametrize(
    ("edtf", "korean", "english"),
    [
        ("2031", "2031년", "2031"),
        ("2027-11", "2027년 11월", "Nov 2027"),
        ("2025-08-29", "2025년 8월 29일", "29 Aug 2025"),
        ("2025-07/2025-09", "2025년 7월 – 2025년 9월", "Jul 2025 – Sep 2025"),
        ("2029~", "약 2029년", "about 2029"),
        ("2029?", "2029년?", "2029?"),
        ("2025/..", "2025년 – 계속", "2025 – open"),
        ("202X", "202X", "202X"),
        (None, "밝히지 않음", "not stated"),
    ],
)
def test_dates_stay_as_loose_as_they_were_given(edtf: str | None, korean: str, english: str) -> None:
    assert (KO.loosely(edtf), EN.loosely(edtf)) == (korean, english)


def test_totals_are_rounded_and_say_what_is_open() -> None:
    assert EN.interval("41780112345.5", "66940000000", "USD", high_open=True) == "US$41.78bn – US$66.94bn or more"
    assert KO.interval("20000000000000", "20000000000000", "KRW") == "20조 원"
    assert EN.interval("5", "5", "USD", low_open=True) == "up to US$5"


def test_a_horizon_reads_like_a_sentences_end() -> None:
    assert EN.horizon(Horizon(until="2031")) == "by 2031"
    assert KO.horizon(Horizon(until="2031")) == "2031년까지"
    assert EN.horizon(Horizon(from_="2025")) == "from 2025"
    assert EN.horizon(None) == ""


def test_names_stand_in_the_readers_language_with_the_other_beside() -> None:
    name = Localized(ko="아마존웹서비스", en="Amazon Web Services")
    assert (words("ko").own(name), words("ko").other(name)) == ("아마존웹서비스", "Amazon Web Services")
    assert (words("en").own(Localized(ko="울산")), words("en").other(Localized(ko="울산"))) == ("울산", "")
    assert words("en").own(None, "slug") == "slug"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("fr, ko;q=0.1", "ko"),
        ("en;q=0.2, ko;q=0.4", "ko"),
        ("ko;q=nonsense", "en"),
        ("de", "en"),
    ],
)
def test_the_language_that_a_browser_likes_best_is_spoken(header: str | None, language: str) -> None:
    assert preferred(header) == language
    assert language in LANGUAGES
