"""The Merkle tree over the log's entries: hashes, tiles and proofs.

Hashing and proofs are those of RFC 6962 §2.1, their verification that of RFC 9162 §2.1.3.2 and §2.1.4.2; tiles, their
paths and entry bundles are those of C2SP tlog-tiles. The log's position p is the leaf with index p - 1.
Everything is computed from hashes that are handed in; nothing is ever read, written, signed or trusted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from msgspec import Struct

from registry.errors import RegistryError

HASH_SIZE = 32
"""Bytes of a SHA-256 hash."""

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes in a full tile, entries in a full bundle."""

MAX_ENTRY = 0xFFFF
"""Bytes of the largest entry that a bundle's uint16 length can tell (C2SP tlog-tiles, Log entries)."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 §2.1)."""


class ProofError(RegistryError):
    """A proof does not verify."""

    code = "bad_proof"


class NotInTree(RegistryError):
    """A position or a tree size is beyond the tree."""

    code = "not_in_tree"


class TileError(RegistryError):
    """A tile cannot be read."""

    code = "bad_tile"


class EntryTooLarge(RegistryError):
    """A log entry is over the limit of C2SP tlog-tiles, in bytes."""

    code = "entry_too_large"


class Tile(Struct, frozen=True):
    """A full tile: 256 hashes of one level (8,192 bytes), and the root over them: hash `number` of the level above."""

    level: int
    number: int
    hashes: bytes
    root: bytes


class TileRef(NamedTuple):
    """Where a tile stands: its level, its number within the level, and how many of its 256 hashes exist (1 to 256) in a
    tree of the size asked about. A tuple, so that a dict of tiles by (level, number, width) can be asked with it."""

    level: int
    number: int
    width: int


class BundleRef(NamedTuple):
    """Where a bundle of entries stands: it has the entries of the level-0 tile with this number and width."""

    number: int
    width: int


