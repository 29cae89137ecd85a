"""Reads from standbys: lagging, paused and dead ones, one server for each request, and reads of one's own writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from tests.append_helpers import REGISTERED, pledged
from tests.faults.servers import Standby, caught_up, eventually, execute, moved, standby
from tests.service import ADMIN_KEY, Service, running

pytestmark = pytest.mark.drill

PAUSE, RESUME = "SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"


class Cluster(Struct):
    """A primary with two standbys, and the settings of a service that reads from them."""

    primary: Embedded
    standbys: tuple[Standby, Standby]
    settings: Settings

    def owner_of(self, number: int) -> str:
        """The owner's URL on a standby."""
        return moved(self.primary.owner_url, self.standbys[number].sockets)

    async def catch_up(self) -> None:
        """Wait until both standbys have what the primary has."""
        for number in (0, 1):
            await caught_up(self.primary.owner_url, self.owner_of(number))


@asynccontextmanager
async def cluster(folder: Path, max_lag: int = 60) -> AsyncIterator[Cluster]:
    with Embedded(folder / "primary") as primary:
        await migrations.migrate(primary.owner_url, APP_ROLE)
        with standby(primary, folder / "one") as one, standby(primary, folder / "two") as two:
            settings = Settings(
                database_url=primary.app_url,
                replica_urls=tuple(moved(primary.app_url, copy.sockets) for copy in (one, two)),
                replica_max_lag=max_lag,
                data_dir=folder / "service",
                signing_key=folder / "service" / "signing.key",
                admin_key=ADMIN_KEY,
            )
            made = Cluster(primary, (one, two), settings)
            await made.catch_up()
            yield made


async def record(service: Service, deal: str, *announcements: object) -> int:
    answer = await service.client.post(f"/v1/deals/{deal}/events", json=list(announcements))
    assert answer.status_code == 201, answer.text
    return int(answer.json()["position"])


async def versions(service: Service, deal: str, times: int = 20, **parameters: object) -> set[int]:
    """The versions that as many requests saw; 0 where the deal was not found."""
    found = set()
    for _ in range(times):
        answer = await service.client.get(f"/v1/deals/{deal}", params=parameters)  # type: ignore[arg-type]
        assert answer.status_code in (200, 404), answer.text
        found.add(answer.json()["version"] if answer.status_code == 200 else 0)
    return found


async def equals(read: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await read() == expected


async def test_request_that_names_its_position_reads_its_own_write(folder: Path) -> None:
    async with cluster(folder) as made, running(made.settings) as service:
        for number in (0, 1):
            await execute(made.owner_of(number), PAUSE)
        position = await record(service, "plant", REGISTERED, pledged())
        assert await versions(service, "plant") == {0}
        assert await versions(service, "plant", 3, position=position) == {2}
        listed = await service.client.get("/v1/deals", params={"position": position})
        assert [deal["deal"] for deal in listed.json()["deals"]] == ["plant"]
        for number in (0, 1):
            await execute(made.owner_of(number), RESUME)
        await made.catch_up()
        assert await versions(service, "plant") == {2}


async def test_paused_replica_leaves_no_old_state_in_the_caches(folder: Path) -> None:
    async with cluster(folder) as made, running(made.settings) as service:
        deals = [f"plant-{number}" for number in range(6)]
        for deal in deals:
            await record(service, deal, REGISTERED)
        await made.catch_up()
        await execute(made.owner_of(1), PAUSE)
        for round_ in range(3):
            for deal in deals:
                await record(service, deal, pledged(f"p{round_}"))
                assert await versions(service, deal, 6) <= set(range(1, 5))
        await execute(made.owner_of(1), RESUME)
        await made.catch_up()
        for deal in deals:
            assert await versions(service, deal) == {4}
        listed = (await service.client.get("/v1/deals")).json()["deals"]
        assert [len(deal["pledges"]) for deal in listed] == [3] * 6


async def test_replica_that_lags_too_long_is_not_read_from_until_it_catches_up(folder: Path) -> None:
    async with cluster(folder, max_lag=1) as made, running(made.settings) as service:
        await execute(made.owner_of(0), PAUSE)
        await record(service, "plant", REGISTERED)
        servers = service.app.state.services.streams.servers

        async def used() -> list[bool]:
            return [replica.is_usable for replica in servers.replicas]

        await eventually(lambda: equals(used, [False, True]))
        assert await versions(service, "plant") == {1}
        await execute(made.owner_of(0), RESUME)
        await eventually(lambda: equals(used, [True, True]))


async def test_dead_replicas_leave_reads_to_the_others_and_to_the_primary(folder: Path) -> None:
    async with cluster(folder) as made, running(made.settings) as service:
        await record(service, "plant", REGISTERED)
        await made.catch_up()
        made.standbys[0].kill()
        assert await versions(service, "plant") == {1}
        made.standbys[1].kill()
        assert await versions(service, "plant") == {1}
        await record(service, "plant", pledged())
        assert await versions(service, "plant") == {2}


async def test_service_starts_while_a_replica_is_down(folder: Path) -> None:
    async with cluster(folder) as made:
        made.standbys[0].kill()
        async with running(made.settings) as service:
            await record(service, "plant", REGISTERED)
            await caught_up(made.primary.owner_url, made.owner_of(1))
            assert await versions(service, "plant") == {1}
            assert (await service.client.get("/health/ready")).status_code == 200


async def test_standby_in_place_of_the_primary_counts_as_a_lost_database(folder: Path) -> None:
    async with cluster(folder) as made:
        url = moved(made.primary.app_url, made.standbys[0].sockets)
        first = Settings(
            database_url=made.primary.app_url,
            data_dir=folder / "first",
            signing_key=folder / "first" / "key",
            admin_key=ADMIN_KEY,
        )
        async with running(first) as service:
            assert (await service.client.post("/v1/deals/first/events", json=REGISTERED)).status_code == 201
        async with running(
            Settings(
                database_url=url, data_dir=folder / "other", signing_key=folder / "other" / "key", admin_key=ADMIN_KEY
            )
        ) as service:
            answer = await service.client.post("/v1/deals/plant/events", json=REGISTERED)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_lost")
            assert (await service.client.get("/health/ready")).status_code == 503


async def test_admin_key_is_registered_once_the_standby_is_promoted(folder: Path) -> None:
    async with cluster(folder) as made:
        owner_url = moved(made.primary.owner_url, made.standbys[0].sockets)
        settings = Settings(
            database_url=moved(made.primary.app_url, made.standbys[0].sockets),
            data_dir=folder / "data",
            signing_key=folder / "data" / "key",
            admin_key=ADMIN_KEY,
        )
        async with running(settings) as service:

            async def records() -> bool:
                answer = await service.client.post("/v1/deals/plant/events", json=REGISTERED)
                return answer.status_code == 201

            assert not await records()
            await execute(owner_url, "SELECT pg_promote()")
            await eventually(records)
