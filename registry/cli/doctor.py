"""`registry doctor`: check whether the registry can run here, and say what to do if not. Changes nothing."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import typer
from msgspec.structs import replace

from registry.append.clock import ClockGuard
from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import HealthWarning, RegistryError
from registry.events import mirror_state, write_batch
from registry.events.continuity import MARK_FILE, ContinuityGuard
from registry.i18n import Message
from registry.infra import postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import Embedded
from registry.infra.embedded.user import User
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.projections.exchange_rates import RateCache, rates_warning
from registry.transparency.evidence import Evidence
from registry.transparency.signing_keys import KeySource

MIN_FREE_BYTES = 1_000_000_000

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
    """Check this machine and the settings. Ends with 1 if a check fails."""
    rows = list(_run_checks(settings))
    show(rows, as_json=as_json)
    if any(row["found"] == "wrong" for row in rows):
        raise typer.Exit(1)


def _run_checks(settings: Settings) -> Iterator[dict[str, str]]:
    checks: list[tuple[Text, Check]] = [(Text("check_python"), _python), (Text("check_data_dir"), _data_dir)]
    if settings.database_url is None:
        checks.append((Text("check_postgres"), _own_postgres))
    checks += [(Text("check_database"), _database), (Text("check_log"), _log), (Text("check_signer"), _signer)]
    if settings.replica_urls:
        checks.append((Text("check_replicas"), _replicas))
    checks += [(Text("check_clock"), _clock), (Text("check_rates"), _rates)]
    checks += [(Text("check_port"), _port), (Text("check_keys"), _keys)]
    has_failed: set[Check] = set()
    for name, check in checks:
        if check in NEED_DATABASE and _database in has_failed:
            continue
        result = "fine"
        try:
            detail = rendered(check(settings))
        except CheckWarning as error:
            result, detail = "warning", rendered(error.problem)
        except CheckFailed as error:
            result, detail = "wrong", rendered(error.problem)
        except RegistryError as error:
            result, detail = "wrong", rendered(error.message)
        except OSError as error:
            result, detail = "wrong", str(error)
        if result == "wrong":
            has_failed.add(check)
        yield {"check": rendered(name), "found": result, "detail": detail}


def _python(settings: Settings) -> Text:
    return Text("python", version=platform.python_version(), platform=platform.platform())


def _data_dir(settings: Settings) -> Text:
    existing = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
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
    if not _has_own_database(settings):
        return Text("database_new")
    with Embedded(settings.data_dir) as own:
        asyncio.run(server.check(replace(settings, database_url=own.app_url)))
        return Text("database_bundled", version=own.version)


def _log(settings: Settings) -> Text:
    if settings.database_url is None and not _has_own_database(settings):
        return Text("log_new")
    guard = ContinuityGuard(settings.data_dir / MARK_FILE)
    return Text("log_whole", position=_in_database(settings, guard.check).position)


def _signer(settings: Settings) -> Text:
    source = KeySource.of(settings)
    if settings.database_url is None and not _has_own_database(settings):
        return Text("log_new")

    async def newest(pool: Pool) -> tuple[int, HealthWarning | None]:
        mirror = await mirror_state.load(pool)
        evidence = Evidence(pool, source, seconds=settings.checkpoint_seconds, mirror=mirror)
        return (await evidence.unsigned()).size, await evidence.warning()

    size, warning = _in_database(settings, newest)
    if warning is not None:
        raise CheckFailed(warning)
    if not source.is_available:
        return Text("signer_elsewhere", size=size)
    return Text("signer", size=size)


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
    return Text("replicas", count=len(settings.replica_urls))


def _clock(settings: Settings) -> Text:
    guard = ClockGuard(timedelta(seconds=settings.clock_tolerance))
    if settings.database_url is None and not _has_own_database(settings):
        guard.read()
        return Text("clock_alone")
    warning = _in_database(settings, guard.check)
    if warning is not None:
        raise CheckFailed(warning)
    return Text("clock")


def _rates(settings: Settings) -> Text:
    if settings.database_url is None and not _has_own_database(settings):
        return Text("rates_new")
    rates = _in_database(settings, RateCache(settings.rate_sources).latest)
    today = datetime.now(UTC).date()
    newest = rates.newest(today)
    warning = rates_warning(rates, today)
    if warning is not None or newest is None:
        raise CheckWarning(warning or Text("rates_new"))
    return Text("rates", source=newest.source, day=newest.day, days=newest.age_days)


NEED_DATABASE: frozenset[Check] = frozenset({_log, _signer, _clock, _rates})


def _has_own_database(settings: Settings) -> bool:
    return (settings.data_dir / "postgres").exists()


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
        server.listen(settings.host, settings.port).close()
    except OSError as error:
        problem = Text("port_taken", host=settings.host, port=settings.port, problem=error.strerror or str(error))
        raise CheckFailed(problem) from None
    return Text("port_free", host=settings.host, port=settings.port)


def _keys(settings: Settings) -> Text:
    if settings.admin_key is not None:
        return Text("admin_key_and_keys")
    return Text("keys")