ReadTile = Callable[[TileRef], bytes]
"""Gives the first `width` hashes of a tile, concatenated; more are ignored, so a full tile can stand for a partial."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf, SHA-256(0x00 ‖ entry) (RFC 6962 §2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def tree_root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of the tree with these leaves (RFC 6962 §2.1)."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.append(leaf)
    return frontier.root()


class Frontier:
    """The right edge of a growing tree: what it takes to add the next leaf and to know the root.

    It holds the partial tile of every level, and the roots of the perfect subtrees that the tree falls into, largest
    first (one for each bit set in `size`): a leaf costs one inner hash on average, and a root at most log2(size).
    To append what may yet be rolled back, append to a `copy()` and keep whichever turned out to be true.
    """

    __slots__ = ("_peaks", "_tails", "size")

    def __init__(self) -> None:
        self.size = 0
        self._tails = [bytearray()]
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> tuple[Tile, ...]:
        """Adds a leaf by its hash; gives the tiles it completed, lowest level first: none but at every 256th leaf."""
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
        """The root of the tree as it stands."""
        return _fold(self._peaks)

    def tiles(self) -> dict[TileRef, bytes]:
        """The partial tiles, which are those that `restore` needs."""
        return {at: bytes(self._tails[at.level]) for at in frontier_tiles(self.size)}

    def copy(self) -> Frontier:
        """Another frontier in the same state, which goes its own way."""
        other = Frontier()
        other.size = self.size
        other._tails = [tail[:] for tail in self._tails]
        other._peaks = self._peaks[:]
        return other

    @classmethod
    def restore(cls, size: int, read_tile: ReadTile) -> Frontier:
        """The frontier of a tree of this size, from the partial tiles that `frontier_tiles(size)` names.

        Raises TileError when one of them has fewer hashes than it must."""
        frontier = cls()
        frontier.size = size
        tiles = _read(frontier_tiles(size), read_tile)
        by_level = {at.level: tile for at, tile in tiles.items()}
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
    """The root of the tree when it had this size. Raises TileError."""
    return _hashes_of([(0, size)], size, read_tile)[0]


def inclusion_tiles(index: int, size: int) -> tuple[TileRef, ...]:
    """The tiles that `inclusion_proof` reads. Raises NotInTree."""
    return _tiles_of(_audit_path(index, size), size)


def inclusion_proof(index: int, size: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    """The audit path of a leaf in the tree when it had `size` leaves (RFC 6962 §2.1.1), the leaf's sibling first.

    Reads each of `inclusion_tiles(index, size)` once. Raises NotInTree, TileError."""
    return _hashes_of(_audit_path(index, size), size, read_tile)


def consistency_tiles(old: int, new: int) -> tuple[TileRef, ...]:
    """The tiles that `consistency_proof` reads. Raises NotInTree."""
    return _tiles_of(_consistency_path(old, new), new)


def consistency_proof(old: int, new: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    """The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 6962 §2.1.2).

    Empty when the sizes are equal, and from an empty tree, with which every tree is consistent. Reads each of
    `consistency_tiles(old, new)` once. Raises NotInTree, TileError."""
    return _hashes_of(_consistency_path(old, new), new, read_tile)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that the leaf hash stands at `index` of the tree with this size and root (RFC 9162 §2.1.3.2).

    The size is taken as given: it is the checkpoint's signature that ties it to the root. Raises ProofError."""
    _all_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofError(reason=f"leaf {index} does not lie in a tree of {size} leaves.")
    _, computed = _fold_path(index, size - 1, leaf, proof)
    if computed != root:
        raise ProofError(reason=f"leaf {index} leads to another root than that of the tree of {size} leaves.")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Checks that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162 §2.1.4.2).

    An empty tree is refused: it says nothing that a later one could contradict. Raises ProofError."""
    _all_hashes(old_root, new_root, *proof)
    if not 0 < old <= new:
        raise ProofError(reason=f"a tree of {old} leaves is no beginning of one of {new} that could be proved.")
    if old == new:
        if proof or old_root != new_root:
            raise ProofError(reason=f"two trees of {old} leaves are consistent only if their roots are the same.")
        return
    if not proof:
        raise ProofError(reason="it is empty.")
    # A tree of 2^k leaves is itself a node of the larger one, so the proof leaves it out.
    node, *path = proof if old & (old - 1) else (old_root, *proof)
    height = (old & -old).bit_length() - 1
    old_computed, new_computed = _fold_path(old - 1 >> height, new - 1 >> height, node, path)
    if old_computed != old_root:
        raise ProofError(reason=f"it leads to another root than that of the tree of {old} leaves.")
    if new_computed != new_root:
        raise ProofError(reason=f"it leads to another root than that of the tree of {new} leaves.")


def _fold_path(index: int, last: int, node: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots that a node leads to with its siblings: of the tree that ends with it, and of the whole.

    `index` is its place among the nodes of its level, `last` that of the last: fn and sn of RFC 9162 §2.1."""
    until = whole = node
    for sibling in path:
        if not last:
            raise ProofError(reason=f"it has {len(path)} siblings, which is too many.")
        if index & 1 or index == last:
            until = node_hash(sibling, until)
            whole = node_hash(sibling, whole)
            # The last node of a level without a partner is the same node one level up: no hash is spent on it.
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            whole = node_hash(whole, sibling)
        index >>= 1
        last >>= 1
    if last:
        raise ProofError(reason=f"it has {len(path)} siblings, which is too few.")
    return until, whole


def _all_hashes(*hashes: bytes) -> None:
    # Without this, a shorter and a longer neighbour could trade bytes and still concatenate to the same node.
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError(reason=f"a SHA-256 hash has {HASH_SIZE} bytes, and one of these has not.")


def _split(count: int) -> int:
    """The largest power of two below `count`, where RFC 6962 §2.1 divides a tree of that many leaves."""
    return 1 << (count - 1).bit_length() - 1


