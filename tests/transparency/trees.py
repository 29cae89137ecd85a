"""Trees for tests: a direct implementation of the definitions in RFC 6962 §2.1, and tiles in a dict."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from registry.transparency.merkle import Frontier, leaf_hash
from registry.transparency.tiles import TileRef


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"entry %d" % number) for number in range(count)]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def path(m: int, hashes: Sequence[bytes]) -> list[bytes]:
    n = len(hashes)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: Sequence[bytes], complete: bool) -> list[bytes]:
    n = len(hashes)
    if m == n:
        return [] if complete else [mth(hashes)]
    k = split(n)
    if m <= k:
        return [*subproof(m, hashes[:k], complete), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


class Tiles:
    """The tiles of a growing tree. Counts reads."""

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self.frontier = Frontier()
        self.levels: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        for leaf in hashes:
            for tile in self.frontier.append(leaf):
                self.levels[tile.level, tile.number] = tile.hashes
        self.levels |= {(at.level, at.number): tile for at, tile in self.frontier.tiles().items()}

    def read(self, at: TileRef) -> bytes:
        self.reads += 1
        return self.levels[at.level, at.number][: at.width * 32]
