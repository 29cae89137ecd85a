"""What a service does after its start before it counts as ready: the copy, and what most questions share.

The first questions about all deals would wait for both. Requests that need neither, such as posts and single deals, are
answered meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Self

import duckdb
import structlog

from registry.errors import RegistryError
from registry.infra import postgres, tasks
from registry.projections.columnar import ColumnarCopy
from registry.queries.portfolio import PortfolioQueries

log = structlog.get_logger(__name__)

PREPARATION_SECONDS = 15.0
"""Seconds after which a service counts as ready although it still prepares: a balancer that has only this service must
not refuse posts for as long as a very large copy takes."""

HAS_DEALS = "SELECT EXISTS (SELECT FROM deal_facts)"


class Preparation:
    """The preparation of one service, as an async context manager."""

    def __init__(self, copy: ColumnarCopy, portfolio: PortfolioQueries) -> None:
        self._copy = copy
        self._portfolio = portfolio
        self._task: asyncio.Task[None] | None = None
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is done, has failed, or takes too long; without deals, there is nothing to prepare."""
        if self._task is None or asyncio.get_running_loop().time() >= self._until:
            return True
        return self._task.done()

    async def __aenter__(self) -> Self:
        if await self._copy.pool.fetchval(HAS_DEALS):
            self._until = asyncio.get_running_loop().time() + PREPARATION_SECONDS
            self._task = asyncio.create_task(self._prepare(), name="prepare questions")
        else:
            self._copy.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await tasks.end(self._task)

    async def _prepare(self) -> None:
        try:
            # Without the time limit of a request: making the copy may take longer.
            await self._copy.follow(await self._copy.head())
            await self._portfolio.prepare()
        except (RegistryError, duckdb.Error, *postgres.ERRORS) as error:
            # The first question tries again, and says what is wrong.
            log.warning("nothing is prepared for questions about all deals", error=type(error).__name__)
        # The index of texts comes last: it takes both processors for seconds, and only searches need it.
        self._copy.start()
