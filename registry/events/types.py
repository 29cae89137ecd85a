"""What can happen: every event the log can hold, one frozen struct each, and the announcement that brings it.

Read this first, then `domain/deal.py`, `recorder.py` and `reader.py`. An event is named in the announcement's own
words and carries what was said, no more: what was not said is absent, never zero. In a `…_revised` event a field left
out stays as it was, and `null` unsays it. Money and measures are exact decimals in strings, so no event ever holds a
float. A shape here is forever: a changed shape is a new schema version with an upcaster in `codec.py`. Nothing here
reads or writes anything.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal, get_args
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

# `$(?!\n)`: in Python `$` also matches before a final newline; JSON Schema readers (ECMA 262) take it the same way.
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
Line = Annotated[str, Meta(pattern=_LINE, max_length=300, description="One line of text.")]
Text = Annotated[str, Meta(pattern=_TEXT, max_length=4000, description="Text; line breaks are allowed.")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s\x00-\x20\x7f<>\"'\\^`{|}]+$(?!\n)", max_length=2000, description="An http(s) address."
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
    Meta(pattern=r"^-?(0|[1-9][0-9]{0,2})(\.[0-9]{1,6})?$(?!\n)", description="Decimal degrees (WGS 84), as a string."),
]
Edtf = Annotated[
    str,
    Meta(
        pattern=r"^[0-9X.][0-9X./?~%-]{3,40}$(?!\n)",
        description="A date as loosely as its source gave it: EDTF (ISO 8601-2) level 0 or 1.",
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
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$(?!\n)", description="A BCP 47 language tag.")]
Hash = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)", description="`sha256:` and 64 hex digits.")]
Identifier = Annotated[str, Meta(pattern=r"^[A-Z0-9-]{2,30}$(?!\n)")]
FieldPath = Annotated[
    str,
    Meta(
        pattern=r"^/(pledges|sites|milestones)/[a-z0-9-]{1,80}/[a-z_]{1,40}$(?!\n)",
        description="A field of the deal's state: the list, the thing's id, the field.",
        examples=["/pledges/total/amount"],
    ),
]

# ISO 4217. Codes are only ever added: an event that was recorded must decode for ever.
Currency = Literal[
    "AED",
    "AFN",
    "ALL",
    "AMD",
    "AOA",
    "ARS",
    "AUD",
    "AWG",
    "AZN",
    "BAM",
    "BBD",
    "BDT",
    "BHD",
    "BIF",
    "BMD",
    "BND",
    "BOB",
    "BOV",
    "BRL",
    "BSD",
    "BTN",
    "BWP",
    "BYN",
    "BZD",
    "CAD",
    "CDF",
    "CHE",
    "CHF",
    "CHW",
    "CLF",
    "CLP",
    "CNY",
    "COP",
    "COU",
    "CRC",
    "CUP",
    "CVE",
    "CZK",
    "DJF",
    "DKK",
    "DOP",
    "DZD",
    "EGP",
    "ERN",
    "ETB",
    "EUR",
    "FJD",
    "FKP",
    "GBP",
    "GEL",
    "GHS",
    "GIP",
    "GMD",
    "GNF",
    "GTQ",
    "GYD",
    "HKD",
    "HNL",
    "HTG",
    "HUF",
    "IDR",
    "ILS",
    "INR",
    "IQD",
    "IRR",
    "ISK",
    "JMD",
    "JOD",
    "JPY",
    "KES",
    "KGS",
    "KHR",
    "KMF",
    "KPW",
    "KRW",
    "KWD",
    "KYD",
    "KZT",
    "LAK",
    "LBP",
    "LKR",
    "LRD",
    "LSL",
    "LYD",
    "MAD",
    "MDL",
    "MGA",
    "MKD",
    "MMK",
    "MNT",
    "MOP",
    "MRU",
    "MUR",
    "MVR",
    "MWK",
    "MXN",
    "MXV",
    "MYR",
    "MZN",
    "NAD",
    "NGN",
    "NIO",
    "NOK",
    "NPR",
    "NZD",
    "OMR",
    "PAB",
    "PEN",
    "PGK",
    "PHP",
    "PKR",
    "PLN",
    "PYG",
    "QAR",
    "RON",
    "RSD",
    "RUB",
    "RWF",
    "SAR",
    "SBD",
    "SCR",
    "SDG",
    "SEK",
    "SGD",
    "SHP",
    "SLE",
    "SOS",
    "SRD",
    "SSP",
    "STN",
    "SVC",
    "SYP",
    "SZL",
    "THB",
    "TJS",
    "TMT",
    "TND",
    "TOP",
    "TRY",
    "TTD",
    "TWD",
    "TZS",
    "UAH",
    "UGX",
    "USD",
    "USN",
    "UYI",
    "UYU",
    "UYW",
    "UZS",
    "VED",
    "VES",
    "VND",
    "VUV",
    "WST",
    "XAD",
    "XAF",
    "XCD",
    "XCG",
    "XOF",
    "XPF",
    "YER",
    "ZAR",
    "ZMW",
    "ZWG",
]

Qualifier = Literal["exact", "about", "at_least", "more_than", "nearly", "up_to"]
DealKind = Literal["investment", "partnership", "programme"]
Role = Literal[
    "investor", "partner", "operator", "host_government", "financier", "counterparty", "joint_venture", "regulator"
]
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
    "suspended",
    "shelved",
    "withdrawn",
    "cancelled",
]
Relation = Literal["part_of", "includes", "overlaps", "additional_to", "separate_from", "supersedes"]
NameKind = Literal["legal", "trade", "short", "former", "alias"]
IdentifierScheme = Literal["lei", "kr-brn", "wikidata"]
Control = Literal["owns", "controls", "manages"]


# gc=False, here and in what is made of events: what is frozen, and holds only what was there before it, is in no cycle.
# A collector that looks through a hundred thousand of them again and again took a third of the recorder's time.
class EventPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A value inside an event. What was not said is left out, so that equal statements have equal bytes."""


