"""What a group is about to write: each request judged in its order, on the log's end and on those before it.

A draft gives positions, versions, ids and hashes, asks the deal's rules, and has each event drawn into the views while
others are judged. Nothing of it is so until the recorder has it committed; what is refused leaves no trace in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from registry.domain.assessment import flags_raised
from registry.domain.audit import Change, diff
from registry.domain.deal import Deal
from registry.domain.explicit_nulls import with_explicit_nulls
from registry.domain.history import DEALS, FoldedStream, admit, fill_defaults
from registry.domain.plausibility import Flag
from registry.domain.rates import reference_rates
from registry.errors import IdConflict, IdempotencyConflict, RegistryError, RuleBroken, VersionConflict
from registry.events import store
from registry.events.codec import Content, canonical, published_on, random_bytes, stream_name
from registry.events.store import Connection, Head, Pool, SealedEvent, WriteBatch
from registry.events.types import (
    Announcement,
    DealRegistered,
    EventCorrected,
    EventRedacted,
    OrganizationAnnouncement,
    OrganizationRegistered,
    Recorded,
    StreamKind,
)
from registry.projections import PROJECTIONS, AppliedChange
from registry.projections.stream_cache import StreamCache, fold_stream
from registry.transparency.merkle import Frontier, Tile

# Seconds that requests are judged for before others get their turn; as long as these took, where that is longer.
TIME_SLICE_SECONDS = 0.00025

# What If-Match: * demands: that the stream exists.
ANY_VERSION = -1

_encode = msgspec.json.Encoder().encode


class AppendRequest(Struct, frozen=True, kw_only=True):
    """What somebody asks to be recorded in one stream: all of it or none.

    `by` is the id of the key that asks. `expected_version` is what If-Match demanded; for If-None-Match: * it is 0, and
    for If-Match: * ANY_VERSION. `digest` identifies the whole request, for its idempotency key. `size` is that
    of its body, in bytes. `bulk` is one of very many: it lets others go first, and is told what was recorded, but not
    what that changes.
    """

    kind: StreamKind
    slug: str
    announcements: Sequence[Announcement | OrganizationAnnouncement]
    by: str
    expected_version: int | None = None
    idempotency_key: str | None = None
    digest: bytes = b""
    dry_run: bool = False
    size: int = 0
    low_priority: bool = False

    @property
    def stream(self) -> str:
        return stream_name(self.kind, self.slug)

    @property
    def creates_stream(self) -> bool:
        """Whether it says that there is no such stream yet."""
        return bool(self.announcements) and isinstance(
            self.announcements[0].event, (DealRegistered, OrganizationRegistered)
        )

    def matches_version(self, version: int) -> bool:
        """Whether a stream at this version is what the request is meant for."""
        if self.expected_version == ANY_VERSION:
            return version > 0
        return self.expected_version is None or self.expected_version == version


class Receipt(Struct, frozen=True):
    """One recorded event's place in the log."""

    id: UUID
    version: int
    position: int
    recorded_at: datetime


class AppendResult(Struct, frozen=True):
    """What became of a request. `answer` is its JSON, empty in a bulk; `new` is False for a replay or a dry run."""

    version: int
    position: int
    events: Sequence[Receipt]
    flags: Sequence[Flag]
    answer: bytes
    new: bool


class _StoredResponse(Struct, frozen=True):
    """Of an answer that was kept under its key, what an outcome repeats. After an erasure it tells no flags."""

    version: int
    position: int
    events: tuple[Receipt, ...]
    flags: tuple[Flag, ...] = ()


class SubmissionError(RegistryError):
    """Request {number} of those that were to be recorded together: {error}"""

    # `number` counts from 0; `error` is what that one was refused for. Nothing of them all was recorded.

    def __init__(self, number: int, error: RegistryError) -> None:
        super().__init__(number=number, error=error)
        self.number = number
        self.error = error


class Submission(Struct):
    """Requests that stand or fall together; one, most of the time.

    With what they come to: how many events and bytes, whether all are of a bulk, whether any erases, and whether any
    can be known again, by a key or an id.
    """

    requests: Sequence[AppendRequest]
    dry_run: bool = False
    events: int = 0
    size: int = 0
    low_priority: bool = True
    has_redaction: bool = False
    has_retry_key: bool = False

    def __post_init__(self) -> None:
        for request in self.requests:
            self.events += len(request.announcements)
            self.size += request.size
            self.low_priority = self.low_priority and request.low_priority
            self.has_retry_key = self.has_retry_key or request.idempotency_key is not None
            for announcement in request.announcements:
                self.has_redaction = self.has_redaction or isinstance(announcement.event, EventRedacted)
                self.has_retry_key = self.has_retry_key or announcement.id is not None


