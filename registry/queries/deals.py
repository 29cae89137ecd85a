"""Queries about one deal: its state as of a point in time, its history, and what explains them.

This is the last of the four files that explain the product, after `events/types/`, `domain/deal/` and
`append/recorder.py`. No table holds a deal's state: every answer here follows from the fold of the deal's events that
are visible at the point in time (`domain/history.py`).

    state        the fold itself, with its sources and what the registry concludes from it
    history      each step of the fold: the event, and what it changed
    provenance   for each field, the step that set it
    compare      the steps that lie between two points, split by the kind of change
    timemap      the moments at which the answer to a plain request became a different one

All of them are in this file, so that it can be read as the last of the four; hence its length.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.assessment import assess, flags_by_event, last_published
from registry.domain.audit.change_points import change_points
from registry.domain.audit.comparison import compare_states
from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.provenance import FIRST_FIELD, FieldPlace, provenance_page
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream, StateAsOf
from registry.domain.money.rates import Rates
from registry.domain.principal import AuthorNames
from registry.domain.stages import inactivity
from registry.domain.stream_kinds import DEALS
from registry.events.types import EventRedacted
from registry.infra import freeing
from registry.infra.threads import HEAVY_ITEM, is_long, offload_answer, until_cancelled
from registry.projections import organizations
from registry.queries.deal_errors import not_known_yet, require_state, unknown_deal
from registry.queries.related_deals import RelatedDeals
from registry.queries.streams import ResolvedAsOf, StreamReader
from registry.schemas import (
    DealHistory,
    DealResponse,
    Provenance,
    Timemap,
    assessment_response,
    deal_comparison,
    deal_history,
    deal_response,
    decode,
    encode,
    encode_long,
    flags_response,
    named_organizations,
    provenance_response,
    requested_point,
    timemap,
)

T = TypeVar("T")

# Deals whose last response, and whose last state, are kept in memory.
MAX_CACHED_DEALS = 10_000

# Raise it in a release that answers the same question about the same events with another body.
RULES_REVISION = 0


class EncodedResponse(Struct, frozen=True):
    """A deal's state as JSON, with what the response's headers state.

    Attributes:
        body: The JSON.
        etag: The entity tag, with its quotes.
        final: Whether no event can change this answer any more, except a redaction.
        position: The log position of the last event that the state includes.
        memento: For a question that fixes the log, the instant from which the answer was this one: the last recording,
            or the later midnight at which an event took effect.
    """

    body: bytes
    etag: str
    final: bool
    position: int
    memento: datetime | None


class CachedState(Struct, frozen=True):
    """A deal's response, for any day on which this state is in effect.

    Attributes:
        key: The stream's last leaf hash, the number of events in effect and the number of imports of exchange rates:
            together they identify the response. None for a state that is not kept.
        response: The response; `state` fills in the point in time and the inactivity.
        published: The latest publication day among the events.
    """

    key: tuple[bytes | None, int, int] | None
    response: DealResponse
    published: date | None


class ProvenancePage(Struct, frozen=True):
    """Some fields of a deal, the effective date of the question, and where the next page begins, if there is one."""

    body: Provenance
    day: date
    next: FieldPlace | None


class DealQueries:
    """Answer questions about one deal.

    Attributes:
        related: Questions about the deals that have a relation to it.
    """

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams
        self.related = RelatedDeals(streams)
        # One entry a deal: a redaction adds an event, so the next answer replaces the one with the erased content.
        self._responses: OrderedDict[str, tuple[bytes, date, int, EncodedResponse]] = OrderedDict()
        self._states: OrderedDict[str, CachedState] = OrderedDict()

    # --- state --------------------------------------------------------------------------------------------------------

    async def state_now(self, slug: str) -> EncodedResponse:
        """Return a deal's state today. The last response is reused while the stream has the same last event.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        head = await self._streams.head_of_stream(f"deal/{slug}")
        if head is None:
            raise unknown_deal(slug)
        leaf_hash, today = head[1], self._streams.calendar.today()
        imports = (await self._streams.latest_rates()).imports
        cached = self._responses.get(slug)
        if cached is not None and cached[:3] == (leaf_hash, today, imports):
            self._responses.move_to_end(slug)
            return cached[3]
        response = await self.state(slug, AsOf(effective_on=today))
        _put(self._responses, slug, (leaf_hash, today, imports, response))
        return response

    async def state(self, slug: str, as_of: AsOf) -> EncodedResponse:
        """Return a deal's state as of a point in time.

        Args:
            slug: The deal.
            as_of: The point; `StreamReader.resolve` fills in what it leaves out.

        Raises:
            NotFound: There is no such deal, nothing was known of it at that point, or nothing is in effect by then.
            MergedInto: The deal was merged into another one.
        """
        resolved = await self._streams.resolve(as_of)
        stream, snapshot, state = await self.stream_as_of(slug, resolved.as_of)
        day = resolved.effective_on
        rates = await self._streams.rates(as_of)
        cached = await self._cached_state(stream, snapshot, state, resolved.as_of, rates)
        quiet = inactivity(state.stage, cached.published, resolved.observed_on)
        is_yet_to_be_quiet = quiet != inactivity(state.stage, cached.published, day)
        assert cached.response.remarks is not None
        response = replace(
            cached.response,
            effective_on=day,
            published_on=as_of.published_on,
            recorded_at=as_of.recorded_at,
            remarks=replace(cached.response.remarks, quiet=quiet),
        )
        body = await offload_answer(snapshot.count, encode_long, response)
        stream.return_caches()
        return EncodedResponse(
            body=body,
            etag=_entity_tag(snapshot.version, resolved, stream, rates.imports, is_yet_to_be_quiet),
            final=resolved.is_final,
            position=snapshot.position,
            memento=self._memento_datetime(snapshot, resolved),
        )

    def _memento_datetime(self, snapshot: StateAsOf[Deal], resolved: ResolvedAsOf) -> datetime | None:
        if resolved.log_day is None or snapshot.recorded_at is None:
            return None
        last_day = snapshot.steps[-1].key[0] if snapshot.steps else None
        if last_day is None or last_day > resolved.log_day:
            return snapshot.recorded_at
        return max(snapshot.recorded_at, self._streams.calendar.start_of(last_day))

    async def _cached_state(
        self, stream: FoldedStream[Deal], snapshot: StateAsOf[Deal], state: Deal, as_of: AsOf, rates: Rates
    ) -> CachedState:
        """The response to a state, made once for all days on which the state is in effect."""
        is_current = snapshot.cached_flags is not None
        key = (stream.leaf_hash, snapshot.count, rates.imports) if is_current else None
        cached = self._states.get(stream.slug)
        if key is not None and cached is not None and cached.key == key:
            self._states.move_to_end(stream.slug)
            return cached
        made = await offload_answer(snapshot.count, _state_response, key, snapshot, state, as_of, rates)
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

    async def stream_as_of(self, slug: str, as_of: AsOf) -> tuple[FoldedStream[Deal], StateAsOf[Deal], Deal]:
        """Return a deal's events, the part visible at a point in time, and the state there.

        A long stream is a copy, which the caller may pass to a thread.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        resolved = await self._streams.resolve(as_of)
        stream = await self.stream_for_thread(slug)
        snapshot, state = await offload_answer(stream.version, _read, stream, resolved.as_of)
        return stream, snapshot, state

    async def stream_for_thread(self, slug: str) -> FoldedStream[Deal]:
        """Return a deal's events, folded; if they are many, in a copy that may be passed to a thread.

        Raises:
            NotFound: There is no such deal.
        """
        stream = await self.stream(slug)
        return stream.copy_for_thread() if is_long(stream.version) else stream

    # --- what explains a state ----------------------------------------------------------------------------------------

    async def history(self, slug: str, as_of: AsOf, after: int = 0, limit: int | None = None) -> DealHistory:
        """Return the events with what each changed, its author, its sources and its corrections.

        Args:
            slug: The deal.
            as_of: The point in time.
            after: The log position after which the page begins.
            limit: The number of events of the page; None for all.

        Raises:
            NotFound: There is no such deal, or it was not registered at that point.
        """
        stream = await self.stream_for_thread(slug)

        def trail() -> tuple[StateAsOf[Deal], list[AuditEntry], Deal]:
            snapshot = stream.state_as_of(as_of)
            if not snapshot.version:
                raise not_known_yet(stream)
            entries = audit_trail(
                stream.events, as_of, DEALS, self._streams.calendar, snapshot=snapshot, after=after, limit=limit
            )
            return snapshot, entries, snapshot.state or stream.state

        snapshot, entries, state = await offload_answer(stream.version, trail)
        neighbours, rates = await self.related.states(state, as_of), await self._streams.rates(as_of)
        names = await self._streams.author_names(entry.effective.recorded for entry in entries)

        def answer() -> DealHistory:
            listed = [entry.effective.recorded.id for entry in entries]
            flags = flags_by_event(snapshot, rates, neighbours, listed)
            return deal_history(as_of, snapshot, entries, flags, names, after, limit)

        history = await offload_answer(stream.version, answer)
        stream.return_caches()
        return history

    async def author_names(self, stream: FoldedStream[Deal]) -> AuthorNames:
        """Return the names of those who recorded the events of a deal (`StreamReader.author_names`)."""
        return await self._streams.author_names(stream.events)

    async def provenance(
        self, slug: str, as_of: AsOf, start: FieldPlace = FIRST_FIELD, limit: int | None = None
    ) -> ProvenancePage:
        """Return fields of a deal's state, each with the event that set it.

        Args:
            slug: The deal.
            as_of: The point in time.
            start: Where the page begins.
            limit: The number of fields of the page; None for all.

        Raises:
            NotFound, MergedInto: See `state`.
        """
        resolved = await self._streams.resolve(as_of)
        stream, snapshot, _ = await self.stream_as_of(slug, resolved.as_of)
        count = sys.maxsize if limit is None else limit
        fields, following = await offload_answer(stream.version, provenance_page, snapshot, start, count)
        setting = {field.event for field in fields}
        names = await self._streams.author_names(snapshot.record.by_id[event].recorded for event in setting)
        day = resolved.effective_on
        page = await offload_answer(len(fields), provenance_response, slug, snapshot, as_of, day, fields, names)
        return ProvenancePage(page, day, following)

    async def compare(self, slug: str, start: AsOf, end: AsOf) -> bytes:
        """Return what changed between two points, split by the kind of change, as JSON.

        Raises:
            NotFound: There is no such deal.
        """
        stream = await self.stream_for_thread(slug)
        a, b = await self._streams.resolve(start), await self._streams.resolve(end)
        names = await self._streams.author_names(stream.events)

        def answer() -> bytes:
            first, second = [(one.as_of, stream.state_as_of(one.as_of)) for one in (a, b)]
            comparison = compare_states(stream.events, first, second, DEALS, self._streams.calendar, until_cancelled)
            response = deal_comparison(
                slug,
                requested_point(start, a.effective_on),
                requested_point(end, b.effective_on),
                comparison,
                stream.record.by_id,
                names,
            )
            freeing.after_work(response)
            return encode_long(response)

        return await offload_answer(HEAVY_ITEM * stream.version, answer)

    async def resolve(self, as_of: AsOf) -> ResolvedAsOf:
        """Fill in what a question leaves out (`StreamReader.resolve`)."""
        return await self._streams.resolve(as_of)

    async def timemap(self, slug: str) -> Timemap:
        """Return the moments at which the answer to a plain request changed, and at which it will (RFC 7089 §5).

        Raises:
            NotFound: There is no such deal.
        """
        stream = await self.stream(slug)
        calendar = self._streams.calendar

        def answer() -> Timemap:
            return timemap(slug, until_cancelled(change_points(stream.events, calendar)), calendar.now())

        return await offload_answer(stream.version, answer)

    async def memento(self, slug: str, as_of: AsOf, accepted: datetime) -> AsOf:
        """Return the point of the memento for an instant that a request accepts (`StreamReader.memento`).

        Raises:
            NotFound: There is no such deal.
        """
        return await self._streams.memento(as_of, accepted, (await self.stream(slug)).events[0])

    # --- optional parts of a response ---------------------------------------------------------------------------------

    async def expand(self, response: EncodedResponse, as_of: AsOf, parts: Sequence[str]) -> bytes:
        """Add parts to a deal's response: `organizations` that it names, `incoming` relations that others declare."""
        deal = decode(response.body, DealResponse)
        if "organizations" in parts:
            named = await organizations.named(self._streams.pool(), named_organizations(deal))
            deal = replace(deal, organizations=named)
        if "incoming" in parts:
            stream, snapshot, _ = await self.stream_as_of(deal.deal, as_of)
            flags = (await self.related.assessment(stream, snapshot, as_of)).flags
            assert deal.remarks is not None
            deal = replace(
                deal,
                remarks=replace(deal.remarks, flags=flags_response(flags)),
                incoming=await self.related.incoming(stream, as_of),
            )
        return encode(deal)


