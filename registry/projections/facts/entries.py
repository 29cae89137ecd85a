"""The entries of a track, in the order of the fold, searched by when they were published."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import date
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct

from registry.domain.fold import FoldKey

# "Unbounded": after every day.
END_OF_TIME = date.max

_BLOCK = 128

Piece: TypeAlias = tuple[date, date, Any]
"""An action, and the publication days [from, to) on which it is known."""

_key = attrgetter("key")
_last = attrgetter("last")


class Entry(Struct, frozen=True, gc=False):
    """A place in the fold, and what is done there on which publication days. `known_from` is the first of these."""

    key: FoldKey
    pieces: tuple[Piece, ...]
    known_from: date


def entry(key: FoldKey, pieces: tuple[Piece, ...]) -> Entry:
    """An entry with these pieces."""
    return Entry(key, pieces, min(piece[0] for piece in pieces))


class _Block(Struct):
    """Consecutive entries, the key of the last one, and the first day on which one of them is known."""

    entries: list[Entry]
    last: FoldKey
    known_from: date


class EntryList:
    """Entries in the order of their keys. A search for one that is known by a day skips blocks of later ones."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    def __iter__(self) -> Iterator[Entry]:
        return (one for block in self._blocks for one in block.entries)

    def add(self, new: Entry) -> None:
        """Add an entry."""
        if not self._blocks:
            self._blocks.append(_block([new]))
            return
        number = min(bisect_left(self._blocks, new.key, key=_last), len(self._blocks) - 1)
        block = self._blocks[number]
        insort(block.entries, new, key=_key)
        block.last, block.known_from = block.entries[-1].key, min(block.known_from, new.known_from)
        if len(block.entries) > _BLOCK:
            middle = _BLOCK // 2
            self._blocks[number : number + 1] = [_block(block.entries[:middle]), _block(block.entries[middle:])]

    def get(self, key: FoldKey) -> Entry | None:
        """The entry at a place."""
        number = bisect_left(self._blocks, key, key=_last)
        if number == len(self._blocks):
            return None
        entries = self._blocks[number].entries
        index = bisect_left(entries, key, key=_key)
        return entries[index] if entries[index].key == key else None

    def remove(self, key: FoldKey) -> None:
        """Remove the entry at a place."""
        number = bisect_left(self._blocks, key, key=_last)
        entries = self._blocks[number].entries
        del entries[bisect_left(entries, key, key=_key)]
        self._blocks[number : number + 1] = [_block(entries)] if entries else []

    def next(self, place: FoldKey, known_before: date, *, after: bool) -> Entry | None:
        """The first entry at (or, with `after`, after) a place that is known on a day before `known_before`."""
        bisect = bisect_right if after else bisect_left
        number = bisect(self._blocks, place, key=_last)
        for block in self._blocks[number:] if number else self._blocks:
            if block.known_from >= known_before:
                continue
            start = bisect(block.entries, place, key=_key)
            for index in range(start, len(block.entries)):
                if block.entries[index].known_from < known_before:
                    return block.entries[index]
        return None


def _block(entries: list[Entry]) -> _Block:
    return _Block(entries, entries[-1].key, min(one.known_from for one in entries))
