"""The composition root: settings become pools, pools become services, and services become an application.

Every service is made here, after those that it depends on; hence the length of this file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import MissingDependencyException
from litestar.routes import HTTPRoute
from msgspec import Struct, field

from registry import api
from registry.api.hosts import HostNames
from registry.api.metrics import Parts, ServiceGauges
from registry.api.middleware import AccessLogWriter, Metrics, RequestMiddleware, cors_config
from registry.api.openapi import MsgspecSchemas, openapi_config
from registry.api.probe import Probe
from registry.api.problems import HANDLERS
from registry.api.rate_limits import RateLimiter
from registry.append.admin_key import registered_admin_key
from registry.append.identities import SCOPES, Identities
from registry.append.organization_merges import OrganizationMerges
from registry.append.proposals import Proposals
from registry.append.recorder import Recorder
from registry.delivery.feed import Feed
from registry.delivery.mail import Mailer
from registry.delivery.watches import Watches
from registry.delivery.webhooks import Webhooks
from registry.domain.calendar import Calendar
from registry.errors import BadSetting
from registry.events import mirror_state
from registry.events.continuity import MARK_FILE, ContinuityGuard
from registry.events.mirror_state import MirrorStatus
from registry.events.notifications import NOTIFY_RIGHTS
from registry.events.types import EVENT_TYPES
from registry.events.write_batch import Head
from registry.infra import memory, postgres
from registry.infra.postgres import Pool
from registry.infra.problems import SettingProblem
from registry.infra.secret_box import SecretBox
from registry.infra.sessions import Sessions
from registry.infra.settings import Settings
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.copy import PATIENCE_SECONDS
from registry.projections.exchange_rates import RateCache
from registry.queries.deals import DealQueries
from registry.queries.imports import ImportQueries
from registry.queries.log import LogQueries
from registry.queries.matching_events import MatchingEvents
from registry.queries.named_organizations import NamedOrganizations
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.preparation import Preparation
from registry.queries.principals import Principals
from registry.queries.replicas import ReadServers
from registry.queries.search import SearchQueries
from registry.queries.sources import SourceQueries
from registry.queries.streams import StreamReader
from registry.transparency.checkpoint import BadKey
from registry.transparency.cosigning import WitnessAddress, Witnesses, parse_addresses
from registry.transparency.evidence import Evidence
from registry.transparency.signing_keys import KeySource
from registry.transparency.witness import Witness
from registry.web import router as pages
from registry.web.errors import APPLICATION_HANDLERS, page_before_routes
from registry.web.imports.runner import ImportJobs

if TYPE_CHECKING:
    from registry.api.tracing import Tracing

# Seconds after which a statement counts as lost, and its request is answered.
STATEMENT_SECONDS = 15.0


class Services(Struct):
    """What handlers depend on: each asks for a service by the name that it has here."""

    settings: Settings
    calendar: Calendar
    pool: Pool
    recorder: Recorder
    streams: StreamReader
    deal_queries: DealQueries
    portfolio_queries: PortfolioQueries
    organization_queries: OrganizationQueries
    organization_merges: OrganizationMerges
    named_organizations: NamedOrganizations
    search_queries: SearchQueries
    log_queries: LogQueries
    import_queries: ImportQueries
    matching_events: MatchingEvents
    source_queries: SourceQueries
    principals: Principals
    identities: Identities
    box: SecretBox
    sessions: Sessions
    proposals: Proposals
    feed: Feed
    webhooks: Webhooks
    watches: Watches
    import_jobs: ImportJobs
    evidence: Evidence
    metrics: Metrics
    preparation: Preparation
    readiness: Probe[dict[str, Any]]
    log_head: Probe[Head]
    gauges: ServiceGauges
    parts: Parts
    mirror: MirrorStatus | None
    witness: Witness | None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def end_streams(self) -> None:
        """End the event streams and the imports: the service stops, and its server waits for open responses."""
        self.stopping.set()
        self.feed.end()


@asynccontextmanager
async def open_services(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    """Open the pools and start the background tasks; stop them on exit."""
    assert settings.database_url is not None
    calendar = Calendar(settings.time_zone)
    open_pool = partial(postgres.pool, pooling=settings.pooling)
    continuity = ContinuityGuard(settings.data_dir / MARK_FILE)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(memory.returned())
        pool = await stack.enter_async_context(
            await open_pool(
                settings.database_url, name="registry", max_size=settings.pool_size, timeout=STATEMENT_SECONDS
            )
        )
        owner = None
        if settings.owner_url is not None:
            owner = await stack.enter_async_context(
                await postgres.pool(settings.owner_url, name="registry owner", min_size=0, max_size=2)
            )
        # A replica may be down when the service starts.
        replicas = [
            await stack.enter_async_context(
                await open_pool(
                    url,
                    name="registry reads",
                    min_size=0,
                    max_size=settings.pool_size,
                    timeout=STATEMENT_SECONDS,
                    read_only=True,
                )
            )
            for url in settings.replica_urls
        ]
        # The recorder has connections of its own, so that slow reads do not delay it.
        recorder_pool = await stack.enter_async_context(
            await open_pool(
                settings.database_url,
                name="registry recorder",
                min_size=1,
                max_size=settings.recorder_pool_size,
                timeout=STATEMENT_SECONDS,
                by_key=True,
            )
        )
        # Evidence too, and without a timeout: its first statement reads every stream.
        evidence_pool = await stack.enter_async_context(
            await open_pool(
                settings.database_url, name="registry evidence", min_size=1, max_size=settings.evidence_pool_size
            )
        )

        async def reconnect() -> None:
            """Connect again before the next statement: another server may have become the primary."""
            for connected in (pool, recorder_pool, evidence_pool):
                await connected.expire_connections()

        continuity.lost_listeners.append(reconnect)
        mirror = await mirror_state.load(pool)
        log_name = mirror.origin if mirror is not None else settings.log_origin
        await stack.enter_async_context(continuity.watching(pool))
        rates = RateCache(settings.rate_sources)
        recorder = Recorder(
            recorder_pool,
            owner,
            clock_tolerance=timedelta(seconds=settings.clock_tolerance),
            calendar=calendar,
            rates=rates,
            continuity=continuity,
            four_eyes=frozenset(settings.four_eyes),
        )
        await stack.enter_async_context(recorder)
        continuity.lost_listeners.append(recorder.abandon_stuck_batch)
        evidence = Evidence(
            evidence_pool,
            KeySource.of(settings),
            export=settings.checkpoint_export,
            seconds=settings.checkpoint_seconds,
            continuity=continuity,
            mirror=mirror,
            witnesses=Witnesses(witness_addresses(settings)) if settings.witnesses else None,
        )
        recorder.commit_listeners.append(evidence.committed)
        await stack.enter_async_context(evidence)
        feed = await stack.enter_async_context(Feed(pool, use_notify=not settings.transaction_pooler, source=log_name))
        recorder.commit_listeners.append(feed.on_commit)
        box = SecretBox(settings.secrets_key or settings.data_dir / "secrets.key")
        principals = Principals(pool)
        recorder.commit_listeners.append(lambda _: principals.expire() if recorder.changed_rights else None)
        feed.notify_listeners.append(lambda payload: principals.expire() if payload == NOTIFY_RIGHTS else None)
        mailer = Mailer(settings.smtp_url, settings.smtp_from or "") if settings.smtp_url and mirror is None else None
        provider = None
        if settings.oidc is not None:
            # Imported here: a service without a provider starts without an HTTP client and a JWT library.
            from registry.infra import oidc

            provider = await stack.enter_async_context(oidc.provider(settings.oidc))
        if settings.admin_key is not None and mirror is None:
            await stack.enter_async_context(registered_admin_key(settings.admin_key, recorder, pool, principals))
        servers = await stack.enter_async_context(
            ReadServers(pool, replicas, continuity, max_lag=settings.replica_max_lag)
        )
        streams = StreamReader(servers, calendar, rates, continuity)
        organizations = OrganizationQueries(streams)
        deals, log_queries = DealQueries(streams), LogQueries(streams)
        import_queries = ImportQueries(streams, deals)
        proposals = Proposals(pool, recorder, box)
        import_jobs = await stack.enter_async_context(
            ImportJobs(
                settings.data_dir / "imports",
                recorder,
                proposals,
                (import_queries, deals, log_queries),
                frozenset(settings.four_eyes),
            )
        )
        copy = await stack.enter_async_context(ColumnarCopy(pool, settings.data_dir / "columnar", PATIENCE_SECONDS))
        recorder.commit_listeners.append(lambda _: copy.follow_soon())
        feed.notify_listeners.append(lambda _: copy.follow_soon())
        # Deliveries read from the primary: a replica may lack what was just recorded.
        primary = StreamReader(pool, calendar, rates)
        delivered = MatchingEvents(LogQueries(primary), PortfolioQueries(primary, OrganizationQueries(primary), copy))
        webhooks = Webhooks(pool, delivered, box, principals, settings.webhook_networks, source=log_name)
        recorder.commit_listeners.append((await stack.enter_async_context(webhooks)).on_commit)
        watches = Watches(pool, delivered, box, principals, calendar, mailer, settings.site or "")
        recorder.commit_listeners.append((await stack.enter_async_context(watches)).on_commit)
        named_organizations = NamedOrganizations(streams, organizations, copy)
        witness = None
        if mirror is not None and settings.witness_name is not None:
            file = settings.data_dir / "witness.key"
            witness = Witness.open(evidence_pool, file, settings.witness_name, mirror.origin)
        status = MirrorStatus(url=mirror.url) if mirror is not None else None
        if status is not None:
            # Imported here: a service that follows no other registry needs no HTTP client.
            from registry.mirror.follower import Follower
            from registry.mirror.origin import Origin

            origin = await stack.enter_async_context(Origin(status.url))
            follower = Follower(pool, owner, origin, status, continuity=continuity, seconds=settings.follow_seconds)
            follower.commit_listeners += [feed.on_commit, lambda _: copy.follow_soon()]
            await stack.enter_async_context(follower)
        portfolio = PortfolioQueries(streams, organizations, copy)
        preparation = await stack.enter_async_context(Preparation(copy, portfolio))
        yield Services(
            settings=settings,
            calendar=calendar,
            pool=pool,
            recorder=recorder,
            streams=streams,
            deal_queries=deals,
            portfolio_queries=portfolio,
            organization_queries=organizations,
            organization_merges=OrganizationMerges(recorder, organizations),
            named_organizations=named_organizations,
            search_queries=SearchQueries(portfolio, named_organizations, pool),
            log_queries=log_queries,
            import_queries=import_queries,
            matching_events=MatchingEvents(log_queries, portfolio),
            source_queries=SourceQueries(streams),
            principals=principals,
            identities=Identities(recorder, principals, provider),
            box=box,
            sessions=Sessions(pool, box),
            proposals=proposals,
            feed=feed,
            webhooks=webhooks,
            watches=watches,
            import_jobs=import_jobs,
            evidence=evidence,
            metrics=metrics,
            preparation=preparation,
            readiness=await stack.enter_async_context(Probe()),
            log_head=await stack.enter_async_context(Probe()),
            gauges=ServiceGauges(metrics.registry),
            mirror=status,
            witness=witness,
            parts=Parts(
                recorder,
                streams,
                evidence,
                feed,
                webhooks,
                copy,
                {"reads": pool, "recorder": recorder_pool, "evidence": evidence_pool},
                status,
            ),
        )


def witness_addresses(settings: Settings) -> tuple[WitnessAddress, ...]:
    """The witnesses that the settings name.

    Raises:
        BadSetting: They are no pairs of a key and an address.
    """
    try:
        return parse_addresses(" ".join(settings.witnesses))
    except (ValueError, BadKey) as error:
        problem = SettingProblem("witnesses", value=str(error)[:200])
        raise BadSetting(setting="REGISTRY_WITNESSES (--witnesses)", reason=problem) from None


def create_app(settings: Settings) -> Litestar:
    """Make the application. Its database must exist and be migrated when it starts.

    Raises:
        BadSetting: The settings contradict each other, or name what this release does not know.
    """
    _check(settings)
    tracing = _tracing(settings)

    def provide(name: str) -> Provide:
        def provider() -> Any:
            return getattr(app.state.services, name)

        return Provide(provider, sync_to_thread=False)

    app = Litestar(
        route_handlers=[api.create_router(), pages.create_router()],
        dependencies={name: provide(name) for name in Services.__struct_fields__},
        lifespan=[_lifespan],
        exception_handlers={**HANDLERS, **APPLICATION_HANDLERS},
        openapi_config=openapi_config(),
        include_in_schema=False,
        plugins=[MsgspecSchemas(), *([tracing.plugin] if tracing else [])],
        before_send=[tracing.name_span] if tracing else [],
        cors_config=cors_config(settings.cors_origins) if settings.cors_origins else None,
        request_max_body_size=None,
        logging_config=None,
    )
    _list_all_methods(app)
    app.state.update(settings=settings, routes=app.asgi_handler, tracing=tracing)
    return app


def _check(settings: Settings) -> None:
    """Check settings that several packages must understand.

    Raises:
        BadSetting: They name what this release does not know.
    """
    if unknown := set(settings.four_eyes) - EVENT_TYPES.keys():
        problem = SettingProblem("event_type", value=min(unknown))
        raise BadSetting(setting="REGISTRY_FOUR_EYES (--four-eyes)", reason=problem)
    granted = {scope for scopes in settings.oidc_rights.values() for scope in scopes}
    if unknown := granted - set(SCOPES):
        problem = SettingProblem("oidc_scope", value=min(unknown), known=SCOPES)
        raise BadSetting(setting="REGISTRY_OIDC_RIGHTS (--oidc-rights)", reason=problem)
    witness_addresses(settings)


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    """Run the services of an application while it serves."""
    settings, tracing = app.state.settings, app.state.tracing
    metrics, access_log = Metrics(), AccessLogWriter()
    async with tracing.running() if tracing else nullcontext(), open_services(settings, metrics) as services:
        limiter = RateLimiter(settings.rate_limits, services.identities.find)
        app.asgi_handler = RequestMiddleware(
            app.state.routes,
            metrics,
            access_log,
            limiter,
            page_before_routes,
            HostNames(settings.host, settings.site, settings.allowed_hosts),
            settings.data_licence,
        )
        app.state.update(services=services, access_log=access_log)
        recorder = services.recorder

        def observe(_: Head) -> None:
            metrics.group.observe(recorder.last_batch_size)
            metrics.batch_seconds.observe(recorder.last_batch_seconds)
            metrics.projection_seconds.observe(recorder.last_projection_seconds)

        recorder.commit_listeners.append(observe)
        if tracing is not None:
            recorder.batch_span = tracing.batch_span
        preparing = asyncio.create_task(asyncio.to_thread(pages.prepare_pages))
        yield
        await preparing
    access_log.write()


def _tracing(settings: Settings) -> Tracing | None:
    """The traces of the service, if a collector is set.

    Raises:
        BadSetting: The packages that send traces are not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    # Imported here: the packages are those of an extra, and a service without traces starts without them.
    try:
        from registry.api.tracing import Tracing
    except (ImportError, MissingDependencyException):
        problem = SettingProblem("otel_missing")
        raise BadSetting(setting="REGISTRY_OTLP_ENDPOINT (--otlp-endpoint)", reason=problem) from None
    return Tracing(settings.otlp_endpoint)


def _list_all_methods(app: Litestar) -> None:
    """Make OPTIONS list every method of a path: Litestar keeps the answer that it made for the path's first handler."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            first, parameters = route.route_handler_map["OPTIONS"]
            handler = route.create_options_handler(route.path)
            handler.owner = first.owner
            handler.on_registration(app)
            route.route_handler_map["OPTIONS"] = handler, parameters
