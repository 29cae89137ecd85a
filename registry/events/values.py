"""The values inside an event: amounts, dates, places, texts and sources.

A value that the source does not state is left out, so equal statements have equal bytes. Amounts and measures are exact
decimals in strings, so no event holds a float. The types here check a value's form; `validation.py` checks that it
makes sense. All values and vocabularies are in this file, so that they can be read as one list; hence its length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct, field

from registry.events.currencies import Currency

# --- text in a fixed form ---------------------------------------------------------------------------------------------

# `$(?!\n)`: Python's `$` also matches before a final newline. ECMA 262, which JSON Schema uses, reads it the same way.
_LINE = r"^(?=.*\S)[^\x00-\x1f\x7f]+$(?!\n)"
_TEXT = r"^(?=[\s\S]*\S)[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$(?!\n)"

Slug = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)",
        max_length=80,
        description="A name in lower-case letters, digits and hyphens.",
        examples=["aws-korea-2031"],
    ),
]
Line = Annotated[str, Meta(pattern=_LINE, min_length=1, max_length=300, description="One line of text.")]
Text = Annotated[str, Meta(pattern=_TEXT, min_length=1, max_length=4000, description="Text; line breaks are allowed.")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s\x00-\x20\x7f<>\x22'\\^`{|}]+$(?!\n)",
        max_length=2000,
        description="An http(s) address.",
        examples=["https://news.example/1"],
    ),
]
Decimal = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$(?!\n)",
        description="An exact, non-negative decimal, written as a string.",
        examples=["5000000000"],
    ),
]
Degrees = Annotated[
    str,
    Meta(
        pattern=r"^-?(0|[1-9][0-9]{0,2})(\.[0-9]{1,6})?$(?!\n)",
        description="Decimal degrees (WGS 84), as a string.",
        examples=["37.5"],
    ),
]
Edtf = Annotated[
    str,
    Meta(
        pattern=r"^[0-9X.][0-9X./?~%-]{3,40}$(?!\n)",
        description="A date as precise as its source: EDTF (ISO 8601-2) level 0 or 1.",
        examples=["2031", "2027-11", "2025-08-29", "2025-07/2025-09", "2027~"],
    ),
]
Place = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$(?!\n)",
        description="An ISO 3166-1 alpha-2 country or ISO 3166-2 subdivision.",
        examples=["KR-31"],
    ),
]
Language = Annotated[
    str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$(?!\n)", description="A BCP 47 language tag.", examples=["ko"])
]
Hash = Annotated[
    str,
    Meta(
        pattern=r"^sha256:[0-9a-f]{64}$(?!\n)",
        description="`sha256:` and 64 hex digits.",
        examples=["sha256:" + "0f" * 32],
    ),
]
Identifier = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9./-]{0,48}[A-Za-z0-9])$(?!\n)", examples=["Q484131"]),
]
IdentifierScheme = Annotated[
    str,
    Meta(
        pattern=r"^(lei|kr-brn|wikidata|[A-Z]{2}-[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})*)$(?!\n)",
        max_length=40,
        description="`lei`, `kr-brn`, `wikidata`, or the code of a register from org-id.guide.",
        examples=["lei", "GB-COH"],
    ),
]
FieldPath = Annotated[
    str,
    Meta(
        pattern=r"^/(pledges|sites|milestones|incentives|metrics)/[a-z0-9-]{1,250}/[a-z_]{1,40}$(?!\n)",
        description="A field of the deal's state: the list, the item's id, the field.",
        examples=["/pledges/total/amount"],
    ),
]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Percent = Annotated[
    str,
    Meta(
        pattern=r"^(100(\.0{1,6})?|[1-9]?[0-9](\.[0-9]{1,6})?)$(?!\n)",
        description="A share in percent, as a decimal from 0 to 100 in a string.",
        examples=["49.5"],
    ),
]
Year = Annotated[int, Meta(ge=1800, le=2999, examples=[2020])]
Scheme = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]+([-_.][A-Za-z0-9]+)*$(?!\n)",
        max_length=40,
        description="The register or list that an identifier comes from, such as `cim`, `epoch`, `gem` or `ocid`.",
        examples=["ocid"],
    ),
]
ExternalId = Annotated[
    str,
    Meta(
        pattern=r"^[^\s\x00-\x1f\x7f]+( [^\s\x00-\x1f\x7f]+)*$(?!\n)",
        max_length=200,
        description="An identifier in another register or list.",
        examples=["ocds-213czf-000-00001"],
    ),
]
DistrictCode = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]+([-.][A-Za-z0-9]+)*$(?!\n)",
        max_length=30,
        description="The code of the county or district, as the national authority assigns it.",
        examples=["31140"],
    ),
]
Quotation = Annotated[
    str, Meta(pattern=_TEXT, min_length=1, max_length=500, description="A short quotation of the source.")
]
Code = Annotated[
    str,
    Meta(pattern=_LINE, min_length=1, max_length=100, description="A code of the axis.", examples=["solar"]),
]
Instant = Annotated[datetime, Meta(tz=True, description="An instant with its offset from UTC (RFC 3339).")]

# --- vocabularies -----------------------------------------------------------------------------------------------------

Qualifier = Literal["exact", "about", "at_least", "more_than", "nearly", "up_to"]
DealKind = Literal["investment", "partnership", "programme"]
Role = Literal[
    "investor",
    "partner",
    "operator",
    "host_government",
    "financier",
    "counterparty",
    "joint_venture",
    "regulator",
    "owner",
    "builder",
    "supplier",
    "tenant",
    "energy_supplier",
    "adviser",
]
Certainty = Literal["confirmed", "reported", "suspected"]
Figure = Literal["stated", "estimated", "modelled"]
Instrument = Literal["mou", "letter_of_intent", "joint_venture", "contract"]
Commitment = Literal["intention", "pledge", "binding", "budget"]
AmountBasis = Literal["total", "additional", "annual"]
Precision = Literal["exact", "locality", "district", "region", "country"]
MilestoneKind = Literal[
    "approval",
    "financing",
    "groundbreaking",
    "construction_started",
    "power_on",
    "phase_completed",
    "operations_started",
]
Stage = Literal[
    "intention",
    "signed",
    "committed",
    "construction",
    "operating",
    "retired",
    "suspended",
    "shelved",
    "withdrawn",
    "cancelled",
]
SetbackKind = Literal["opposition", "litigation", "permit_refused", "supply", "financing"]
IncentiveKind = Literal["tax_credit", "grant", "loan", "land"]
Axis = Literal[
    "technology",
    "segment",
    "project_type",
    "product",
    "isic",
    "ksic",
    "nace",
    "naics",
    "ownership",
    "mode",
    "policy",
]
MetricName = Literal[
    "jobs",
    "construction_jobs",
    "it_power_mw",
    "facility_power_mw",
    "gpus",
    "h100_equivalents",
    "water_m3_per_year",
    "energy_mwh_per_year",
    "floor_area_m2",
    "land_area_m2",
    "capacity_per_year",
]
MetricBasis = Literal["planned", "actual", "target"]
Relation = Literal["part_of", "includes", "overlaps", "additional_to", "separate_from", "supersedes"]
NameKind = Literal["legal", "trade", "short", "former", "alias"]
Control = Literal["owns", "controls", "manages"]
PrincipalKind = Literal["person", "system"]
Scope = Literal["read", "propose", "record", "correct", "redact", "admin"]

# --- texts in several languages ---------------------------------------------------------------------------------------

# RFC 5646 §2.1, in the case that §2.1.1 recommends: one language has one spelling, so a text is not given twice.
_LANGUAGE_TAG = (
    r"^[a-z]{2,3}(-[a-z]{3}){0,3}"  # language
    r"(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?"  # script, region
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(-[0-9a-wy-z](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?$(?!\n)"  # extensions, private use
)
LanguageTag = Annotated[
    str,
    Meta(
        pattern=_LANGUAGE_TAG,
        max_length=35,
        description="A BCP 47 language tag in its canonical case.",
        examples=["ko", "en", "zh-Hant", "de-CH"],
    ),
]


_is_language_tag = re.compile(_LANGUAGE_TAG).match


def is_language_tag(text: str) -> bool:
    """Whether a text is a BCP 47 language tag in its canonical case."""
    return _is_language_tag(text) is not None


class Localized(dict[str, str]):
    """A text in one or more languages, by BCP 47 language tag: `Localized(ko="울산", en="Ulsan")`.

    A dict, because any tag is a key. Events share it and it is never changed.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def text_in(texts: Mapping[str, str | None] | None, language: str) -> str | None:
    """Select the text for a reader: in the language, else in a variety of it, else in English, else in any language."""
    known = {tag: text for tag, text in sorted((texts or {}).items()) if text}
    own = (text for tag, text in known.items() if tag.partition("-")[0] == language)
    return known.get(language) or next(own, None) or known.get("en") or next(iter(known.values()), None)


