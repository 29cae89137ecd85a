"""Clusters of organizations whose names collide under a key, as OpenRefine makes them: an editor reviews each.

The keys are those of OpenRefine's "fingerprint" and "n-gram fingerprint", for names in any script, and the name without
legal forms and with well-known Korean names in Latin script. Each name is read once, so the work grows with their
number. The module is pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from registry.domain.organizations.deduplication import normalize_name
from registry.domain.organizations.organization import IdentifierState

Method = Literal["fingerprint", "ngram", "name"]

NGRAM_SIZE = 2
MIN_KEY_LENGTH = 3
"""A shorter key fits too many names."""

MIN_NGRAMS = 4

_NOT_A_WORD = re.compile(r"[^\w\s]|_")


class NamedOrganization(Struct, frozen=True):
    """An organization by its names.

    Attributes:
        names: Its names, in any language.
        deals: How many deals name it.
        is_registered: Whether it has a record of its own.
    """

    organization: str
    names: tuple[str, ...]
    deals: int = 0
    is_registered: bool = False
    identifiers: tuple[IdentifierState, ...] = ()


class Cluster(Struct, frozen=True):
    """Organizations that may be the same one: first the one to keep, then the others. `methods` found them."""

    members: tuple[NamedOrganization, ...]
    methods: tuple[Method, ...]


def fingerprint(name: str) -> str:
    """OpenRefine's fingerprint: the words of a name without case, accents and punctuation, sorted, each once."""
    return " ".join(sorted(set(_plain(name).split())))


def ngram_fingerprint(name: str, size: int = NGRAM_SIZE) -> str:
    """OpenRefine's n-gram fingerprint: the pieces of a name without its spaces, sorted, each once."""
    text = "".join(_plain(name).split())
    return "".join(sorted({text[i : i + size] for i in range(len(text) - size + 1)}))


def _plain(name: str) -> str:
    """A name without case, accents and punctuation. Hangul, which NFKD takes apart as well, is put together again."""
    decomposed = unicodedata.normalize("NFKD", name.strip().casefold())
    without_accents = "".join(sign for sign in decomposed if unicodedata.category(sign) != "Mn")
    return _NOT_A_WORD.sub("", unicodedata.normalize("NFC", without_accents))


def find_clusters(organizations: Iterable[NamedOrganization]) -> list[Cluster]:
    """The clusters of organizations, the ones that most deals name first."""
    known = {one.organization: one for one in organizations}
    groups = _DisjointSets()
    by_key: dict[tuple[Method, str], str] = {}
    for one in known.values():
        for key in _keys(one):
            first = by_key.setdefault(key, one.organization)
            if first != one.organization:
                groups.join(first, one.organization, key[0])
    clusters = [cluster for slugs, methods in groups if (cluster := _cluster([known[s] for s in slugs], methods))]
    return sorted(clusters, key=lambda c: (-sum(one.deals for one in c.members), c.members[0].organization))


def _keys(one: NamedOrganization) -> Iterator[tuple[Method, str]]:
    for name in one.names:
        keys: tuple[tuple[Method, str], ...] = (
            ("fingerprint", fingerprint(name)),
            ("name", normalize_name(name).replace(" ", "")),
        )
        yield from (key for key in keys if len(key[1]) >= MIN_KEY_LENGTH or not key[1].isascii())
        pieces = ngram_fingerprint(name)
        if len(pieces) >= MIN_NGRAMS * NGRAM_SIZE:
            yield "ngram", pieces


def _cluster(members: list[NamedOrganization], methods: set[Method]) -> Cluster | None:
    """The cluster, without organizations that have another identifier in a register and so are not the same one."""
    kept, *others = sorted(members, key=lambda one: (not one.is_registered, -one.deals, one.organization))
    same = [one for one in others if not _differ(kept, one)]
    return Cluster((kept, *same), tuple(sorted(methods))) if same else None


def _differ(one: NamedOrganization, other: NamedOrganization) -> bool:
    own = {identifier.scheme: identifier for identifier in one.identifiers}
    return any(identifier.scheme in own and own[identifier.scheme] != identifier for identifier in other.identifiers)


class _DisjointSets:
    """Slugs that were joined, directly or through others (disjoint sets)."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._methods: dict[str, set[Method]] = defaultdict(set)

    def join(self, one: str, other: str, method: Method) -> None:
        """Put two slugs into one group."""
        root, joined = self._root(one), self._root(other)
        self._parents[joined] = root
        if root != joined:
            self._methods[root] |= self._methods.pop(joined, set())
        self._methods[root].add(method)

    def _root(self, slug: str) -> str:
        self._parents.setdefault(slug, slug)
        while (parent := self._parents[slug]) != slug:
            self._parents[slug] = self._parents[parent]
            slug = self._parents[slug]
        return slug

    def __iter__(self) -> Iterator[tuple[list[str], set[Method]]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for slug in self._parents:
            groups[self._root(slug)].append(slug)
        return ((slugs, self._methods[root]) for root, slugs in groups.items())
