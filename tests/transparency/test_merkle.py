"""The Merkle tree agrees with RFC 6962, public test vectors and independent verifiers; changed proofs fail."""

from __future__ import annotations

import base64
import json
import random
import time
from pathlib import Path
from typing import Any

import metamorphic_log
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.tlog import ConsistencyProof, InclusionProof

from registry.transparency import merkle
from registry.transparency.merkle import Frontier
from registry.transparency.tiles import BundleRef, TileError, TileRef, entry_bundle, tile_path
from tests.conftest import examples
from tests.transparency.findings import raises_finding
from tests.transparency.trees import Tiles, leaves, mth, path, subproof

VECTORS = Path(__file__).parent.parent / "vectors" / "merkle"
SMALL = 67  # over 64: every shape of a tree with up to six levels, and the first with seven
LEAVES = leaves(70_000)  # the example of C2SP tlog-tiles: tiles on three levels


def vectors(kind: str) -> list[Any]:
    lines = (VECTORS / f"{kind}.ndjson").read_text().splitlines()
    assert len(lines) == 98
    return [pytest.param(vector, id=vector["name"]) for vector in map(json.loads, lines)]


def unbase64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def flipped(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data))


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return Tiles(LEAVES)


@pytest.mark.parametrize("vector", vectors("inclusion"))
def test_inclusion_vectors_have_their_expected_result(vector: dict[str, Any]) -> None:
    arguments = (
        vector["leafIdx"],
        vector["treeSize"],
        unbase64(vector["leafHash"]),
        [unbase64(each) for each in vector["proof"] or []],
        unbase64(vector["root"]),
    )
    if vector["wantErr"]:
        with pytest.raises(merkle.ProofError):
            merkle.verify_inclusion(*arguments)
    else:
        merkle.verify_inclusion(*arguments)


# The vector compares two equal "roots" of twelve bytes, which no SHA-256 tree has. Its authors' verifier does not check
# the length of a hash; ours does, because otherwise a shorter and a longer sibling could make the same node
# (test_verify_inclusion_rejects_hashes_of_another_length). All other vectors are followed.
STRICTER = "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"


@pytest.mark.parametrize("vector", vectors("consistency"))
def test_consistency_vectors_have_their_expected_result(vector: dict[str, Any]) -> None:
    arguments = (
        vector["size1"],
        vector["size2"],
        [unbase64(each) for each in vector["proof"] or []],
        unbase64(vector["root1"]),
        unbase64(vector["root2"]),
    )
    if vector["name"] == STRICTER:
        assert not vector["wantErr"]
        assert unbase64(vector["root1"]) == b"don't care 2"
    if vector["wantErr"] or vector["name"] == STRICTER:
        with pytest.raises(merkle.ProofError):
            merkle.verify_consistency(*arguments)
    else:
        merkle.verify_consistency(*arguments)


def test_small_trees_have_the_root_of_the_definition() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES[: SMALL + 1]):
        assert frontier.size == size
        assert frontier.root() == mth(LEAVES[:size])
        frontier.append(leaf)


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_root_from_tiles_is_the_root_of_the_definition(tiles: Tiles, size: int) -> None:
    assert merkle.root_from_tiles(size, tiles.read) == mth(LEAVES[:size])


def test_small_trees_have_inclusion_proofs_for_every_leaf(tiles: Tiles) -> None:
    for size in range(1, SMALL):
        root = mth(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, tiles.read)
            assert list(proof) == path(index, LEAVES[:size])
            merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
            InclusionProof(index, size, list(proof)).check(LEAVES[index], root)
            metamorphic_log.verify_inclusion(index, size, LEAVES[index], list(proof), root)