def _audit_path(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots make up the inclusion proof (PATH of RFC 6962 §2.1.1)."""
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
    """The ranges of leaves whose roots make up the consistency proof (SUBPROOF of RFC 6962 §2.1.2)."""
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
    """The perfect subtrees (height, index), largest first, into which a range falls that RFC 6962 makes a node of."""
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


def _read(places: Iterable[TileRef], read_tile: ReadTile) -> dict[TileRef, bytes]:
    tiles = {}
    for at in places:
        tile = read_tile(at)
        if len(tile) < at.width * HASH_SIZE:
            raise TileError(
                reason=f"{tile_path(at)} has {len(tile)} bytes where a tree of this size has {at.width * HASH_SIZE}."
            )
        tiles[at] = tile[: at.width * HASH_SIZE]
    return tiles


def _node(height: int, index: int, size: int, tiles: dict[TileRef, bytes]) -> bytes:
    tile = tiles[_tile_with(height, index, size)]
    above = height % TILE_HEIGHT
    first = index % (TILE_WIDTH >> above) * HASH_SIZE
    return (_within(tile)[above] if above else tile)[first : first + HASH_SIZE]


# A proof needs nearly all inner hashes of a few tiles, and the next one the same upper tiles': without this, most of
# its time goes into hashing them again. 64 tiles are one megabyte.
@lru_cache(maxsize=64)
def _within(tile: bytes) -> tuple[bytes, ...]:
    """The hashes of all perfect subtrees within a tile, concatenated by height, beginning with its own hashes."""
    levels = [tile]
    while len(below := levels[-1]) > HASH_SIZE:
        pairs = range(0, len(below) - HASH_SIZE, 2 * HASH_SIZE)
        levels.append(b"".join([sha256(b"\x01" + below[at : at + 2 * HASH_SIZE]).digest() for at in pairs]))
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


# Six groups of three digits reach 10^18 tiles, beyond what a 64-bit position can count.
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def tile_path(at: TileRef | BundleRef) -> str:
    """`tile/<L>/<N>[.p/<W>]`, or `tile/entries/<N>[.p/<W>]`: number 1234067 is x001/x234/067 (C2SP tlog-tiles)."""
    number = at.number
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    level = at.level if isinstance(at, TileRef) else "entries"
    return f"tile/{level}/{'/'.join(reversed(groups))}{'' if at.width == TILE_WIDTH else f'.p/{at.width}'}"


def parse_tile_path(path: str) -> TileRef | BundleRef:
    """What `tile_path` wrote. Raises TileError unless the path is the one that is canonical for its tile."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise TileError(reason="its path is not the tile/<L>/<N>[.p/<W>] of C2SP tlog-tiles.")
    level, width = found["level"], int(found["width"] or TILE_WIDTH)
    number = int(found["number"].replace("x", "").replace("/", ""))
    at = BundleRef(number, width) if level == "entries" else TileRef(int(level), number, width)
    if tile_path(at) != path or (at.width == TILE_WIDTH and found["width"]) or at.width > TILE_WIDTH:
        raise TileError(reason=f"the canonical path has no leading x000, and a width of 1 to {TILE_WIDTH - 1}.")
    if isinstance(at, TileRef) and at.level > 63:
        raise TileError(reason="levels go from 0 to 63.")
    return at


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after the other, each behind its length as a big-endian uint16 (C2SP tlog-tiles, Log entries).

    Raises EntryTooLarge."""
    bundle = bytearray()
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise EntryTooLarge(size=len(entry), limit=MAX_ENTRY)
        bundle += len(entry).to_bytes(2)
        bundle += entry
    return bytes(bundle)


def parse_entry_bundle(bundle: bytes) -> list[bytes]:
    """The entries of a bundle. Raises TileError when it is cut off or has more than 256."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        start = at + 2
        at = start + int.from_bytes(bundle[at:start])
        if at > len(bundle) or len(entries) == TILE_WIDTH:
            raise TileError(reason=f"the entry bundle is cut off, or has more than {TILE_WIDTH} entries.")
        entries.append(bundle[start:at])
    return entries
