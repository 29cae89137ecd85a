"""Bundles that prove an answer about all deals offline: a total, a list or a comparison, and their verification."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.domain.money.rates import Rate
from registry.errors import LogCorrupt
from registry.events.types import Recorded
from registry.queries.deal_conditions import WrongWords
from registry.schemas import encode
from registry.schemas.deal_query import DealListQuery
from registry.transparency.checkpoint import Checkpoint, VerifierKey, open_checkpoint
from registry.transparency.deal_state import equals_state
from registry.transparency.findings import Finding
from registry.transparency.heads import StreamHead, StreamHeadTree, open_heads, parse_head
from registry.transparency.portfolio_state import comparison_of, list_of
from registry.transparency.proven_streams import (
    Bundle,
    BundleVerification,
    CertifiedDeal,
    CertifiedOrganization,
    ProvenHead,
    verify_stream,
    verify_times,
)
from registry.transparency.total_state import CertifiedQuery, StatedRates, needs_organizations, total_of

Streams = dict[str, list[Recorded]]


class PortfolioBundle(Bundle, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer about all deals, with everything it follows from.

    All events of each deal that the answer depends on, and the checkpoint. `streams` has the last event of every stream
    of the log, as the tree of heads does: then all deals of the log are in `deals`, so none is left out. Null where the
    log has too many events: then nothing proves that no other deal meets the filters. `statement` is the signed
    statement of heads.

    `organizations` are there for answers that follow from records of organizations too: groups by organization, and
    the filters by organization (merges) and by words (names). They are all organizations of the log if `streams` are
    there; else those with a merge or a parent and, for words, those that the deals name.
    """

    deals: tuple[CertifiedDeal, ...]
    organizations: tuple[CertifiedOrganization, ...] | UnsetType = UNSET
    streams: tuple[str, ...] | None
    statement: str
    checkpoint: str


class TotalCertificate(PortfolioBundle, frozen=True, kw_only=True, tag="total@v1"):
    """A total at a point in time, with everything it follows from.

    `groups` are there if the query says by what to group: all of them, in the order of their keys. `rates` are the
    exchange rates used; they are stated by the registry and are not part of the log. `similar` is as in
    `ListCertificate`.
    """

    clocks: AsOf
    query: CertifiedQuery
    similar: dict[str, tuple[str, ...]] | UnsetType = UNSET
    total: Any
    groups: Any | UnsetType = UNSET
    rates: tuple[Rate, ...]


class ListCertificate(PortfolioBundle, frozen=True, kw_only=True, tag="deals@v1"):
    """A list of deals at a point in time: the states of those that meet the filters, in the order of their slugs.

    `similar` has the words that the registry took misspelt words of the query for. Verification checks that they are
    similar and that no text in the bundle has a misspelt word; if the bundle has all deals, also that no similar word
    of their texts is missing.
    """

    clocks: AsOf
    query: DealListQuery
    similar: dict[str, tuple[str, ...]] | UnsetType = UNSET
    states: tuple[Any, ...]


class ComparisonCertificate(PortfolioBundle, frozen=True, kw_only=True, tag="comparison@v1"):
    """What changed between two points in the deals that meet the filters at one of them, and their sums at both.

    `time_zone` is the registry's: the day on which an event was recorded decides whether it was learned late.

    `rates` are the exchange rates used; they are stated by the registry and are not part of the log. `similar` is what
    misspelt words of the query were taken for at each point, as in `ListCertificate`.
    """

    from_: AsOf = field(name="from")
    to: AsOf
    time_zone: str = "UTC"
    query: DealListQuery
    similar: tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]] | UnsetType = UNSET
    changes: Any
    totals: Any
    rates: tuple[Rate, ...]


class _Verified(Struct, frozen=True):
    """What of the log a bundle contains: all events of deals and organizations up to the checkpoint."""

    checkpoint: Checkpoint
    deals: Streams
    organizations: Streams | None
    is_whole: bool

    def organizations_of(self, needed: bool) -> Streams:
        """The organizations, if the answer depends on them. Raises LogCorrupt: they are missing."""
        if needed and self.organizations is None:
            raise LogCorrupt(detail=Finding("bundle_organizations"))
        return self.organizations or {}

    def check_point(self, as_of: AsOf) -> int:
        """The position of a point in time. Raises LogCorrupt: it is not a point of the checkpoint's log."""
        if as_of.position is None or as_of.effective_on is None or as_of.position > self.checkpoint.size:
            raise LogCorrupt(detail=Finding("bundle_as_of"))
        return as_of.position


def verify_portfolio(
    bundle: TotalCertificate | ListCertificate | ComparisonCertificate, keys: tuple[VerifierKey, ...]
) -> BundleVerification:
    """Verify a bundle: its events with the log's keys, and its answer from its events.

    Raises:
        LogCorrupt, ProofError, CheckpointError: It does not verify.
    """
    verified = _verify_deals(bundle, keys)
    deals, size, is_whole = len(verified.deals), verified.checkpoint.size, verified.is_whole
    try:
        match bundle:
            case TotalCertificate():
                at = _verify_total(bundle, verified)
                proves = Finding(
                    "proves_total" if is_whole else "proves_total_of_these_deals", deals=deals, position=at, size=size
                )
            case ListCertificate():
                at = _verify_list(bundle, verified)
                proves = Finding(
                    "proves_list" if is_whole else "proves_list_of_these_deals", deals=deals, position=at, size=size
                )
            case ComparisonCertificate():
                at = _verify_comparison(bundle, verified)
                proves = Finding(
                    "proves_comparison" if is_whole else "proves_comparison_of_these_deals",
                    deals=deals,
                    position=at,
                    size=size,
                )
            case _:
                assert_never(bundle)
    except WrongWords as error:
        raise LogCorrupt(detail=Finding("bundle_words")) from error
    return BundleVerification(
        proves=proves,
        position=at,
        filters=_selection(bundle).given(),
        similar=_similar(bundle),
        size=verified.checkpoint.size,
        origin=verified.checkpoint.origin,
        erased=sum(
            event.erased
            for streams in (verified.deals, verified.organizations or {})
            for events in streams.values()
            for event in events
        ),
    )


