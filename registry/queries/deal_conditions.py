"""The filters of deals as conditions on folded deals: certificates use them, and so does their verification.

Lists and totals ask the columnar copy for the same (`projections/columnar/selection.py`); `tests/properties` compare
the two. A filter without a condition here is refused by certificates, and
`tests/transparency/test_filtered_certificates.py` fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.deal import Deal, PledgeState, SiteState
from registry.domain.deal.codes import codes_of
from registry.domain.fold.corrections import apply_corrections
from registry.domain.fold.items import has_ended
from registry.domain.fold.redaction import with_redacted_effects
from registry.domain.history import AsOf, StateAsOf, state_as_of
from registry.domain.merges import merged_with, survivor
from registry.domain.search.event_texts import EventText, texts_of
from registry.domain.search.texts import Token, similar_words, tokens
from registry.domain.search.words import TextsOfDeal, WordSearch
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.domain.totals import measured, row_of
from registry.domain.totals.measures import quantities
from registry.domain.totals.rules import Rule
from registry.events.types import Recorded
from registry.queries.streams import LAST_DAY
from registry.schemas.deal_query import FIELD_FILTERS, ITEM_FILTERS, DealListQuery

Streams = Mapping[str, Sequence[Recorded]]
"""All events of deals or of organizations, by slug."""

SimilarWords = Mapping[str, tuple[str, ...]]
"""What the misspelt words of a query were taken for."""


class WrongWords(Exception):
    """A certificate states other corrections of misspelt words than search makes."""


class CandidateDeal(Struct, frozen=True):
    """A deal at a point in time that may meet conditions.

    Attributes:
        deal: Its state.
        events: Its events that were known.
        records: The records of the organization that is asked for.
        has_words: Whether it has the words that are searched for.
    """

    deal: Deal
    events: Sequence[Recorded]
    records: Collection[str]
    has_words: bool

    @property
    def standing(self) -> Iterator[PledgeState]:
        """The pledges that were not withdrawn."""
        return (pledge for pledge in self.deal.pledges if not has_ended(pledge))

    @property
    def sites(self) -> Iterator[SiteState]:
        """The sites that were not dropped."""
        return (site for site in self.deal.sites if not has_ended(site))


def _has_party(one: CandidateDeal, query: DealListQuery) -> bool:
    return any(
        not has_ended(party)
        and (query.organization is None or party.organization in one.records)
        and query.role in (None, party.role)
        and (query.share_min is None or (party.share is not None and Decimal(party.share) >= Decimal(query.share_min)))
        and (query.share_max is None or (party.share is not None and Decimal(party.share) <= Decimal(query.share_max)))
        for party in one.deal.parties
    )


def _is_in(site: SiteState, region: str | None) -> bool:
    return site.place is not None and region in (site.place, site.place[:2])


def _is_of_region(one: CandidateDeal, query: DealListQuery) -> bool:
    if query.extent == "unstated":
        return all(site.place is None for site in one.sites)
    if query.extent == "country" and query.region is not None:
        return any(site.place == query.region[:2] for site in one.sites) and not any(
            _is_in(site, query.region) for site in one.sites
        )
    return any(_is_in(site, query.region) for site in one.sites)


def _meets_extent(one: CandidateDeal, query: DealListQuery) -> bool:
    if query.extent in ("country", "unstated"):
        return True
    has_other = any(not _is_in(site, query.region) for site in one.sites)
    return has_other if query.extent == "beyond" else not has_other


def _has_amount(one: CandidateDeal, query: DealListQuery) -> bool:
    for amount in (pledge.amount for pledge in one.standing):
        if amount is None or amount.currency != query.currency:
            continue
        most, least = amount.high or amount.value or amount.low, amount.low or amount.value or amount.high
        if (query.amount_min is None or (most is not None and Decimal(most) >= Decimal(query.amount_min))) and (
            query.amount_max is None or (least is not None and Decimal(least) <= Decimal(query.amount_max))
        ):
            return True
    return False


def _has_figure(one: CandidateDeal, query: DealListQuery) -> bool:
    return any(
        figure.excluded is not Rule.DROPPED
        and query.metric_basis in (None, figure.nature)
        and query.metric_unit in (None, figure.unit)
        for figure in measured(one.deal, row_of(one.deal), query.metric or "").pledges
    )


def _has_quantity(one: CandidateDeal, query: DealListQuery) -> bool:
    return any(
        query.metric_basis in (None, basis)
        and query.metric_unit in (None, unit)
        and (query.metric_min is None or quantity >= Decimal(query.metric_min))
        and (query.metric_max is None or quantity <= Decimal(query.metric_max))
        for (basis, unit), quantity in quantities(one.deal, query.metric or "").items()
    )


def _has_item(name: str, of_deal: str) -> Callable[[CandidateDeal, DealListQuery], bool]:
    return lambda one, query: any(
        not has_ended(item) and item.kind == getattr(query, name) for item in getattr(one.deal, of_deal)
    )


def _has_code(name: str, field: str) -> Callable[[CandidateDeal, DealListQuery], bool]:
    return lambda one, query: getattr(query, name) in codes_of(one.deal, field)


CONDITIONS: dict[str, Callable[[CandidateDeal, DealListQuery], bool]] = {
    "q": lambda one, query: one.has_words,
    "organization": _has_party,
    "role": _has_party,
    "region": _is_of_region,
    "extent": _meets_extent,
    "stage": lambda one, query: one.deal.stage is not None and one.deal.stage.value == query.stage,
    "commitment": lambda one, query: any(pledge.commitment == query.commitment for pledge in one.standing),
    **{name: _has_code(name, field) for name, field in FIELD_FILTERS.items()},
    "share_min": _has_party,
    "share_max": _has_party,
    "metric": _has_figure,
    "metric_basis": _has_figure,
    "metric_min": _has_quantity,
    "metric_max": _has_quantity,
    "metric_unit": _has_figure,
    **{name: _has_item(name, of_deal) for name, of_deal in ITEM_FILTERS.items()},
    "currency": _has_amount,
    "amount_min": _has_amount,
    "amount_max": _has_amount,
    "updated_since": lambda one, query: any(
        query.updated_since is not None and event.recorded_at >= query.updated_since for event in one.events
    ),
}
"""By filter: whether a deal meets it. A filter is given where it is not None."""

OF_ORGANIZATIONS = frozenset({"organization", "q"})
"""The filters that also depend on the events of organizations: on merges, and on the names of records."""


def folded(streams: Streams, as_of: AsOf) -> dict[str, StateAsOf[Deal]]:
    """Each deal at a point in time, in the order of their slugs."""
    return {
        slug: state_as_of(slug, with_redacted_effects(events), as_of, DEALS) for slug, events in sorted(streams.items())
    }


def merged_organizations(organizations: Streams, as_of: AsOf) -> dict[str, str]:
    """What each merged organization was merged into. A merge counts from its recording on, for any effective date."""
    always = replace(as_of, effective_on=LAST_DAY)
    found = (
        (slug, state_as_of(slug, with_redacted_effects(events), always, ORGANIZATIONS).merged_into)
        for slug, events in sorted(organizations.items())
    )
    return {slug: into for slug, into in found if into is not None}


class SelectedDeals:
    """The deals that meet a query, whose words and organization are looked up at a point in time.

    Args:
        query: The filters.
        deals: All events of each deal up to the point or beyond.
        organizations: All events of each organization that the answer depends on.
        as_of: The point, with an effective date and a position.
        similar: What the misspelt words of the query were taken for, as the registry states it.
        is_whole: Whether the deals and organizations are all of the log.

    Raises:
        WrongWords: Words are taken for others than search does. What a word is not taken for is checked if `is_whole`.
    """

    def __init__(
        self,
        query: DealListQuery,
        deals: Streams,
        organizations: Streams,
        as_of: AsOf,
        similar: SimilarWords | None = None,
        *,
        is_whole: bool = False,
    ) -> None:
        self._query, self._deals, self._organizations = query, deals, organizations
        self._given = [CONDITIONS[name] for name in query.given()]
        merged = merged_organizations(organizations, as_of) if OF_ORGANIZATIONS & query.given().keys() else {}
        self._merged = {slug: survivor(slug, merged) for slug in merged}
        self._records: Collection[str] = ()
        if query.organization is not None:
            self._records = merged_with(survivor(query.organization, merged), merged)
        self._tokens: tuple[Token, ...] = ()
        if query.q is not None:
            search = self._search(as_of, folded(deals, as_of))
            self._tokens = _resolved(tokens(query.q), search, similar or {}, is_whole=is_whole)

    def at(self, as_of: AsOf, views: Mapping[str, StateAsOf[Deal]]) -> set[str]:
        """The slugs of the deals that meet the query at a point in time, in which `views` shows all of them."""
        found = self._search(as_of, views).find(self._tokens) if self._query.q is not None else set()
        return {
            slug
            for slug, view in views.items()
            if (state := _listed(view)) is not None and self._meets(slug, state, as_of, slug in found)
        }

    def _meets(self, slug: str, state: Deal, as_of: AsOf, has_words: bool) -> bool:
        known = [event for event in self._deals[slug] if _was_known(event, as_of)]
        candidate = CandidateDeal(state, known, self._records, has_words)
        return all(meets(candidate, self._query) for meets in self._given)

    def _search(self, as_of: AsOf, views: Mapping[str, StateAsOf[Deal]]) -> WordSearch:
        deals = {slug: TextsOfDeal(_listed(view), _texts_at(self._deals[slug], as_of)) for slug, view in views.items()}
        organizations = {slug: _texts_at(events, as_of) for slug, events in self._organizations.items()}
        return WordSearch(deals, organizations, self._merged)


def _listed(view: StateAsOf[Deal]) -> Deal | None:
    """The state of a deal; None if it is in no list."""
    return view.state if view.merged_into is None else None


def _was_known(event: Recorded, as_of: AsOf) -> bool:
    return as_of.was_recorded(event) and (as_of.published_on is None or event.published_on <= as_of.published_on)


def _texts_at(events: Sequence[Recorded], as_of: AsOf) -> tuple[EventText, ...]:
    """The texts of a stream's events that are known and in effect at a point."""
    recorded = [event for event in with_redacted_effects(events) if as_of.was_recorded(event)]
    day = as_of.effective_on or date.max
    return tuple(
        text
        for effective in apply_corrections(recorded)
        if (effective.registered_on or date.min) <= day
        and (as_of.published_on is None or effective.published_on <= as_of.published_on)
        for text in texts_of(effective)
    )


def _resolved(
    asked: Sequence[Token], search: WordSearch, similar: SimilarWords, *, is_whole: bool
) -> tuple[Token, ...]:
    """The tokens of a query with the words that they are taken for where nothing has them as they are written."""
    for token in asked:
        stated = similar.get(token.word, ())
        if stated and (token.address is not None or similar_words(token, stated) != stated or search.is_matched(token)):
            raise WrongWords
    if is_whole and not search.find(asked):
        unmatched = [token for token in asked if token.address is None and not search.is_matched(token)]
        if any(not set(similar_words(token, search.words)) <= set(similar.get(token.word, ())) for token in unmatched):
            raise WrongWords
    return tuple(replace(token, similar=similar.get(token.word, ())) for token in asked)


def similar_of(found: Any) -> dict[str, tuple[str, ...]]:
    """What the misspelt words of a search (`search_text.Search`; None: no search) were taken for."""
    return {token.word: token.similar for token in found.tokens if token.similar} if found is not None else {}
