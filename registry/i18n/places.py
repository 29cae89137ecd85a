"""The names of countries and their subdivisions in the interface languages."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from babel import Locale
from pycountry import countries, subdivisions

from registry.i18n import LANGUAGES, Label, translations


@lru_cache(maxsize=20_000)
def place_name(code: str, language: str) -> str:
    """The name of a country or of a subdivision (ISO 3166); its code where no name is known."""
    name, country = _named(code, language)
    if country is None:
        return name
    pattern = translations(language).pgettext("format", "subdivision")
    return pattern % {"name": name, "country": place_name(country, language)}


def _named(code: str, language: str) -> tuple[str, str | None]:
    """The name of a place, and the country to name with it; None for a country, or where the name needs none."""
    catalogue = translations(language)
    own = catalogue.pgettext(Label.context, f"place/{code}")
    if own != f"place/{code}":
        return own, None
    if "-" not in code:
        return Locale.parse(language).territories.get(code) or code, None
    subdivision: Any = subdivisions.get(code=code)  # type: ignore[no-untyped-call]
    if subdivision is None:
        return code, None
    translated = catalogue.pgettext("subdivision", code)
    name = translated if translated != code else str(subdivision.name)
    return name, code[:2] if countries.get(alpha_2=code[:2]) else None


# What else people call them.
_OTHER_NAMES = {
    "AE": ("UAE",), "BN": ("Brunei",), "BO": ("Bolivia",), "CD": ("DR Congo", "DRC", "Democratic Republic of Congo"),
    "CG": ("Republic of Congo", "Congo"), "CI": ("Ivory Coast",), "CV": ("Cape Verde",), "CZ": ("Czech Republic",),
    "FM": ("Micronesia",), "GB": ("Britain", "Great Britain", "UK", "U.K."), "HK": ("Hong Kong",), "IR": ("Iran",),
    "KP": ("North Korea",), "KR": ("한국", "Korea", "South Korea", "Republic of Korea"), "LA": ("Laos",),
    "MD": ("Moldova",),
    "MM": ("Burma",), "MO": ("Macau", "Macao"), "NL": ("Holland",), "PS": ("Palestine",), "RU": ("Russia",),
    "SY": ("Syria",), "SZ": ("Swaziland",), "TL": ("East Timor",), "TR": ("Turkey",), "TW": ("Taiwan",),
    "TZ": ("Tanzania",), "US": ("USA", "U.S.A.", "U.S.", "America"), "VA": ("Vatican City",), "VE": ("Venezuela",),
    "VN": ("Vietnam",),
    "KR-11": ("서울특별시",), "KR-26": ("부산광역시", "Pusan"), "KR-27": ("대구광역시", "Taegu"),
    "KR-28": ("인천광역시",),
    "KR-29": ("광주광역시", "Kwangju"), "KR-30": ("대전광역시", "Taejon"), "KR-31": ("울산광역시",),
    "KR-41": ("경기도",),
    "KR-42": ("강원도", "강원특별자치도"), "KR-43": ("충북", "충청북도"), "KR-44": ("충남", "충청남도"),
    "KR-45": ("전북", "전라북도", "전북특별자치도"), "KR-46": ("전남", "전라남도"), "KR-47": ("경북", "경상북도"),
    "KR-48": ("경남", "경상남도"), "KR-49": ("제주도", "제주특별자치도"), "KR-50": ("세종특별자치시",),
}  # fmt: skip


def place_names(code: str) -> dict[str, tuple[str, ...]]:
    """What a place is called in each interface language: its name first; other names are under `""`."""
    names = {language: (_named(code, language)[0],) for language in LANGUAGES}
    return {**names, "": _OTHER_NAMES.get(code, ())}
