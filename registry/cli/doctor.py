"""`registry doctor`: check whether the registry can run here, and say what to do if not. Changes nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shlex
import shutil
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
import typer
from msgspec import Struct
from msgspec.structs import replace

from registry.append.clock import ClockGuard
from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.texts import Text, rendered
from registry.delivery import webhook_store
from registry.domain.calendar import Calendar
from registry.errors import HealthWarning, ProviderUnavailable, RegistryError, SecretUnreadable
from registry.events import mirror_state, write_batch
from registry.events.continuity import MARK_FILE, ContinuityGuard
from registry.i18n import Message
from registry.infra import postgres, sockets
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import Embedded
from registry.infra.embedded.user import User
from registry.infra.postgres import Pool
from registry.infra.problems import SettingProblem
from registry.infra.secret_box import SecretBox
from registry.infra.server_facts import ServerFacts, read_facts
from registry.infra.settings import Settings
from registry.projections.exchange_rates import RateCache, rates_warning
from registry.projections.rebuild import outdated_tables
from registry.transparency.evidence import Evidence
from registry.transparency.signing_keys import KeySource

MIN_FREE_BYTES = 1_000_000_000

# Of the owner's pool, for redactions.
OWNER_CONNECTIONS = 2

Check = Callable[[Settings], Text]
T = TypeVar("T")


class CheckFailed(Exception):
    """A check failed; `problem` says what to do."""

    def __init__(self, problem: Message) -> None:
        super().__init__(problem)
        self.problem = problem


class CheckWarning(CheckFailed):
    """A check found something that does not keep the registry from running."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


@with_settings()
def doctor(settings: Settings, as_json: AsJson = False) -> None:
    """Check this machine and the settings. Exits with 1 if a check fails."""
    # What a check logs does not belong into the answer.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    rows = list(_run_checks(settings))
    show(rows, as_json=as_json)
    if any(row["found"] == "wrong" for row in rows):
        raise typer.Exit(1)


def _run_checks(settings: Settings) -> Iterator[dict[str, str]]:
    is_database_usable = not _is_new(settings)
    for one in CHECKS:
        if not one.applies(settings) or (one.needs_database and not is_database_usable):
            continue
        result, detail = _result_of(one.run, settings)
        if one.run is _database and result == "wrong":
            is_database_usable = False
        yield {"check": rendered(one.name), "found": result, "detail": detail}


def _result_of(check: Check, settings: Settings) -> tuple[str, str]:
    try:
        return "fine", rendered(check(settings))
    except CheckWarning as error:
        return "warning", rendered(error.problem)
    except CheckFailed as error:
        return "wrong", rendered(error.problem)
    except RegistryError as error:
        return "wrong", rendered(error.message)
    except OSError as error:
        return "wrong", str(error)


def _python(settings: Settings) -> Text:
    return Text("python", version=platform.python_version(), platform=platform.platform())


