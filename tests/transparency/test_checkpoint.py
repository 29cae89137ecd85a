"""Notes, checkpoints and tlog-proofs interoperate with independent tools; changed ones do not verify."""

from __future__ import annotations

import base64

import metamorphic_log
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales.signing import CheckpointSigner, MLDSA44CosignatureSigner, PlainEd25519Signer, Vkey, VkeySet
from tlog_scales.tlog import Checkpoint as TheirCheckpoint
from tlog_scales.tlog import InclusionProof

from registry.transparency import checkpoint as notes
from registry.transparency.checkpoint import BadKey, Checkpoint, CheckpointError, Proof, SigningKey, VerifierKey
from registry.transparency.merkle import EMPTY_ROOT, ProofError, consistency_proof, inclusion_proof, root_from_tiles
from tests.transparency.findings import raises_finding
from tests.transparency.trees import Tiles, leaves

ORIGIN = "registry.example/log"
KEY = SigningKey.generate(ORIGIN)
OTHER = SigningKey.generate("witness.example/one")
LEAVES = leaves(300)
TILES = Tiles(LEAVES)


def head(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_from_tiles(size, TILES.read) if size else EMPTY_ROOT)


def signed(size: int, *more: SigningKey) -> str:
    body = head(size).body()
    return KEY.sign(body) + "".join(key.sign(body).rpartition("\n\n")[2] for key in more)


def one_bit_changes(data: bytes) -> list[bytes]:
    changes = []
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        changes.append(bytes(changed))
    return changes


# The examples of c2sp.org/signed-note (Verifier keys) and of the documentation of golang.org/x/mod/sumdb/note.
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_example_of_the_specification_verifies() -> None:
    key = VerifierKey.parse(SPEC_VKEY)
    note, signer = notes.verify_note(SPEC_NOTE, [key])
    assert (note.text, signer, str(key)) == ("This is an example message.\n", key, SPEC_VKEY)


def test_private_key_of_go_sumdb_note_round_trips() -> None:
    key = SigningKey.parse(GO_SKEY)
    assert (str(key.verifier), key.secret()) == (GO_VKEY, GO_SKEY)


def test_checkpoints_verify_with_independent_verifiers() -> None:
    for size in (0, 1, 2, 255, 256, 257, 300):
        note = signed(size)
        theirs = metamorphic_log.checkpoint_verify(note, [str(KEY.verifier)])
        assert (theirs.origin, theirs.size, theirs.root) == (ORIGIN, size, head(size).root)
        parsed = TheirCheckpoint.from_text(note)
        parsed.verify(Vkey.from_string(str(KEY.verifier)))
        assert (parsed.origin, parsed.size, parsed.root_hash) == (ORIGIN, size, head(size).root)
        assert notes.open_checkpoint(note, [KEY.verifier]) == head(size)


def test_checkpoints_of_independent_signers_verify() -> None:
    private = Ed25519PrivateKey.generate()
    signer = PlainEd25519Signer(ORIGIN, private)
    note = TheirCheckpoint.make_signed(ORIGIN, 300, head(300).root, [signer]).serialize()
    key = VerifierKey.parse(signer.vkey.serialize())  # type: ignore[no-untyped-call]
    assert notes.open_checkpoint(note, [key]) == head(300)
    assert SigningKey(ORIGIN, private).sign(head(300).body()) == note  # Ed25519 is deterministic: the same bytes


def test_cosignatures_of_an_unknown_type_are_ignored() -> None:
    signer = PlainEd25519Signer(ORIGIN, Ed25519PrivateKey.generate())
    witness = MLDSA44CosignatureSigner("witness.example/two", b"\x07" * 32)
    key = VerifierKey(ORIGIN, signer.vkey.pubkey)
    orders: list[list[CheckpointSigner]] = [[signer, witness], [witness, signer]]
    for order in orders:
        note = TheirCheckpoint.make_signed(ORIGIN, 300, head(300).root, order).serialize()
        assert notes.open_checkpoint(note, [key]) == head(300)


