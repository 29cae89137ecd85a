"""A mirror cosigns the checkpoints of its origin (C2SP tlog-witness), and a verifier can demand it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from msgspec import Struct
from msgspec.structs import replace
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint as OtherCheckpoint

from registry.errors import LogCorrupt
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import CheckpointError, VerifierKey, parse_note
from registry.transparency.cosignatures import CosigningKey, Quorum, WitnessKey, cosigners
from registry.transparency.witness_request import WitnessRequest
from tests.api.announcements import pledged, registered
from tests.databases import Server
from tests.mirror.conftest import caught_up
from tests.mirror.questions import answers, differences
from tests.mirror.test_contradictions import twins
from tests.service import Service, running
from tests.transparency.conftest import post

Mirror = Callable[..., Any]
NAME = "mirror.example/witness"


class Witnessed(Struct):
    """A registry, the mirror that witnesses it, and the witness's key."""

    origin: Service
    mirror: Service
    key: WitnessKey


@asynccontextmanager
async def witnessed(first: Service, mirror: Mirror, **more: Any) -> AsyncIterator[Witnessed]:
    """Run a mirror that is a witness, and a service of the registry that asks it."""
    async with mirror(first.url, witness_name=NAME) as copy:
        key = (await copy.visitor.get("/log/witness/key")).text.strip()
        settings = replace(first.settings, witnesses=(key, f"{copy.url}/log/witness"), **more)
        async with running(settings) as origin:
            yield Witnessed(origin, copy, WitnessKey.parse(key))


async def consistency(service: Service, old: int) -> str:
    """The body of an add-checkpoint request."""
    answer = await service.visitor.get(f"/v1/log/proof/consistency?from={old}", headers={"accept": "text/plain"})
    assert answer.status_code == 200
    return answer.text


async def test_checkpoints_carry_cosignatures_that_another_verifier_accepts(origin: Service, mirror: Mirror) -> None:
    async with witnessed(origin, mirror) as all:
        await post(all.origin, "later", registered("Later"))
        note = (await all.origin.visitor.get("/log/checkpoint")).text
        assert cosigners(note, [all.key]) == [all.key]
        # By an implementation of other authors.
        other = Vkey.from_string(str(all.key))
        parsed = parse_note(note)
        line = next(one for one in parsed.signatures if one.name == NAME)
        assert line.key_id == other.key_id.to_bytes(4)
        other.get_verifier().verify(line.signature, OtherCheckpoint.from_text(note))
        certificate = (await all.origin.visitor.get("/v1/deals/later?certificate=true")).content
        keys = [VerifierKey.parse(key) for key in (await all.origin.visitor.get("/v1/log/keys")).text.split()]
        assert verify_bundle(certificate, keys, Quorum(1, (all.key,))).size == await origin.size()
        with pytest.raises(LogCorrupt):
            verify_bundle(certificate, keys, Quorum(2, (all.key,)))
        stranger = CosigningKey.generate(NAME).public
        with pytest.raises(LogCorrupt):
            verify_bundle(certificate, keys, Quorum(1, (stranger,)))
        await caught_up(all.mirror, all.origin)
        asked = ["/log/checkpoint", "/v1/deals/later?certificate=true", "/v1/log/checkpoints?limit=1000"]
        assert differences(await answers(all.origin, asked), await answers(all.mirror, asked)) == []
        # The witness serves what it has cosigned.
        hash = sha256(origin.settings.log_origin.encode()).hexdigest()
        served = (await all.mirror.visitor.get(f"/log/witness/{hash}/checkpoint")).text
        assert parse_note(served).text == parsed.text
        assert cosigners(served, [all.key]) == [all.key]


