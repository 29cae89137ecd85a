"""`registry rates`: import exchange rates from files, and list them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec.structs import asdict

from registry.append.clock import ClockGuard
from registry.append.rates import import_rates
from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.domain.calendar import Calendar
from registry.imports.rates import read_rates
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.projections.exchange_rates import RateCache

T = TypeVar("T")

group = typer.Typer(no_args_is_help=True, help="Import exchange rates, and list them.")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="rates")


@group.command("import")
@with_settings("database_url", "owner_url", "data_dir", "clock_tolerance")
def import_(
    settings: Settings,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV, TSV or ZIP file.")],
    source: Annotated[
        str | None, typer.Option(help="The source of rates that do not name theirs, such as BOK.", show_default=False)
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="The currency of which one unit is quoted. Default: the file's, or EUR.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record the rates of a file that are new or differ: ECB history, IMF table, SDMX-CSV, day,currency,per,source."""
    rows = read_rates(file, source, base)
    guard = ClockGuard(timedelta(seconds=settings.clock_tolerance))
    show([asdict(_in(settings, lambda pool: import_rates(pool, rows, guard)))], as_json=as_json)


@group.command("list")
@with_settings("database_url", "owner_url", "data_dir", "rate_sources", "time_zone")
def list_rates(
    settings: Settings,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day. Default: today in the registry's time zone."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only rates of this source.", show_default=False)] = None,
    currency: Annotated[str | None, typer.Option(help="Only rates of this currency.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the rates of a day, or the last ones before it, in the order in which the sources are tried."""
    rates = _in(settings, RateCache(settings.rate_sources).latest)
    on: date = day.date() if day is not None else Calendar(settings.time_zone).today()
    show([asdict(quote) for quote in rates.quotes_on(on, source, currency)], as_json=as_json)


def _in(settings: Settings, work: Callable[[Pool], Awaitable[T]]) -> T:
    """Run a function with a pool of the settings' database."""

    async def connected(url: str) -> T:
        with server.readable_errors():
            async with await postgres.pool(url, name="registry rates", max_size=1, pooling=settings.pooling) as pool:
                return await work(pool)

    with server.database(settings) as ready:
        assert ready.database_url is not None
        return asyncio.run(connected(ready.database_url))
