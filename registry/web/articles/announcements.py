"""From the form of an article to the announcements that it contains, deal by deal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from registry.errors import FieldError, Invalid
from registry.events import intake
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement, OrganizationRegistered
from registry.events.values import Amount
from registry.web.articles.form import DATES, AnnouncementForm, ArticleForm, DealForm, OrganizationForm
from registry.web.articles.lookup import (
    FoundNames,
    Kind,
    NameMatch,
    is_slug,
    names_of,
    proposed_slug,
    reference_kind,
    resolved,
    unclear,
)
from registry.web.forms.parse import parse


class AnnouncementPart(Struct):
    """The announcements for one deal or organization.

    Attributes:
        places: The form of each announcement: what the names of its fields begin with.
        readings: The amounts that each announcement's text was understood as.
    """

    kind: AnnouncedKind
    slug: str
    prefix: str
    places: list[str]
    announcements: list[Announcement | OrganizationAnnouncement]
    readings: list[tuple[Amount, ...]]


class Built(Struct):
    """What a form contains: the parts that could be read, and what is wrong with the others.

    Attributes:
        errors: Wrong fields; the pointer of each is the name of its form field.
        unknown: The names of organizations that the registry does not have.
    """

    parts: list[AnnouncementPart]
    errors: list[FieldError]
    unknown: list[str]


def new_names(form: ArticleForm) -> dict[tuple[Kind, str], str]:
    """The slugs of what the form registers, by each name that its fields may use."""
    names: dict[tuple[Kind, str], str] = {}
    for one in form.organizations:
        if is_slug(one.slug):
            names |= {("organization", text): one.slug for text in (one.text, one.slug, *one.name.values()) if text}
    for deal in form.deals:
        if deal.registration is not None:
            slug = slug_of_new(deal)
            titles = [text.strip() for name, text in deal.registration.typed.items() if name.startswith("event/title/")]
            names |= {("deal", text): slug for text in (slug, deal.typed.strip(), *titles) if text}
    return names


def slug_of_new(deal: DealForm) -> str:
    """The slug of a deal that the form registers: as typed, else made from what was typed, else from its title."""
    typed = deal.typed.strip()
    if typed:
        return typed if is_slug(typed) else proposed_slug(typed)
    fields = deal.registration.typed if deal.registration is not None else {}
    titles = {name.rpartition("/")[2]: text for name, text in fields.items() if name.startswith("event/title/")}
    return proposed_slug(titles.get("en", "").strip() or next((text for text in titles.values() if text.strip()), ""))


def build(form: ArticleForm, found: FoundNames) -> Built:
    """The announcements of a form."""
    built = Built([], [], [])
    used = {found[key].slug for key in form.references() if key[0] == "organization" and key in found}
    for one in form.organizations:
        if one.slug in used or not is_slug(one.slug):
            _add_organization(built, one, form.frame)
    parts: dict[str, AnnouncementPart] = {}
    for deal in form.deals:
        slug = _slug(deal, found, built)
        if deal.typed.strip() and not deal.announcements:
            built.errors.append(FieldError(f"/{deal.prefix}/add", "announcement_needed"))
        for announcement in deal.kept:
            _check_names(announcement, found, built)
            read = read_announcement(announcement, form.frame, found)
            if isinstance(read, list):
                # A name that is not clear is one error, though it is no slug either.
                unclear_names = tuple(error.pointer for error in built.errors)
                built.errors += [error for error in read if not error.pointer.startswith(unclear_names)]
                continue
            part = parts.setdefault(slug, AnnouncementPart("deal", slug, deal.prefix, [], [], []))
            part.places.append(announcement.prefix)
            part.announcements.append(read[0])
            part.readings.append(tuple(read[1].values()))
    built.parts += parts.values()
    built.unknown = list(dict.fromkeys(built.unknown))
    built.errors = list(dict.fromkeys(built.errors))
    return built


def _slug(deal: DealForm, found: FoundNames, built: Built) -> str:
    """The slug of a deal. Adds an error if there are announcements for a deal that the form does not identify."""
    pointer, typed = f"/{deal.prefix}/deal", deal.typed.strip()
    if not deal.kept:
        return ""
    if deal.registration is not None:
        slug = slug_of_new(deal)
        if not slug and not any(e.pointer.startswith(f"/{deal.prefix}/") for e in built.errors):
            built.errors.append(FieldError(pointer, "slug_needed"))
        return slug
    if not typed:
        built.errors.append(FieldError(pointer, "required"))
        return ""
    known = found.get(("deal", typed), NameMatch(None))
    if known.slug is None:
        built.errors.append(unclear(pointer, "deal", typed, known))
    return known.slug or ""


def _check_names(announcement: AnnouncementForm, found: FoundNames, built: Built) -> None:
    """Add an error for each name that is not clear."""
    for pointer, text in announcement.typed.items():
        kind = reference_kind(pointer)
        for name in names_of(pointer, text) if kind is not None else ():
            known = found.get((kind, name), NameMatch(None))  # type: ignore[arg-type]
            if known.slug is None and kind is not None:
                built.errors.append(unclear(f"/{announcement.prefix}/{pointer}", kind, name, known))
                if kind == "organization":
                    built.unknown.append(name)


def read_announcement(
    announcement: AnnouncementForm, frame: Mapping[str, str], found: FoundNames
) -> tuple[Announcement, dict[str, Amount]] | list[FieldError]:
    """One announcement and the amounts that were read, or what is wrong with its fields."""
    texts = resolved(announcement.texts(frame), found)
    form = parse(announcement.event, texts)
    errors: Sequence[FieldError] = form.field_errors
    if not errors:
        given = {"id": announcement.typed.get("id") or None, **form.announcement}
        try:
            body = msgspec.json.encode({name: value for name, value in given.items() if value is not None})
            return intake.announcements.decode_one(body), form.readings
        except Invalid as error:
            errors = error.field_errors
    return [error.at(_pointer(announcement, error.pointer)) for error in errors]


def _pointer(announcement: AnnouncementForm, pointer: str) -> str:
    """Where a field of an announcement is in the form: the source and the date are the article's."""
    first = pointer.strip("/").partition("/")[0]
    is_shared = first in ("sources", "note") or (first in DATES and not announcement.has_own_date)
    return pointer if is_shared else f"/{announcement.prefix}{pointer}"


def _add_organization(built: Built, one: OrganizationForm, frame: Mapping[str, str]) -> None:
    """Add the registration of an organization. It has the source of the article and no date."""
    texts = {name: text for name, text in frame.items() if name not in DATES and name != "note"}
    texts |= {f"event/name/{language}": text for language, text in one.name.items()}
    form = parse(OrganizationRegistered, texts)
    pointer = f"/{one.prefix}"
    if not is_slug(one.slug):
        built.errors.append(FieldError(f"{pointer}/slug", "slug_needed"))
    try:
        body: dict[str, Any] = {**form.announcement, **({"id": one.id} if one.id else {})}
        registered = intake.organization_announcements.decode_one(msgspec.json.encode(body))
    except Invalid as error:
        for wrong in error.field_errors:
            is_shared = wrong.pointer.startswith("/sources")
            built.errors.append(wrong.at(wrong.pointer if is_shared else wrong.pointer.replace("/event", pointer, 1)))
        return
    built.parts.append(AnnouncementPart("organization", one.slug, one.prefix, [one.prefix], [registered], [()]))