class Classifications(dict[str, tuple[str, ...]]):
    """The codes of a deal by axis: `Classifications(technology=("solar",), mode=("expansion",))`.

    A dict, because JSON has the axes as keys. Events share it and it is never changed.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


_AXES = frozenset(get_args(Axis))
_Codes = Annotated[tuple[Code, ...], Meta(max_length=50)]


def decode_hook(type: type, value: Any) -> Any:
    """msgspec's `dec_hook` for `Localized` and `Classifications`. A key whose value is null counts as left out.

    The keys are in order, as in the stored bytes: the recorder and a rebuild write equal rows.
    """
    if type is not Localized and type is not Classifications:
        raise NotImplementedError(type)
    if not isinstance(value, dict):
        raise ValueError(f"Expected `object`, got `{_JSON_TYPES.get(value.__class__, 'null')}`")
    return _decode_classifications(value) if type is Classifications else _decode_localized(value)


def _decode_classifications(value: dict[str, Any]) -> Classifications:
    """The codes by axis. An axis whose codes are null or empty is kept: in a revision, it clears the axis."""
    axes = Classifications()
    for axis, codes in sorted(value.items()):
        if axis not in _AXES:
            raise ValueError(f"Object contains unknown field `{axis}`")
        try:
            axes[axis] = msgspec.convert(codes or (), _Codes)
        except msgspec.ValidationError as error:
            problem, _, pointer = str(error).partition(" - at `$")
            raise ValueError(f"{problem} - at `$.{axis}{pointer.rstrip('`')}`") from None
    return axes


def _decode_localized(value: dict[str, Any]) -> Localized:
    texts = Localized()
    for tag, text in sorted(value.items()):
        if text is not None:
            try:
                texts |= msgspec.convert({tag: text}, dict[LanguageTag, Text])
            except msgspec.ValidationError as error:
                problem = re.sub(r" - at `.*", "", str(error))
                raise ValueError(f"{problem} - at `$.{tag}`" if is_language_tag(tag) else problem) from None
    return texts


_JSON_TYPES = {str: "str", int: "int", float: "float", bool: "bool", list: "array"}


def schema_hook(type: type) -> dict[str, Any]:
    """msgspec's `schema_hook` for `Localized` and `Classifications`."""
    if type is Classifications:
        codes = {"anyOf": [msgspec.json.schema(_Codes), {"type": "null"}]}
        return {
            "type": "object",
            "description": "Codes by axis of classification.",
            "properties": dict.fromkeys(sorted(_AXES), codes),
            "additionalProperties": False,
            "examples": [{"technology": ["solar"], "mode": ["expansion"]}],
        }
    if type is not Localized:
        raise NotImplementedError(type)
    text = msgspec.json.schema(Text)
    return {
        "type": "object",
        "description": "A text in one or more languages, by BCP 47 language tag.",
        "propertyNames": {"pattern": _LANGUAGE_TAG, "maxLength": 35},
        "additionalProperties": {"anyOf": [text, {"type": "null"}]},
        "examples": [{"ko": "울산", "en": "Ulsan"}],
    }


