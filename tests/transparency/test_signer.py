"""Property 17: the signer never signs a smaller or a different tree, after a crash, a restore, or with two writers.

Every way in which the signer loses its state or meets another tree is in this file; hence its length.
"""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

from registry.infra.files import write_durably
from registry.transparency import merkle
from registry.transparency.checkpoint import Checkpoint, CheckpointError, SigningKey, open_checkpoint
from registry.transparency.signer import Signer, SignerRefused, SignerStateCorrupt
from tests.transparency.findings import finding_of, raises_finding
from tests.transparency.trees import Tiles, leaves

ORIGIN = "registry.example/log"
TREE = Tiles(leaves(300))
FORKED = Tiles([*leaves(150), *(merkle.leaf_hash(b"another history %d" % number) for number in range(150))])


def root(size: int, tree: Tiles = TREE) -> bytes:
    return merkle.root_from_tiles(size, tree.read) if size else merkle.EMPTY_ROOT


def sign(signer: Signer, size: int, copies: Sequence[str] = (), tree: Tiles = TREE) -> str:
    """Sign like the service: with the proofs from each earlier checkpoint."""
    earlier = [head.size for head in signer.earlier(copies)]
    proofs = {old: merkle.consistency_proof(old, size, tree.read) for old in earlier if 0 < old < size}
    return signer.sign(size, root(size, tree), proofs, copies)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "log.key"


@pytest.fixture
def signer(path: Path) -> Signer:
    return Signer.open(path, ORIGIN)


def test_key_is_created_on_first_use_and_then_reused(path: Path) -> None:
    first = Signer.open(path, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.last() == Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
    before = files(path.parent)
    assert Signer.open(path, ORIGIN).verifiers() == first.verifiers()
    assert files(path.parent) == before
    assert sorted(before) == ["log.key", "log.key.head", "log.key.lock", "log.key.pub"]


def test_processes_that_start_at_once_share_one_key(path: Path) -> None:
    ready = threading.Barrier(6)
    keys: list[str] = []

    def start() -> None:
        ready.wait()
        keys.append(str(Signer.open(path, ORIGIN).verifiers()))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 6
    assert len(set(keys)) == 1


def test_consistent_checkpoints_are_signed_and_stored(signer: Signer, path: Path) -> None:
    for size in (0, 1, 2, 2, 100, 256, 257, 300):
        note = sign(signer, size)
        assert open_checkpoint(note, signer.verifiers()) == Checkpoint(ORIGIN, size, root(size)) == signer.last()
        assert path.with_name("log.key.head").read_text() == note
        assert Signer.open(path, ORIGIN).last().size == size


def test_smaller_tree_is_not_signed(signer: Signer, path: Path) -> None:
    sign(signer, 200)
    before = files(path.parent)
    for size in (199, 1, 0):
        with raises_finding(SignerRefused, "signer_log_shorter", earlier=200):
            sign(signer, size)
    assert files(path.parent) == before


def test_different_tree_of_the_same_size_is_not_signed(signer: Signer) -> None:
    sign(signer, 200)
    with raises_finding(SignerRefused, "signer_log_changed", earlier=200):
        sign(signer, 200, tree=FORKED)
    assert signer.last().root == root(200)


def test_tree_with_a_changed_past_is_not_signed(signer: Signer) -> None:
    sign(signer, 200)
    with raises_finding(SignerRefused, "signer_log_changed", earlier=200):
        sign(signer, 300, tree=FORKED)
    with raises_finding(SignerRefused, "signer_log_changed", earlier=200):
        signer.sign(300, root(300, FORKED), {200: merkle.consistency_proof(200, 300, TREE.read)})
    assert signer.last().size == 200


def test_tree_without_a_consistency_proof_is_not_signed(signer: Signer) -> None:
    sign(signer, 200)
    for proofs in ({}, {199: merkle.consistency_proof(199, 300, TREE.read)}):
        with raises_finding(SignerRefused, "signer_proof_missing", earlier=200):
            signer.sign(300, root(300), proofs)
    with pytest.raises(SignerRefused):
        signer.sign(300, root(300), {200: ()})
    assert signer.last().size == 200


def test_tree_that_grew_from_a_restored_backup_is_not_signed(signer: Signer) -> None:
    sign(signer, 200)
    restored_to_150_and_written_on = FORKED
    for size in (150, 200, 250):
        with pytest.raises(SignerRefused):
            sign(signer, size, tree=restored_to_150_and_written_on)
    sign(signer, 250)


def test_malformed_checkpoint_is_not_signed(signer: Signer) -> None:
    for size, wrong in ((5, b"short"), (-1, root(5)), (0, root(5)), (1 << 63, root(5))):
        with pytest.raises(CheckpointError):
            signer.sign(size, wrong, {})
    assert signer.last().size == 0


@settings(max_examples=30, deadline=None)
@given(requests=st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=12))
def test_all_signed_checkpoints_are_of_one_growing_tree(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[int, bool]]
) -> None:
    signer = Signer.open(tmp_path_factory.mktemp("keys") / "log.key", ORIGIN)
    signed: list[Checkpoint] = [signer.last()]
    for size, forked in requests:
        tree = FORKED if forked else TREE
        try:
            note = sign(signer, size, tree=tree)
        except SignerRefused:
            continue
        signed.append(open_checkpoint(note, signer.verifiers()))
    for earlier, later in pairwise(signed):
        assert earlier.size <= later.size
        assert any(
            earlier.root == root(earlier.size, tree) and later.root == root(later.size, tree) for tree in (TREE, FORKED)
        )
    assert signer.last() == signed[-1]


