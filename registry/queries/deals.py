"""Queries about one deal: its state as of a point in time, its history, and what explains them.

This is the last of the four files that explain the product, after `events/types.py`, `domain/deal.py` and
`append/recorder.py`. No table holds a deal's state: every answer here follows from the fold of the deal's events that
are visible at the point in time (`domain/history.py`).

    state        the fold itself, with its sources and what the registry concludes from it
    history      each step of the fold: the event, and what it changed
    provenance   for each field, the step that set it
    compare      the steps that lie between two points, split by the kind of change
    timemap      the log positions at which the current state became a different one
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.assessment import Assessment, assess, flags_by_event, last_published
from registry.domain.audit.change_points import ChangePoint, change_points
from registry.domain.audit.comparison import compare
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.provenance import provenance
from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.rates import reference_rates
from registry.domain.stages import inactivity
from registry.errors import MergedInto, NotFound
from registry.events.write_batch import Head
from registry.projections import deal_lists, organizations
from registry.queries.streams import LAST_DAY, LAST_POSITION, StreamReader, with_day
from registry.schemas import (
    DealListItem,
    DealResponse,
    IncomingRelation,
    assessment_response,
    deal_comparison,
    deal_history,
    deal_response,
    decode,
    encode,
    flags_response,
    incoming_relations,
    named_organizations,
    provenance_response,
    requested_point,
)

T = TypeVar("T")

# Deals whose last response, and whose last state, are kept in memory.
MAX_CACHED_DEALS = 10_000


class EncodedResponse(Struct, frozen=True):
    """A deal's state as JSON, with what the response's headers state.

    Attributes:
        body: The JSON.
        etag: The entity tag, with its quotes.
        final: Whether no event can change this answer any more, except a redaction.
        position: The log position of the last event that the state includes.
        recorded_at: When that event was recorded.
    """

    body: bytes
    etag: str
    final: bool
    position: int
    recorded_at: datetime | None


class CachedState(Struct, frozen=True):
    """A deal's response, for any day on which this state is in effect.

    Attributes:
        key: The stream's last leaf hash and the number of events in effect: together they identify the state. None
            for a state that is not kept.
        response: The response; `state` fills in the point in time and the inactivity.
        published: The latest publication day among the events.
        effective_until: The latest effective date among the events.
    """

    key: tuple[bytes | None, int] | None
    response: DealResponse
    published: date | None
    effective_until: date | None


class DealQueries:
    """Answer questions about one deal."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams
        # One entry a deal: a redaction adds an event, so the next answer replaces the one with the erased content.
        self._responses: OrderedDict[str, tuple[bytes, date, EncodedResponse]] = OrderedDict()
        self._states: OrderedDict[str, CachedState] = OrderedDict()

    # --- state --------------------------------------------------------------------------------------------------------

    async def state_now(self, slug: str, today: date) -> EncodedResponse:
        """Return a deal's current state. The last response is reused while the stream has the same last event.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        head, _ = await self._streams.cache.heads(self._streams.pool()).of_stream(f"deal/{slug}")
        if head is None:
            raise unknown_deal(slug)
        leaf_hash = head[1]
        cached = self._responses.get(slug)
        if cached is not None and cached[:2] == (leaf_hash, today):
            self._responses.move_to_end(slug)
            return cached[2]
        response = await self.state(slug, AsOf(), today)
        _put(self._responses, slug, (leaf_hash, today, response))
        return response

    async def state(self, slug: str, as_of: AsOf, today: date) -> EncodedResponse:
        """Return a deal's state as of a point in time.

        Args:
            slug: The deal.
            as_of: The point; axes that it leaves open have no bound.
            today: The effective date where `as_of` has none.

        Raises:
            NotFound: There is no such deal, or nothing was known of it at that point.
            MergedInto: The deal was merged into another one.
        """
        stream, head = await self._streams.load(f"deal/{slug}")
        if stream is None:
            raise unknown_deal(slug)
        snapshot = stream.state_as_of(with_day(as_of, today))
        state = _require_state(slug, stream, snapshot)
        day = as_of.effective_on or today
        cached = self._cached_state(stream, snapshot, state, as_of, day)
        quiet = inactivity(state.stage, cached.published, day)
        assert cached.response.remarks is not None
        response = replace(
            cached.response,
            effective_on=day,
            published_on=as_of.published_on,
            recorded_at=as_of.recorded_at,
            remarks=replace(cached.response.remarks, quiet=quiet),
        )
        last = snapshot.effective_events[-1].recorded
        # The response changes from one day to the next while events are still to take effect, and while the deal is
        # inactive and no effective date was asked for.
        is_daily = (as_of.effective_on is None and quiet is not None) or (
            cached.effective_until is not None and cached.effective_until > day
        )
        return EncodedResponse(
            body=encode(response),
            etag=_entity_tag(snapshot.version, day if is_daily else None, response.erased),
            final=as_of.effective_on is not None and _is_log_fixed(as_of, head),
            position=last.position,
            recorded_at=last.recorded_at,
        )

    def _cached_state(
        self, stream: FoldedStream[Deal], snapshot: StateAsOf[Deal], state: Deal, as_of: AsOf, day: date
    ) -> CachedState:
        """The response to a state, made once for all days on which the state is in effect."""
        key = (stream.leaf_hash, len(snapshot.steps)) if snapshot.assessment_cache is not None else None
        cached = self._states.get(stream.slug)
        if key is not None and cached is not None and cached.key == key:
            self._states.move_to_end(stream.slug)
            return cached
        effective = [r.effective_on for r in snapshot.effective_events if r.is_in_force and r.effective_on is not None]
        assessment = assessment_response(assess(snapshot, state, reference_rates()))
        made = CachedState(
            key=key,
            response=deal_response(state, snapshot, as_of, day, assessment),
            published=last_published(snapshot),
            effective_until=max(effective, default=None),
        )
        if key is not None:
            _put(self._states, stream.slug, made)
        return made

    async def stream(self, slug: str) -> FoldedStream[Deal]:
        """Return a deal's events, folded.

        Raises:
            NotFound: There is no such deal.
        """
        stream, _ = await self._streams.load(f"deal/{slug}")
        if stream is None:
            raise unknown_deal(slug)
        return stream

    async def stream_as_of(
        self, slug: str, as_of: AsOf, today: date
    ) -> tuple[FoldedStream[Deal], StateAsOf[Deal], Deal]:
        """Return a deal's events, the part visible at a point in time, and the state there.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        stream = await self.stream(slug)
        snapshot = stream.state_as_of(with_day(as_of, today))
        return stream, snapshot, _require_state(slug, stream, snapshot)

    # --- what explains a state ----------------------------------------------------------------------------------------

    async def history(self, slug: str, as_of: AsOf) -> bytes:
        """Return every event with what it changed, its author, its sources and its corrections, as JSON.

        Raises:
            NotFound: There is no such deal, or it was not registered at that point.
        """
        stream = await self.stream(slug)
        entries = audit_trail(stream.events, as_of, DEALS)
        if not entries:
            raise _not_known_yet(slug, stream)
        snapshot = state_as_of(slug, stream.events, as_of, DEALS)
        flags = flags_by_event(snapshot, reference_rates(), await self.related_deals(stream.state))
        return encode(deal_history(as_of, entries, flags))

    async def provenance(self, slug: str, as_of: AsOf, today: date) -> bytes:
        """Return every field of a deal's state with the event that set it, as JSON.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        _, snapshot, _ = await self.stream_as_of(slug, as_of, today)
        fields = provenance(snapshot, DEALS)
        return encode(provenance_response(slug, snapshot, as_of, as_of.effective_on or today, fields))

    async def compare(self, slug: str, start: AsOf, end: AsOf, today: date) -> bytes:
        """Return what changed between two points, split by the kind of change, as JSON.

        Raises:
            NotFound: There is no such deal.
        """
        stream = await self.stream(slug)
        comparison = compare(stream.events, with_day(start, today), with_day(end, today), DEALS)
        return encode(
            deal_comparison(
                slug,
                requested_point(start, start.effective_on or today),
                requested_point(end, end.effective_on or today),
                comparison,
                stream.record.by_id,
            )
        )

    async def timemap(self, slug: str) -> list[ChangePoint]:
        """Return the log positions at which the deal's current state became a different one (RFC 7089 §5).

        Raises:
            NotFound: There is no such deal.
        """
        return change_points((await self.stream(slug)).events, DEALS)

    async def first_memento(self, slug: str, as_of: AsOf) -> AsOf:
        """Return the point, moved to the deal's first event where it lies before it (RFC 7089 §4.5.3).

        Raises:
            NotFound: There is no such deal.
        """
        first = (await self.stream(slug)).events[0].recorded_at
        return replace(as_of, recorded_at=max(first, as_of.recorded_at or first))

    # --- other deals and organizations --------------------------------------------------------------------------------

    async def expand(self, response: EncodedResponse, as_of: AsOf, parts: Sequence[str], today: date) -> bytes:
        """Add parts to a deal's response: `organizations` that it names, `incoming` relations that others declare."""
        deal = decode(response.body, DealResponse)
        if "organizations" in parts:
            named = await organizations.named(self._streams.pool(), named_organizations(deal))
            deal = replace(deal, organizations=named)
        if "incoming" in parts:
            stream, snapshot, _ = await self.stream_as_of(deal.deal, as_of, today)
            flags = (await self.assessment(stream, snapshot)).flags
            assert deal.remarks is not None
            deal = replace(
                deal,
                remarks=replace(deal.remarks, flags=flags_response(flags)),
                incoming=await self.incoming(deal.deal, today),
            )
        return encode(deal)

    async def incoming(self, slug: str, today: date) -> tuple[IncomingRelation, ...]:
        """Return the relations to a deal that other deals declare today."""
        rows = await deal_lists.related_to(self._streams.pool(), ("r", today, LAST_POSITION), slug)
        return incoming_relations(slug, [decode(row, DealListItem) for _, row in rows])

    async def related_deals(self, deal: Deal) -> tuple[Deal, ...]:
        """Return the current states of the deals that have a relation to this one, whichever of the two declares it."""
        rows = await deal_lists.related_to(self._streams.pool(), ("r", LAST_DAY, LAST_POSITION), deal.deal)
        slugs = dict.fromkeys([*(r.deal for r in deal.relations), *(other for other, _ in rows)])
        streams = [await self._streams.load(f"deal/{slug}") for slug in slugs if slug != deal.deal]
        return tuple(stream.state for stream, _ in streams if stream is not None)

    async def assessment(self, stream: FoldedStream[Deal], snapshot: StateAsOf[Deal]) -> Assessment:
        """Return what is derived from a deal's state, including the flags that follow from related deals."""
        state = snapshot.state or stream.state
        return assess(snapshot, state, reference_rates(), await self.related_deals(state))


