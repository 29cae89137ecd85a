"""Which deals have every word of a query, from the states and events of all deals and organizations at a point in time.

The columnar copy finds the same by an index (`projections/columnar/search.py`); certificates are verified with this
module, without a database. `tests/properties/test_search.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache

from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.search.event_texts import EventText
from registry.domain.search.texts import Token, indexed
from registry.domain.sources.identity import source_id
from registry.i18n.places import place_names

Terms = frozenset[str]

_NO_TERMS: Terms = frozenset()


class TextsOfDeal(Struct, frozen=True):
    """What of a deal is searched: its state (None: it is in no list) and the texts of its events in effect."""

    state: Deal | None
    texts: tuple[EventText, ...]


@lru_cache(maxsize=20_000)
def indexed_place(code: str) -> tuple[set[str], set[str]]:
    """The terms and the words of a place: its code and its names."""
    return indexed("\n".join([code, *(name for names in place_names(code).values() for name in names)]))


class WordSearch:
    """The texts of all deals and organizations at a point in time.

    Args:
        deals: The deals.
        organizations: The texts of each organization's events in effect.
        merged: The record that each merged organization redirects to.
    """

    def __init__(
        self,
        deals: Mapping[str, TextsOfDeal],
        organizations: Mapping[str, Sequence[EventText]],
        merged: Mapping[str, str],
    ) -> None:
        self._merged = merged
        self._terms: dict[str, Terms] = {}
        self.words: set[str] = set()
        """The words that a misspelt one is compared with."""
        self._sources: dict[str, set[str]] = {}
        self._records: dict[str, set[str]] = {}
        self._given: dict[str, set[str]] = {}
        self._slugs: set[str] = set()
        self._deals = {slug: (deal.state, deal.texts) for slug, deal in deals.items() if deal.state is not None}
        for texts in (deal.texts for deal in deals.values()):
            self._add_sources(texts)
        for slug, named in organizations.items():
            self._add_sources(named)
            names = (self._terms_of(text.text) for text in named if text.source is None)
            self._records.setdefault(self._survivor(slug), set()).update(*names)
        for state, texts in self._deals.values():
            self._add_names(state, texts)

    def _add_sources(self, texts: Sequence[EventText]) -> None:
        for text in texts:
            if text.source is not None:
                self._sources.setdefault(text.source, set()).update(self._terms_of(text.text))

    def _add_names(self, deal: Deal, texts: Sequence[EventText]) -> None:
        """Add the names that a deal gives to organizations, and all its words to those that are known."""
        for party in deal.parties:
            given = self._given.setdefault(self._survivor(party.organization), set())
            given.update(self._terms_of(_lines(party.organization, party.name)))
        slugs = _participants(deal, texts, withdrawn=True)
        self._slugs |= slugs
        for text in slugs:
            self._terms_of(text)
        for _ in self._texts(deal, texts):
            pass

    def find(self, tokens: Sequence[Token]) -> set[str]:
        """The deals that every token matches; without a token, none."""
        if not tokens:
            return set()
        deals = ((slug, state, texts) for slug, (state, texts) in self._deals.items())
        return {slug for slug, state, texts in deals if all(self._has(state, texts, token) for token in tokens)}

    def is_matched(self, token: Token) -> bool:
        """Whether a token matches a text of anything: a deal, an organization or a source."""
        if token.address is not None:
            return source_id(token.address) in self._sources
        return (
            any(self._has(state, texts, token) for state, texts in self._deals.values())
            or any(_matches(token, terms) for named in (self._records, self._given) for terms in named.values())
            or any(_matches(token, self._terms_of(slug)) for slug in self._slugs)
            or any(_matches(token, terms) for terms in self._sources.values())
        )

    def _has(self, deal: Deal, texts: Sequence[EventText], token: Token) -> bool:
        """Whether a deal has a text that a token matches."""
        if token.address is not None:
            return any(text.source == source_id(token.address) for text in texts if text.source is not None)
        return any(_matches(token, terms) for terms in self._texts(deal, texts))

    def _texts(self, deal: Deal, texts: Sequence[EventText]) -> Iterator[Set[str]]:
        """The terms of each text that a deal has."""
        identifiers = (f"{one.scheme}:{one.value}" for one in deal.identifiers)
        yield self._terms_of("\n".join([_lines(deal.deal, deal.title), *identifiers]))
        for party in deal.parties:
            if party.left_on is None:
                yield self._terms_of(_lines(party.organization, party.name))
                yield self._records.get(self._survivor(party.organization), _NO_TERMS)
        for slug in _participants(deal, texts):
            yield self._terms_of(slug)
            yield self._records.get(self._survivor(slug), _NO_TERMS)
            yield self._given.get(self._survivor(slug), _NO_TERMS)
        for site in deal.sites:
            if site.status != "dropped":
                yield self._terms_of(_lines(None, site.name, site.locality, site.address))
                for code in {site.place, site.place[:2]} if site.place else ():
                    terms, words = indexed_place(code)
                    self.words |= words
                    yield terms
        for text in texts:
            if text.source is not None:
                yield self._terms_of(text.text)

    def _terms_of(self, text: str) -> Terms:
        found = self._terms.get(text)
        if found is None:
            terms, words = indexed(text)
            self.words |= words
            found = self._terms[text] = frozenset(terms)
        return found

    def _survivor(self, slug: str) -> str:
        return self._merged.get(slug, slug)


def _participants(deal: Deal, texts: Iterable[EventText], *, withdrawn: bool = False) -> set[str]:
    """The organizations that take part without being parties: those that pledge, and those that events name."""
    pledging = {slug for pledge in deal.pledges if withdrawn or pledge.status != "withdrawn" for slug in pledge.by}
    return pledging | {text.name for text in texts if text.source is None and text.name is not None}


def _lines(first: str | None, localized: Mapping[str, str | None] | None, *others: str | None) -> str:
    """Texts as lines of one."""
    return "\n".join(text for text in (first, *(localized or {}).values(), *others) if text)


def _matches(token: Token, terms: Set[str]) -> bool:
    """Whether a token matches a term (`Token.matches`), of many."""
    if not terms.isdisjoint(token.equal) or not terms.isdisjoint(token.similar):
        return True
    starts = (*token.beginnings, *token.similar) if token.unspaced else token.beginnings
    return bool(starts) and any(term.startswith(starts) for term in terms)
