"""Feeds for readers of news: the newest events of the log, or of those that match a filter.

Atom (RFC 4287, paged by RFC 5005 §3) and JSON Feed 1.1. An entry is an event; its id is the event's, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import UNSET, Struct, UnsetType, field

from registry.api.openapi import reading
from registry.events.store import StoredEvent
from registry.http.bodies import Request
from registry.http.parameters import MAX_POSITION, integer
from registry.http.problems import language_of
from registry.http.responses import RawResponse, base_url, raw_headers
from registry.i18n import Label, render, translations
from registry.infra.data_licence_setting import DataLicence
from registry.infra.settings import Settings
from registry.queries.event_filter import EventFilter
from registry.queries.matching_events import MatchingEvents
from registry.schemas import LoggedEvent, encode, logged_event
from registry.schemas.deal_query import DealQuery

ATOM = "http://www.w3.org/2005/Atom"
ATOM_TYPE = "application/atom+xml"
JSON_FEED_TYPE = "application/feed+json"
JSON_FEED = "https://jsonfeed.org/version/1.1"
TITLE = "Investment Registry"

Before = Annotated[int | None, integer("The events before this position, for the next page.", 1, MAX_POSITION)]
Count = Annotated[int, integer("The most entries to return.", 1, 500)]


class JsonFeedItem(Struct, frozen=True, kw_only=True):
    """An event. `_registry` is the event as in `GET /v1/events`."""

    id: str
    url: str
    external_url: str | UnsetType = UNSET
    title: str
    content_text: str
    date_published: str
    tags: tuple[str, ...]
    registry: LoggedEvent = field(name="_registry")


class JsonFeed(Struct, frozen=True, kw_only=True):
    """A JSON Feed 1.1."""

    version: str
    title: str
    home_page_url: str
    feed_url: str
    next_url: str | UnsetType = UNSET
    language: str
    items: tuple[JsonFeedItem, ...]


class FeedsController(Controller):
    """Feeds for readers of news."""

    path = "/v1"
    tags = ("Log",)

    @reading("/events.atom", media_type=ATOM_TYPE, response_description="The newest events, as an Atom feed.")
    async def get_atom(
        self,
        request: Request,
        matching_events: NamedDependency[MatchingEvents],
        event_filter: NamedDependency[EventFilter],
        event_deals: NamedDependency[DealQuery | None],
        settings: NamedDependency[SkipValidation[Settings]],
        before: Before = None,
        limit: Count = 50,
    ) -> RawResponse[str]:
        """The newest events that match the filters, as an Atom feed.

        With filters of deals: the events of the deals that meet them now.
        """
        events = await matching_events.newest(before or MAX_POSITION, limit, event_filter, event_deals)
        return _response(request, _atom(request, events, limit, settings.data_licence), ATOM_TYPE)

    @reading("/feed.json", media_type=JSON_FEED_TYPE, response_description="The newest events, as a JSON Feed.")
    async def get_json_feed(
        self,
        request: Request,
        matching_events: NamedDependency[MatchingEvents],
        event_filter: NamedDependency[EventFilter],
        event_deals: NamedDependency[DealQuery | None],
        before: Before = None,
        limit: Count = 50,
    ) -> RawResponse[JsonFeed]:
        """The newest events that match the filters, as a JSON Feed.

        With filters of deals: the events of the deals that meet them now.
        """
        events = await matching_events.newest(before or MAX_POSITION, limit, event_filter, event_deals)
        return _response(request, encode(_json_feed(request, events, limit)), JSON_FEED_TYPE)


def _response(request: Request, content: bytes, media_type: str) -> RawResponse[Any]:
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Language", "Content-Language": language_of(request)}
    return RawResponse(content, 200, raw_headers(headers), f"{media_type}; charset=utf-8".encode())


def _json_feed(request: Request, events: Sequence[StoredEvent], limit: int) -> JsonFeed:
    return JsonFeed(
        version=JSON_FEED,
        title=_feed_title(request),
        home_page_url=_url(request, "/log"),
        feed_url=str(request.url),
        next_url=_next(request, events, limit) or UNSET,
        language=language_of(request),
        items=tuple(_item(request, event) for event in events),
    )


def _item(request: Request, stored: StoredEvent) -> JsonFeedItem:
    recorded = stored.recorded
    return JsonFeedItem(
        id=recorded.id.urn,
        url=_url(request, f"/events/{recorded.id}"),
        external_url=next((source.url for source in recorded.sources if source.url), UNSET),
        title=_title(request, stored),
        content_text=_text(stored),
        date_published=f"{recorded.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        tags=(recorded.type, recorded.slug),
        registry=logged_event(stored),
    )


def _atom(request: Request, events: Sequence[StoredEvent], limit: int, licence: DataLicence | None) -> bytes:
    feed = Element("feed", {"xmlns": ATOM, "xml:lang": language_of(request)})
    SubElement(feed, "id").text = str(request.url)
    SubElement(feed, "title").text = _feed_title(request)
    # A feed without entries has not been updated since the epoch.
    newest = max((event.recorded.recorded_at for event in events), default=None)
    SubElement(feed, "updated").text = f"{newest:%Y-%m-%dT%H:%M:%S.%fZ}" if newest else "1970-01-01T00:00:00Z"
    SubElement(SubElement(feed, "author"), "name").text = _registry_name(request)
    SubElement(feed, "link", rel="self", type=ATOM_TYPE, href=str(request.url))
    SubElement(feed, "link", rel="alternate", type="text/html", href=_url(request, "/log"))
    if licence is not None:
        SubElement(feed, "rights").text = licence.name
        SubElement(feed, "link", rel="license", href=licence.url)
    following = _next(request, events, limit)
    if following:
        SubElement(feed, "link", rel="next", type=ATOM_TYPE, href=following)
    for event in events:
        feed.append(_entry(request, event))
    content: bytes = tostring(feed, encoding="utf-8", xml_declaration=True)
    return content


def _entry(request: Request, stored: StoredEvent) -> Element:
    recorded = stored.recorded
    entry = Element("entry")
    SubElement(entry, "id").text = recorded.id.urn
    SubElement(entry, "title").text = _title(request, stored)
    for name in ("published", "updated"):
        SubElement(entry, name).text = f"{recorded.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    SubElement(entry, "link", rel="alternate", type="text/html", href=_url(request, f"/events/{recorded.id}"))
    data = _url(request, f"/v1/events/{recorded.id}")
    SubElement(entry, "link", rel="alternate", type="application/json", href=data)
    for source in recorded.sources:
        if source.url:
            SubElement(entry, "link", rel="via", href=source.url)
    SubElement(entry, "category", term=recorded.type)
    SubElement(entry, "category", term=recorded.slug)
    SubElement(entry, "content", type="text").text = _text(stored)
    return entry


def _feed_title(request: Request) -> str:
    """The title of the feed, with the filters that it has."""
    shown = [value for name, value in request.query_params.items() if name not in ("before", "limit")]
    return " – ".join((_registry_name(request), *shown))


def _registry_name(request: Request) -> str:
    return translations(language_of(request)).gettext(TITLE)


def _title(request: Request, stored: StoredEvent) -> str:
    recorded = stored.recorded
    return f"{render(Label(f'event/{recorded.type}'), language_of(request))}: {recorded.slug}"


def _text(stored: StoredEvent) -> str:
    """What the event states, as JSON, and its note. Empty content was redacted, or is withheld."""
    recorded = stored.recorded
    if recorded.is_withheld:
        return ""
    stated = encode(recorded.event).decode() if recorded.event is not None else ""
    return "\n\n".join(part for part in (recorded.note, stated) if part)


def _next(request: Request, events: Sequence[StoredEvent], limit: int) -> str | None:
    """The address of the next page, if there may be one."""
    if len(events) < limit:
        return None
    query = dict(request.query_params.items()) | {"before": str(events[-1].recorded.position)}
    return _url(request, f"{request.url.path}?{urlencode(query)}")


def _url(request: Request, path: str) -> str:
    return f"{base_url(request)}{path}"