class Localized(EventPart, frozen=True):
    """The same text in the languages it was given in; at least one is expected."""

    ko: Text | None = None
    en: Text | None = None


class StatedAmount(EventPart, frozen=True):
    """The same amount as the source also stated it, in another currency. Stated, not converted by us."""

    value: Decimal
    currency: Currency
    qualifier: Qualifier | None = None


class Amount(EventPart, frozen=True):
    """Money as it was stated: an exact decimal in units of `currency` (ISO 4217), not in thousands or minor units.

    `low` and `high` bound a stated range. `wording` keeps words that give no figure ("several trillion won"), with
    `value` left out. `qualifier` is the source's own: absent means that it said none.
    """

    currency: Currency
    value: Decimal | None = None
    qualifier: Qualifier | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    stated_as: tuple[StatedAmount, ...] = ()
    wording: Line | None = None


class Horizon(EventPart, frozen=True):
    """The time within which an amount is to be spent."""

    from_: Edtf | None = field(default=None, name="from")
    until: Edtf | None = None


class Party(EventPart, frozen=True):
    """An organization in a role, with the name it was announced under."""

    organization: Slug
    name: Localized | None = None
    role: Role | None = None


class Source(EventPart, frozen=True):
    """Who said so. `published_on` is the day the public could read it; `locator` the page or paragraph."""

    publisher: Line | None = None
    url: Url | None = None
    title: Line | None = None
    language: Language | None = None
    published_on: date | None = None
    archived_url: Url | None = None
    locator: Line | None = None
    content_hash: Hash | None = None


class Event(EventPart, frozen=True, tag_field="type"):
    """Something that happened, or something the registry did to its own record."""

    schema: ClassVar[int] = 1


# --- the deal ---------------------------------------------------------------------------------------------------------


class DealRegistered(Event, frozen=True, tag="deal_registered"):
    """The registry begins to follow a deal. Always a stream's first event, and the record's own."""

    title: Localized
    summary: Localized | None = None
    kind: DealKind | None = None
    sectors: tuple[Slug, ...] = ()


class DealRevised(Event, frozen=True, tag="deal_revised"):
    """The undertaking itself changed: renamed, split off, moved to other sectors."""

    title: Localized | UnsetType = UNSET
    summary: Localized | UnsetType | None = UNSET
    kind: DealKind | UnsetType | None = UNSET
    sectors: tuple[Slug, ...] | UnsetType | None = UNSET


class ConditionSet(Event, frozen=True, tag="condition_set"):
    """The deal may go on only under a condition, such as an approval's."""

    condition: Slug
    text: Localized | None = None
    authority: Slug | None = None


