"""The demo deals: announcements as any client could post them, each with the instant at which the replay records it.

`docs/demo-deals.md` lists their sources and says why each instant was chosen.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

FILES: dict[str, Literal["organization", "deal"]] = {
    "organizations.ndjson": "organization",
    "announcements.ndjson": "deal",
}
"""The demo's files, with the kind of stream of their announcements."""


class DemoLine(Struct, frozen=True):
    """One announcement of the demo.

    Attributes:
        kind: The kind of stream.
        slug: The deal or the organization.
        recorded_at: When the replay records it.
        announcement: What a client would post.
    """

    kind: Literal["organization", "deal"]
    slug: str
    recorded_at: datetime
    announcement: dict[str, Any]


def lines() -> list[DemoLine]:
    """The demo's announcements in the order of recording; organizations before the deals that name them."""
    return sorted((line for name in FILES for line in _lines_of(name)), key=lambda line: line.recorded_at)


def _lines_of(name: str) -> Iterator[DemoLine]:
    kind = FILES[name]
    for text in importlib.resources.files("registry.demo").joinpath(name).read_bytes().splitlines():
        announcement = msgspec.json.decode(text)
        slug = announcement.pop(kind)
        recorded_at = datetime.fromisoformat(announcement.pop("recorded_at"))
        yield DemoLine(kind, slug, recorded_at, announcement)