class _TimeSlice:
    """What others must not wait for longer than TURN, or than these took when it was theirs.

    The bytes of the group before are among them: held back until a whole group was judged, they left the database with
    nothing to do. In a flood of others it is half of the time.
    """

    def __init__(self) -> None:
        self._begun, self._length = perf_counter(), TIME_SLICE_SECONDS

    def expired(self) -> bool:
        return perf_counter() - self._begun > self._length

    async def yield_control(self) -> None:
        left = perf_counter()
        await asyncio.sleep(0)
        self._begun = perf_counter()
        self._length = max(TIME_SLICE_SECONDS, self._begun - left)


class Batch:
    """What a group is about to write: nothing of it is believed until its commit is answered.

    `head` is the log's end that it was begun on, `frontier` the tree's edge there, `held` the streams in memory;
    `ahead` is the draft on its way whose last event that end is, if any.

    One that is `made_ahead` of the lock does not look for a stream that a request begins, and that is not in memory: it
    takes it for new. If it is there, the database refuses it a second first version (`Writes.execute_behind`).
    """

    def __init__(
        self, head: Head, frontier: Frontier, held: StreamCache, ahead: Batch | None = None, *, made_ahead: bool = False
    ) -> None:
        self.head = head
        self._made_ahead = made_ahead
        self._assumed_new: set[str] = set()
        self._held = held
        self.previous_batch = ahead
        self.position = head.position
        self.recorded_at = head.recorded_at or datetime.min.replace(tzinfo=UTC)
        self.frontier = frontier
        self.histories: dict[str, FoldedStream[Any]] = {}
        self.sealed: list[SealedEvent] = []
        self.tiles: list[Tile] = []
        self.applied_changes: list[AppliedChange] = []
        # What the views make of the steps, so many of which they have taken.
        self._shown = [view.start_batch() for view in PROJECTIONS]
        self._projected_count = 0
        self.stored_responses: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.idempotency_records: list[tuple[str, str, bytes, bytes, str, datetime]] = []
        self.known_events: dict[UUID, Recorded] = {}
        self.outcomes: list[list[AppendResult] | RegistryError] = []

    def _savepoint(self) -> Callable[[], None]:
        """What takes the draft back to where it is now."""
        position, frontier, histories = self.position, self.frontier.copy(), self.histories.copy()
        answers, by_id = self.stored_responses.copy(), self.known_events.copy()
        lengths = [
            (items, len(items)) for items in (self.sealed, self.tiles, self.applied_changes, self.idempotency_records)
        ]

        def reset() -> None:
            self.position, self.frontier, self.histories = position, frontier, histories
            self.stored_responses, self.known_events = answers, by_id
            for items, length in lengths:
                del items[length:]

        return reset

    def new_head(self) -> Head:
        """Where the log ends once this is written."""
        if not self.sealed:
            return self.head
        last = self.sealed[-1].recorded
        return Head(last.position, last.leaf_hash, last.recorded_at)

    # --- judging one request -----------------------------------------------------------------------------------------

    async def validate(self, connection: Connection | Pool, group: Sequence[Submission], now: datetime) -> None:
        """Judges what is asked, each by itself and in order, and draws it; `results` tells what became of each.

        One after the other, not by turns: the processor's caches hold the code of either.
        """
        # Not the draft's first moment: what is judged later has come later.
        self.recorded_at = max(now, self.recorded_at)
        requests = [request for asked in group for request in asked.requests]
        await self._load_streams(
            connection, (r.stream for r in requests), {r.stream for r in requests if r.creates_stream}
        )
        turn = _TimeSlice()
        for asked in group:
            if turn.expired():
                await turn.yield_control()
            try:
                if len(asked.requests) == 1 and not asked.dry_run:
                    self.outcomes.append([await self._validate_request(connection, asked.requests[0])])
                else:
                    self.outcomes.append(await self._validate_submission(connection, asked))
            except RegistryError as refused:
                self.outcomes.append(refused)
        # What erases has yet to tell what it took away.
        erases = any(asked.has_redaction for asked in group)
        while self._projected_count < len(self.applied_changes) and not erases:
            if turn.expired():
                await turn.yield_control()
            self._project_next()

    def _project_next(self) -> None:
        step = self.applied_changes[self._projected_count]
        for view in self._shown:
            view.apply(step)
        self._projected_count += 1

    def write_projections(self, writes: WriteBatch) -> None:
        """Adds what the views show."""
        while self._projected_count < len(self.applied_changes):
            self._project_next()
        for view in self._shown:
            view.write(writes)

    async def _load_streams(
        self, connection: Connection | Pool, streams: Iterable[str], begun: Container[str] = ()
    ) -> None:
        """Makes sure that the draft has these streams, as they will be when what is on its way has landed."""
        unknown: list[str] = []
        for stream in streams:
            if stream in self.histories:
                continue
            history = self.previous_batch.histories.get(stream) if self.previous_batch is not None else None
            history = history or self._held.get(stream)
            if history is None and self._made_ahead and stream in begun:
                history = fold_stream(stream, [])
                self._assumed_new.add(stream)
            if history is not None:
                self.histories[stream] = history
            else:
                unknown.append(stream)
        if unknown:
            self.histories |= await self._held.load(connection, dict.fromkeys(unknown))

    def is_final(self, asked: Submission, result: list[AppendResult] | RegistryError) -> bool:
        """Whether the commit of what is drafted proves what became of a request.

        It proves the log's true end, which is enough for what it refuses; but what has a key or an id may have been
        recorded before, and what begins a stream that was not looked for is told the wrong reason if there is one.
        """
        known_again = asked.has_retry_key or any(request.stream in self._assumed_new for request in asked.requests)
        return isinstance(result, list) or not known_again

    async def _validate_submission(self, connection: Connection | Pool, asked: Submission) -> list[AppendResult]:
        """Judges requests that stand or fall together, each on what those before it make of the log."""
        reset = self._savepoint()
        outcomes: list[AppendResult] = []
        for number, request in enumerate(asked.requests):
            try:
                outcomes.append(await self._validate_request(connection, request))
            except RegistryError as refused:
                reset()
                raise SubmissionError(number, refused) from refused
        if asked.dry_run:
            reset()
            return [msgspec.structs.replace(outcome, new=False) for outcome in outcomes]
        return outcomes

    async def _validate_request(self, connection: Connection | Pool, request: AppendRequest) -> AppendResult:
        """Judges one request on what the group has made of the log so far, and adds it to the draft if it stands."""
        key = (request.by, request.idempotency_key) if request.idempotency_key is not None else None
        if key is not None and key in self.stored_responses:
            digest, answer = self.stored_responses[key]
            if digest not in (request.digest, b""):
                raise IdempotencyConflict(key=key[1])
            return _replay_result(answer)
        history = self.histories[request.stream]
        before = history
        replays = [self._is_replay(request, before, a) for a in request.announcements]
        fresh = not all(replays)
        if fresh and not request.matches_version(history.version):
            raise VersionConflict(
                kind=request.kind, slug=request.slug, actual=history.version, expected=request.expected_version
            )
        sealed: list[SealedEvent] = []
        steps: list[AppliedChange] = []
        receipts: list[Receipt] = []
        for announcement, replay in zip(request.announcements, replays, strict=True):
            if announcement.id is not None and replay:
                receipts.append(_receipt(self.known_events[announcement.id]))
                continue
            one = self._seal(request, history, announcement, len(sealed))
            after = admit(history, one.recorded)
            if not isinstance(after, FoldedStream):
                refusal, stranded = after
                raise RuleBroken(refusal.rule, refusal.detail, tuple(str(id) for id in stranded))
            await self._validate_merge(connection, history, after)
            steps.append(AppliedChange(one.recorded, history, after))
            sealed.append(one)
            receipts.append(_receipt(one.recorded))
            history = after
        flags = await self._flags(connection, history, sealed)
        told = _encode_response(request, before, history, sealed, receipts, flags)
        place = (history.version, history.events[-1].position)
        outcome = AppendResult(*place, receipts, flags, told, new=bool(sealed) and not request.dry_run)
        if request.dry_run or not sealed:
            return outcome
        for one in sealed:
            self.tiles += self.frontier.append(one.recorded.leaf_hash)
            self.known_events[one.recorded.id] = one.recorded
        self.position += len(sealed)
        self.sealed += sealed
        self.applied_changes += steps
        self.histories[request.stream] = history
        if key is not None:
            owner, name = key
            self.stored_responses[key] = (request.digest, told)
            self.idempotency_records.append((owner, name, request.digest, told, request.stream, self.recorded_at))
        return outcome

    async def _flags(
        self, connection: Connection | Pool, history: FoldedStream[Any], sealed: Sequence[SealedEvent]
    ) -> list[Flag]:
        """What looks implausible in what is recorded: told, never refused. That sources err is recorded, too."""
        if history.rules is not DEALS:
            return []
        neighbours: tuple[Deal, ...] = ()
        if relations := history.timeline.at(None).relations:
            slugs = dict.fromkeys(r.deal for r in relations if r.deal != history.slug)
            related = [stream_name("deal", slug) for slug in slugs]
            await self._load_streams(connection, related)
            neighbours = tuple(self.histories[s].state for s in related if self.histories[s].events)
        return flags_raised(history, [s.recorded.id for s in sealed], reference_rates(), neighbours)

    def _seal(
        self,
        request: AppendRequest,
        history: FoldedStream[Any],
        announcement: Announcement | OrganizationAnnouncement,
        ahead: int,
    ) -> SealedEvent:
        return store.seal(
            kind=request.kind,
            slug=request.slug,
            position=self.position + ahead + 1,
            version=history.version + 1,
            id=announcement.id or uuid7(self.recorded_at),
            event=fill_defaults(history, announcement.event),
            effective_on=announcement.effective_on,
            published_on=published_on(announcement.sources, self.recorded_at),
            sources=announcement.sources,
            note=announcement.note,
            recorded_at=self.recorded_at,
            recorded_by=request.by,
            previous=history.leaf_hash,
        )

    def _is_replay(
        self,
        request: AppendRequest,
        history: FoldedStream[Any],
        announcement: Announcement | OrganizationAnnouncement,
    ) -> bool:
        """Whether the announcement's id is in the log with this very content.

        Raises IdConflict when it is another event.
        """
        if announcement.id is None:
            return False
        known = self.known_events.get(announcement.id)
        if known is None:
            return False
        same = (
            (known.kind, known.slug) == (request.kind, request.slug)
            and known.event is not None
            and known.effective_on == announcement.effective_on
            and _has_same_content(known, announcement)
        )
        if not same:
            raise IdConflict(id=known.id, stream=stream_name(known.kind, known.slug), version=known.version)
        return True

    async def _validate_merge(
        self, connection: Connection | Pool, before: FoldedStream[Any], after: FoldedStream[Any]
    ) -> None:
        """A merge needs somewhere to lead to, and must not lead back, whichever event made it hold: a void may, too."""
        into = after.record.merged_into
        at = into if into != before.record.merged_into else None
        while at is not None:
            if at == after.slug:
                raise RuleBroken("merge-cycle", f"'{into}' leads back to '{at}': unmerge it there first.")
            kind = after.events[-1].kind
            stream = stream_name(kind, at)
            await self._load_streams(connection, (stream,))
            other = self.histories[stream]
            if not other.events:
                raise RuleBroken("merge-target-unknown", f"There is no {kind} '{at}' to merge into: register it first.")
            at = other.record.merged_into