class ConditionLifted(Event, frozen=True, tag="condition_lifted"):
    """A condition no longer holds."""

    condition: Slug


class PartiesJoined(Event, frozen=True, tag="parties_joined"):
    """Organizations took a role in the deal."""

    parties: Annotated[tuple[Party, ...], Meta(min_length=1, max_length=200)]


class PartyLeft(Event, frozen=True, tag="party_left"):
    """An organization left the deal, or only the role that is given."""

    organization: Slug
    role: Role | None = None


class PartnershipFormed(Event, frozen=True, tag="partnership_formed"):
    """Organizations bound themselves to each other by an instrument."""

    members: tuple[Slug, ...] = ()
    instrument: Instrument | None = None
    name: Localized | None = None


class StageChanged(Event, frozen=True, tag="stage_changed"):
    """Somebody declared the deal's stage."""

    stage: Stage
    reason: Text | None = None


# --- pledges ----------------------------------------------------------------------------------------------------------


class PledgeAnnounced(Event, frozen=True, tag="pledge_announced"):
    """Somebody said that they will invest. Several in `by` pledge jointly; how they share it was not said.

    `additional_to` names what an additional amount comes on top of: `DEAL` or `DEAL/PLEDGE`; absent when nobody said.
    """

    pledge: Slug
    amount: Amount | None = None
    amount_basis: AmountBasis | None = None
    commitment: Commitment | None = None
    additional_to: Line | None = None
    by: tuple[Slug, ...] = ()
    horizon: Horizon | None = None
    purpose: Localized | None = None


class PledgeRevised(Event, frozen=True, tag="pledge_revised"):
    """The world changed: the pledge is now another one."""

    pledge: Slug
    amount: Amount | UnsetType | None = UNSET
    amount_basis: AmountBasis | UnsetType | None = UNSET
    commitment: Commitment | UnsetType | None = UNSET
    additional_to: Line | UnsetType | None = UNSET
    by: tuple[Slug, ...] | UnsetType | None = UNSET
    horizon: Horizon | UnsetType | None = UNSET
    purpose: Localized | UnsetType | None = UNSET


class PledgeConfirmed(Event, frozen=True, tag="pledge_confirmed"):
    """Somebody stood by the pledge again, or bound themselves further to it."""

    pledge: Slug
    commitment: Commitment | UnsetType = UNSET


class PledgeWithdrawn(Event, frozen=True, tag="pledge_withdrawn"):
    """The pledge no longer stands."""

    pledge: Slug
    reason: Text | None = None


class DisbursementReported(Event, frozen=True, tag="disbursement_reported"):
    """Money of a pledge was spent, in the period given."""

    pledge: Slug
    amount: Amount | None = None
    by: tuple[Slug, ...] = ()
    period: Horizon | None = None


# --- claims -----------------------------------------------------------------------------------------------------------


class ClaimReported(Event, frozen=True, tag="claim_reported"):
    """Another source says another value of a field that an event set.

    `about` is that event; left out, the recorder fills in the event that set the field as it then reads.
    """

    claim: Slug
    field: FieldPath
    value: Amount | Line | Annotated[int, Meta(ge=0, le=10**9)]
    about: UUID | None = None


class ClaimPreferred(Event, frozen=True, tag="claim_preferred"):
    """The registry chose which claim of a field it follows; without `claim` it goes back to its stated rule."""

    field: FieldPath
    claim: Slug | None = None
    reason: Text | None = None


class ClaimRetracted(Event, frozen=True, tag="claim_retracted"):
    """The claim's own source took it back."""

    claim: Slug
    reason: Text | None = None


# --- sites and milestones ---------------------------------------------------------------------------------------------


class SiteAnnounced(Event, frozen=True, tag="site_announced"):
    """A place of the deal. Power in MW of grid connection or IT load as announced; `gpus` is a count."""

    site: Slug
    name: Localized | None = None
    place: Place | None = None
    latitude: Degrees | None = None
    longitude: Degrees | None = None
    precision: Precision | None = None
    power_mw: Decimal | None = None
    power_qualifier: Qualifier | None = None
    gpus: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    gpus_qualifier: Qualifier | None = None


