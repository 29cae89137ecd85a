"""`registry follow`: run a verifying mirror of another registry. `registry mirror`: go on after a contradiction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from msgspec.structs import replace

from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.serve import run_service
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable, NotFound
from registry.events import mirror_state
from registry.events.mirror_state import MirrorIncident
from registry.infra import postgres
from registry.infra.postgres import Connection
from registry.infra.settings import SETTINGS, Settings

T = TypeVar("T")

group = typer.Typer(no_args_is_help=True, help="Show what stopped a mirror, and let it continue.")


def register(app: typer.Typer) -> None:
    """Add the command and the group of commands."""
    app.command()(follow)
    app.add_typer(group, name="mirror")


@with_settings(*(name for name in SETTINGS if name != "follow"))
def follow(
    settings: Settings,
    url: Annotated[str, typer.Argument(metavar="URL", help="The address of the registry to follow.")],
) -> None:
    """Run a read-only mirror of another registry: copy its log, verify every entry, and answer as it does.

    The first start makes an empty database a mirror. Give the log's public keys with --follow-verifiers; otherwise the
    mirror trusts the keys that the other registry states at the first start.
    """
    run_service(replace(settings, follow=Settings.read({}, follow=url).follow))


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def incidents(settings: Settings, as_json: AsJson = False) -> None:
    """List contradictions between the origin and the copied log, with the evidence and the operator's decisions."""
    show(_rows(_with_owner(settings, mirror_state.incidents), evidence=as_json), as_json=as_json)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def accept(
    settings: Settings,
    reason: Annotated[str, typer.Option(help="Why the mirror may continue; stored with the incident.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    key: Annotated[
        list[str] | None, typer.Option(help="A new public key of the log to trust, if its operator changed the key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a stopped mirror continue. It keeps what it has copied, and verifies everything new as before."""
    if not reason.strip() or not by.strip():
        raise typer.BadParameter(rendered(Text("incident_reason")))

    async def decide(connection: Connection) -> list[MirrorIncident]:
        mirror = await mirror_state.load(connection)
        if mirror is None:
            raise NotFound("mirror")
        if key:
            from registry.mirror.prepare import trust

            await trust(connection, mirror, key, by.strip())
        return await mirror_state.accept(connection, by.strip(), reason.strip())

    decided = _with_owner(settings, decide)
    if not decided:
        raise NotFound("mirror_incident")
    show(_rows(decided), as_json=as_json)


def _rows(found: list[MirrorIncident], *, evidence: bool = False) -> list[dict[str, str]]:
    return [
        {
            "number": str(one.number),
            "noticed": f"{one.noticed_at:%Y-%m-%d %H:%M:%S}",
            "kind": one.kind,
            "position": str(one.position),
            "detail": one.detail,
            **({"evidence": one.evidence} if evidence else {}),
            "decided by": one.decided_by or "",
            "reason": one.reason or "",
        }
        for one in found
    ]


def _with_owner(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run a function with a connection of the role that owns the tables.

    Raises:
        DatabaseUnusable: No owner's URL is given, or the database does not answer.
    """

    async def connected(url: str) -> T:
        with server.readable_errors():
            pool = await postgres.pool(url, name="registry mirror", min_size=1, max_size=1)
            async with pool, pool.acquire() as connection:
                return await work(connection)

    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable("no_owner")
        return asyncio.run(connected(ready.owner_url))
