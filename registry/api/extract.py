"""Propose announcements from the text of an article. Nothing is recorded."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency
from msgspec import Meta, Struct

from registry.api.openapi import writing
from registry.errors import FieldError, Invalid
from registry.events import intake
from registry.events.codec import earliest_publication
from registry.events.values import EventPart, Localized, Source, decode_hook
from registry.extraction import Article, KnownOrganization, ProposedDeal, extract
from registry.http.bodies import Request, decoder, read_body
from registry.http.guards import check_may_read
from registry.http.responses import RawResponse, json_response
from registry.infra.threads import offload_answer
from registry.queries.organizations import OrganizationQueries
from registry.schemas import encode

# An article of 3,800 characters takes 0.25 s, 20,000 characters of digits and commas 4 s.
EXTRACT_SECONDS = 10.0


class ArticleText(EventPart, frozen=True, kw_only=True):
    """An article: its text, and its source, which each proposed announcement cites."""

    text: Annotated[
        str,
        Meta(
            min_length=1, max_length=200_000, examples=["Corning (코닝) will invest $500 million in a plant in Asan."]
        ),
    ]
    source: Source | None = None


class ProposedAnnouncementResponse(Struct, frozen=True, kw_only=True):
    """An announcement to accept, change or drop. `start` and `end` are its sentence in the text, in characters."""

    announcement: dict[str, Any]
    start: int
    end: int


class ProposedDealResponse(Struct, frozen=True, kw_only=True):
    """A deal to record, with a slug and a title to start from, and its announcements in the order to post them.

    `new_organizations` are those of its organizations that the registry does not know.
    """

    deal: str
    title: Localized
    organizations: tuple[str, ...]
    new_organizations: tuple[str, ...]
    announcements: tuple[ProposedAnnouncementResponse, ...]


class ExtractedDeals(Struct, frozen=True, kw_only=True):
    """The deals that the article announces, as far as rules over its words find them."""

    deals: tuple[ProposedDealResponse, ...]


_article = msgspec.json.Decoder(ArticleText, dec_hook=decode_hook)


def decode_article(body: bytes) -> ArticleText:
    """Decode an article strictly.

    Raises:
        NotJson, Invalid: It is none.
    """
    given: ArticleText = intake.decode(_article, body)
    return given


async def proposed_deals(
    text: str, source: Source | None, organization_queries: OrganizationQueries
) -> tuple[list[ProposedDeal], set[str]]:
    """The deals that an article announces, and the slugs of the organizations that the registry knows.

    Raises:
        Invalid: The text takes too long to read.
    """
    known = [KnownOrganization(slug, names) for slug, names in (await organization_queries.known_names()).items()]
    cited = msgspec.to_builtins(source) if source is not None else {}
    published_on = earliest_publication((source,)) if source is not None else None
    try:
        async with asyncio.timeout(EXTRACT_SECONDS):
            deals = await offload_answer(len(text), extract, Article(text, cited, published_on), known)
    except TimeoutError:
        raise Invalid([FieldError("/text", "text_takes_long", seconds=int(EXTRACT_SECONDS))]) from None
    return deals, {one.slug for one in known}


class ExtractController(Controller):
    """Proposals from articles."""

    path = "/v1/extract"
    tags = ("Deals",)

    @writing(post, "/", body=ArticleText, status_code=200)
    async def post_extract(
        self, request: Request, organization_queries: NamedDependency[OrganizationQueries]
    ) -> RawResponse[ExtractedDeals]:
        """Propose announcements from an article in Korean or English, each with the sentence that it rests on.

        Rules find organizations that the registry knows in either script or that the article introduces, amounts as the
        press writes them, places, capacities, periods and stages. No outside service is asked; nothing is recorded.
        The answer shows which organizations the registry knows, so the key must be able to read.
        """
        check_may_read(request)
        given: ArticleText = await decoder.decode(decode_article, await read_body(request))
        deals, slugs = await proposed_deals(given.text, given.source, organization_queries)
        body = ExtractedDeals(
            deals=tuple(
                ProposedDealResponse(
                    deal=deal.deal,
                    title=Localized(deal.title),
                    organizations=deal.organizations,
                    new_organizations=tuple(slug for slug in deal.organizations if slug not in slugs),
                    announcements=tuple(
                        ProposedAnnouncementResponse(announcement=one.announcement, start=one.start, end=one.end)
                        for one in deal.announcements
                    ),
                )
                for deal in deals
            )
        )
        return json_response(encode(body))
