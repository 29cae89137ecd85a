"""No GET route keeps the event loop busy with a long deal: `bench/holds.py` with a bound."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import holds
from bench.context import Bench
from bench.prepared import prepared_log
from bench.sizes import TINY
from registry.infra.embedded.server import Embedded

DEALS, EVENTS = 40, 4_000

BOUND_SECONDS = 0.12
"""Processor time of the loop's own thread, which other processes do not add to. The aim is 0.02 s; work on all events
of the deal takes 0.2 s and more."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of Postgres may enter."""
    with tempfile.TemporaryDirectory(prefix="registry-holds-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.mark.drill
async def test_no_route_works_on_a_long_deal_in_the_event_loop(folder: Path) -> None:
    with Embedded(folder / "server", settings={"fsync": "off"}) as server:
        database = (await prepared_log(Bench(server, folder, TINY), DEALS)).database
        async with holds.started(database) as (client, process):
            known = await holds.prepare(client, EVENTS)
            # What a process does once, such as imports, is done by the same requests about a short deal.
            short = {name: text.replace(holds.BIG, "deal-0000001") for name, text in known.items()}
            for sent in holds.routes({**short, "source": "none", "id": "none", "proposal": "none"}):
                await client.get(sent.path)
            found = [await holds.ask(client, process, sent, tries=1) for sent in holds.routes(known)]
    assert len(found) > 100
    assert max(one.hold.worked for one in found) > 0, "the loop is not watched"
    assert not [str(one) for one in found if one.hold.worked > BOUND_SECONDS]
