"""What both clients have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Entries of a page where all pages are read: the most that the service returns.
PAGE = 1000

# Seconds until a stream that ended is opened again, and without a byte until it counts as broken. The service sends a
# comment every 15 seconds.
RECONNECT_SECONDS = 1.0
STREAM_TIMEOUT = 60.0


def options(url: str, key: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an HTTP client."""
    authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
    headers = {**authorization, **given.get("headers", {})}
    return {"timeout": 60.0, "follow_redirects": True, **given, "base_url": url, "headers": headers}
