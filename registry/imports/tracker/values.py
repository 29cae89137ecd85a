"""Conversions between the texts of cells and the values of events."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pycountry

from registry.domain.money import format_decimal
from registry.events.values import Localized
from registry.imports.messages import ImportText

SITE_FIELDS = ("address", "place", "latitude", "longitude", "power_mw", "gpus")
CAPACITY_FIELDS = ("power_mw", "gpus")

_MICRO = Decimal("0.000001")


class ValueProblem(ValueError):
    """A cell's text is not a value of its field."""

    def __init__(self, message: ImportText) -> None:
        super().__init__(str(message))
        self.message = message


def parse_site_value(name: str, text: str, places: Mapping[str, str]) -> str | None:
    """A field of a site as events write it. Zero is None, since trackers write zero for unknown values.

    Args:
        places: Names of places that the mapping gives an ISO 3166 code.

    Raises:
        ValueProblem: The text is not a value of this field.
    """
    match name:
        case "address":
            return " ".join(text.split())[:300]
        case "place":
            return _parse_place(text, places)
        case "latitude" | "longitude":
            return _parse_degrees(text)
        case _:
            number = parse_number(text)
            if number is None or number < 0:
                raise ValueProblem(ImportText("not-a-number", text=text))
            if number == 0:
                return None
            if name == "gpus" and number != int(number):
                raise ValueProblem(ImportText("not-an-integer", text=text))
            return format_decimal(number.quantize(_MICRO, ROUND_HALF_EVEN))


def parse_number(text: str) -> Decimal | None:
    """A decimal with or without thousands separators; None if the text is not one."""
    digits = text.replace(",", "").strip()
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", digits, re.ASCII):
        return None
    return Decimal(digits)


def parse_date(text: str, formats: tuple[str, ...]) -> date | None:
    """A date in the first of the formats that fits; None if none does."""
    for form in formats:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date has no time zone
        except ValueError:
            continue
    return None


def _parse_place(text: str, places: Mapping[str, str]) -> str:
    code = places.get(text)
    if code is None:
        try:
            code = str(pycountry.countries.lookup(text).alpha_2)
        except LookupError:
            code = text
    known: Any = pycountry.subdivisions if "-" in code else pycountry.countries
    if (known.get(code=code) if "-" in code else known.get(alpha_2=code)) is None:
        raise ValueProblem(ImportText("place-unknown", text=code))
    return code


def _parse_degrees(text: str) -> str:
    """Decimal degrees of a coordinate in degrees, minutes and seconds, or in decimal degrees."""
    compact = re.sub(r"\s+", "", text).replace("′", "'").replace("″", '"').replace("’", "'").replace("”", '"')
    if match := re.fullmatch(r"(\d{1,3})°(\d{1,2})'(\d{1,2}(?:\.\d+)?)\"([NSEW])", compact, re.ASCII):
        degrees = Decimal(match[1]) + Decimal(match[2]) / 60 + Decimal(match[3]) / 3600
        value = -degrees if match[4] in "SW" else degrees
    elif re.fullmatch(r"-?\d{1,3}(\.\d+)?", compact, re.ASCII):
        value = Decimal(compact)
    else:
        raise ValueProblem(ImportText("not-a-coordinate", text=text))
    return format_decimal(value.quantize(_MICRO, ROUND_HALF_EVEN))


def slugify(name: str) -> str:
    """A name as a slug: its letters and digits without accents, everything else as hyphens."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:60].strip("-")


def title_of(name: str) -> Localized:
    """A name as a title: Korean if it has Hangul, else English."""
    return Localized(ko=name) if re.search("[가-힣]", name) else Localized(en=name)


def site_fields(values: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a site event from the values of a row."""
    fields: dict[str, Any] = {name: value for name, value in values.items() if name != "address"}
    if "address" in values:
        fields["name"] = Localized(en=values["address"])
    if "gpus" in fields:
        fields["gpus"] = int(fields["gpus"])
    return fields


def are_equal(field: str, one: str, other: str) -> bool:
    """Whether two values of a site's field are equal; numbers are compared by value."""
    return one == other if field in ("address", "place") else Decimal(one) == Decimal(other)


def toml_string(text: str) -> str:
    """A TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
