"""The response to a request: what it recorded, what that changed, and the warnings that it raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from registry.append.requests import AppendRequest
from registry.domain.audit.diff import Change, diff
from registry.domain.checks.plausibility import Flag
from registry.domain.history import FoldedStream
from registry.events.store import SealedEvent
from registry.events.types import EventRedacted
from registry.infra import freeing
from registry.infra.threads import is_long
from registry.schemas import AppendResponse, Receipt, changes_response, encode, encode_long, flags_response


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