def test_small_trees_have_consistency_proofs_for_every_pair(tiles: Tiles) -> None:
    roots = [mth(LEAVES[:size]) for size in range(SMALL)]
    for new in range(1, SMALL):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, tiles.read)
            assert list(proof) == subproof(old, LEAVES[:new], True)
            merkle.verify_consistency(old, new, proof, roots[old], roots[new])
            ConsistencyProof(old, new, list(proof)).check(roots[old], roots[new])
            metamorphic_log.verify_consistency(old, new, list(proof), roots[old], roots[new])


sizes = st.integers(1, len(LEAVES)) | st.sampled_from([256, 257, 512, 65_535, 65_536, 65_537, 65_792, 65_793])


@settings(max_examples=examples(8), deadline=None)
@given(size=sizes, data=st.data())
def test_large_trees_have_the_proofs_of_the_definition(tiles: Tiles, size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    root = mth(LEAVES[:size])
    inclusion = merkle.inclusion_proof(index, size, tiles.read)
    consistency = merkle.consistency_proof(old, size, tiles.read)
    assert list(inclusion) == path(index, LEAVES[:size])
    assert list(consistency) == subproof(old, LEAVES[:size], True)
    merkle.verify_inclusion(index, size, LEAVES[index], inclusion, root)
    metamorphic_log.verify_inclusion(index, size, LEAVES[index], list(inclusion), root)
    InclusionProof(index, size, list(inclusion)).check(LEAVES[index], root)
    merkle.verify_consistency(old, size, consistency, mth(LEAVES[:old]), root)
    metamorphic_log.verify_consistency(old, size, list(consistency), mth(LEAVES[:old]), root)
    ConsistencyProof(old, size, list(consistency)).check(mth(LEAVES[:old]), root)


@settings(max_examples=examples(20), deadline=None)
@given(size=st.integers(1, 300), data=st.data())
def test_inclusion_proof_with_one_changed_bit_does_not_verify(tiles: Tiles, size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    parts = [LEAVES[index], mth(LEAVES[:size]), *merkle.inclusion_proof(index, size, tiles.read)]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = flipped(parts[part], bit)
    leaf, root, *proof = parts
    with pytest.raises(merkle.ProofError):
        merkle.verify_inclusion(index, size, leaf, proof, root)


@settings(max_examples=examples(20), deadline=None)
@given(size=st.integers(1, 300), data=st.data())
def test_inclusion_proof_verifies_only_for_its_leaf_index(tiles: Tiles, size: int, data: st.DataObject) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size + 1))
    assume(other != index)
    proof = merkle.inclusion_proof(index, size, tiles.read)
    with pytest.raises(merkle.ProofError):
        merkle.verify_inclusion(other, size, LEAVES[index], proof, mth(LEAVES[:size]))


