"""Watches: a principal saves a filter, and an e-mail tells of the new events that match it.

Nothing is sent to an address before its owner has confirmed (double opt-in), and every message has a link that ends the
watch. The process that claims a confirmed watch first sends it, for `LEASE`. After a crash another process continues,
so a message may come twice, and none is lost.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta

import structlog

from registry.delivery import watch_store
from registry.delivery.confirmation import CONFIRM_WITHIN, ConfirmationLimit
from registry.delivery.mail import Mailer, MailNotSent, MailRefused
from registry.delivery.watch_mail import confirmation, describe, news
from registry.delivery.watch_store import Digest, Watch
from registry.delivery.webhook_store import Webhook
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.organizations.organization import Organization
from registry.errors import FieldError, Invalid, NotFound, RegistryError
from registry.events import write_batch
from registry.events.types import Recorded
from registry.events.values import text_in
from registry.events.write_batch import Head
from registry.infra import postgres, tasks
from registry.infra.postgres import Pool
from registry.infra.secret_box import SecretBox
from registry.queries.event_filter import EventFilter
from registry.queries.matching_events import MatchingEvents
from registry.queries.principals import Principals
from registry.queries.streams import StreamReader
from registry.schemas.deal_query import DealQuery, check

log = structlog.get_logger(__name__)

# Watches that a principal may have: more would be a way to send mail to strangers.
MAX_WATCHES = 20

# After a message, others wait for this time, so that an import becomes a few messages.
AT_ONCE_INTERVAL = timedelta(minutes=1)

# When a daily message is sent, in the registry's time zone.
DAILY_AT = time(7)

# For how long a process that sends a message has its watch.
LEASE = timedelta(minutes=5)

# Minutes until each next attempt. After the last one the watch ends.
RETRY_MINUTES = (1, 5, 30, 120, 360, 720, 1440)

# Seconds between two looks for watches that are due: at most without a commit, and at least with many.
POLL_SECONDS = 5.0
MIN_POLL_SECONDS = 1.0

# Watches that are sent at the same time, and events of a message.
CONCURRENT = 10
MAX_EVENTS = 1000

# One address, as a mail server takes it. A mail server has the last word on it.
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\()\[\]\x00-\x1f\x7f]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")


class MailUnavailable(RegistryError):
    """The mail server did not take the message."""

    code = "mail_unavailable"


class Watches:
    """The watches, and their delivery. One per process.

    Args:
        pool: The database.
        events: Finds the events of a watch.
        box: Encrypts addresses, and seals the links of messages.
        principals: Says whether the owner of a watch still has a right.
        calendar: Decides when a day begins.
        mailer: Sends; None where the operator has set up no mail server.
        site: The address of the pages.
    """

    def __init__(
        self,
        pool: Pool,
        events: MatchingEvents,
        box: SecretBox,
        principals: Principals,
        calendar: Calendar,
        mailer: Mailer | None,
        site: str,
    ) -> None:
        self._pool = pool
        self._box = box
        self._principals = principals
        self._calendar = calendar
        self._mailer = mailer
        self._site = site.rstrip("/")
        self._streams = StreamReader(pool)
        self._events = events
        self._wake = asyncio.Event()
        self._confirmations = ConfirmationLimit()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watches:
        if self._mailer is not None:
            self._task = asyncio.create_task(self._run(), name="watches")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await tasks.end(self._task)

    def on_commit(self, head: Head) -> None:
        """Commit listener: this process has recorded events."""
        self._wake.set()

    @property
    def is_available(self) -> bool:
        """Whether this service sends e-mail."""
        return self._mailer is not None

    # --- managing -----------------------------------------------------------------------------------------------------

    async def create(
        self,
        principal: str,
        email: str,
        event_filter: EventFilter,
        deals: DealQuery | None,
        *,
        language: str,
        digest: Digest = "at_once",
    ) -> Watch:
        """Save a watch, and ask the owner of the address to confirm it.

        Raises:
            NotFound: This service sends no e-mail.
            Invalid: The address is none, a condition is incomplete, or the principal has too many watches.
            MailUnavailable: The mail server did not take the message; nothing was saved.
            RateLimited: The principal has asked too many addresses.
        """
        mailer = self._require_mailer()
        if not _ADDRESS.fullmatch(email) or len(email) > 254:
            raise Invalid([FieldError("/email", "email")])
        check(deals)
        await watch_store.delete_unconfirmed(self._pool, datetime.now(UTC) - CONFIRM_WITHIN)
        if len(await watch_store.load_of_principal(self._pool, principal)) >= MAX_WATCHES:
            raise Invalid([FieldError("", "too_many_watches", limit=MAX_WATCHES)])
        self._confirmations.take(principal)
        watch = Watch(
            id=f"wa_{secrets.token_hex(8)}",
            principal=principal,
            email=self._box.encrypt(email.encode()),
            language=language,
            digest=digest,
            type=list(event_filter.type) or None,
            deal=event_filter.deal,
            organization=event_filter.organization,
            source=event_filter.source,
            deals=deals,
            position=(await write_batch.head(self._pool)).position,
            created_at=datetime.now(UTC),
            confirmed_at=None,
            failures=0,
            next_at=None,
            disabled_at=None,
        )
        await watch_store.insert(self._pool, watch)
        try:
            about = await self.about(watch, language)
            await mailer.send(confirmation(watch, email, about, self._link(watch, "confirm")))
        except MailNotSent as error:
            await watch_store.delete(self._pool, watch.id)
            raise MailUnavailable(problem=error.problem) from error
        return watch

    async def of_principal(self, principal: str) -> list[Watch]:
        """The watches of a principal, oldest first."""
        return await watch_store.load_of_principal(self._pool, principal)

    def address(self, watch: Watch) -> str:
        """A watch's e-mail address, for its owner. Raises SecretUnreadable."""
        return self._box.decrypt_stored(watch.email).decode()

    async def about(self, watch: Watch | Webhook, language: str) -> str:
        """What a watch, by e-mail or at a receiver, is about, in one line, as the header of a message."""
        streams = [f"deal/{watch.deal}"] if watch.deal is not None else []
        named = [watch.organization, watch.deals.organization if watch.deals is not None else None]
        streams += [f"organization/{organization}" for organization in named if organization is not None]
        return " ".join(describe(watch, await self.titles(streams, language), language).split())

    async def delete(self, id: str, principal: str) -> None:
        """End a watch of a principal. Raises NotFound."""
        if "\0" in id or not await watch_store.delete_of_principal(self._pool, id, principal):
            raise NotFound("watch", watch=id[:80])

    async def find(self, id: str, purpose: str, token: str) -> Watch:
        """The watch of a link in a message. Raises NotFound: it has ended, or the link is not from a message."""
        try:
            seal = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            seal = b""
        watch = await watch_store.load(self._pool, id) if re.fullmatch(r"wa_[0-9a-f]{16}", id) else None
        if watch is None or not self._box.verify(seal, f"watch {purpose}", id):
            raise NotFound("watch", watch=id[:80])
        return watch

    async def confirm(self, watch: Watch) -> None:
        """The owner of the address wants the messages: later events are sent."""
        now = datetime.now(UTC)
        head = (await write_batch.head(self._pool)).position
        await watch_store.confirm(self._pool, watch.id, now, head, self._next(watch.digest, now, sent=False))

    async def end(self, watch: Watch) -> None:
        """The owner of the address wants no more messages: the watch is deleted with the address."""
        await watch_store.delete(self._pool, watch.id)

    def _require_mailer(self) -> Mailer:
        if self._mailer is None:
            raise NotFound("watches")
        return self._mailer

    def _link(self, watch: Watch, purpose: str) -> str:
        seal = base64.urlsafe_b64encode(self._box.seal(f"watch {purpose}", watch.id)).decode().rstrip("=")
        return f"{self._site}/watches/{watch.id}/{purpose}?token={seal}"

    def _next(self, digest: Digest, now: datetime, *, sent: bool) -> datetime | None:
        """When the next message may be sent."""
        if digest == "at_once":
            return now + AT_ONCE_INTERVAL if sent else None
        local = now.astimezone(self._calendar.zone)
        day = local.date() + timedelta(days=local.time() >= DAILY_AT)
        return datetime.combine(day, DAILY_AT, self._calendar.zone).astimezone(UTC)

    async def titles(self, streams: Iterable[str], language: str) -> dict[str, str]:
        """The names of deals and organizations in a language, each in one line: they cannot look like other lines."""
        titles = {}
        for name, stream in (await self._streams.load_all(list(dict.fromkeys(streams)))).items():
            match stream.state:
                case Deal(title=texts) | Organization(name=texts):
                    titles[name] = " ".join((text_in(texts, language) or "").split()) or stream.slug
        return titles

    # --- delivery -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                while await self._send_due():
                    pass
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("sending watches failed")
            await tasks.wait_for(self._wake, POLL_SECONDS)
            await asyncio.sleep(MIN_POLL_SECONDS)
            self._wake.clear()

    async def _send_due(self) -> bool:
        """Send some of the watches that are due. Returns whether there may be more."""
        now = datetime.now(UTC)
        head = (await write_batch.head(self._pool)).position
        due = await watch_store.claim_due(self._pool, now, head, now + LEASE, CONCURRENT)
        await asyncio.gather(*(self._send(watch, head) for watch in due))
        return len(due) == CONCURRENT

    async def _send(self, watch: Watch, head: int) -> None:
        try:
            await self._send_news(watch, head)
        except MailNotSent as error:
            await self._postpone(watch, error)
        except RegistryError as error:
            log.error("a watch cannot be sent", watch=watch.id, error=str(error))

    async def _send_news(self, watch: Watch, head: int) -> None:
        """Send what is new since the last message, if anything matches."""
        now = datetime.now(UTC)
        wanted = EventFilter(tuple(watch.type or ()), watch.deal, watch.organization, watch.source)
        found = await self._events.following(watch.position, MAX_EVENTS, wanted, watch.deals)
        # After the events are read: a principal whose right ended before one of them was recorded does not get it.
        if not await self._principals.has_right(watch.principal):
            await watch_store.postpone(self._pool, watch.id, watch.failures, now, now)
            return
        reached = found[-1].recorded.position if len(found) == MAX_EVENTS else head
        events = [event.recorded for event in found if not event.recorded.is_withheld]
        reached = max([reached, *(event.position for event in events)])
        if events:
            await self._mail(watch, events)
        await watch_store.advance(self._pool, watch.id, reached, self._next(watch.digest, now, sent=bool(events)))

    async def _mail(self, watch: Watch, events: list[Recorded]) -> None:
        titles = await self.titles((f"{event.kind}/{event.slug}" for event in events), watch.language)
        about, end = await self.about(watch, watch.language), self._link(watch, "end")
        await self._require_mailer().send(news(watch, self.address(watch), about, events, titles, self._site, end))

    async def _postpone(self, watch: Watch, error: Exception) -> None:
        """Try again later. A watch whose address is refused, or that failed too often, ends."""
        now, failures = datetime.now(UTC), watch.failures + 1
        log.warning("a message of a watch was not sent", watch=watch.id, attempt=failures, error=type(error).__name__)
        gone = isinstance(error, MailRefused) or failures > len(RETRY_MINUTES)
        next_at = now if gone else now + timedelta(minutes=RETRY_MINUTES[failures - 1])
        await watch_store.postpone(self._pool, watch.id, failures, next_at, now if gone else None)