def _data_dir(settings: Settings) -> Text:
    existing = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CheckFailed(Text("data_dir_unwritable", directory=str(existing)))
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        raise CheckFailed(Text("disk_full", directory=str(existing), free_mb=free // 1_000_000))
    free_gb = free // 1_000_000_000
    if existing == settings.data_dir:
        return Text("data_dir", directory=str(settings.data_dir), free_gb=free_gb)
    return Text("data_dir_new", directory=str(settings.data_dir), free_gb=free_gb)


def _own_postgres(settings: Settings) -> Text:
    binaries = find_binaries(User.for_data_dir())
    return Text("postgres", version=binaries.version, directory=str(binaries.bin))


def _database(settings: Settings) -> Text:
    if settings.database_url is not None:
        asyncio.run(server.check(settings))
        return Text("database")
    if _is_new(settings):
        return Text("database_new")
    with Embedded(settings.data_dir) as own:
        asyncio.run(server.check(replace(settings, database_url=own.app_url)))
        return Text("database_bundled", version=own.version)


def _server(settings: Settings) -> Text:
    facts = _in_database(settings, read_facts)
    budget = settings.pool_size + settings.recorder_pool_size + settings.evidence_pool_size + OWNER_CONNECTIONS
    if facts.is_standby:
        raise CheckFailed(Text("server_standby"))
    if facts.invalid_indexes:
        raise CheckFailed(Text("server_indexes", indexes=", ".join(facts.invalid_indexes)))
    if not facts.is_durable:
        raise CheckWarning(Text("server_durability"))
    if facts.archive_fails:
        raise CheckWarning(Text("server_archive"))
    if settings.database_url is not None and (facts.is_superuser or facts.owns_log):
        raise CheckWarning(Text("server_rights"))
    if not settings.transaction_pooler and facts.connections - facts.used < budget:
        raise CheckWarning(Text("server_connections", most=facts.connections, used=facts.used, budget=budget))
    return Text("server", most=facts.connections, used=facts.used, budget=budget)


def _owner(settings: Settings) -> Text:
    async def facts(url: str) -> ServerFacts:
        with server.readable_errors():
            async with await postgres.pool(url, name="registry doctor", min_size=1, max_size=1) as pool:
                return await read_facts(pool)

    assert settings.owner_url is not None
    found = asyncio.run(facts(settings.owner_url))
    if found.is_standby:
        raise CheckFailed(Text("server_standby"))
    if not found.owns_log:
        raise CheckFailed(Text("owner_without_rights"))
    return Text("owner")


def _log(settings: Settings) -> Text:
    guard = ContinuityGuard(settings.data_dir / MARK_FILE)
    return Text("log_whole", position=_in_database(settings, guard.check).position)


def _projections(settings: Settings) -> Text:
    tables = _in_database(settings, outdated_tables)
    if tables:
        raise CheckWarning(Text("projections_outdated", tables=", ".join(tables)))
    return Text("projections")


def _signer(settings: Settings) -> Text:
    source = KeySource.of(settings)

    async def newest(pool: Pool) -> tuple[int, HealthWarning | None]:
        mirror = await mirror_state.load(pool)
        if mirror is None:
            await source.check(pool)
        evidence = Evidence(pool, source, seconds=settings.checkpoint_seconds, mirror=mirror)
        return (await evidence.unsigned()).size, await evidence.warning()

    size, warning = _in_database(settings, newest)
    if warning is not None:
        raise CheckFailed(warning)
    if not source.is_available:
        return Text("signer_elsewhere", size=size)
    return Text("signer", size=size)


def _export(settings: Settings) -> Text:
    target = settings.checkpoint_export
    assert target is not None
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise CheckFailed(Text("export_unwritable", file=str(target)))
    return Text("export", file=str(target))


def _replicas(settings: Settings) -> Text:
    async def position(url: str) -> int:
        pool = await postgres.pool(url, name="registry doctor", min_size=1, max_size=1, pooling=settings.pooling)
        async with pool:
            return (await write_batch.head(pool)).position

    for number, url in enumerate(settings.replica_urls, 1):
        try:
            asyncio.run(position(url))
        except (*postgres.ERRORS, TimeoutError) as error:
            problem = Text("replica_down", number=number, problem=str(error) or type(error).__name__)
            raise CheckWarning(problem) from None
    return Text("replicas", total=len(settings.replica_urls))


def _clock_alone(settings: Settings) -> Text:
    ClockGuard(timedelta(seconds=settings.clock_tolerance)).read()
    return Text("clock_alone")


def _clock(settings: Settings) -> Text:
    warning = _in_database(settings, ClockGuard(timedelta(seconds=settings.clock_tolerance)).check)
    if warning is not None:
        raise CheckFailed(warning)
    return Text("clock")


def _rates(settings: Settings) -> Text:
    rates = _in_database(settings, RateCache(settings.rate_sources).latest)
    today = Calendar(settings.time_zone).today()
    newest = rates.newest(today)
    warning = rates_warning(rates, today)
    if warning is not None or newest is None:
        raise CheckWarning(warning or Text("rates_new"))
    return Text("rates", source=newest.source, day=newest.day, days=newest.age_days)


def _secrets(settings: Settings) -> Text:
    file = _secrets_file(settings)
    if not file.exists():
        return Text("secrets_new", file=str(file))
    try:
        total = SecretBox(file).check()
    except SecretUnreadable:
        raise CheckFailed(Text("secrets_unusable", file=str(file))) from None
    return Text("secrets", file=str(file), total=total)


def _key_files(settings: Settings) -> Text:
    files = (settings.signing_key, _secrets_file(settings), settings.data_dir / "postgres.passwords")
    readable = [str(file) for file in files if file.exists() and file.stat().st_mode & stat.S_IRWXO]
    if readable:
        raise CheckWarning(Text("key_files_open", files=", ".join(readable), arguments=shlex.join(readable)))
    return Text("key_files")


def _secrets_file(settings: Settings) -> Path:
    return settings.secrets_key or settings.data_dir / "secrets.key"


def _webhooks(settings: Settings) -> Text:
    found = _in_database(settings, webhook_store.load_all)
    file = _secrets_file(settings)
    try:
        for _, secrets in found:
            SecretBox(file).decrypt(secrets.current)
    except SecretUnreadable:
        raise CheckFailed(Text("secrets_unusable", file=str(file))) from None
    disabled = [webhook.id for webhook, _ in found if webhook.disabled_at is not None]
    if disabled:
        raise CheckWarning(Text("webhooks_disabled", ids=", ".join(disabled)))
    return Text("webhooks", total=len(found))


def _oidc(settings: Settings) -> Text:
    # Imported here: a check without a provider needs no HTTP client and no JWT library.
    from registry.infra import oidc

    provider = settings.oidc
    assert provider is not None

    async def check() -> None:
        async with oidc.provider(provider) as connected:
            await connected.check()

    try:
        asyncio.run(check())
    except ProviderUnavailable as error:
        raise CheckWarning(error.message) from None
    return Text("oidc", issuer=provider.issuer)


def _otlp(settings: Settings) -> Text:
    endpoint = settings.otlp_endpoint or ""
    parts = urlsplit(endpoint)
    if importlib.util.find_spec("opentelemetry") is None:
        raise CheckFailed(SettingProblem("otel_missing"))
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError as error:
        problem = error.strerror or str(error)
        raise CheckWarning(Text("otlp_down", endpoint=endpoint, problem=problem)) from None
    return Text("otlp", endpoint=endpoint)


def _is_new(settings: Settings) -> bool:
    """Whether the first start will make the database."""
    return settings.database_url is None and not (settings.data_dir / "postgres").exists()


def _in_database(settings: Settings, work: Callable[[Pool], Awaitable[T]]) -> T:
    """Run a function with a pool of the settings' database."""

    async def connected(url: str) -> T:
        with server.readable_errors():
            async with await postgres.pool(url, name="registry doctor", max_size=1, pooling=settings.pooling) as pool:
                return await work(pool)

    if settings.database_url is not None:
        return asyncio.run(connected(settings.database_url))
    with Embedded(settings.data_dir) as own:
        return asyncio.run(connected(own.app_url))


def _port(settings: Settings) -> Text:
    try:
        sockets.bind(settings.host, settings.port).close()
    except OSError as error:
        problem = Text("port_taken", host=settings.host, port=settings.port, problem=error.strerror or str(error))
        raise CheckFailed(problem) from None
    return Text("port_free", host=settings.host, port=settings.port)


def _keys(settings: Settings) -> Text:
    if settings.admin_key is not None:
        return Text("admin_key_and_keys")
    return Text("keys")


class NamedCheck(Struct, frozen=True):
    """A check, and whether it applies.

    Attributes:
        needs_database: It is left out if the database cannot be used.
        applies: Whether the settings name what is checked.
    """

    name: Text
    run: Check
    needs_database: bool = False
    applies: Callable[[Settings], bool] = lambda _: True


CHECKS = (
    NamedCheck(Text("check_python"), _python),
    NamedCheck(Text("check_data_dir"), _data_dir),
    NamedCheck(Text("check_postgres"), _own_postgres, applies=lambda settings: settings.database_url is None),
    NamedCheck(Text("check_database"), _database),
    NamedCheck(Text("check_server"), _server, needs_database=True),
    NamedCheck(Text("check_owner"), _owner, applies=lambda settings: settings.owner_url is not None),
    NamedCheck(Text("check_log"), _log, needs_database=True),
    NamedCheck(Text("check_projections"), _projections, needs_database=True),
    NamedCheck(Text("check_signer"), _signer, needs_database=True),
    NamedCheck(Text("check_export"), _export, applies=lambda settings: settings.checkpoint_export is not None),
    NamedCheck(Text("check_replicas"), _replicas, applies=lambda settings: bool(settings.replica_urls)),
    NamedCheck(Text("check_clock"), _clock_alone, applies=_is_new),
    NamedCheck(Text("check_clock"), _clock, needs_database=True),
    NamedCheck(Text("check_rates"), _rates, needs_database=True),
    NamedCheck(Text("check_secrets"), _secrets),
    NamedCheck(Text("check_key_files"), _key_files),
    NamedCheck(Text("check_webhooks"), _webhooks, needs_database=True),
    NamedCheck(Text("check_oidc"), _oidc, applies=lambda settings: settings.oidc is not None),
    NamedCheck(Text("check_otlp"), _otlp, applies=lambda settings: settings.otlp_endpoint is not None),
    NamedCheck(Text("check_port"), _port),
    NamedCheck(Text("check_keys"), _keys),
)