def test_checkpoint_with_one_changed_bit_does_not_verify() -> None:
    note = signed(300).encode()
    for changed in one_bit_changes(note):
        with pytest.raises(CheckpointError):
            notes.open_checkpoint(changed, [KEY.verifier])


def test_independent_verifiers_reject_one_changed_bit() -> None:
    note = signed(300)
    vkey = Vkey.from_string(str(KEY.verifier))
    for changed in one_bit_changes(note.encode()):
        with pytest.raises((metamorphic_log.VerifyError, UnicodeDecodeError)):
            metamorphic_log.checkpoint_verify(changed.decode(), [str(KEY.verifier)])
        # tlog-scales accepts other newlines and base64 forms, but parses them as what was signed.
        try:
            read = TheirCheckpoint.from_text(changed.decode())
            read.verify(vkey)
        except Exception:
            continue
        assert read.serialize() == note


def test_signatures_of_unknown_keys_are_ignored() -> None:
    namesake = SigningKey.generate(ORIGIN)  # the same name, another id
    for note in (signed(5, OTHER), signed(5, OTHER, namesake), signed(5, *[OTHER] * 20)):
        assert notes.open_checkpoint(note, [KEY.verifier]) == head(5)
        assert len(VkeySet(Vkey.from_string(str(KEY.verifier))).verify(
            TheirCheckpoint.from_text(note).signatures, TheirCheckpoint.from_text(note))) == 1  # fmt: skip
    text, _, lines = signed(5, OTHER).rpartition("\n\n")
    ours, theirs, _ = lines.split("\n")
    assert notes.open_checkpoint(f"{text}\n\n{theirs}\n{ours}\n", [KEY.verifier]) == head(5)


def test_note_without_a_signature_of_a_known_key_is_refused() -> None:
    with raises_finding(CheckpointError, "note_signer_unknown"):
        notes.open_checkpoint(signed(5), [OTHER.verifier])
    with raises_finding(CheckpointError, "note_signer_unknown"):
        notes.open_checkpoint(signed(5), [])


def test_note_with_a_forged_signature_of_a_known_key_is_refused() -> None:
    text, _, lines = signed(5, OTHER).rpartition("\n\n")
    forged = KEY.sign(head(6).body()).rpartition("\n\n")[2]
    with raises_finding(CheckpointError, "note_signature_wrong", key=ORIGIN):
        notes.open_checkpoint(f"{text}\n\n{lines}{forged}", [KEY.verifier, OTHER.verifier])


def test_checkpoint_signed_by_the_key_of_another_log_is_refused() -> None:
    note = OTHER.sign(head(5).body())
    with raises_finding(CheckpointError, "checkpoint_origin", origin=ORIGIN, key="witness.example/one"):
        notes.open_checkpoint(note, [OTHER.verifier])


NOTE = signed(5)
SIGNATURE = NOTE.rpartition("\n\n")[2]
BODY = head(5).body()


@pytest.mark.parametrize(
    "note",
    [
        "", "\n", "\n\n", BODY, f"{BODY}\n", f"{BODY}{SIGNATURE}", NOTE.rstrip("\n"), f"{NOTE}\n",
        f"{NOTE} ", NOTE.replace("— ", "- "), NOTE.replace("— ", "—"), NOTE.replace("— ", "—  "),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("=\n", "\n"), NOTE.replace(" registry.example/log ", "  "), f"{BODY}\n— {ORIGIN} AAAA\n",
        f"{BODY}\n— {ORIGIN} {SIGNATURE[2:]}", NOTE + SIGNATURE[:-1], NOTE + "\n" + SIGNATURE, "\t" + NOTE, "\0" + NOTE,
        f"{BODY}\n{SIGNATURE * 65}", f"{BODY}{'x' * (1 << 20)}\n\n{SIGNATURE}", NOTE.encode() + b"\xff",
        "\ud800" + NOTE,
    ],
)  # fmt: skip
def test_malformed_note_is_refused(note: str | bytes) -> None:
    with pytest.raises(CheckpointError):
        notes.open_checkpoint(note, [KEY.verifier])


