"""Reconciliation for OpenRefine and others: matches names in a table with organizations and deals (API version 0.2).

The Reconciliation Service API of the W3C Entity Reconciliation Community Group: manifest, queries, suggestions, preview
and data extension. An id is `organizations/SLUG` or `deals/SLUG`, the path of the entity's page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qs

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta, Struct
from rapidfuzz import fuzz

from registry.api.openapi import reading, writing
from registry.domain.history import AsOf
from registry.domain.organizations.deduplication import normalize_name
from registry.errors import InvalidParameter, NotFound
from registry.http.bodies import Request, read_body
from registry.http.parameters import text
from registry.http.responses import RawResponse, base_url, raw_headers
from registry.projections.columnar.lists import Order
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealListItem, OrganizationFields, decode, encode
from registry.schemas.deal_query import DealQuery

T = TypeVar("T")

FORM = "application/x-www-form-urlencoded"
CERTAIN = 95.0
"""A candidate with this score (0 to 100) is a match if no other one has it."""

Queries = Annotated[
    str | None,
    QueryParameter(description="Names to match, as JSON.", schema_extra={"examples": ['{"q0": {"query": "Amkor"}}']}),
]
Extend = Annotated[
    str | None,
    QueryParameter(
        description="Entities and properties to return, as JSON.",
        schema_extra={"examples": ['{"ids": ["deals/sk-aws-ulsan"], "properties": [{"id": "stage"}]}']},
    ),
]
Kind = Literal["organizations", "deals"]
TYPES = ({"id": "organizations", "name": "Organizations"}, {"id": "deals", "name": "Deals"})


class ReconciliationQuery(Struct, frozen=True):
    """A name to match. `properties` of the specification are accepted and not used."""

    query: str
    type: str | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 5


class ExtensionProperty(Struct, frozen=True):
    """A property to return."""

    id: str


class ExtensionQuery(Struct, frozen=True):
    """The entities and the properties to return."""

    ids: Annotated[tuple[str, ...], Meta(max_length=1000)]
    properties: tuple[ExtensionProperty, ...]


class ReconciliationForm(Struct, frozen=True):
    """A form with `queries` or `extend`, each the JSON that the specification describes."""

    queries: str | None = None
    extend: str | None = None


class Candidate(Struct, frozen=True, kw_only=True):
    """An entity that may be meant."""

    id: str
    name: str
    type: tuple[dict[str, str], ...]
    score: float
    match: bool = False
    description: str = ""


class Property(Struct, frozen=True):
    """A property of an entity, and how its values are read from the organization or the deal."""

    id: str
    name: str
    values: Callable[[Any], Iterable[str | None]]


ORGANIZATION_PROPERTIES = {
    "name_en": Property("name_en", "Name (en)", lambda one: [(one.name or {}).get("en")]),
    "name_ko": Property("name_ko", "Name (ko)", lambda one: [(one.name or {}).get("ko")]),
    "country": Property("country", "Country", lambda one: [one.country]),
    "identifiers": Property(
        "identifiers", "Identifiers", lambda one: [f"{each.scheme}:{each.identifier}" for each in one.identifiers]
    ),
    "parents": Property("parents", "Parents", lambda one: [each.parent for each in one.parents]),
}
DEAL_PROPERTIES = {
    "title_en": Property("title_en", "Title (en)", lambda one: [(one.title or {}).get("en")]),
    "title_ko": Property("title_ko", "Title (ko)", lambda one: [(one.title or {}).get("ko")]),
    "stage": Property("stage", "Stage", lambda one: [one.stage.value if one.stage else None]),
    "organizations": Property("organizations", "Organizations", lambda one: list(one.organizations)),
    "places": Property("places", "Places", lambda one: list(one.places)),
    "sectors": Property("sectors", "Sectors", lambda one: list(one.sectors)),
}
PROPERTIES: dict[str, dict[str, Property]] = {"organizations": ORGANIZATION_PROPERTIES, "deals": DEAL_PROPERTIES}


class ReconcileController(Controller):
    """Reconciliation of names."""

    path = "/v1/reconcile"
    tags = ("Portfolio",)

    @reading("/")
    async def get_reconcile(
        self,
        request: Request,
        organization_queries: NamedDependency[OrganizationQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
        queries: Queries = None,
        extend: Extend = None,
    ) -> RawResponse[dict[str, Any]]:
        """The manifest of the reconciliation service; with `queries` or `extend`, an answer."""
        entities = _Entities(organization_queries, portfolio_queries)
        return _json(await _answer(request, entities, queries, extend))

    @writing(post, "/", scope="read", body=ReconciliationForm, body_type=FORM, status_code=200)
    async def post_reconcile(
        self,
        request: Request,
        organization_queries: NamedDependency[OrganizationQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> RawResponse[dict[str, Any]]:
        """Match names, or return properties of entities: what OpenRefine sends. It changes nothing."""
        form = parse_qs((await read_body(request, FORM)).decode("utf-8", "replace"))
        queries, extend = (form.get(name, [None])[0] for name in ("queries", "extend"))
        entities = _Entities(organization_queries, portfolio_queries)
        return _json(await _answer(request, entities, queries, extend))

    @reading("/suggest/entity")
    async def get_suggested_entities(
        self,
        organization_queries: NamedDependency[OrganizationQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
        prefix: Annotated[str, text("The text that was typed.")],
    ) -> RawResponse[dict[str, Any]]:
        """Entities whose name contains a text, for auto-completion."""
        found = await _Entities(organization_queries, portfolio_queries).candidates(
            ReconciliationQuery(prefix, limit=20)
        )
        return _json({"result": [{"id": one.id, "name": one.name, "description": one.id} for one in found]})

    @reading("/extend/properties")
    async def get_proposed_properties(
        self, type: Annotated[Kind, QueryParameter(description="What the entities are.")] = "organizations"
    ) -> RawResponse[dict[str, Any]]:
        """The properties that a type of entities can be extended with."""
        listed = [{"id": each.id, "name": each.name} for each in PROPERTIES[type].values()]
        return _json({"type": type, "properties": listed})

    @reading("/preview", "not_found", media_type="text/html", response_description="A small page about an entity.")
    async def get_preview(
        self,
        organization_queries: NamedDependency[OrganizationQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
        id: Annotated[str, text("The entity.")],
    ) -> RawResponse[str]:
        """What OpenRefine shows beside a candidate."""
        entity = await _Entities(organization_queries, portfolio_queries).get(id)
        if entity is None:
            raise NotFound("entity", id=id[:80])
        rows = "".join(
            f"<dt>{escape(each.name)}</dt><dd>{escape(', '.join(_values(each, entity)))}</dd>"
            for each in PROPERTIES.get(id.partition("/")[0], {}).values()
            if _values(each, entity)
        )
        page = f'<!doctype html><meta charset="utf-8"><title>{escape(id)}</title><dl>{rows}</dl>'
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'none'"}
        return RawResponse(page.encode(), 200, raw_headers(headers), b"text/html; charset=utf-8")


class _Entities:
    """Organizations and deals, found by name or by id, as they are now."""

    def __init__(self, organizations: OrganizationQueries, portfolio: PortfolioQueries) -> None:
        self._organizations = organizations
        self._portfolio = portfolio

    async def candidates(self, asked: ReconciliationQuery) -> list[Candidate]:
        """The entities that a name may mean, the likeliest first."""
        found: list[Candidate] = []
        if asked.type in (None, "organizations"):
            names = await self._organizations.known_names()
            found += [_candidate("organizations", slug, asked.query, (slug, *of)) for slug, of in names.items()]
        if asked.type in (None, "deals"):
            found += [
                _candidate("deals", deal.deal, asked.query, (deal.deal, *filter(None, (deal.title or {}).values())))
                for deal in await self._deals(asked.query)
            ]
        likely = sorted((one for one in found if one.score >= 50), key=lambda one: (-one.score, one.id))[: asked.limit]
        certain = [one for one in likely if one.score >= CERTAIN]
        if len(certain) == 1:
            return [msgspec.structs.replace(one, match=one is certain[0]) for one in likely]
        return likely

    async def _deals(self, query: str) -> Sequence[DealListItem]:
        """Deals that have every word of the text, or its longest one."""
        longest = max(query.split(), key=len, default="")
        for q in dict.fromkeys((query.strip(), longest)):
            if q and (page := await self._listed(q)):
                return page
        return ()

    async def _listed(self, q: str) -> Sequence[DealListItem]:
        point = await self._portfolio.point(AsOf())
        selection = await self._portfolio.select(point, DealQuery(q=q))
        page = await self._portfolio.page(point, selection, Order("relevance", descending=True), None, 100)
        return page.deals

    async def get(self, id: str) -> OrganizationFields | DealListItem | None:
        """An entity; None if there is none with this id."""
        kind, _, slug = id.partition("/")
        if kind == "deals":
            point = await self._portfolio.point(AsOf())
            return next(iter(await self._portfolio.items(point, [slug], await self._portfolio.rates(AsOf()))), None)
        if kind != "organizations" or not slug:
            return None
        found = await self._organizations.named([slug])
        return decode(found[slug], OrganizationFields) if slug in found else None


def _candidate(kind: Kind, slug: str, query: str, names: Sequence[str]) -> Candidate:
    """A candidate with the score of the name that is most like the query."""
    asked = normalize_name(query)
    score = max(fuzz.token_sort_ratio(asked, normalize_name(name)) for name in names)
    shown = names[1] if len(names) > 1 else slug
    type_ = next(each for each in TYPES if each["id"] == kind)
    return Candidate(id=f"{kind}/{slug}", name=shown, type=(type_,), score=round(score, 1), description=slug)


async def _answer(request: Request, entities: _Entities, queries: str | None, extend: str | None) -> dict[str, Any]:
    if queries is not None:
        asked = _decoded(queries, dict[str, ReconciliationQuery], "queries")
        return {name: {"result": await entities.candidates(one)} for name, one in asked.items()}
    if extend is not None:
        return await _extended(entities, _decoded(extend, ExtensionQuery, "extend"))
    return _manifest(base_url(request))


async def _extended(entities: _Entities, asked: ExtensionQuery) -> dict[str, Any]:
    known = {**ORGANIZATION_PROPERTIES, **DEAL_PROPERTIES}
    wanted = [known[each.id] for each in asked.properties if each.id in known]
    rows: dict[str, Any] = {}
    for id in asked.ids:
        entity = await entities.get(id)
        own = PROPERTIES.get(id.partition("/")[0], {})
        rows[id] = {
            each.id: [{"str": value} for value in (_values(each, entity) if each.id in own else ())] for each in wanted
        }
    return {"meta": [{"id": each.id, "name": each.name} for each in wanted], "rows": rows}


def _values(property_: Property, entity: Any) -> list[str]:
    values: Iterable[str | None] = property_.values(entity) if entity is not None else ()
    return [value for value in values if value]


def _decoded(given: str, type: type[T], parameter: str) -> T:
    try:
        return msgspec.json.decode(given.encode(), type=type)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidParameter("reconcile", parameter=parameter) from None


def _manifest(base: str) -> dict[str, Any]:
    service = f"{base}/v1/reconcile"
    return {
        "versions": ["0.2"],
        "name": "Investment registry",
        "identifierSpace": f"{base}/",
        "schemaSpace": f"{base}/openapi.json",
        "documentation": f"{base}/docs",
        "defaultTypes": TYPES,
        "view": {"url": f"{base}/{{{{id}}}}"},
        "preview": {"url": f"{service}/preview?id={{{{id}}}}", "width": 400, "height": 200},
        "suggest": {"entity": {"service_url": service, "service_path": "/suggest/entity"}},
        "extend": {
            "propose_properties": {"service_url": service, "service_path": "/extend/properties"},
            "property_settings": [],
        },
    }


def _json(content: Mapping[str, Any]) -> RawResponse[Any]:
    return RawResponse(encode(content), 200, raw_headers({"Cache-Control": "no-cache"}))
