"""Which events name an organization or rest on a source: the same article is the same source wherever it is cited."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, get_args
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import fields

from registry.domain.history import FoldedStream
from registry.events.types import Recorded
from registry.events.values import Party, Source
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector

TERM_BYTES = 1000

ADD = """
mentioned AS (
    INSERT INTO mentions (term, position)
    SELECT term, position
      FROM unnest($1::new_mention[])
    ON CONFLICT DO NOTHING
)
"""

FORGET = "DELETE FROM mentions WHERE position = ANY ($1::bigint[])"

FIND = """
SELECT position
  FROM mentions
 WHERE term = $1 AND position > $2
 ORDER BY position
 LIMIT $3
"""


# Most addresses, which taking apart by the rules of all URLs takes five times as long.
_PLAIN = re.compile(r"https?://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(/[^?#]*|)(\?[^#]+|\?|)(?:#.*)?", re.DOTALL)


@lru_cache(maxsize=10_000)
def _address(url: str) -> str:
    plain = _PLAIN.fullmatch(url)
    if plain is not None:
        host, path, query = plain.groups()
        query = query if len(query) > 1 else ""
        return _hash_if_long(f"source:{host.removeprefix('www.')}{path.rstrip('/')}{query}")
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        # No address at all, such as "https://[": it is known by its text.
        return _hash_if_long(f"source:{url}")
    host = (parts.hostname or "").removeprefix("www.")
    query = f"?{parts.query}" if parts.query else ""
    return _hash_if_long(f"source:{host}{parts.path.rstrip('/')}{query}")


def source_term(source: Source | str) -> str | None:
    """What one source is known by.

    Its address without scheme, `www.` and trailing slash, else publisher and title or locator.
    """
    if isinstance(source, Source) and source.url is None:
        named = [part for part in (source.publisher, source.title, source.locator) if part]
        return _hash_if_long(f"source:{' '.join(named).casefold()}") if named else None
    return _address(source if isinstance(source, str) else source.url or "")


def _hash_if_long(term: str) -> str:
    """The term, or its digest where it is too long for an index (Postgres takes 2,704 bytes)."""
    data = term.encode()
    return term if len(data) <= TERM_BYTES else f"source:sha256:{hashlib.sha256(data).hexdigest()}"


def index_terms(recorded: Recorded) -> Iterator[str]:
    """The terms under which an event is found."""
    for source in recorded.sources:
        term = source_term(source)
        if term:
            yield term
    if recorded.event is not None:
        for slug in mentioned_organizations(recorded.event):
            yield f"organization:{slug}"
    if recorded.kind == "organization":
        yield f"organization:{recorded.slug}"


_NAMING = ("organization", "authority", "parent")
_LISTING = ("by", "members")


def mentioned_organizations(value: Struct) -> Iterator[str]:
    """The organizations that an event names, wherever they stand in it."""
    for name in _may_name(type(value)):
        field = getattr(value, name)
        if name in _NAMING and isinstance(field, str):
            yield field
        elif name in _LISTING and isinstance(field, tuple):
            yield from field
        elif isinstance(field, tuple):
            for item in field:
                if isinstance(item, Party):
                    yield item.organization
        elif isinstance(field, Struct):
            yield from mentioned_organizations(field)


@cache
def _may_name(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a type in which organizations are, or may be, named: most events have none."""
    return tuple(f.name for f in fields(kind) if f.name in (*_NAMING, *_LISTING) or _holds(f.type, frozenset({kind})))


def _holds(hint: Any, above: frozenset[type]) -> bool:
    """Whether a value of this type may be, or hold, one that names organizations."""
    if isinstance(hint, type) and issubclass(hint, Struct) and hint not in above:
        return hint is Party or bool(_may_name(hint))
    return any(_holds(part, above) for part in get_args(hint))


class EventIndex:
    """The view behind `GET /v1/events?organization=` and `?source=`."""

    name = "mentions"
    tables = ("mentions",)

    def start_batch(self) -> BatchProjector:
        return _EventIndexRows()

    def delete_rows(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(FORGET, [event.position for history in histories for event in history.events])

    def rebuild(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        _add(writes, [one for history in histories for event in history.events for one in _named(event)])


class _EventIndexRows:
    """What the events of a group name, and those that an erasure among them left without content."""

    def __init__(self) -> None:
        self._found: list[tuple[str, int]] = []
        self._erased: set[int] = set()

    def apply(self, step: AppliedChange) -> None:
        self._found += _named(step.recorded)
        if step.erased:
            self._erased |= {e.position for e in step.after.events if e.erased}

    def write(self, writes: WriteBatch) -> None:
        if self._erased:
            writes.add_prerequisite(FORGET, list(self._erased))
        _add(writes, [(term, position) for term, position in self._found if position not in self._erased])


def _named(event: Recorded) -> list[tuple[str, int]]:
    return [(term, event.position) for term in dict.fromkeys(index_terms(event))]


def _add(writes: WriteBatch, found: Sequence[tuple[str, int]]) -> None:
    if found:
        writes.add(ADD, found)


async def find(connection: Any, term: str, after: int, limit: int) -> list[int]:
    """Positions behind `after` of the events that name a term."""
    return [row["position"] for row in await connection.fetch(FIND, term, after, limit)]
