"""`registry verify`: verify the whole log against its checkpoints, or one bundle offline.

Ends with 6 if the verification fails, and names the first bad position.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import asdict

from registry.cli import server
from registry.cli.options import AsJson, progress_bar, show, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import LogCorrupt
from registry.events import mirror_state
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import BadKey, CheckpointError, VerifierKey, open_checkpoint
from registry.transparency.checkpoint_store import SignedCheckpoint, read_exported
from registry.transparency.cosignatures import Quorum, WitnessKey
from registry.transparency.evidence import Evidence
from registry.transparency.findings import Finding
from registry.transparency.heads import open_heads
from registry.transparency.signing_keys import KeySource
from registry.transparency.verify import LogVerification, TrustedCheckpoint, verify_log

# Recomputing the stream heads of a checkpoint reads every stream, so it is done for the newest checkpoints of the
# database only. The others are compared with the tree.
HEADS_OF_NEWEST = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


@with_settings(
    "database_url", "owner_url", "data_dir", "log_origin", "signing_key", "signing_secret", "checkpoint_export"
)
def verify(
    settings: Settings,
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help="A downloaded certificate or proof; '-' for standard input."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="A public key of the log, or a file of them. Default: those beside the signing key."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept elsewhere, or a directory of them, to verify against as well."),
    ] = None,
    witnesses: Annotated[
        int, typer.Option(min=0, help="How many witnesses must have cosigned the newest checkpoint.")
    ] = 0,
    witness: Annotated[list[str] | None, typer.Option(help="The public key of a witness, or a file of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the whole log against its checkpoints. A BUNDLE is verified without the database and the network."""
    quorum = _quorum(witnesses, witness)
    if bundle is not None:
        keys = _keys(key, settings)
        data = sys.stdin.buffer.read() if str(bundle) == "-" else _read(bundle)
        result = verify_bundle(data, keys, quorum)
        show([{**asdict(result), "proves": rendered(result.proves)}], as_json=as_json)
        return
    with server.database(settings) as ready:
        verification, seconds = asyncio.run(_whole(ready, key, checkpoint or [], quorum))
    show([{**asdict(verification), "seconds": round(seconds, 1)}], as_json=as_json)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="BUNDLE") from None


def _keys(given: list[str] | None, settings: Settings) -> list[VerifierKey]:
    beside = KeySource.of(settings).public_keys
    if not given and not os.access(beside, os.R_OK):
        raise typer.BadParameter(rendered(Text("no_public_key", file=str(beside))), param_hint="--key")
    try:
        return [VerifierKey.parse(line) for one in given or [str(beside)] for line in _lines(one)]
    except BadKey as error:
        raise typer.BadParameter(rendered(error.message), param_hint="--key") from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--key") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--key") from None


def _quorum(needed: int, given: list[str] | None) -> Quorum | None:
    if not needed:
        return None
    try:
        return Quorum(needed, tuple(WitnessKey.parse(line) for one in given or () for line in _lines(one)))
    except BadKey as error:
        raise typer.BadParameter(rendered(error.message), param_hint="--witness") from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--witness") from None


def _check_quorum(quorum: Quorum, stored: list[SignedCheckpoint]) -> None:
    try:
        quorum.check(stored[0].note if stored else "")
    except CheckpointError as error:
        raise LogCorrupt(detail=error.message) from None


def _lines(key: str) -> list[str]:
    # An empty text would be read as the path of the current directory.
    return [key] if not key or ("+" in key and not Path(key).exists()) else Path(key).read_text().split()


async def _whole(
    settings: Settings, given: list[str] | None, copies: list[Path], quorum: Quorum | None
) -> tuple[LogVerification, float]:
    assert settings.database_url is not None
    with server.readable_errors():
        pool = await postgres.pool(
            settings.database_url, name="registry verify", min_size=1, max_size=2, pooling=settings.pooling
        )
    async with pool:
        mirror = await mirror_state.load(pool)
        trusted = await mirror_state.trusted_keys(pool) if mirror is not None else []
        keys = _keys(given or trusted, settings)
        evidence = Evidence(pool, KeySource.of(settings), mirror=mirror)
        stored = await evidence.checkpoints(limit=2**31)
        if quorum is not None:
            _check_quorum(quorum, stored)
        known = [
            _opened(Finding("source_database", size=one.size), one.note, keys, one.heads if new else None)
            for new, one in ((number < HEADS_OF_NEWEST, one) for number, one in enumerate(stored))
        ]
        known += [_opened(where, note, keys) for where, note in _external_checkpoints(settings, copies)]
        started = time.perf_counter()
        with progress_bar() as bar:
            task = bar.add_task(rendered(Text("verifying_log")))
            verification = await verify_log(
                pool,
                known,
                lambda done, size: bar.update(task, completed=done, total=size),
                is_mirror=mirror is not None,
            )
        seconds = time.perf_counter() - started
        await evidence.record_verification(verification, seconds)
        return verification, seconds


def _external_checkpoints(settings: Settings, copies: Iterable[Path]) -> Iterator[tuple[Finding, str]]:
    state = KeySource.of(settings).state
    memory = state.with_name(state.name + ".head")
    exports = [settings.checkpoint_export] if settings.checkpoint_export is not None else []
    for place in (memory, *exports, *copies):
        try:
            yield from ((Finding("source_file", file=str(place)), note) for note in read_exported(place))
        except OSError as error:
            raise typer.BadParameter(f"{place}: {error.strerror}", param_hint="--checkpoint") from None


def _opened(source: Finding, note: str, keys: list[VerifierKey], heads: str | None = None) -> TrustedCheckpoint:
    try:
        checkpoint = open_checkpoint(note, keys)
        if heads is None:
            return TrustedCheckpoint(source, checkpoint)
        head, root, _ = open_heads(heads, keys)
    except CheckpointError as error:
        raise LogCorrupt(detail=Finding("log_checkpoint", source=source, problem=error.message)) from error
    if head != checkpoint:
        raise LogCorrupt(detail=Finding("log_checkpoint_heads", source=source))
    return TrustedCheckpoint(source, checkpoint, root)
