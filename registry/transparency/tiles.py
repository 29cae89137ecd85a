"""Tiles and entry bundles of C2SP tlog-tiles: what they are, their paths, and their bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct

from registry.errors import RegistryError
from registry.transparency.findings import Finding

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes in a full tile, entries in a full bundle."""

MAX_LEVEL = 63

MAX_ENTRY = 0xFFFF
"""Bytes of the largest entry: a bundle stores its length as a uint16 (C2SP tlog-tiles, Log entries)."""


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
    """Identifies a tile: its level, its number within the level, and how many of its 256 hashes exist (1 to 256).

    The width depends on the size of the tree. A tuple, so that a dict with (level, number, width) keys can be read
    with it.
    """

    level: int
    number: int
    width: int


class BundleRef(NamedTuple):
    """Identifies an entry bundle: it has the entries of the level-0 tile with this number and width."""

    number: int
    width: int


ReadTile = Callable[[TileRef], bytes]
"""Returns the first `width` hashes of a tile, concatenated. Further hashes are ignored, so a full tile can stand in for
a partial one."""


# Six groups of three digits reach 10^18 tiles, more than a 64-bit position can count.
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def tile_path(ref: TileRef | BundleRef) -> str:
    """`tile/<L>/<N>[.p/<W>]`, or `tile/entries/<N>[.p/<W>]`: number 1234067 is x001/x234/067 (C2SP tlog-tiles)."""
    number = ref.number
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    level = ref.level if isinstance(ref, TileRef) else "entries"
    return f"tile/{level}/{'/'.join(reversed(groups))}{'' if ref.width == TILE_WIDTH else f'.p/{ref.width}'}"


def parse_tile_path(path: str) -> TileRef | BundleRef:
    """Parse a path that `tile_path` wrote.

    Raises:
        TileError: The path is not the canonical one of a tile.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise TileError(reason=Finding("tile_path"))
    level, width = match["level"], int(match["width"] or TILE_WIDTH)
    number = int(match["number"].replace("x", "").replace("/", ""))
    ref = BundleRef(number, width) if level == "entries" else TileRef(int(level), number, width)
    if tile_path(ref) != path or (ref.width == TILE_WIDTH and match["width"]) or ref.width > TILE_WIDTH:
        raise TileError(reason=Finding("tile_path_not_canonical", limit=TILE_WIDTH - 1))
    if isinstance(ref, TileRef) and ref.level > MAX_LEVEL:
        raise TileError(reason=Finding("tile_level", limit=MAX_LEVEL))
    return ref


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Concatenate entries, each after its length as a big-endian uint16 (C2SP tlog-tiles, Log entries).

    Raises:
        EntryTooLarge: An entry exceeds MAX_ENTRY.
    """
    bundle = bytearray()
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise EntryTooLarge(size=len(entry), limit=MAX_ENTRY)
        bundle += len(entry).to_bytes(2)
        bundle += entry
    return bytes(bundle)
