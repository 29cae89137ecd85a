"""The Merkle tree over the log's entries: hashing, the growing tree, proofs and their verification.

Hashes and proofs are those of RFC 6962 §2.1; verification is that of RFC 9162 §2.1.3.2 and §2.1.4.2. The event at
position p is the leaf with index p - 1. Pure functions: callers pass in the hashes, and `tiles.py` has the tile format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256

from registry.errors import RegistryError
from registry.transparency.findings import Finding
from registry.transparency.tiles import TILE_HEIGHT, TILE_WIDTH, ReadTile, Tile, TileError, TileRef, tile_path

HASH_SIZE = 32
"""Bytes of a SHA-256 hash."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 §2.1)."""


class ProofError(RegistryError):
    """A proof does not verify."""

    code = "bad_proof"


class NotInTree(RegistryError):
    """A position or a tree size is beyond the tree."""

    code = "not_in_tree"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf, SHA-256(0x00 ‖ entry) (RFC 6962 §2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to add the next leaf and to compute the root.

    It holds the partial tile of every level, and the roots of the perfect subtrees that the tree consists of, largest
    first (one for each bit set in `size`). A leaf costs one inner hash on average, a root at most log2(size).
    To append leaves that may be rolled back, append them to a `copy()`.
    """

    __slots__ = ("_peaks", "_tails", "size")

    def __init__(self) -> None:
        self.size = 0
        self._tails = [bytearray()]
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> tuple[Tile, ...]:
        """Add a leaf hash. Returns the tiles that it completes, lowest level first: some at every 256th leaf."""
        if len(leaf) != HASH_SIZE:
            raise ValueError(f"a leaf hash has {HASH_SIZE} bytes, not {len(leaf)}")
        size = self.size
        peaks = self._peaks
        completed: tuple[Tile, ...] = ()
        self._tails[0] += leaf
        node = leaf
        height = 0
        while size >> height & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            height += 1
            if not height % TILE_HEIGHT:
                completed += (self._completed(height // TILE_HEIGHT - 1, node),)
        peaks.append(node)
        self.size = size + 1
        return completed

    def _completed(self, level: int, root: bytes) -> Tile:
        tail = self._tails[level]
        tile = Tile(level, self.size >> TILE_HEIGHT * (level + 1), bytes(tail), root)
        tail.clear()
        if level + 1 == len(self._tails):
            self._tails.append(bytearray())
        self._tails[level + 1] += root
        return tile

    def root(self) -> bytes:
        """The root of the tree."""
        return _fold(self._peaks)

    def tiles(self) -> dict[TileRef, bytes]:
        """The partial tiles, which `restore` needs."""
        return {ref: bytes(self._tails[ref.level]) for ref in frontier_tiles(self.size)}

    def copy(self) -> Frontier:
        """An independent frontier in the same state."""
        other = Frontier()
        other.size = self.size
        other._tails = [tail[:] for tail in self._tails]
        other._peaks = self._peaks[:]
        return other

    @classmethod
    def restore(cls, size: int, read_tile: ReadTile) -> Frontier:
        """The frontier of a tree of this size, from the partial tiles that `frontier_tiles(size)` lists.

        Raises:
            TileError: One of them has too few hashes.
        """
        frontier = cls()
        frontier.size = size
        tiles = _read(frontier_tiles(size), read_tile)
        by_level = {ref.level: tile for ref, tile in tiles.items()}
        frontier._tails = [bytearray(by_level.get(level, b"")) for level in range(max(by_level, default=0) + 1)]
        frontier._peaks = [_node(height, index, size, tiles) for height, index in _perfect_subtrees(0, size)]
        return frontier


def frontier_tiles(size: int) -> tuple[TileRef, ...]:
    """The partial tiles of a tree of this size, lowest level first (C2SP tlog-tiles, Partial Tiles)."""
    hashes = enumerate(size >> shift for shift in range(0, size.bit_length(), TILE_HEIGHT))
    return tuple(
        TileRef(level, count >> TILE_HEIGHT, count % TILE_WIDTH) for level, count in hashes if count % TILE_WIDTH
    )


def root_tiles(size: int) -> tuple[TileRef, ...]:
    """The tiles that `root_from_tiles` reads."""
    return _tiles_of([(0, size)], size)


def root_from_tiles(size: int, read_tile: ReadTile) -> bytes:
    """The root of the tree of this size. Raises TileError."""
    return _hashes_of([(0, size)], size, read_tile)[0]


def inclusion_tiles(index: int, size: int) -> tuple[TileRef, ...]:
    """The tiles that `inclusion_proof` reads. Raises NotInTree."""
    return _tiles_of(_audit_path(index, size), size)


def inclusion_proof(index: int, size: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    """The audit path of a leaf in the tree of `size` leaves (RFC 6962 §2.1.1), the leaf's sibling first.

    Reads each of `inclusion_tiles(index, size)` once. Raises NotInTree, TileError.
    """
    return _hashes_of(_audit_path(index, size), size, read_tile)


def consistency_tiles(old: int, new: int) -> tuple[TileRef, ...]:
    """The tiles that `consistency_proof` reads. Raises NotInTree."""
    return _tiles_of(_consistency_path(old, new), new)


def consistency_proof(old: int, new: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    """The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 6962 §2.1.2).

    Empty when the sizes are equal or `old` is 0: every tree is consistent with the empty tree. Reads each of
    `consistency_tiles(old, new)` once. Raises NotInTree, TileError.
    """
    return _hashes_of(_consistency_path(old, new), new, read_tile)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash is at `index` in the tree with this size and root (RFC 9162 §2.1.3.2).

    Does not check that size and root belong together: the checkpoint's signature does. Raises ProofError.
    """
    _all_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofError(reason=Finding("leaf_beyond_tree", index=index, size=size))
    _, computed = _fold_path(index, size - 1, leaf, proof)
    if computed != root:
        raise ProofError(reason=Finding("inclusion_root", index=index, size=size))


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162 §2.1.4.2).

    Rejects an empty old tree, because every tree is consistent with it. Raises ProofError.
    """
    _all_hashes(old_root, new_root, *proof)
    if not 0 < old <= new:
        raise ProofError(reason=Finding("consistency_sizes", old=old, new=new))
    if old == new:
        if proof or old_root != new_root:
            raise ProofError(reason=Finding("consistency_same_size", size=old))
        return
    if not proof:
        raise ProofError(reason=Finding("consistency_empty"))
    # A tree of 2^k leaves is a node of the larger tree, so the proof omits its root.
    node, *path = proof if old & (old - 1) else (old_root, *proof)
    height = (old & -old).bit_length() - 1
    old_computed, new_computed = _fold_path(old - 1 >> height, new - 1 >> height, node, path)
    if old_computed != old_root:
        raise ProofError(reason=Finding("consistency_root", size=old))
    if new_computed != new_root:
        raise ProofError(reason=Finding("consistency_root", size=new))


def _fold_path(index: int, last: int, node: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots computed from a node and its siblings: of the tree that ends with the node, and of the whole tree.

    `index` is the node's index in its level, `last` that of the level's last node: fn and sn of RFC 9162 §2.1.
    """
    until = whole = node
    for sibling in path:
        if not last:
            raise ProofError(reason=Finding("path_too_long", length=len(path)))
        if index & 1 or index == last:
            until = node_hash(sibling, until)
            whole = node_hash(sibling, whole)
            # The last node of a level, if it has no sibling, is the same node one level up.
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            whole = node_hash(whole, sibling)
        index >>= 1
        last >>= 1
    if last:
        raise ProofError(reason=Finding("path_too_short", length=len(path)))
    return until, whole