class SiteRevised(Event, frozen=True, tag="site_revised"):
    """The plan for a site changed."""

    site: Slug
    name: Localized | UnsetType | None = UNSET
    place: Place | UnsetType | None = UNSET
    latitude: Degrees | UnsetType | None = UNSET
    longitude: Degrees | UnsetType | None = UNSET
    precision: Precision | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    power_qualifier: Qualifier | UnsetType | None = UNSET
    gpus: Annotated[int, Meta(ge=0, le=10**9)] | UnsetType | None = UNSET
    gpus_qualifier: Qualifier | UnsetType | None = UNSET


class SiteDropped(Event, frozen=True, tag="site_dropped"):
    """The deal no longer has this site."""

    site: Slug
    reason: Text | None = None


class MilestoneScheduled(Event, frozen=True, tag="milestone_scheduled"):
    """A step is planned; `planned` may be unknown. `power_mw` is the capacity that stands when it is reached."""

    milestone: Slug
    kind: MilestoneKind | None = None
    site: Slug | None = None
    name: Localized | None = None
    planned: Edtf | None = None
    power_mw: Decimal | None = None


class MilestoneRescheduled(Event, frozen=True, tag="milestone_rescheduled"):
    """The plan for a step moved."""

    milestone: Slug
    planned: Edtf | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    reason: Text | None = None


class MilestoneReached(Event, frozen=True, tag="milestone_reached"):
    """A step was done; on `reached`, else on the day from which the announcement holds."""

    milestone: Slug
    reached: Edtf | None = None


class MilestoneCancelled(Event, frozen=True, tag="milestone_cancelled"):
    """A step will not be done."""

    milestone: Slug
    reason: Text | None = None


# --- relations --------------------------------------------------------------------------------------------------------


class DealsRelated(Event, frozen=True, tag="deals_related"):
    """This deal, or its `pledge`, stands in a relation to another deal, or to that deal's `other_pledge`."""

    relation: Relation
    deal: Slug
    pledge: Slug | None = None
    other_pledge: Slug | None = None


class DealsUnrelated(Event, frozen=True, tag="deals_unrelated"):
    """A relation that was declared no longer holds."""

    relation: Relation
    deal: Slug
    pledge: Slug | None = None
    other_pledge: Slug | None = None


# --- organizations ----------------------------------------------------------------------------------------------------


class OrganizationRegistered(Event, frozen=True, tag="organization_registered"):
    """The registry begins to follow an organization. Always a stream's first event, and the record's own."""

    name: Localized
    country: Place | None = None


class OrganizationNamed(Event, frozen=True, tag="organization_named"):
    """The organization goes by this name."""

    name: Line
    language: Language
    kind: NameKind = "alias"


class OrganizationIdentified(Event, frozen=True, tag="organization_identified"):
    """The organization has this identifier in a public register."""

    scheme: IdentifierScheme
    identifier: Identifier


class ParentSet(Event, frozen=True, tag="parent_set"):
    """Another organization owns, controls or manages this one; `share` in percent."""

    parent: Slug
    control: Control | None = None
    share: Decimal | None = None


class ParentEnded(Event, frozen=True, tag="parent_ended"):
    """Another organization no longer does."""

    parent: Slug


class OrganizationMerged(Event, frozen=True, tag="organization_merged"):
    """This record is a duplicate: its slug leads to the other. Nothing moves, so that it can be undone."""

    into: Slug
    reason: Text | None = None


class OrganizationUnmerged(Event, frozen=True, tag="organization_unmerged"):
    """It was no duplicate after all."""

    reason: Text | None = None


# --- the record itself ------------------------------------------------------------------------------------------------


class DealMerged(Event, frozen=True, tag="deal_merged"):
    """This deal's record is a duplicate: its slug leads to the other. No event moves, so that it can be undone."""

    into: Slug
    reason: Text | None = None


class DealUnmerged(Event, frozen=True, tag="deal_unmerged"):
    """It was no duplicate after all."""

    reason: Text | None = None


_OfDeals = (
    DealRegistered
    | DealRevised
    | ConditionSet
    | ConditionLifted
    | PartiesJoined
    | PartyLeft
    | PartnershipFormed
    | StageChanged
    | PledgeAnnounced
    | PledgeRevised
    | PledgeConfirmed
    | PledgeWithdrawn
    | DisbursementReported
    | ClaimReported
    | ClaimPreferred
    | ClaimRetracted
    | SiteAnnounced
    | SiteRevised
    | SiteDropped
    | MilestoneScheduled
    | MilestoneRescheduled
    | MilestoneReached
    | MilestoneCancelled
    | DealsRelated
    | DealsUnrelated
)
_OfOrganizations = OrganizationRegistered | OrganizationNamed | OrganizationIdentified | ParentSet | ParentEnded