ROOT = base64.b64encode(head(5).root).decode()


@pytest.mark.parametrize(
    "body",
    [
        f"{ORIGIN}\n5\n", f"\n5\n{ROOT}\n", f"{ORIGIN}\n\n{ROOT}\n", f"{ORIGIN}\n05\n{ROOT}\n",
        f"{ORIGIN}\n+5\n{ROOT}\n", f"{ORIGIN}\n-5\n{ROOT}\n", f"{ORIGIN}\n5 \n{ROOT}\n", f"{ORIGIN}\n٥\n{ROOT}\n",
        f"{ORIGIN}\n{1 << 63}\n{ROOT}\n", f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n", f"{ORIGIN}\n0\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT[:-4]}\n", f"{ORIGIN}\n5\n{ROOT[:-1]}\n", f"{ORIGIN}\n5\n!\n", f"{ORIGIN}\n5\n\n",
        f"{ORIGIN}\n5\n{ROOT}\n\n", f"{ORIGIN}\n5\n{ROOT}\nx\n\n", f"{ORIGIN}\n5\n{ROOT}\nno newline",
    ],
)  # fmt: skip
def test_signed_malformed_checkpoint_is_refused(body: str) -> None:
    with pytest.raises(CheckpointError):
        notes.open_checkpoint(KEY.sign(body), [KEY.verifier])


@pytest.mark.parametrize("control", ["\0", "\t", "\r", "\x0b", "\x1f"])
def test_signed_note_with_a_control_character_is_refused(control: str) -> None:
    with raises_finding(CheckpointError, "note_control_character"):
        notes.open_checkpoint(KEY.sign(f"{BODY}extension{control}line\n"), [KEY.verifier])


def test_extension_lines_round_trip() -> None:
    extended = Checkpoint(ORIGIN, 5, head(5).root, ("first line", "second line"))
    note = KEY.sign(extended.body())
    assert notes.open_checkpoint(note, [KEY.verifier]) == extended
    assert metamorphic_log.checkpoint_verify(note, [str(KEY.verifier)]).extensions == ["first line", "second line"]


@given(
    origin=st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1),
    size=st.integers(1, (1 << 63) - 1),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1), max_size=3),
)
def test_checkpoint_round_trips(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.body()) == checkpoint


@pytest.mark.parametrize(
    "vkey",
    [
        "", "x", "a+b", SPEC_VKEY[:-1], SPEC_VKEY + "=", SPEC_VKEY.replace("530d903a", "530d903b"), " " + SPEC_VKEY,
        SPEC_VKEY.replace("530d903a", "530D903A"), SPEC_VKEY.replace("example.com/foo", "example.com/bar"), GO_SKEY,
        SPEC_VKEY.replace("example.com/foo", ""), SPEC_VKEY.replace("example.com/foo", "example com"), f"{SPEC_VKEY}\n",
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # another length, a matching id
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # another type, a matching id
    ],
)  # fmt: skip
def test_malformed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(BadKey):
        VerifierKey.parse(vkey)


def test_key_with_one_changed_bit_is_refused() -> None:
    for parse, text in ((VerifierKey.parse, str(KEY.verifier)), (SigningKey.parse, KEY.secret())):
        for changed in one_bit_changes(text.encode()):
            with pytest.raises(BadKey):
                parse(changed.decode("latin-1"))


def test_private_key_appears_only_in_secret() -> None:
    seed = KEY.secret().split("+", 4)[4]
    assert seed not in repr(KEY) + str(KEY) + f"{KEY!r} {KEY}"
    with pytest.raises(BadKey) as broken:
        SigningKey.parse(KEY.secret() + "x")
    assert seed not in str(broken.value)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\tb", "a\u2003b", "a\u00a0b"])
def test_key_with_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(BadKey):
        SigningKey.generate(name)


