"""Files of exchange rates: the ECB's history, IMF tables, SDMX-CSV and rows of day,currency,per,source."""

from __future__ import annotations

import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from registry.domain.quotes import RateRow
from registry.errors import UnreadableRates
from registry.imports.rates import packaged_history, read_rates

DAY = date(2025, 10, 29)
ECB = "Date,USD,JPY,CYP,KRW,\n2025-10-29,1.1636,176.55,N/A,1655.74,\n2025-10-28,1.1655,N/A,N/A,1672.4,\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rates.csv"


def test_ecb_history_needs_no_source(file: Path) -> None:
    file.write_text(ECB)
    rows = read_rates(file)
    assert len(rows) == 5
    assert rows[0] == RateRow("ECB", "EUR", "USD", DAY, Decimal("1.1636"))
    assert {row.currency for row in rows} == {"USD", "JPY", "KRW"}


def test_ecb_history_is_read_from_the_zip_file_that_the_bank_offers(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("eurofxref-hist.csv", ECB)
    assert len(read_rates(file)) == 5
    assert len(packaged_history()) > 200_000


@pytest.mark.parametrize(
    "text",
    [
        "day,currency,per,source\n2025-10-29,KRW,1433.5,BOK\n",
        "\ufeffDay;Currency;Per;Source\r\n2025-10-29;KRW;1433.5;BOK\r\n",
        'day,currency,per,base,source\n2025-10-29,KRW,"1,433.5",EUR,BOK\n\n',
    ],
)
def test_rows_of_day_currency_per_and_source_are_per_euro(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_rates(file) == [RateRow("BOK", "EUR", "KRW", DAY, Decimal("1433.5"))]


def test_sdmx_csv_names_the_currency_that_it_is_quoted_for(file: Path) -> None:
    file.write_text(
        "KEY,FREQ,CURRENCY,CURRENCY_DENOM,EXR_TYPE,TIME_PERIOD,OBS_VALUE\n"
        "EXR.D.KRW.USD.SP00.A,D,KRW,USD,SP00,2025-10-29,1433.5\n"
        "EXR.D.KRW.USD.SP00.A,D,KRW,USD,SP00,2025-10-30,\n"
    )
    assert read_rates(file, "BIS") == [RateRow("BIS", "USD", "KRW", DAY, Decimal("1433.5"))]


def test_imf_table_has_currencies_by_name_and_days_in_columns(file: Path) -> None:
    file.write_text(
        "SDRs per Currency unit and Currency units per SDR for October 2025\n"
        "SDRs per Currency unit (2)\n\nCurrency\tOctober 28, 2025\tOctober 29, 2025\n"
        "Korean won\t0.00051\t0.00051\n\nCurrency units per SDR (3)\n\n"
        "Currency\tOctober 28, 2025\tOctober 29, 2025\n"
        "Korean won\t1,960.02\t1,950.5\nEuro(1)\t1.17\tNA\nU.S. dollar\t1.3645\t1.3600\n\n(1) A note\n"
    )
    rows = read_rates(file)
    assert RateRow("IMF", "XDR", "KRW", DAY, Decimal("1950.5")) in rows
    assert [row.value for row in rows if row.currency == "EUR"] == [Decimal("1.17")]
    assert len(rows) == 5


def test_columns_of_another_bank_need_its_name(file: Path) -> None:
    file.write_text("date,USD,KRW\n2025-10-29,1,1433.5\n")
    with pytest.raises(UnreadableRates, match="--source"):
        read_rates(file)
    assert {(row.source, row.base) for row in read_rates(file, "BOK", "USD")} == {("BOK", "USD")}


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("", "layout"),
        ("name,amount\nplant,5\n", "layout"),
        ("day,currency,per,source\n2025-10,KRW,1,BOK\n", "day"),
        ("day,currency,per,source\n2025-10-29,won,1,BOK\n", "currency"),
        ("day,currency,per,source\n2025-10-29,KRW,zero,BOK\n", "value"),
        ("day,currency,per,source\n2025-10-29,KRW,-1,BOK\n", "value"),
        ("day,currency,per,source\n2025-10-29,KRW,Infinity,BOK\n", "value"),
        ("day,currency,per,source\n2025-10-29,KRW\n", "short_row"),
        ("day,currency,per\n2025-10-29,KRW,5\n", "no_source"),
        ("day,currency,per,source\n2025-10-29,KRW,1,BOK\n2025-10-29,KRW,2,BOK\n", "repeated"),
        ('Currency,"October 29, 2025"\nKorean won,1\n', "no_base"),
        ('Currency units per SDR\nCurrency,"October 29, 2025"\nMoon dollar,1\n', "currency"),
    ],
)
def test_file_with_a_wrong_row_is_refused_whole(file: Path, text: str, case: str) -> None:
    file.write_text(text)
    with pytest.raises(UnreadableRates) as refused:
        read_rates(file)
    assert refused.value.case == case


def test_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes("day,currency,per,source\n2025-10-29,KRW,1,한국은행\n".encode("euc-kr"))
    with pytest.raises(UnreadableRates) as refused:
        read_rates(file)
    assert refused.value.case == "encoding"
