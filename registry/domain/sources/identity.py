"""The identity of a source: the same article is one source, wherever it is cited and however its address is written."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from urllib.parse import urlsplit

from registry.events.values import Source

# Most addresses match this. Parsing them with urlsplit takes five times as long.
_PLAIN_URL = re.compile(r"https?://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(/[^?#]*|)(\?[^#]+|\?|)(?:#.*)?", re.DOTALL)


def source_id(source: Source | str) -> str | None:
    """The id of a source, or of an article by its address; None for a source that nothing identifies.

    It is a digest of the address without scheme, `www.` and last slash; of a source without an address, of its
    publisher, title and locator.
    """
    if isinstance(source, Source) and source.url is None:
        named = [part for part in (source.publisher, source.title, source.locator) if part]
        return _digest(" ".join(named).casefold()) if named else None
    return _id_of_url(source if isinstance(source, str) else source.url or "")


@lru_cache(maxsize=10_000)
def _id_of_url(url: str) -> str:
    plain = _PLAIN_URL.fullmatch(url)
    if plain is not None:
        host, path, query = plain.groups()
        return _digest(f"{host.removeprefix('www.')}{path.rstrip('/')}{query if len(query) > 1 else ''}")
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        # Not an address, such as "https://[": the text identifies the source.
        return _digest(url)
    query = f"?{parts.query}" if parts.query else ""
    return _digest(f"{(parts.hostname or '').removeprefix('www.')}{parts.path.rstrip('/')}{query}")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
