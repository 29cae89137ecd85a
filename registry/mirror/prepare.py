"""Make an empty database a mirror, or check that it is one of the registry that is to be followed."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from registry.domain.quotes import Quotes
from registry.errors import RegistryError
from registry.events import mirror_state, write_batch
from registry.events.mirror_state import Mirror
from registry.infra import postgres
from registry.infra.postgres import Connection
from registry.infra.settings import Settings
from registry.mirror.contradiction import OriginUnreadable
from registry.mirror.origin import Origin
from registry.projections import exchange_rates
from registry.transparency.checkpoint import BadKey, VerifierKey

log = structlog.get_logger(__name__)


class MirrorRefused(RegistryError):
    """The database cannot become a mirror of this registry."""

    code = "mirror_refused"


async def prepare(settings: Settings, trusted_by: str = "operator") -> None:
    """Make the settings' database a mirror of the registry that they name.

    The first time, the origin's keys are those of the settings, or those that the origin states itself (trust on first
    use). Later, keys of the settings are trusted in addition.

    Raises:
        MirrorRefused: The database has a log of its own, or is a mirror of another log.
        OriginUnreadable: The origin did not answer, the first time.
    """
    assert settings.follow is not None
    url = settings.follow.rstrip("/")
    async with (
        await postgres.pool(
            settings.owner_url or settings.database_url or "", name="registry mirror", min_size=1, max_size=1
        ) as pool,
        pool.acquire() as connection,
    ):
        mirror = await mirror_state.load(connection)
        if mirror is None:
            await _start(connection, url, settings.follow_verifiers, trusted_by)
            return
        await trust(connection, mirror, settings.follow_verifiers, trusted_by)
        if mirror.url != url:
            await mirror_state.move(connection, url)


async def trust(connection: Connection, mirror: Mirror, keys: Sequence[str], by: str) -> None:
    """Trust more keys of the log that is followed.

    Raises:
        MirrorRefused: A key is of another log.
    """
    if any(_parsed(key).name != mirror.origin for key in keys):
        raise MirrorRefused("other_log", origin=mirror.origin)
    await mirror_state.trust(connection, keys, by)


async def _start(connection: Connection, url: str, given: Sequence[str], trusted_by: str) -> None:
    if position := (await write_batch.head(connection)).position:
        raise MirrorRefused("not_empty", size=position)
    async with Origin(url) as origin:
        keys = list(given) or await origin.keys()
        parsed = [_parsed(key) for key in keys]
        names = {key.name for key in parsed}
        if len(names) != 1:
            raise MirrorRefused("several_logs", origins=tuple(sorted(names)))
        rates = await origin.rates(0)
    async with connection.transaction():
        await _replace_rates(connection, rates)
        await mirror_state.start(connection, url, names.pop(), keys, trusted_by if given else "first use")
    if not given:
        log.warning("the origin's own word is trusted for its keys: compare them with those it published", keys=keys)


async def _replace_rates(connection: Connection, rates: Sequence[Quotes]) -> None:
    """Take the origin's exchange rates in place of the packaged ones, which may be of another release."""
    if await exchange_rates.load(connection, 0) != list(rates):
        await exchange_rates.delete_all(connection)
        await exchange_rates.insert(connection, rates)


def _parsed(key: str) -> VerifierKey:
    try:
        return VerifierKey.parse(key)
    except BadKey as error:
        raise OriginUnreadable("key", key=key[:200], problem=error.message) from None
