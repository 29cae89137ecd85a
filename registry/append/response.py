"""The response to a request: what it recorded, what that changed, and the warnings that it raised."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import UNSET

from registry.append.requests import AppendRequest
from registry.domain.audit.diff import Change, diff
from registry.domain.checks.plausibility import Flag
from registry.domain.fold.order import fold_order_of
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import PRINCIPALS
from registry.events.store import SealedEvent
from registry.events.types import BOOKKEEPING_TYPES, EventRedacted, Recorded
from registry.infra import freeing
from registry.infra.threads import is_long
from registry.schemas import AppendResponse, Receipt, changes_response, encode, encode_long, flags_response


def receipt_of(recorded: Recorded, stream: FoldedStream[Any], today: date) -> Receipt:
    """Where an event was recorded, and from which day it is in effect if that is after today."""
    day: date | None = None
    if stream.rules is not PRINCIPALS:
        if (step := stream.place(recorded.id)) is not None:
            day = step.key[0]
        else:
            effective = stream.record.by_id[recorded.id]
            if not isinstance(effective.event, BOOKKEEPING_TYPES):
                day = fold_order_of(effective, stream.record.by_id, stream.record.claims).key[0]
            elif isinstance(effective.event, stream.rules.registered):
                day = effective.registered_on
    return Receipt(
        id=recorded.id,
        version=recorded.version,
        position=recorded.position,
        recorded_at=recorded.recorded_at,
        effective_later=day if day is not None and day > today else UNSET,
    )


def encode_response(
    request: AppendRequest,
    before: FoldedStream[Any],
    after: FoldedStream[Any],
    events: Sequence[SealedEvent],
    receipts: Sequence[Receipt],
    flags: Sequence[Flag],
) -> bytes:
    """The response's JSON, as it is sent and stored under the request's idempotency key."""
    if request.low_priority and request.idempotency_key is None:
        return b""
    changes = _changes(before, after, () if request.dry_run else events, len(receipts)) if request.shows_state else []
    response = AppendResponse(
        **{request.kind: request.slug},
        version=after.version,
        position=after.events[-1].position,
        events=tuple(receipts),
        effective_later=min((r.effective_later for r in receipts if r.effective_later is not UNSET), default=UNSET),
        changes=changes_response(changes),
        flags=flags_response(flags),
    )
    if is_long(len(changes)):
        freeing.after_work(changes, response)
    return (encode_long if len(receipts) > 1 else encode)(response)


def _changes(
    before: FoldedStream[Any], after: FoldedStream[Any], events: Sequence[SealedEvent], count: int
) -> list[Change]:
    """What the events change in the stream's state, without the content that a redaction erases."""
    if after.version == before.version:
        # Only replays: `after` still knows what the last event of the stream changed.
        return []
    if before.events and (last := after.last_change) is not None and count == 1:
        around = after.around_last_event()
        changes = diff(*(around or (before.final(last.facts), after.final(last.facts))))
    else:
        changes = diff(before.state if before.events else None, after.state)
    if any(isinstance(event.recorded.event, EventRedacted) for event in events):
        return [msgspec.structs.replace(change, before=None) for change in changes]
    return changes