@settings(max_examples=examples(20), deadline=None)
@given(new=st.integers(1, 300), data=st.data())
def test_consistency_proof_with_one_changed_bit_does_not_verify(tiles: Tiles, new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    parts = [mth(LEAVES[:old]), mth(LEAVES[:new]), *merkle.consistency_proof(old, new, tiles.read)]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = flipped(parts[part], bit)
    old_root, new_root, *proof = parts
    with pytest.raises(merkle.ProofError):
        merkle.verify_consistency(old, new, proof, old_root, new_root)


@settings(max_examples=examples(20), deadline=None)
@given(new=st.integers(2, 300), data=st.data())
def test_tree_with_a_changed_leaf_is_not_consistent_with_earlier_trees(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    forged = [*LEAVES[:new]]
    forged[changed] = merkle.leaf_hash(b"not what was recorded")
    proof = merkle.consistency_proof(old, new, Tiles(forged).read)
    with pytest.raises(merkle.ProofError):
        merkle.verify_consistency(old, new, proof, mth(LEAVES[:old]), mth(forged))


def test_verify_inclusion_rejects_hashes_of_another_length() -> None:
    left, right = LEAVES[:2]
    root = merkle.node_hash(left, right)
    merkle.verify_inclusion(0, 2, left, [right], root)
    with pytest.raises(merkle.ProofError):
        merkle.verify_inclusion(0, 2, left + right[:1], [right[1:]], root)


def test_proof_with_an_extra_sibling_is_refused() -> None:
    one, two, both = LEAVES[0], LEAVES[1], mth(LEAVES[:2])
    with raises_finding(merkle.ProofError, "path_too_long"):
        merkle.verify_inclusion(0, 1, two, [one], both)
    four = mth(LEAVES[:4])
    with raises_finding(merkle.ProofError, "path_too_long"):
        merkle.verify_consistency(1, 2, [two, mth(LEAVES[4:6])], one, merkle.node_hash(mth(LEAVES[4:6]), four))


def test_entry_cannot_be_taken_for_an_inner_node() -> None:
    root = mth(LEAVES[:2])
    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != root
    with pytest.raises(merkle.ProofError):
        merkle.verify_inclusion(0, 1, merkle.leaf_hash(LEAVES[0] + LEAVES[1]), [], root)


def test_example_of_tlog_tiles_has_its_partial_tiles(tiles: Tiles) -> None:
    assert merkle.frontier_tiles(70_000) == (TileRef(0, 273, 112), TileRef(1, 1, 17), TileRef(2, 0, 1))
    assert merkle.frontier_tiles(256) == (TileRef(1, 0, 1),)
    assert merkle.frontier_tiles(0) == ()
    full = [at for at, tile in tiles.levels.items() if len(tile) == 8192]
    assert sorted(full) == [*((0, index) for index in range(273)), (1, 0)]
    assert {tuple(at)[:2]: at.width for at in merkle.frontier_tiles(70_000)} == {
        at: len(tile) // 32 for at, tile in tiles.levels.items() if len(tile) < 8192
    }


def test_completed_tile_has_the_root_that_the_next_level_stores(tiles: Tiles) -> None:
    frontier = Frontier()
    completed = [tile for leaf in LEAVES for tile in frontier.append(leaf)]
    assert len(completed) == 274
    for tile in completed:
        assert tile.root == tiles.levels[tile.level + 1, tile.number // 256][tile.number % 256 * 32 :][:32]


@settings(max_examples=60, deadline=None)
@given(before=st.integers(0, 1200), after=st.integers(0, 600))
@example(before=256, after=256)
@example(before=0, after=1)
def test_restored_frontier_continues_like_the_original(before: int, after: int) -> None:
    whole = Tiles(LEAVES[:before])
    restored = Frontier.restore(before, whole.read)
    assert restored.root() == whole.frontier.root() == mth(LEAVES[:before])
    for leaf in LEAVES[before : before + after]:
        assert restored.append(leaf) == whole.frontier.append(leaf)
    assert restored.root() == whole.frontier.root() == mth(LEAVES[: before + after])
    assert restored.tiles() == whole.frontier.tiles()


def test_frontier_restored_at_three_levels_completes_two_tiles(tiles: Tiles) -> None:
    restored = Frontier.restore(65_535, tiles.read)
    (low, high) = restored.append(LEAVES[65_535])
    assert (low.level, low.number, high.level, high.number) == (0, 255, 1, 0)
    assert restored.root() == high.root == mth(LEAVES[:65_536])


def test_appending_to_a_copy_leaves_the_frontier_unchanged() -> None:
    frontier = Tiles(LEAVES[:250]).frontier
    tentative = frontier.copy()
    for leaf in leaves(10):
        tentative.append(leaf)
    assert (frontier.size, frontier.root()) == (250, mth(LEAVES[:250]))
    completed = [tile for leaf in LEAVES[250:600] for tile in frontier.append(leaf)]
    assert frontier.root() == mth(LEAVES[:600])
    assert [tile.hashes for tile in completed] == [b"".join(LEAVES[:256]), b"".join(LEAVES[256:512])]


def test_leaf_of_another_length_is_not_appended() -> None:
    frontier = Frontier()
    with pytest.raises(ValueError, match="32 bytes"):
        frontier.append(b"short")
    assert (frontier.size, frontier.root()) == (0, merkle.EMPTY_ROOT)


def test_proofs_outside_the_tree_are_refused(tiles: Tiles) -> None:
    for index, size in ((5, 5), (0, 0), (-1, 5)):
        with pytest.raises(merkle.NotInTree):
            merkle.inclusion_proof(index, size, tiles.read)
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(merkle.NotInTree):
            merkle.consistency_proof(old, new, tiles.read)
    assert merkle.consistency_proof(0, 5, tiles.read) == ()


def test_truncated_tile_is_an_error_that_names_the_tile(tiles: Tiles) -> None:
    with raises_finding(TileError, "tile_length", tile="tile/0/001.p/44", length=1376, expected=1408):
        merkle.inclusion_proof(260, 300, lambda at: tiles.read(at)[: 1408 - 32])


def test_full_tile_can_stand_in_for_a_partial_one(tiles: Tiles) -> None:
    restored = Frontier.restore(300, lambda at: tiles.levels[at.level, at.number])
    assert restored.tiles() == {TileRef(0, 1, 44): b"".join(LEAVES[256:300]), TileRef(1, 0, 1): mth(LEAVES[:256])}
    full = tiles.levels[0, 1]
    assert merkle.inclusion_proof(260, 300, {TileRef(0, 1, 44): full, TileRef(0, 0, 256): tiles.levels[0, 0],
                                             TileRef(1, 0, 1): tiles.levels[1, 0]}.__getitem__) == tuple(
        path(260, LEAVES[:300])
    )  # fmt: skip


@pytest.mark.drill
def test_proof_at_a_million_leaves_reads_at_most_five_tiles(record_property: Any) -> None:
    count = 1_000_000
    many = leaves(count)
    grown = Tiles(many)
    rng = random.Random(6962)
    for size in (count, 999_999, 700_001, 262_145):
        root = merkle.root_from_tiles(size, grown.read)
        slowest = 0.0
        for index in (0, size - 1, size // 2, *(rng.randrange(size) for _ in range(60))):
            grown.reads = 0
            start = time.perf_counter()
            proof = merkle.inclusion_proof(index, size, grown.read)
            slowest = max(slowest, time.perf_counter() - start)
            assert grown.reads == len(merkle.inclusion_tiles(index, size)) <= 5
            merkle.verify_inclusion(index, size, many[index], proof, root)
            grown.reads = 0
            old = max(1, index)
            consistency = merkle.consistency_proof(old, size, grown.read)
            assert grown.reads == len(merkle.consistency_tiles(old, size)) <= 5
            merkle.verify_consistency(old, size, consistency, merkle.root_from_tiles(old, grown.read), root)
        record_property(f"slowest_inclusion_proof_ms_at_{size}", round(slowest * 1000, 3))


def test_independent_client_reads_the_tiles_from_disk(tiles: Tiles, tmp_path: Path) -> None:
    for (level, index), hashes in tiles.levels.items():
        place = tmp_path / tile_path(TileRef(level, index, len(hashes) // 32))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(hashes)
    bundle = tmp_path / tile_path(BundleRef(273, 112))
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(entry_bundle(b"entry %d" % number for number in range(273 * 256, 70_000)))
    reader = TilesReader(LocalBackend(tmp_path))
    reader.set_size(70_000)
    assert reader.calculate_root_hash() == tiles.frontier.root()
    assert reader.get_inclusion_proof(69_999, 70_000).node_hashes == list(
        merkle.inclusion_proof(69_999, 70_000, tiles.read)
    )
    assert reader.get_consistency_proof(65_537, 70_000).node_hashes == list(
        merkle.consistency_proof(65_537, 70_000, tiles.read)
    )
    assert reader.get_entry(69_999) == b"entry 69999"
