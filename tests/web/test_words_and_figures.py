"""Words and figures: catalogues without gaps, amounts as stated in both languages, dates as loosely as given."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import errors
from registry.domain import money
from registry.domain.plausibility import Flag
from registry.domain.rates import Rate, reference_rates
from registry.events.types import Amount, Currency, Horizon, Localized, StatedAmount
from registry.i18n import LANGUAGES, negotiate_language
from registry.web import as_of
from registry.web.format import shown, word_diff
from registry.web.i18n import words
from registry.web.numbers import figures

KO, EN = figures("ko"), figures("en")


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
        (None, None, "미공개", "Not disclosed"),
    ],
)
def test_amounts_are_written_as_stated(amount: Amount | None, basis: str | None, korean: str, english: str) -> None:
    assert KO.money(amount, basis) == korean
    assert EN.money(amount, basis) == english


sums = st.integers(min_value=1, max_value=10**11).map(lambda n: str(n * 10_000))


@given(sums, st.sampled_from(["KRW", "USD", "EUR"]))
def test_a_sum_that_is_shown_reads_back_as_the_same(value: str, currency: str) -> None:
    for figured in (KO, EN):
        parsed = money.parse(figured.currency_amount(value, currency))
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
        (None, "미공개", "Not disclosed"),
    ],
)
def test_dates_stay_as_loose_as_they_were_given(edtf: str | None, korean: str, english: str) -> None:
    assert (KO.edtf_date(edtf), EN.edtf_date(edtf)) == (korean, english)


def test_totals_are_rounded_and_say_what_is_open() -> None:
    assert EN.interval("41780112345.5", "66940000000", "USD", high_open=True) == "US$41.78bn – US$66.94bn or more"
    assert KO.interval("20000000000000", "20000000000000", "KRW") == "20조 원"
    assert EN.interval("5", "5", "USD", low_open=True) == "up to US$5"


def test_a_rate_reads_as_people_quote_it_whichever_way_it_converts() -> None:
    assert EN.rate(rate("USD", "KRW")) == EN.rate(rate("KRW", "USD")) == "US$1 = ₩1,422.95"
    assert KO.rate(rate("KRW", "USD")) == "1 달러 = 1,422.95 원"
    assert EN.exact_rate(rate("KRW", "USD")) == "1 KRW = 0.000702767342699 USD"
    assert EN.rate(rate("USD", "EUR")) == "€1 = US$1.1636"


def rate(one: Currency, other: Currency) -> Rate:
    found = reference_rates().rate(one, other, date(2025, 10, 29))
    assert isinstance(found, Rate)
    return found


def test_a_horizon_reads_like_a_sentences_end() -> None:
    assert EN.horizon(Horizon(until="2031")) == "by 2031"
    assert KO.horizon(Horizon(until="2031")) == "2031년까지"
    assert EN.horizon(Horizon(from_="2025")) == "from 2025"
    assert EN.horizon(None) == ""


def test_names_stand_in_the_readers_language_with_the_other_beside() -> None:
    name = Localized(ko="아마존웹서비스", en="Amazon Web Services")
    assert (words("ko").localized(name), words("ko").other(name)) == ("아마존웹서비스", "Amazon Web Services")
    assert (words("en").localized(Localized(ko="울산")), words("en").other(Localized(ko="울산"))) == ("울산", None)
    assert words("en").localized(None, "slug") == "slug"


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
    assert negotiate_language(header) == language
    assert language in LANGUAGES


def test_a_message_is_rendered_with_the_readers_numbers_and_dates() -> None:
    error = errors.TooLarge(limit=262144)
    assert shown("ko").translate_message(error.message) == "요청 본문이 262,144바이트를 넘습니다. 나누어 보내세요."
    field = errors.FieldError("/x", "day_out_of_range", value=date(1025, 2, 1), first=date(1800, 1, 1), last=date.max)
    assert "1800년 1월 1일" in shown("ko").translate_message(field)


def test_the_words_that_differ_are_marked_and_the_others_are_not() -> None:
    old, new = word_diff("약 2조 4,000억 원", "약 2조 5,000억 원")
    assert old == ((False, "약 2조 "), (True, "4,000억"), (False, " 원"))
    assert new == ((False, "약 2조 "), (True, "5,000억"), (False, " 원"))
    assert word_diff("US$5bn", "about US$5bn") == (((False, "US$5bn"),), ((True, "about "), (False, "US$5bn")))
    assert word_diff("a hall of one", "a hall for two")[0] == ((False, "a hall "), (True, "of one"))
    # Nothing in common but a gap, and nothing at all.
    assert word_diff("US$5.1bn here", "₩7tn there") == (((True, "US$5.1bn here"),), ((True, "₩7tn there"),))
    assert word_diff(None, "x y") == ((), ((True, "x y"),))
    long = "word " * 1_000
    assert word_diff(long, long + "more") == (((True, long),), ((True, long + "more"),))


@given(st.text("ab \n", max_size=30), st.text("ab \n", max_size=30))
def test_marking_loses_no_word(before: str, after: str) -> None:
    for text, side in zip((before, after), word_diff(before, after), strict=True):
        assert "".join(piece for _, piece in side) == text
    for one, other in (word_diff(before, after), word_diff(after, before)):
        assert [t for differs, t in one if not differs and not t.isspace()] == [
            t for differs, t in other if not differs and not t.isspace()
        ] or before.split() != after.split()


def test_flag_text_contains_the_names_of_the_deals() -> None:
    params = {"part": "amkor-songdo/packaging", "whole": "seven-firms/total"}
    flag = Flag("member-not-below-aggregate", "", "/pledges/packaging/amount", params=params)
    english = shown("en").flag_text(flag, {"deal/amkor-songdo": "this deal", "deal/seven-firms": "Seven firms"})
    assert english.startswith("packaging is part of Seven firms / total")
    korean = shown("ko").flag_text(flag, {"deal/amkor-songdo": "이 건", "deal/seven-firms": "일곱 기업"})
    assert "seven-firms" not in korean
    assert "일곱 기업 / total" in korean


def test_flag_text_formats_dates_and_numbers_in_the_readers_language() -> None:
    params = {"until": "2024", "day": "2025-10-29"}
    assert "2025년 10월 29일" in shown("ko").flag_text(Flag("horizon-past", "", "", params=params))
    assert "10,000" in shown("en").flag_text(Flag("tenfold-slip", "", "", params={"factor": "10000"}))


def test_what_a_flag_compared_reads_like_all_figures() -> None:
    compared = {"amount": "about USD 5000000000", "ulsan/total": "KRW 1–2", "off by": "0.25", "until": "2021"}
    assert shown("en").compared(compared) == [
        ("Amount", "about US$5bn"),
        ("ulsan / total", "₩1 – ₩2"),
        ("Deviation", "+25%"),
        ("Until", "2021"),
    ]
    assert shown("ko").compared(compared)[0] == ("금액", "약 50억 달러")
    assert shown("ko").compared(compared, {"deal/ulsan": "울산"})[1] == ("울산 / total", "1 원 – 2 원")
    assert shown("ko").compared({"source": "2025", "before": "2025-10-29"}) == [
        ("출처", "2025"),
        ("이전", "2025년 10월 29일"),
    ]


async def test_korean_pages_leave_no_sentence_of_the_registrys_in_english(
    reader: httpx.AsyncClient, editor: httpx.AsyncClient
) -> None:
    """A flag, a verdict, an address that cannot be read, what is not there, an amount, and a field's fault."""
    flagged = (await reader.get("/deals/amkor-songdo?lang=ko")).text
    flags = flagged[flagged.index('class="flags"') :].split("</section>")[0]
    assert "전체 금액을 한 곳의 금액으로 보도했을 수 있습니다." in flags
    event = re.search(r'href="(/events/[0-9a-f-]{36})', flags)
    assert event is not None
    verdict = (await reader.get(f"{event[1]}?lang=ko")).text
    said = verdict[verdict.index("서버 검증 완료:") :].split("</p>")[0]
    assert re.search(r"로그 순번 \d+의 기록은 deal/[a-z0-9-]+ 버전 \d+\([^)]+\)이며", said), said
    lost = (await reader.get("/deals/never-heard-of?lang=ko")).text
    assert "‘never-heard-of’ 투자 건이 없습니다." in lost
    amount = (await reader.get("/record/amount", params={"event/amount": "수천억 원", "lang": "ko"})).text
    assert "구체적인 금액이 없습니다." in amount
    read = (await reader.get("/record/amount", params={"event/amount": "50억 달러 이상", "lang": "ko"})).text
    assert "USD 5,000,000,000, 이상" in read
    form = (await editor.get("/deals/amkor-songdo/record?type=site_dropped&lang=ko")).text
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))
    sent = {**hidden, "event/site": "no-such-site", "effective_on": "2025-02-31", "step": "preview"}
    fault = (await editor.post("/deals/amkor-songdo/record?lang=ko", data=sent)).text
    assert "날짜(YYYY-MM-DD)가 아닙니다" in fault
    refused = (
        await editor.post("/deals/amkor-songdo/record?lang=ko", data={**sent, "effective_on": "2025-12-31"})
    ).text
    assert "‘no-such-site’ 입지가 없습니다." in refused
    for page_of in (flagged, verdict, lost, amount, fault, refused):
        assert '<span lang="en">' not in page_of


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"effective_on": "2026-01-06"}, {}),
        ({"known": "published", "known_on": "2026-01-06"}, {}),
        ({"known": "published", "known_on": "2025-06-21"}, {"published_on": "2025-06-21"}),
        ({"known": "recorded", "known_on": "2026-01-06"}, {"axis": "recorded"}),
        ({"known": "recorded", "known_on": "2025-06-21"}, {"recorded_at": "2025-06-21T23:59:59.999999Z"}),
        # The moment, and the position, that a page was at stay until another day is chosen.
        (
            {"known": "recorded", "known_on": "2025-06-21", "recorded_at": "2025-06-21T10:00:00Z"},
            {"recorded_at": "2025-06-21T10:00:00Z"},
        ),
        (
            {"known": "recorded", "known_on": "2025-06-22", "recorded_at": "2025-06-21T10:00:00Z"},
            {"recorded_at": "2025-06-22T23:59:59.999999Z"},
        ),
        (
            {"known": "published", "known_on": "2025-06-21", "recorded_at": "2025-06-21T10:00:00Z"},
            {"published_on": "2025-06-21"},
        ),
        ({"known": "recorded", "known_on": "", "position": "7"}, {"position": "7"}),
        ({"known": "recorded", "known_on": "2026-01-06", "position": "7"}, {"axis": "recorded"}),
        ({"known": "published", "known_on": "", "position": "7"}, {}),
    ],
)
def test_what_the_form_of_the_clocks_means(sent: dict[str, str], meant: dict[str, str]) -> None:
    assert as_of.canonical_query({"q": "x", **sent}, date(2026, 1, 6)) == {"q": "x", **meant}
