"""The services that handlers depend on, and how they are opened: each after those that it depends on.

`open_services` has the order of the parts; each function after it opens one part. Hence the length of this file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from registry.append.admin_key import registered_admin_key
from registry.append.identities import Identities
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
from registry.events.mirror_state import Mirror, MirrorStatus
from registry.events.notifications import NOTIFY_RIGHTS
from registry.events.write_batch import Head
from registry.http.metrics import Parts, ServiceGauges
from registry.http.probe import Probe
from registry.http.process_metrics import Metrics
from registry.infra import memory, postgres
from registry.infra.postgres import Pool
from registry.infra.problems import SettingProblem
from registry.infra.secret_box import SecretBox
from registry.infra.sessions import Sessions
from registry.infra.settings import Settings
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.copy import PATIENCE_SECONDS
from registry.projections.exchange_rates import RateCache
from registry.queries.comparisons import ComparisonQueries
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
from registry.transparency.certificates import Certificates
from registry.transparency.checkpoint import BadKey
from registry.transparency.cosigning import WitnessAddress, Witnesses, parse_addresses
from registry.transparency.evidence import Evidence
from registry.transparency.signing_keys import KeySource
from registry.transparency.witness import Witness
from registry.web.imports.runner import ImportJobs

if TYPE_CHECKING:
    from registry.infra.oidc import Provider

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
    comparison_queries: ComparisonQueries
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
    certificates: Certificates
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
    """Open the pools and start the background tasks; stop them on exit, in the reverse order."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(memory.returned())
        pools = await _open_pools(stack, settings)
        log = await _open_log(stack, settings, pools)
        access = await _open_access(stack, settings, pools, log)
        queries = await _open_queries(stack, settings, pools, log)
        webhooks, watches = await _open_deliveries(stack, settings, pools, log, access, queries.copy)
        proposals = Proposals(pools.reads, log.recorder, access.box)
        import_jobs = await stack.enter_async_context(
            ImportJobs(
                settings.data_dir / "imports",
                log.recorder,
                proposals,
                access.principals,
                (queries.imports, queries.deals, queries.log),
                frozenset(settings.four_eyes),
            )
        )
        mirror = await _follow(stack, settings, pools, log, queries.copy)
        yield Services(
            settings=settings,
            calendar=log.calendar,
            pool=pools.reads,
            recorder=log.recorder,
            streams=queries.streams,
            deal_queries=queries.deals,
            portfolio_queries=queries.portfolio,
            comparison_queries=ComparisonQueries(queries.streams, queries.portfolio, queries.copy),
            organization_queries=queries.organizations,
            organization_merges=OrganizationMerges(log.recorder, queries.organizations),
            named_organizations=queries.named_organizations,
            search_queries=SearchQueries(queries.portfolio, queries.named_organizations, pools.reads),
            log_queries=queries.log,
            import_queries=queries.imports,
            matching_events=MatchingEvents(queries.log, queries.portfolio),
            source_queries=SourceQueries(queries.streams),
            principals=access.principals,
            identities=Identities(log.recorder, access.principals, access.provider),
            box=access.box,
            sessions=Sessions(pools.reads, access.box),
            proposals=proposals,
            feed=log.feed,
            webhooks=webhooks,
            watches=watches,
            import_jobs=import_jobs,
            evidence=log.evidence,
            certificates=Certificates(pools.evidence, log.evidence, log.calendar),
            metrics=metrics,
            preparation=await stack.enter_async_context(Preparation(queries.copy, queries.portfolio)),
            readiness=await stack.enter_async_context(Probe()),
            log_head=await stack.enter_async_context(Probe()),
            gauges=ServiceGauges(metrics.registry),
            mirror=mirror,
            witness=_witness(settings, pools, log),
            parts=Parts(
                log.recorder,
                queries.streams,
                log.evidence,
                log.feed,
                webhooks,
                queries.copy,
                {"reads": pools.reads, "recorder": pools.recorder, "evidence": pools.evidence},
                mirror,
            ),
        )


class _Pools(Struct):
    """The connections to Postgres."""

    reads: Pool
    owner: Pool | None
    replicas: list[Pool]
    recorder: Pool
    evidence: Pool


