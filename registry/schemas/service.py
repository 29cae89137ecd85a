"""The service's health, and problem documents."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from registry.schemas.base import Link, ResponseModel


class Live(ResponseModel, frozen=True, kw_only=True):
    """The process runs."""

    status: Literal["live"]


class MirrorReadiness(ResponseModel, frozen=True, kw_only=True):
    """How a mirror stands to the registry that it follows.

    `position` is the last verified event, `behind` how many events of the origin's newest checkpoint are missing,
    `checked_at` when the origin last answered without a contradiction. `halted` says what contradicted; then the mirror
    follows no further until an operator decides.
    """

    origin: str
    position: int
    origin_size: int | None
    behind: int | None
    checked_at: datetime | None
    problem: str | None
    halted: str | None


class Readiness(ResponseModel, frozen=True, kw_only=True):
    """Whether the service can do its work, which part cannot, and what an operator should know besides."""

    status: Literal["ready", "not ready"]
    database: bool
    migrations: bool
    log: bool
    clock: bool
    recorder: bool
    storage: bool
    portfolio: bool
    signer: bool
    mirror: MirrorReadiness | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class FieldProblem(ResponseModel, frozen=True, kw_only=True):
    """A wrong field: its JSON Pointer (RFC 6901) in the body, and what is wrong, as a text and as a code."""

    pointer: str
    detail: str
    code: str
    params: dict[str, Any] | UnsetType = UNSET


class ProblemDocument(ResponseModel, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457). `/docs/problems` explains each `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    params: dict[str, Any] | UnsetType = UNSET
    errors: list[FieldProblem] | UnsetType = UNSET
    parameter: str | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    version: int | UnsetType = UNSET
    line: int | UnsetType = UNSET
    effective_on: date | UnsetType = UNSET
    link: Link | UnsetType = UNSET
