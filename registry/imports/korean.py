"""Dates, places and units as Korean sheets write them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pycountry

from registry.i18n import Label, render

_DAY_WITH_UNITS = re.compile(r"(\d{4})년(?:\s*(\d{1,2})월(?:\s*(\d{1,2})일)?)?", re.ASCII)
_DAY_WITH_DOTS = re.compile(r"(\d{4})\.\s?(\d{1,2})\.(?:\s?(\d{1,2})\.?)?", re.ASCII)
_HALF = re.compile(r"(\d{4})년?\s*(상|하)반기", re.ASCII)

_SUFFIX = re.compile(r"(특별자치도|특별자치시|특별시|광역시|도)\Z")
_LONG_NAMES = {
    "충청북": "충북",
    "충청남": "충남",
    "전라북": "전북",
    "전라남": "전남",
    "경상북": "경북",
    "경상남": "경남",
}


def edtf_of(text: str) -> str | None:
    """A Korean date as EDTF: `2025년 3월 2일`, `2025. 3. 2.`, `2027년 11월`, `2029년 상반기`; None for another text."""
    if match := _HALF.fullmatch(text):
        first, last = ("01", "06") if match[2] == "상" else ("07", "12")
        return f"{match[1]}-{first}/{match[1]}-{last}"
    match = _DAY_WITH_UNITS.fullmatch(text) or _DAY_WITH_DOTS.fullmatch(text)
    if match is None:
        return None
    return "-".join([match[1], *(f"{int(part):02}" for part in match.groups()[1:] if part is not None)])


def place_of(text: str) -> str | None:
    """The ISO 3166-2 code of a Korean province or metropolitan city by its Korean name, long or short."""
    name = _SUFFIX.sub("", text)
    return _places().get(_LONG_NAMES.get(name, name))


@cache
def _places() -> dict[str, str]:
    subdivisions: Any = pycountry.subdivisions
    codes = [one.code for one in subdivisions.get(country_code="KR") or ()]
    names = {render(Label(f"place/{code}"), "ko"): code for code in codes}
    return {name: code for name, code in names.items() if not name.startswith("place/")}