def unknown_deal(slug: str) -> NotFound:
    """The error for a slug that no deal ever had."""
    return NotFound("deal", deal=slug)


def _require_state(slug: str, stream: FoldedStream[Deal], snapshot: StateAsOf[Deal]) -> Deal:
    if snapshot.merged_into is not None:
        raise MergedInto(deal=slug, into=snapshot.merged_into)
    if snapshot.state is None:
        raise _not_known_yet(slug, stream)
    return snapshot.state


def _not_known_yet(slug: str, stream: FoldedStream[Deal]) -> NotFound:
    first = stream.events[0]
    return NotFound(
        "deal_not_known_yet",
        deal=slug,
        recorded_at=first.recorded_at.astimezone(UTC),
        published_on=first.published_on,
        effective_on=first.effective_on or first.published_on,
    )


def _entity_tag(version: int, day: date | None, erased: int) -> str:
    """The entity tag of a state: its version, its day where it changes daily, and how many events were redacted."""
    parts = [str(version), *([str(day)] if day is not None else []), *([f"erased={erased}"] if erased else [])]
    return f'"{";".join(parts)}"'


def _is_log_fixed(as_of: AsOf, head: Head) -> bool:
    """Whether a point includes the same events for ever: its position, or an event after its instant, is committed."""
    by_position = as_of.position is not None and as_of.position <= head.position
    by_instant = as_of.recorded_at is not None and head.recorded_at is not None and as_of.recorded_at < head.recorded_at
    return by_position or by_instant


def _put(cache: OrderedDict[str, T], slug: str, value: T) -> None:
    """Store a value as the most recently used one and drop the least recently used above the limit."""
    cache[slug] = value
    cache.move_to_end(slug)
    if len(cache) > MAX_CACHED_DEALS:
        cache.popitem(last=False)
