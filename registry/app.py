"""The composition root: settings become pools, pools become the recorder and the queries, those an application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from litestar import Litestar
from litestar.datastructures import State
from msgspec import Struct

from registry import api, web
from registry.api.middleware import AccessLogWriter, Metrics, RequestMiddleware
from registry.api.problems import HANDLERS
from registry.append.recorder import Recorder
from registry.delivery.feed import Feed
from registry.delivery.webhooks import Webhooks
from registry.infra import postgres
from registry.infra.keys import Keys
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.queries.deals import DealQueries
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.transparency.evidence import Evidence

log = structlog.get_logger(__name__)

# A statement that takes longer counts as lost: whoever waits for it gets an answer.
STATEMENT_SECONDS = 15.0


class Registry(Struct):
    """What handlers reach through `app.state.registry`."""

    settings: Settings
    pool: Pool
    recorder: Recorder
    streams: StreamReader
    deals: DealQueries
    portfolio: PortfolioQueries
    organizations: OrganizationQueries
    log: LogQueries
    keys: Keys
    feed: Feed
    webhooks: Webhooks
    evidence: Evidence

    async def migrated(self) -> bool:
        """Whether the database answers and has this version's schema."""
        return await postgres.migration_head_matches(self.pool)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Registry]:
    """A running registry: its pools open, its recorder at work."""
    assert settings.database_url is not None
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            await postgres.pool(settings.database_url, name="registry", timeout=STATEMENT_SECONDS)
        )
        owner = None
        if settings.owner_url is not None:
            owner = await stack.enter_async_context(
                await postgres.pool(settings.owner_url, name="registry owner", min_size=0, max_size=2)
            )
        replicas = [
            await stack.enter_async_context(await postgres.pool(url, name="registry reads", read_only=True))
            for url in settings.replica_urls
        ]
        # Its own connections: readers, however many and slow, must not keep it waiting.
        writing = await postgres.pool(
            settings.database_url,
            name="registry recorder",
            min_size=1,
            max_size=3,
            timeout=STATEMENT_SECONDS,
            by_key=True,
        )
        recorder = await stack.enter_async_context(Recorder(await stack.enter_async_context(writing), owner))
        # Its own too, and patient: the first look at all streams takes as long as the log is long.
        proving = await postgres.pool(settings.database_url, name="registry evidence", min_size=1, max_size=4)
        evidence = Evidence(
            await stack.enter_async_context(proving),
            settings.signing_key,
            settings.log_origin,
            export=settings.checkpoint_export,
            seconds=settings.checkpoint_seconds,
        )
        recorder.commit_listeners.append(evidence.committed)
        await stack.enter_async_context(evidence)
        feed = await stack.enter_async_context(Feed(pool))
        recorder.commit_listeners.append(feed.on_commit)
        webhooks = await stack.enter_async_context(Webhooks(pool, settings.webhook_networks))
        recorder.commit_listeners.append(webhooks.on_commit)
        streams = StreamReader(pool, replicas)
        organizations = OrganizationQueries(streams)
        yield Registry(
            settings=settings,
            pool=pool,
            recorder=recorder,
            streams=streams,
            deals=DealQueries(streams),
            portfolio=PortfolioQueries(streams, organizations),
            organizations=organizations,
            log=LogQueries(streams),
            keys=Keys(pool, settings.admin_key),
            evidence=evidence,
            feed=feed,
            webhooks=webhooks,
        )


def create_app(settings: Settings) -> Litestar:
    """The application. Its database must be there and migrated."""

    metrics, lines = Metrics(), AccessLogWriter()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with opened(settings) as registry:
            app.state.registry = registry
            registry.recorder.commit_listeners.append(
                lambda _: metrics.group.observe(registry.recorder.last_batch_size)
            )
            yield
        lines.write()

    return RequestMiddleware(
        route_handlers=[*api.ROUTES, *web.ROUTES],
        lifespan=[lifespan],
        exception_handlers={**HANDLERS, **web.APPLICATION_HANDLERS},
        openapi_config=None,
        state=State({"contract": api.CONTRACT, "metrics": metrics, "lines": lines}),
        request_max_body_size=None,
        logging_config=None,
    )


__all__ = ["Registry", "create_app", "opened"]
