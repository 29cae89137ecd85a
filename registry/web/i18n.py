"""The words of the pages: one catalogue a language, and the plain names of what the registry's JSON calls by tokens.

English is the language of the message ids; every other language is a gettext catalogue (`locale/*/pages.po`), read once
when the service starts. Names things, never formats a figure (`figures.py`) and never decides what is shown.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from babel.messages.pofile import read_po

from registry.events.types import Localized

LANGUAGES = {"ko": "한국어", "en": "English"}
"""The languages of the pages, each by its own name."""


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for a message that is translated later
    """Marks a message for the catalogue."""
    return text


LABELS: dict[str, dict[str, str]] = {
    "event": {
        "deal_registered": N_("Deal registered"),
        "deal_revised": N_("Deal revised"),
        "condition_set": N_("Condition set"),
        "condition_lifted": N_("Condition lifted"),
        "parties_joined": N_("Parties joined"),
        "party_left": N_("Party left"),
        "partnership_formed": N_("Partnership formed"),
        "stage_changed": N_("Stage declared"),
        "pledge_announced": N_("Pledge announced"),
        "pledge_revised": N_("Pledge revised"),
        "pledge_confirmed": N_("Pledge confirmed"),
        "pledge_withdrawn": N_("Pledge withdrawn"),
        "disbursement_reported": N_("Spending reported"),
        "claim_reported": N_("Another source says otherwise"),
        "claim_preferred": N_("Claim chosen"),
        "claim_retracted": N_("Claim taken back"),
        "site_announced": N_("Site announced"),
        "site_revised": N_("Site revised"),
        "site_dropped": N_("Site dropped"),
        "milestone_scheduled": N_("Milestone planned"),
        "milestone_rescheduled": N_("Milestone moved"),
        "milestone_reached": N_("Milestone reached"),
        "milestone_cancelled": N_("Milestone cancelled"),
        "deals_related": N_("Relation declared"),
        "deals_unrelated": N_("Relation ended"),
        "deal_merged": N_("Merged into another deal"),
        "deal_unmerged": N_("Merge undone"),
        "event_corrected": N_("Record corrected"),
        "event_voided": N_("Record voided"),
        "event_redacted": N_("Content erased by law"),
        "organization_registered": N_("Organization registered"),
        "organization_named": N_("Name recorded"),
        "organization_identified": N_("Identifier recorded"),
        "parent_set": N_("Parent recorded"),
        "parent_ended": N_("Parent ended"),
        "organization_merged": N_("Merged into another organization"),
        "organization_unmerged": N_("Organization merge undone"),
    },
    "stage": {
        "intention": N_("Intention"),
        "signed": N_("Signed"),
        "committed": N_("Committed"),
        "construction": N_("Under construction"),
        "operating": N_("Operating"),
        "suspended": N_("Suspended"),
        "shelved": N_("Shelved"),
        "withdrawn": N_("Withdrawn"),
        "cancelled": N_("Cancelled"),
    },
    "basis_of_stage": {"declared": N_("declared"), "inferred": N_("inferred")},
    "kind": {
        "investment": N_("Investment"),
        "partnership": N_("Partnership"),
        "programme": N_("Programme"),
    },
    "role": {
        "investor": N_("Investor"),
        "partner": N_("Partner"),
        "operator": N_("Operator"),
        "host_government": N_("Host government"),
        "financier": N_("Financier"),
        "counterparty": N_("Counterparty"),
        "joint_venture": N_("Joint venture"),
        "regulator": N_("Regulator"),
    },
    "commitment": {
        "intention": N_("Intention"),
        "pledge": N_("Pledge"),
        "binding": N_("Binding"),
        "budget": N_("Budget"),
    },
    "amount_basis": {
        "total": N_("Total"),
        "additional": N_("Additional"),
        "annual": N_("Every year"),
    },
    "qualifier": {
        "exact": N_("exactly"),
        "about": N_("about"),
        "at_least": N_("at least"),
        "more_than": N_("more than"),
        "nearly": N_("nearly"),
        "up_to": N_("up to"),
    },
    "status": {
        "announced": N_("Announced"),
        "confirmed": N_("Confirmed"),
        "withdrawn": N_("Withdrawn"),
        "dropped": N_("Dropped"),
        "planned": N_("Planned"),
        "reached": N_("Reached"),
        "cancelled": N_("Cancelled"),
        "standing": N_("Standing"),
        "superseded": N_("Superseded"),
        "retracted": N_("Taken back"),
    },
    "milestone": {
        "approval": N_("Approval"),
        "financing": N_("Financing"),
        "groundbreaking": N_("Groundbreaking"),
        "construction_started": N_("Construction started"),
        "power_on": N_("Power on"),
        "phase_completed": N_("Phase completed"),
        "operations_started": N_("Operations started"),
    },
    "relation": {
        "part_of": N_("is part of"),
        "includes": N_("includes"),
        "overlaps": N_("overlaps with"),
        "additional_to": N_("comes on top of"),
        "separate_from": N_("is separate from"),
        "supersedes": N_("takes the place of"),
    },
    "instrument": {
        "mou": N_("Memorandum of understanding"),
        "letter_of_intent": N_("Letter of intent"),
        "joint_venture": N_("Joint venture"),
        "contract": N_("Contract"),
    },
    "precision": {
        "exact": N_("exact"),
        "locality": N_("town"),
        "district": N_("district"),
        "region": N_("region"),
        "country": N_("country"),
    },
    "control": {"owns": N_("owns"), "controls": N_("controls"), "manages": N_("manages")},
    "name_kind": {
        "legal": N_("Legal name"),
        "trade": N_("Trade name"),
        "short": N_("Short name"),
        "former": N_("Former name"),
        "alias": N_("Other spelling"),
    },
    "scheme": {"lei": N_("LEI"), "kr-brn": N_("Korean business number"), "wikidata": N_("Wikidata")},
    "change": {
        "world": N_("The world changed"),
        "record": N_("The record was corrected"),
        "source": N_("A source said otherwise"),
        "learned_late": N_("Learned late"),
        "own": N_("The record itself"),
    },
    "what": {
        "appeared": N_("Appeared"),
        "vanished": N_("No longer known"),
        "grew": N_("Grew"),
        "shrank": N_("Shrank"),
        "stated": N_("Stated for the first time"),
        "unstated": N_("No longer stated"),
        "restated": N_("Restated"),
        "slipped": N_("Slipped"),
        "brought_forward": N_("Brought forward"),
        "stage_moved": N_("Stage moved"),
        "corrected": N_("Corrected"),
        "learned_late": N_("Learned late"),
        "claimed": N_("A source said otherwise"),
    },
    "field": {
        "deal": N_("Deal"),
        "organization": N_("Organization"),
        "title": N_("Title"),
        "kind": N_("Kind"),
        "summary": N_("Summary"),
        "sectors": N_("Sectors"),
        "stage": N_("Stage"),
        "parties": N_("Party"),
        "partnerships": N_("Partnership"),
        "pledges": N_("Pledge"),
        "pledge": N_("Pledge"),
        "sites": N_("Site"),
        "site": N_("Site"),
        "milestones": N_("Milestone"),
        "milestone": N_("Milestone"),
        "relations": N_("Relation"),
        "relation": N_("Relation"),
        "conditions": N_("Condition"),
        "condition": N_("Condition"),
        "amount": N_("Amount"),
        "amount_basis": N_("Basis of the amount"),
        "commitment": N_("Commitment"),
        "status": N_("Status"),
        "additional_to": N_("Comes on top of"),
        "by": N_("By"),
        "horizon": N_("Time for it"),
        "purpose": N_("Purpose"),
        "announced_on": N_("Announced on"),
        "stated_on": N_("Stated on"),
        "claims": N_("Claims"),
        "disbursed": N_("Spent"),
        "name": N_("Name"),
        "names": N_("Names"),
        "place": N_("Place"),
        "latitude": N_("Latitude"),
        "longitude": N_("Longitude"),
        "precision": N_("Precision"),
        "power_mw": N_("Power (MW)"),
        "power_qualifier": N_("Power, how exactly"),
        "gpus": N_("GPUs"),
        "gpus_qualifier": N_("GPUs, how exactly"),
        "planned": N_("Planned for"),
        "reached": N_("Reached on"),
        "scheduled_on": N_("Planned since"),
        "role": N_("Role"),
        "joined_on": N_("Joined on"),
        "left_on": N_("Left on"),
        "since": N_("Since"),
        "source": N_("Declared by the event"),
        "other_pledge": N_("The other deal's pledge"),
        "text": N_("Text"),
        "authority": N_("Authority"),
        "set_on": N_("Set on"),
        "lifted_on": N_("Lifted on"),
        "members": N_("Members"),
        "instrument": N_("Instrument"),
        "formed_on": N_("Formed on"),
        "reason": N_("Reason"),
        "period": N_("Period"),
        "claim": N_("Claim"),
        "field": N_("Field"),
        "value": N_("Value"),
        "about": N_("About the event"),
        "into": N_("Into"),
        "merged_into": N_("Merged into"),
        "country": N_("Country"),
        "identifiers": N_("Identifiers"),
        "identifier": N_("Identifier"),
        "parents": N_("Parents"),
        "parent": N_("Parent"),
        "control": N_("Control"),
        "share": N_("Share (percent)"),
        "language": N_("Language"),
        "scheme": N_("Register"),
        "effective_on": N_("True from"),
        "published_on": N_("Published on"),
        "recorded_at": N_("Recorded at"),
    },
    "sector": {
        "ai-infrastructure": N_("AI infrastructure"),
        "ai-models": N_("AI models"),
        "automotive": N_("Automotive"),
        "battery-materials": N_("Battery materials"),
        "cloud": N_("Cloud"),
        "data-centers": N_("Data centres"),
        "displays": N_("Displays"),
        "e-commerce": N_("E-commerce"),
        "industrial-gases": N_("Industrial gases"),
        "materials": N_("Materials"),
        "medical-devices": N_("Medical devices"),
        "networks": N_("Networks"),
        "renewable-energy": N_("Renewable energy"),
        "semiconductors": N_("Semiconductors"),
        "smart-manufacturing": N_("Smart manufacturing"),
    },
    "facet": {
        "organization": N_("Organization"),
        "role": N_("Role"),
        "region": N_("Region"),
        "sector": N_("Sector"),
        "stage": N_("Stage"),
        "commitment": N_("Commitment"),
        "currency": N_("Currency"),
        "kind": N_("Kind"),
    },
    "rule": {
        "counted": N_("Counts in both ends."),
        "additional": N_("Counts in both ends: it was announced on top of something else."),
        "aggregate": N_(
            "Counts in the low end; in the high end its members do in its place, since they add up to more."
        ),
        "members": N_("Counts in the high end only, with the other members, in place of the amount they are part of."),
        "contained": N_("Counts in the low end; in the high end the amount that it is part of counts in its place."),
        "part_of": N_("Does not count: it is part of an amount that does."),
        "part_of_each_other": N_(
            "Does not count: it and another amount are each marked part of the other; that one counts."
        ),
        "overlaps": N_("Counts in the high end only: it may overlap with an amount that counts in the low end."),
        "outweighed": N_(
            "Does not count: it is not certain, and in the high end its members, which add up to more, do."
        ),
        "shared": N_("Counts in the high end only: it belongs to several groups, and how it is split was not said."),
        "superseded": N_("Does not count: a later deal or pledge took its place."),
        "withdrawn": N_("Does not count: it was withdrawn."),
        "cancelled": N_("Does not count: its deal was cancelled or withdrawn."),
        "not_stated": N_("Does not count: no amount was stated. Unknown is not zero."),
        "no_rate": N_("Does not count: there is no reference rate to convert it at."),
    },
    "stage_rule": {
        "intention-announced": N_("an intention was announced"),
        "amount-pledged": N_("an amount was pledged"),
        "amount-budgeted": N_("an amount was budgeted"),
        "instrument-signed": N_("an instrument was signed"),
        "construction-reported": N_("the start of construction was reported"),
        "operations-reported": N_("the start of operation was reported"),
    },
    "flag": {
        "tenfold-slip": N_("A factor of ten: 조 and 억, or 억 and billion, may be confused"),
        "implied-rate": N_("The stated conversion is far off the day's reference rate"),
        "member-not-below-aggregate": N_(
            "A part as large as the whole: the amount of all may have been ascribed to one"
        ),
        "horizon-past": N_("Its time was over when it was announced"),
        "planned-past": N_("Planned for a time that was over when it was announced"),
        "power-per-gpu": N_("Power for each GPU out of the usual range"),
        "recorded-twice": N_("The same announcement may have been recorded twice"),
        "published-before-its-pledge": N_("Published before the pledge that it changes"),
        "published-after-recorded": N_("A source is dated after the day of recording"),
    },
    "figure": {
        "amount": N_("Amount"),
        "before": N_("Before"),
        "as announced": N_("As announced"),
        "ratio": N_("Ratio"),
        "stated": N_("Stated"),
        "also stated": N_("Also stated"),
        "implied rate": N_("Implied rate"),
        "reference rate": N_("Reference rate"),
        "reference day": N_("Day of the reference rate"),
        "off by": N_("Off by"),
        "until": N_("Until"),
        "announced": N_("Announced on"),
        "power_mw": N_("Power (MW)"),
        "gpus": N_("GPUs"),
        "kw_per_gpu": N_("kW for each GPU"),
        "source": N_("Source"),
        "published": N_("Published on"),
        "pledge published": N_("Pledge published on"),
        "recorded": N_("Recorded on"),
    },
    "group": {
        "organization": N_("By organization"),
        "country": N_("By country"),
        "region": N_("By region"),
        "sector": N_("By sector"),
        "stage": N_("By stage"),
        "commitment": N_("By commitment"),
        "year": N_("By year"),
    },
    "nature": {"commitment": N_("Committed or pledged"), "intention": N_("Only intended")},
    "basis": {"once": N_("once"), "annual": N_("every year")},
}


class Translations:
    """One language: its messages, and the plain names of tokens."""

    def __init__(self, language: str, messages: dict[str, str | tuple[str, ...]]) -> None:
        self.language = language
        self._messages = messages

    def gettext(self, message: str) -> str:
        """The message in this language; itself, where the catalogue lacks it."""
        found = self._messages.get(message)
        return found if isinstance(found, str) else message

    def translate(self, message: str, **values: object) -> str:
        """The message with its values, as plain text: templates escape the whole."""
        text = self.gettext(message)
        return text % values if values else text

    def translate_plural(self, one: str, many: str, n: int) -> str:
        """The message about a number, as plain text."""
        return self.ngettext(one, many, n) % {"num": n}

    def ngettext(self, one: str, many: str, n: int) -> str:
        """The message in the form that the number asks for. Korean has one form."""
        found = self._messages.get(one)
        if isinstance(found, tuple):
            return found[0]
        return one if n == 1 else many

    def label(self, kind: str, token: object) -> str:
        """The plain name of a token of one kind; the token itself, where it has none (a slug, say)."""
        if token is None:
            return self.gettext(N_("not stated"))
        name = LABELS.get(kind, {}).get(str(token))
        return self.gettext(name) if name is not None else str(token).replace("_", " ").replace("-", " ")

    def localized(self, text: Localized | dict[str, Any] | None, otherwise: str = "") -> str:
        """A text in the reader's language; in the other one where this is missing."""
        ko, en = _both(text)
        return ((ko or en) if self.language == "ko" else (en or ko)) or otherwise

    def other(self, text: Localized | dict[str, Any] | None) -> str:
        """The same text in the other language, where there is one and it differs."""
        ko, en = _both(text)
        if not ko or not en or ko == en:
            return ""
        return en if self.language == "ko" else ko

    @property
    def other_language(self) -> str:
        return "en" if self.language == "ko" else "ko"


def _both(text: Localized | dict[str, Any] | None) -> tuple[str | None, str | None]:
    if isinstance(text, dict):
        return text.get("ko"), text.get("en")
    return (None, None) if text is None else (text.ko, text.en)


@cache
def words(language: str) -> Translations:
    """A language's words, its catalogue read once."""
    messages: dict[str, str | tuple[str, ...]] = {}
    path = resources.files("registry.web") / "locale" / language / "pages.po"
    if path.is_file():
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and message.string:
                    plural = isinstance(message.id, (list, tuple))
                    messages[message.id[0] if plural else str(message.id)] = (
                        tuple(message.string) if plural else str(message.string)
                    )
    return Translations(language, messages)


def negotiate_language(accepted: str | None) -> str:
    """The language of the pages that an Accept-Language header likes best (RFC 9110 §12.5.4); English for none."""
    best = ("en", 0.0)
    for part in (accepted or "").split(","):
        tag, _, weight = part.partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        language = tag.strip().lower().split("-")[0]
        if language in LANGUAGES and quality > best[1]:
            best = (language, quality)
    return best[0]