async def _open_pools(stack: AsyncExitStack, settings: Settings) -> _Pools:
    assert settings.database_url is not None
    primary, pooling = settings.database_url, settings.pooling

    async def opened(url: str, name: str, **options: Any) -> Pool:
        return await stack.enter_async_context(await postgres.pool(url, name=name, **options))

    return _Pools(
        reads=await opened(
            primary, "registry", max_size=settings.pool_size, timeout=STATEMENT_SECONDS, pooling=pooling
        ),
        owner=await opened(settings.owner_url, "registry owner", min_size=0, max_size=2)
        if settings.owner_url is not None
        else None,
        # A replica may be down when the service starts.
        replicas=[
            await opened(
                url,
                "registry reads",
                min_size=0,
                max_size=settings.pool_size,
                timeout=STATEMENT_SECONDS,
                read_only=True,
                pooling=pooling,
            )
            for url in settings.replica_urls
        ],
        # The recorder has connections of its own, so that slow reads do not delay it.
        recorder=await opened(
            primary,
            "registry recorder",
            min_size=1,
            max_size=settings.recorder_pool_size,
            timeout=STATEMENT_SECONDS,
            by_key=True,
            pooling=pooling,
        ),
        # Evidence too, and without a timeout: its first statement reads every stream.
        evidence=await opened(
            primary, "registry evidence", min_size=1, max_size=settings.evidence_pool_size, pooling=pooling
        ),
    )


class _Log(Struct):
    """The writer of the log, and what follows its commits. `mirror` says which log this one is a mirror of."""

    calendar: Calendar
    continuity: ContinuityGuard
    mirror: Mirror | None
    name: str
    rates: RateCache
    recorder: Recorder
    evidence: Evidence
    feed: Feed


async def _open_log(stack: AsyncExitStack, settings: Settings, pools: _Pools) -> _Log:
    calendar = Calendar(settings.time_zone)
    continuity = ContinuityGuard(settings.data_dir / MARK_FILE)

    async def reconnect() -> None:
        """Connect again before the next statement: another server may have become the primary."""
        for pool in (pools.reads, pools.recorder, pools.evidence):
            await pool.expire_connections()

    continuity.lost_listeners.append(reconnect)
    mirror = await mirror_state.load(pools.reads)
    name = mirror.origin if mirror is not None else settings.log_origin
    await stack.enter_async_context(continuity.watching(pools.reads))
    rates = RateCache(settings.rate_sources)
    recorder = Recorder(
        pools.recorder,
        pools.owner,
        clock_tolerance=timedelta(seconds=settings.clock_tolerance),
        calendar=calendar,
        rates=rates,
        continuity=continuity,
        four_eyes=frozenset(settings.four_eyes),
    )
    await stack.enter_async_context(recorder)
    continuity.lost_listeners.append(recorder.abandon_stuck_batch)
    evidence = Evidence(
        pools.evidence,
        KeySource.of(settings),
        export=settings.checkpoint_export,
        seconds=settings.checkpoint_seconds,
        continuity=continuity,
        mirror=mirror,
        witnesses=Witnesses(witness_addresses(settings)) if settings.witnesses else None,
    )
    recorder.commit_listeners.append(evidence.committed)
    await stack.enter_async_context(evidence)
    feed = await stack.enter_async_context(Feed(pools.reads, use_notify=not settings.transaction_pooler, source=name))
    recorder.commit_listeners.append(feed.on_commit)
    return _Log(calendar, continuity, mirror, name, rates, recorder, evidence, feed)


class _Access(Struct):
    """Who may do what: the principals, the provider through which people sign in, and the keys of secrets."""

    box: SecretBox
    principals: Principals
    provider: Provider | None


