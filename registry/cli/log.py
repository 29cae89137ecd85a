"""`registry log`: the log's public keys and checkpoints. The signing key itself is never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable, NotFound
from registry.events import continuity, mirror_state
from registry.events.continuity import Incident
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.transparency.checkpoint import Checkpoint, parse_note
from registry.transparency.checkpoint_store import export_checkpoint
from registry.transparency.evidence import Evidence
from registry.transparency.signer import Signer
from registry.transparency.signing_keys import KeySource

T = TypeVar("T")

group = typer.Typer(
    no_args_is_help=True, help="Print the log's public keys, sign checkpoints, and settle a loss of events."
)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="log")


@group.command()
@with_settings("data_dir", "log_origin", "signing_key", "signing_secret")
def keys(settings: Settings) -> None:
    """Print all public keys of the log, oldest first, for auditors."""
    for key in Signer(KeySource.of(settings).state, settings.log_origin).verifiers():
        typer.echo(str(key))


@group.command()
@with_settings(
    "database_url", "owner_url", "data_dir", "log_origin", "signing_key", "signing_secret", "checkpoint_export"
)
def checkpoint(
    settings: Settings,
    to: Annotated[Path | None, typer.Option(help="A file or directory for a copy.")] = None,
) -> None:
    """Sign a checkpoint of the log and print it; with --to also write it to a file."""
    note = _in(settings, lambda evidence: evidence.checkpoint())
    if to is not None:
        export_checkpoint(to, Checkpoint.parse(parse_note(note).text).size, note)
    typer.echo(note, nl=False)


@group.command("rotate-key")
@with_settings(
    "database_url", "owner_url", "data_dir", "log_origin", "signing_key", "signing_secret", "checkpoint_export"
)
def rotate_key(settings: Settings) -> None:
    """Create a new signing key, sign a checkpoint with it, and print its public key. Old checkpoints stay valid."""
    typer.echo(str(_in(settings, lambda evidence: evidence.rotate_key())))


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def incidents(settings: Settings, as_json: AsJson = False) -> None:
    """List when the log lacked events that a service had acknowledged or signed, with the operator's decisions."""

    async def read(owner: Pool) -> list[Incident]:
        return await continuity.incidents(owner)

    show([_incident_row(incident) for incident in _with_owner(settings, read)], as_json=as_json)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def accept(
    settings: Settings,
    reason: Annotated[str, typer.Option(help="Why the events cannot be restored; stored with the incident.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    as_json: AsJson = False,
) -> None:
    """Accept that events are lost, if they cannot be restored. All services then continue with the log as it is."""
    if not reason.strip() or not by.strip():
        raise typer.BadParameter(rendered(Text("incident_reason")))

    async def decide(owner: Pool) -> list[Incident]:
        return await continuity.accept(owner, by.strip(), reason.strip())

    decided = _with_owner(settings, decide)
    if not decided:
        raise NotFound("incident")
    show([_incident_row(incident) for incident in decided], as_json=as_json)


def _incident_row(incident: Incident) -> dict[str, str]:
    return {
        "number": str(incident.number),
        "noticed": f"{incident.noticed_at:%Y-%m-%d %H:%M:%S}",
        "lacked": f"{incident.kind} {incident.position}",
        "log ended at": str(incident.log_position),
        "decided by": incident.decided_by or "",
        "reason": incident.reason or "",
    }


def _with_owner(settings: Settings, work: Callable[[Pool], Awaitable[T]]) -> T:
    """Run a function with a pool of the role that owns the tables.

    Raises:
        DatabaseUnusable: No owner's URL is given, or the database does not answer.
    """

    async def connected(url: str) -> T:
        with server.readable_errors():
            async with await postgres.pool(url, name="registry log", min_size=1, max_size=1) as pool:
                return await work(pool)

    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable("no_owner")
        return asyncio.run(connected(ready.owner_url))


def _in(settings: Settings, work: Callable[[Evidence], Awaitable[T]]) -> T:
    """Run a function with the evidence of the settings' database."""

    async def connected(ready: Settings) -> T:
        assert ready.database_url is not None
        with server.readable_errors():
            pool = await postgres.pool(ready.database_url, name="registry log", max_size=2, pooling=ready.pooling)
        async with pool:
            mirror = await mirror_state.load(pool)
            return await work(Evidence(pool, KeySource.of(ready), export=ready.checkpoint_export, mirror=mirror))

    with server.database(settings) as ready:
        return asyncio.run(connected(ready))
