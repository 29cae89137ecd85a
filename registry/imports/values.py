"""Conversions of the texts of cells into the values of events."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any

import pycountry

from registry.domain.money import format_decimal
from registry.events import edtf
from registry.events.edtf import first_day, last_day
from registry.imports import korean
from registry.imports.messages import ImportText

_MICRO = Decimal("0.000001")
MAX_SLUG_LENGTH = 60

_NUMBERS = {
    ".": re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII),
    ",": re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][+-]?\d{1,2})?", re.ASCII),
}
_SPACED = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f'’](?=\d{3}(?!\d))")
_QUARTER = re.compile(
    r"(?:(\d{4})[- /]?Q([1-4])|Q([1-4])[- /]?(\d{4})|(\d{4})년\s*([1-4])분기)", re.ASCII | re.IGNORECASE
)
_LOOSE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)


class ValueProblem(ValueError):
    """A cell's text is not a value of its field."""

    def __init__(self, message: ImportText) -> None:
        super().__init__(str(message))
        self.message = message


def parse_number(text: str, decimal_sign: str = ".") -> Decimal:
    """A decimal with or without thousands separators.

    Raises:
        ValueProblem: The text is not a number. `1,20` is none where the decimal sign is a point.
    """
    digits = _SPACED.sub("", text.strip())
    if not _NUMBERS[decimal_sign].fullmatch(digits):
        raise ValueProblem(ImportText("not-a-number", text=text, sign=decimal_sign))
    if decimal_sign == ",":
        digits = digits.replace(".", "").replace(",", ".")
    return Decimal(digits.replace(",", ""))


def decimal_text(text: str, decimal_sign: str, times: Decimal | None) -> str:
    """A non-negative decimal as events write it, rounded to six decimal places."""
    number = parse_number(text, decimal_sign)
    if times is not None:
        number *= times
    if number < 0:
        raise ValueProblem(ImportText("number-negative", text=text))
    return format_decimal(number.quantize(_MICRO, ROUND_HALF_EVEN))


def whole_number(text: str, decimal_sign: str, times: Decimal | None) -> int:
    """A whole number, such as a count."""
    number = parse_number(text, decimal_sign) * (times if times is not None else 1)
    if number != int(number) or number < 0:
        raise ValueProblem(ImportText("not-an-integer", text=text))
    return int(number)


QUARTER_CODES = 32
"""EDTF level 2 writes the quarters of a year as months 33 to 36."""


@lru_cache(maxsize=50_000)
def loose_date(text: str, formats: tuple[str, ...]) -> str:
    """A date as EDTF: a day in one of the formats, a month, a quarter (`2021-Q3`), a year, or EDTF itself.

    Raises:
        ValueProblem: The text is no date.
    """
    for form in formats:
        try:
            return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 - a date has no time zone
        except ValueError:
            continue
    if match := _QUARTER.fullmatch(text):
        year, quarter = match[1] or match[4] or match[5], int(match[2] or match[3] or match[6])
        return f"{year}-{QUARTER_CODES + quarter}"
    text = korean.edtf_of(text) or text
    # The time of day that spreadsheet programs add to a day.
    text = re.sub(r"[T ]00:00(:00(\.0+)?)?\Z", "", text)
    try:
        first_day(text), last_day(text)
    except ValueError:
        raise ValueProblem(ImportText("date-invalid", text=text)) from None
    return text


def effective_day(loose: str, published_on: date | None) -> date:
    """The day from which a statement with a loose date holds (`edtf.effective_day`).

    Raises:
        ValueProblem: The date has no last day.
    """
    if last_day(loose) == date.max:
        raise ValueProblem(ImportText("date-without-end", text=loose))
    return edtf.effective_day(loose, published_on)


# --- places -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def place_code(text: str, country: str | None) -> str:
    """The ISO 3166 code of a country or, within `country`, of a subdivision, by its code or its name.

    Without the country, a code or name that a state of the US has too is refused: it is not known which is meant.

    Raises:
        ValueProblem: There is no such place.
    """
    if country in (None, "KR") and (code := korean.place_of(text)) is not None:
        return code
    folded = text.casefold()
    if country is not None:
        names = _subdivisions(country)
        if code := names.get(folded) or names.get(f"{country}-{text}".casefold()):
            return code
    elif folded in _us_states():
        raise ValueProblem(ImportText("place-ambiguous", text=text, state=_us_states()[folded]))
    if re.fullmatch(r"[A-Z]{2}-[A-Z0-9]{1,3}", text):
        if text.casefold() in _subdivisions(text[:2]):
            return text
    else:
        try:
            found = str(pycountry.countries.lookup(text).alpha_2)
        except LookupError:
            found = ""
        # Within a country, only that country is meant: `CA` is not Canada in a list of US plants.
        if found and country in (None, found):
            return found
    raise ValueProblem(ImportText("place-unknown", text=text))


@lru_cache
def _subdivisions(country: str) -> dict[str, str]:
    """The codes of a country's subdivisions by their code and by their name."""
    known: dict[str, str] = {}
    subdivisions: Any = pycountry.subdivisions
    for subdivision in subdivisions.get(country_code=country) or ():
        known[subdivision.name.casefold()] = subdivision.code
        known[subdivision.code.casefold()] = subdivision.code
    return known


@lru_cache
def _us_states() -> dict[str, str]:
    """The US states, by their two-letter code, and by their name where a country has it too."""
    states = {code.partition("-")[2].casefold(): code for code in _subdivisions("US").values()}
    countries: Any = pycountry.countries
    return states | {
        name: code for name, code in _subdivisions("US").items() if countries.get(name=name.title()) is not None
    }


def degrees(text: str) -> str:
    """Decimal degrees of a coordinate in degrees, minutes and seconds, or in decimal degrees."""
    compact = re.sub(r"\s+", "", text).replace("′", "'").replace("″", '"').replace("’", "'").replace("”", '"')
    if match := re.fullmatch(r"(\d{1,3})°(\d{1,2})'(\d{1,2}(?:\.\d+)?)\"([NSEW])", compact, re.ASCII):
        value = Decimal(match[1]) + Decimal(match[2]) / 60 + Decimal(match[3]) / 3600
        value = -value if match[4] in "SW" else value
    elif re.fullmatch(r"-?\d{1,3}(\.\d+)?", compact, re.ASCII):
        value = Decimal(compact)
    else:
        raise ValueProblem(ImportText("not-a-coordinate", text=text))
    return format_decimal(value.quantize(_MICRO, ROUND_HALF_EVEN))


# --- names ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def slugify(name: str) -> str:
    """A name as a slug: its letters and digits without accents, everything else as hyphens.

    A name without Latin letters or digits becomes a digest, so that it has a slug too.
    """
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:MAX_SLUG_LENGTH].strip("-")
    return slug or digest(name)


def digest(text: str) -> str:
    """Eight characters that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def localized(text: str, language: str) -> dict[str, str]:
    """A text by its language: Korean if it has Hangul, else the given language."""
    return {"ko" if re.search("[가-힣]", text) else language: text}


def equal(one: Any, other: Any) -> bool:
    """Whether two values of a state are equal: numbers by value, None and what is left out alike."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(equal(one.get(name), other.get(name)) for name in {*one, *other})
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return _is_decimal(one) and _is_decimal(other) and Decimal(one) == Decimal(other)
    return bool(one == other) or (_is_empty(one) and _is_empty(other))


def _is_empty(value: Any) -> bool:
    return value is None or value in ((), [], {})


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) is not None