def _selection(bundle: TotalCertificate | ListCertificate | ComparisonCertificate) -> DealListQuery:
    return bundle.query.selection if isinstance(bundle, TotalCertificate) else bundle.query


def _similar(bundle: TotalCertificate | ListCertificate | ComparisonCertificate) -> dict[str, tuple[str, ...]]:
    """What misspelt words were taken for, at any point."""
    if bundle.similar is UNSET:
        return {}
    points = bundle.similar if isinstance(bundle, ComparisonCertificate) else (bundle.similar,)
    return {word: words for stated in points for word, words in stated.items()}


def _verify_deals(bundle: PortfolioBundle, keys: tuple[VerifierKey, ...]) -> _Verified:
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    signed, root, _ = open_heads(bundle.statement, keys)
    if signed != checkpoint:
        raise LogCorrupt(detail=Finding("heads_of_another_checkpoint"))
    certified: dict[str, dict[str, CertifiedDeal | CertifiedOrganization]] = {
        "deal": {one.deal: one for one in bundle.deals}
    }
    given = len(bundle.deals)
    if bundle.organizations is not UNSET:
        certified["organization"] = {one.organization: one for one in bundle.organizations}
        given += len(bundle.organizations)
    if sum(map(len, certified.values())) < given:
        raise LogCorrupt(detail=Finding("bundle_deals"))
    verified = {
        kind: {
            slug: verify_stream(
                f"{kind}/{slug}", one.events, ProvenHead(one.lines, one.path, bundle.statement), checkpoint, keys
            )
            for slug, one in streams.items()
        }
        for kind, streams in certified.items()
    }
    events = (event for streams in verified.values() for stream in streams.values() for event in stream)
    verify_times(sorted(events, key=lambda event: event.position))
    if bundle.streams is not None:
        # The root commits to the heads of all streams: with these heads, every deal of the log is in the bundle.
        tree = StreamHeadTree()
        heads = [parse_head(line) for line in bundle.streams]
        tree.update(heads)
        if tree.root() != root or any(_slugs(heads, kind) != streams.keys() for kind, streams in verified.items()):
            raise LogCorrupt(detail=Finding("bundle_deals"))
    return _Verified(checkpoint, verified["deal"], verified.get("organization"), bundle.streams is not None)


def _slugs(heads: Iterable[StreamHead], kind: str) -> set[str]:
    """The slugs of the streams of a kind."""
    return {slug for of, _, slug in (head.stream.partition("/") for head in heads) if of == kind}


def _verify_total(bundle: TotalCertificate, verified: _Verified) -> int:
    position = verified.check_point(bundle.clocks)
    organizations = verified.organizations_of(bundle.query.needs_organizations)
    rates = StatedRates(bundle.rates)
    total = total_of(
        verified.deals,
        bundle.clocks,
        bundle.query,
        rates,
        organizations,
        bundle.similar or None,
        is_whole=verified.is_whole,
    )
    groups = _json(total.groups) if bundle.query.group_by else UNSET
    if bundle.total != _json(total.overall) or bundle.groups != groups:
        raise LogCorrupt(detail=Finding("bundle_total"))
    return position


def _verify_list(bundle: ListCertificate, verified: _Verified) -> int:
    position = verified.check_point(bundle.clocks)
    states = list_of(
        verified.deals,
        verified.organizations_of(needs_organizations(bundle.query)),
        bundle.clocks,
        bundle.query,
        verified.checkpoint.size,
        bundle.similar or None,
        is_whole=verified.is_whole,
    )
    if not equals_state(list(bundle.states), _json(states)):
        raise LogCorrupt(detail=Finding("bundle_list"))
    return position


def _verify_comparison(bundle: ComparisonCertificate, verified: _Verified) -> int:
    positions = [verified.check_point(as_of) for as_of in (bundle.from_, bundle.to)]
    rates = StatedRates(bundle.rates)
    comparison = comparison_of(
        verified.deals,
        verified.organizations_of(needs_organizations(bundle.query)),
        (bundle.from_, bundle.to),
        bundle.query,
        rates,
        _calendar(bundle.time_zone),
        bundle.similar or None,
        is_whole=verified.is_whole,
    )
    if (bundle.changes, bundle.totals) != (_json(comparison.changes), _json(comparison.totals)):
        raise LogCorrupt(detail=Finding("bundle_comparison"))
    return max(positions)


def _calendar(zone: str) -> Calendar:
    """A calendar in a time zone of the IANA names. Raises LogCorrupt: there is no such zone."""
    try:
        return Calendar(zone)
    except (KeyError, OSError, ValueError) as error:
        raise LogCorrupt(detail=Finding("bundle_comparison")) from error


def _json(value: object) -> Any:
    """A value as a bundle contains it."""
    return msgspec.json.decode(encode(value))
