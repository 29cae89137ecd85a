"""Property 15: independent verifiers accept every served proof, checkpoint and tile, and reject changed ones."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import metamorphic_log
import pytest
from msgspec.structs import replace
from tlog_scales.backend import HttpBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint as TheirCheckpoint
from tlog_scales.tlog import ConsistencyProof, ConsistencyProofInvalid, InclusionProof, InclusionProofInvalid

from registry.infra.settings import Settings
from registry.transparency.checkpoint import Checkpoint, Proof, SigningKey
from registry.transparency.merkle import EMPTY_ROOT, ProofError, leaf_hash, verify_consistency, verify_inclusion
from tests.api.announcements import pledged, registered
from tests.service import Service, running
from tests.transparency.conftest import append_until, head, keys, post
from tests.transparency.trees import mth

SMALL = 40
LARGE = 600


async def leaves_of(service: Service) -> list[bytes]:
    rows = await service.pool.fetch("SELECT entry FROM events ORDER BY position")
    return [leaf_hash(row["entry"]) for row in rows]


async def get(service: Service, path: str, **headers: str) -> Any:
    answer = await service.visitor.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def unhex(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(node) for node in path]


async def test_empty_log_has_a_checkpoint_of_size_0(settings: Settings) -> None:
    async with running(replace(settings, admin_key=None)) as service:
        assert await head(service) == Checkpoint("registry.example/log", 0, EMPTY_ROOT)
        assert (await service.visitor.get("/log/tile/0/000")).status_code == 404


async def test_checkpoint_covers_every_event_acknowledged_before_the_request(service: Service) -> None:
    async def record(number: int) -> None:
        for step in range(5):
            (receipt,) = await post(service, f"plant-{number}-{step}", registered())
            assert (await head(service)).size >= receipt["position"]

    await asyncio.gather(*(record(number) for number in range(8)))
    assert (await head(service)).size == 42


async def test_every_served_proof_verifies_with_independent_verifiers(service: Service) -> None:
    await append_until(service, SMALL)
    leaves = await leaves_of(service)
    roots = [mth(leaves[:size]) for size in range(SMALL + 1)]
    for size in (1, 2, 3, 31, 32, 33, SMALL):
        for position in range(1, size + 1):
            served = (await get(service, f"/v1/log/proof/inclusion?position={position}&size={size}")).json()
            path, leaf = unhex(served["path"]), leaf_hash(served["entry"].encode())
            assert (leaf.hex(), served["root"]) == (served["leaf_hash"], roots[size].hex())
            verify_inclusion(position - 1, size, leaf, path, roots[size])
            metamorphic_log.verify_inclusion(position - 1, size, leaf, path, roots[size])
            InclusionProof(position - 1, size, path).check(leaf, roots[size])
    for new in (1, 2, 3, 17, 32, 33, SMALL):
        for old in range(1, new + 1):
            served = (await get(service, f"/v1/log/proof/consistency?from={old}&to={new}")).json()
            path = unhex(served["path"])
            assert (served["from_root"], served["to_root"]) == (roots[old].hex(), roots[new].hex())
            verify_consistency(old, new, path, roots[old], roots[new])
            metamorphic_log.verify_consistency(old, new, path, roots[old], roots[new])
            ConsistencyProof(old, new, path).check(roots[old], roots[new])


async def test_proofs_span_full_tiles_and_any_earlier_size(service: Service) -> None:
    await append_until(service, LARGE)
    leaves = await leaves_of(service)
    for position, size in ((1, 600), (256, 600), (257, 600), (512, 513), (600, 600), (1, 256), (255, 257), (300, 512)):
        served = (await get(service, f"/v1/log/proof/inclusion?position={position}&size={size}")).json()
        metamorphic_log.verify_inclusion(
            position - 1, size, leaves[position - 1], unhex(served["path"]), mth(leaves[:size])
        )
    for old, new in ((1, 600), (255, 256), (256, 600), (257, 512), (512, 600), (599, 600), (300, 599)):
        served = (await get(service, f"/v1/log/proof/consistency?from={old}&to={new}")).json()
        metamorphic_log.verify_consistency(old, new, unhex(served["path"]), mth(leaves[:old]), mth(leaves[:new]))


async def test_independent_verifiers_reject_served_data_with_one_changed_bit(service: Service) -> None:
    await append_until(service, 11)
    served = (await get(service, "/v1/log/proof/inclusion?position=3")).json()
    root = bytes.fromhex(served["root"])
    parts = [bytes.fromhex(served["leaf_hash"]), root, *unhex(served["path"])]
    for number in range(len(parts)):
        for bit in range(256):
            leaf, other, *path = (flipped(p, bit) if at == number else p for at, p in enumerate(parts))
            with pytest.raises(metamorphic_log.VerifyError):
                metamorphic_log.verify_inclusion(2, 11, leaf, path, other)
            with pytest.raises((InclusionProofInvalid, ConsistencyProofInvalid)):
                InclusionProof(2, 11, path).check(leaf, other)
            with pytest.raises(ProofError):
                verify_inclusion(2, 11, leaf, path, other)
    served = (await get(service, "/v1/log/proof/consistency?from=6")).json()
    parts = [bytes.fromhex(served["from_root"]), root, *unhex(served["path"])]
    for number in range(len(parts)):
        for bit in range(256):
            old, new, *path = (flipped(p, bit) if at == number else p for at, p in enumerate(parts))
            with pytest.raises(metamorphic_log.VerifyError):
                metamorphic_log.verify_consistency(6, 11, path, old, new)
            with pytest.raises((InclusionProofInvalid, ConsistencyProofInvalid)):
                ConsistencyProof(6, 11, path).check(old, new)
            with pytest.raises(ProofError):
                verify_consistency(6, 11, path, old, new)
    note = (await get(service, "/log/checkpoint")).content
    vkey = str((await keys(service))[0])
    metamorphic_log.checkpoint_verify(note.decode(), [vkey])
    for bit in range(len(note) * 8):
        with pytest.raises((metamorphic_log.VerifyError, UnicodeDecodeError)):
            metamorphic_log.checkpoint_verify(flipped(note, bit).decode(), [vkey])


async def test_independent_client_computes_the_root_from_the_tiles(service: Service) -> None:
    await append_until(service, LARGE)
    vkey = str((await keys(service))[0])

    def read() -> tuple[TheirCheckpoint, bytes, list[bytes], list[bytes], list[bytes]]:
        backend = HttpBackend(f"{service.url}/log")
        try:
            reader = TilesReader(backend)
            checkpoint = reader.get_checkpoint()
            checkpoint.verify(Vkey.from_string(vkey))
            entries = [reader.get_entry(index) for index in range(checkpoint.size)]
            inclusion = reader.get_inclusion_proof(300, checkpoint.size).node_hashes
            consistency = reader.get_consistency_proof(257, checkpoint.size).node_hashes
            return checkpoint, reader.calculate_root_hash(), entries, inclusion, consistency
        finally:
            backend.session.close()

    await head(service)  # sign a checkpoint that covers all events
    checkpoint, root, entries, inclusion, consistency = await asyncio.to_thread(read)
    assert (checkpoint.size, checkpoint.root_hash) == (LARGE, root)
    assert [leaf_hash(entry) for entry in entries] == await leaves_of(service)
    assert mth([leaf_hash(entry) for entry in entries]) == root
    assert inclusion == unhex((await get(service, "/v1/log/proof/inclusion?position=301")).json()["path"])
    assert consistency == unhex((await get(service, "/v1/log/proof/consistency?from=257")).json()["path"])


async def test_inclusion_proof_as_text_contains_and_proves_its_entry(service: Service) -> None:
    await append_until(service, 20)
    answer = await get(service, "/v1/log/proof/inclusion?position=7", accept="text/plain")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    proof = Proof.parse(answer.text)
    assert proof.extra is not None
    assert proof.verify(leaf_hash(proof.extra), await keys(service)).size == 20
    assert proof.extra == await service.pool.fetchval("SELECT entry FROM events WHERE position = 7")
    served = metamorphic_log.checkpoint_verify(proof.checkpoint, [str((await keys(service))[0])])
    metamorphic_log.verify_inclusion(6, served.size, leaf_hash(proof.extra), list(proof.path), served.root)


async def test_consistency_proof_as_text_is_a_witness_request(service: Service) -> None:
    await append_until(service, 20)
    answer = await get(service, "/v1/log/proof/consistency?from=7", accept="text/plain")
    first, _, rest = answer.text.partition("\n")
    path, _, note = rest.partition("\n\n")
    assert first == "old 7"
    assert note == (await get(service, "/v1/log/checkpoint")).text
    json = (await get(service, "/v1/log/proof/consistency?from=7")).json()
    assert [base64.b64decode(line).hex() for line in path.split("\n")] == json["path"]


async def test_proof_at_an_earlier_size_has_the_checkpoint_of_that_size(
    service: Service,
) -> None:
    await append_until(service, 5)
    note = (await get(service, "/log/checkpoint")).text
    await append_until(service, 20)
    await head(service)
    assert (await get(service, "/v1/log/proof/inclusion?position=2&size=5")).json()["checkpoint"] == note
    proof = Proof.parse((await get(service, "/v1/log/proof/inclusion?position=2&size=5", accept="text/plain")).text)
    assert proof.checkpoint == note
    (unsigned, *_) = [size for size in range(6, 20) if not await _signed(service, size)]
    assert (await get(service, f"/v1/log/proof/inclusion?position=2&size={unsigned}")).json()["checkpoint"] is None
    refused = await service.visitor.get(
        f"/v1/log/proof/inclusion?position=2&size={unsigned}", headers={"accept": "text/plain"}
    )
    assert (refused.status_code, refused.json()["parameter"]) == (400, "size")


async def _signed(service: Service, size: int) -> bool:
    return bool(await service.pool.fetchval("SELECT EXISTS (SELECT FROM checkpoints WHERE size = $1)", size))


WRONG_PARAMETERS = (
    "/v1/log/proof/inclusion",
    "/v1/log/proof/inclusion?position=0",
    "/v1/log/proof/inclusion?position=10",
    "/v1/log/proof/inclusion?position=4&size=3",
    "/v1/log/proof/inclusion?position=4&size=10",
    "/v1/log/proof/inclusion?position=-1",
    "/v1/log/proof/inclusion?position=1&position=2",
    "/v1/log/proof/inclusion?position=1e3",
    "/v1/log/proof/inclusion?postion=1",
    "/v1/log/proof/inclusion?position=1&size=0",
    "/v1/log/proof/consistency",
    "/v1/log/proof/consistency?from=10",
    "/v1/log/proof/consistency?from=5&to=4",
    "/v1/log/proof/consistency?from=5&to=10",
    "/v1/log/proof/consistency?to=5",
    "/v1/log/checkpoint?size=3",
)


async def test_proof_request_with_a_wrong_parameter_is_a_bad_request(service: Service) -> None:
    await append_until(service, 9)
    for path in WRONG_PARAMETERS:
        answer = await service.visitor.get(path)
        assert (answer.status_code, answer.json()["status"]) == (400, 400), path


async def test_tiles_are_immutable_and_checkpoints_are_not_cached(service: Service) -> None:
    await append_until(service, 300)
    await head(service)
    for path in ("0/000", "0/001.p/44", "0/000.p/7", "1/000.p/1", "entries/000", "entries/001.p/44"):
        answer = await get(service, f"/log/tile/{path}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert (await service.visitor.head(f"/log/tile/{path}")).status_code == 200
    for path in ("/log/checkpoint", "/v1/log/proof/inclusion?position=1", "/v1/log/keys"):
        assert (await get(service, path)).headers["cache-control"] == "no-cache"
    full = (await get(service, "/log/tile/0/000")).content
    assert len(full) == 8192
    assert (await get(service, "/log/tile/0/000.p/7")).content == full[: 7 * 32]
    for path in (
        "0/001", "0/001.p/45", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "0/0", "0/x000/000", "0/000.p/256",
        "0/000.p/0", "-1/000", "64/000", "entries/001", "entries/001.p/45", "data/000", "", "0", "..%2F..%2Fetc/passwd",
    ):  # fmt: skip
        assert (await service.visitor.get(f"/log/tile/{path}")).status_code == 404, path


async def test_tiles_beyond_the_newest_checkpoint_are_not_served(settings: Settings) -> None:
    async with running(replace(settings, checkpoint_seconds=3600)) as service:
        await append_until(service, 10)
        await head(service)
        await append_until(service, 15)
        assert (await service.visitor.get("/log/tile/0/000.p/10")).status_code == 200
        assert (await service.visitor.get("/log/tile/0/000.p/11")).status_code == 404
        await head(service)
        assert (await service.visitor.get("/log/tile/0/000.p/15")).status_code == 200


async def test_evidence_of_a_private_registry_needs_an_api_key(settings: Settings) -> None:
    async with running(replace(settings, public_read=False)) as service:
        await post(service, "plant", registered(), pledged())
        for path in (
            "/log/checkpoint",
            "/v1/log/checkpoint",
            "/v1/log/keys",
            "/log/tile/0/000.p/1",
            "/v1/log/proof/inclusion?position=1",
            "/v1/log/proof/consistency?from=1",
            "/v1/deals/plant?certificate=true",
        ):
            assert (await service.visitor.get(path)).status_code == 401
            assert (await service.client.get(path)).status_code == 200
        tile = await service.client.get("/log/tile/0/000.p/1")
        assert tile.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_checkpoint_does_not_verify_with_another_key(service: Service) -> None:
    stranger = SigningKey.generate("registry.example/log").verifier
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify((await get(service, "/log/checkpoint")).text, [str(stranger)])