def test_checkpoints_are_consistent_only_with_a_proof() -> None:
    for old, new in ((0, 5), (1, 5), (5, 5), (5, 300), (256, 257)):
        proof = consistency_proof(old, new, TILES.read)
        notes.verify_consistent(head(old), head(new), proof)
        if old:
            metamorphic_log.checkpoint_verify_consistency(signed(old), signed(new), [str(KEY.verifier)], list(proof))
    forged = Checkpoint(ORIGIN, 300, LEAVES[0])
    with pytest.raises(ProofError):
        notes.verify_consistent(head(5), forged, consistency_proof(5, 300, TILES.read))
    with pytest.raises(ProofError):
        notes.verify_consistent(head(300), head(5), ())
    with pytest.raises(ProofError):
        notes.verify_consistent(head(0), head(5), [LEAVES[0]])
    with raises_finding(ProofError, "consistency_origins"):
        notes.verify_consistent(head(5), Checkpoint("registry.example/other", 5, head(5).root), ())


def bundle(index: int, size: int, extra: bytes | None = None) -> Proof:
    return Proof(index, inclusion_proof(index, size, TILES.read), signed(size), extra)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 300), data=st.data(), extra=st.none() | st.binary(min_size=1, max_size=40))
def test_tlog_proof_round_trips_and_verifies_with_independent_verifiers(
    size: int, data: st.DataObject, extra: bytes | None
) -> None:
    index = data.draw(st.integers(0, size - 1))
    made = bundle(index, size, extra)
    read = Proof.parse(str(made))
    assert read == made
    assert read.verify(LEAVES[index], [KEY.verifier]) == head(size)
    metamorphic_log.checkpoint_verify_inclusion(
        read.checkpoint, [str(KEY.verifier)], read.index, LEAVES[index], list(read.path)
    )
    InclusionProof(read.index, size, list(read.path)).check(LEAVES[index], head(size).root)


def test_tlog_proof_has_the_format_of_the_specification() -> None:
    first, second = (base64.b64encode(node).decode() for node in inclusion_proof(2, 4, TILES.read))
    assert str(bundle(2, 4)) == f"c2sp.org/tlog-proof@v1\nindex 2\n{first}\n{second}\n\n{signed(4)}"
    assert str(bundle(0, 1)) == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{signed(1)}"
    assert str(bundle(0, 1, b"salt")) == f"c2sp.org/tlog-proof@v1\nextra c2FsdA==\nindex 0\n\n{signed(1)}"


def test_tlog_proof_or_leaf_with_one_changed_bit_does_not_verify() -> None:
    for changed in one_bit_changes(str(bundle(3, 5)).encode()):
        with pytest.raises((ProofError, CheckpointError)):
            Proof.parse(changed.decode("latin-1")).verify(LEAVES[3], [KEY.verifier])
    for leaf in one_bit_changes(LEAVES[3]):
        with pytest.raises(ProofError):
            bundle(3, 5).verify(leaf, [KEY.verifier])


BUNDLE = str(bundle(3, 5))


@pytest.mark.parametrize(
    "text",
    [
        "", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\n\n" + NOTE, BUNDLE.replace("@v1", "@v2"),
        "\n" + BUNDLE, BUNDLE.partition("\n\n")[0], BUNDLE.replace("\n", "\r\n"),
        BUNDLE.replace("index 3", "index 03"), BUNDLE.replace("index 3", "index -3"),
        BUNDLE.replace("index 3", "index"),
        BUNDLE.replace("index 3", "Index 3"), BUNDLE.replace("index 3", f"index {'9' * 5000}"),
        BUNDLE.replace("index 3\n", "index 3\n\n"), BUNDLE.replace("index 3", "index 3\nextra AAAA"),
        BUNDLE.replace("index", "extra \nindex"), BUNDLE.replace("index", "extra !\nindex"),
        BUNDLE.replace("index", "extra AAAA\nextra AAAA\nindex"), BUNDLE.replace("=\n", "\n", 1),
        BUNDLE.replace("\n\n", "\nAAAA\n\n", 1),
    ],
)  # fmt: skip
def test_malformed_tlog_proof_is_refused(text: str) -> None:
    with pytest.raises((ProofError, CheckpointError)):
        Proof.parse(text).verify(LEAVES[3], [KEY.verifier])