# What can be written down wrongly, and so corrected.
Correctable = _OfDeals | _OfOrganizations


class Replacement(EventPart, frozen=True):
    """How the corrected event should have been written.

    What is left out is completed from the event as it then reads.
    """

    effective_on: date | UnsetType | None = UNSET
    sources: tuple[Source, ...] | UnsetType = UNSET
    event: Correctable | UnsetType = UNSET


class EventCorrected(Event, frozen=True, tag="event_corrected"):
    """We wrote an event down wrongly. The event keeps its type and its position; only what it says changes."""

    corrects: UUID
    replacement: Replacement
    reason: Text | None = None


class EventVoided(Event, frozen=True, tag="event_voided"):
    """An event, a correction, or a void should never have been recorded."""

    voids: UUID
    reason: Text | None = None


# What acts on other events: it goes on doing so when its words are erased by law, or what it took out would come back.
RedactedEffect = (
    EventVoided
    | EventCorrected
    | ClaimPreferred
    | ClaimRetracted
    | DealMerged
    | DealUnmerged
    | OrganizationMerged
    | OrganizationUnmerged
)


class Effect(EventPart, frozen=True):
    """What an erased event goes on doing to others: the event without its words, ids alone.

    Of a correction only what it corrects stays (and, where that acts on others, what it does): never what it said.
    """

    event: UUID
    does: RedactedEffect


class EventRedacted(Event, frozen=True, tag="event_redacted"):
    """An event's content was erased by law. Its leaf hash stays, so every proof stays valid.

    `also` names what was erased with it, because it quotes it: its corrections; of a correction the later ones.
    `effects` are what the erased go on doing to other events. The recorder fills both in, so that nothing can vanish,
    and nothing come back, without a word in the log.
    """

    redacts: UUID
    reason: Text
    also: tuple[UUID, ...] = ()
    effects: tuple[Effect, ...] = ()


BookkeepingEvent = EventCorrected | EventVoided | EventRedacted
DealFact = _OfDeals | DealMerged | DealUnmerged
DealEvent = DealFact | BookkeepingEvent
OrganizationFact = _OfOrganizations | OrganizationMerged | OrganizationUnmerged
OrganizationEvent = OrganizationFact | BookkeepingEvent
AnyEvent = DealFact | OrganizationFact | BookkeepingEvent

# The record's own events: our filing was never public knowledge, so no published or effective date hides them.
BOOKKEEPING_TYPES = (
    DealRegistered,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    OrganizationRegistered,
    OrganizationMerged,
    OrganizationUnmerged,
    EventCorrected,
    EventVoided,
    EventRedacted,
)


def tag_of(event: type[Event] | Event) -> str:
    """The event type's name in JSON, such as `pledge_announced`."""
    return str(event.__struct_config__.tag)


EVENT_TYPES: dict[str, type[Event]] = {tag_of(t): t for t in get_args(AnyEvent)}

StreamKind = Literal["deal", "organization"]


class Announcement(EventPart, frozen=True):
    """What is posted to a deal: an event, from when it is so in the world, and who said so.

    `effective_on` is a whole local date, never shifted by a time zone. `id` may be given so that sending again is
    harmless.
    """

    event: DealEvent
    id: UUID | None = None
    effective_on: date | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class OrganizationAnnouncement(EventPart, frozen=True):
    """What is posted to an organization."""

    event: OrganizationEvent
    id: UUID | None = None
    effective_on: date | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class Recorded(Struct, frozen=True, kw_only=True, gc=False):
    """An event as the log holds it.

    Where its content was erased by law (`erased`), `event` is None, or what it goes on doing to others.

    `position` counts the whole log from 1 without gaps, `version` the stream. `published_on` is the earliest dated
    source's day, else the UTC day of recording. `recorded_at` is UTC and set by the registry alone.
    """

    position: int
    kind: StreamKind
    slug: str
    version: int
    id: UUID
    type: str
    schema: int
    effective_on: date | None
    published_on: date
    recorded_at: datetime
    recorded_by: str
    event: AnyEvent | None
    sources: tuple[Source, ...]
    note: str | None
    leaf_hash: bytes
    erased: bool = False
