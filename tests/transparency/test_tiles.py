"""Paths of tiles and entry bundles follow C2SP tlog-tiles; any other form is refused."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.transparency.tiles import (
    BundleRef,
    EntryTooLarge,
    TileError,
    TileRef,
    entry_bundle,
    parse_tile_path,
    tile_path,
)


@given(at=st.builds(TileRef, st.integers(0, 63), st.integers(0, 10**18 - 1), st.integers(1, 256)))
@example(at=TileRef(0, 1_234_067, 256))
def test_tile_path_round_trips(at: TileRef) -> None:
    assert parse_tile_path(tile_path(at)) == at
    bundle = BundleRef(at.number, at.width)
    assert parse_tile_path(tile_path(bundle)) == bundle


def test_tile_paths_match_the_specification() -> None:
    assert tile_path(TileRef(0, 1_234_067, 256)) == "tile/0/x001/x234/067"
    assert tile_path(TileRef(2, 5, 112)) == "tile/2/005.p/112"
    assert tile_path(BundleRef(1_000, 7)) == "tile/entries/x001/000.p/7"


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/1", "tile/0/0001", "tile/00/001", "tile/64/001", "tile/-1/001", "tile/Entries/001", "/tile/0/001",
        "tile/0/x000/001", "tile/0/001/002", "tile/0/x001", "tile/0/../001", "tile/0/٠٠١", "tile/0/001\n",
        "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/257", "tile/0/001.p/07", "tile/0/001.p/", "tile/0/001.p",
        "tile/0/" + "x001/" * 6 + "001",
    ],
)  # fmt: skip
def test_non_canonical_tile_path_is_refused(path: str) -> None:
    with pytest.raises(TileError):
        parse_tile_path(path)


@given(st.lists(st.binary(max_size=300), max_size=256))
@example([b"", b"x" * 65_535])
def test_entry_bundle_round_trips(entries: list[bytes]) -> None:
    bundle = io.BytesIO(entry_bundle(entries))
    # C2SP tlog-tiles: each entry follows its length as a big-endian uint16.
    assert [bundle.read(int.from_bytes(bundle.read(2))) for _ in entries] == entries
    assert bundle.read() == b""


def test_entry_over_the_size_limit_is_refused() -> None:
    with pytest.raises(EntryTooLarge) as refused:
        entry_bundle([b"x" * 65_536])
    assert refused.value.params == {"size": 65_536, "limit": 65_535}
