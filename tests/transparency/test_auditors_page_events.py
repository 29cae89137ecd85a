"""The program that docs/auditors.md gives to auditors accepts what is so, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry.transparency.checkpoint import Checkpoint, Proof, SigningKey
from registry.transparency.merkle import inclusion_proof, leaf_hash, root_from_tiles
from tests.transparency.trees import Tiles

PAGE = Path(__file__).parents[2] / "docs" / "auditors.md"
ORIGIN = "registry.example/log"
KEY = SigningKey.generate(ORIGIN)
ENTRIES = [b'{"content":"%064x"}' % number for number in range(7)]
TILES = Tiles([leaf_hash(entry) for entry in ENTRIES])
NOTE = KEY.sign(Checkpoint(ORIGIN, 7, root_from_tiles(7, TILES.read)).body())


def check(tmp_path: Path, entry: bytes, proof: str, key: SigningKey = KEY) -> subprocess.CompletedProcess[str]:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "entry").write_bytes(entry)
    (tmp_path / "proof").write_text(proof)
    return subprocess.run(
        [sys.executable, "-I", "-c", program, tmp_path / "entry", tmp_path / "proof", str(key.verifier)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("index", [0, 3, 6])
def test_an_entry_is_proved(tmp_path: Path, index: int) -> None:
    proof = Proof(index, inclusion_proof(index, 7, TILES.read), NOTE, b"extra")
    done = check(tmp_path, ENTRIES[index], str(proof))
    assert (done.returncode, done.stdout) == (0, f"position {index + 1} of 7 in {ORIGIN}\n"), done.stderr


def test_what_is_not_so_is_not_proved(tmp_path: Path) -> None:
    path = inclusion_proof(3, 7, TILES.read)
    proof = str(Proof(3, path, NOTE))
    for entry, bundle, key in (
        (ENTRIES[2], proof, KEY),
        (ENTRIES[3] + b" ", proof, KEY),
        (ENTRIES[3], str(Proof(2, path, NOTE)), KEY),
        (ENTRIES[3], str(Proof(3, path[:-1], NOTE)), KEY),
        (ENTRIES[3], str(Proof(3, path, NOTE.replace("\n7\n", "\n8\n"))), KEY),
        (ENTRIES[3], proof, SigningKey.generate(ORIGIN)),
        (ENTRIES[3], str(Proof(3, path, SigningKey.generate(ORIGIN).sign(NOTE.partition("\n\n")[0] + "\n"))), KEY),
    ):
        done = check(tmp_path, entry, bundle, key)
        assert done.returncode != 0
        assert done.stdout == ""
