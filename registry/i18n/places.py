"""The names of countries and their subdivisions in the interface languages."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from babel import Locale
from pycountry import countries, subdivisions

from registry.i18n import Label, translations


@lru_cache(maxsize=20_000)
def place_name(code: str, language: str) -> str:
    """The name of a country or of a subdivision (ISO 3166); its code where no name is known."""
    own = translations(language).pgettext(Label.context, f"place/{code}")
    if own != f"place/{code}":
        return own
    if "-" not in code:
        return Locale.parse(language).territories.get(code) or code
    subdivision: Any = subdivisions.get(code=code)  # type: ignore[no-untyped-call]
    if subdivision is None:
        return code
    country = countries.get(alpha_2=code[:2])
    return f"{subdivision.name}, {place_name(country.alpha_2, language)}" if country else str(subdivision.name)
