"""Run the service in this process, for `serve` and `demo`: its database, socket, log, server, and the ready line."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import typer
from msgspec.structs import replace

from registry.cli.options import stderr
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable
from registry.events.continuity import MARK_FILE, require_same_log
from registry.infra import memory, migrations, postgres
from registry.infra.embedded.server import Embedded
from registry.infra.settings import Settings
from registry.projections import rebuild

SWITCH_SECONDS = 0.001


def log_to_stderr() -> None:
    """Send all logs to standard error: as JSON lines, or in colour on a terminal."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # Tracebacks without local variables, which contain requests and so API keys.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    terminal = sys.stderr.isatty()
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [tracebacks, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # These log every step of a normal start and every request of the demo.
    for name in ("uvicorn", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database: the one that they name, else the bundled server, started and migrated.

    Raises:
        DatabaseUnusable, PostgresUnavailable: The database cannot be used.
    """
    if settings.database_url is not None:
        yield settings
        return
    with Embedded(settings.data_dir) as server:
        ready = replace(settings, database_url=server.app_url, owner_url=server.owner_url)
        asyncio.run(migrate(ready))
        yield ready


async def migrate(settings: Settings) -> str:
    """Migrate the settings' database to the newest schema, fill the tables that this leaves, and return its version.

    Raises:
        DatabaseUnusable: The database does not answer or refuses.
        RebuildRunning: Another process rebuilds the projections.
    """
    if settings.owner_url is None:
        raise DatabaseUnusable("no_owner")
    with readable_errors():
        version = await migrations.migrate(
            settings.owner_url, postgres.role_of(settings.database_url or settings.owner_url)
        )
        await rebuild.rebuild_outdated(settings.owner_url)
    return version


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise DatabaseUnusable, with a sentence, for the errors of a missing or refusing database."""
    try:
        yield
    except (*postgres.ERRORS, ValueError, OverflowError) as error:
        raise DatabaseUnusable(reason=str(error) or type(error).__name__) from error


async def check(settings: Settings) -> None:
    """Check that the database answers, has the schema of this release, and the log that the data directory knows.

    Raises:
        DatabaseUnusable: It does not.
    """
    assert settings.database_url is not None
    with readable_errors():
        pool = await postgres.pool(settings.database_url, min_size=1, max_size=1, pooling=settings.pooling)
        async with pool:
            if not await migrations.head_matches(pool):
                raise DatabaseUnusable("old_schema")
            await require_same_log(pool, settings.data_dir / MARK_FILE)


def report_listen_error(settings: Settings, error: OSError) -> None:
    """Print why the service cannot listen on its address."""
    text = Text("cannot_listen", host=settings.host, port=settings.port, problem=error.strerror or str(error))
    stderr.print(f"registry: {rendered(text)}", soft_wrap=True, markup=False)


def address(settings: Settings, bound: socket.socket) -> str:
    """The URL of the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"


async def _noop(url: str) -> None:
    pass


def run(
    settings: Settings,
    bound: socket.socket,
    before_ready: Callable[[str], Awaitable[None]] = _noop,
    after_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until a signal stops the process.

    Args:
        before_ready: Awaited with the service's URL when it answers, before the ready line is printed.
        after_ready: Called with the URL after the ready line.
    """
    if sys.platform == "win32":
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        from uvloop import new_event_loop as loop_factory
    memory.share_heaps()
    # Few requests leave reference cycles, and the caches hold a hundred thousand long-lived objects. With the default
    # thresholds, garbage collection took a third of the recorder's time. A full collection is left to
    # `infra/memory.py`, where that can see how much memory is used.
    memory.CollectorPace(2_500_000 if memory.find_trim() is not None else 10).start()
    # Questions about all deals run in threads. One that computes keeps the interpreter for so long when the event loop
    # wants it: with four of them and Python's 5 ms, the loop waited for 32 ms (median), with 1 ms for 6.5 ms. Each time
    # the thread releases Python's lock by itself, if only for some µs, this wait begins again, so work in threads must
    # not read or write small parts often (`exports/xlsx.py`). A shorter time would help there, but two threads that
    # compute took 66 ms with 1 ms, and 118 with 0.05 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(settings, bound, before_ready, after_ready))


async def _serve(
    settings: Settings,
    bound: socket.socket,
    before_ready: Callable[[str], Awaitable[None]],
    after_ready: Callable[[str], None],
) -> None:
    # Imported here, because the other commands do not need it.
    from registry.app import create_app
    from registry.http.server import HttpServer

    await check(settings)
    if settings.follow is not None:
        from registry.mirror.prepare import prepare

        await prepare(settings)
    app = create_app(settings)

    class Server(HttpServer):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.services.end_streams()
            await super().shutdown(sockets)

    server = Server(app, settings.trusted_proxies)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    if server.started:
        # A full collection need not go through what the service is made of: 170,000 objects.
        gc.freeze()
        url = address(settings, bound)
        first = asyncio.ensure_future(before_ready(url))
        await asyncio.wait([first, serving], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            first.cancel()
        elif first.exception() is not None:
            server.should_exit = True
        else:
            print(f"ready {url}", flush=True)  # noqa: T201
            after_ready(url)
        await serving
        await first
    try:
        await serving
    except OSError as error:  # another service listened first
        report_listen_error(settings, error)
        raise typer.Exit(1) from None
    if not server.started:
        raise typer.Exit(1)
