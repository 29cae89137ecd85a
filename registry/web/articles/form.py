"""The fields of the form of an article, by the deals and announcements that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from uuid import uuid4

from msgspec import Struct

from registry.events.types import BOOKKEEPING_TYPES, DealRegistered, Event, tag_of
from registry.extraction.text import language_of
from registry.web.articles.lookup import Kind, names_of, proposed_slug, reference_kind, with_name
from registry.web.forms.event_types import REGISTRATIONS, form_event_type
from registry.web.forms.parse import FRAME, typed_languages, with_further_languages

_ANNOUNCEMENT = re.compile(r"deals/([0-9]{1,2})/announcements/([0-9]{1,2})/(.+)")
_DEAL = re.compile(r"deals/([0-9]{1,2})/.+")
_ORGANIZATION = re.compile(r"organizations/([0-9]{1,2})/.+")

MAX_ROWS = 100
"""The most deals of a form, announcements of a deal, and new organizations: their numbers have two digits."""

DATES = ("effective_on", "date")
"""The fields of the whole article that an announcement may have of its own."""

_FRAME = frozenset(field.encoded_name for field in FRAME)


class AnnouncementForm(Struct):
    """The fields of one announcement.

    Attributes:
        prefix: What the names of its fields begin with: `deals/0/announcements/1`.
        event: Its event type.
        typed: The text of its own fields, without the prefix.
    """

    prefix: str
    event: type[Event]
    typed: dict[str, str]

    @property
    def tag(self) -> str:
        """The name of its event type."""
        return tag_of(self.event)

    @property
    def is_dropped(self) -> bool:
        """Whether the person has left it out."""
        return bool(self.typed.get("drop"))

    @property
    def sentence(self) -> tuple[int, int] | None:
        """Where its sentence is in the article's text."""
        start, end = self.typed.get("start", ""), self.typed.get("end", "")
        return (int(start), int(end)) if start.isdecimal() and end.isdecimal() else None

    @property
    def has_own_date(self) -> bool:
        """Whether it has another date than the article."""
        return any(self.typed.get(name, "").strip() for name in DATES)

    def texts(self, frame: Mapping[str, str]) -> dict[str, str]:
        """The fields of the announcement as a form for it alone has them."""
        # An event about the record itself has no date unless one is stated.
        is_dated = not (self.has_own_date or issubclass(self.event, BOOKKEEPING_TYPES))
        shared = {name: text for name, text in frame.items() if is_dated or name not in DATES}
        quote = {
            name: text
            for name, text in (
                ("sources/0/quote", self.typed.get("quote")),
                ("sources/0/locator", self.typed.get("locator")),
            )
            # A source without an address is known by its locator, so it has no quotation of each announcement.
            if text and shared.get("sources/0/url", "").strip() and not shared.get(name, "").strip()
        }
        own = {name: text for name, text in self.typed.items() if text.strip() or name not in DATES}
        return {**shared, **own, **(quote if len(quote) == 2 else {})}


class DealForm(Struct):
    """The fields of one deal: its name, and its announcements in their order."""

    number: int
    typed: str
    announcements: list[AnnouncementForm]

    @property
    def prefix(self) -> str:
        """What the names of its fields begin with."""
        return f"deals/{self.number}"

    @property
    def kept(self) -> list[AnnouncementForm]:
        """The announcements that the person has not left out."""
        return [one for one in self.announcements if not one.is_dropped]

    @property
    def registration(self) -> AnnouncementForm | None:
        """The announcement that registers the deal, if it is new."""
        return next((one for one in self.kept if one.event is DealRegistered), None)


class OrganizationForm(Struct):
    """The fields of an organization that the form registers.

    Attributes:
        text: What the fields of the announcements call it.
        slug: Its slug.
        name: Its name by language.
        id: The id of the announcement that registers it.
    """

    number: int
    text: str
    slug: str
    name: dict[str, str]
    id: str

    @property
    def prefix(self) -> str:
        """What the names of its fields begin with."""
        return f"organizations/{self.number}"


