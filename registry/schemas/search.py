"""What a search finds, in a response."""

from __future__ import annotations

from typing import Literal, TypeAlias

from registry.schemas.base import Link, RequestedAsOf, ResponseModel
from registry.schemas.values import LocalizedResponse

HitKind: TypeAlias = Literal["deal", "organization", "place", "source"]
MatchedField: TypeAlias = Literal["title", "identifier", "name", "party", "place", "site", "source", "publisher", "url"]


class SearchMatch(ResponseModel, frozen=True, kw_only=True):
    """A text in which words of the query stand. `marks` are the ranges of its characters that match: from and to."""

    field: MatchedField
    language: str | None
    text: str
    marks: list[tuple[int, int]]


class SearchHit(ResponseModel, frozen=True, kw_only=True):
    """Something that has every word of the query.

    `id` is the slug of a deal or an organization, the code of a place, or the id of a source. `link` is where the API
    has it. `deals` is how many deals an organization or a place has. `matches` are the texts that the words stand in.
    """

    kind: HitKind
    id: str
    title: LocalizedResponse | None
    link: Link
    score: int
    deals: int | None
    matches: list[SearchMatch]


class SearchedWord(ResponseModel, frozen=True, kw_only=True):
    """A word of the query. `similar` are those that were searched for because nothing has the word as it is written."""

    word: str
    similar: list[str]


class SearchResponse(RequestedAsOf, frozen=True, kw_only=True):
    """What a search finds at a point in time: of each kind the best first, and how many there are of each kind."""

    position: int
    words: list[SearchedWord]
    counts: dict[HitKind, int]
    hits: list[SearchHit]