async def _open_access(stack: AsyncExitStack, settings: Settings, pools: _Pools, log: _Log) -> _Access:
    principals, recorder = Principals(pools.reads, public_read=settings.public_read), log.recorder
    recorder.commit_listeners.append(lambda _: principals.expire() if recorder.changed_rights else None)
    log.feed.notify_listeners.append(lambda payload: principals.expire() if payload == NOTIFY_RIGHTS else None)
    provider = None
    if settings.oidc is not None:
        # Imported here: a service without a provider starts without an HTTP client and a JWT library.
        from registry.infra import oidc

        provider = await stack.enter_async_context(oidc.provider(settings.oidc))
    if settings.admin_key is not None and log.mirror is None:
        await stack.enter_async_context(registered_admin_key(settings.admin_key, recorder, pools.reads, principals))
    return _Access(SecretBox(settings.secrets_key or settings.data_dir / "secrets.key"), principals, provider)


class _Queries(Struct):
    """The questions that handlers ask, and the columnar copy, which answers those about all deals."""

    streams: StreamReader
    organizations: OrganizationQueries
    deals: DealQueries
    log: LogQueries
    imports: ImportQueries
    copy: ColumnarCopy
    portfolio: PortfolioQueries
    named_organizations: NamedOrganizations


async def _open_queries(stack: AsyncExitStack, settings: Settings, pools: _Pools, log: _Log) -> _Queries:
    servers = await stack.enter_async_context(
        ReadServers(pools.reads, pools.replicas, log.continuity, max_lag=settings.replica_max_lag)
    )
    streams = StreamReader(servers, log.calendar, log.rates, log.continuity)
    copy = await stack.enter_async_context(ColumnarCopy(pools.reads, settings.data_dir / "columnar", PATIENCE_SECONDS))
    log.recorder.commit_listeners.append(lambda _: copy.follow_soon())
    log.feed.notify_listeners.append(lambda _: copy.follow_soon())
    organizations, deals = OrganizationQueries(streams), DealQueries(streams)
    return _Queries(
        streams=streams,
        organizations=organizations,
        deals=deals,
        log=LogQueries(streams),
        imports=ImportQueries(streams, deals),
        copy=copy,
        portfolio=PortfolioQueries(streams, organizations, copy),
        named_organizations=NamedOrganizations(streams, organizations, copy),
    )


async def _open_deliveries(
    stack: AsyncExitStack, settings: Settings, pools: _Pools, log: _Log, access: _Access, copy: ColumnarCopy
) -> tuple[Webhooks, Watches]:
    # Deliveries read from the primary: a replica may lack what was just recorded.
    primary = StreamReader(pools.reads, log.calendar, log.rates)
    delivered = MatchingEvents(LogQueries(primary), PortfolioQueries(primary, OrganizationQueries(primary), copy))
    shared = (pools.reads, delivered, access.box, access.principals)
    webhooks = Webhooks(*shared, settings.webhook_networks, source=log.name)
    log.recorder.commit_listeners.append((await stack.enter_async_context(webhooks)).on_commit)
    mailer = Mailer(settings.smtp_url, settings.smtp_from or "") if settings.smtp_url and log.mirror is None else None
    watches = Watches(*shared, log.calendar, mailer, settings.site or "")
    log.recorder.commit_listeners.append((await stack.enter_async_context(watches)).on_commit)
    return webhooks, watches


async def _follow(
    stack: AsyncExitStack, settings: Settings, pools: _Pools, log: _Log, copy: ColumnarCopy
) -> MirrorStatus | None:
    """Follow the log that this one is a mirror of, if it is one."""
    if log.mirror is None:
        return None
    # Imported here: a service that follows no other registry needs no HTTP client.
    from registry.mirror.follower import Follower
    from registry.mirror.origin import Origin

    status = MirrorStatus(url=log.mirror.url)
    origin = await stack.enter_async_context(Origin(status.url))
    follower = Follower(
        pools.reads, pools.owner, origin, status, continuity=log.continuity, seconds=settings.follow_seconds
    )
    follower.commit_listeners += [log.feed.on_commit, lambda _: copy.follow_soon()]
    await stack.enter_async_context(follower)
    return status


def _witness(settings: Settings, pools: _Pools, log: _Log) -> Witness | None:
    """The witness of the followed log's checkpoints, if this mirror cosigns them."""
    if log.mirror is None or settings.witness_name is None:
        return None
    return Witness.open(pools.evidence, settings.data_dir / "witness.key", settings.witness_name, log.mirror.origin)


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
