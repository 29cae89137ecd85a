"""A registry for one example of a property: what the rules admit is recorded, and its deals are asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from msgspec import Struct, field

from registry.append.recorder import Recorder
from registry.domain.history import AsOf
from registry.errors import RegistryError
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.schemas.log import Receipt
from tests.append_helpers import request
from tests.databases import APP_ROLE, Server, at, copy_database


class RandomRegistry(Struct):
    """An empty registry. `recorded` has the events of each stream that was appended to."""

    pool: Pool
    recorder: Recorder
    copy: ColumnarCopy
    reader: StreamReader
    organizations: OrganizationQueries
    portfolio: PortfolioQueries
    recorded: dict[str, list[Receipt]] = field(default_factory=dict)

    async def append(self, slug: str, announcement: dict[str, Any], kind: Any = "deal") -> None:
        """Record an announcement, if the rules admit it."""
        recorded = self.recorded.setdefault(slug, [])
        try:
            result = await self.recorder.record(request(slug, announcement, kind=kind))
        except RegistryError:
            return
        recorded.append(result.events[0])


@asynccontextmanager
async def random_registry(server: Server, admin: Any) -> AsyncIterator[RandomRegistry]:
    """A registry in a database of its own."""
    name = f"{server.template}_{uuid4().hex}"
    await copy_database(admin, server.template, name)
    try:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            url = at(server.admin_url, name, APP_ROLE, server.app_password)
            pool = await stack.enter_async_context(await postgres.pool(url, name="properties"))
            recorder = await stack.enter_async_context(Recorder(pool))
            copy = await stack.enter_async_context(ColumnarCopy(pool, folder))
            # The copy follows from here on, so that it is not just loaded.
            await copy.follow(0)
            reader = StreamReader(pool)
            organizations = OrganizationQueries(reader)
            portfolio = PortfolioQueries(reader, organizations, copy)
            yield RandomRegistry(pool, recorder, copy, reader, organizations, portfolio)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def points(days: Sequence[date], positions: int) -> st.SearchStrategy[AsOf]:
    """Points on each axis, in a log of so many events."""
    day = st.sampled_from(days)
    return st.one_of(
        st.builds(lambda day: AsOf(effective_on=day), day),
        st.builds(lambda day, position: AsOf(effective_on=day, position=position), day, st.integers(1, positions)),
        st.builds(lambda day, published: AsOf(effective_on=day, published_on=published), day, day),
    )
