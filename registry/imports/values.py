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
from registry.i18n.places import place_names
from registry.imports import korean
from registry.imports.messages import ImportText

_MICRO = Decimal("0.000001")
MAX_SLUG_LENGTH = 60

_NUMBERS = {
    ".": re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII),
    ",": re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][+-]?\d{1,2})?", re.ASCII),
}
_SPACED = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f'’](?=\d{3}(?!\d))")
_HALF = re.compile(r"(?:(\d{4})[- /]?H([12])|H([12])[- /]?(\d{4}))", re.ASCII | re.IGNORECASE)
_MONTH = re.compile(
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?,? (\d{4})",
    re.ASCII | re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_QUARTER = re.compile(
    r"(?:(\d{4})[- /]?Q([1-4])|Q([1-4])[- /]?(\d{4})|(\d{4})년\s*([1-4])분기)", re.ASCII | re.IGNORECASE
)


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
    """A date as EDTF: in one of the formats, a month, a quarter (`2021-Q3`), a half-year, a year, or EDTF itself.

    Raises:
        ValueProblem: The text is no date.
    """
    for form in formats:
        try:
            day = datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 - a date has no time zone
        except ValueError:
            continue
        return day[: _precision(form)]
    if match := _QUARTER.fullmatch(text):
        year, quarter = match[1] or match[4] or match[5], int(match[2] or match[3] or match[6])
        return f"{year}-{QUARTER_CODES + quarter}"
    if match := _HALF.fullmatch(text):
        first, last = ("01", "06") if (match[2] or match[3]) == "1" else ("07", "12")
        year = match[1] or match[4]
        return f"{year}-{first}/{year}-{last}"
    if match := _MONTH.fullmatch(text):
        return f"{match[2]}-{_MONTHS.index(match[1][:3].lower()) + 1:02}"
    text = korean.edtf_of(text) or text
    # The time of day that spreadsheet programs add to a day.
    text = re.sub(r"[T ]00:00(:00(\.0+)?)?\Z", "", text)
    try:
        first_day(text), last_day(text)
    except ValueError:
        raise ValueProblem(ImportText("date-invalid", text=text)) from None
    return text


def _precision(form: str) -> int:
    """The length of what a format of dates states: `%m/%Y` is a month, not its first day."""
    if re.search("%[djDFcxuwaAUWV]", form):
        return len("2021-05-01")
    return len("2021-05") if re.search("%[mbBh]", form) else len("2021")


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
    name = _name_key(text)
    if country is not None:
        names = _subdivisions(country)
        if code := names.get(text.casefold()) or names.get(f"{country}-{text}".casefold()):
            return code
    elif name in _us_states():
        raise ValueProblem(ImportText("place-ambiguous", text=text, state=_us_states()[name]))
    if re.fullmatch(r"[A-Z]{2}-[A-Z0-9]{1,3}", text):
        if text.casefold() in _subdivisions(text[:2]):
            return text
    else:
        found = _countries().get(name)
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
    return states | {name: code for name, code in _subdivisions("US").items() if name in _countries()}


@lru_cache
def _countries() -> dict[str, str]:
    """The codes of countries by their codes and their names: those of ISO 3166, and what people call them.

    A name that two countries have, such as one that only differs in its article, is left out.
    """
    known: dict[str, str] = {}
    shared: set[str] = set()
    all_countries: Any = pycountry.countries
    for one in all_countries:
        fields = ("alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name")
        names = [getattr(one, name, "") for name in fields]
        names += [name for some in place_names(one.alpha_2).values() for name in some]
        for name in {_name_key(name) for name in names if name}:
            if known.setdefault(name, one.alpha_2) != one.alpha_2:
                shared.add(name)
    return {name: code for name, code in known.items() if name not in shared}


def _name_key(name: str) -> str:
    """A country's name without case, accents, articles and punctuation: `Korea (the Republic of)`."""
    folded = unicodedata.normalize("NFKD", name.replace("’", "'")).casefold()
    plain = "".join(sign for sign in folded if not unicodedata.combining(sign))
    return " ".join(word for word in re.findall(r"[\w']+", plain) if word != "the")


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


_LATIN_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
"""Letters that are no ASCII letters with an accent."""
_TOTALS = frozenset({"합계", "총합계", "총계", "소계", "누계", "계", "total", "grandtotal", "subtotal", "sum"})
"""What a row of totals has for its name, without spaces."""


@lru_cache(maxsize=50_000)
def slugify(name: str) -> str:
    """A name as a slug: its letters and digits without accents, everything else as hyphens.

    Where that leaves letters out, a digest stands for them: two companies named `LG…` in Hangul are not one.
    """
    folded = unicodedata.normalize("NFKD", name).lower().translate(_LATIN_LETTERS)
    letters = "".join(sign for sign in folded if not unicodedata.combining(sign))
    slug = "-".join(re.findall(r"[a-z0-9]+", letters))
    if slug and len(slug) <= MAX_SLUG_LENGTH and not any(sign.isalnum() and not sign.isascii() for sign in letters):
        return slug
    rest = digest(unicodedata.normalize("NFC", name))
    return f"{slug[: MAX_SLUG_LENGTH - len(rest) - 1].strip('-')}-{rest}".strip("-")


def is_total(text: str) -> bool:
    """Whether a text is what a row of totals or a footnote begins with, in place of a name."""
    return "".join(text.split()).casefold() in _TOTALS or text.startswith("※")


def digest(text: str) -> str:
    """A digest of a text, eight characters long."""
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
