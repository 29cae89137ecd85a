"""Messages in the reader's language: errors and warnings with formatted parameters."""

from __future__ import annotations

from datetime import date

from registry import errors
from registry.domain.checks.plausibility import Flag
from registry.formatting.messages import messages
from registry.formatting.values import capitalized
from tests.web.html import plain


def test_message_has_numbers_and_dates_in_the_readers_format() -> None:
    error = errors.TooLarge(limit=262144)
    assert messages("ko").text(error.message) == "요청 본문이 262,144바이트를 넘습니다. 나누어 보내세요."
    field = errors.FieldError("/x", "day_out_of_range", value=date(1025, 2, 1), first=date(1800, 1, 1), last=date.max)
    assert "1800년 1월 1일" in plain(messages("ko").text(field))


def test_error_of_a_missing_scope_has_the_names_of_scopes() -> None:
    error = errors.Forbidden.scope({"read", "propose"}, "redact")
    assert messages("ko").text(error.message) == "인증 키에 ‘내용 삭제’ 권한이 없습니다(보유: 제안, 조회)."
    assert messages("en").text(error.message) == "The API key lacks the 'redact' scope (it has propose, read)."


def test_flag_text_contains_the_names_of_the_deals() -> None:
    params = {"part": "amkor-songdo/packaging", "whole": "seven-firms/total"}
    flag = Flag("member-not-below-aggregate", "", "/pledges/packaging/amount", params=params)
    english = messages("en").flag_text(flag, {"deal/amkor-songdo": "this deal", "deal/seven-firms": "Seven firms"})
    assert english.startswith("packaging is part of Seven firms (total)")
    korean = messages("ko").flag_text(flag, {"deal/amkor-songdo": "이 건", "deal/seven-firms": "일곱 기업"})
    assert "seven-firms" not in korean
    assert "일곱 기업(total)" in korean


def test_flag_text_formats_dates_and_numbers_in_the_readers_language() -> None:
    params = {"until": "2024", "day": "2025-10-29"}
    assert "2025년 10월 29일" in plain(messages("ko").flag_text(Flag("horizon-past", "", "", params=params)))
    assert "10,000" in messages("en").flag_text(Flag("tenfold-slip", "", "", params={"factor": "10000"}))


def figures(language: str, *compared: dict[str, str]) -> list[tuple[str, str]]:
    """The figures of a warning, whatever spaces they have."""
    return [(plain(name), plain(text)) for name, text in messages(language).figures(*compared)]


def test_name_of_a_figure_begins_with_a_capital_letter_unless_it_begins_with_a_unit() -> None:
    names = [name for name, _ in figures("en", {"kw_per_gpu": "1500", "power_mw": "1.5"})]
    assert [capitalized(name) for name in names] == ["kW per GPU", "Power (MW)"]


def test_figures_of_a_flag_are_formatted_like_all_figures() -> None:
    compared = {"amount": "about USD 5000000000", "ulsan/total": "KRW 1–2", "off by": "0.25", "until": "2021"}
    assert figures("en", compared) == [
        ("Amount", "about US$5bn"),
        ("ulsan (total)", "₩1 – ₩2"),
        ("Deviation", "+25%"),
        ("Until", "2021"),
    ]
    rates = {"stated": "about KRW 2400000000000", "also stated": "USD 1800000000", "implied rate": "0.00075"}
    assert figures("en", rates)[2] == ("Implied rate", "US$1 = ₩1,333.33")
    assert figures("ko", compared)[0] == ("금액", "약 50억 달러")
    assert figures("ko", compared, {"deal/ulsan": "울산"})[1] == ("울산(total)", "1원~2원")
    assert figures("ko", {"source": "2025", "before": "2025-10-29"}) == [
        ("출처", "2025"),
        ("이전", "2025년 10월 29일"),
    ]
