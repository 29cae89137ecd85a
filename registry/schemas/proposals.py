"""Proposals in a response."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from registry.domain.audit.diff import Change
from registry.schemas.base import Hex, ResponseModel
from registry.schemas.deals import FlagResponse, RefusalResponse


class ProposalPreview(ResponseModel, frozen=True, kw_only=True):
    """What recording the announcements now would change, or why they do not apply."""

    changes: list[Change]
    flags: tuple[FlagResponse, ...]
    refusal: RefusalResponse | None


class ProposalChange(ResponseModel, frozen=True, kw_only=True):
    """Who changed a proposal, and when."""

    by: str
    at: datetime


class ProposalResponse(ResponseModel, frozen=True, kw_only=True):
    """Announcements that wait for another principal, or waited. `announcements` is empty once it is decided.

    `digest` is SHA-256 of the stream and the announcements, and the ETag that a decision names. Events are recorded as
    those of `proposed_by`. `changes` are the changes of the content since, the earliest first; `author` wrote the
    present content. Proposals that were sent together have one `submission`.
    """

    proposal: UUID
    submission: UUID
    deal: str | UnsetType = UNSET
    organization: str | UnsetType = UNSET
    announcements: list[dict[str, Any]]
    digest: Hex
    author: str
    proposed_by: str
    proposed_at: datetime
    changed_at: datetime | None
    changes: list[ProposalChange]
    status: Literal["open", "approved", "rejected"]
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    position: int | None
    preview: ProposalPreview | UnsetType = UNSET


class ProposalPage(ResponseModel, frozen=True, kw_only=True):
    """Proposals, the newest first."""

    proposals: list[ProposalResponse]
