"""The stage of a deal through time: what its events signal, and the stage after each signal that changed it.

Most signals change nothing, because the deal is at that stage already or past it. An inserted event changes the stages
after it up to the next signal that can change the new one, and that signal is found by its kind: 10,000 pledges
recorded in descending order of their dates are not compared with each other.
"""

from __future__ import annotations

from datetime import date
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.fold.sorted_map import SortedMap
from registry.domain.stages import SignalKind, StageSignal, StageState, may_change, next_stage

Key: TypeAlias = Any
"""The place of an event in the fold; its first element is the effective date."""

# Up to this number of signals, they are searched one by one.
_FEW = 48

_NO_KEYS: SortedMap[Key, None] = SortedMap()


class StageHistory(Struct, frozen=True, gc=False):
    """The signals and the changes of the stage, in the order of the fold.

    Attributes:
        signals: What each applied event signals.
        changes: The stage after each signal that changed it; None where a new pledge ends an inferred withdrawal.
        kinds: The places of the signals of each kind; None while there are so few that a search is quick.
    """

    signals: SortedMap[Key, StageSignal] = SortedMap()
    changes: SortedMap[Key, StageState | None] = SortedMap()
    kinds: dict[SignalKind, SortedMap[Key, None]] | None = None

    def at(self, key: Key) -> StageState | None:
        """The stage after the events up to a place."""
        if (exact := self.changes.get(key, _ABSENT)) is not _ABSENT:
            return exact
        return self.before(key)

    def before(self, key: Key) -> StageState | None:
        """The stage before the event at a place."""
        before = self.changes.last_before(key)
        return before[1] if before else None

    def last(self) -> StageState | None:
        """The stage after all events."""
        last = self.changes.last()
        return last[1] if last else None

    def segments(self) -> list[tuple[date, StageState | None]]:
        """Each effective date on which the stage changes, with the stage at the end of that day."""
        segments: list[tuple[date, StageState | None]] = []
        for (day, _), stage in self.changes.entries():
            if segments and segments[-1][0] == day:
                segments.pop()
            if stage != (segments[-1][1] if segments else None):
                segments.append((day, stage))
        return segments

    def updated(self, signals: dict[Key, StageSignal | None]) -> StageHistory:
        """The history with other signals at some places, None for none."""
        changed = {key: signal for key, signal in signals.items() if self.signals.get(key) != signal}
        if not changed:
            return self
        new = self._with_signals(changed)
        pending = [*changed, *self._emptied(new, changed)]
        heapify(pending)
        last = new.signals.last()
        changes, done = self.changes, None
        while pending:
            key = heappop(pending)
            if key == done:
                continue
            done = key
            previous = changes.last_before(key)
            current = previous[1] if previous else None
            stage = current
            if (signal := new.signals.get(key)) is not None:
                is_pledged = signal.pledges >= 0 or new.standing(key) > 0
                stage = next_stage(current, signal, key[0], is_pledged=is_pledged)
            changes = changes.set(key, stage) if stage != current else changes.delete(key)
            if (last is not None and key == last[0]) or stage == self.at(key):
                continue  # No signal follows, or up to the next changed place the stage is what it was before.
            if (following := changes.first_after(key)) is not None:
                heappush(pending, following[0])
            if (acting := new.next_acting(key, stage)) is not None:
                heappush(pending, acting)
        return replace(new, changes=changes)

    def standing(self, key: Key) -> int:
        """The number of pledges that stand after the events up to a place."""
        if self.kinds is None:
            return sum(signal.pledges for at, signal in self.signals.entries() if at <= key)
        pledged, withdrawn = (self.kinds.get((how, None), _NO_KEYS) for how in ("pledged", "withdrawn"))
        return pledged.count(key) - withdrawn.count(key)

    def next_acting(self, key: Key, stage: StageState | None) -> Key | None:
        """The first place after another one whose signal may change a stage."""
        if self.kinds is None:
            later = ((at, signal) for at, signal in self.signals.entries(key) if at != key)
            return next((at for at, signal in later if any(may_change(stage, kind) for kind in signal.kinds)), None)
        found = None
        for kind, keys in self.kinds.items():
            if not may_change(stage, kind):
                continue
            following = keys.first_after(key)
            if following is not None and (found is None or following[0] < found):
                found = following[0]
        return found

    def _with_signals(self, changed: dict[Key, StageSignal | None]) -> StageHistory:
        signals = self.signals
        for key, signal in changed.items():
            signals = signals.delete(key) if signal is None else signals.set(key, signal)
        if len(signals) <= _FEW:
            return StageHistory(signals, self.changes)
        kinds = {} if self.kinds is None else self.kinds.copy()
        for key, signal in signals.entries() if self.kinds is None else changed.items():
            old = None if self.kinds is None else self.signals.get(key)
            for kind in old.kinds if old else ():
                kinds[kind] = kinds[kind].delete(key)
            for kind in signal.kinds if signal else ():
                kinds[kind] = kinds.get(kind, _NO_KEYS).set(key, None)
        return StageHistory(signals, self.changes, kinds)

    def _emptied(self, new: StageHistory, changed: dict[Key, StageSignal | None]) -> list[Key]:
        """The withdrawals after which no pledge stands any more, or again one does."""
        pledges = [
            (signal.pledges if signal else 0) - (old.pledges if (old := self.signals.get(key)) else 0)
            for key, signal in changed.items()
        ]
        if not any(pledges):
            return []
        if new.kinds is None:
            return [key for key, signal in new.signals.entries(min(changed)) if signal.pledges < 0]
        withdrawn = new.kinds.get(("withdrawn", None), _NO_KEYS)
        return [
            key for key, _ in withdrawn.entries(min(changed)) if (new.standing(key) > 0) != (self.standing(key) > 0)
        ]


_ABSENT: Any = object()
