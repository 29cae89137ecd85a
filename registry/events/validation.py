"""Validation of announcements beyond their types: existing places, calendar dates, ordered ranges, check digits.

It applies to announcements that arrive, not to stored events: a code that its register withdraws must still decode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import pycountry
from msgspec import UNSET, Struct
from stdnum import ean, lei
from stdnum.au import abn
from stdnum.br import cnpj
from stdnum.dk import cvr
from stdnum.fi import ytunnus
from stdnum.fr import siren
from stdnum.jp import cn
from stdnum.kr import brn
from stdnum.no import orgnr
from stdnum.se import orgnr as swedish_orgnr

from registry.errors import FieldError
from registry.events.codec import earliest_publication
from registry.events.edtf import effective_day, first_day, last_day
from registry.events.types import (
    BOOKKEEPING_TYPES,
    AnyAnnouncement,
    ClaimReported,
    ClaimRetracted,
    EventCorrected,
    EventRedacted,
    EventVoided,
    MetricReported,
    MetricRevised,
    OrganizationIdentified,
    PrincipalFact,
)
from registry.events.values import Amount, Classifications, Horizon, Localized, Source

# A date outside this range is a typing error. The upper bound leaves a day after every date.
FIRST_DAY, LAST_DAY = date(1800, 1, 1), date(2999, 12, 31)

# A longer list belongs in several events.
MAX_LIST_ITEMS = 200


_UNDATED = (*BOOKKEEPING_TYPES, ClaimReported, ClaimRetracted, *get_args(PrincipalFact))


def validate(announcement: AnyAnnouncement, at: str) -> Iterator[FieldError]:
    """Find the wrong values of a decoded announcement. `at` is its JSON pointer in the body."""
    event = announcement.event
    if announcement.effective_on is None and announcement.date is None and not isinstance(event, _UNDATED):
        yield FieldError(f"{at}/effective_on", "required_effective_on")
    yield from _day(announcement.effective_on, f"{at}/effective_on")
    yield from _loose_date(announcement, at)
    yield from _sources(announcement.sources, at)
    yield from _values(event, f"{at}/event")
    match event:
        case EventRedacted():
            for name in ("also", "effects"):
                if getattr(event, name):
                    yield FieldError(f"{at}/event/{name}", "set_by_registry")
        case EventCorrected():
            yield from _replacement(event, f"{at}/event/replacement")
        case ClaimReported():
            yield from _claim(event, f"{at}/event/value")
        case _:
            pass


def _loose_date(announcement: AnyAnnouncement, at: str) -> Iterator[FieldError]:
    text = announcement.date
    if text is None:
        return
    if isinstance(announcement.event, (EventCorrected, EventVoided, EventRedacted)):
        yield FieldError(f"{at}/date", "date_of_bookkeeping")
    elif error := _edtf(text) or _endless(text):
        yield error.at(f"{at}/date")
    else:
        day = effective_day(text, earliest_publication(announcement.sources))
        if announcement.effective_on not in (None, day):
            yield FieldError(f"{at}/effective_on", "date_disagrees", day=day, date=text)


def _endless(text: str) -> FieldError | None:
    return FieldError("", "date_without_end", value=text) if last_day(text) > LAST_DAY else None


def _replacement(event: EventCorrected, at: str) -> Iterator[FieldError]:
    replacement = event.replacement
    if all(getattr(replacement, f) is UNSET for f in replacement.__struct_fields__):
        yield FieldError(at, "replacement_empty")
    if replacement.sources is not UNSET:
        yield from _sources(replacement.sources, at)
    if replacement.event is not UNSET:
        yield from _values(replacement.event, f"{at}/event")
    if isinstance(replacement.date, str) and (error := _edtf(replacement.date) or _endless(replacement.date)):
        yield error.at(f"{at}/date")
    if (
        replacement.effective_on is None
        and not isinstance(replacement.date, str)
        and not isinstance(replacement.event, BOOKKEEPING_TYPES)
    ):
        yield FieldError(f"{at}/effective_on", "null_effective_on")
    if isinstance(replacement.effective_on, date):
        yield from _day(replacement.effective_on, f"{at}/effective_on")


def _claim(event: ClaimReported, at: str) -> Iterator[FieldError]:
    # `domain/fold/claims.py` checks whether the field accepts claims and values of this type.
    check = _CHECKS.get(event.field.rsplit("/", 1)[1])
    error = check(event.value) if check is not None and isinstance(event.value, str) else None
    if error:
        yield error.at(at)


def _sources(sources: tuple[Source, ...], at: str) -> Iterator[FieldError]:
    for i, source in enumerate(sources):
        if source.publisher is source.url is source.title is source.locator is None:
            yield FieldError(f"{at}/sources/{i}", "source_empty")
        if source.quote is not None and source.locator is None:
            yield FieldError(f"{at}/sources/{i}/locator", "required_with_quote")
        for name in ("url", "archived_url"):
            address = getattr(source, name)
            error = _url(address) if address is not None else None
            if error:
                yield error.at(f"{at}/sources/{i}/{name}")
        yield from _day(source.published_on, f"{at}/sources/{i}/published_on")


# Fast path for most URLs: a host without port and user.
_PLAIN = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)*(?:[/?#]|\Z)")


@lru_cache(maxsize=10_000)
def _url(url: str) -> FieldError | None:
    if _PLAIN.match(url):
        return None
    no_host = FieldError("", "url_host", value=url[:100])
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            # It may hold a password, so the error does not repeat the value.
            return FieldError("", "url_credentials")
        return None if parts.hostname and parts.port != 0 else no_host
    except ValueError:
        return no_host


def _day(day: date | None, at: str) -> Iterator[FieldError]:
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        yield FieldError(at, "day_out_of_range", value=day, first=FIRST_DAY, last=LAST_DAY)


def _values(value: Struct, at: str) -> Iterator[FieldError]:
    """Check each field of a struct, by its name or by its type, and the fields of nested structs."""
    if isinstance(value, EventCorrected):
        return
    for name, encoded in _checked(type(value)):
        field_value = getattr(value, name)
        if field_value is not None and field_value != ():
            yield from _value(name, field_value, f"{at}/{encoded}")
    match value:
        case Horizon(from_=str(begin), until=str(end)) if not (_edtf(begin) or _edtf(end)):
            if first_day(begin) > last_day(end):
                yield FieldError(f"{at}/until", "before_from")
        case OrganizationIdentified():
            if value.scheme in _ALSO_NAMED:
                yield FieldError(f"{at}/scheme", "scheme_named", value=value.scheme, known=_ALSO_NAMED[value.scheme])
            elif not _SCHEMES.get(value.scheme, _is_given)(value.identifier):
                yield FieldError(f"{at}/identifier", "identifier", value=value.identifier, scheme=value.scheme)
        case MetricReported() | MetricRevised():
            yield from _metric(value, at)
        case _:
            pass


# The metrics that count something, and the codes of the axis `mode`.
_COUNTS = frozenset({"jobs", "construction_jobs", "gpus"})
_MODES = ("greenfield", "expansion", "acquisition", "joint_venture", "refurbishment")


def _metric(event: MetricReported | MetricRevised, at: str) -> Iterator[FieldError]:
    if event.date is not None and event.horizon is not None:
        yield FieldError(f"{at}/horizon", "date_and_horizon")
    if isinstance(event.value, str) and event.metric in _COUNTS and Decimal(event.value) % 1:
        yield FieldError(f"{at}/value", "whole_number", value=event.value)
    needs_unit = event.metric == "capacity_per_year"
    if isinstance(event.unit, str) and not needs_unit:
        yield FieldError(f"{at}/unit", "unit_of_metric", metric=event.metric)
    if needs_unit and event.unit is None and isinstance(event, MetricReported):
        yield FieldError(f"{at}/unit", "required_unit", metric=event.metric)


def _classifications(axes: Classifications, at: str) -> Iterator[FieldError]:
    for axis, codes in axes.items():
        for i, code in enumerate(codes):
            if axis == "mode" and code not in _MODES:
                yield FieldError(f"{at}/{axis}/{i}", "choice", value=code[:50], known=_MODES)
            if code in codes[:i]:
                yield FieldError(f"{at}/{axis}/{i}", "code_repeated", value=code)


@cache
def _checked(kind: type[Struct]) -> tuple[tuple[str, str], ...]:
    """The fields of a struct that need checks, with their names in JSON."""
    hints = get_type_hints(kind)
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return tuple((name, encoded) for name, encoded in names if name in _CHECKS or _has_parts(hints[name]))


def _has_parts(hint: Any) -> bool:
    """Whether a value of this type is or contains a struct, a list or a localized text."""
    kind = get_origin(hint) or hint
    return (isinstance(kind, type) and issubclass(kind, (Struct, tuple, Localized, Classifications))) or any(
        map(_has_parts, get_args(hint))
    )


def _value(name: str, value: object, at: str) -> Iterator[FieldError]:  # noqa: C901 - one case for each type
    match value:
        case Amount():
            yield from _amount(value, at)
        case Struct():
            yield from _values(value, at)
        case Localized() if not value:
            yield FieldError(at, "localized_empty")
        case Classifications():
            yield from _classifications(value, at)
        case tuple():
            if len(value) > MAX_LIST_ITEMS:
                yield FieldError(at, "list_too_long", limit=MAX_LIST_ITEMS)
            for i, item in enumerate(value):
                if isinstance(item, Struct):
                    yield from _values(item, f"{at}/{i}")
        case str() if name in _CHECKS:
            error = _CHECKS[name](value)
            if error:
                yield error.at(at)
        case _:
            pass


def _amount(amount: Amount, at: str) -> Iterator[FieldError]:
    if amount.value is amount.low is amount.high is amount.wording is None:
        yield FieldError(f"{at}/value", "required_amount")
    bounds = [(n, Decimal(b)) for n in ("low", "value", "high") if (b := getattr(amount, n)) is not None]
    for (lower_name, lower), (upper_name, upper) in pairwise(bounds):
        if lower > upper:
            yield FieldError(f"{at}/{upper_name}", "less_than_field", other=lower_name)
    currencies = [amount.currency, *(s.currency for s in amount.stated_as)]
    if len(currencies) != len(set(currencies)):
        yield FieldError(f"{at}/stated_as", "currency_repeated")


@lru_cache(maxsize=10_000)
def _edtf(text: str) -> FieldError | None:
    try:
        return None if first_day(text) <= last_day(text) else FieldError("", "edtf_reversed", value=text)
    except ValueError:
        return FieldError("", "edtf", value=text)


def load_places() -> None:
    """Read the codes of ISO 3166, which the first place that is validated would wait for (30 ms)."""
    for code in ("KR", "KR-11"):
        _place(code)


@lru_cache(maxsize=10_000)
def _place(code: str) -> FieldError | None:
    codes: Any = pycountry.subdivisions if "-" in code else pycountry.countries
    known = codes.get(code=code) if "-" in code else codes.get(alpha_2=code)
    return None if known else FieldError("", "place", value=code)


def _latitude(text: str) -> FieldError | None:
    return None if abs(Decimal(text)) <= 90 else FieldError("", "latitude")


def _longitude(text: str) -> FieldError | None:
    return None if abs(Decimal(text)) <= 180 else FieldError("", "longitude")


def _deal_or_pledge(text: str) -> FieldError | None:
    match = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(/[a-z0-9]+(-[a-z0-9]+)*)?", text, re.ASCII)
    return None if match else FieldError("", "deal_or_pledge")


_CHECKS: dict[str, Callable[[str], FieldError | None]] = {
    "planned": _edtf,
    "reached": _edtf,
    "from_": _edtf,
    "until": _edtf,
    "date": _edtf,
    "place": _place,
    "country": _place,
    "latitude": _latitude,
    "longitude": _longitude,
    "additional_to": _deal_or_pledge,
}


def _check_korean_brn(text: str) -> bool:
    """Whether a Korean business registration number has a valid check digit.

    The first nine digits have the weights 1, 3, 7, 1, 3, 7, 1, 3, 5; the tens of the ninth product are added as well.
    """
    if not brn.is_valid(text):
        return False
    digits = [int(c) for c in brn.compact(text)]
    total = sum(d * w for d, w in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=False)) + digits[8] * 5 // 10
    return (10 - total % 10) % 10 == digits[9]


def _is_given(identifier: str) -> bool:
    """Whether an identifier of a register without a known check is accepted: its form is checked by its type."""
    return bool(identifier)


# Schemes whose identifiers have a fixed form or check digits. The codes in capitals are those of org-id.guide.
_SCHEMES: dict[str, Callable[[str], bool]] = {
    "lei": lambda text: text == text.upper() and lei.is_valid(text),
    "kr-brn": _check_korean_brn,
    "wikidata": lambda text: re.fullmatch(r"Q[1-9][0-9]*", text) is not None,
    "GB-COH": lambda text: re.fullmatch(r"(?:[0-9]{2}|[A-Z]{2})[0-9]{6}", text) is not None,
    "FR-RCS": siren.is_valid,
    "NO-BRC": orgnr.is_valid,
    "DK-CVR": cvr.is_valid,
    "FI-PRO": ytunnus.is_valid,
    "SE-BLV": swedish_orgnr.is_valid,
    "JP-JCN": cn.is_valid,
    "AU-ABN": abn.is_valid,
    "BR-CNPJ": cnpj.is_valid,
    "NZ-NZBN": ean.is_valid,
}

# Schemes of org-id.guide that have a name of our own: an identifier has one spelling.
_ALSO_NAMED = {"XI-LEI": "lei", "KR-BRN": "kr-brn", "XI-WIKIDATA": "wikidata"}