async def test_witness_answers_as_the_specification_says(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror: Mirror
) -> None:
    async with twins(demo_server, admin) as (honest, forked), mirror(honest.url, witness_name=NAME) as copy:
        await caught_up(copy, honest)

        async def add(body: str) -> tuple[int, str, str]:
            answer = await copy.visitor.post("/log/witness/add-checkpoint", content=body)
            return answer.status_code, answer.headers["content-type"], answer.text

        size = await honest.size()
        assert (await add(await consistency(honest, 0)))[0] == 200
        # The size that was cosigned last is named, and a request from there is answered.
        await post(honest, "later", registered("Later"))
        status, type, text = await add(await consistency(honest, 0))
        assert (status, type, text) == (409, "text/x.tlog.size", f"{size}\n")
        status, type, text = await add(await consistency(honest, size))
        assert status == 200
        assert text.startswith(f"— {NAME} ")
        assert text.endswith("\n")
        # A fork, signed by the same key, is refused: with its own proof, and at the same size.
        await post(forked, "other", registered("Other"))
        assert (await add(await consistency(forked, size + 1)))[0] == 422
        await post(forked, "other", pledged())
        assert (await add(await consistency(forked, size + 1)))[0] == 422
        # Before anything of it was copied, too: the mirror's own log contradicts it.
        request = WitnessRequest.parse(await consistency(honest, size + 1))
        note = request.note
        assert (await add(str(WitnessRequest(size + 2, (), note))))[0] == 400
        assert (await add("old x\n\n" + note))[0] == 400
        assert (await add(str(WitnessRequest(size + 1, (b"0" * 32,) * 64, note))))[0] == 400
        assert (await add(str(WitnessRequest(size + 1, (b"0" * 32,), note))))[0] == 422
        assert (await add(str(WitnessRequest(size + 1, (), note.replace("localhost", "elsewhere")))))[0] == 404
        text, _, line = note.rpartition("\n\n")
        unsigned = f"{text}\n\n— stranger {base64.b64encode(b'0' * 68).decode()}\n"
        assert (await add(str(WitnessRequest(size + 1, (), unsigned))))[0] == 403
        broken = f"{text}\n\n{line[:-10]}{'A' if line[-10] != 'A' else 'B'}{line[-9:]}"
        assert (await add(str(WitnessRequest(size + 1, (), broken))))[0] == 403
        assert (await copy.visitor.get(f"/log/witness/{'0' * 64}/checkpoint")).status_code == 404
        # The same checkpoint again is cosigned again, later.
        assert (await add(str(WitnessRequest(size + 1, (), note))))[0] == 200


async def test_witness_never_cosigns_two_checkpoints_that_arrive_together(origin: Service, mirror: Mirror) -> None:
    async with mirror(origin.url, witness_name=NAME) as copy:
        body = await consistency(origin, 0)
        answers = await asyncio.gather(
            *(copy.visitor.post("/log/witness/add-checkpoint", content=body) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


async def test_fork_that_was_cosigned_stops_the_mirror_that_copied_the_other_log(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror: Mirror
) -> None:
    async with twins(demo_server, admin) as (honest, forked), mirror(honest.url, witness_name=NAME) as copy:
        await caught_up(copy, honest)
        await post(forked, "other", registered("What one sees"))
        # The mirror has no event of this size yet, so it cannot know.
        answer = await copy.visitor.post("/log/witness/add-checkpoint", content=await consistency(forked, 0))
        assert answer.status_code == 200
        await post(honest, "other", registered("What all see"))
        status = copy.app.state.services.mirror
        async with asyncio.timeout(60):
            while status.incident is None:  # noqa: ASYNC110 - the follower has no event for it
                await asyncio.sleep(0.05)
        assert status.incident.kind == "fork"
        body = await consistency(honest, await forked.size())
        assert (await copy.visitor.post("/log/witness/add-checkpoint", content=body)).status_code == 503


async def test_log_goes_on_without_a_witness_that_is_gone(origin: Service) -> None:
    key = str(CosigningKey.generate(NAME).public)
    async with running(replace(origin.settings, witnesses=(key, "http://127.0.0.1:9/log/witness"))) as service:
        await post(service, "later", registered("Later"))
        note = (await service.visitor.get("/log/checkpoint")).text
        assert int(parse_note(note).text.split("\n")[1]) == await service.size()
        with pytest.raises(CheckpointError):
            Quorum(1, (WitnessKey.parse(key),)).check(note)


async def test_private_key_of_a_witness_is_in_no_representation() -> None:
    key = CosigningKey.generate(NAME)
    assert CosigningKey.parse(key.secret()).public == key.public
    assert key.secret().split("+", 4)[4] not in f"{key!r}{key}"
    with pytest.raises(Exception, match="key"):
        VerifierKey.parse(str(key.public))