def _has_same_content(known: Recorded, announcement: Announcement | OrganizationAnnouncement) -> bool:
    """Whether an announcement says what is recorded, apart from what the recorder filled in."""
    said, event = known.event, announcement.event
    if isinstance(event, EventCorrected) and isinstance(said, EventCorrected):
        new, old = event.replacement, said.replacement
        event = msgspec.structs.replace(
            event,
            replacement=msgspec.structs.replace(
                new, **{f: getattr(old, f) for f in new.__struct_fields__ if getattr(new, f) is UNSET}
            ),
        )
    elif isinstance(event, EventRedacted) and isinstance(said, EventRedacted):
        event = msgspec.structs.replace(event, also=said.also, effects=said.effects)
    elif hasattr(event, "about") and event.about is None and type(said) is type(event):
        event = msgspec.structs.replace(event, about=said.about)  # type: ignore[union-attr]
    assert said is not None
    posted = Content(event=event, sources=announcement.sources, note=announcement.note)
    return canonical(posted) == canonical(Content(event=said, sources=known.sources, note=known.note))


def _encode_response(
    request: AppendRequest,
    before: FoldedStream[Any],
    after: FoldedStream[Any],
    sealed: Sequence[SealedEvent],
    receipts: Sequence[Receipt],
    flags: Sequence[Flag],
) -> bytes:
    """The answer to a request, as it is kept under its key."""
    if request.low_priority and request.idempotency_key is None:
        return b""
    return _encode(
        {
            request.kind: request.slug,
            "version": after.version,
            "position": after.events[-1].position,
            "events": receipts,
            "changes": with_explicit_nulls(_changes(before, after, () if request.dry_run else sealed)),
            "flags": flags,
        }
    )


def _changes(before: FoldedStream[Any], after: FoldedStream[Any], sealed: Sequence[SealedEvent]) -> list[Change]:
    """What a request changes in a deal's state. What `sealed` erases is not repeated: an answer is kept by its key."""
    if after.rules is not DEALS:
        return []
    changes = diff(before.state if before.events else None, after.state)
    if any(isinstance(one.recorded.event, EventRedacted) for one in sealed):
        return [msgspec.structs.replace(change, before=None) for change in changes]
    return changes


def _receipt(recorded: Recorded) -> Receipt:
    return Receipt(recorded.id, recorded.version, recorded.position, recorded.recorded_at)


_answer = msgspec.json.Decoder(_StoredResponse)


def _replay_result(answer: bytes) -> AppendResult:
    known = _answer.decode(answer)
    return AppendResult(known.version, known.position, known.events, known.flags, answer, new=False)


def uuid7(now: datetime) -> UUID:
    """A time-ordered id: 48 bits of Unix milliseconds, then random bits (RFC 9562 §5.7)."""
    milliseconds = int(now.timestamp() * 1000)
    bits = (milliseconds << 80) | int.from_bytes(random_bytes(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return UUID(int=bits)
