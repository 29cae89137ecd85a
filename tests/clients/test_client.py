"""The Python client has every operation, decodes every answer without loss, and survives what a network does."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Callable
from datetime import date
from types import FunctionType
from typing import Any, TypeAlias, get_args, get_type_hints
from urllib.parse import urlsplit

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry import client as package
from registry.client import ApiError, AsyncClient, Client, Retries, calls, verify
from registry.client.decoding import decode
from registry.client.errors import MAX_ERROR_BYTES
from registry.client.parameters import ExportFilters
from registry.errors import LogCorrupt
from registry.events.types import Announcement, DealRegistered
from registry.events.values import Localized
from registry.infra.rate_limit_setting import RateLimit
from registry.schemas import DealResponse, encode
from tests.api.announcements import pledged, registered
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.fault_proxy import wire
from tests.service import ADMIN_KEY, Service, cloned, openapi_document, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# The method of each operation. An export is one method for all of its formats.
METHODS = {
    "get_deal": "deal",
    "get_deal_events": "deal_history",
    "get_blame": "provenance",
    "get_timemap": "timemap",
    "get_compare": "compare_deal",
    "post_events": "record",
    "get_deals": "deals",
    "get_totals": "totals",
    "get_portfolio_compare": "compare",
    "get_rates": "rates",
    "get_organization": "organization",
    "get_organization_events": "organization_history",
    "get_similar": "similar_organizations",
    "get_clusters": "organization_clusters",
    "post_merges": "merge_organizations",
    "post_unmerges": "unmerge_organizations",
    "get_organizations": "organizations",
    "post_organization_events": "record_organization",
    "get_events": "events",
    "get_event": "event",
    "get_stream": "follow",
    "post_import": "import_atomically",
    "post_lookup": "lookup",
    "get_identifiers": "identifiers",
    "post_extract": "extract",
    "get_v1_checkpoint": "checkpoint",
    "get_heads": "heads",
    "get_keys": "keys",
    "get_inclusion": "inclusion",
    "get_consistency": "consistency",
    "get_tile": "tile",
    "get_entries": "log_entries",
    "get_checkpoints": "checkpoints",
    "get_names": "principal_names",
    "get_rate_imports": "rate_imports",
    "get_live": "live",
    "get_ready": "ready",
    "get_search": "search",
}

# Operations of administration, of other programs and of people.
LEFT_OUT = {"get_atom", "get_json_feed", "get_checkpoint", "get_metrics", "get_docs", "get_openapi", "get_problems"}

LEFT_OUT_BELOW = (
    *("/v1/webhooks", "/v1/watches", "/v1/principals", "/v1/proposals", "/v1/reconcile", "/v1/ocds", "/v1/sources"),
    "/log/witness",
)

# Parameters that a client sets by itself, that have a method of their own, or that HTTP caches use.
OWN = {
    "format",
    "Last-Event-ID",
    "Accept-Datetime",
    "If-None-Match",
    "certificate",
    "atomic",
    "announcements",
    "lines",
    "asked",
    "article",
    "merges",
}


def operations() -> list[tuple[str, str, set[str]]]:
    """Return the path, the id and the parameters of every operation that the client should have."""
    return [
        (path, operation["operationId"], {parameter["name"] for parameter in operation.get("parameters", [])})
        for path, item in openapi_document()["paths"].items()
        for method, operation in item.items()
        if method != "head" and operation["operationId"] not in LEFT_OUT and not path.startswith(LEFT_OUT_BELOW)
    ]


def parameters(method: Callable[..., Any]) -> set[str]:
    """Return the parameters of a method, as the OpenAPI document names them."""
    names: set[str] = set()
    hints = get_type_hints(inspect.unwrap(method))
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            [keywords] = get_args(hints[name])
            names |= {
                f"{each.partition('_')[0]}.{each.partition('_')[2]}" if each.startswith(("from_", "to_")) else each
                for each in get_type_hints(keywords)
            }
        else:
            names.add(name)
    renamed = {"if_match": "If-Match", "if_none_match": "If-None-Match", "idempotency_key": "Idempotency-Key"}
    return {renamed.get(name, name) for name in names} - {"self"}


@pytest.mark.parametrize(("path", "operation", "documented"), operations())
def test_client_has_every_operation_with_its_parameters(path: str, operation: str, documented: set[str]) -> None:
    if path.startswith("/v1/export/"):
        assert documented <= set(get_type_hints(ExportFilters))
        return
    method = getattr(Client, METHODS[operation])
    own = parameters(method)
    if operation == "get_consistency":
        documented = {"start", "end"}
    if operation == "get_checkpoints":
        documented = {"start", "limit"}
    assert own - OWN == documented - OWN


def test_both_clients_have_the_same_methods() -> None:
    def signatures(of: type) -> dict[str, str]:
        return {
            name.replace("__a", "__"): str(inspect.signature(method)).replace("Async", "")
            for name, method in vars(of).items()
            if isinstance(method, FunctionType)
        }

    # `follow(…) -> Iterator` is an `AsyncIterator` of the same.
    assert signatures(Client) == signatures(AsyncClient)


@pytest_asyncio.fixture
async def reader(demo: Service) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(demo.url) as client:
        yield client


ANSWERS: list[tuple[calls.Call[Any], str]] = [
    (calls.deal("sk-aws-ulsan", expand="organizations,incoming", effective_on="2025-10-29"), "/v1/deals/sk-aws-ulsan"),
    (calls.deal_history("sk-aws-ulsan"), "/v1/deals/sk-aws-ulsan/events"),
    (calls.provenance("sk-aws-ulsan"), "/v1/deals/sk-aws-ulsan/blame"),
    (calls.timemap("sk-aws-ulsan"), "/v1/deals/sk-aws-ulsan/timemap"),
    (calls.compare_deal("sk-aws-ulsan", from_effective_on=date(2025, 6, 17)), "/v1/deals/sk-aws-ulsan/compare"),
    (calls.deals(limit=1000, facets=True), "/v1/deals"),
    (calls.totals(group_by="organization", currency="KRW", explain=True), "/v1/totals"),
    (calls.compare(from_effective_on="2025-06-17", to_effective_on="2025-10-29"), "/v1/compare"),
    (calls.rates(day=date(2025, 10, 29)), "/v1/rates"),
    (calls.organization("amazon-web-services"), "/v1/organizations/amazon-web-services"),
    (calls.organization_history("amazon-web-services"), "/v1/organizations/amazon-web-services/events"),
    (calls.similar_organizations("amazon-web-services"), "/v1/organizations/amazon-web-services/similar"),
    (calls.organizations(limit=1000), "/v1/organizations"),
    (calls.events(limit=1000), "/v1/events"),
    (calls.live(), "/health/live"),
]


@pytest.mark.parametrize(("call", "path"), ANSWERS, ids=[path for _, path in ANSWERS])
async def test_answer_is_decoded_without_loss(demo: Service, call: calls.Call[Any], path: str) -> None:
    assert call.path == path
    answer = await demo.visitor.get(path, params=call.query, headers=call.headers)
    assert json.loads(encode(call.read(answer.content))) == answer.json()


async def test_answer_of_a_newer_service_is_decoded_without_its_new_fields(demo: Service) -> None:
    def grown(value: Any) -> Any:
        match value:
            case dict():
                return {name: grown(item) for name, item in value.items()} | {"added_later": [1]}
            case list():
                return [grown(item) for item in value]
            case _:
                return value

    state = (await demo.visitor.get("/v1/deals/sk-aws-ulsan")).json()
    # Maps of any key, such as a title by language, would take the field for an entry.
    newer = {**state, "added_later": 1, "pledges": [{**pledge, "added_later": {}} for pledge in state["pledges"]]}
    newer["stage"] = grown(state["stage"])
    assert json.loads(encode(decode(msgspec.json.encode(newer), DealResponse))) == state


async def test_lists_are_read_page_by_page(demo: Service, reader: AsyncClient) -> None:
    listed = [deal.deal async for deal in reader.every_deal(sector="data-centres")]
    assert listed == [one["deal"] for one in (await reader.json("/v1/deals", sector="data-centres"))["deals"]]
    assert len([one async for one in reader.every_organization()]) == len((await reader.organizations()).organizations)
    positions = [event.position async for event in reader.every_event(after=3)]
    assert positions == list(range(4, await demo.size() + 1))


async def test_certificates_and_proofs_verify_offline(reader: AsyncClient) -> None:
    keys = await reader.keys()
    certificate = await reader.certificate("sk-aws-ulsan", effective_on="2025-10-29")
    assert verify(certificate, keys).size == (await reader.deals(limit=1)).position
    assert verify(await reader.inclusion(7), keys).position == 7
    with pytest.raises(LogCorrupt):
        verify(certificate.replace(b"5130000000", b"5130000001").replace(b"7000000000000", b"7000000000001"), keys)


async def test_export_is_read_in_chunks(reader: AsyncClient) -> None:
    content = b"".join([chunk async for chunk in reader.export("deals.ndjson", organization="amazon-web-services")])
    assert [json.loads(line)["deal"] for line in content.splitlines()] == [
        deal.deal async for deal in reader.every_deal(organization="amazon-web-services")
    ]


async def test_struct_and_json_announcements_are_recorded(service: Service) -> None:
    async with AsyncClient(service.url, key=ADMIN_KEY) as client:
        begins = Announcement(event=DealRegistered(title=Localized({"en": "A plant"})))
        recorded = await client.record("client-structs", [begins, pledged()])
        assert recorded.version == 2
        assert (await client.deal("client-structs")).pledges[0].pledge == "total"
        with pytest.raises(ApiError) as refused:
            await client.record("client-structs", pledged())
        assert (refused.value.status, refused.value.problem.code) == (409, "rule_broken")


async def test_post_whose_answer_was_lost_is_recorded_once(service: Service) -> None:
    async with wire(service.url) as proxy:
        url = f"http://127.0.0.1:{urlsplit(proxy.url).port}"
        async with AsyncClient(url, key=ADMIN_KEY, retries=Retries(first=0.01)) as client:
            proxy.inject_fault(word=b"client-retried", deliver=True)
            recorded = await client.record("client-retried", [registered(), pledged()])
            assert proxy.cuts == 1
            assert (await client.deal("client-retried")).version == recorded.version == 2


async def test_import_whose_answer_was_lost_is_not_sent_again(service: Service) -> None:
    async with wire(service.url) as proxy:
        url = f"http://127.0.0.1:{urlsplit(proxy.url).port}"
        async with AsyncClient(url, key=ADMIN_KEY, retries=Retries(first=0.01)) as client:
            proxy.inject_fault(word=b"client-imported", deliver=True)
            line = json.dumps({"deal": "client-imported", **registered()}).encode()
            with pytest.raises(httpx.TransportError):
                await client.import_atomically(line)
            assert proxy.cuts == 1


async def test_refusal_for_now_is_retried_after_the_time_it_states(server: Server, admin: Admin) -> None:
    async with (
        cloned(server, admin, "client_limited") as settings,
        running(replace(settings, rate_limits={"address": RateLimit(1, 1)})) as service,
    ):
        async with AsyncClient(service.url) as patient:
            for _ in range(3):
                assert (await patient.deals()).deals == ()
        async with AsyncClient(service.url, retries=Retries(attempts=1)) as hasty:
            with pytest.raises(ApiError) as refused:
                await asyncio.gather(*(hasty.deals() for _ in range(3)))
            assert refused.value.status == 429


async def test_stream_is_followed_across_a_restart(
    server: Server, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloned(server, admin, "client_follow") as settings:
        async with running(settings) as first:
            async with AsyncClient(first.url, key=ADMIN_KEY) as client:
                await client.record("followed", registered())
            following = AsyncClient(first.url)
            feed = following.follow(after=0, deal="followed")
            assert (await anext(feed)).version == 1
            first.app.state.services.end_streams()
        async with running(settings, port=urlsplit(first.url).port or 0) as second:
            async with AsyncClient(second.url, key=ADMIN_KEY) as client:
                await client.record("not-followed", registered())
                await client.record("followed", pledged())
            event = await anext(feed)
            assert (event.version, event.deal) == (2, "followed")
            second.app.state.services.end_streams()
            await feed.aclose()  # type: ignore[attr-defined]
            await following.close()


async def test_program_without_asyncio_does_the_same(service: Service) -> None:
    def program() -> list[int]:
        with Client(service.url, key=ADMIN_KEY) as client:
            recorded = client.record("client-sync", [registered(), pledged()])
            results = list(client.import_lines([json.dumps({"deal": "client-lines", **registered()}).encode()]))
            assert [result["status"] for result in results] == [201]
            assert b"client-lines" in b"".join(client.export("events.csv", deal="client-lines"))
            assert [deal.deal for deal in client.every_deal(q="client-")] == sorted(
                deal.deal for deal in client.deals(q="client-", limit=1000).deals
            )
            assert len(list(client.every_organization())) == len(client.organizations(limit=1000).organizations)
            feed = client.follow(after=recorded.events[0].position - 1, deal="client-sync")
            followed = [next(feed).version, next(feed).version]
            feed.close()  # type: ignore[attr-defined]
            assert [event.version for event in client.every_event(deal="client-sync")] == followed
            return followed

    assert await asyncio.to_thread(program) == [1, 2]


def test_package_exports_what_its_documentation_names() -> None:
    assert set(package.__all__) == {"ApiError", "AsyncClient", "Client", "Retries", "verify"}


async def test_error_without_an_end_is_read_to_a_limit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"no end " * 2**10)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        def asked_blocking() -> ApiError:
            with Client(url) as client, pytest.raises(ApiError) as caught:
                client.deal("plant")
            return caught.value

        async with asyncio.timeout(PATIENCE):
            async with AsyncClient(url) as client:
                with pytest.raises(ApiError) as caught:
                    await client.deal("plant")
            for error in (caught.value, await asyncio.to_thread(asked_blocking)):
                assert (error.status, error.problem.detail[:13]) == (502, "no end no end")
                assert len(error.content) == MAX_ERROR_BYTES
