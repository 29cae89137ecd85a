"""docs/auditors.md: its commands and its program accept an honest log and reject a changed one."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from registry.transparency.checkpoint import Checkpoint, Proof, SigningKey
from registry.transparency.merkle import EMPTY_ROOT, inclusion_proof, leaf_hash, root_from_tiles
from tests.api.announcements import pledged, registered
from tests.preloaded import COMMAND, preloaded
from tests.service import Service
from tests.transparency.conftest import ORIGIN, append_until, as_superuser, head, keys, post
from tests.transparency.trees import Tiles

PAGE = Path(__file__).parents[2] / "docs" / "auditors.md"

# Replaces curl where it is not installed: fetches a URL and fails on an error status.
CURL = f"""#!{sys.executable}
import sys, urllib.request
arguments = sys.argv[1:]
to = arguments[arguments.index("-o") + 1] if "-o" in arguments else None
with urllib.request.urlopen(arguments[-1]) as answer, (open(to, "wb") if to else sys.stdout.buffer) as out:
    out.write(answer.read())
"""


def commands() -> str:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# \d\. ", block, re.MULTILINE)) == 5
    return str(block)


async def run(service: Service, tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    if shutil.which("curl") is None:
        (tools / "curl").write_text(CURL)
        (tools / "curl").chmod(0o755)
    preload = preloaded()
    path = os.pathsep.join([preload["PATH"], str(tools)])
    environment = {
        **preload,
        "PATH": path,
        "SITE": service.url,
        "KEY": str((await keys(service))[0]),
        "HOME": str(tmp_path),
    }
    return await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_documented_commands_verify_an_honest_service(service: Service, tmp_path: Path) -> None:
    await post(service, "plant", registered(), pledged())
    await append_until(service, 300)
    before, _, after = commands().partition("# 5. ")
    done = await run(service, tmp_path, before)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "300"
    assert '"title":{"en":"A plant"}' in lines[1]
    await append_until(service, 400)
    done = await run(service, tmp_path, f"# 5. {after}")
    assert (done.returncode, done.stdout) == (0, "unchanged up to 300 of 400\n"), done.stderr


async def test_documented_commands_fail_after_a_past_event_was_changed(
    service: Service, tmp_path: Path, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await append_until(service, 20)
    await head(service)
    before, _, after = commands().partition("# 5. ")
    assert (await run(service, tmp_path, before)).returncode == 0
    await as_superuser(owner, "UPDATE events SET entry = entry || ' ' WHERE position = 3")
    done = await run(service, tmp_path, before)
    assert done.returncode != 0
    assert "InclusionProofInvalid" in done.stderr
    await as_superuser(
        owner, "UPDATE events SET leaf_hash = sha256(leaf_hash) WHERE position = 5", "DELETE FROM checkpoints"
    )
    service.settings.signing_key.with_name("signing.key.head").unlink()  # as a dishonest operator would
    key = SigningKey.parse(service.settings.signing_key.read_text().strip())
    forged = key.sign(Checkpoint("registry.example/log", 0, EMPTY_ROOT).body())
    service.settings.signing_key.with_name("signing.key.head").write_text(forged)
    service.settings.signing_key.with_name("signing.key.heads").unlink()
    await append_until(service, 30)
    assert (await head(service)).size == 30  # signed with the right key
    done = await run(service, tmp_path, f"# 5. {after}")
    assert done.returncode != 0
    assert "VerifyError" in done.stderr


@pytest.mark.parametrize(
    "command", ["registry verify", "registry log keys", "registry log rotate-key", "registry log checkpoint"]
)
def test_documented_registry_commands_exist(command: str) -> None:
    assert command in PAGE.read_text()
    done = subprocess.run(
        [COMMAND, *command.split()[1:], "--help"],
        env=preloaded(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for flag in ("--key", "--checkpoint") if command == "registry verify" else ():
        assert flag in done.stdout


# --- the program ------------------------------------------------------------------------------------------------------

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
def test_documented_program_accepts_a_valid_proof(tmp_path: Path, index: int) -> None:
    proof = Proof(index, inclusion_proof(index, 7, TILES.read), NOTE, b"extra")
    done = check(tmp_path, ENTRIES[index], str(proof))
    assert (done.returncode, done.stdout) == (0, f"position {index + 1} of 7 in {ORIGIN}\n"), done.stderr


def test_documented_program_rejects_changed_proofs(tmp_path: Path) -> None:
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
