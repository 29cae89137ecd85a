"""Caches of pages and of their parts for the current log position."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from litestar import Response

from registry.http.responses import base_url
from registry.infra.work_time import in_thread
from registry.web.page.render import EncodedPage, Rendered, encode_for_cache, page_response, send
from registry.web.page.request import PageRequest

T = TypeVar("T")

MAX_PAGES = 500
MAX_PAGE_BYTES = 400_000
"""Larger pages are not cached."""
MAX_FRAGMENTS = 12
"""Entries of the cache of page parts: the stops of the time slider, and the chart over time."""


class PositionCache:
    """An LRU cache that is cleared when the log grows or exchange rates are imported.

    An entry of an earlier position is dropped, not only skipped: its content may have been redacted since.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._log: tuple[int, ...] | None = None
        self._entries: OrderedDict[Any, Any] = OrderedDict()

    def get(self, page: PageRequest, key: Any) -> Any:
        """The value that was cached at the position of the request; None if there is none."""
        log = _version_of(page)
        if log != self._log:
            self._entries.clear()
            self._log = log
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, page: PageRequest, key: Any, value: Any) -> None:
        """Cache a value, unless the log has grown since the request read its position."""
        if _version_of(page) == self._log:
            self._entries[key] = value
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def values(self) -> list[Any]:
        return list(self._entries.values())


def _version_of(page: PageRequest) -> tuple[int, ...]:
    """What a cached page depends on beside its address.

    The application, its log's position, the size of the newest checkpoint, the number of imports of rates, and whether
    a mirror has stopped.
    """
    signed = page.checkpoint.size if page.checkpoint is not None else -1
    return id(page.request.app), page.position, signed, page.rate_imports, page.mirror_has_stopped


pages = PositionCache(MAX_PAGES)
fragments = PositionCache(MAX_FRAGMENTS)


async def cached_fragment(page: PageRequest, key: tuple[Any, ...], make: Callable[[], Awaitable[T]]) -> T:
    """A part that many pages share, made once per log position.

    Args:
        page: The request.
        key: What the part depends on beside the position.
        make: Makes the part.
    """
    fragment: T | None = fragments.get(page, key)
    if fragment is None:
        fragment = await make()
        fragments.put(page, key, fragment)
    return fragment


async def cached_page(page: PageRequest, make: Callable[[], Awaitable[Rendered]]) -> Response[bytes]:
    """A page, made once per address, language, day and log position. For a signed-in reader it is made at each request.

    The host is part of the address, because a page has its own address in it.
    """
    if page.key is not None:
        return send(page, await make())
    key = (base_url(page.request), page.path, tuple(sorted(page.query.items())), page.language, page.times.today)
    cached: EncodedPage | None = pages.get(page, key)
    if cached is None:
        rendered = await make()
        if rendered.status != 200 or len(rendered.body) > MAX_PAGE_BYTES:
            return send(page, rendered)
        cached = await in_thread(encode_for_cache, rendered.body)
        pages.put(page, key, cached)
    return page_response(page.request, cached, 200, private=False)