# --- values with fields -----------------------------------------------------------------------------------------------


# gc=False, here and in the structs that hold events: a frozen struct that refers only to older values is in no cycle.
# A garbage collector that scans a hundred thousand of them took a third of the recorder's time.
class EventPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A value inside an event."""


class StatedAmount(EventPart, frozen=True):
    """The same amount in another currency, as the source states it. The registry does not convert it."""

    value: Decimal
    currency: Currency
    qualifier: Qualifier | None = None


class Amount(EventPart, frozen=True):
    """Money as the source states it, in units of `currency` (not in thousands, not in minor units).

    `low` and `high` bound a stated range. `wording` has the source's words where it gives no figure ("several trillion
    won"), without a `value`. `qualifier` is the source's own; without one, the source states none. `figure` tells a
    stated figure (also if absent) from an estimated or a modelled one; `price_year` is the year of constant prices.
    """

    currency: Currency
    value: Decimal | None = None
    qualifier: Qualifier | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    stated_as: tuple[StatedAmount, ...] = ()
    wording: Line | None = None
    figure: Figure | None = None
    price_year: Year | None = None


AMOUNT_TEXT = ("currency", "value", "low", "high", "qualifier", "stated_as", "wording")
"""The fields of an amount that one text states, as the press writes it."""

AMOUNT_NOTES = tuple(name for name in Amount.__struct_fields__ if name not in AMOUNT_TEXT)
"""Its other fields: forms, sheets and tables have each of them beside the text."""

AMOUNT_COLUMNS = (*AMOUNT_TEXT, *AMOUNT_NOTES)
"""The columns of an amount in tables, in their order."""


class Horizon(EventPart, frozen=True):
    """The period in which an amount is to be spent."""

    from_: Edtf | None = field(default=None, name="from")
    until: Edtf | None = None


# What stands for the signs of metrics and of loose dates in a metric's id, so that two metrics never have one id.
_SIGNS = {"_": "-", "X": "x", "~": "-about", "?": "-uncertain", "%": "-about-uncertain", "/": "-until-", ".": "-open"}


def metric_id(
    metric: MetricName, basis: MetricBasis, site: str | None, date: str | None, horizon: Horizon | None
) -> str:
    """The id of a metric in paths, made from what identifies it: `jobs--planned--2027`, `gpus--actual--at-mipo`."""
    at = f"at-{site}" if site is not None else None
    between = f"{horizon.from_ or ''}-to-{horizon.until or ''}" if horizon is not None else None
    text = "--".join(part for part in (metric, basis, at, date, between) if part is not None)
    return re.sub(r"[^a-z0-9-]", lambda sign: _SIGNS[sign[0]], text)


class Party(EventPart, frozen=True):
    """An organization in a role, with the name that the announcement uses. A `share` never splits a joint pledge."""

    organization: Slug
    name: Localized | None = None
    role: Role | None = None
    share: Percent | None = None
    certainty: Certainty | None = None


class ExternalIdentifier(EventPart, frozen=True):
    """An identifier of the deal in another register or list."""

    scheme: Scheme
    value: ExternalId


class Source(EventPart, frozen=True):
    """The publication that an event cites. `locator` is the page or paragraph, `quote` a short quotation from there."""

    publisher: Line | None = None
    url: Url | None = None
    title: Line | None = None
    language: Language | None = None
    published_on: date | None = None
    archived_url: Url | None = None
    locator: Line | None = None
    content_hash: Hash | None = None
    quote: Quotation | None = None
