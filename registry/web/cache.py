"""Caches of pages and of their parts for the current log position."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from litestar import Response

from registry.web.render import EncodedPage, Rendered, encode, page_response, send
from registry.web.request import PageRequest

T = TypeVar("T")

MAX_PAGES = 500
MAX_PAGE_BYTES = 400_000
"""Larger pages are not cached."""
MAX_FRAGMENTS = 12
"""Entries of the cache of page parts: the stops of the time slider, and the chart over time."""


class PositionCache:
    """An LRU cache that is cleared when the log grows.

    An entry of an earlier position is dropped, not only skipped: its content may have been redacted since.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._log: tuple[int, int] | None = None
        self._entries: OrderedDict[Any, Any] = OrderedDict()

    def get(self, visit: PageRequest, key: Any) -> Any:
        """The value that was cached at the position of the request; None if there is none."""
        log = (id(visit.registry), visit.position)
        if log != self._log:
            self._entries.clear()
            self._log = log
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, visit: PageRequest, key: Any, value: Any) -> None:
        """Cache a value, unless the log has grown since the request read its position."""
        if (id(visit.registry), visit.position) == self._log:
            self._entries[key] = value
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def values(self) -> list[Any]:
        return list(self._entries.values())


pages = PositionCache(MAX_PAGES)
fragments = PositionCache(MAX_FRAGMENTS)


async def cached_fragment(visit: PageRequest, key: tuple[Any, ...], make: Callable[[], Awaitable[T]]) -> T:
    """A part that many pages share, made once per log position.

    Args:
        visit: The request.
        key: What the part depends on beside the position.
        make: Makes the part.
    """
    fragment: T | None = fragments.get(visit, key)
    if fragment is None:
        fragment = await make()
        fragments.put(visit, key, fragment)
    return fragment


async def cached_page(visit: PageRequest, make: Callable[[], Awaitable[Rendered]]) -> Response[bytes]:
    """A page, made once per address, language, day and log position; made at each request for a signed-in key."""
    if visit.key is not None:
        return send(visit, await make())
    key = (visit.path, tuple(sorted(visit.given.items())), visit.language, visit.times.today)
    page: EncodedPage | None = pages.get(visit, key)
    if page is None:
        rendered = await make()
        if rendered.status != 200 or len(rendered.body) > MAX_PAGE_BYTES:
            return send(visit, rendered)
        page = encode(rendered.body)
        pages.put(visit, key, page)
    return page_response(visit.request, page, 200, private=False)