def _all_hashes(*hashes: bytes) -> None:
    # Otherwise a shorter and a longer sibling could concatenate to the same node
    # (test_merkle.py::test_verify_inclusion_rejects_hashes_of_another_length).
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError(reason=Finding("hash_length", size=HASH_SIZE))


def _split(count: int) -> int:
    """The largest power of two below `count`, where RFC 6962 §2.1 divides a tree of that many leaves."""
    return 1 << (count - 1).bit_length() - 1


def _audit_path(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots form the inclusion proof (PATH of RFC 6962 §2.1.1)."""
    if not 0 <= index < size:
        raise NotInTree("leaf", index=index, size=size)
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_path(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots form the consistency proof (SUBPROOF of RFC 6962 §2.1.2)."""
    if not 0 <= old <= new:
        raise NotInTree("tree", other=old, size=new)
    if not old:
        return []
    ranges = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:
        ranges.append((start, end))
    return ranges[::-1]


def _perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees (height, index), largest first, of a range of leaves that is a node in RFC 6962."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _tile_with(height: int, index: int, size: int) -> TileRef:
    level, above = divmod(height, TILE_HEIGHT)
    number = index << above >> TILE_HEIGHT
    return TileRef(level, number, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - number * TILE_WIDTH))


def _tiles_of(ranges: Iterable[tuple[int, int]], size: int) -> tuple[TileRef, ...]:
    nodes = (node for start, end in ranges for node in _perfect_subtrees(start, end))
    return tuple(dict.fromkeys(_tile_with(height, index, size) for height, index in nodes))


def _read(refs: Iterable[TileRef], read_tile: ReadTile) -> dict[TileRef, bytes]:
    tiles = {}
    for ref in refs:
        tile = read_tile(ref)
        if len(tile) < ref.width * HASH_SIZE:
            raise TileError(
                reason=Finding("tile_length", tile=tile_path(ref), length=len(tile), expected=ref.width * HASH_SIZE)
            )
        tiles[ref] = tile[: ref.width * HASH_SIZE]
    return tiles


def _node(height: int, index: int, size: int, tiles: dict[TileRef, bytes]) -> bytes:
    tile = tiles[_tile_with(height, index, size)]
    above = height % TILE_HEIGHT
    first = index % (TILE_WIDTH >> above) * HASH_SIZE
    return (_subtree_roots(tile)[above] if above else tile)[first : first + HASH_SIZE]


# A proof needs nearly all inner hashes of a few tiles, and the next proof those of the same upper tiles. Without the
# cache, most of the time goes into hashing them again. 64 tiles take one megabyte.
@lru_cache(maxsize=64)
def _subtree_roots(tile: bytes) -> tuple[bytes, ...]:
    """The roots of all perfect subtrees within a tile, concatenated by height; height 0 is the tile's own hashes."""
    levels = [tile]
    while len(below := levels[-1]) > HASH_SIZE:
        pairs = range(0, len(below) - HASH_SIZE, 2 * HASH_SIZE)
        levels.append(b"".join([sha256(b"\x01" + below[start : start + 2 * HASH_SIZE]).digest() for start in pairs]))
    return tuple(levels)


def _fold(subtrees: Sequence[bytes]) -> bytes:
    if not subtrees:
        return EMPTY_ROOT
    *larger, root = subtrees
    for subtree in reversed(larger):
        root = node_hash(subtree, root)
    return root


def _hashes_of(ranges: Sequence[tuple[int, int]], size: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    tiles = _read(_tiles_of(ranges, size), read_tile)
    return tuple(
        _fold([_node(height, index, size, tiles) for height, index in _perfect_subtrees(start, end)])
        for start, end in ranges
    )
