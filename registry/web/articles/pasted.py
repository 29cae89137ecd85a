"""The form of an article, filled with what the registry proposes from its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

import msgspec

from registry.api.extract import ArticleText, decode_article, proposed_deals
from registry.errors import FieldError, Invalid
from registry.events.types import DealFact
from registry.events.values import decode_hook
from registry.extraction import ProposedDeal
from registry.extraction.text import language_of
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader
from registry.web.articles.form import MAX_ROWS, ArticleForm, free_slug
from registry.web.articles.lookup import Lookup, names_of, reference_kind
from registry.web.forms.parse import form_values

MAX_QUOTATION = 500

SOURCE = "sources/0/"
SOURCE_FIELDS = ("url", "publisher", "title", "published_on")
"""What a person may state about the article beside its text."""


class Pasted:
    """Makes the form of a pasted article."""

    def __init__(self, organization_queries: OrganizationQueries, streams: StreamReader, lookup: Lookup) -> None:
        self._organizations = organization_queries
        self._streams = streams
        self._lookup = lookup

    async def form(self, sent: Mapping[str, str], language: str) -> ArticleForm:
        """The form with the proposals from an article.

        Raises:
            Invalid: The text is missing or too long, or the source has a wrong value.
        """
        text = sent.get("text", "").replace("\r\n", "\n").replace("\r", "\n")
        given = {
            name: sent[f"{SOURCE}{name}"].strip() for name in SOURCE_FIELDS if sent.get(f"{SOURCE}{name}", "").strip()
        }
        article = _article(text, given)
        form = ArticleForm({"text": text, **{f"{SOURCE}{name}": value for name, value in given.items()}})
        form.typed["effective_on"] = given.get("published_on", "")
        if given:
            form.typed[f"{SOURCE}language"] = language_of(text)
        deals, known = await proposed_deals(text, article.source, self._organizations)
        await self._add_deals(form, deals[:MAX_ROWS], language)
        _add_organizations(form, deals, known)
        await self._show_names(form, language)
        return form

    async def _add_deals(self, form: ArticleForm, deals: Sequence[ProposedDeal], language: str) -> None:
        taken: set[str] = set()
        for number, deal in enumerate(deals):
            slug = free_slug(deal.deal, taken)
            # A deal of this name is in the registry: it may be the same one, which the form offers, or another.
            while (await self._streams.load(f"deal/{slug}"))[0] is not None:
                taken.add(slug)
                slug = free_slug(deal.deal, taken)
            taken.add(slug)
            form.typed[f"deals/{number}/deal"] = slug
            for row, one in enumerate(deal.announcements[:MAX_ROWS]):
                event = msgspec.convert(one.announcement["event"], DealFact, dec_hook=decode_hook)
                sentence = form.text[one.start : one.end]
                fields = form_values(event, None, (), language=language)
                fields |= {"start": str(one.start), "end": str(one.end)}
                if len(sentence) <= MAX_QUOTATION:
                    fields |= {"quote": sentence, "locator": f"¶ {_paragraph(form.text, one.start)}"}
                prefix = f"deals/{number}/announcements/{row}"
                form.typed |= {f"{prefix}/{name}": value for name, value in fields.items() if value}
                form.typed |= {f"{prefix}/type": one.announcement["event"]["type"], f"{prefix}/id": str(uuid4())}

    async def _show_names(self, form: ArticleForm, language: str) -> None:
        """Put names in place of the slugs of organizations, where the name means this organization only."""
        slugs = {text for kind, text in form.references() if kind == "organization"}
        shown = await self._lookup.clear_names(slugs, language, {one.slug: one.text for one in form.organizations})
        for pointer, text in form.typed.items():
            own = pointer.rpartition("announcements/")[2].partition("/")[2]
            if own and reference_kind(own) == "organization":
                form.typed[pointer] = ", ".join(shown.get(slug, slug) for slug in names_of(own, text))


def _add_organizations(form: ArticleForm, deals: Sequence[ProposedDeal], known: set[str]) -> None:
    """The organizations that the article names and the registry does not know, each under the names that it gives."""
    names: dict[str, dict[str, str]] = {}
    for deal in deals:
        for one in deal.announcements:
            for party in one.announcement["event"].get("parties", ()):
                names.setdefault(party["organization"], {}).update(party.get("name") or {})
    for slug, name in names.items():
        if slug not in known:
            form.add_organization(next(iter(name.values()), slug), slug, name or None)


def _paragraph(text: str, start: int) -> int:
    """The number of the paragraph in which a place of a text is, from 1."""
    return sum(1 for line in text[:start].split("\n")[:-1] if line.strip()) + 1


def _article(text: str, given: dict[str, str]) -> ArticleText:
    """The article as the API takes it. The pointer of an error is the name of a field."""
    if not text.strip():
        raise Invalid([FieldError("/text", "required")])
    source = {"source": given | {"language": language_of(text)}} if given else {}
    try:
        return decode_article(msgspec.json.encode({"text": text, **source}))
    except Invalid as error:
        raise Invalid([e.at(e.pointer.replace("/source/", f"/{SOURCE}", 1)) for e in error.field_errors]) from None