class ArticleForm:
    """The form of an article. What a button adds or replaces changes `typed`, the text of all fields."""

    def __init__(self, typed: Mapping[str, str]) -> None:
        self.typed = with_further_languages(typed)

    @property
    def text(self) -> str:
        """The text of the article, with the line breaks that its sentences' places count."""
        return self.typed.get("text", "").replace("\r\n", "\n")

    @property
    def frame(self) -> dict[str, str]:
        """The fields of the whole article: its source, its date, and the note."""
        return {name: text for name, text in self.typed.items() if name.partition("/")[0] in _FRAME}

    @property
    def deals(self) -> list[DealForm]:
        """The deals, in their order."""
        rows: dict[int, dict[int, dict[str, str]]] = {}
        for name, text in self.typed.items():
            if found := _DEAL.fullmatch(name):
                rows.setdefault(int(found[1]), {})
            if found := _ANNOUNCEMENT.fullmatch(name):
                rows[int(found[1])].setdefault(int(found[2]), {})[found[3]] = text
        return [
            DealForm(number, self.typed.get(f"deals/{number}/deal", ""), _announcements(number, announcements))
            for number, announcements in sorted(rows.items())
        ]

    @property
    def organizations(self) -> list[OrganizationForm]:
        """The new organizations, in their order."""
        numbers = {int(found[1]) for name in self.typed if (found := _ORGANIZATION.fullmatch(name))}
        return [self._organization(number) for number in sorted(numbers)]

    def _organization(self, number: int) -> OrganizationForm:
        prefix = f"organizations/{number}"
        name = {
            language: self.typed[f"{prefix}/name/{language}"].strip()
            for language in typed_languages(f"{prefix}/name", self.typed)
        }
        fields = [self.typed.get(f"{prefix}/{field}", "").strip() for field in ("text", "slug", "id")]
        return OrganizationForm(number, fields[0], fields[1], name, fields[2])

    def references(self) -> list[tuple[Kind, str]]:
        """The deals and organizations that the fields name."""
        named: list[tuple[Kind, str]] = []
        for deal in self.deals:
            if deal.registration is None and deal.typed.strip():
                named.append(("deal", deal.typed.strip()))
            for announcement in deal.kept:
                for pointer, text in announcement.typed.items():
                    kind = reference_kind(pointer)
                    named += [(kind, name) for name in names_of(pointer, text)] if kind is not None else []
        return named

    # --- changes ------------------------------------------------------------------------------------------------------

    def add_deal(self, deal: str = "", *, is_new: bool = False) -> int:
        """Add a deal, with its registration if it is new. Returns its number."""
        number = 1 + max((one.number for one in self.deals), default=-1)
        if number >= MAX_ROWS:
            return MAX_ROWS - 1
        self.typed[f"deals/{number}/deal"] = deal
        if is_new:
            self.add_announcement(number, REGISTRATIONS["deal"])
        return number

    def add_announcement(self, deal: int, tag: str, fields: Mapping[str, str] | None = None) -> None:
        """Add an announcement of an event type to a deal."""
        rows = next((one.announcements for one in self.deals if one.number == deal), [])
        number = 1 + max((int(one.prefix.rpartition("/")[2]) for one in rows), default=-1)
        if form_event_type(tag) is None or number >= MAX_ROWS:
            return
        prefix = f"deals/{deal}/announcements/{number}"
        given = {"type": tag, "id": str(uuid4()), **(fields or {})}
        self.typed |= {f"{prefix}/{name}": text for name, text in given.items()}

    def add_organization(self, text: str, slug: str = "", name: Mapping[str, str] | None = None) -> None:
        """Add an organization to register, with a slug to start from."""
        known = self.organizations
        number = 1 + max((one.number for one in known), default=-1)
        if number >= MAX_ROWS or any(text in (one.text, one.slug) for one in known):
            return
        prefix = f"organizations/{number}"
        self.typed[f"{prefix}/text"], self.typed[f"{prefix}/id"] = text, str(uuid4())
        self.typed[f"{prefix}/slug"] = slug or free_slug(proposed_slug(text), {one.slug for one in known})
        for language, own in (name or {language_of(text): text}).items():
            self.typed[f"{prefix}/name/{language}"] = own

    def replace(self, pointer: str, old: str, new: str) -> None:
        """Put another name in a field, or in its place in a list of names."""
        self.typed[pointer] = with_name(pointer, self.typed.get(pointer, ""), old, new)
        found = _DEAL.fullmatch(pointer)
        if found is not None and pointer == f"deals/{found[1]}/deal":
            # The deal is in the registry: its registration is left out.
            for deal in self.deals:
                if deal.number == int(found[1]) and deal.registration is not None:
                    self.typed[f"{deal.registration.prefix}/drop"] = "yes"

    def register(self, deal: int) -> None:
        """Make a deal a new one: the name that was typed for it becomes its title."""
        for one in self.deals:
            if one.number == deal and one.registration is None:
                title = one.typed.strip()
                self.add_announcement(
                    deal, REGISTRATIONS["deal"], {f"event/title/{language_of(title)}": title} if title else {}
                )
                self.typed[f"{one.prefix}/deal"] = proposed_slug(title)

    def remove_unused_organizations(self) -> None:
        """Remove the rows of organizations that no field names any more."""
        named = {text for kind, text in self.references() if kind == "organization"}
        for one in self.organizations:
            if not named & {one.text, one.slug, *one.name.values()}:
                self.typed = {name: t for name, t in self.typed.items() if not name.startswith(f"{one.prefix}/")}


def free_slug(slug: str, taken: Iterable[str]) -> str:
    """A slug that is not taken yet."""
    number, free, used = 2, slug, set(taken)
    while free in used:
        free, number = f"{slug[:75]}-{number}", number + 1
    return free


def _announcements(deal: int, rows: Mapping[int, dict[str, str]]) -> list[AnnouncementForm]:
    """The announcements of a deal in their order, after its registration."""
    forms = [
        AnnouncementForm(f"deals/{deal}/announcements/{number}", event, typed)
        for number, typed in sorted(rows.items())
        if (event := form_event_type(typed.get("type"))) is not None
    ]
    return sorted(forms, key=lambda one: one.event is not DealRegistered)