def test_one_of_two_signers_with_different_logs_is_refused(signer: Signer, path: Path) -> None:
    sign(signer, 100)
    for size in range(151, 160):
        ready = threading.Barrier(2)
        outcomes: dict[str, str | SignerRefused] = {}

        def write(
            name: str, tree: Tiles, size: int = size, ready: threading.Barrier = ready,
            outcomes: dict[str, str | SignerRefused] = outcomes,
        ) -> None:  # fmt: skip
            mine = Signer(path, ORIGIN)
            last = mine.last().size
            proofs = {old: merkle.consistency_proof(old, size, tree.read) for old in {last, 100}}
            ready.wait()
            try:
                outcomes[name] = mine.sign(size, root(size, tree), proofs)
            except SignerRefused as refused:
                outcomes[name] = refused

        threads = [
            threading.Thread(target=write, args=("one", TREE)),
            threading.Thread(target=write, args=("two", FORKED)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        notes = [outcome for outcome in outcomes.values() if isinstance(outcome, str)]
        assert len(outcomes) == 2
        assert len(notes) == 1
        assert open_checkpoint(notes[0], signer.verifiers()) == signer.last()


SIGNS_UNTIL_KILLED = """
import sys
from pathlib import Path
from registry.infra.files import write_durably
from registry.transparency import merkle
from registry.transparency.signer import Signer

signer = Signer.open(Path(sys.argv[1]), sys.argv[2])
frontier = merkle.Frontier()
for size in range(1, 250):
    old = frontier.copy()
    frontier.append(merkle.leaf_hash(b"entry %d" % (size - 1)))
    if size <= signer.last().size:
        continue
    tiles = {at[:2]: tile for at, tile in frontier.tiles().items()}
    proof = merkle.consistency_proof(size - 1, size, lambda at: tiles[at[:2]])
    print(signer.sign(size, frontier.root(), {size - 1: proof}), end="", flush=True)
"""


def test_killed_signer_has_stored_every_checkpoint_it_returned(path: Path) -> None:
    signer = Signer.open(path, ORIGIN)
    for heads in (1, 3, 7):
        with subprocess.Popen(
            [sys.executable, "-c", SIGNS_UNTIL_KILLED, str(path), ORIGIN],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(5 * heads)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        whole = [int(line) for line in lines if line.strip().isdigit()]
        given_away = whole[-1]
        remembered = signer.last()
        # At most one more checkpoint is stored than was returned: the one that was being signed.
        assert given_away <= remembered.size <= given_away + 1
        assert remembered.root == root(remembered.size)
        with pytest.raises(SignerRefused):
            sign(signer, given_away - 1)
    sign(signer, 300)


def test_checkpoint_stored_before_a_crash_is_returned_afterwards(signer: Signer) -> None:
    note = sign(signer, 200)  # the response is lost
    assert sign(Signer.open(signer.path, ORIGIN), 200) == note


def test_interrupted_write_leaves_the_last_checkpoint_unchanged(signer: Signer, path: Path) -> None:
    note = sign(signer, 200)
    path.with_name(".log.key.head.left").write_text(note[:40])
    assert Signer.open(path, ORIGIN).last().size == 200
    sign(signer, 250)


def test_write_durably_is_atomic(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_durably(target, "one", 0o600)
    with pytest.raises(UnicodeEncodeError):
        write_durably(target, "two\ud800", 0o600)
    assert files(tmp_path) == {"file": b"one"}


def test_signer_does_not_contradict_exported_copies(signer: Signer, path: Path) -> None:
    copies = [sign(signer, size) for size in (50, 100, 200)]
    sign(signer, 250, copies)
    older = path.with_name("log.key.head")
    older.write_text(copies[1])  # the key directory is restored from an older backup
    with raises_finding(SignerRefused, "signer_log_shorter", earlier=200):
        sign(signer, 150, copies)
    with raises_finding(SignerRefused, "signer_log_changed", earlier=200):
        sign(signer, 250, copies, tree=FORKED)
    assert signer.last().size == 100
    sign(signer, 200, copies)


def test_copy_of_another_log_is_refused(signer: Signer, tmp_path: Path) -> None:
    foreign = sign(Signer.open(tmp_path / "other" / "log.key", ORIGIN), 50)
    with pytest.raises(CheckpointError):
        sign(signer, 100, [foreign])
    with pytest.raises(CheckpointError):
        sign(signer, 100, ["not a checkpoint"])
    assert signer.last().size == 0


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("harm", [lose, cut, change, empty, no_text])
@pytest.mark.parametrize("file", ["log.key", "log.key.head", "log.key.pub"])
def test_missing_or_damaged_state_file_is_an_error_that_names_the_file(
    signer: Signer, path: Path, file: str, harm: Callable[[Path], None]
) -> None:
    note = sign(signer, 200)
    seed = path.read_text().strip().split("+", 4)[4]
    harm(path.with_name(file))
    left = files(path.parent)
    with pytest.raises(SignerStateCorrupt) as broken:
        Signer.open(path, ORIGIN)
    assert str(path.with_name(file)) in finding_of(broken.value).params.values()
    assert seed[:20] not in str(broken.value)
    assert "Errno" not in str(finding_of(broken.value).params)
    with pytest.raises(SignerStateCorrupt):
        signer.sign(200, root(200), {})
    assert files(path.parent) == left
    if file == "log.key.head":
        path.with_name(file).write_text(note)  # the remedy that the error names
        sign(Signer.open(path, ORIGIN), 250)


def test_signer_without_head_file_uses_the_newest_copy(signer: Signer, path: Path) -> None:
    copies = [sign(signer, size) for size in (50, 200, 250)]
    path.with_name("log.key.head").unlink()
    again = Signer.open(path, ORIGIN, [copies[1], copies[2], copies[0]])
    assert again.last().size == 250
    with pytest.raises(SignerRefused):
        sign(again, 200)


def test_missing_key_directory_is_not_recreated_while_there_are_copies(signer: Signer, path: Path) -> None:
    copy = sign(signer, 50)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(SignerStateCorrupt):
        Signer.open(path, ORIGIN, [copy])
    assert not path.exists()


def test_interrupted_first_use_starts_again(signer: Signer, path: Path) -> None:
    path.unlink()  # the key file is written last
    again = Signer.open(path, ORIGIN)
    assert again.verifiers() != ()
    sign(again, 5)


def test_checkpoints_verify_with_the_key_of_their_time_after_a_rotation(signer: Signer, path: Path) -> None:
    (old_key,) = signer.verifiers()
    old = sign(signer, 100)
    new_key = signer.rotate()
    assert signer.verifiers() == Signer.open(path, ORIGIN).verifiers() == (old_key, new_key)
    assert old_key.name == new_key.name == ORIGIN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    same, later = sign(signer, 100), sign(signer, 200, [old])
    for note in (same, later):
        assert open_checkpoint(note, [new_key]) == open_checkpoint(note, signer.verifiers())
        with pytest.raises(CheckpointError):
            open_checkpoint(note, [old_key])
    assert open_checkpoint(old, [old_key]) == open_checkpoint(same, [new_key])
    with pytest.raises(SignerRefused):
        sign(signer, 100)


def test_interrupted_rotation_leaves_the_old_key_signing(signer: Signer, path: Path) -> None:
    public = path.with_name("log.key.pub")
    public.write_text(public.read_text() + f"{SigningKey.generate(ORIGIN).verifier}\n")
    note = sign(Signer.open(path, ORIGIN), 5)
    assert open_checkpoint(note, [signer.verifiers()[0]]).size == 5


def test_rotation_replaces_a_lost_key_and_keeps_the_state(signer: Signer, path: Path) -> None:
    old = sign(signer, 200)
    path.unlink()
    signer.rotate()
    assert open_checkpoint(old, signer.verifiers()).size == 200
    with pytest.raises(SignerRefused):
        sign(signer, 150)
    sign(signer, 300)


def test_key_signs_only_for_its_own_log(signer: Signer, path: Path, tmp_path: Path) -> None:
    with pytest.raises(SignerStateCorrupt):
        Signer.open(path, "registry.example/other")
    for origin in ("", "two words", "a+b"):
        with raises_finding(SignerStateCorrupt, "key_name", name=origin):
            Signer.open(tmp_path / "new" / "log.key", origin)
    assert not (tmp_path / "new" / "log.key").exists()


def test_traceback_with_local_variables_does_not_show_the_key(signer: Signer, path: Path) -> None:
    seeds = {path.read_text().strip().split("+", 4)[4]}
    keep = path.read_text()
    shown = io.StringIO()

    def show(call: Callable[[], object]) -> None:
        with pytest.raises(SignerStateCorrupt) as broken:
            call()
        Console(file=shown, width=400).print(
            Traceback.from_exception(
                SignerStateCorrupt, broken.value, broken.tb, show_locals=True, locals_max_string=2000
            )
        )

    path.write_text(keep + "x")
    show(lambda: signer.sign(5, root(5), {}))
    path.write_bytes(keep.encode() + b"\xff")
    show(lambda: Signer.open(path, ORIGIN))
    path.unlink()
    path.mkdir()  # so that the new key cannot be written
    (path / "in the way").touch()
    show(signer.rotate)
    assert "SignerStateCorrupt" in shown.getvalue()
    assert not any(seed in shown.getvalue() for seed in seeds)
    assert "PRIVATE+KEY" not in shown.getvalue().replace("_PREFIX", "")
    assert path.name in repr(signer)
