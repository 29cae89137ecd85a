"""Bundles verify with only the verifier key, and no changed bundle does."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import LogCorrupt
from registry.events.codec import canonical
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import Checkpoint, SigningKey, VerifierKey
from registry.transparency.heads import StreamHead, StreamHeadTree, heads_statement
from registry.transparency.merkle import leaf_hash
from tests.api.announcements import announced, corrected, pledged, registered, revised
from tests.conftest import drill
from tests.service import Service
from tests.transparency import trees
from tests.transparency.conftest import append_until, keys, post
from tests.transparency.findings import raises_finding

DEAL = "the-plant"
DATA = Path(__file__).parent / "data"


async def grown(service: Service) -> None:
    """Record a deal of five events within a log of 120 events."""
    await append_until(service, 30)
    receipts = await post(service, DEAL, registered(), pledged())
    await append_until(service, 60)
    await post(service, DEAL, revised("2025-07-01", "6000000000"))
    await append_until(service, 90)
    await post(service, DEAL, corrected(receipts[1]["id"], effective_on="2025-06-01"))
    await post(service, DEAL, announced("2025-08-01", "site_announced", site="mill", place="KR-31"))
    await append_until(service, 120)


async def bundle(service: Service, query: str = "") -> bytes:
    answer = await service.visitor.get(f"/v1/deals/{DEAL}?certificate=true{query}")
    assert answer.status_code == 200, answer.text
    return answer.content


async def plain(service: Service, query: str = "") -> Any:
    """The state as the service returns it, without remarks, which a certificate does not contain."""
    return {**(await service.visitor.get(f"/v1/deals/{DEAL}?{query}")).json(), "remarks": None}


def refused(data: bytes | dict[str, Any], verifiers: list[VerifierKey], code: str | None = None) -> None:
    with raises_finding(LogCorrupt, code):
        verify_bundle(data if isinstance(data, bytes) else json.dumps(data).encode(), verifiers)


async def test_certificate_proves_the_state_offline(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await grown(service)
    data, state = await bundle(service), await plain(service)
    verifiers = await keys(service)

    def no_network(*_: Any) -> None:
        raise AssertionError("the network was used")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", no_network)
        result = verify_bundle(data, verifiers)
    assert (result.position, result.size, result.origin) == (120, 120, "registry.example/log")
    assert json.loads(data)["state"] == state
    # Whitespace and the order of keys do not matter.
    assert verify_bundle(json.dumps(json.loads(data), indent=2, sort_keys=True).encode(), verifiers) == result


async def test_certificate_of_the_past_proves_the_state_as_of_then(service: Service) -> None:
    await grown(service)
    for clocks in ("position=32", "position=31", "effective_on=2025-06-20", "published_on=2025-06-16", "position=63"):
        data = await bundle(service, f"&{clocks}")
        state = await plain(service, clocks)
        assert json.loads(data)["state"] == state, clocks
        result = verify_bundle(data, await keys(service))
        assert result.position == (int(clocks.partition("=")[2]) if clocks.startswith("position") else 120), clocks


async def test_certificate_at_a_recorded_time_proves_the_state_then(service: Service) -> None:
    await grown(service)
    events = (await service.visitor.get(f"/v1/deals/{DEAL}/events")).json()["events"]
    instant = events[1]["recorded_at"]
    data = await bundle(service, f"&recorded_at={instant}")
    assert json.loads(data)["state"]["version"] == 2
    assert verify_bundle(data, await keys(service)).size == 120


async def test_certificate_with_an_event_left_out_does_not_verify(service: Service) -> None:
    await grown(service)
    whole, verifiers = json.loads(await bundle(service)), await keys(service)
    assert len(whole["events"]) == 5
    for left_out in range(5):
        events = [event for number, event in enumerate(whole["events"]) if number != left_out]
        refused({**whole, "events": events}, verifiers, "bundle_last_event" if left_out == 4 else "bundle_event_order")
    refused({**whole, "events": whole["events"][:3]}, verifiers, "bundle_last_event")
    refused({**whole, "events": []}, verifiers, "bundle_events_missing")
    refused({**whole, "events": whole["events"][::-1]}, verifiers, "bundle_event_order")
    hidden = [{**event, "content": None, "salt": None} for event in whole["events"]]
    refused({**whole, "events": hidden}, verifiers, "content_without_redaction")


async def test_head_of_an_older_certificate_does_not_prove_a_newer_history(service: Service) -> None:
    await grown(service)
    older, verifiers = json.loads(await bundle(service)), await keys(service)
    await post(service, DEAL, announced("2025-09-01", "site_dropped", site="mill"))
    newer = json.loads(await bundle(service))
    assert verify_bundle(json.dumps(older).encode(), verifiers).size == 120  # the older certificate still verifies
    refused({**newer, "events": newer["events"][:5]}, verifiers, "bundle_last_event")
    refused({**newer, "events": newer["events"][:5], "head": older["head"]}, verifiers, "heads_of_another_checkpoint")
    refused({**newer, "checkpoint": older["checkpoint"]}, verifiers)
    refused({**older, "head": newer["head"]}, verifiers, "heads_of_another_checkpoint")


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value in a document, with its path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from parts(item, (*path, key))
    yield path, value


def changed(document: Any, path: tuple[Any, ...], to: Any) -> Any:
    """A copy with another value at a path."""
    copy = at = json.loads(json.dumps(document))
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return copy


def another(value: Any) -> Any:
    """A different value of the same type."""
    match value:
        case str() if value:
            at = random.randrange(len(value))
            return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
        case int():
            return value + 1
        case list() if value:
            return []
        case None:
            return "2025-06-17"
        case _:
            return {"more": 1}


async def test_certificate_with_any_changed_part_does_not_verify(service: Service) -> None:
    await grown(service)
    whole, verifiers = json.loads(await bundle(service, "&position=110")), await keys(service)
    for path, value in parts(whole):
        if path not in ((), ("clocks", "position")):
            refused(changed(whole, path, another(value)), verifiers)
    # Another position is another statement: the state is the same at 111, but not at 32 or 121.
    later = json.dumps(changed(whole, ("clocks", "position"), 111)).encode()
    assert verify_bundle(later, verifiers).position == 111
    refused(changed(whole, ("clocks", "position"), 32), verifiers, "bundle_state")
    refused(changed(whole, ("clocks", "position"), 121), verifiers, "bundle_as_of")


# Every seventh bit is a different bit of each byte; the drill changes all.
EVERY = pytest.mark.parametrize("every", [7, drill(1)])


@EVERY
async def test_inclusion_bundle_with_one_changed_bit_does_not_verify(service: Service, every: int) -> None:
    await grown(service)
    data, verifiers = (await service.visitor.get("/v1/log/proof/inclusion?position=32")).content, await keys(service)
    assert verify_bundle(data, verifiers).position == 32
    for bit in range(0, len(data) * 8, every):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed), verifiers)


@EVERY
async def test_tlog_proof_with_one_changed_bit_does_not_verify(service: Service, every: int) -> None:
    await append_until(service, 9)
    text = {"accept": "text/plain"}
    data = (await service.visitor.get("/v1/log/proof/inclusion?position=5", headers=text)).content
    verifiers = await keys(service)
    assert verify_bundle(data, verifiers).proves.code == "proves_entry"
    for bit in range(0, len(data) * 8, every):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed), verifiers)


async def test_bundle_does_not_verify_with_the_key_of_another_log(service: Service) -> None:
    await grown(service)
    stranger = SigningKey.generate("registry.example/log").verifier
    for path in (f"/v1/deals/{DEAL}?certificate=true", "/v1/log/proof/inclusion?position=3"):
        refused((await service.visitor.get(path)).content, [stranger], "note_signer_unknown")
        refused((await service.visitor.get(path)).content, [], "note_signer_unknown")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"x", b"\xff", b'{"bundle":"deal-state@v1"}', b"[" * 100_000])
def test_data_that_is_not_a_bundle_is_refused(data: bytes) -> None:
    refused(data, [])


class Forger:
    """Signs the log of a service again, with an event that claims to be of another time."""

    def __init__(self, entries: list[dict[str, Any]], position: int) -> None:
        self.key = SigningKey.generate("registry.example/log")
        self.heads = StreamHeadTree()
        self.entries = []
        self._leaves: list[bytes] = []
        last: dict[str, str] = {}
        for number, given in enumerate(entries, 1):
            entry = json.loads(given["entry"])
            entry["previous"] = last.get(entry["stream"])
            if number == position:
                entry["recorded_at"] = "2001" + entry["recorded_at"][4:]
            data = canonical(entry)
            self._leaves.append(leaf_hash(data))
            last[entry["stream"]] = leaf_hash(data).hex()
            self.heads.update([StreamHead(entry["stream"], entry["version"], leaf_hash(data))])
            self.entries.append({**given, "entry": data.decode()})
        self.checkpoint = Checkpoint("registry.example/log", len(self._leaves), trees.mth(self._leaves))

    def stream(self, deal: str) -> dict[str, Any]:
        """The events of a deal and the proof that they are all, as a certificate has them."""
        proof = self.heads.prove(f"deal/{deal}")
        events = [
            {
                **{name: one[name] for name in ("position", "entry", "content", "salt")},
                "path": [node.hex() for node in trees.path(number, self._leaves)],
            }
            for number, one in enumerate(self.entries)
            if f'"stream":"deal/{deal}"' in one["entry"]
        ]
        return {"events": events, "lines": proof.lines, "path": [node.hex() for node in proof.path]}

    @property
    def note(self) -> str:
        return self.key.sign(self.checkpoint.body())

    @property
    def statement(self) -> str:
        return self.key.sign(heads_statement(self.checkpoint, self.heads.root()).body())


async def test_certificate_with_an_event_that_claims_an_earlier_time_does_not_verify(service: Service) -> None:
    await post(service, DEAL, registered())
    await post(service, "another-plant", registered())
    await post(service, DEAL, pledged())
    size = await service.size()
    entries = (await service.client.get("/v1/log/entries")).json()["entries"]
    total = (await service.visitor.get("/v1/totals?certificate=true")).json()
    deal = json.loads(await bundle(service))
    for position in (size, size - 1):
        forger = Forger(entries, position)
        stream = forger.stream(DEAL)
        head = {"lines": stream["lines"], "path": stream["path"], "statement": forger.statement}
        # The event before the last is another deal's: the certificate of this deal does not contain it.
        if position == size:
            forged = {**deal, "events": stream["events"], "head": head, "checkpoint": forger.note}
            refused(forged, [forger.key.verifier], "log_time_order")
        deals = [{"deal": slug, **forger.stream(slug)} for slug in ("another-plant", DEAL)]
        proof = {"statement": forger.statement, "checkpoint": forger.note, "streams": forger.heads.lines()}
        refused({**total, "deals": deals, **proof}, [forger.key.verifier], "log_time_order")


async def test_deal_with_many_events_has_a_certificate(service: Service) -> None:
    await post(service, DEAL, registered(), pledged())
    for start in range(0, 300, 100):
        await post(service, DEAL, *(revised("2025-07-01", str(1 + start + number)) for number in range(100)))
    result = verify_bundle(await bundle(service), await keys(service))
    assert (result.proves.code, result.proves.params["events"]) == ("proves_state", 302)


async def test_unknown_deal_has_no_certificate(service: Service) -> None:
    await post(service, DEAL, registered(), {**pledged(), "effective_on": "2025-07-01"})
    assert (await service.visitor.get("/v1/deals/another?certificate=true")).status_code == 404
    assert (await service.visitor.get(f"/v1/deals/{DEAL}?certificate=true&position=0")).status_code == 404


def test_certificate_of_the_first_format_still_verifies() -> None:
    """It was made before claims had the field `corroborated`."""
    verifiers = [VerifierKey.parse((DATA / "certificate.v1.pub").read_text().strip())]
    data = (DATA / "certificate.v1.json").read_bytes()
    assert verify_bundle(data, verifiers).position == 171
    document = json.loads(data)
    del document["state"]["pledges"][0]["claims"][0]["status"]
    refused(document, verifiers, "bundle_state")


async def test_certificate_without_what_an_event_states_does_not_verify(service: Service) -> None:
    """A field that the first certificates lack may be missing only where no event states it."""
    await post(
        service, DEAL, {**registered(), "event": {**registered()["event"], "classifications": {"ksic": ["C26"]}}}
    )
    document = json.loads(await bundle(service))
    verifiers = await keys(service)
    del document["state"]["metrics"]
    assert verify_bundle(json.dumps(document).encode(), verifiers).position == 3
    del document["state"]["classifications"]
    refused(document, verifiers, "bundle_state")
