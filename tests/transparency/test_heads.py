"""The tree of stream heads: RFC 6962 proofs of each stream's last event and of absence."""

from __future__ import annotations

from pathlib import Path

import metamorphic_log
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.transparency.checkpoint import Checkpoint, CheckpointError, SigningKey, open_checkpoint
from registry.transparency.heads import (
    BUCKETS,
    StreamHead,
    StreamHeadTree,
    bucket_of,
    heads_statement,
    open_heads,
    verify_head,
)
from registry.transparency.merkle import EMPTY_ROOT, ProofError, leaf_hash, node_hash
from registry.transparency.signer import Signer, SignerRefused, SignerStateCorrupt
from tests.transparency.findings import raises_finding
from tests.transparency.trees import mth

NAMES = [f"deal/d-{number}" for number in range(200)] + ["organization/d-1"]
KEY = SigningKey.generate("registry.example/log")
TREE = Checkpoint("registry.example/log", 7, bytes(range(32)))

streams = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(st.integers(1, 10_000), st.binary(min_size=32, max_size=32)), max_size=30
)


def heads_of(known: dict[str, tuple[int, bytes]]) -> list[StreamHead]:
    return [StreamHead(name, version, leaf) for name, (version, leaf) in known.items()]


def plainly(known: dict[str, tuple[int, bytes]]) -> bytes:
    """The root computed by its definition."""
    data = [b""] * BUCKETS
    for name in sorted(known, key=str.encode):
        version, leaf = known[name]
        data[bucket_of(name)] += f"{name} {version} {leaf.hex()}\n".encode()
    return mth([leaf_hash(each) for each in data])


@settings(max_examples=10, deadline=None)
@given(streams, streams)
def test_heads_root_is_independent_of_the_order_of_updates(
    first: dict[str, tuple[int, bytes]], then: dict[str, tuple[int, bytes]]
) -> None:
    heads = StreamHeadTree()
    heads.update(heads_of(first))
    heads.update(heads_of(then))
    assert heads.root() == plainly(first | then)


@settings(max_examples=30, deadline=None)
@given(streams, st.sampled_from(NAMES))
def test_every_head_and_every_absence_is_proved(known: dict[str, tuple[int, bytes]], name: str) -> None:
    heads = StreamHeadTree()
    heads.update(heads_of(known))
    proof = heads.prove(name)
    expected = StreamHead(name, *known[name]) if name in known else None
    assert verify_head(name, proof.lines, proof.path, heads.root()) == expected
    leaf = leaf_hash(proof.lines.encode())
    metamorphic_log.verify_inclusion(bucket_of(name), BUCKETS, leaf, list(proof.path), heads.root())


def test_head_proof_fails_for_another_stream_line_or_root() -> None:
    heads = StreamHeadTree()
    heads.update([StreamHead(name, 3, bytes(32)) for name in NAMES])
    proof = heads.prove("deal/d-1")
    for stream, lines, path, root in (
        ("deal/d-2", proof.lines, proof.path, heads.root()),
        ("deal/d-1", proof.lines.replace(" 3 ", " 4 "), proof.path, heads.root()),
        ("deal/d-1", "", proof.path, heads.root()),
        ("deal/d-1", proof.lines, proof.path[:-1], heads.root()),
        ("deal/d-1", proof.lines, (*proof.path[:3], bytes(32), *proof.path[4:]), heads.root()),
        ("deal/d-1", proof.lines, proof.path, bytes(32)),
    ):
        with pytest.raises(ProofError):
            verify_head(stream, lines, path, root)


@pytest.mark.parametrize(
    "lines",
    [
        "deal/d-1 3 00",
        "deal/d-1 3 zz\n",
        "deal/d-1 x 00\n",
        "deal/d-1 3\n",
        "deal/d-1 3 00 00\n",
        "deal/d-1 3 00\ndeal/d-1 4 00\n",
        "deal/d-2 3 00\n",
        "\n",
    ],
)
def test_malformed_leaf_of_heads_is_refused(lines: str) -> None:
    """A dishonest operator could sign such a root; the proof must fail."""
    data = [b""] * BUCKETS
    data[bucket_of("deal/d-1")] = lines.encode()
    levels = [[leaf_hash(each) for each in data]]
    path = []
    at = bucket_of("deal/d-1")
    while len(levels[-1]) > 1:
        path.append(levels[-1][at ^ 1])
        at >>= 1
        pairs = zip(levels[-1][::2], levels[-1][1::2], strict=True)
        levels.append([node_hash(left, right) for left, right in pairs])
    with pytest.raises(ProofError):
        verify_head("deal/d-1", lines, path, levels[-1][0])


def test_statement_of_heads_is_not_accepted_as_a_checkpoint() -> None:
    root = bytes(reversed(range(32)))
    note = KEY.sign(heads_statement(TREE, root).body())
    assert open_heads(note, [KEY.verifier]) == (TREE, root, KEY.verifier)
    with pytest.raises(CheckpointError):
        open_heads(KEY.sign(TREE.body()), [KEY.verifier])
    with pytest.raises(CheckpointError):
        open_checkpoint(note, [KEY.verifier])
    for changed in (
        heads_statement(TREE, root).body() + "more\n",
        heads_statement(TREE, root).body().replace("/heads", "/tails"),
        heads_statement(TREE, root).body().replace("heads ", "heads  "),
        heads_statement(TREE, b"short").body(),
    ):
        with pytest.raises(CheckpointError):
            open_heads(KEY.sign(changed), [KEY.verifier])
    data = note.encode()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError):
            open_heads(bytes(flipped), [KEY.verifier])


# --- signed statements of heads ---------------------------------------------------------------------------------------


def test_signer_refuses_other_heads_for_the_same_checkpoint(tmp_path: Path) -> None:
    signer = Signer.open(tmp_path / "signing.key", "registry.example/log")
    first, second = bytes(32), bytes(range(32))
    for size, root in ((0, EMPTY_ROOT), (1, first)):
        signer.sign(size, root, {})
        note = signer.sign_heads(second)
        assert open_heads(note, signer.verifiers())[:2] == (Checkpoint("registry.example/log", size, root), second)
        assert signer.sign_heads(second) == note
        for again in (signer, Signer.open(tmp_path / "signing.key", "registry.example/log")):
            with raises_finding(SignerRefused, "signer_heads_changed"):
                again.sign_heads(first)
    # A new key signs the same statement.
    key = signer.rotate()
    assert open_heads(signer.sign_heads(second), [key])[1] == second
    with pytest.raises(SignerRefused):
        signer.sign_heads(first)


def test_damaged_heads_file_is_an_error_and_a_missing_one_is_recreated(tmp_path: Path) -> None:
    signer = Signer.open(tmp_path / "signing.key", "registry.example/log")
    note = signer.sign_heads(bytes(32))
    kept = tmp_path / "signing.key.heads"
    for broken in (note[:-9], "", note.replace("heads ", "HEADS "), "\0"):
        kept.write_text(broken)
        with raises_finding(SignerStateCorrupt, "state_heads", file=str(kept)):
            signer.sign_heads(bytes(32))
    kept.unlink()
    assert signer.sign_heads(bytes(32)) == note
