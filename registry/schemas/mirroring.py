"""What a mirror of the log reads (`registry follow`)."""

from __future__ import annotations

from datetime import datetime

from registry.domain.quotes import Quotes
from registry.events.mirror_state import PrincipalName
from registry.schemas.base import Hex, ResponseModel


class LogEntry(ResponseModel, frozen=True, kw_only=True):
    """The bytes of an event, as text: its hashed entry, and the content and the salt whose digest the entry has.

    `content` and `salt` are null where the content was redacted, and for events of principals.
    """

    position: int
    entry: str
    content: str | None
    salt: Hex | None


class LogEntries(ResponseModel, frozen=True, kw_only=True):
    """A page of the log's bytes."""

    entries: tuple[LogEntry, ...]


class CheckpointAndHeads(ResponseModel, frozen=True, kw_only=True):
    """A signed checkpoint and the signed statement of heads that belongs to it."""

    size: int
    note: str
    heads: str
    signed_at: datetime


class Checkpoints(ResponseModel, frozen=True, kw_only=True):
    """A page of the checkpoints that were signed, smallest first."""

    checkpoints: tuple[CheckpointAndHeads, ...]


class PrincipalNames(ResponseModel, frozen=True, kw_only=True):
    """The display names of all principals, each from its log position on."""

    names: tuple[PrincipalName, ...]


class RateImports(ResponseModel, frozen=True, kw_only=True):
    """Recorded exchange rates, by import, source and currency. Not part of the log: the registry states them."""

    imports: tuple[Quotes, ...]