def _read(stream: FoldedStream[Deal], as_of: AsOf) -> tuple[StateAsOf[Deal], Deal]:
    snapshot = stream.state_as_of(as_of)
    return snapshot, require_state(stream, snapshot, as_of)


def _state_response(
    key: tuple[bytes | None, int, int] | None, snapshot: StateAsOf[Deal], state: Deal, as_of: AsOf, rates: Rates
) -> CachedState:
    assert as_of.effective_on is not None
    assessment = assessment_response(assess(snapshot, state, rates))
    response = deal_response(state, snapshot, as_of, as_of.effective_on, assessment)
    return CachedState(key=key, response=response, published=last_published(snapshot))


def _entity_tag(
    version: int, resolved: ResolvedAsOf, stream: FoldedStream[Deal], imports: int, is_yet_to_be_quiet: bool
) -> str:
    """The entity tag of a state: its version, its day, the log position where it is fixed, and what else changes it.

    A redaction changes answers at every position, so all redactions of the stream count. Flags depend on exchange
    rates, so the imports after the packaged history count. A deal that will be quiet by a day to come, unless a source
    is published, is not said to be quiet before: then today counts.
    """
    redactions = sum(isinstance(event.event, EventRedacted) for event in stream.events)
    position = [] if resolved.position is None else [str(resolved.position)]
    parts = [str(version), str(resolved.effective_on), *position, *([f"redactions={redactions}"] if redactions else [])]
    parts += [f"today={resolved.observed_on}"] if is_yet_to_be_quiet and resolved.position is None else []
    parts += [f"rates={imports - 1}"] if imports > 1 else []
    parts += [f"rules={RULES_REVISION}"] if RULES_REVISION else []
    return f'"{";".join(parts)}"'


def _put(cache: OrderedDict[str, T], slug: str, value: T) -> None:
    """Store a value as the most recently used one and drop the least recently used above the limit."""
    cache[slug] = value
    cache.move_to_end(slug)
    if len(cache) > MAX_CACHED_DEALS:
        cache.popitem(last=False)
