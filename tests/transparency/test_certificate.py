"""A downloaded bundle proves what the registry held, with the verifier key alone; nothing that was changed passes."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from registry.errors import LogCorrupt
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import SigningKey, VerifierKey
from tests.api.announcements import announced, corrected, pledged, registered, revised
from tests.api.conftest import Service
from tests.transparency.conftest import append_until, keys, post
from tests.transparency.findings import raises_finding

DEAL = "the-plant"


async def grown(service: Service) -> None:
    """A deal of five events, some way into a log that goes on behind it."""
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
    """The state as it is served, without what the registry concludes from it: a certificate shows what events make."""
    return {**(await service.visitor.get(f"/v1/deals/{DEAL}?{query}")).json(), "remarks": None}


def refused(data: bytes | dict[str, Any], verifiers: list[VerifierKey], code: str | None = None) -> None:
    with raises_finding(LogCorrupt, code):
        verify_bundle(data if isinstance(data, bytes) else json.dumps(data).encode(), verifiers)


async def test_a_certificate_proves_the_state_without_service_database_or_network(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grown(service)
    data, state = await bundle(service), await plain(service)
    verifiers = await keys(service)

    def no_network(*_: Any) -> None:
        raise AssertionError("the network was used")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", no_network)
        found = verify_bundle(data, verifiers)
    assert (found.position, found.size, found.origin) == (120, 120, "registry.example/log")
    assert json.loads(data)["state"] == state
    # However it was laid out again.
    assert verify_bundle(json.dumps(json.loads(data), indent=2, sort_keys=True).encode(), verifiers) == found


@pytest.mark.parametrize(
    "clocks", ["position=32", "position=31", "effective_on=2025-06-20", "published_on=2025-06-16", "position=63"]
)
async def test_a_certificate_of_the_past_proves_what_was_held_then(service: Service, clocks: str) -> None:
    await grown(service)
    data = await bundle(service, f"&{clocks}")
    state = await plain(service, clocks)
    assert json.loads(data)["state"] == state
    found = verify_bundle(data, await keys(service))
    assert found.position == (int(clocks.partition("=")[2]) if clocks.startswith("position") else 120)


async def test_a_certificate_at_an_instant_proves_what_was_recorded_by_then(service: Service) -> None:
    await grown(service)
    events = (await service.visitor.get(f"/v1/deals/{DEAL}/events")).json()["events"]
    instant = events[1]["recorded_at"]
    data = await bundle(service, f"&recorded_at={instant}")
    assert json.loads(data)["state"]["version"] == 2
    assert verify_bundle(data, await keys(service)).size == 120


async def test_nothing_of_a_deal_can_be_left_out(service: Service) -> None:
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


async def test_an_older_certificate_s_proof_does_not_end_a_newer_history(service: Service) -> None:
    await grown(service)
    older, verifiers = json.loads(await bundle(service)), await keys(service)
    await post(service, DEAL, announced("2025-09-01", "site_dropped", site="mill"))
    newer = json.loads(await bundle(service))
    assert verify_bundle(json.dumps(older).encode(), verifiers).size == 120  # it still says what it said
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
    """A value like this one."""
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


async def test_every_part_of_a_certificate_counts(service: Service) -> None:
    await grown(service)
    whole, verifiers = json.loads(await bundle(service, "&position=110")), await keys(service)
    for path, value in parts(whole):
        if path not in ((), ("clocks", "position")):
            refused(changed(whole, path, another(value)), verifiers)
    # Another position is another claim; this one is as true, and these are not.
    later = json.dumps(changed(whole, ("clocks", "position"), 111)).encode()
    assert verify_bundle(later, verifiers).position == 111
    refused(changed(whole, ("clocks", "position"), 32), verifiers, "bundle_state")
    refused(changed(whole, ("clocks", "position"), 121), verifiers, "bundle_as_of")


async def test_every_one_bit_change_of_an_event_s_bundle_is_refused(service: Service) -> None:
    await grown(service)
    data, verifiers = (await service.visitor.get("/v1/log/proof/inclusion?position=32")).content, await keys(service)
    assert verify_bundle(data, verifiers).position == 32
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed), verifiers)


async def test_every_one_bit_change_of_a_proof_as_text_is_refused(service: Service) -> None:
    await append_until(service, 9)
    text = {"accept": "text/plain"}
    data = (await service.visitor.get("/v1/log/proof/inclusion?position=5", headers=text)).content
    verifiers = await keys(service)
    assert verify_bundle(data, verifiers).proves.code == "proves_entry"
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed), verifiers)


async def test_another_log_s_key_proves_nothing(service: Service) -> None:
    await grown(service)
    stranger = SigningKey.generate("registry.example/log").verifier
    for path in (f"/v1/deals/{DEAL}?certificate=true", "/v1/log/proof/inclusion?position=3"):
        refused((await service.visitor.get(path)).content, [stranger], "note_signer_unknown")
        refused((await service.visitor.get(path)).content, [], "note_signer_unknown")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"x", b"\xff", b'{"bundle":"deal-state@v1"}', b"[" * 100_000])
def test_what_is_no_bundle_is_refused_in_words(data: bytes) -> None:
    refused(data, [])


async def test_a_deal_of_many_events_has_a_certificate_too(service: Service) -> None:
    await post(service, DEAL, registered(), pledged())
    for start in range(0, 300, 100):
        await post(service, DEAL, *(revised("2025-07-01", str(1 + start + number)) for number in range(100)))
    found = verify_bundle(await bundle(service), await keys(service))
    assert (found.proves.code, found.proves.params["events"]) == ("proves_state", 302)


async def test_there_is_no_certificate_of_a_deal_that_is_not_there(service: Service) -> None:
    await post(service, DEAL, registered(), {**pledged(), "effective_on": "2025-07-01"})
    assert (await service.visitor.get("/v1/deals/another?certificate=true")).status_code == 404
    assert (await service.visitor.get(f"/v1/deals/{DEAL}?certificate=true&position=0")).status_code == 404
