"""What is cached with a folded stream. Without the caches, every answer is the same and takes longer."""

from __future__ import annotations

from itertools import islice
from typing import Any
from uuid import UUID

from msgspec import Struct

from registry.domain.checks.plausibility import MAX_EARLIER_EVENTS, Flag
from registry.domain.fold.order import FoldKey
from registry.domain.fold.timeline import Timeline

# With changes at more places since the flags were cached, it is cheaper to compute them again.
_MAX_STALE = 32

FlagsByEvent = dict[tuple[int, UUID], tuple[Flag, ...]]
"""The flags of events, by the number of imports of exchange rates and the event."""


class FlagCache(Struct, frozen=True):
    """The flags of the events of a stream, each computed when an answer first needs it.

    Attributes:
        flags: The flags that were computed.
        stale: The places in the fold at which events have changed since, or the facts that they touch. The flags of the
            events from there on may be others.
    """

    flags: FlagsByEvent
    stale: tuple[FoldKey, ...] = ()

    def after(self, places: tuple[FoldKey, ...], timeline: Timeline[Any]) -> FlagCache | None:
        """The cache after a change at some places; None where it is cheaper to begin again."""
        stale = (*self.stale, *places)
        # A relation may change the flags of every event.
        if len(stale) > _MAX_STALE or timeline.has_any("relations"):
            return None
        return FlagCache(self.flags, stale)

    def without_stale(self, timeline: Timeline[Any]) -> FlagCache:
        """The cache without the flags that may be others: those of the events that see a change."""
        if not self.stale:
            return self
        window = MAX_EARLIER_EVENTS + 1
        stale = {step.applied.id for key in self.stale for step in islice(timeline.steps_from(key), window)}
        return FlagCache({key: flags for key, flags in self.flags.items() if key[1] not in stale})


class StreamCaches(Struct):
    """The caches of a stream.

    Attributes:
        flags: The flags of its events; None until an answer needs some.
        sweeps: What the projection of the facts computed for the last event (`projections/facts/changes.py`). It moves
            on to the next version of the stream, so that the next event costs one step of a sweep.
    """

    flags: FlagCache | None = None
    sweeps: Any = None
